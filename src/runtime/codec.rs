//! Between the engine's values and the store's rows. Never here: a decision, or a change to either side's meaning.

mod json;

use std::cell::RefCell;

use crate::{
    engine::{
        event::{EscalationEnd, Event, Record, VERSION},
        task::Task,
        view::{EscalationView, SummaryView},
    },
    store::{
        Fold, Store, StoreError,
        record::{EscalationRow, StoredEvent, SummaryRow, Text, own_label},
    },
    types::ids::{EscalationId, TaskId},
};

/// What each thread keeps to write JSON into, in bytes.
const MAX_SCRATCH: usize = 64 * 1_024;
/// Events read at once while a task is rebuilt.
const PAGE: usize = 512;

/// An event as the journal keeps it.
pub(super) fn stored(record: &Record) -> StoredEvent {
    StoredEvent {
        seq: record.seq,
        at: record.at,
        kind: record.event.kind().into(),
        version: VERSION,
        body: json(&record.event),
    }
}

/// An event from the journal.
pub(super) fn record(stored: &StoredEvent) -> Result<Record, StoreError> {
    let StoredEvent { seq, at, kind, version, body } = stored;
    if *version > VERSION {
        return Err(StoreError::Corrupt(format!(
            "event {seq} ({kind}) has version {version}, this server reads up to {VERSION}: start a newer one"
        )));
    }
    let event: Event = serde_json::from_str(body)
        .map_err(|error| StoreError::Corrupt(format!("event {seq} ({kind}) cannot be read: {error}")))?;
    Ok(Record { seq: *seq, at: *at, event })
}

/// A task's row, with how it stands. Its texts are made when somebody reads them.
pub(super) fn task_row(task: &Task) -> SummaryRow {
    let outcome = task.outcome();
    SummaryRow {
        task: task.id(),
        state: task.state(),
        ended_by: outcome.map(|outcome| outcome.ended_by),
        cause: outcome.map(|outcome| outcome.cause),
        owner: task.contract().owner.clone(),
        agents: task.agents().clone(),
        labels: labels(task),
        created_at: task.created_at(),
        updated_at: task.updated_at(),
        seq: task.seq(),
        parked: task.parked().map(|parked| Text::later(parked, json)),
        view: Text::later(task.glance(), |glance| json(&glance.summary())),
    }
}

/// How a task stands, for a start that does not replay it.
pub(super) fn standing(task: &Task) -> Option<String> {
    task.parked().as_ref().map(json)
}

/// Its own labels, and those that only the server gives.
fn labels(task: &Task) -> Vec<(String, String)> {
    let contract = task.contract();
    let parent = task.parent().map(|parent| (own_label::PARENT.to_owned(), parent.task.to_string()));
    let unsettled = (own_label::UNSETTLED.to_owned(), own_label::YES.to_owned());
    let namespace = (!contract.namespace.is_default())
        .then(|| (own_label::NAMESPACE.to_owned(), contract.namespace.to_string()));
    let own = parent.into_iter().chain(task.is_unsettled().then_some(unsettled)).chain(namespace);
    let mut labels: Vec<_> =
        contract.labels.iter().map(|(key, value)| (key.clone(), value.clone())).chain(own).collect();
    labels.sort();
    labels
}

/// A task in a line, from its row.
pub(super) fn summary(row: &SummaryRow) -> Result<SummaryView, StoreError> {
    serde_json::from_str(&row.view)
        .map_err(|error| StoreError::Corrupt(format!("the summary of task {}: {error}", row.task)))
}

/// A question's row.
pub(super) fn escalation_row(view: &EscalationView) -> EscalationRow {
    EscalationRow {
        id: EscalationId { task: view.task, number: view.asked.number },
        open: view.end.is_none(),
        state: escalation_state(view.end).to_owned(),
        asked_at: view.asked_at,
        view: json(view),
    }
}

/// A question, from its row.
pub(super) fn escalation(row: &EscalationRow) -> Result<EscalationView, StoreError> {
    serde_json::from_str(&row.view)
        .map_err(|error| StoreError::Corrupt(format!("question {}: {error}", row.id)))
}

const fn escalation_state(end: Option<EscalationEnd>) -> &'static str {
    match end {
        None => "OPEN",
        Some(EscalationEnd::Approved) => "APPROVED",
        Some(EscalationEnd::Aborted) => "ABORTED",
        Some(EscalationEnd::Expired) => "EXPIRED",
        Some(EscalationEnd::Withdrawn) => "WITHDRAWN",
        Some(EscalationEnd::Amended) => "AMENDED",
        Some(EscalationEnd::Extended) => "EXTENDED",
    }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    thread_local! {
        /// Written here, then copied out once: a text that grows as it is written is moved several times.
        static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        json::write(scratch, value).expect("the engine's values have text keys and finite numbers only");
        let text = std::str::from_utf8(scratch).expect("JSON is written as UTF-8").to_owned();
        scratch.shrink_to(MAX_SCRATCH);
        text
    })
}

/// How a store makes the rows of tasks: the events are replayed.
#[derive(Debug, Clone, Copy, Default)]
pub struct TaskRows;

impl Fold for TaskRows {
    fn row(&self, task: TaskId, events: &[StoredEvent]) -> Result<SummaryRow, StoreError> {
        rebuilt(task, events.iter().map(record).collect::<Result<_, _>>()?).map(|task| task_row(&task))
    }
}

fn rebuilt(id: TaskId, records: Vec<Record>) -> Result<Task, StoreError> {
    Task::replay(id, records).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// A task rebuilt from the journal; `None` where it has no events. Blocks.
pub(super) fn load(store: &dyn Store, id: TaskId) -> Result<Option<Task>, StoreError> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let after = records.last().map_or(0, |record| record.seq);
        let page = store.events(id, after, PAGE)?;
        let last = page.len() < PAGE;
        for event in &page {
            records.push(record(event)?);
        }
        if last {
            break;
        }
    }
    if records.is_empty() {
        return Ok(None);
    }
    rebuilt(id, records).map(Some)
}
