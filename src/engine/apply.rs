//! Applying events: the only place where a task's state changes. Never fails and looks at nothing outside, so recovery and
//! live running are the same code. Never here: a decision.

mod extended;

use super::{
    dead_letter::Settlement,
    event::{AttemptEnd, Event, InputFrom, PlanKind, Record, TurnKind},
    ledger::Pot,
    plan_run::PlanRun,
    task::{Best, Question, Task},
    turn::{Attempt, Said, Stage, Turn, progress_bytes},
    view::Settled,
};
use crate::types::{
    envelope::{Answer, Confidence, Decision, Directive, Status},
    ids::TurnNumber,
    outcome::TaskState,
    payload::Payload,
    time::Timestamp,
};

/// What a result that nothing stands against ranks above all others: more than any status.
const UNREFUSED: u8 = 3;

impl Task {
    /// Whether an event speaks only of what exists; asked before a journal from outside is applied.
    pub(super) fn fits(&self, event: &Event) -> bool {
        match event {
            Event::Submitted { .. } => false,
            Event::TurnOpened { turn, step, .. } => {
                usize::try_from(*turn).is_ok_and(|n| n == self.turns.len() + 1)
                    && step.is_none_or(|s| self.plan.as_ref().is_some_and(|p| s.step < p.plan.steps.len()))
            }
            Event::AttemptStarted { turn, .. }
            | Event::Progressed { turn, .. }
            | Event::UsageRecorded { turn, .. }
            | Event::BudgetAnswered { turn, .. }
            | Event::TurnAnswered { turn, .. }
            | Event::AttemptEnded { turn, .. }
            | Event::TurnClosed { turn, .. }
            | Event::HandedOff { turn, .. }
            | Event::DirectiveRefused { turn, .. }
            | Event::TurnHeldUp { turn, .. }
            | Event::GateJudged { turn, .. } => self.turn(*turn).is_some(),
            Event::LateUsage { turn, child, .. } => {
                self.turn(*turn).is_some()
                    && child.as_ref().is_none_or(|report| self.children.get(report.number).is_some())
            }
            Event::StepEnded { step, .. } => {
                self.running_plan().is_some_and(|plan| *step < plan.plan.steps.len())
            }
            Event::PlanEnded { .. } => self.running_plan().is_some(),
            Event::EscalationEnded { number, .. } => self.open_questions.contains(number),
            Event::Extended(extended) => {
                self.questions.iter().any(|question| question.asked.number == extended.number)
            }
            Event::PlanStarted { .. } => self.running_plan().is_none(),
            Event::ChildStarted(started) => {
                self.turn(started.turn).is_some() && started.number == self.counters.children + 1
            }
            Event::ChildEnded(ended) => self.children.get(ended.number).is_some_and(|child| child.is_open()),
            Event::Redriven(_) | Event::Discarded(_) => self.is_dead_letter() && self.settled.is_none(),
            Event::GuardsTripped { .. } | Event::Escalated(_) | Event::Ended { .. } | Event::Halted(_) => {
                true
            }
        }
    }

    /// Applies one event.
    pub(super) fn apply(&mut self, record: &Record) {
        self.seq = record.seq;
        self.updated_at = record.at;
        self.apply_event(&record.event, record.at);
        self.watch(&record.event);
        self.settle_clock(record.at);
        self.check_counts();
    }

