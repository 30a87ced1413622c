//! Random commits, and between them everything that can happen to the tables: written or not, half written, deleted, those
//! of yesterday; crashes and restarts. After each step every read answers like the store in memory.

use std::{fs, path::PathBuf};

use proptest::{collection::vec, option, prelude::*, sample::select, sample::subsequence};
use serde::{Deserialize, Serialize};

use super::*;
use crate::{
    store::memory::MemoryStore,
    types::{ids::AgentName, outcome::EndedBy},
};

const TASKS: u128 = 5;
const AGENTS: [&str; 3] = ["owner", "helper", "critic"];
const LABELS: [(&str, &str); 2] = [("env", "prod"), ("team", "a")];

#[derive(Debug, Clone)]
struct Step {
    n: u128,
    events: u64,
    /// Added to the true number, so that some conflict.
    off: u64,
    state: TaskState,
    cause: Option<Cause>,
    owner: &'static str,
    agents: Vec<&'static str>,
    labels: Vec<(&'static str, &'static str)>,
    created_at: u64,
    question: Option<(u32, &'static str, u64)>,
    sum: Option<(&'static str, u64)>,
    parked: bool,
}

/// What happens.
#[derive(Debug, Clone)]
enum Act {
    Commit(Vec<Step>),
    /// The tables are written.
    Write,
    /// They cannot be written, once.
    FailToWrite,
    /// The process is gone while the tables are written: pages of them are in the log, but no commit.
    CrashWhileWriting,
    /// The process is gone.
    Crash,
    /// The server is stopped and started.
    Restart,
    /// The same, and the tables are deleted in between.
    LoseTables,
    /// The same, and the tables are those of an earlier time.
    OldTables,
    SetNumber(&'static str, u64),
    Note(u128, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let place = (1..=TASKS, 1..4_u64, prop_oneof![30 => Just(0), 1 => Just(1_u64)]);
    let face = (
        select(TaskState::ALL.to_vec()),
        option::of(select(Cause::ALL[..3].to_vec())),
        select(AGENTS.to_vec()),
        subsequence(AGENTS.to_vec(), 0..=3).prop_shuffle(),
        subsequence(LABELS.to_vec(), 0..=2),
        0..4_u64,
    );
    let rest = (
        option::of((1..3_u32, select(vec!["OPEN", "APPROVED"]), 0..4_u64)),
        option::of((select(vec!["tally.a", "tally.b"]), 0..5_u64)),
        any::<bool>(),
    );
    (place, face, rest).prop_map(|(place, face, rest)| {
        let ((n, events, off), (state, cause, owner, agents, labels, created_at)) = (place, face);
        let (question, sum, parked) = rest;
        Step { n, events, off, state, cause, owner, agents, labels, created_at, question, sum, parked }
    })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => vec(step(), 1..5).prop_map(Act::Commit),
        4 => Just(Act::Write),
        1 => Just(Act::FailToWrite),
        1 => Just(Act::CrashWhileWriting),
        1 => Just(Act::Crash),
        1 => Just(Act::Restart),
        1 => Just(Act::LoseTables),
        1 => Just(Act::OldTables),
        1 => (select(vec!["cursor", "tally.a"]), 0..9_u64).prop_map(|(name, value)| Act::SetNumber(name, value)),
        1 => (1..=TASKS, 0..6_u64).prop_map(|(n, seq)| Act::Note(n, seq)),
    ]
}

fn id(n: u128) -> TaskId {
    TaskId::from(Uuid::from_u128(n))
}

fn name(name: &str) -> AgentName {
    name.parse().expect("a name")
}

fn to_append(step: &Step, seq: u64) -> Append {
    let Step { n, events, off, state, cause, owner, agents, labels, created_at, question, sum, parked } =
        step;
    let task = id(*n);
    let expected_seq = seq + off;
    let last = expected_seq + events;
    let escalation = |(number, state, at): (u32, &str, u64)| EscalationRow {
        id: EscalationId { task, number },
        open: state == "OPEN",
        state: state.to_owned(),
        asked_at: Timestamp(at),
        view: format!("{number} at {last}"),
    };
    let summary = SummaryRow {
        task,
        state: *state,
        ended_by: cause.map(|_| EndedBy::Owner),
        cause: *cause,
        owner: name(owner),
        agents: agents.iter().map(|agent| name(agent)).collect(),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        created_at: Timestamp(*created_at),
        updated_at: Timestamp(last),
        seq: last,
        parked: parked.then(|| format!("parked at {last}").into()),
        view: format!("view at {last}").into(),
    };
    // The last event says all that is in the row, for a store that makes rows of events.
    let event = |seq| {
        let row = (seq == last).then(|| Said::of(&summary));
        let body = serde_json::to_string(&(n, seq, row)).expect("plain words");
        StoredEvent { seq, at: Timestamp(seq), kind: format!("kind {seq}").into(), version: 2, body }
    };
    Append {
        task,
        expected_seq,
        events: (expected_seq + 1..=last).map(event).collect(),
        summary,
        escalations: question.map(escalation).into_iter().collect(),
        sums: sum.map(|(name, more)| (name.to_owned(), more)).into_iter().collect(),
    }
}

/// A row as an event says it.
#[derive(Serialize, Deserialize)]
struct Said {
    ended: (TaskState, Option<EndedBy>, Option<Cause>),
    found_by: (AgentName, Arc<[AgentName]>, Vec<(String, String)>),
    times: (Timestamp, Timestamp),
    texts: (Option<String>, String),
}

impl Said {
    fn of(row: &SummaryRow) -> Self {
        let SummaryRow { state, ended_by, cause, owner, agents, labels, parked, view, .. } = row.clone();
        Self {
            ended: (state, ended_by, cause),
            found_by: (owner, agents, labels),
            times: (row.created_at, row.updated_at),
            texts: (parked.as_deref().map(str::to_owned), view.to_string()),
        }
    }
}

/// Makes rows of the last of their events, and checks that it was given all.
struct LastSays;

impl Fold for LastSays {
    fn row(&self, task: TaskId, events: &[StoredEvent]) -> Result<SummaryRow, StoreError> {
        assert!(events.iter().map(|event| event.seq).eq(1..=events.len() as u64), "all, in their order");
        let last = events.last().expect("a task has events");
        let (_, seq, said): (u128, u64, Option<Said>) = serde_json::from_str(&last.body).expect("as written");
        let Said { ended, found_by, times: (created_at, updated_at), texts: (parked, view) } =
            said.expect("a commit ends with one that says it");
        let ((state, ended_by, cause), (owner, agents, labels)) = (ended, found_by);
        let (parked, view) = (parked.map(Into::into), view.into());
        Ok(SummaryRow {
            task,
            state,
            ended_by,
            cause,
            owner,
            agents,
            labels,
            created_at,
            updated_at,
            seq,
            parked,
            view,
        })
    }
}

/// The store on disk and what it should be like.
struct Rig {
    fold: Option<Arc<dyn Fold>>,
    folder: tempfile::TempDir,
    lives: u32,
    store: SqliteStore,
    work: projector::Work,
    memory: MemoryStore,
}

impl Rig {
    fn new(folds: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let fold = folds.then(|| Arc::new(LastSays) as Arc<dyn Fold>);
        let (store, work) = SqliteStore::assemble(&folder.path().join("0.db"), fold.clone()).expect("new");
        Self { fold, folder, lives: 0, store, work, memory: MemoryStore::new() }
    }

    fn file(&self, life: u32, suffix: &str) -> PathBuf {
        self.folder.path().join(format!("{life}.db{suffix}"))
    }

    /// Copies the files as they are at this moment, and goes on with the copy.
    fn crash(&mut self, suffixes: &[&str]) {
        for suffix in suffixes {
            let from = self.file(self.lives, suffix);
            if from.exists() {
                fs::copy(from, self.file(self.lives + 1, suffix)).expect("a copy");
            }
        }
        self.lives += 1;
        (self.store, self.work) =
            SqliteStore::assemble(&self.file(self.lives, ""), self.fold.clone()).expect("it starts");
    }

    /// Stops, lets something happen to the tables, and starts.
    fn restart(&mut self, meanwhile: impl FnOnce(&Self)) {
        let elsewhere = tempfile::tempdir().expect("a folder");
        // Something must stand in its place while it is closed.
        let (store, work) = SqliteStore::assemble(&elsewhere.path().join("none.db"), None).expect("new");
        (self.store, self.work) = (store, work);
        meanwhile(self);
        (self.store, self.work) =
            SqliteStore::assemble(&self.file(self.lives, ""), self.fold.clone()).expect("it starts");
    }

    fn act(&mut self, act: &Act) {
        const ALL: [&str; 4] = ["", "-wal", "-views", "-views-wal"];
        match act {
            Act::Commit(steps) => {
                let mut batch: Vec<Append> = Vec::new();
                for step in steps {
                    let earlier = batch.iter().rev().find(|append| append.task == id(step.n));
                    let stored = || self.memory.summary(id(step.n)).expect("a read").map_or(0, |row| row.seq);
                    let seq = earlier.map_or_else(stored, Append::last_seq);
                    batch.push(to_append(step, seq));
                }
                assert_eq!(self.store.commit(&batch), self.memory.commit(&batch));
            }
            Act::Write => drop(self.work.step().expect("written")),
            Act::FailToWrite => {
                // Nothing can be written through it.
                let only_read = |on: bool| {
                    projector::lock(&self.work.views).pragma_update(None, "query_only", on).expect("set")
                };
                only_read(true);
                let before = self.store.overlay.gathered();
                let result = self.work.step();
                assert_eq!(result.is_err(), before, "{result:?}");
                only_read(false);
            }
            Act::CrashWhileWriting => {
                let views = Arc::clone(&self.work.views);
                let mut views = projector::lock(&views);
                views
                    .pragma_update(None, "cache_size", 1)
                    .expect("a small cache, so that pages go to the log");
                if let Some(generation) = self.store.overlay.take() {
                    let transaction = views.transaction().expect("begun");
                    project::write(&transaction, &generation, self.work.kept)
                        .expect("written, not committed");
                    for suffix in ALL {
                        let from = self.file(self.lives, suffix);
                        fs::copy(from, self.file(self.lives + 1, suffix)).expect("a copy");
                    }
                    drop(transaction);
                    drop(views);
                    self.crash(&[]);
                }
            }
            Act::Crash => self.crash(&ALL),
            Act::Restart => self.restart(|_| {}),
            Act::LoseTables => self.crash(&["", "-wal"]),
            Act::OldTables => {
                // Those of the first life that has any.
                let first = (0..=self.lives).find(|life| self.file(*life, "-views").exists());
                self.restart(|rig| {
                    let (from, to) = (rig.file(first.unwrap_or(0), "-views"), rig.file(rig.lives, "-views"));
                    if from != to {
                        let copy = fs::read(from).expect("a file");
                        fs::write(to, copy).expect("a copy");
                    }
                });
            }
            Act::SetNumber(name, value) => {
                assert_eq!(self.store.set_number(name, *value), self.memory.set_number(name, *value));
            }
            Act::Note(n, seq) => {
                let note = ParkedNote { task: id(*n), seq: *seq, parked: format!("noted at {seq}") };
                assert_eq!(
                    self.store.note_parked(std::slice::from_ref(&note)),
                    self.memory.note_parked(&[note])
                );
            }
        }
    }

    /// Where a note was lost, both have again what came with the last event, or nothing, which a note cannot say and an empty one
    /// stands for: notes are written in no journal.
    fn forget_notes(&self, act: &Act) {
        if !matches!(act, Act::Commit(_) | Act::Write | Act::SetNumber(..)) {
            for n in 1..=TASKS {
                let stored = self.store.summary(id(n)).expect("a read");
                let known = self.memory.summary(id(n)).expect("a read");
                let (Some(stored), Some(known)) = (stored, known) else { continue };
                if stored.parked.as_deref().unwrap_or_default() != known.parked.as_deref().unwrap_or_default()
                {
                    let lost = known.parked.as_ref().is_some_and(|parked| parked.starts_with("noted"));
                    assert!(lost, "{stored:?} {known:?}");
                    let parked = stored.parked.as_deref().unwrap_or_default().to_owned();
                    self.memory
                        .note_parked(&[ParkedNote { task: id(n), seq: known.seq, parked }])
                        .expect("noted");
                }
            }
        }
    }

    fn check(&self) {
        let (a, b): (&dyn Store, &dyn Store) = (&self.store, &self.memory);
        let without_notes = |rows: Vec<SummaryRow>| -> Vec<SummaryRow> {
            rows.into_iter()
                .map(|row| SummaryRow { parked: row.parked.filter(|it| !it.is_empty()), ..row })
                .collect()
        };
        assert_eq!(a.log(0, 1_000), b.log(0, 1_000));
        assert_eq!(a.log(2, 3), b.log(2, 3));
        assert_eq!(a.log_end(), b.log_end());
        assert_eq!(a.open_count(), b.open_count());
        for limit in [2, 100] {
            let ids = |store: &dyn Store, after| -> Vec<_> {
                let open = store.open_tasks(after, limit).expect("a page");
                open.into_iter().map(|open| (open.place(), open.parked.unwrap_or_default())).collect()
            };
            let first = ids(a, None);
            assert_eq!(first, ids(b, None));
            let after = first.last().map(|(place, _)| *place);
            assert_eq!(ids(a, after), ids(b, after));
        }
        for n in 1..=TASKS {
            let row =
                |store: &dyn Store| without_notes(store.summary(id(n)).expect("a row").into_iter().collect());
            assert_eq!(row(a), row(b));
            for (after, limit) in [(0, 100), (1, 2), (4, 100)] {
                assert_eq!(a.events(id(n), after, limit), b.events(id(n), after, limit), "{n} {after}");
            }
            assert_eq!(a.escalations(&[], Some(id(n)), None, 9), b.escalations(&[], Some(id(n)), None, 9));
            let question = EscalationId { task: id(n), number: 1 };
            assert_eq!(a.escalation(question), b.escalation(question));
        }
        let open = ["OPEN".to_owned()];
        let rows = a.escalations(&open, None, None, 3);
        assert_eq!(rows, b.escalations(&open, None, None, 3));
        let last = rows.expect("a list").last().map(|row| (row.asked_at, row.id));
        assert_eq!(a.escalations(&open, None, last, 3), b.escalations(&open, None, last, 3));
        for prefix in ["", "tally."] {
            assert_eq!(a.numbers(prefix), b.numbers(prefix));
        }
        let filters = [
            TaskFilter::default(),
            TaskFilter { states: vec![TaskState::Running, TaskState::Queued], ..TaskFilter::default() },
            TaskFilter { states: vec![TaskState::Failed, TaskState::Succeeded], ..TaskFilter::default() },
            TaskFilter { agent: Some(name("helper")), since: Some(Timestamp(1)), ..TaskFilter::default() },
            TaskFilter { labels: vec![("env".to_owned(), "prod".to_owned())], ..TaskFilter::default() },
            TaskFilter { causes: Cause::ALL[..2].to_vec(), ..TaskFilter::default() },
        ];
        for filter in filters {
            let page = |store: &dyn Store, after, limit| {
                without_notes(store.list(&filter, after, limit).expect("a page"))
            };
            let first = page(a, None, 2);
            assert_eq!(first, page(b, None, 2), "{filter:?}");
            let after = first.last().map(|row| PageAfter { created_at: row.created_at, task: row.task });
            assert_eq!(page(a, after, 9), page(b, after, 9), "{filter:?} {after:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_the_tables_reads_are_those_of_the_journal(folds in any::<bool>(), acts in vec(act(), 1..24)) {
        let mut rig = Rig::new(folds);
        for act in &acts {
            rig.act(act);
            rig.forget_notes(act);
            rig.check();
        }
    }
}
