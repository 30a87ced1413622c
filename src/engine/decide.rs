//! Deciding: a command against the state at a given time becomes events, a reply and effects, or a rejection and nothing.
//!
//! A decision may take several events, each of which changes the state that the next one is decided on. So they are
//! emitted into a transaction that applies each at once; a handler checks everything it may reject before its first event.

mod assign;
mod children;
mod complete;
mod converge;
mod dead_letter;
mod directive;
mod escalation;
mod extend;
mod funding;
mod gate;
mod hold_up;
mod lease;
mod ownership;
mod plan_flow;
mod report;
mod step;
mod tick;
mod trips;

pub(super) use tick::look_again;

use std::{collections::BTreeSet, sync::Arc};

use super::{
    command::{Command, Effect, Env, Rejection, Reply},
    dead_letter::Redrives,
    effects,
    event::{Event, InputFrom, Outcome, PlanKind, Record, StepRef, TraceContext, Trip, TurnKind},
    family::Parent,
    tally::{self, Tally},
    task::{Decided, Task},
};
use crate::types::{
    contract::{Contract, Start},
    ids::{AgentName, TaskId, TurnNumber},
    outcome::{Cause, EndedBy, TaskState, may_end},
    payload::Payload,
};

/// Where a task comes from, if not from a client alone.
#[derive(Debug, Default)]
pub(super) struct Origin {
    /// What it is a child of.
    pub(super) parent: Option<Box<Parent>>,
    /// The dead letter that it was made of.
    pub(super) redrives: Option<Box<Redrives>>,
}

/// Starts a task.
pub(super) fn submit(
    id: TaskId,
    contract: Arc<Contract>,
    fingerprint: u128,
    trace: TraceContext,
    origin: Origin,
    env: Env<'_>,
) -> (Task, Decided) {
    let Origin { parent, redrives } = origin;
    let notes = redrives.as_ref().map(|redrives| redrives.notes()).unwrap_or_default();
    let event = Event::Submitted { contract: contract.clone(), fingerprint, trace, parent, redrives };
    let first = Record { seq: 1, at: env.now, event };
    let mut task = Task::born(id, &first).expect("the event just made is a submission");
    let mut txn = Txn { records: vec![first], ..Txn::new(&mut task, env) };
    match &contract.start {
        Start::FirstAgent(agent) => {
            txn.open_work(Opening { notes, ..Opening::new(agent.clone(), InputFrom::Contract) });
        }
        Start::Plan(plan) => txn.start_plan(0, Arc::new(plan.clone()), PlanKind::Static),
    }
    txn.answer_trips();
    let decided = txn.conclude(Reply::Done);
    (task, decided)
}

/// Decides a command. What is due by then is done first, however late the clock was looked at: an answer that comes after a
/// deadline finds it passed.
pub(super) fn decide(task: &mut Task, command: Command, env: Env<'_>) -> Result<Decided, Rejection> {
    // Clocks may step back between two servers on the same journal; a task's time never does.
    let env = Env { now: env.now.max(task.updated_at), ..env };
    let mut txn = Txn::new(task, env);
    txn.tick();
    let due = txn.records.len();
    let reply = txn.command(command);
    txn.answer_trips();
    match reply {
        Ok(reply) => Ok(txn.conclude(reply)),
        Err(rejection) => {
            assert!(txn.records.len() == due, "a rejected command changes nothing");
            // What was due has happened all the same.
            if due == 0 { Err(rejection) } else { Ok(txn.conclude(Reply::Refused(rejection))) }
        }
    }
}

/// One decision on its way.
pub(super) struct Txn<'a> {
    task: &'a mut Task,
    env: Env<'a>,
    records: Vec<Record>,
    effects: Vec<Effect>,
    tallies: Vec<Tally>,
    questions: BTreeSet<u32>,
    /// What has tripped task-wide in this decision and has not been answered yet.
    pending: Vec<Trip>,
}

/// What a work turn is opened with.
pub(super) struct Opening {
    agent: AgentName,
    input: InputFrom,
    step: Option<StepRef>,
    corrections: u32,
    revision: bool,
    replan: bool,
    fallback: bool,
    notes: Vec<String>,
}

impl Opening {
    const fn new(agent: AgentName, input: InputFrom) -> Self {
        Self {
            agent,
            input,
            step: None,
            corrections: 0,
            revision: false,
            replan: false,
            fallback: false,
            notes: Vec::new(),
        }
    }
}

impl<'a> Txn<'a> {
    fn new(task: &'a mut Task, env: Env<'a>) -> Self {
        // Most decisions are two or three events.
        let (records, effects, pending) = (Vec::with_capacity(3), Vec::new(), Vec::new());
        Self { task, env, records, effects, tallies: Vec::new(), questions: BTreeSet::new(), pending }
    }

    pub(super) const fn task(&self) -> &Task {
        self.task
    }

