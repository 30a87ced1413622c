//! The main job: an audit of a folder by the crew, from the contract to the findings that people read.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use super::{
    budget,
    files::Listing,
    finding::Finding,
    processes::Crew,
    record::charged,
    show::Show,
    task::{self, Done},
};
use crate::{
    cli::{Failure, client::Client},
    console::{
        Look, Tone, ledger, tables,
        text::{between, clean, clip, json as plain, number, plural},
        words,
    },
    pb,
};

/// The share of findings that must hold for the audit to succeed.
const MIN_CONFIDENCE: f64 = 0.8;
/// Findings of one specialist that are printed; the record has all.
const PRINTED: usize = 8;
/// Characters of a finding that are printed.
const TEXT: usize = 140;
/// What somebody can act on comes first.
const ORDER: [&str; 6] = ["unfinished", "links", "twins", "licences", "structure", "summary"];

/// Runs the audit of `root` by `specialists`.
pub(super) async fn run(
    client: &Client,
    show: &Show<'_>,
    root: &Path,
    listing: &Listing,
    specialists: &[String],
) -> Result<Done, Failure> {
    let input = json!({"root": root.to_string_lossy(), "specialists": specialists});
    let goal = format!("Audit {}: what is there, what is unfinished, what is wrong.", root.display());
    let mut contract = task::contract(&goal, "planner", &input, budget::whole(listing, specialists.len()));
    if let Some(budget) = &mut contract.budget {
        budget.max_tokens_per_turn = budget::per_turn(listing, specialists.len());
    }
    if let Some(gate) = &mut contract.gate {
        gate.min_confidence = MIN_CONFIDENCE;
    }
    task::submit(client, show, contract).await?.finish(client, show).await
}

/// The audit's result, as the planner composed it.
pub(super) struct Report {
    /// One sentence.
    pub(super) summary: String,
    /// What each specialist says in a sentence, and its figures.
    pub(super) specialists: BTreeMap<String, Value>,
    /// By specialist, each with why the reviewer does not confirm it, if it does not.
    pub(super) findings: BTreeMap<String, Vec<(Finding, Option<String>)>>,
    /// Specialists that could not be heard, and why.
    pub(super) silent: Vec<(String, String)>,
}

impl Report {
    pub(super) fn of(done: &Done) -> Self {
        let result = done.outcome().result.as_ref().map(plain).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |name: &str| result[name].as_array().cloned().unwrap_or_default();
        let failed: BTreeMap<(String, String), String> = result["review"]["failed"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| ((text(&one["agent"]), text(&one["place"])), text(&one["why"])))
            .collect();
        let mut findings = BTreeMap::<_, Vec<_>>::new();
        for value in list("findings") {
            let agent = text(&value["agent"]);
            let Ok(finding) = serde_json::from_value::<Finding>(value) else { continue };
            let why = failed.get(&(agent.clone(), finding.place())).cloned();
            findings.entry(agent).or_default().push((finding, why));
        }
        let specialists =
            result["specialists"].as_object().cloned().unwrap_or_default().into_iter().collect();
        let silent = list("silent").iter().map(|one| (text(&one["agent"]), text(&one["reason"]))).collect();
        Self { summary: text(&result["summary"]), specialists, findings, silent }
    }

    /// The findings in lines, grouped by specialist.
    pub(super) fn lines(&self, look: Look, crew: &Crew) -> Vec<String> {
        let mut lines = Vec::new();
        let place = |agent: &str| ORDER.iter().position(|known| *known == agent).unwrap_or(ORDER.len());
        let mut specialists: Vec<_> = self.specialists.iter().collect();
        specialists.sort_by_key(|(agent, _)| place(agent));
        for (agent, said) in specialists {
            let summary = clip(said["summary"].as_str().unwrap_or_default(), 300);
            let language = crew.language_of(agent);
            lines.push(format!("{} ({language}): {summary}", look.paint(Tone::Strong, &clean(agent))));
            let findings = self.findings.get(agent).map(Vec::as_slice).unwrap_or_default();
            lines.extend(
                findings.iter().take(PRINTED).map(|(finding, why)| one(look, finding, why.as_deref())),
            );
            if findings.len() > PRINTED {
                lines.push(format!("    and {} more", findings.len() - PRINTED));
            }
        }
        for (agent, reason) in &self.silent {
            lines.push(look.paint(Tone::Bad, &format!("{}: not heard: {}", clean(agent), clip(reason, 200))));
        }
        lines
    }
}

/// A finding in a line: its place first, so that an editor can follow it.
fn one(look: Look, finding: &Finding, why: Option<&str>) -> String {
    let Finding { kind, text, note, value, .. } = finding;
    let unit = if kind == "length" { "line" } else { "byte" };
    let figure = value.map(|value| plural(i64::try_from(value).unwrap_or(i64::MAX), unit));
    // A note often says the text again, or the text the note.
    let said = match (text.as_str(), note.as_str()) {
        (text, note) if note.is_empty() || text.contains(note) => text.to_owned(),
        (text, note) if text.is_empty() || note.contains(text) => note.to_owned(),
        (text, note) => format!("{} ({note})", clip(text, TEXT / 2)),
    };
    let said: Vec<String> = figure.into_iter().chain(Some(said).filter(|said| !said.is_empty())).collect();
    let line = format!("    {}  {}: {}", clean(&finding.place()), clean(kind), clip(&said.join(", "), TEXT));
    match why {
        None => line,
        Some(why) => look.paint(Tone::Bad, &format!("{line} [not confirmed: {}]", clip(why, TEXT))),
    }
}

