//! The score of a run: a pure function over what the server's API says of every task and what the outer world has seen
//! (keys under which side effects took place, answers to the same key, times of kills). Never what the run hoped for.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    shapes,
    story::{Finding, Judged, is_end, word},
};
use crate::pb;

/// Findings that are shown of one check; the rest is counted.
const SHOWN: usize = 20;

/// A promise that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Every acknowledged task is there and has ended.
    Lost,
    /// Every task has one outcome, after which nothing happens but late usage.
    OneOutcome,
    /// The journal of every task is numbered without a gap and says something everywhere.
    Record,
    /// No budget is exceeded beyond what is recorded as overrun.
    Budget,
    /// No answer counts but that of the live lease.
    Fence,
    /// No turn takes effect twice.
    Effects,
    /// One idempotency key names one task.
    Keys,
    /// Every question ends once.
    Questions,
    /// No child outlives its parent.
    Children,
    /// Every task ends as its shape may.
    Outcomes,
    /// After every kill of the server work goes on.
    Recovery,
    /// What was to be injected was injected.
    Injected,
}

impl Check {
    /// Every check, in the order in which it is shown.
    pub const ALL: [Self; 12] = [
        Self::Lost,
        Self::OneOutcome,
        Self::Budget,
        Self::Effects,
        Self::Fence,
        Self::Keys,
        Self::Questions,
        Self::Children,
        Self::Record,
        Self::Outcomes,
        Self::Recovery,
        Self::Injected,
    ];

    /// Its name: stable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::OneOutcome => "one-outcome",
            Self::Record => "record",
            Self::Budget => "budget",
            Self::Fence => "fence",
            Self::Effects => "effects",
            Self::Keys => "keys",
            Self::Questions => "questions",
            Self::Children => "children",
            Self::Outcomes => "outcomes",
            Self::Recovery => "recovery",
            Self::Injected => "injected",
        }
    }

    /// What it holds, in a sentence.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Lost => "every acknowledged task is there and has ended",
            Self::OneOutcome => "one outcome a task, and nothing after it but late usage",
            Self::Record => "every journal is numbered without a gap",
            Self::Budget => {
                "no budget is exceeded beyond the overrun on record, and the books add up to the token"
            }
            Self::Fence => "no answer counts but that of the live lease",
            Self::Effects => "no turn takes effect twice",
            Self::Keys => "one idempotency key, one task",
            Self::Questions => "every question ends once",
            Self::Children => "no child outlives its parent",
            Self::Outcomes => "every task ends as its shape may",
            Self::Recovery => "after every kill of the server work goes on",
            Self::Injected => "every kind of failure that was asked for happened",
        }
    }
}

/// A submission that the server acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The idempotency key it was made under.
    pub key: String,
    /// The task it was told.
    pub task: String,
}

/// A side effect that took place in the outer world.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effect {
    /// The key it was made under: the outer world does nothing twice under one key.
    pub key: String,
    /// The task.
    pub task: String,
    /// The turn.
    pub turn: i32,
}

/// A process that was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// The worker; `None`: the server.
    pub worker: Option<String>,
    /// When, in microseconds since the epoch.
    pub at: u64,
    /// When it was there again. `None`: it was not.
    pub back: Option<u64>,
}

/// One stop of an attempt that spent too much, as the worker or the edge saw it, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brake {
    /// From the report that crossed the line to the cancel.
    pub to_cancel: u64,
    /// From the cancel to the fence. `None`: it was not seen.
    pub to_fence: Option<u64>,
}

/// Everything that was seen.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Every acknowledgement, repeated ones included.
    pub acknowledged: Vec<Acknowledged>,
    /// Every task that could be read, children included, judged one by one.
    pub tasks: Vec<Judged>,
    /// Side effects.
    pub effects: Vec<Effect>,
    /// Brakes.
    pub brakes: Vec<Brake>,
    /// Kills, oldest first.
    pub kills: Vec<Kill>,
    /// Failures that were injected, by kind. Every kind that was asked for stands here, with 0 where it never happened.
    pub injected: BTreeMap<String, u64>,
    /// Openings of circuit breakers. `None`: the server does not say.
    pub breakers: Option<u64>,
}

/// How a check went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The check.
    pub check: Check,
    /// What was seen, in a sentence.
    pub saw: String,
    /// What breaks the promise; empty: it holds. At most 20, and a line that counts the others.
    pub evidence: Vec<String>,
}

impl Verdict {
    /// Whether it holds.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.evidence.is_empty()
    }
}

/// Some times, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How many there are.
    pub count: usize,
    /// The median; 0 where there are none.
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The greatest.
    pub max: u64,
}

impl Times {
    /// Of these.
    #[must_use]
    pub fn of(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        let at = |share: usize| {
            let place = (times.len() * share).div_ceil(100).saturating_sub(1);
            times.get(place).copied().unwrap_or(0)
        };
        Self { count: times.len(), p50: at(50), p99: at(99), max: times.last().copied().unwrap_or(0) }
    }
}

