//! The score of a run: a pure function over what the server's API says of every task and what the outer world has seen
//! (keys under which side effects took place, answers to the same key, times of outages). Never what the run hoped for.

mod check;
mod recovery;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub use self::check::Check;
use self::recovery::recoveries;
use super::{
    shapes,
    story::{Finding, Judged, is_end, word},
};
use crate::pb;

/// Findings that are shown of one check; the rest is counted.
const SHOWN: usize = 20;

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

/// How a process was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// SIGKILL; it is started anew.
    Killed,
    /// SIGSTOP; it goes on where it was.
    Frozen,
}

/// A process that was killed or frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The worker; `None`: the server.
    pub worker: Option<String>,
    /// How.
    pub how: How,
    /// When, in microseconds since the epoch.
    pub at: u64,
    /// When it was there again. `None`: it was not.
    pub back: Option<u64>,
}

impl Outage {
    /// How long it was away. `None`: it did not come back.
    #[must_use]
    pub fn lasted(&self) -> Option<Duration> {
        self.back.map(|back| Duration::from_micros(back.saturating_sub(self.at)))
    }
}

/// One stop of an attempt that spent too much, as the server's edge or a worker saw it, in microseconds.
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
    /// Brakes, by the server's clock. Those that a killed server had not told yet are not among them.
    pub brakes: Vec<Brake>,
    /// Brakes, by the clock of the worker that was stopped.
    pub felt: Vec<Brake>,
    /// Kills and freezes, oldest first.
    pub outages: Vec<Outage>,
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
    /// How often the promise was broken.
    pub broken: usize,
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

/// Brakes by one clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brakes {
    /// From the report that crossed the line to the cancel.
    pub to_cancel: Times,
    /// From the cancel to the fence.
    pub to_fence: Times,
}

impl Brakes {
    fn of(brakes: &[Brake]) -> Self {
        Self {
            to_cancel: Times::of(brakes.iter().map(|brake| brake.to_cancel).collect()),
            to_fence: Times::of(brakes.iter().filter_map(|brake| brake.to_fence).collect()),
        }
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
    /// Tasks that ended otherwise than SUCCEEDED, by state and cause.
    pub outcomes: BTreeMap<String, usize>,
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
    /// Brakes, by the server's clock.
    pub braked: Brakes,
    /// Brakes, by the clock of the worker that was stopped.
    pub felt: Brakes,
    /// From a kill of the server to the first assignment after it.
    pub recovery: Times,
    /// From the end of a freeze of the server to the first assignment after it.
    pub thawed: Times,
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

    /// How often a promise was broken.
    #[must_use]
    pub fn broken(&self, check: Check) -> usize {
        self.verdicts.iter().filter(|verdict| verdict.check == check).map(|verdict| verdict.broken).sum()
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
    (board.recovery, board.thawed) = (Times::of(recovery.killed), Times::of(recovery.thawed));
    board.retaken = Times::of(seen.tasks.iter().flat_map(|task| task.retaken.iter().copied()).collect());
    (board.braked, board.felt) = (Brakes::of(&seen.brakes), Brakes::of(&seen.felt));
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
    if is_end(task.state) && task.state != pb::TaskState::Succeeded {
        *board.outcomes.entry(format!("{state} for {}", cause(task))).or_default() += 1;
    }
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
    let evidence = format!("task {}: {shape} ended {state} for {}", task.id, cause(task));
    (!allowed.contains(&task.state)).then_some(evidence)
}

fn cause(task: &Judged) -> &'static str {
    task.cause.as_str_name().trim_start_matches("CAUSE_")
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
        Check::Recovery => {
            let (killed, thawed) = (board.recovery.count, board.thawed.count);
            format!("{broken} failed, {killed} recovered from kills and {thawed} from freezes")
        }
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
    Verdict { check, broken, saw, evidence }
}

#[cfg(test)]
mod tests;
