//! The root span: the task, from its submission to its outcome.

use super::Projector;
use crate::{
    engine::{
        event::{EscalationEnd, Outcome},
        ledger::LedgerView,
        view::GOAL_CHARS,
    },
    telemetry::{
        semconv,
        span::{Attributes, Events, cut, word_of},
    },
    types::{contract::Contract, outcome::TaskState, time::Timestamp, trace_ids::SpanOf},
};

/// The task, while it is open.
#[derive(Debug)]
pub(super) struct Root {
    start: Timestamp,
    attributes: Attributes,
    pub(super) events: Events,
    pub(super) hops: u32,
    pub(super) turns: u32,
    pub(super) decides: u32,
    pub(super) validates: u32,
    pub(super) attempts: u32,
    pub(super) plans: u32,
    pub(super) questions: u32,
}

impl Root {
    pub(super) fn new(contract: &Contract, start: Timestamp) -> Self {
        let goal: String = contract.goal.chars().take(GOAL_CHARS).collect();
        let mut attributes = Attributes::new()
            .text(semconv::GEN_AI_OPERATION_NAME, semconv::INVOKE_WORKFLOW)
            .text(semconv::TASK_GOAL, &goal)
            .text(semconv::TASK_OWNER, contract.owner.as_str())
            .number(semconv::TASK_PRIORITY, contract.priority);
        for (key, value) in &contract.labels {
            attributes = attributes.text(format!("{}{key}", semconv::LABEL_PREFIX), value);
        }
        Self {
            start,
            attributes,
            events: Events::default(),
            hops: 0,
            turns: 0,
            decides: 0,
            validates: 0,
            attempts: 0,
            plans: 0,
            questions: 0,
        }
    }

    fn counts(&self) -> Attributes {
        Attributes::new()
            .number(semconv::HOPS, self.hops)
            .number(semconv::TURNS, self.turns)
            .number(semconv::DECIDES, self.decides)
            .number_if_any(semconv::VALIDATES, self.validates)
            .number(semconv::ATTEMPTS, self.attempts)
            .number(semconv::PLANS, self.plans)
            .number(semconv::ESCALATIONS, self.questions)
    }
}

fn account(ledger: &LedgerView) -> Attributes {
    Attributes::new()
        .number(semconv::GRANTED, ledger.granted)
        .number(semconv::RESERVED, ledger.reserved)
        .number(semconv::SPENT, ledger.spent)
        .number(semconv::OVERRUN, ledger.overrun)
        .number(semconv::UNHEARD, ledger.unheard)
        .usage(ledger.usage)
}

fn story(outcome: &Outcome) -> Attributes {
    Attributes::new()
        .word(semconv::OUTCOME_STATE, outcome.state)
        .word(semconv::OUTCOME_ENDED_BY, outcome.ended_by)
        .word(semconv::OUTCOME_CAUSE, outcome.cause)
        .text_if_any(semconv::OUTCOME_REASON, &outcome.reason)
        .list(semconv::FINDINGS, &outcome.findings)
}

impl Projector {
    pub(super) fn end_task(&mut self, outcome: &Outcome, ledger: &LedgerView, at: Timestamp) {
        self.end_what_is_open(at);
        let (Some(trace), Some(root)) = (&self.trace, self.root.take()) else { return };
        let mut span = trace.span(SpanOf::Task, None, semconv::INVOKE_WORKFLOW.to_owned(), root.start, at);
        let counts = root.counts();
        for part in [root.attributes, counts, account(ledger), story(outcome)] {
            span.attributes.0.extend(part.0);
        }
        if matches!(outcome.state, TaskState::Failed | TaskState::DeadLettered) {
            span.attributes = span.attributes.text(semconv::ERROR_TYPE, &word_of(outcome.cause));
            span.error = Some(cut(&outcome.reason).to_owned());
        }
        span.events = root.events;
        self.finished.push(span);
    }
    /// Finishes whatever the journal left open at the task's end.
    fn end_what_is_open(&mut self, at: Timestamp) {
        self.finish_all_turns(at);
        for number in self.plans.keys().copied().collect::<Vec<_>>() {
            self.end_plan(number, false, at);
        }
        for number in self.questions.keys().copied().collect::<Vec<_>>() {
            self.end_question(number, EscalationEnd::Withdrawn, "", "", at);
        }
    }
}
