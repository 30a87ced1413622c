//! From an entry of the log to what a sink is sent. The body is made from the journal alone, so that a notice that is sent
//! again, even after a restart, has the same id and says the same. docs/webhooks.md explains every field.
//!
//! Never here: results and inputs of tasks. They may be large and private; whoever may see them asks the server.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::kind::NoticeKind;
use crate::{
    engine::{
        event::{Escalated, EscalationEnd, Event, Outcome, Trip},
        view::EscalationView,
    },
    store::{
        Store, StoreError,
        record::{LogEntry, SummaryRow},
    },
    telemetry::follower::decode,
    types::{
        contract::DefaultAnswer,
        drill,
        ids::{EscalationId, TaskId, TurnNumber},
        outcome::{Cause, EndedBy, TaskState},
        time::Timestamp,
    },
};

/// Version of the body's schema: raised when a field is removed or changes its meaning, not when one is added.
pub(super) const SCHEMA: u32 = 1;
/// Findings, lines of a story and turns of a trip that a body lists.
const MOST_LISTED: usize = 20;
/// Characters of a text that others wrote.
const MOST_CHARS: usize = 1_000;

/// What one sink is sent about one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The place of its event in the log.
    pub position: u64,
    /// The id by which a receiver knows it again: `<task>/<number of the event>`.
    pub id: String,
    /// What it is about.
    pub kind: NoticeKind,
    /// The body, as JSON.
    pub body: String,
}

#[derive(Serialize)]
struct Body<'a> {
    schema: u32,
    event_id: &'a str,
    kind: &'static str,
    occurred_at: String,
    drill: bool,
    task: TaskPart,
    #[serde(skip_serializing_if = "Option::is_none")]
    escalation: Option<EscalationPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trips: Option<Vec<TripPart>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<OutcomePart>,
}

