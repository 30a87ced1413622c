//! The worker protocol's own messages: how a worker introduces itself, what it is given to do, what operators see.

use std::collections::BTreeMap;

use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::{
    engine::{
        command::{Assignment, LineageEntry},
        intake::Violation,
    },
    pb,
    runtime::{AgentInfo, AgentRecord, Down, Grant, Opened, Registration, WorkerInfo},
    types::{
        ids::{AgentName, Lease},
        limits::fixed::{
            MAX_LABEL_KEY_BYTES, MAX_LABEL_VALUE_BYTES, MAX_LABELS, MAX_LIST, MAX_PAYLOAD_BYTES,
            MAX_SCHEMA_BYTES,
        },
        outcome::Cause,
        payload::Payload,
        time::Span,
    },
};

use super::{
    answer::envelope_out,
    circuit::breaker_out,
    contract::convergence_out,
    enums,
    faults::Faults,
    int32, int64, length, record, schema,
    task::trip_out,
    time::{duration, wire},
    value::{structure, value},
};

/// The longest version of an agent, in characters.
const MAX_VERSION_CHARS: usize = 64;
/// A Register larger than this has schemas that take time to compile, in bytes.
const LARGE_REGISTER_BYTES: usize = 16 << 10;
/// The longest description of an agent, in bytes.
const MAX_DESCRIPTION_BYTES: usize = 1 << 10;
/// Leases a worker may claim: more than any worker can hold.
const MAX_HELD_LEASES: usize = 10_000;

/// Lineage on one message, in bytes: with an input, a best result and a schema it stays below 4 MiB, which is what gRPC
/// clients receive unless told otherwise.
const MAX_LINEAGE_BYTES: usize = 3 << 19;
const _: () = assert!(MAX_LINEAGE_BYTES + 2 * MAX_PAYLOAD_BYTES + MAX_SCHEMA_BYTES < 4 << 20);

/// What the registry keeps of an agent beside its name, as JSON.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Spec {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input_schema: Option<Payload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output_schema: Option<Payload>,
}

/// As `registration`, off the threads that serve calls where there are schemas of some size to compile.
pub(crate) async fn registered(wire: pb::Register) -> Result<Registration, Vec<Violation>> {
    if wire.encoded_len() <= LARGE_REGISTER_BYTES {
        return registration(wire);
    }
    tokio::task::spawn_blocking(|| registration(wire)).await.unwrap_or_else(|_| {
        let (field, description) = ("register".to_owned(), "could not be checked".to_owned());
        Err(vec![Violation { field, description }])
    })
}

/// How a worker introduces itself.
pub(crate) fn registration(wire: pb::Register) -> Result<Registration, Vec<Violation>> {
    let pb::Register { worker_id, agents, max_concurrency, labels, held_leases } = wire;
    let mut faults = Faults::default();
    let worker = faults.name("register.worker_id", &worker_id);
    if agents.is_empty() {
        faults.add("register.agents", "is required: name at least one agent");
    }
    faults.list("register.agents", &agents, MAX_LIST);
    let mut specs = BTreeMap::new();
    for (index, agent) in agents.into_iter().enumerate().take(MAX_LIST) {
        let path = format!("register.agents[{index}]");
        if let Some((name, spec)) = agent_spec(agent, &path, &mut faults)
            && specs.insert(name, spec).is_some()
        {
            faults.add(format!("{path}.name"), "is there twice: name every agent once");
        }
    }
    let max_concurrency = match u32::try_from(max_concurrency) {
        Ok(0) => 1,
        Ok(most) => most,
        Err(_) => {
            faults.add("register.max_concurrency", format!("is {max_concurrency}: write 1 or more"));
            1
        }
    };
    check_labels(&labels, &mut faults);
    faults.list("register.held_leases", &held_leases, MAX_HELD_LEASES);
    // A text that is no lease is no live lease either: the answer leaves it out, as every other that is not live.
    let held = held_leases.iter().filter_map(|text| text.parse::<Lease>().ok()).collect();
    let agents = specs.into_iter().collect();
    faults.finish(worker.map(|worker| Registration { worker, agents, max_concurrency, labels, held }))
}

