//! Folds a task's journal into its spans: the same records give the same spans, ids and times included, whoever folds
//! them and however often. A span is yielded when it is finished; the root when the task has ended.
//!
//! Never here: clocks, I/O, anything that depends on where a page of the log happened to end. Never in a span: payloads,
//! what a worker streamed, and leases.

mod child;
mod plan;
mod question;
mod root;
mod trip;
mod turn;

use std::collections::BTreeMap;

use plan::OpenPlan;
use question::OpenQuestion;
use root::Root;
use turn::OpenTurn;

use super::{
    semconv,
    span::{Attributes, Events, Span},
};
use crate::{
    engine::{
        event::{Event, Record, TraceContext, Trip, TripScope},
        family::Parent,
    },
    types::{
        ids::{AttemptNumber, TaskId, TurnNumber},
        time::{self, Timestamp},
        trace_ids::{self, SpanOf},
        usage::Usage,
    },
};

/// How long something takes that the journal knows only the moment of: what it can tell apart. Viewers take a span without
/// any duration for a fault.
const TICK: time::Span = time::Span(1);

/// Builds the spans of one task.
#[derive(Debug)]
pub struct Projector {
    task: TaskId,
    seq: u64,
    /// `None` before the first record.
    trace: Option<Trace>,
    /// `None` before the first record and after the end.
    root: Option<Root>,
    turns: BTreeMap<TurnNumber, OpenTurn>,
    plans: BTreeMap<u32, OpenPlan>,
    questions: BTreeMap<u32, OpenQuestion>,
    /// What tripped last: what the next decide turn decides about.
    trips: Vec<Trip>,
    finished: Vec<Span>,
}

/// What all spans of a task share.
#[derive(Debug)]
struct Trace {
    task: TaskId,
    id: u128,
    state: Option<String>,
    submitter: Option<trace_ids::TraceParent>,
    /// The attempt that submitted it, in the trace of its parent.
    link: Option<trace_ids::TraceParent>,
}

impl Trace {
    fn new(task: TaskId, context: &TraceContext, parent: Option<&Parent>) -> Self {
        let link = parent.and_then(|parent| trace_ids::parse_traceparent(parent.traceparent.as_deref()?));
        let submitter = trace_ids::submitter(context);
        // Without its traceparent a tracestate means nothing.
        let state = submitter.and_then(|_| context.tracestate.clone());
        Self { task, id: trace_ids::trace_id(task, context), state, submitter, link }
    }

    /// A span without attributes, error and events yet.
    fn span(
        &self,
        of: SpanOf,
        under: Option<SpanOf>,
        name: String,
        start: Timestamp,
        end: Timestamp,
    ) -> Span {
        let own_parent = under.map(|under| trace_ids::span_id(self.task, under));
        Span {
            trace_id: self.id,
            span_id: trace_ids::span_id(self.task, of),
            parent_id: own_parent.or_else(|| self.submitter.map(|parent| parent.parent_id)),
            parent_is_remote: under.is_none() && self.submitter.is_some(),
            trace_state: self.state.clone(),
            name,
            is_client: false,
            start,
            end: end.max(start),
            attributes: self.common(),
            error: None,
            events: Events::default(),
            link: if under.is_none() { self.link } else { None },
        }
    }

    /// What every span carries, so that each can be found by the task's id.
    fn common(&self) -> Attributes {
        Attributes::new().text(semconv::TASK_ID, &self.task.to_string())
    }
}

