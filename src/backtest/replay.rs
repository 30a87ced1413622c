//! A recorded run through the guards that a live task has: where they would have stopped it, and what that is worth.
//! Never here: a rule of its own, reading files, adding up many runs (`score`).
//!
//! What is observed is what a worker would stream: messages and tool steps. Text scripted by an orchestrator is not.

use super::trace::{RunOutcome, StepKind, StepRole, Trace, TraceStep};
use crate::{
    engine::guard::{GuardKind, GuardTrip, Guards, Levels, Observation, Observed},
    types::guards::GuardTerms,
};

/// What a contract would hold a run to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BacktestTerms {
    /// The guards.
    pub guards: GuardTerms,
    /// Hand-offs: changes of the agent that acts.
    pub max_hops: Option<u32>,
    /// Turns of agents.
    pub max_turns: Option<u32>,
    /// Billed tokens.
    pub max_tokens: Option<u64>,
}

/// Why a run would have been stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoppedBy {
    /// A guard over content, or the cap on steps.
    Guard(GuardKind),
    /// The cap on hand-offs.
    Hops,
    /// The cap on turns.
    Turns,
    /// The budget.
    Tokens,
}

impl StoppedBy {
    /// As people read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guard(guard) => guard.name(),
            Self::Hops => "hops",
            Self::Turns => "turns",
            Self::Tokens => "tokens",
        }
    }
}

/// Where a run would have been stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Index of the step in `Trace::steps` after which it stops.
    pub step_index: usize,
    /// What stopped it: of several at once, the first in order.
    pub by: StoppedBy,
    /// The evidence, in a sentence.
    pub evidence: String,
}

/// A run, replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// Where it stops; `None`: it runs to its end.
    pub stop: Option<Stop>,
    /// Tokens billed in all.
    pub billed_total: u64,
    /// Tokens billed after the stop.
    pub billed_saved: u64,
    /// Tokens that could be saved: all of a failed run, those after the outcome was fixed of a successful one.
    pub savable: u64,
    /// How many of those the stop saves.
    pub saved_of_savable: u64,
    /// Whether the stop comes before the outcome of a successful run was fixed.
    pub harmful: bool,
    /// Whether the run ran away: six times round the same circle (twice what trips), or twelve messages in a row that add
    /// nothing; be it stopped or not. A run that says its result again and then ends is none.
    pub runaway: bool,
}

/// Replays a run under these terms.
pub fn replay(trace: &Trace, terms: &BacktestTerms) -> Replayed {
    let bill = Bill::of(trace);
    let mut guards = Guards::new();
    let mut spent = 0;
    let mut stop = None;
    let mut runaway = false;
    for step in Walk::new(trace) {
        spent += bill.steps[step.index];
        let trip = step.observation.as_ref().and_then(|o| {
            guards.observe(&terms.guards, o);
            runaway |= is_runaway(guards.levels());
            guards.trips().first()
        });
        if stop.is_none() {
            stop = first_stop(&step, trip, spent, terms);
        }
    }
    let after = stop.as_ref().map_or(trace.steps.len(), |stop| stop.step_index + 1);
    bill.replayed(trace, stop, after, runaway)
}

/// Whether a run goes on in circles, or on and on after it was done, by the default measure whatever the terms.
fn is_runaway(levels: Levels) -> bool {
    let default = GuardTerms::default();
    levels.repetition.max(levels.near_repetition) >= 2 * default.repetition.times
        || default.finished.idle.is_some_and(|most| levels.idle >= most)
}

fn first_stop(step: &Step<'_>, trip: Option<&GuardTrip>, spent: u64, terms: &BacktestTerms) -> Option<Stop> {
    let at = |by, evidence| Some(Stop { step_index: step.index, by, evidence });
    let over = |cap: Option<u32>, count: u32| cap.is_some_and(|cap| count > cap);
    if let Some(trip) = trip {
        return at(StoppedBy::Guard(trip.guard), trip.evidence());
    }
    if over(terms.max_hops, step.hops) {
        return at(StoppedBy::Hops, format!("hand-off {} is one more than allowed", step.hops));
    }
    if over(terms.max_turns, step.turn) {
        return at(StoppedBy::Turns, format!("turn {} is one more than allowed", step.turn));
    }
    match terms.max_tokens {
        Some(cap) if spent > cap => {
            at(StoppedBy::Tokens, format!("{spent} tokens are billed, {cap} allowed"))
        }
        _ => None,
    }
}