    fn command(&mut self, command: Command) -> Result<Reply, Rejection> {
        match command {
            Command::Assign { lease, worker } => self.assign(lease, worker),
            Command::Progress { lease, steps, partial } => self.progress(lease, steps, partial),
            Command::Usage { lease, usage, priced } => self.usage(lease, usage, priced),
            Command::RequestBudget { lease, tokens, reason } => self.request_budget(lease, tokens, reason),
            Command::Complete { lease, answer, findings } => self.complete(lease, answer, findings),
            Command::EndLease { lease, end, reason } => self.end_lease(lease, end, reason),
            Command::Cancel { reason } => Ok(self.cancel(&reason)),
            Command::Halt { halt, told } => Ok(self.halt(halt, told)),
            Command::AnswerEscalation { number, answer, by, note } => {
                self.answer_question(number, answer, by, note)
            }
            Command::StartChild { lease, child, draft, ceilings, fingerprint } => {
                self.start_child(lease, child, &draft, &ceilings, fingerprint)
            }
            Command::HearChild(report) => Ok(self.hear_child(*report)),
            Command::HoldUp { turn, reason } => self.hold_up(turn, reason),
            Command::Redrive(redriven) => self.redrive(*redriven),
            Command::Discard(discarded) => self.discard(*discarded),
            Command::Tick => Ok(Reply::Done),
        }
    }

    /// Applies an event and keeps it for the journal.
    pub(super) fn emit(&mut self, event: Event) {
        match &event {
            Event::Escalated(asked) => drop(self.questions.insert(asked.number)),
            Event::EscalationEnded { number, .. } => drop(self.questions.insert(*number)),
            _ => {}
        }
        assert!(
            !self.task.is_ended() || event.may_follow_the_end(),
            "only late usage, and what was done with a dead letter, follow an outcome"
        );
        let record = Record { seq: self.task.seq + 1, at: self.env.now, event };
        self.task.apply(&record);
        self.effects.extend(effects::of(&record.event, self.task));
        self.tallies.extend(tally::of(&record.event, self.task));
        self.records.push(record);
    }

    fn conclude(self, reply: Reply) -> Decided {
        let escalations = self.questions.iter().filter_map(|&n| self.task.question_view(n)).collect();
        let mut effects = effects::net(self.effects, self.task);
        // Whatever is asked of a child that has ended: its parent may not have heard of all that there is.
        if self.task.parent.is_some() && self.task.is_ended() {
            effects.push(Effect::TellParent);
        }
        Decided { reply, records: self.records, effects, escalations, tallies: self.tallies }
    }

    fn next_turn(&self) -> TurnNumber {
        u32::try_from(self.task.turns.len()).unwrap_or(u32::MAX - 1) + 1
    }

    /// Opens a work turn, or trips the guard that forbids one.
    fn open_work(&mut self, opening: Opening) {
        if !self.may_open(&opening.agent, opening.step.is_some()) {
            return;
        }
        let Opening { agent, input, step, corrections, revision, replan, fallback, notes } = opening;
        let turn = self.next_turn();
        let kind = TurnKind::Work;
        let judges = None;
        self.emit(Event::TurnOpened {
            turn,
            agent,
            kind,
            input,
            step,
            corrections,
            revision,
            replan,
            fallback,
            notes,
            judges,
        });
    }

    /// Whether a work turn may be opened now. Every cap that is in the way trips; where attempts that vanished are, the task
    /// ends.
    pub(super) fn may_open(&mut self, agent: &AgentName, is_step: bool) -> bool {
        let (turns, most) = (self.task.turns_taken(), self.task.contract.limits.max_turns);
        if turns >= most {
            self.trip(Cause::Turns, format!("{turns} of {most} work turns are used"));
        }
        if !is_step
            && !self.task.is_ended()
            && let Err(short) = self.task.main_allowance(agent)
        {
            if !self.task.is_short_by_vanished(agent) {
                self.trip(Cause::Budget, short);
            } else if !self.has_tripped() {
                let story = format!("no turn can be funded while vanished attempts stay charged: {short}");
                let (state, cause) = (TaskState::DeadLettered, Cause::AttemptsExhausted);
                self.end(state, EndedBy::System, cause, None, story);
            }
        }
        !self.has_tripped() && !self.task.is_ended()
    }

    fn cancel(&mut self, reason: &str) -> Reply {
        if self.task.is_ended() {
            return Reply::Cancelled { already_ended: true };
        }
        let story = if reason.is_empty() { "cancelled by its client".to_owned() } else { reason.to_owned() };
        self.end(TaskState::Cancelled, EndedBy::Client, Cause::Cancelled, None, story);
        Reply::Cancelled { already_ended: false }
    }

    /// Ends the task. Without a `result`, the best so far is attached.
    pub(super) fn end(
        &mut self,
        state: TaskState,
        ended_by: EndedBy,
        cause: Cause,
        result: Option<(Payload, Vec<String>)>,
        reason: String,
    ) {
        assert!(may_end(state, ended_by, cause), "{state:?} by {ended_by:?} for {cause:?} is no outcome");
        self.stop_all(cause, &reason);
        let best = || self.task.best.as_ref().map(|best| (best.result.clone(), best.findings.clone()));
        let (result, findings) = match result.or_else(best) {
            Some((result, findings)) => (Some(result), findings),
            None => (None, Vec::new()),
        };
        let outcome = Box::new(Outcome { state, ended_by, cause, result, reason, findings });
        let ledger = Box::new(self.task.ledger.view());
        self.emit(Event::Ended { outcome, ledger });
    }
}
