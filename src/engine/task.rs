//! The aggregate: one task as the state that its events add up to, and its face. Decisions are in `decide`, the only
//! changes in `apply`. Never here: a rule.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    command::{Command, Effect, Env, LiveLease, Rejection, Reply},
    dead_letter::{Redrives, Settlement},
    decide::{self, Origin},
    event::{Escalated, EscalationEnd, Event, Extended, Outcome, Record, TraceContext, Trip, TurnKind},
    family::{Birth, Children, Parent},
    guarded::Guarded,
    ledger::Ledger,
    plan_run::PlanRun,
    tally::Tally,
    turn::Turn,
    view::{Counters, EscalationView, Tripped},
};
use crate::types::{
    contract::Contract,
    envelope::Confidence,
    ids::{AgentName, TaskId, TurnNumber},
    outcome::TaskState,
    payload::Payload,
    time::{Span, Timestamp},
};

/// One task: the state that its events add up to.
#[derive(Debug, Clone)]
pub struct Task {
    pub(super) id: TaskId,
    pub(super) contract: Arc<Contract>,
    pub(super) fingerprint: u128,
    pub(super) trace: TraceContext,
    pub(super) parent: Option<Parent>,
    /// The dead letter that it was made of.
    pub(super) redrives: Option<Box<Redrives>>,
    /// What was done with it, if it is a dead letter.
    pub(super) settled: Option<Box<Settlement>>,
    pub(super) children: Children,
    pub(super) seq: u64,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) ledger: Ledger,
    pub(super) counters: Counters,
    /// Every turn; turn n stands at n - 1.
    pub(super) turns: Vec<Turn>,
    /// Validate turns opened. Each judges another work turn, so they are never more than those.
    pub(super) validates: u32,
    /// Turns that wait or are leased.
    pub(super) open: BTreeSet<TurnNumber>,
    /// The work turns that have ended, in the order of their ends: the lineage.
    pub(super) history: Vec<TurnNumber>,
    /// The plan that runs, or the last that ended.
    pub(super) plan: Option<PlanRun>,
    pub(super) plans: u32,
    /// Whether the next delegation follows a failure or a refusal.
    pub(super) replan_next: bool,
    /// What the owner was last asked about.
    pub(super) trips: Vec<Trip>,
    /// Every trip of its life, in order.
    pub(super) tripped: Vec<Tripped>,
    /// What the guards over content have seen.
    pub(super) guarded: Guarded,
    pub(super) questions: Vec<Question>,
    pub(super) open_questions: BTreeSet<u32>,
    pub(super) best: Option<Best>,
    pub(super) agents: Arc<[AgentName]>,
    pub(super) outcome: Option<Outcome>,
    /// Time the clock has stood still, over pauses that ended.
    pub(super) paused: Span,
    /// Since when the clock stands still.
    pub(super) paused_since: Option<Timestamp>,
}

/// A question to a person, as state.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) asked: Escalated,
    pub(super) asked_at: Timestamp,
    pub(super) end: Option<QuestionEnd>,
}

/// How a question ended, as state.
#[derive(Debug, Clone)]
pub(super) struct QuestionEnd {
    pub(super) end: EscalationEnd,
    pub(super) by: String,
    pub(super) note: String,
    pub(super) at: Timestamp,
    /// The result that a person put in the candidate's place.
    pub(super) result: Option<Payload>,
    /// What a person added to the caps.
    pub(super) extended: Option<Extended>,
}

/// The best result so far: the highest by the gate's rank, then by score, then the newest.
#[derive(Debug, Clone)]
pub(super) struct Best {
    /// The turn it came with.
    pub(super) turn: TurnNumber,
    pub(super) rank: u8,
    pub(super) score: Confidence,
    pub(super) confidence: Confidence,
    pub(super) result: Payload,
    pub(super) findings: Vec<String>,
}

/// What one decision yields. The state has already been changed (staged); nothing of it may be seen outside before the
/// records are durable. If they cannot be made durable, drop the task and replay it.
#[derive(Debug)]
pub struct Decided {
    /// What to answer.
    pub reply: Reply,
    /// The new events. May be empty (a harmless repeat): then the reply may go out at once.
    pub records: Vec<Record>,
    /// What to do once they are durable.
    pub effects: Vec<Effect>,
    /// Questions that changed, as they stand now.
    pub escalations: Vec<EscalationView>,
    /// What the events add to the record of agents.
    pub tallies: Vec<Tally>,
}