    fn apply_event(&mut self, event: &Event, at: Timestamp) {
        match event {
            // What follows from a halt stands in the events after it.
            Event::Submitted { .. } | Event::Halted(_) => {}
            Event::TurnOpened { .. } => self.on_turn_opened(event, at),
            Event::AttemptStarted { .. } => self.on_attempt_started(event, at),
            Event::LateUsage { child: Some(_), .. } | Event::ChildStarted(_) | Event::ChildEnded(_) => {
                self.on_family(event, at);
            }
            Event::Progressed { .. } => self.on_progressed(event),
            Event::UsageRecorded { turn, attempt, usage }
            | Event::LateUsage { turn, attempt, usage, child: None } => {
                self.ledger.report((*turn, *attempt), *usage);
            }
            Event::BudgetAnswered { turn, attempt, granted, .. } => {
                self.ledger.raise((*turn, *attempt), *granted);
                if let Some(said) = self.said_mut(*turn) {
                    said.budget_requests += 1;
                }
            }
            Event::TurnAnswered { .. } => self.on_turn_answered(event, at),
            Event::AttemptEnded { .. } => self.on_attempt_ended(event, at),
            Event::TurnClosed { turn, reason, .. } => {
                self.end_turn(*turn, Stage::Closed { reason: reason.clone() }, at);
            }
            Event::HandedOff { hop, .. } => self.counters.hops = *hop,
            Event::TurnHeldUp { turn, reason, .. } => {
                if let Some(state) = self.turn_mut(*turn) {
                    state.held_up = Some(reason.as_str().into());
                }
            }
            Event::PlanStarted { .. } => self.on_plan_started(event),
            Event::StepEnded { step, end, reason, optional, .. } => {
                if let Some(plan) = &mut self.plan {
                    plan.end_step(*step, *end, reason.clone(), *optional);
                }
            }
            Event::PlanEnded { succeeded, .. } => {
                self.ledger.end_plan();
                self.replan_next = !succeeded;
                if let Some(plan) = &mut self.plan {
                    plan.succeeded = Some(*succeeded);
                }
            }
            Event::DirectiveRefused { .. } => self.replan_next = true,
            Event::GateJudged { turn, passed, findings, .. } => self.on_judged(*turn, *passed, findings),
            Event::GuardsTripped { trips } => self.on_tripped(trips, at),
            Event::Escalated(asked) => {
                self.counters.escalations += 1;
                self.open_questions.insert(asked.number);
                self.questions.push(Question { asked: (**asked).clone(), asked_at: at, end: None });
            }
            Event::EscalationEnded { .. } => self.on_question_ended(event, at),
            Event::Extended(extended) => self.on_extended(extended),
            Event::Redriven(redriven) => self.settle_letter(Settled::Redriven((**redriven).clone()), at),
            Event::Discarded(discarded) => self.settle_letter(Settled::Discarded((**discarded).clone()), at),
            Event::Ended { outcome, .. } => {
                assert!(self.outcome.is_none(), "a task ends exactly once");
                self.outcome = Some((**outcome).clone());
                self.ended_at = Some(at);
            }
        }
    }

    fn settle_letter(&mut self, what: Settled, at: Timestamp) {
        assert!(self.settled.is_none(), "a dead letter is redriven or discarded once");
        self.settled = Some(Box::new(Settlement { what, at }));
    }

    fn on_turn_answered(&mut self, event: &Event, at: Timestamp) {
        let Event::TurnAnswered { turn, attempt, answer, charged, findings, output_findings, inputs } = event
        else {
            return;
        };
        self.ledger.settle((*turn, *attempt), *charged);
        self.note_result(*turn, answer, findings);
        let stage = Stage::Answered {
            answer: answer.clone(),
            findings: findings.clone(),
            output_findings: output_findings.clone(),
            inputs: inputs.clone(),
        };
        self.end_turn(*turn, stage, at);
    }

    fn on_plan_started(&mut self, event: &Event) {
        let Event::PlanStarted { number, planner_turn, plan, held, kind } = event else { return };
        match kind {
            PlanKind::Static => {}
            PlanKind::Round => self.counters.rounds += 1,
            PlanKind::Replan => self.counters.replans += 1,
        }
        self.plans = *number;
        self.replan_next = false;
        self.ledger.hold_plan(*number, *held);
        self.plan = Some(PlanRun::new(*number, plan.clone(), *planner_turn));
    }