fn agent_spec(wire: pb::AgentSpec, path: &str, faults: &mut Faults) -> Option<(AgentName, String)> {
    let pb::AgentSpec { name, version, description, input_schema, output_schema } = wire;
    let wire_name = name;
    let name = faults.name(&format!("{path}.name"), &wire_name);
    faults.short(&format!("{path}.version"), &version, MAX_VERSION_CHARS);
    faults.text(&format!("{path}.description"), &description, MAX_DESCRIPTION_BYTES);
    let mut schema = |field: &str, wire: Option<prost_types::Struct>| {
        let field = format!("{path}.{field}");
        let found = faults.object(&field, wire.as_ref(), MAX_SCHEMA_BYTES);
        if let Some(fault) = found.as_ref().and_then(|schema| schema::check(schema).err()) {
            faults.add(field, format!("of agent {agent:?} {fault}", agent = wire_name));
        }
        found
    };
    let spec = Spec {
        version,
        description,
        input_schema: schema("input_schema", input_schema),
        output_schema: schema("output_schema", output_schema),
    };
    Some((name?, serde_json::to_string(&spec).expect("texts and JSON always encode")))
}

fn check_labels(labels: &BTreeMap<String, String>, faults: &mut Faults) {
    if labels.len() > MAX_LABELS {
        faults.add("register.labels", format!("has {} labels: write at most {MAX_LABELS}", labels.len()));
    }
    for (key, value) in labels.iter().take(MAX_LABELS) {
        let field = format!("register.labels[{key:.80}]");
        faults.required(&field, key, MAX_LABEL_KEY_BYTES, "a key");
        faults.text(&field, value, MAX_LABEL_VALUE_BYTES);
    }
}