/// What a run cost, step by step.
#[derive(Debug, Clone)]
pub struct Bill {
    /// Tokens billed for each step.
    pub steps: Vec<u64>,
    /// Their sum.
    pub total: u64,
    /// Index of the step after which stopping harms nothing; `None`: stopping always does. Not for failed runs.
    pub fixed_at: Option<usize>,
    /// Tokens that could be saved.
    pub savable: u64,
}

impl Bill {
    /// The bill of a run: prompt and completion tokens of a model's steps where they were recorded, else a quarter of the
    /// characters that it read (all before) and wrote.
    pub fn of(trace: &Trace) -> Self {
        let mut before = 0_u64;
        let mut steps = Vec::with_capacity(trace.steps.len());
        for step in &trace.steps {
            let read = before + chars(&step.text);
            before = read;
            let recorded = step.prompt_tokens.is_some() || step.completion_tokens.is_some();
            steps.push(match step.role {
                StepRole::Assistant if recorded => {
                    step.prompt_tokens.unwrap_or(0).saturating_add(step.completion_tokens.unwrap_or(0))
                }
                StepRole::Assistant => read / 4,
                StepRole::User | StepRole::Tool | StepRole::System => 0,
            });
        }
        let total = steps.iter().sum();
        let fixed_at = trace.outcome_fixed_at.and_then(|at| trace.steps.iter().position(|step| step.i == at));
        let savable = match trace.outcome {
            RunOutcome::Failure => total,
            RunOutcome::Success => fixed_at.map_or(0, |at| steps[at + 1..].iter().sum()),
            RunOutcome::Unknown => 0,
        };
        Self { steps, total, fixed_at, savable }
    }

    /// Tokens billed from this step on.
    pub fn from(&self, index: usize) -> u64 {
        self.steps.get(index..).map_or(0, |steps| steps.iter().sum())
    }

    /// Whether a stop after this step harms the run.
    pub fn is_harmful(&self, outcome: RunOutcome, stopped_after: usize) -> bool {
        outcome == RunOutcome::Success && self.fixed_at.is_none_or(|fixed| stopped_after < fixed)
    }

    fn replayed(&self, trace: &Trace, stop: Option<Stop>, after: usize, runaway: bool) -> Replayed {
        let saved = self.from(after);
        let harmful = stop.as_ref().is_some_and(|stop| self.is_harmful(trace.outcome, stop.step_index));
        Replayed {
            billed_total: self.total,
            billed_saved: saved,
            savable: self.savable,
            saved_of_savable: if harmful { 0 } else { saved.min(self.savable) },
            harmful,
            runaway,
            stop,
        }
    }
}

fn chars(text: &str) -> u64 {
    text.chars().count() as u64
}

/// A step as a live task would have seen it.
pub struct Step<'a> {
    /// Its index in `Trace::steps`.
    pub index: usize,
    /// Turns of agents so far, its own included.
    pub turn: u32,
    /// Hand-offs so far.
    pub hops: u32,
    /// What the guards see; `None`: nothing, it is scripted.
    pub observation: Option<Observation<'a>>,
}

/// Goes through a run, step by step.
pub struct Walk<'a> {
    steps: std::iter::Enumerate<std::slice::Iter<'a, TraceStep>>,
    turn: u32,
    hops: u32,
    acting: Option<&'a str>,
    /// Whether the last step ended its turn.
    ended: bool,
}

impl<'a> Walk<'a> {
    /// From the start.
    pub fn new(trace: &'a Trace) -> Self {
        Self { steps: trace.steps.iter().enumerate(), turn: 0, hops: 0, acting: None, ended: true }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        let (index, step) = self.steps.next()?;
        let is_scripted = step.templated || step.role == StepRole::System;
        if !is_scripted && step.role == StepRole::Assistant {
            // A message ends a model's turn; tool steps belong to the turn they follow.
            if self.ended || self.acting != Some(&step.agent) {
                self.turn += 1;
                self.hops += u32::from(self.acting.is_some_and(|agent| agent != step.agent));
                self.acting = Some(&step.agent);
            }
            self.ended = step.kind == StepKind::Message;
        }
        let observation = (!is_scripted).then(|| observation(step, self.turn));
        Some(Step { index, turn: self.turn, hops: self.hops, observation })
    }
}