    fn on_turn_opened(&mut self, event: &Event, at: Timestamp) {
        let Event::TurnOpened {
            turn,
            agent,
            kind,
            input,
            step,
            corrections,
            revision,
            replan,
            fallback: _,
            notes,
            judges,
        } = event
        else {
            return;
        };
        match kind {
            TurnKind::Work => self.counters.turns += 1,
            TurnKind::Decide => self.counters.decides += 1,
            TurnKind::Validate => self.validates += 1,
        }
        self.counters.revisions += u32::from(*revision);
        self.counters.replans += u32::from(*replan);
        if !self.agents.contains(agent) {
            // Once for each agent of a task; everybody who looks at it shares the list.
            self.agents = self.agents.iter().chain([agent]).cloned().collect();
        }
        let by_hand_off = matches!(input, InputFrom::AnswerOf(_));
        let input = self.resolve_input(*input, step.map(|s| s.step));
        let mut step_id = None;
        if let (Some(step), Some(plan)) = (step, &mut self.plan) {
            plan.open_step(step.step, *turn);
            step_id = plan.plan.steps.get(step.step).map(|s| s.id.clone());
        }
        self.open.insert(*turn);
        self.turns.push(Turn {
            number: *turn,
            agent: agent.clone(),
            kind: *kind,
            step: *step,
            step_id,
            by_hand_off,
            input,
            corrections: *corrections,
            notes: notes.clone(),
            judges: *judges,
            opened_at: at,
            started_at: None,
            ended_at: None,
            held_up: None,
            attempts: Vec::new(),
            stage: Stage::Ready { since: at, not_before: at },
        });
    }

    fn resolve_input(&self, from: InputFrom, step: Option<usize>) -> Option<Payload> {
        match from {
            InputFrom::Contract => self.contract.input.clone(),
            InputFrom::Step => self.plan.as_ref()?.plan.steps.get(step?)?.input.clone(),
            InputFrom::Same(turn) => self.turn(turn)?.input.clone(),
            InputFrom::AnswerOf(turn) => match self.turn(turn)?.answer()?.as_ref() {
                Answer::Envelope(envelope) => match envelope.directive.as_ref()? {
                    Directive::HandOff(to) => to.input.clone(),
                    Directive::Delegate(_) | Directive::InvalidPlan(_) | Directive::AskHuman(_) => None,
                },
                Answer::Decision { decision: Decision::ReplanTo(to), .. } => to.input.clone(),
                Answer::Decision { .. } | Answer::Verdict(_) => None,
            },
        }
    }

    fn on_attempt_started(&mut self, event: &Event, at: Timestamp) {
        let Event::AttemptStarted { turn, attempt, lease, worker, allowance, hold_raised, from_reserve } =
            event
        else {
            return;
        };
        self.counters.attempts += 1;
        let Some(state) = self.turn_mut(*turn) else { return };
        state.started_at = Some(at);
        state.stage = Stage::Leased;
        state.attempts.push(Attempt {
            lease: *lease,
            worker: worker.clone(),
            ended: String::new(),
            retryable: false,
            undelivered: false,
            said: Said::default(),
        });
        let agent = state.agent.clone();
        let pot = match (state.kind, state.step) {
            (TurnKind::Decide, _) => Pot::Finalization,
            (TurnKind::Validate, _) if *from_reserve => Pot::Validation,
            (TurnKind::Work, Some(step)) => Pot::Plan(step.plan),
            (TurnKind::Work | TurnKind::Validate, _) => Pot::Main,
        };
        self.ledger.raise_hold(*hold_raised);
        self.ledger.open((*turn, *attempt), &agent, pot, *allowance);
    }

    fn on_attempt_ended(&mut self, event: &Event, at: Timestamp) {
        let Event::AttemptEnded { turn, attempt, end, reason, usage, retry_at, .. } = event else { return };
        match usage {
            Some(usage) => self.ledger.settle((*turn, *attempt), *usage),
            None => self.ledger.abandon((*turn, *attempt)),
        }
        let Some(state) = self.turn_mut(*turn) else { return };
        if let Some(last) = state.attempts.last_mut() {
            last.ended.clone_from(reason);
            last.retryable = *end == AttemptEnd::Retryable;
            last.undelivered = *end == AttemptEnd::Undelivered;
        }
        // Without a retry the turn is closed by the next event of the same decision.
        state.stage = Stage::Ready { since: at, not_before: retry_at.unwrap_or(at) };
    }

    fn on_progressed(&mut self, event: &Event) {
        let Event::Progressed { turn, steps, partial, .. } = event else { return };
        if let Some(said) = self.said_mut(*turn) {
            said.reports += 1;
            said.bytes = said.bytes.saturating_add(progress_bytes(steps, partial.as_ref()));
        }
        let speaks_for_task = self.turn(*turn).is_some_and(|t| t.step.is_none() && t.kind == TurnKind::Work);
        if let (Some(result), true) = (partial, speaks_for_task) {
            // Only answers are checked.
            let unchecked = "it was reported on the way and has not been checked against the result_schema";
            let findings = self.contract.result_schema.iter().map(|_| unchecked.to_owned()).collect();
            let (score, confidence) = (Confidence::default(), Confidence::default());
            let result = result.clone();
            self.offer_best(Best { turn: *turn, rank: 0, score, confidence, result, findings });
        }
    }

