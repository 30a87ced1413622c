//! Rows for tests, short to write.

use bailiwick::{
    store::{
        Store,
        record::{AgentRow, Append, EscalationRow, OpenTask, StoredEvent, SummaryRow},
    },
    types::{
        ids::{AgentName, EscalationId, TaskId},
        outcome::TaskState,
        time::Timestamp,
    },
};
use uuid::Uuid;

pub(crate) fn task(n: u128) -> TaskId {
    TaskId::from(Uuid::from_u128(n))
}

pub(crate) fn agent(name: &str) -> AgentName {
    name.parse().expect("a name")
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn event(seq: u64) -> StoredEvent {
    let body = format!(r#"{{"n":{seq}}}"#);
    StoredEvent { seq, at: Timestamp(1_000 + seq), kind: "turn_opened".into(), version: 3, body }
}

/// The summary of a running task after event `seq`, submitted at time `n`.
pub(crate) fn summary(n: u128, seq: u64) -> SummaryRow {
    SummaryRow {
        task: task(n),
        state: TaskState::Running,
        ended_by: None,
        cause: None,
        owner: agent("owner"),
        agents: [agent("owner"), agent("helper")].into(),
        labels: labels(&[("env", "prod")]),
        created_at: Timestamp(u64::try_from(n).expect("a small number")),
        updated_at: Timestamp(1_000 + seq),
        seq,
        parked: seq.is_multiple_of(2).then(|| format!(r#"{{"at":{seq}}}"#).into()),
        view: format!(r#"{{"seq":{seq}}}"#).into(),
    }
}

/// `count` events for task `n` after `expected_seq`.
pub(crate) fn append(n: u128, expected_seq: u64, count: u64) -> Append {
    Append {
        task: task(n),
        expected_seq,
        events: (1..=count).map(|i| event(expected_seq + i)).collect(),
        summary: summary(n, expected_seq + count),
        escalations: Vec::new(),
        sums: Vec::new(),
    }
}

/// The first event of task `n`, with a changed summary.
pub(crate) fn first(n: u128, change: impl FnOnce(&mut SummaryRow)) -> Append {
    let mut append = append(n, 0, 1);
    change(&mut append.summary);
    append
}

pub(crate) fn escalation(n: u128, number: u32, state: &str, asked_at: u64) -> EscalationRow {
    EscalationRow {
        id: EscalationId { task: task(n), number },
        open: state == "OPEN",
        state: state.to_owned(),
        asked_at: Timestamp(asked_at),
        view: format!(r#"{{"question":"{n}.{number}"}}"#),
    }
}

pub(crate) fn agent_row(name: &str, first_seen: u64, last_seen: u64) -> AgentRow {
    AgentRow {
        name: agent(name),
        first_seen: Timestamp(first_seen),
        last_seen: Timestamp(last_seen),
        spec: format!(r#"{{"seen":{last_seen}}}"#),
    }
}

/// The open tasks, read in pages of several sizes, which must not matter.
pub(crate) fn open_ids(store: &dyn Store) -> Vec<TaskId> {
    let pages = |size: usize| {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = store.open_tasks(after, size).expect("a page");
            ids.extend(page.iter().map(|open| open.task));
            match page.last() {
                _ if page.len() < size => return ids,
                last => after = last.map(OpenTask::place),
            }
        }
    };
    let whole = pages(1_000);
    for size in 1..=3 {
        assert_eq!(pages(size), whole, "in pages of {size}");
    }
    whole
}