#[derive(Serialize, Default)]
struct TaskPart {
    id: String,
    goal: String,
    owner: String,
    labels: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct EscalationPart {
    id: String,
    question: String,
    cause: Option<Cause>,
    has_candidate: bool,
    confidence: Option<f64>,
    findings: Vec<String>,
    story: Vec<String>,
    asked_at: String,
    expires_at: String,
    default_answer: Option<DefaultAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    how_to_answer: Option<HowToAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<EndPart>,
}

#[derive(Serialize)]
struct HowToAnswer {
    show: String,
    /// `None`: there is nothing to approve.
    approve: Option<String>,
    amend: String,
    extend: String,
    abort: String,
    rpc: &'static str,
}

#[derive(Serialize)]
struct EndPart {
    state: EscalationEnd,
    by: String,
    note: String,
}

#[derive(Serialize)]
struct TripPart {
    cause: Cause,
    evidence: String,
    turns: Vec<TurnNumber>,
}

#[derive(Serialize)]
struct OutcomePart {
    state: TaskState,
    ended_by: EndedBy,
    cause: Cause,
    reason: String,
    has_result: bool,
    findings: Vec<String>,
}

/// What of the summary's JSON is used here.
#[derive(Deserialize, Default)]
struct SummaryWords {
    #[serde(default)]
    goal: String,
}

/// The notice of an entry, where it is of a kind in `kinds`. Blocks.
///
/// # Errors
/// The store cannot be read.
pub fn of(store: &dyn Store, kinds: &[NoticeKind], entry: &LogEntry) -> Result<Option<Notice>, StoreError> {
    if !kinds.iter().any(|kind| kind.may_be(&entry.event.kind)) {
        return Ok(None);
    }
    let record = match decode(&entry.event) {
        Ok(record) => record,
        Err(error) => {
            let (task, seq, kind) = (entry.task, entry.event.seq, &*entry.event.kind);
            tracing::error!(%task, seq, kind, error, "an event cannot be read: no webhook is told of it");
            return Ok(None);
        }
    };
    let Some(kind) = NoticeKind::of(&record.event).filter(|kind| kinds.contains(kind)) else {
        return Ok(None);
    };
    let id = format!("{}/{}", entry.task, record.seq);
    let summary = store.summary(entry.task)?;
    let mut body = Body {
        schema: SCHEMA,
        event_id: &id,
        kind: kind.name(),
        occurred_at: record.at.to_string(),
        drill: summary.as_ref().is_some_and(is_drill),
        task: task_part(entry.task, summary),
        escalation: None,
        trips: None,
        outcome: None,
    };
    match &record.event {
        Event::Escalated(asked) => body.escalation = Some(asked_part(store, entry.task, asked, record.at)?),
        Event::EscalationEnded { number, end, by, note, .. } => {
            let end = EndPart { state: *end, by: clipped(by), note: clipped(note) };
            body.escalation = ended_part(store, EscalationId { task: entry.task, number: *number }, end)?;
        }
        Event::GuardsTripped { trips, .. } => body.trips = Some(trips.iter().map(trip_part).collect()),
        Event::Ended { outcome, .. } => body.outcome = Some(outcome_part(outcome)),
        _ => {}
    }
    let body = serde_json::to_string(&body)
        .map_err(|error| StoreError::Corrupt(format!("event {id} makes no body: {error}")))?;
    Ok(Some(Notice { position: entry.position, id, kind, body }))
}

fn is_drill(row: &SummaryRow) -> bool {
    row.labels.iter().any(|(key, _)| key == drill::LABEL)
}

fn task_part(task: TaskId, summary: Option<SummaryRow>) -> TaskPart {
    let id = task.to_string();
    // Events and summaries are committed together, so that there is one.
    let Some(row) = summary else { return TaskPart { id, ..TaskPart::default() } };
    let words: SummaryWords = serde_json::from_str(&row.view).unwrap_or_default();
    let labels = row.labels.into_iter().collect();
    TaskPart { id, goal: words.goal, owner: row.owner.to_string(), labels }
}

fn asked_part(
    store: &dyn Store,
    task: TaskId,
    asked: &Escalated,
    at: Timestamp,
) -> Result<EscalationPart, StoreError> {
    let id = EscalationId { task, number: asked.number };
    let default_answer = view(store, id)?.map(|view| view.default_answer);
    let approvable = asked.candidate.is_some() || asked.cause.is_none();
    let how = HowToAnswer {
        show: format!("bailiwick show {id}"),
        approve: approvable.then(|| format!("bailiwick approve {id} --by NAME")),
        amend: format!("bailiwick amend {id} --by NAME --result FILE"),
        extend: format!("bailiwick extend {id} --by NAME --tokens N --hops N --time DURATION"),
        abort: format!("bailiwick abort {id} --by NAME"),
        rpc: "bailiwick.v1.OperatorService/AnswerEscalation",
    };
    Ok(EscalationPart { how_to_answer: Some(how), ..part(id, asked, at, default_answer) })
}

fn ended_part(
    store: &dyn Store,
    id: EscalationId,
    end: EndPart,
) -> Result<Option<EscalationPart>, StoreError> {
    let view = view(store, id)?;
    Ok(view.map(|view| EscalationPart {
        end: Some(end),
        ..part(id, &view.asked, view.asked_at, Some(view.default_answer))
    }))
}

/// The question's row. What it says of the asking never changes.
fn view(store: &dyn Store, id: EscalationId) -> Result<Option<EscalationView>, StoreError> {
    Ok(store.escalation(id)?.and_then(|row| serde_json::from_str(&row.view).ok()))
}

fn part(
    id: EscalationId,
    asked: &Escalated,
    at: Timestamp,
    default_answer: Option<DefaultAnswer>,
) -> EscalationPart {
    EscalationPart {
        id: id.to_string(),
        question: clipped(&asked.question),
        cause: asked.cause,
        has_candidate: asked.candidate.is_some(),
        confidence: asked.confidence.map(|confidence| confidence.get()),
        findings: listed(&asked.findings),
        story: listed(&asked.story),
        asked_at: at.to_string(),
        expires_at: asked.expires_at.to_string(),
        default_answer,
        how_to_answer: None,
        end: None,
    }
}

fn trip_part(trip: &Trip) -> TripPart {
    let turns = trip.turns.iter().take(MOST_LISTED).copied().collect();
    TripPart { cause: trip.cause, evidence: clipped(&trip.evidence), turns }
}

fn outcome_part(outcome: &Outcome) -> OutcomePart {
    OutcomePart {
        state: outcome.state,
        ended_by: outcome.ended_by,
        cause: outcome.cause,
        reason: clipped(&outcome.reason),
        has_result: outcome.result.is_some(),
        findings: listed(&outcome.findings),
    }
}

fn listed(lines: &[String]) -> Vec<String> {
    lines.iter().take(MOST_LISTED).map(|line| clipped(line)).collect()
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
