//! Random batches, valid and not, over both stores: every answer and every read must be the same.

use bailiwick::{
    store::{
        Store,
        record::{Append, EscalationRow, PageAfter, SummaryRow, TaskFilter},
    },
    types::{
        outcome::{Cause, EndedBy, TaskState},
        time::Timestamp,
    },
};
use proptest::{collection::vec, option, prelude::*, sample::select, sample::subsequence};

use crate::rows::{agent, append, escalation, labels, open_ids, task};

const AGENTS: [&str; 3] = ["owner", "helper", "critic"];
const LABELS: [(&str, &str); 4] = [(":namespace", "team"), ("env", "prod"), ("team", "a"), ("zone", "z")];
const TASKS: u128 = 6;

/// A step on one task: what it adds, and where it believes the task to be.
#[derive(Debug, Clone)]
struct Step {
    n: u128,
    events: u64,
    /// Added to the true number, so that some steps conflict.
    off: u64,
    change: Change,
}

#[derive(Debug, Clone)]
struct Change {
    state: TaskState,
    ended_by: Option<EndedBy>,
    cause: Option<Cause>,
    owner: &'static str,
    agents: Vec<&'static str>,
    labels: Vec<(&'static str, &'static str)>,
    created_at: u64,
    question: Option<(u32, &'static str, u64)>,
}

fn change() -> impl Strategy<Value = Change> {
    (
        select(TaskState::ALL.to_vec()),
        option::of(select(EndedBy::ALL.to_vec())),
        option::of(select(Cause::ALL[..4].to_vec())),
        select(AGENTS.to_vec()),
        subsequence(AGENTS.to_vec(), 0..=3).prop_shuffle(),
        subsequence(LABELS.to_vec(), 0..=3),
        0..4_u64,
        option::of((1..4_u32, select(vec!["OPEN", "APPROVED"]), 0..4_u64)),
    )
        .prop_map(|(state, ended_by, cause, owner, agents, labels, created_at, question)| Change {
            state,
            ended_by,
            cause,
            owner,
            agents,
            labels,
            created_at,
            question,
        })
}

fn step() -> impl Strategy<Value = Step> {
    (1..=TASKS, 0..20_u64, prop_oneof![30 => Just(0), 1 => Just(1_u64)], change()).prop_map(
        |(n, events, off, change)| {
            // Now and then none at all, which no store takes.
            Step { n, events: events.min(3), off, change }
        },
    )
}

fn filter() -> impl Strategy<Value = TaskFilter> {
    (
        subsequence(TaskState::ALL.to_vec(), 0..=3),
        subsequence(Cause::ALL[..4].to_vec(), 0..=2),
        option::of(select(AGENTS.to_vec())),
        subsequence(LABELS.to_vec(), 0..=2),
        option::of(0..4_u64),
        option::of(select(vec!["default", "team"])),
    )
        .prop_map(|(states, causes, name, pairs, since, namespace)| TaskFilter {
            states,
            causes,
            agent: name.map(agent),
            labels: labels(&pairs),
            since: since.map(Timestamp),
            parent: None,
            namespace: namespace.map(|name| name.parse().expect("a valid name")),
        })
}

fn to_append(step: &Step, seq: u64) -> Append {
    let Step { n, events, off, change } = step;
    let base = append(*n, seq + off, *events);
    let question = change.question.map(|(number, state, at)| escalation(*n, number, state, at));
    Append {
        summary: SummaryRow {
            state: change.state,
            ended_by: change.ended_by,
            cause: change.cause,
            owner: agent(change.owner),
            agents: change.agents.iter().map(|name| agent(name)).collect(),
            labels: labels(&change.labels),
            created_at: Timestamp(change.created_at),
            ..base.summary
        },
        escalations: question.into_iter().collect::<Vec<EscalationRow>>(),
        ..base
    }
}

/// Numbers the steps of a batch on from what the store has.
fn to_batch(store: &dyn Store, steps: &[Step]) -> Vec<Append> {
    let mut batch: Vec<Append> = Vec::new();
    for step in steps {
        let earlier = batch.iter().rev().find(|append| append.task == task(step.n));
        let stored = || store.summary(task(step.n)).expect("a read").map_or(0, |row| row.seq);
        let seq = earlier.map_or_else(stored, Append::last_seq);
        batch.push(to_append(step, seq));
    }
    batch
}

fn same_reads(a: &dyn Store, b: &dyn Store, filters: &[TaskFilter]) {
    assert_eq!(a.log(0, 1_000), b.log(0, 1_000));
    assert_eq!(a.log(3, 4), b.log(3, 4));
    assert_eq!(a.open_tasks(None, 100), b.open_tasks(None, 100));
    assert_eq!(open_ids(a), open_ids(b));
    assert_eq!(a.open_count(), b.open_count());
    for n in 1..=TASKS {
        assert_eq!(a.summary(task(n)), b.summary(task(n)));
        assert_eq!(a.events(task(n), 1, 5), b.events(task(n), 1, 5));
        assert_eq!(a.escalations(&[], Some(task(n)), None, 9), b.escalations(&[], Some(task(n)), None, 9));
    }
    let open = ["OPEN".to_owned()];
    let questions = a.escalations(&open, None, None, 100);
    assert_eq!(questions, b.escalations(&open, None, None, 100));
    for row in questions.expect("a list") {
        let after = Some((row.asked_at, row.id));
        assert_eq!(a.escalations(&[], None, after, 3), b.escalations(&[], None, after, 3));
        assert_eq!(a.escalation(row.id), Ok(Some(row)));
    }
    for filter in filters {
        let rows = a.list(filter, None, 100);
        assert_eq!(rows, b.list(filter, None, 100), "{filter:?}");
        for row in rows.expect("a list") {
            let after = Some(PageAfter { created_at: row.created_at, task: row.task });
            assert_eq!(a.list(filter, after, 2), b.list(filter, after, 2), "{filter:?} after {after:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_stores_answer_alike(batches in vec(vec(step(), 1..6), 1..8), filters in vec(filter(), 6)) {
        let (memory, sqlite) = (crate::memory(), crate::sqlite());
        for steps in batches {
            let batch = to_batch(&*memory.store, &steps);
            prop_assert_eq!(memory.store.commit(&batch), sqlite.store.commit(&batch));
        }
        same_reads(&*memory.store, &*sqlite.store, &filters);
    }
}
