//! Dead letters, read from the journal: what each attempt died of, and how many nothing was done with. A page costs a page:
//! so many summaries are looked at, and only those that fit are replayed. Never here: a decision.

use std::collections::BTreeMap;

use super::codec;
use crate::{
    engine::{
        event::{AttemptEnd, Event, Record},
        task::Task,
        view::{SettledAs, SummaryView, TaskView},
    },
    store::{
        Store, StoreError,
        record::{PageAfter, TaskFilter},
    },
    types::{
        ids::{AgentName, AttemptNumber, TaskId, TurnNumber, WorkerId},
        outcome::TaskState,
        time::Timestamp,
    },
};

/// Attempts that a story tells, the newest.
pub(super) const MAX_ATTEMPTS: usize = 1_000;
/// Attempts that each story in a list tells, the newest.
const LISTED_ATTEMPTS: usize = 5;
/// Rows read at once.
const MAX_ROWS: usize = 500;
/// Rows looked at for one page; where few fit, the page is short and says where to go on.
const MAX_SCANNED: usize = 5_000;
/// Events of a task read at once.
const EVENTS: usize = 512;
/// The numbers that count dead letters: those there ever were, and those that something was done with.
const EVER: &str = "dead_letters.ever";
const SETTLED: &str = "dead_letters.settled";

/// What is to be listed. Empty lists and `None` mean any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Agent, labels, causes and time, as of any task. States are not looked at.
    pub tasks: TaskFilter,
    /// Only those that something of this was done with; `None` among them: nothing yet.
    pub settled: Vec<Option<SettledAs>>,
}

/// A page of dead letters.
#[derive(Debug, Clone)]
pub struct DeadLetterPage {
    /// Those that fit, newest first.
    pub letters: Vec<DeadLetterStory>,
    /// Where to go on, if the page ended before `limit` because enough had been looked at.
    pub scanned_to: Option<PageAfter>,
}

/// A dead letter with its story.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetterStory {
    /// The task, with its contract, lineage, ledger and what was done with it.
    pub task: TaskView,
    /// The newest attempts, oldest first.
    pub attempts: Vec<AttemptStory>,
    /// Attempts there were in all.
    pub attempts_total: usize,
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // Named as the fields of `Attempt` in proto/bailiwick/v1/dead_letter.proto.
pub struct AttemptStory {
    pub turn: TurnNumber,
    pub attempt: AttemptNumber,
    pub agent: AgentName,
    pub worker: WorkerId,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// How it ended; `None`: it was answered, or is not known to have ended.
    pub end: Option<AttemptEnd>,
    /// Whether it was answered.
    pub answered: bool,
    pub reason: String,
    pub allowance: u64,
    pub spent: u64,
}

/// Reads a page. Blocks.
pub(super) fn page(
    store: &dyn Store,
    filter: &DeadLetterFilter,
    after: Option<PageAfter>,
    limit: usize,
) -> Result<DeadLetterPage, StoreError> {
    let (ids, scanned_to) = ids(store, filter, after, limit)?;
    let mut letters = Vec::with_capacity(ids.len());
    for id in ids {
        letters.extend(story(store, id, LISTED_ATTEMPTS)?);
    }
    Ok(DeadLetterPage { letters, scanned_to })
}

/// The ids of a page, and where to go on if there may be more. Blocks.
pub(super) fn ids(
    store: &dyn Store,
    filter: &DeadLetterFilter,
    mut after: Option<PageAfter>,
    limit: usize,
) -> Result<(Vec<TaskId>, Option<PageAfter>), StoreError> {
    let tasks = TaskFilter { states: vec![TaskState::DeadLettered], ..filter.tasks.clone() };
    let (mut ids, mut scanned) = (Vec::new(), 0);
    loop {
        let rows = store.list(&tasks, after, MAX_ROWS)?;
        for row in &rows {
            // One that fits beyond the limit says that there is more, and comes on the next page.
            if fits(filter, &codec::summary(row)?) {
                if ids.len() >= limit {
                    return Ok((ids, after));
                }
                ids.push(row.task);
            }
            after = Some(PageAfter { created_at: row.created_at, task: row.task });
        }
        scanned += rows.len();
        if rows.len() < MAX_ROWS {
            return Ok((ids, None));
        }
        if scanned >= MAX_SCANNED {
            return Ok((ids, after));
        }
    }
}

fn fits(filter: &DeadLetterFilter, summary: &SummaryView) -> bool {
    filter.settled.is_empty() || filter.settled.contains(&summary.settled)
}