fn observation(step: &TraceStep, turn: u32) -> Observation<'_> {
    let (kind, content) = match step.kind {
        StepKind::Message if step.role == StepRole::User => (Observed::Input, step.text.as_str()),
        StepKind::Message => (Observed::Message, step.text.as_str()),
        StepKind::ToolCall => (Observed::ToolCall, step.call.as_deref().unwrap_or(&step.text)),
        StepKind::ToolResult => (Observed::ToolResult, step.text.as_str()),
    };
    Observation {
        turn,
        agent: &step.agent,
        kind,
        tool: step.tool.as_deref().unwrap_or_default(),
        content,
        fingerprint: false,
        concurrent: false,
    }
}

/// How near each guard came, observation by observation: what calibration is made from.
pub fn levels<'a>(trace: &'a Trace, terms: &GuardTerms) -> impl Iterator<Item = (Step<'a>, Levels)> {
    let mut guards = Guards::new();
    let terms = *terms;
    Walk::new(trace).filter(|step| step.observation.is_some()).map(move |step| {
        if let Some(o) = &step.observation {
            guards.observe(&terms, o);
        }
        let levels = guards.levels();
        (step, levels)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(i: u64, agent: &str, role: StepRole, text: &str, tokens: Option<u64>) -> TraceStep {
        TraceStep {
            i,
            agent: agent.to_owned(),
            role,
            kind: StepKind::Message,
            tool: None,
            text: text.to_owned(),
            call: None,
            templated: role == StepRole::System,
            prompt_tokens: tokens,
            completion_tokens: None,
        }
    }

    /// Six answers that are all the same, 100 tokens each, after a scripted step.
    fn looping(outcome: RunOutcome, outcome_fixed_at: Option<u64>) -> Trace {
        let mut steps = vec![step(0, "system", StepRole::System, "you are six agents", None)];
        steps.extend((1..7).map(|i| {
            step(i, &format!("agent-{i}"), StepRole::Assistant, "the very same answer as before", Some(100))
        }));
        Trace {
            trace_id: "t".to_owned(),
            dataset: "d".to_owned(),
            topology: String::new(),
            outcome,
            outcome_fixed_at,
            steps,
        }
    }

    #[test]
    fn a_stop_is_worth_what_comes_after_it() {
        let check = |outcome, fixed, harmful, savable, saved| {
            let replayed = replay(&looping(outcome, fixed), &BacktestTerms::default());
            assert_eq!(replayed.stop.as_ref().map(|stop| stop.step_index), Some(3));
            assert_eq!((replayed.billed_total, replayed.billed_saved), (600, 300));
            assert_eq!(
                (replayed.harmful, replayed.savable, replayed.saved_of_savable),
                (harmful, savable, saved)
            );
            assert!(replayed.runaway);
        };
        check(RunOutcome::Failure, None, false, 600, 300);
        check(RunOutcome::Success, Some(1), false, 500, 300);
        check(RunOutcome::Success, Some(3), false, 300, 300);
        check(RunOutcome::Success, Some(4), true, 200, 0);
        check(RunOutcome::Success, None, true, 0, 0);
        check(RunOutcome::Unknown, None, false, 0, 0);
    }

    #[test]
    fn tokens_that_were_not_recorded_are_estimated_from_what_was_read_and_written() {
        let mut trace = looping(RunOutcome::Failure, None);
        trace.steps = vec![
            step(0, "person", StepRole::User, "12345678", None),
            step(1, "a", StepRole::Assistant, "äöüß", None),
            step(2, "a", StepRole::Assistant, "", Some(7)),
        ];
        assert_eq!(Bill::of(&trace).steps, [0, 3, 7]);
    }

    #[test]
    fn the_caps_of_a_contract_stop_a_run_too() {
        let trace = looping(RunOutcome::Failure, None);
        let mut off = BacktestTerms::default();
        off.guards.repetition.on = false;
        off.guards.finished.on = false;
        let check = |terms: BacktestTerms, expected: Option<(usize, StoppedBy)>| {
            let stop = replay(&trace, &terms).stop.map(|stop| (stop.step_index, stop.by));
            assert_eq!(stop, expected);
        };
        check(off, None);
        check(BacktestTerms { max_hops: Some(2), ..off }, Some((4, StoppedBy::Hops)));
        check(BacktestTerms { max_turns: Some(2), ..off }, Some((3, StoppedBy::Turns)));
        check(BacktestTerms { max_tokens: Some(250), ..off }, Some((3, StoppedBy::Tokens)));
        let mut steps = off;
        steps.guards.max_steps = Some(4);
        check(steps, Some((4, StoppedBy::Guard(GuardKind::Steps))));
    }
}