/// Outcome, envelopes and ledger in lines.
pub(super) fn account(look: Look, done: &Done, crew: &Crew) -> Vec<String> {
    let outcome = done.outcome();
    let summary = done.task.summary.clone().unwrap_or_default();
    let mut lines = vec![format!(
        "{}: {} by {} after {}, {}",
        look.paint(words::state_tone(outcome.state), &words::state(outcome.state)),
        words::cause(outcome.cause),
        words::small(&words::ended_by(outcome.ended_by)),
        between(summary.created_at.as_ref(), summary.ended_at.as_ref()),
        clip(&outcome.reason, 200)
    )];
    lines.push(String::new());
    lines.push(look.paint(Tone::Strong, "envelopes"));
    lines.push(envelopes(look, &done.task.turns, crew));
    lines.push(String::new());
    lines.push(
        look.paint(Tone::Strong, "ledger (tokens are estimates: characters read and written, by four)"),
    );
    let account = done.ledger();
    lines.extend(ledger::lines(&account).into_iter().map(|line| format!("  {line}")));
    let limits = done.task.contract.as_ref().and_then(|contract| contract.limits.as_ref());
    lines.push(format!("  {}", ledger::counters(&done.counters(), limits)));
    lines.push(format!(
        "  checked against the events: {} charged, {} by the {} one by one",
        number(charged(&account)),
        number(done.record.tokens()),
        plural(i64::try_from(done.record.attempts.len()).unwrap_or(i64::MAX), "attempt")
    ));
    lines
}

/// The answers as a table.
fn envelopes(look: Look, turns: &[pb::Turn], crew: &Crew) -> String {
    let rows = turns.iter().map(|turn| envelope(turn, crew)).collect();
    tables::table(
        look,
        &["turn", "agent", "language", "status", "confidence", "tokens (est.)", "time", "worker"],
        rows,
    )
}

fn envelope(turn: &pb::Turn, crew: &Crew) -> Vec<String> {
    let answered = turn.envelope.as_ref();
    let status = match (answered, &turn.decision) {
        (Some(envelope), _) if envelope.directive.is_some() => "delegates".to_owned(),
        (Some(envelope), _) => words::status(envelope.status),
        (None, Some(decision)) => crate::console::turns::decision_words(decision).0.to_owned(),
        (None, None) => words::small(&words::turn_state(turn.state)),
    };
    let confidence = answered.and_then(|envelope| envelope.confidence);
    vec![
        turn.turn.to_string(),
        clean(&turn.agent),
        crew.language_of(&turn.agent).to_owned(),
        status,
        confidence.map(|value| format!("{value:.2}")).unwrap_or_default(),
        number(turn.spent_tokens),
        between(turn.started_at.as_ref(), turn.ended_at.as_ref()),
        clip(&turn.worker_id, 40),
    ]
}

/// The audit as JSON.
pub(super) fn json_of(done: &Done, crew: &Crew) -> Value {
    let report = Report::of(done);
    let outcome = done.outcome();
    let ledger = done.ledger();
    let findings: Vec<Value> = report
        .findings
        .iter()
        .flat_map(|(agent, all)| all.iter().map(move |(finding, why)| (agent, finding, why)))
        .map(|(agent, finding, why)| {
            let mut value = serde_json::to_value(finding).unwrap_or_default();
            value["agent"] = agent.as_str().into();
            value["verified"] = why.is_none().into();
            value
        })
        .collect();
    let envelopes: Vec<Value> = done
        .task
        .turns
        .iter()
        .map(|turn| {
            json!({
                "turn": turn.turn, "agent": turn.agent, "language": crew.language_of(&turn.agent),
                "status": turn.envelope.as_ref().map(|envelope| words::status(envelope.status)),
                "confidence": turn.envelope.as_ref().and_then(|envelope| envelope.confidence),
                "tokens_estimated": turn.spent_tokens, "attempts": turn.attempts, "worker": turn.worker_id,
            })
        })
        .collect();
    json!({
        "task_id": done.id(), "trace_id": done.task.trace_id,
        "state": words::state(outcome.state), "cause": words::cause(outcome.cause),
        "ended_by": words::ended_by(outcome.ended_by), "reason": outcome.reason,
        "summary": report.summary, "specialists": report.specialists, "findings": findings,
        "silent": report.silent, "envelopes": envelopes,
        "ledger": {
            "granted": ledger.granted_tokens, "reserved": ledger.reserved_tokens, "spent": ledger.spent_tokens,
            "overrun": ledger.overrun_tokens, "by_agent": ledger.by_agent,
        },
    })
}