/// A dead letter and its newest attempts. Blocks.
pub(super) fn story(
    store: &dyn Store,
    id: TaskId,
    most: usize,
) -> Result<Option<DeadLetterStory>, StoreError> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let after = records.last().map_or(0, |record| record.seq);
        let page = store.events(id, after, EVENTS)?;
        let last = page.len() < EVENTS;
        for event in &page {
            records.push(codec::record(event)?);
        }
        if last {
            break;
        }
    }
    if records.is_empty() {
        return Ok(None);
    }
    let mut attempts = Attempts::default();
    records.iter().for_each(|record| attempts.take(record));
    let task = Task::replay(id, records).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    if !task.is_dead_letter() {
        return Ok(None);
    }
    let attempts_total = attempts.told.len();
    let mut attempts: Vec<_> = attempts.told.into_values().collect();
    attempts.sort_by_key(|attempt| (attempt.started_at, attempt.turn, attempt.attempt));
    attempts.drain(..attempts_total.saturating_sub(most));
    Ok(Some(DeadLetterStory { task: task.view(), attempts, attempts_total }))
}

/// The attempts of a task, out of its records.
#[derive(Default)]
struct Attempts {
    agents: Vec<AgentName>,
    told: BTreeMap<(TurnNumber, AttemptNumber), AttemptStory>,
}

impl Attempts {
    fn take(&mut self, record: &Record) {
        let at = record.at;
        match &record.event {
            Event::TurnOpened { agent, .. } => self.agents.push(agent.clone()),
            Event::AttemptStarted { turn, attempt, worker, allowance, .. } => {
                let index = usize::try_from(*turn).ok().and_then(|turn| turn.checked_sub(1));
                let Some(agent) = index.and_then(|index| self.agents.get(index)).cloned() else { return };
                let (turn, attempt, allowance) = (*turn, *attempt, *allowance);
                let told = AttemptStory {
                    turn,
                    attempt,
                    agent,
                    worker: worker.clone(),
                    started_at: at,
                    ended_at: None,
                    end: None,
                    answered: false,
                    reason: String::new(),
                    allowance,
                    spent: 0,
                };
                self.told.insert((turn, attempt), told);
            }
            Event::BudgetAnswered { turn, attempt, allowance, .. } => {
                self.of(*turn, *attempt, |told| told.allowance = *allowance);
            }
            Event::UsageRecorded { turn, attempt, usage }
            | Event::LateUsage { turn, attempt, usage, child: None } => {
                self.of(*turn, *attempt, |told| told.spent = told.spent.max(usage.tokens()));
            }
            Event::TurnAnswered { turn, attempt, charged, .. } => self.of(*turn, *attempt, |told| {
                told.ended_at = Some(at);
                told.answered = true;
                told.spent = told.spent.max(charged.tokens());
            }),
            Event::AttemptEnded { turn, attempt, end, reason, usage, .. } => {
                self.of(*turn, *attempt, |told| {
                    told.ended_at = Some(at);
                    told.end = Some(*end);
                    told.reason.clone_from(reason);
                    told.spent = told.spent.max(usage.map_or(0, |usage| usage.tokens()));
                });
            }
            _ => {} // Says nothing about an attempt.
        }
    }

    fn of(&mut self, turn: TurnNumber, attempt: AttemptNumber, note: impl FnOnce(&mut AttemptStory)) {
        if let Some(told) = self.told.get_mut(&(turn, attempt)) {
            note(told);
        }
    }
}

/// What records add to the numbers that count dead letters.
pub(super) fn sums(records: &[Record]) -> impl Iterator<Item = (String, u64)> + '_ {
    records.iter().filter_map(|record| match &record.event {
        Event::Ended { outcome, .. } if outcome.state == TaskState::DeadLettered => {
            Some((EVER.to_owned(), 1))
        }
        Event::Redriven(_) | Event::Discarded(_) => Some((SETTLED.to_owned(), 1)),
        _ => None,
    })
}

/// Dead letters that nothing was done with. Blocks.
pub(super) fn open(store: &dyn Store) -> Result<u64, StoreError> {
    let ever = store.number(EVER)?.unwrap_or(0);
    Ok(ever.saturating_sub(store.number(SETTLED)?.unwrap_or(0)))
}

/// Counts the dead letters of a database from before they were counted, once. Blocks.
pub(super) fn count_once(store: &dyn Store) -> Result<(), StoreError> {
    if store.number(EVER)?.is_some() {
        return Ok(());
    }
    let filter = TaskFilter { states: vec![TaskState::DeadLettered], ..TaskFilter::default() };
    let (mut count, mut after) = (0, None);
    loop {
        let rows = store.list(&filter, after, MAX_ROWS)?;
        count += u64::try_from(rows.len()).unwrap_or(0);
        if rows.len() < MAX_ROWS {
            return store.set_number(EVER, count);
        }
        after = rows.last().map(|row| PageAfter { created_at: row.created_at, task: row.task });
    }
}