/// What recovery must do for a task that is open.
#[derive(Debug, Default)]
pub struct Outstanding {
    /// Turns to offer to the dispatcher (`Effect::Ready` only).
    pub ready: Vec<Effect>,
    /// Leases that get one lease period from now.
    pub leases: Vec<LiveLease>,
    /// What is owed to its children and its parent. Harmless where it has been done.
    pub family: Vec<Effect>,
}

/// The journal of a task cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task {task} cannot be replayed at event {seq}: {what}")]
pub struct ReplayError {
    /// The task.
    pub task: TaskId,
    /// The event.
    pub seq: u64,
    /// What is wrong.
    pub what: String,
}

impl Task {
    /// Starts a task under its contract.
    pub fn submit(
        id: TaskId,
        contract: Arc<Contract>,
        fingerprint: u128,
        trace: TraceContext,
        env: Env<'_>,
    ) -> (Self, Decided) {
        decide::submit(id, contract, fingerprint, trace, Origin::default(), env)
    }

    /// Starts the successor of a dead letter.
    pub fn submit_redrive(
        id: TaskId,
        contract: Arc<Contract>,
        fingerprint: u128,
        trace: TraceContext,
        redrives: Box<Redrives>,
        env: Env<'_>,
    ) -> (Self, Decided) {
        let origin = Origin { redrives: Some(redrives), ..Origin::default() };
        decide::submit(id, contract, fingerprint, trace, origin, env)
    }

    /// Starts a child under its contract: what its parent's journal says of it makes it.
    pub fn submit_child(birth: Birth, env: Env<'_>) -> (Self, Decided) {
        let Birth { child, contract, fingerprint, parent } = birth;
        let origin = Origin { parent: Some(Box::new(parent)), ..Origin::default() };
        decide::submit(child, contract, fingerprint, TraceContext::default(), origin, env)
    }

    /// Decides a command. On a rejection nothing has changed.
    pub fn decide(&mut self, command: Command, env: Env<'_>) -> Result<Decided, Rejection> {
        decide::decide(self, command, env)
    }

    /// Rebuilds a task from all its events, in order.
    pub fn replay(id: TaskId, records: impl IntoIterator<Item = Record>) -> Result<Self, ReplayError> {
        let mut task: Option<Self> = None;
        for record in records {
            let fail = |what: &str| ReplayError { task: id, seq: record.seq, what: what.to_owned() };
            match (&mut task, &record.event) {
                (Some(task), _) => task.follow(&record)?,
                (None, _) if record.seq != 1 => return Err(fail("a number is missing or out of order")),
                (None, Event::Submitted { .. }) => task = Self::born(id, &record),
                (None, _) => return Err(fail("the first event is not the submission")),
            }
        }
        task.ok_or_else(|| ReplayError { task: id, seq: 0, what: "it has no events".to_owned() })
    }

    /// Takes in the next event of its journal.
    ///
    /// # Errors
    /// It is not the next, or not of this task. Nothing has changed.
    pub fn follow(&mut self, record: &Record) -> Result<(), ReplayError> {
        let fail = |what: &str| ReplayError { task: self.id, seq: record.seq, what: what.to_owned() };
        if record.seq != self.seq + 1 {
            return Err(fail("a number is missing or out of order"));
        }
        if matches!(record.event, Event::Submitted { .. }) {
            return Err(fail("a second submission"));
        }
        if !self.fits(&record.event) {
            return Err(fail("it speaks of a turn, step or question that does not exist"));
        }
        self.apply(record);
        Ok(())
    }