/// The score-board.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// Tasks that were acknowledged, each once.
    pub acknowledged: usize,
    /// Children among the tasks that were read.
    pub children: usize,
    /// Tasks by state, children included.
    pub states: BTreeMap<&'static str, usize>,
    /// Tasks by shape and state.
    pub shapes: BTreeMap<String, BTreeMap<&'static str, usize>>,
    /// Agents that had an attempt.
    pub agents: BTreeSet<String>,
    /// Attempts.
    pub attempts: usize,
    /// Attempts that ended without an answer, by how.
    pub lost_attempts: BTreeMap<&'static str, u64>,
    /// Tasks with an overrun on record, and the tokens of it.
    pub overruns: (usize, i64),
    /// Side effects, and how many of them were repeats under a key that had taken effect.
    pub effects: (usize, usize),
    /// From the report that crossed the line to the cancel.
    pub to_cancel: Times,
    /// From the cancel to the fence.
    pub to_fence: Times,
    /// From a kill of the server to the first assignment after it.
    pub recovery: Times,
    /// From the loss of an attempt to the next one of its turn.
    pub retaken: Times,
    /// Failures by kind.
    pub injected: BTreeMap<String, u64>,
    /// Openings of circuit breakers.
    pub breakers: Option<u64>,
    /// The verdicts, one a check.
    pub verdicts: Vec<Verdict>,
}

impl Board {
    /// Whether every promise held.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.verdicts.iter().all(Verdict::passed)
    }
}

/// Adds everything up.
#[must_use]
pub fn score(seen: &Observed) -> Board {
    let acknowledged: BTreeSet<&str> = seen.acknowledged.iter().map(|one| one.task.as_str()).collect();
    let mut board = Board {
        acknowledged: acknowledged.len(),
        injected: seen.injected.clone(),
        breakers: seen.breakers,
        ..Board::default()
    };
    let mut findings: BTreeMap<Check, Vec<String>> = BTreeMap::new();
    for task in &seen.tasks {
        count(&mut board, task, acknowledged.contains(task.id.as_str()));
        for Finding { check, evidence } in &task.findings {
            findings.entry(*check).or_default().push(format!("task {}: {evidence}", task.id));
        }
        if let Some(evidence) = unlike_its_shape(task) {
            findings.entry(Check::Outcomes).or_default().push(evidence);
        }
    }
    let recovery = recoveries(seen);
    board.recovery = Times::of(recovery.times);
    board.retaken = Times::of(seen.tasks.iter().flat_map(|task| task.retaken.iter().copied()).collect());
    board.to_cancel = Times::of(seen.brakes.iter().map(|brake| brake.to_cancel).collect());
    board.to_fence = Times::of(seen.brakes.iter().filter_map(|brake| brake.to_fence).collect());
    let (repeats, doubles) = effects(&seen.effects);
    board.effects = (seen.effects.len(), repeats);
    let mut add = |check, evidence: Vec<String>| findings.entry(check).or_default().extend(evidence);
    add(Check::Lost, missing(&acknowledged, &seen.tasks));
    add(Check::Keys, keys(&seen.acknowledged));
    add(Check::Effects, doubles);
    add(Check::Recovery, recovery.failed);
    add(Check::Injected, not_injected(&seen.injected));
    board.verdicts =
        Check::ALL.map(|check| verdict(check, findings.remove(&check).unwrap_or_default(), &board)).into();
    board
}

fn count(board: &mut Board, task: &Judged, acknowledged: bool) {
    let state = word(task.state);
    board.children += usize::from(!acknowledged);
    *board.states.entry(state).or_default() += 1;
    if !task.shape.is_empty() {
        *board.shapes.entry(task.shape.clone()).or_default().entry(state).or_default() += 1;
    }
    board.agents.extend(task.agents.iter().cloned());
    board.attempts += task.started.len();
    for (end, count) in &task.lost {
        *board.lost_attempts.entry(end).or_default() += count;
    }
    if task.overrun > 0 {
        board.overruns.0 += 1;
        board.overruns.1 = board.overruns.1.saturating_add(task.overrun);
    }
}

/// Acknowledged tasks that nobody can find.
fn missing(acknowledged: &BTreeSet<&str>, tasks: &[Judged]) -> Vec<String> {
    let there: BTreeSet<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
    let mut lost: Vec<String> = acknowledged
        .difference(&there)
        .map(|id| format!("task {id} was acknowledged and is not there"))
        .collect();
    if acknowledged.is_empty() {
        lost.push("no task was acknowledged at all: nothing was tested".to_owned());
    }
    lost
}

/// Keys that name more than one task.
fn keys(acknowledged: &[Acknowledged]) -> Vec<String> {
    let mut by_key: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for Acknowledged { key, task } in acknowledged {
        by_key.entry(key).or_default().insert(task);
    }
    let doubled = by_key.into_iter().filter(|(_, tasks)| tasks.len() > 1);
    doubled.map(|(key, tasks)| format!("key {key} names {} tasks", tasks.len())).collect()
}