impl Projector {
    /// The projector of a task none of whose records it has seen.
    pub fn new(task: TaskId) -> Self {
        Self {
            task,
            seq: 0,
            trace: None,
            root: None,
            turns: BTreeMap::new(),
            plans: BTreeMap::new(),
            questions: BTreeMap::new(),
            trips: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// The number of the last record it has seen; 0: none.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Whether it has seen the task's end.
    pub fn has_ended(&self) -> bool {
        self.trace.is_some() && self.root.is_none()
    }

    /// The trace, and whether the submitter, or the parent's trace, records it; `None` in place of that: there is no submitter's context.
    pub fn trace(&self) -> Option<(u128, Option<bool>)> {
        let choice = |trace: &Trace| trace.submitter.or(trace.link).map(trace_ids::TraceParent::is_sampled);
        self.trace.as_ref().map(|trace| (trace.id, choice(trace)))
    }

    /// Takes in the task's next record and returns the spans that it finished. Records must come in order; one that was
    /// seen before changes nothing.
    pub fn apply(&mut self, record: &Record) -> Vec<Span> {
        if record.seq > self.seq {
            self.seq = record.seq;
            self.finish_turns_unless_about(&record.event);
            self.take(record);
        }
        std::mem::take(&mut self.finished)
    }

    fn take(&mut self, record: &Record) {
        let at = record.at;
        match &record.event {
            Event::Submitted { contract, trace, parent, .. } => {
                self.trace = Some(Trace::new(self.task, trace, parent.as_deref()));
                self.root = Some(Root::new(contract, parent.as_deref(), at));
            }
            Event::TurnOpened { .. } => self.open_turn(&record.event, at),
            Event::AttemptStarted { turn, attempt, worker, allowance, .. } => {
                self.start_attempt(*turn, *attempt, worker, *allowance, at);
            }
            Event::Progressed { turn, attempt, steps, .. } => self.progress(*turn, *attempt, steps.len()),
            Event::LateUsage { turn, child: Some(report), .. } => self.hear_child(record, *turn, report),
            Event::ChildStarted(started) => self.start_child(started, at),
            Event::ChildEnded(ended) => self.end_child(ended, at),
            Event::UsageRecorded { turn, attempt, usage }
            | Event::LateUsage { turn, attempt, usage, child: None } => {
                self.hear_usage(record, *turn, *attempt, *usage);
            }
            Event::BudgetAnswered { turn, attempt, asked, granted, allowance, left, reason: _ } => {
                let attributes = Attributes::new()
                    .number(semconv::BUDGET_ASKED, *asked)
                    .number(semconv::BUDGET_GRANTED, *granted)
                    .number(semconv::ALLOWANCE, *allowance)
                    .number(semconv::BUDGET_LEFT, *left);
                self.answer_budget(*turn, *attempt, *allowance, at, attributes);
            }
            Event::TurnAnswered { turn, attempt, answer, charged, inputs, .. } => {
                self.answer_turn(*turn, *attempt, answer, *charged, at);
                self.note_inputs(*turn, inputs.as_ref());
            }
            Event::AttemptEnded { .. } => self.end_attempt(&record.event, at),
            Event::TurnClosed { turn, cause, reason } => self.close_turn(*turn, *cause, reason, at),
            Event::PlanStarted { .. } => self.start_plan(&record.event, at),
            Event::StepEnded { .. } => self.end_step(&record.event, at),
            Event::PlanEnded { number, succeeded, .. } => self.end_plan(*number, *succeeded, at),
            Event::GateJudged { .. } => self.judge(&record.event, at),
            Event::Escalated(asked) => self.ask(asked, at),
            Event::EscalationEnded { number, end, by, note, result: _ } => {
                self.end_question(*number, *end, by, note, at)
            }
            Event::HandedOff { .. }
            | Event::DirectiveRefused { .. }
            | Event::GuardsTripped { .. }
            | Event::Halted(_)
            | Event::TurnHeldUp { .. }
            | Event::Extended(_) => self.note(&record.event, at),
            Event::Ended { outcome, ledger } => self.end_task(outcome, ledger, at),
            // The trace has been sent; the successor has one of its own.
            Event::Redriven(_) | Event::Discarded(_) => {}
        }
    }

    /// What is an event of a span, not a span.
    fn note(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::HandedOff { turn, from, to, hop } => {
                let attributes = Attributes::new()
                    .number(semconv::TURN_NUMBER, *turn)
                    .text(semconv::HAND_OFF_FROM, from.as_str())
                    .text(semconv::HAND_OFF_TO, to.as_str())
                    .number(semconv::HOPS, *hop);
                if let Some(root) = &mut self.root {
                    root.hops = root.hops.max(*hop);
                }
                self.push_event(Some(*turn), semconv::HAND_OFF, at, attributes);
            }
            Event::DirectiveRefused { turn, reasons } => {
                let attributes =
                    Attributes::new().number(semconv::TURN_NUMBER, *turn).list(semconv::FINDINGS, reasons);
                self.push_event(Some(*turn), semconv::DIRECTIVE_REFUSED, at, attributes);
            }
            Event::GuardsTripped { trips } => {
                for trip in trips {
                    self.push_event(None, semconv::TRIP, at, trip::attributes(trip));
                }
                if trips.iter().any(|trip| trip.scope == TripScope::Task) {
                    self.trips.clone_from(trips);
                }
            }
            Event::TurnHeldUp { turn, reason, passed_to } => {
                let attributes = Attributes::new()
                    .number(semconv::TURN_NUMBER, *turn)
                    .text(semconv::HELD_UP_REASON, reason);
                let attributes = match passed_to {
                    Some(agent) => attributes.text(semconv::HELD_UP_PASSED_TO, agent.as_str()),
                    None => attributes,
                };
                self.push_event(Some(*turn), semconv::TURN_HELD_UP, at, attributes);
            }
            Event::Extended(extended) => {
                let attributes = Attributes::new()
                    .number(semconv::ESCALATION_NUMBER, extended.number)
                    .text(semconv::ESCALATION_BY, &extended.by)
                    .text(semconv::EXTENSION_ADDED, &extended.added.to_string());
                self.push_event(None, semconv::EXTENSION, at, attributes);
            }
            _ => {}
        }
    }

    /// Adds an event to a turn's span, or to the root where that is not meant or gone.
    fn push_event(
        &mut self,
        turn: Option<TurnNumber>,
        name: &'static str,
        at: Timestamp,
        attributes: Attributes,
    ) {
        let turn = turn.and_then(|turn| self.turns.get_mut(&turn)).map(|turn| &mut turn.events);
        let events = match turn {
            Some(events) => Some(events),
            None => self.root.as_mut().map(|root| &mut root.events),
        };
        if let Some(events) = events {
            events.push(name, at, attributes);
        }
    }

    /// Usage of a running attempt is part of its span. Of one that has ended it is an event of what is still open, and,
    /// after the end of the task, a span of its own: what was exported is never sent again with other figures.
    fn hear_usage(&mut self, record: &Record, turn: TurnNumber, attempt: AttemptNumber, usage: Usage) {
        if self.record_usage(turn, attempt, usage) {
            return;
        }
        let attributes = Attributes::new()
            .number(semconv::TURN_NUMBER, turn)
            .number(semconv::ATTEMPT_NUMBER, attempt)
            .usage(usage)
            .number(semconv::SPENT, usage.tokens());
        if self.root.is_some() {
            self.push_event(Some(turn), semconv::LATE_USAGE, record.at, attributes);
        } else if let Some(trace) = &self.trace {
            let under = Some(SpanOf::Attempt(turn, attempt));
            let name = semconv::LATE_USAGE.to_owned();
            let mut span =
                trace.span(SpanOf::LateUsage(record.seq), under, name, record.at.minus(TICK), record.at);
            span.attributes.0.extend(attributes.0);
            self.finished.push(span);
        }
    }
}