    /// The state before anything but the submission has happened.
    pub(super) fn born(id: TaskId, record: &Record) -> Option<Self> {
        let Event::Submitted { contract, fingerprint, trace, parent, redrives } = &record.event else {
            return None;
        };
        Some(Self {
            id,
            contract: contract.clone(),
            fingerprint: *fingerprint,
            trace: trace.clone(),
            parent: parent.as_deref().cloned(),
            redrives: redrives.clone(),
            settled: None,
            children: Children::default(),
            seq: record.seq,
            created_at: record.at,
            updated_at: record.at,
            ended_at: None,
            ledger: Ledger::new(&contract.budget),
            counters: Counters::default(),
            turns: Vec::new(),
            validates: 0,
            open: BTreeSet::new(),
            history: Vec::new(),
            plan: None,
            plans: 0,
            replan_next: false,
            trips: Vec::new(),
            tripped: Vec::new(),
            guarded: Guarded::default(),
            questions: Vec::new(),
            open_questions: BTreeSet::new(),
            best: None,
            agents: Arc::default(),
            outcome: None,
            paused: Span::ZERO,
            paused_since: None,
        })
    }

    /// The id.
    pub const fn id(&self) -> TaskId {
        self.id
    }

    /// The number of the last event.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// When it was submitted.
    pub const fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Agents that had a turn, in the order of their first.
    pub const fn agents(&self) -> &Arc<[AgentName]> {
        &self.agents
    }

    /// How it ended.
    pub const fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Whether a child has not been heard of: what it used is still to come, even after the end.
    pub fn is_unsettled(&self) -> bool {
        self.children.is_unsettled()
    }

    /// When its last event was decided.
    pub const fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    /// Whether it has ended.
    pub const fn is_ended(&self) -> bool {
        self.outcome.is_some()
    }

    /// The contract.
    pub const fn contract(&self) -> &Arc<Contract> {
        &self.contract
    }

    /// The hash of the contract as it came in.
    pub const fn fingerprint(&self) -> u128 {
        self.fingerprint
    }

    /// Where it is in its life.
    pub fn state(&self) -> TaskState {
        if let Some(outcome) = &self.outcome {
            outcome.state
        } else if self.open_decide().is_some() {
            TaskState::OwnerDecides
        } else if self.open.is_empty() && !self.open_questions.is_empty() && self.children.open == 0 {
            TaskState::AwaitingHuman
        } else if self.counters.attempts == 0 {
            TaskState::Queued
        } else {
            TaskState::Running
        }
    }

    pub(super) fn turn(&self, number: TurnNumber) -> Option<&Turn> {
        self.turns.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    pub(super) fn turn_mut(&mut self, number: TurnNumber) -> Option<&mut Turn> {
        self.turns.get_mut(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// The plan, while it runs.
    pub(super) fn running_plan(&self) -> Option<&PlanRun> {
        self.plan.as_ref().filter(|plan| plan.is_running())
    }

    /// The decide turn that is open, if one is. It is always the only open turn.
    pub(super) fn open_decide(&self) -> Option<&Turn> {
        let turn = self.turn(*self.open.first()?)?;
        (turn.kind == TurnKind::Decide).then_some(turn)
    }

    /// The validate turn that is open, if one is. It is always the only open turn.
    pub(super) fn open_validate(&self) -> Option<&Turn> {
        let turn = self.turn(*self.open.first()?)?;
        (turn.kind == TurnKind::Validate).then_some(turn)
    }

    /// The wall-clock deadline as it stands at `now`: pauses move it.
    pub(super) fn deadline_at(&self, now: Timestamp) -> Timestamp {
        let pause = self.paused_since.map_or(Span::ZERO, |since| now.since(since));
        self.created_at.plus(self.contract.limits.deadline).plus(self.paused).plus(pause)
    }

    /// When work must stop so that the owner has its reserve of time.
    pub(super) fn work_deadline_at(&self, now: Timestamp) -> Timestamp {
        self.deadline_at(now).minus(self.contract.limits.finalization_reserve)
    }

    /// When a validator must have judged: half of the reserve of time is its own, so that work that came in time is judged.
    pub(super) fn validate_deadline_at(&self, now: Timestamp) -> Timestamp {
        self.deadline_at(now).minus(self.contract.limits.finalization_reserve.part(2))
    }

    /// When the task ends whatever it waits for.
    pub(super) fn lifetime_end(&self) -> Timestamp {
        self.created_at.plus(self.contract.limits.max_lifetime)
    }
}
