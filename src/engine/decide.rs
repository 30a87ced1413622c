//! Deciding: a command against the state at a given time becomes events, a reply and effects, or a rejection and nothing.
//!
//! A decision may take several events, each of which changes the state that the next one is decided on. So they are
//! emitted into a transaction that applies each at once; a handler checks everything it may reject before its first event.

mod assign;
mod children;
mod complete;
mod directive;
mod escalation;
mod funding;
mod lease;
mod ownership;
mod plan_flow;
mod report;
mod tick;

use std::{collections::BTreeSet, sync::Arc};

use super::{
    command::{Command, Effect, Env, Rejection, Reply},
    effects,
    event::{Event, InputFrom, Outcome, PlanKind, Record, StepRef, TraceContext, TurnKind},
    family::Parent,
    task::{Decided, Task},
};
use crate::types::{
    contract::{Contract, Start},
    ids::{AgentName, TaskId, TurnNumber},
    outcome::{Cause, EndedBy, TaskState, may_end},
    payload::Payload,
};

/// Starts a task.
pub(super) fn submit(
    id: TaskId,
    contract: Arc<Contract>,
    fingerprint: u128,
    trace: TraceContext,
    parent: Option<Box<Parent>>,
    env: Env<'_>,
) -> (Task, Decided) {
    let event = Event::Submitted { contract: contract.clone(), fingerprint, trace, parent };
    let first = Record { seq: 1, at: env.now, event };
    let mut task = Task::born(id, &first).expect("the event just made is a submission");
    let mut txn = Txn { records: vec![first], ..Txn::new(&mut task, env) };
    match &contract.start {
        Start::FirstAgent(agent) => txn.open_work(Opening::new(agent.clone(), InputFrom::Contract)),
        Start::Plan(plan) => txn.start_plan(0, Arc::new(plan.clone()), PlanKind::Static),
    }
    let decided = txn.conclude(Reply::Done);
    (task, decided)
}

/// Decides a command.
pub(super) fn decide(task: &mut Task, command: Command, env: Env<'_>) -> Result<Decided, Rejection> {
    // Clocks may step back between two servers on the same journal; a task's time never does.
    let env = Env { now: env.now.max(task.updated_at), ..env };
    let mut txn = Txn::new(task, env);
    let reply = match command {
        Command::Assign { lease, worker } => txn.assign(lease, worker),
        Command::Progress { lease, steps, partial } => txn.progress(lease, steps, partial),
        Command::Usage { lease, usage, priced } => txn.usage(lease, usage, priced),
        Command::RequestBudget { lease, tokens, reason } => txn.request_budget(lease, tokens, reason),
        Command::Complete { lease, answer, findings } => txn.complete(lease, answer, findings),
        Command::EndLease { lease, end, reason } => txn.end_lease(lease, end, reason),
        Command::Cancel { reason } => Ok(txn.cancel(&reason)),
        Command::AnswerEscalation { number, answer, by, note } => {
            txn.answer_question(number, answer, by, note)
        }
        Command::StartChild { lease, child, draft, ceilings, fingerprint } => {
            txn.start_child(lease, child, &draft, &ceilings, fingerprint)
        }
        Command::HearChild(report) => Ok(txn.hear_child(*report)),
        Command::Tick => Ok(txn.tick()),
    };
    match reply {
        Ok(reply) => Ok(txn.conclude(reply)),
        Err(rejection) => {
            assert!(txn.records.is_empty(), "a rejected command changes nothing");
            Err(rejection)
        }
    }
}

/// One decision on its way.
pub(super) struct Txn<'a> {
    task: &'a mut Task,
    env: Env<'a>,
    records: Vec<Record>,
    effects: Vec<Effect>,
    questions: BTreeSet<u32>,
}

/// What a work turn is opened with.
pub(super) struct Opening {
    agent: AgentName,
    input: InputFrom,
    step: Option<StepRef>,
    corrections: u32,
    revision: bool,
    replan: bool,
    notes: Vec<String>,
}

impl Opening {
    const fn new(agent: AgentName, input: InputFrom) -> Self {
        Self { agent, input, step: None, corrections: 0, revision: false, replan: false, notes: Vec::new() }
    }
}

impl<'a> Txn<'a> {
    const fn new(task: &'a mut Task, env: Env<'a>) -> Self {
        Self { task, env, records: Vec::new(), effects: Vec::new(), questions: BTreeSet::new() }
    }

    /// Applies an event and keeps it for the journal.
    fn emit(&mut self, event: Event) {
        match &event {
            Event::Escalated(asked) => drop(self.questions.insert(asked.number)),
            Event::EscalationEnded { number, .. } => drop(self.questions.insert(*number)),
            _ => {}
        }
        assert!(
            !self.task.is_ended() || matches!(event, Event::LateUsage { .. }),
            "only late usage follows an outcome"
        );
        let record = Record { seq: self.task.seq + 1, at: self.env.now, event };
        self.task.apply(&record);
        self.effects.extend(effects::of(&record.event, self.task));
        self.records.push(record);
    }

    fn conclude(self, reply: Reply) -> Decided {
        let escalations = self.questions.iter().filter_map(|&n| self.task.question_view(n)).collect();
        let mut effects = effects::net(self.effects, self.task);
        // Whatever is asked of a child that has ended: its parent may not have heard of all that there is.
        if self.task.parent.is_some() && self.task.is_ended() {
            effects.push(Effect::TellParent);
        }
        Decided { reply, records: self.records, effects, escalations }
    }

    fn next_turn(&self) -> TurnNumber {
        u32::try_from(self.task.turns.len()).unwrap_or(u32::MAX - 1) + 1
    }

    /// Opens a work turn, or trips the guard that forbids one.
    fn open_work(&mut self, opening: Opening) {
        if self.task.turns_taken() >= self.task.contract.limits.max_turns {
            let evidence = format!("{} of {0} work turns are used", self.task.turns_taken());
            return self.trip(Cause::Turns, evidence);
        }
        if opening.step.is_none()
            && let Err(short) = self.task.main_allowance(&opening.agent)
        {
            if self.task.is_short_by_vanished(&opening.agent) {
                let story = format!("no turn can be funded while vanished attempts stay charged: {short}");
                let (state, cause) = (TaskState::DeadLettered, Cause::AttemptsExhausted);
                return self.end(state, EndedBy::System, cause, None, story);
            }
            return self.trip(Cause::Budget, short);
        }
        let Opening { agent, input, step, corrections, revision, replan, notes } = opening;
        let turn = self.next_turn();
        let kind = TurnKind::Work;
        self.emit(Event::TurnOpened { turn, agent, kind, input, step, corrections, revision, replan, notes });
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
    fn end(
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
