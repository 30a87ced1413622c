//! Chaos runs on the wire.

use std::collections::BTreeMap;

use crate::{
    pb,
    service::chaos::{Brake, Faults, RunView, StartChaos, Tally},
    types::{chaos::ChaosRecord, ids::AgentName, limits::fixed, time::Span},
};

use super::{
    faults::Faults as Wrong,
    int64,
    time::{duration, span, wire},
};

/// The longest name of a person, and of a run, in characters.
const MAX_NAME_CHARS: usize = 128;
/// Labels a run may name.
const MAX_LABELS: usize = 8;
/// How long a run goes on by itself where nothing is said, and within what bounds.
const TTL: (Span, Span, Span) = (Span::from_secs(10), Span::from_secs(1), Span::from_secs(60));
/// The longest delay where nothing is said, and within what bounds.
const DELAY: (Span, Span, Span) = (Span::from_millis(500), Span::from_millis(1), Span::from_secs(60));

/// What a StartChaosRequest asks for.
pub(crate) fn start(request: pb::StartChaosRequest, wrong: &mut Wrong) -> Option<StartChaos> {
    let pb::StartChaosRequest { started_by, labels, faults, seed, ttl } = request;
    name("started_by", &started_by, wrong);
    if labels.is_empty() || labels.len() > MAX_LABELS {
        let count = labels.len();
        wrong.add(
            "labels",
            format!("has {count} entries: write 1 to {MAX_LABELS}; every task is never meant"),
        );
    }
    for (key, value) in &labels {
        wrong.text("labels", key, fixed::MAX_LABEL_KEY_BYTES);
        wrong.text("labels", value, fixed::MAX_LABEL_VALUE_BYTES);
    }
    let Some(faults) = faults else {
        wrong.add("faults", "is required: say what fails, and how often");
        return None;
    };
    let faults = faults_in(faults, wrong);
    let ttl = ttl_in(ttl, wrong);
    Some(StartChaos { by: started_by, labels, faults, seed, ttl })
}

/// How long a run is to go on.
pub(crate) fn ttl_in(ttl: Option<prost_types::Duration>, wrong: &mut Wrong) -> Span {
    bounded("ttl", ttl, TTL, wrong)
}

fn bounded(
    field: &str,
    value: Option<prost_types::Duration>,
    (default, least, most): (Span, Span, Span),
    wrong: &mut Wrong,
) -> Span {
    let value = span(wrong, field, value).unwrap_or(default);
    if value < least || value > most {
        wrong.add(field, format!("is {value}: write {least} to {most}"));
    }
    value
}

/// How many brakes have been received.
pub(crate) fn received(brakes: i64, wrong: &mut Wrong) -> usize {
    usize::try_from(brakes).unwrap_or_else(|_| {
        wrong.add("brakes_received", format!("is {brakes}: write 0 or more"));
        0
    })
}

/// The agents that a verdict is about.
pub(crate) fn recorded(
    by: &str,
    agents: &[String],
    run: &str,
    is_known: impl Fn(&AgentName) -> bool,
    wrong: &mut Wrong,
) -> Vec<AgentName> {
    name("recorded_by", by, wrong);
    wrong.short("run_id", run, MAX_NAME_CHARS);
    if agents.is_empty() || agents.len() > fixed::MAX_LIST {
        wrong.add("agents", format!("has {} entries: write 1 to {}", agents.len(), fixed::MAX_LIST));
    }
    let mut known = Vec::new();
    for agent in agents {
        match agent.parse::<AgentName>() {
            Ok(name) if is_known(&name) => known.push(name),
            Ok(name) => wrong.add("agents", format!("{name} was never seen by this server")),
            Err(error) => wrong.add("agents", error.to_string()),
        }
    }
    known
}

/// Who says so.
fn name(field: &str, name: &str, wrong: &mut Wrong) {
    wrong.required(field, name, usize::MAX, "who asks");
    wrong.short(field, name, MAX_NAME_CHARS);
}

fn faults_in(faults: pb::ChaosFaults, wrong: &mut Wrong) -> Faults {
    let pb::ChaosFaults { delay, delay_up_to, drop, duplicate, lose_lease, kill_session } = faults;
    for (field, share) in [
        ("faults.delay", delay),
        ("faults.drop", drop),
        ("faults.duplicate", duplicate),
        ("faults.lose_lease", lose_lease),
        ("faults.kill_session", kill_session),
    ] {
        if !(0.0..=1.0).contains(&share) {
            wrong.add(field, format!("is {share}: write 0 to 1"));
        }
    }
    let delay_up_to = bounded("faults.delay_up_to", delay_up_to, DELAY, wrong);
    Faults { delay, delay_up_to, drop, duplicate, lose_lease, kill_session }
}

/// A run for the wire.
pub(crate) fn run_out(run: RunView) -> pb::ChaosRun {
    let RunView { id, started_by, started_at, lapses_at, labels, faults, tally } = run;
    let Faults { delay, delay_up_to, drop, duplicate, lose_lease, kill_session } = faults;
    let delay_up_to = Some(duration(delay_up_to));
    let Tally { messages, delayed, dropped, duplicated, leases_lost, sessions_killed } = tally;
    pb::ChaosRun {
        run_id: id,
        started_by,
        started_at: Some(wire(started_at)),
        lapses_at: Some(wire(lapses_at)),
        labels,
        faults: Some(pb::ChaosFaults { delay, delay_up_to, drop, duplicate, lose_lease, kill_session }),
        tally: Some(pb::ChaosTally {
            messages: int64(messages),
            delayed: int64(delayed),
            dropped: int64(dropped),
            duplicated: int64(duplicated),
            leases_lost: int64(leases_lost),
            sessions_killed: int64(sessions_killed),
        }),
    }
}

/// Brakes for the wire.
pub(crate) fn brakes_out(brakes: &[Brake]) -> Vec<pb::ChaosBrake> {
    let out = |brake: &Brake| {
        let Brake { to_cancel, to_fence } = *brake;
        pb::ChaosBrake { to_cancel_us: int64(to_cancel.0), to_fence_us: int64(to_fence.0) }
    };
    brakes.iter().map(out).collect()
}

/// What is kept, for the wire.
pub(crate) fn records_out(records: &BTreeMap<AgentName, ChaosRecord>) -> Vec<pb::ChaosRecord> {
    let out = |(agent, record): (&AgentName, &ChaosRecord)| {
        let ChaosRecord { passed_at, failed_at } = *record;
        pb::ChaosRecord {
            agent: agent.to_string(),
            passed_at: passed_at.map(wire),
            failed_at: failed_at.map(wire),
        }
    };
    records.iter().map(out).collect()
}