/// The session is open.
pub(crate) fn registered_out(opened: &Opened, max_message_bytes: usize) -> pb::Registered {
    let Opened { session, lease_time, heartbeat_interval, live, max_concurrency } = opened;
    pb::Registered {
        session_id: session.to_string(),
        lease_time: Some(duration(*lease_time)),
        heartbeat_interval: Some(duration(*heartbeat_interval)),
        live_leases: live.iter().map(ToString::to_string).collect(),
        max_concurrency: int32(*max_concurrency),
        max_message_bytes: i64::try_from(max_message_bytes).unwrap_or(i64::MAX),
        server: concat!("bailiwick ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

/// What the runtime tells a session.
pub(crate) fn down_out(down: &Down, drain_grace: Span) -> pb::SessionResponse {
    use pb::session_response::Message;
    let message = match down {
        Down::Assignment(assignment) => Message::Assignment(Box::new(assignment_out(assignment))),
        Down::Cancel { lease, reason, cause } => Message::Cancel(cancel_out(lease, reason, *cause)),
        Down::Drain => Message::Drain(pb::Drain { grace: Some(duration(drain_grace)) }),
    };
    pb::SessionResponse { message: Some(message) }
}

fn cancel_out(lease: &Lease, reason: &str, cause: Option<Cause>) -> pb::Cancel {
    pb::Cancel { lease: (*lease).into(), reason: reason.to_owned(), cause: enums::maybe_cause(cause) }
}

fn assignment_out(assignment: &Assignment) -> pb::Assignment {
    let Assignment {
        lease,
        worker: _,
        agent,
        kind,
        goal,
        input,
        lineage,
        lineage_total,
        result_schema,
        min_confidence,
        hops_left,
        turns_left,
        replans_left,
        rounds_left,
        convergence,
        best_score,
        allowance,
        deadline,
        step,
        notes,
        trips,
        best_result,
        traceparent,
        tracestate,
        acceptance,
        candidate,
        author,
        criteria,
    } = assignment;
    pb::Assignment {
        task_id: lease.task.to_string(),
        turn: int32(lease.turn),
        attempt: int32(lease.attempt),
        lease: (*lease).into(),
        agent: agent.to_string(),
        kind: enums::turn_kind(*kind) as i32,
        goal: goal.clone(),
        input: input.as_ref().map(value),
        lineage: lineage_page(lineage, lineage.len()),
        lineage_total: length(*lineage_total),
        termination: Some(pb::TerminationTerms {
            result_schema: result_schema.as_ref().map(structure),
            min_confidence: *min_confidence,
            hops_left: int32(*hops_left),
            turns_left: int32(*turns_left),
            replans_left: int32(*replans_left),
            rounds_left: int32(*rounds_left),
            convergence: convergence.map(convergence_out),
            best_score: *best_score,
            acceptance: acceptance.clone(),
        }),
        allowance_tokens: int64(*allowance),
        deadline: Some(wire(*deadline)),
        idempotency_key: format!("{}.{}", lease.task, lease.turn),
        traceparent: traceparent.clone().unwrap_or_default(),
        step_id: step.as_ref().map(ToString::to_string).unwrap_or_default(),
        notes: notes.clone(),
        trips: trips.iter().map(trip_out).collect(),
        best_result: best_result.as_ref().map(value),
        tracestate: tracestate.clone().unwrap_or_default(),
        candidate: candidate.as_ref().map(envelope_out),
        author: author.as_ref().map(ToString::to_string).unwrap_or_default(),
        criteria: criteria.clone(),
    }
}

/// Entries for one message: at most `size`, and no more than clients with usual limits can receive beside the rest of an
/// assignment; at least one. GetLineage has the rest.
pub(crate) fn lineage_page(entries: &[LineageEntry], size: usize) -> Vec<pb::LineageEntry> {
    let mut page = Vec::new();
    let mut bytes = 0;
    for entry in entries.iter().take(size) {
        let entry = lineage_out(entry);
        bytes += entry.encoded_len();
        if bytes > MAX_LINEAGE_BYTES && !page.is_empty() {
            break;
        }
        page.push(entry);
    }
    page
}

fn lineage_out(entry: &LineageEntry) -> pb::LineageEntry {
    let LineageEntry { id, turn, agent, step, envelope } = entry;
    pb::LineageEntry {
        id: id.clone(),
        turn: int32(*turn),
        agent: agent.to_string(),
        step_id: step.as_ref().map(ToString::to_string).unwrap_or_default(),
        envelope: Some(envelope_out(envelope)),
    }
}

/// What a request for budget got; `message_id` is 0 off the stream.
pub(crate) fn grant_out(lease: &Lease, grant: Grant, message_id: i64) -> pb::BudgetGrant {
    let Grant { granted, allowance, left } = grant;
    pb::BudgetGrant {
        lease: (*lease).into(),
        granted_tokens: int64(granted),
        allowance_tokens: int64(allowance),
        left_tokens: int64(left),
        message_id,
    }
}

/// An agent, as operators see it.
pub(crate) fn agent_out(info: &AgentInfo, record: Option<&AgentRecord>) -> pb::Agent {
    let AgentInfo { row, workers, waiting, leased, limit, breaker } = info;
    // A spec that cannot be read is shown as one that says nothing: the name is what counts.
    let spec: Spec = serde_json::from_str(&row.spec).unwrap_or_default();
    pb::Agent {
        spec: Some(spec_out(row.name.as_str(), &spec)),
        workers: int32(*workers),
        waiting: int32(*waiting),
        leased: int32(*leased),
        first_seen_at: Some(wire(row.first_seen)),
        last_seen_at: Some(wire(row.last_seen)),
        validator: record.and_then(record::validator_out),
        calibration: record.map(record::calibration_out).unwrap_or_default(),
        // The halts are the server's, and no part of what is known of an agent.
        halt: None,
        breaker: Some(breaker_out(breaker)),
        max_attempts_at_once: int32(limit.unwrap_or_default()),
    }
}

fn spec_out(name: &str, spec: &Spec) -> pb::AgentSpec {
    let Spec { version, description, input_schema, output_schema } = spec;
    pb::AgentSpec {
        name: name.to_owned(),
        version: version.clone(),
        description: description.clone(),
        input_schema: input_schema.as_ref().map(structure),
        output_schema: output_schema.as_ref().map(structure),
    }
}

/// A worker, as operators see it.
pub(crate) fn worker_out(info: &WorkerInfo) -> pb::Worker {
    let WorkerInfo {
        id,
        agents,
        max_concurrency,
        credit,
        leased,
        labels,
        connected_at,
        last_heard_at,
        draining,
        breaker,
    } = info;
    pb::Worker {
        worker_id: id.to_string(),
        agents: agents.iter().map(ToString::to_string).collect(),
        max_concurrency: int32(*max_concurrency),
        credit: int32(*credit),
        leased: int32(*leased),
        labels: labels.clone(),
        connected_at: Some(wire(*connected_at)),
        last_heard_at: Some(wire(*last_heard_at)),
        draining: *draining,
        breaker: Some(breaker_out(breaker)),
    }
}

#[cfg(test)]
mod tests;