/// Repeats that a key made harmless, and turns whose effect took place twice: under two keys, or under another turn's.
fn effects(effects: &[Effect]) -> (usize, Vec<String>) {
    let mut keys: BTreeMap<(&str, i32), BTreeSet<&str>> = BTreeMap::new();
    let mut turns: BTreeMap<&str, BTreeSet<(&str, i32)>> = BTreeMap::new();
    for Effect { key, task, turn } in effects {
        keys.entry((task, *turn)).or_default().insert(key);
        turns.entry(key).or_default().insert((task, *turn));
    }
    let repeats = effects.len().saturating_sub(turns.len());
    let doubled = keys.iter().filter(|(_, keys)| keys.len() > 1).map(|((task, turn), keys)| {
        format!("turn {turn} of task {task} took effect under {} keys", keys.len())
    });
    let shared = turns
        .iter()
        .filter(|(_, turns)| turns.len() > 1)
        .map(|(key, turns)| format!("key {key} stands for {} turns", turns.len()));
    (repeats, doubled.chain(shared).collect())
}

fn not_injected(injected: &BTreeMap<String, u64>) -> Vec<String> {
    let never = injected.iter().filter(|(_, times)| **times == 0);
    never
        .map(|(kind, _)| format!("{kind} was asked for and never happened: run longer, or raise its rate"))
        .collect()
}

/// How a task may not end. A task that ended for a technical reason is what the failures are for: it is counted, and no
/// fault of anybody.
fn unlike_its_shape(task: &Judged) -> Option<String> {
    if !is_end(task.state) || is_technical(task.cause) {
        return None;
    }
    let allowed = shapes::may_end(&task.shape)?;
    let (shape, state) = (&task.shape, word(task.state));
    let cause = task.cause.as_str_name().trim_start_matches("CAUSE_");
    let evidence = format!("task {}: {shape} ended {state} for {cause}", task.id);
    (!allowed.contains(&task.state)).then_some(evidence)
}

const fn is_technical(cause: pb::Cause) -> bool {
    matches!(
        cause,
        pb::Cause::NoWorker
            | pb::Cause::AttemptsExhausted
            | pb::Cause::Deadline
            | pb::Cause::OwnerUnavailable
            | pb::Cause::EscalationExpired
            | pb::Cause::PlanFailed
            | pb::Cause::AgentFailed
            // Somebody wanted it so.
            | pb::Cause::Cancelled
            | pb::Cause::Halted
    )
}

struct Recoveries {
    times: Vec<u64>,
    failed: Vec<String>,
}

/// From every kill of the server to the first assignment after it, by the journal's clock. A kill while nothing was open has
/// nothing to recover; where another one follows first, the time runs on.
fn recoveries(seen: &Observed) -> Recoveries {
    let mut starts: Vec<u64> = seen.tasks.iter().flat_map(|task| task.started.iter().copied()).collect();
    starts.sort_unstable();
    let mut found = Recoveries { times: Vec::new(), failed: Vec::new() };
    for kill in seen.kills.iter().filter(|kill| kill.worker.is_none()) {
        let first = starts.get(starts.partition_point(|at| *at <= kill.at));
        let was_open = |task: &Judged| task.life.0 <= kill.at && task.life.1.is_none_or(|end| end > kill.at);
        match (first, kill.back) {
            (_, None) => found.failed.push("a server that was killed did not come back".to_owned()),
            (Some(at), Some(_)) => found.times.push(at - kill.at),
            // What was under way needed no further assignment, or nothing was.
            (None, Some(_))
                if seen.tasks.iter().filter(|task| was_open(task)).all(|task| task.life.1.is_some()) => {}
            (None, Some(_)) => {
                found.failed.push("tasks were open at a kill, and nothing was assigned after it".to_owned())
            }
        }
    }
    for kill in seen.kills.iter().filter(|kill| kill.back.is_none()) {
        found
            .failed
            .extend(kill.worker.iter().map(|worker| format!("{worker} was killed and did not come back")));
    }
    found
}

fn verdict(check: Check, mut evidence: Vec<String>, board: &Board) -> Verdict {
    let broken = evidence.len();
    evidence.truncate(SHOWN);
    if broken > SHOWN {
        evidence.push(format!("and {} more", broken - SHOWN));
    }
    let tasks: usize = board.states.values().sum();
    let saw = match check {
        Check::Lost => format!("{broken} of {} acknowledged tasks are missing or open", board.acknowledged),
        Check::Budget => {
            let (overrun, tokens) = board.overruns;
            format!(
                "{broken} violations in {tasks} tasks; {overrun} with an overrun on record, {tokens} tokens in all"
            )
        }
        Check::Effects => {
            let (effects, repeats) = board.effects;
            format!(
                "{broken} double effects; {effects} side effects, {repeats} of them repeats under their key"
            )
        }
        Check::Recovery => format!("{broken} failed, {} recovered", board.recovery.count),
        Check::Injected => {
            let all: u64 = board.injected.values().sum();
            format!("{all} failures of {} kinds", board.injected.len())
        }
        Check::OneOutcome
        | Check::Record
        | Check::Fence
        | Check::Keys
        | Check::Questions
        | Check::Children
        | Check::Outcomes => format!("{broken} violations in {tasks} tasks"),
    };
    Verdict { check, saw, evidence }
}

#[cfg(test)]
mod tests;