    /// What the live attempt of a turn has said.
    fn said_mut(&mut self, turn: TurnNumber) -> Option<&mut Said> {
        self.turn_mut(turn)?.attempts.last_mut().map(|attempt| &mut attempt.said)
    }

    fn end_turn(&mut self, turn: TurnNumber, stage: Stage, at: Timestamp) {
        self.open.remove(&turn);
        let Some(state) = self.turn_mut(turn) else { return };
        state.stage = stage;
        state.ended_at = Some(at);
        if state.kind == TurnKind::Work {
            self.history.push(turn);
        }
    }

    /// Keeps the result of a turn that speaks for the whole task, if it is the best so far.
    fn note_result(&mut self, turn: TurnNumber, answer: &Answer, findings: &[String]) {
        let Answer::Envelope(envelope) = answer else { return };
        let (Some(result), Some(state)) = (&envelope.result, self.turn(turn)) else { return };
        let speaks_for_task = match state.step {
            // An envelope on a decide turn is out of role, and no result either.
            None => state.kind == TurnKind::Work,
            Some(step) => self
                .plan
                .as_ref()
                .is_some_and(|p| p.planner_turn == 0 && p.plan.result_step == Some(step.step)),
        };
        if !speaks_for_task {
            return;
        }
        // The gate's order: what fits the schema stands above what does not, then by the agent's own status.
        let status = match envelope.status {
            Status::Success => 3,
            Status::Partial => 2,
            Status::Failed => 1,
        };
        let rank = if findings.is_empty() { status + UNREFUSED } else { status };
        self.offer_best(Best {
            turn,
            rank,
            score: envelope.score(),
            confidence: envelope.confidence.unwrap_or_default(),
            result: result.clone(),
            findings: findings.to_vec(),
        });
    }

    fn offer_best(&mut self, offered: Best) {
        let stands = self
            .best
            .as_ref()
            .is_some_and(|best| (best.rank, best.score.get()) > (offered.rank, offered.score.get()));
        if !stands {
            self.best = Some(offered);
        }
    }

    /// The gate's findings ride on the best result, so that a partial outcome carries what failed; and what the gate refused
    /// ranks below what it did not, so that a revision with a lower score takes its place.
    fn on_judged(&mut self, turn: TurnNumber, passed: bool, findings: &[String]) {
        let Some(result) = self.turn(turn).and_then(|t| t.envelope()).and_then(|e| e.result.clone()) else {
            return;
        };
        if let Some(best) = &mut self.best
            && best.result == result
            && !passed
        {
            best.findings = findings.to_vec();
            if best.rank > UNREFUSED {
                best.rank -= UNREFUSED;
            }
        }
    }

    /// The task's clock stands still while it only waits for a person.
    fn settle_clock(&mut self, at: Timestamp) {
        let waits = self.state() == TaskState::AwaitingHuman;
        match self.paused_since {
            None if waits => self.paused_since = Some(at),
            Some(since) if !waits => {
                self.paused = crate::types::time::Span(self.paused.0 + at.since(since).0);
                self.paused_since = None;
            }
            None | Some(_) => {}
        }
    }

    /// What must hold after every event; constant time. The ledger checks itself.
    fn check_counts(&self) {
        let limits = &self.contract.limits;
        assert!(self.hops_taken() <= limits.max_hops, "hops never over their cap");
        assert!(self.turns_taken() <= limits.max_turns, "turns never over their cap");
        assert!(self.counters.replans <= limits.max_replans, "re-plans never over their cap");
        assert!(self.counters.rounds <= limits.max_rounds, "rounds never over their cap");
        assert!(self.counters.children <= limits.max_children, "children never over their cap");
        assert!(self.validates <= self.counters.turns, "a work turn is judged once");
        assert!(self.counters.decides <= limits.max_decides, "decide turns never over their cap");
        assert!(self.outcome.is_none() || self.open.is_empty(), "nothing is open after the end");
    }
}
