//! The spans of a turn: the turn itself, its attempts, the gate's judgement of its result, the owner's decision.
//!
//! A turn that is answered stays here until a record comes that is not about its answer, so that a hand-off or a refusal
//! is an event of the turn that sent it, wherever a page of the log ends.

use std::collections::BTreeMap;

use super::{Projector, TICK, Trace};
use crate::{
    engine::event::{AttemptEnd, Event, InputsCheck, Trip, TurnKind},
    telemetry::{
        semconv,
        span::{Attributes, Events, cut, word_of},
    },
    types::{
        envelope::{Answer, Decision, Directive, Envelope, Status, Verdict},
        ids::{AgentName, AttemptNumber, TurnNumber, WorkerId},
        outcome::Cause,
        time::Timestamp,
        trace_ids::SpanOf,
        usage::Usage,
    },
};

/// A turn whose span is not finished.
#[derive(Debug)]
pub(super) struct OpenTurn {
    start: Timestamp,
    agent: AgentName,
    kind: TurnKind,
    /// What is known from the start.
    attributes: Attributes,
    pub(super) events: Events,
    /// Attempts that run.
    attempts: BTreeMap<AttemptNumber, OpenAttempt>,
    /// Usage heard of, by attempt, ended ones included.
    usage: BTreeMap<AttemptNumber, Usage>,
    attempts_started: u32,
    /// What a decide turn decides about.
    trips: Vec<Trip>,
    closing: Option<Closing>,
}

#[derive(Debug)]
struct OpenAttempt {
    start: Timestamp,
    worker: WorkerId,
    reserved: u64,
    allowance: u64,
    steps: usize,
    events: Events,
}

/// How a turn ended.
#[derive(Debug)]
struct Closing {
    at: Timestamp,
    attributes: Attributes,
    error: Option<(String, String)>,
}

/// How an attempt ended, as its span tells it.
struct AttemptResult<'a> {
    /// ANSWERED, or the journal's word.
    end: &'a str,
    reason: &'a str,
    cause: &'a str,
    is_error: bool,
}

const ANSWERED: AttemptResult<'_> = AttemptResult { end: "ANSWERED", reason: "", cause: "", is_error: false };

impl Projector {
    pub(super) fn open_turn(&mut self, event: &Event, at: Timestamp) {
        let Event::TurnOpened {
            turn,
            agent,
            kind,
            step,
            corrections,
            revision,
            replan,
            fallback,
            judges,
            ..
        } = event
        else {
            return;
        };
        let mut attributes = Attributes::new()
            .text(semconv::GEN_AI_AGENT_NAME, agent.as_str())
            .number(semconv::TURN_NUMBER, *turn)
            .word(semconv::TURN_KIND, kind)
            .number_if_any(semconv::TURN_CORRECTIONS, *corrections);
        if let Some(judged) = judges {
            attributes = attributes.number(semconv::TURN_JUDGES, *judged);
        }
        if *revision {
            attributes = attributes.flag(semconv::TURN_REVISION, true);
        }
        if *replan {
            attributes = attributes.flag(semconv::TURN_REPLAN, true);
        }
        if *fallback {
            attributes = attributes.flag(semconv::TURN_FALLBACK, true);
        }
        if let Some(step) = step {
            attributes = attributes.number(semconv::PLAN_NUMBER, step.plan);
            if let Some(id) = self.step_name(*step) {
                attributes = attributes.text(semconv::STEP_ID, id.as_str());
            }
        }
        if let Some(root) = &mut self.root {
            match kind {
                TurnKind::Work => root.turns += 1,
                TurnKind::Decide => root.decides += 1,
                TurnKind::Validate => root.validates += 1,
            }
        }
        let open = OpenTurn {
            start: at,
            agent: agent.clone(),
            kind: *kind,
            attributes,
            events: Events::default(),
            attempts: BTreeMap::new(),
            usage: BTreeMap::new(),
            attempts_started: 0,
            trips: if *kind == TurnKind::Decide { self.trips.clone() } else { Vec::new() },
            closing: None,
        };
        self.turns.insert(*turn, open);
    }

    pub(super) fn start_attempt(
        &mut self,
        turn: TurnNumber,
        attempt: AttemptNumber,
        worker: &WorkerId,
        allowance: u64,
        at: Timestamp,
    ) {
        let Some(open) = self.turns.get_mut(&turn) else { return };
        open.attempts_started += 1;
        let started = OpenAttempt {
            start: at,
            worker: worker.clone(),
            reserved: allowance,
            allowance,
            steps: 0,
            events: Events::default(),
        };
        open.attempts.insert(attempt, started);
        if let Some(root) = &mut self.root {
            root.attempts += 1;
        }
    }

    fn attempt_mut(&mut self, turn: TurnNumber, attempt: AttemptNumber) -> Option<&mut OpenAttempt> {
        self.turns.get_mut(&turn).and_then(|turn| turn.attempts.get_mut(&attempt))
    }

    pub(super) fn progress(&mut self, turn: TurnNumber, attempt: AttemptNumber, steps: usize) {
        if let Some(open) = self.attempt_mut(turn, attempt) {
            open.steps += steps;
        }
    }

    pub(super) fn answer_budget(
        &mut self,
        turn: TurnNumber,
        attempt: AttemptNumber,
        allowance: u64,
        at: Timestamp,
        attributes: Attributes,
    ) {
        if let Some(open) = self.attempt_mut(turn, attempt) {
            open.allowance = allowance;
            open.events.push(semconv::BUDGET_ANSWERED, at, attributes);
        }
    }

    /// Takes in usage; whether the attempt is running, so that its span will show it.
    pub(super) fn record_usage(&mut self, turn: TurnNumber, attempt: AttemptNumber, usage: Usage) -> bool {
        let Some(open) = self.turns.get_mut(&turn) else { return false };
        let heard = open.usage.entry(attempt).or_default();
        *heard = heard.max(usage);
        open.attempts.contains_key(&attempt)
    }

    pub(super) fn answer_turn(
        &mut self,
        turn: TurnNumber,
        attempt: AttemptNumber,
        answer: &Answer,
        charged: Usage,
        at: Timestamp,
    ) {
        self.record_usage(turn, attempt, charged);
        self.finish_attempt(turn, attempt, &ANSWERED, at);
        self.end_running(turn, at);
        let Some(open) = self.turns.get_mut(&turn) else { return };
        let (attributes, error) = match answer {
            Answer::Envelope(envelope) => told(envelope),
            Answer::Decision { decision, .. } => (decided(decision), None),
            Answer::Verdict(verdict) => (judged(verdict), None),
        };
        open.closing = Some(Closing { at, attributes, error });
    }

    pub(super) fn end_attempt(&mut self, event: &Event, at: Timestamp) {
        let Event::AttemptEnded { turn, attempt, end, reason, cause, usage, .. } = event else { return };
        if let Some(usage) = usage {
            self.record_usage(*turn, *attempt, *usage);
        }
        let is_error = matches!(end, AttemptEnd::LeaseExpired | AttemptEnd::Retryable);
        let cause = cause.map(word_of).unwrap_or_default();
        let result = AttemptResult { end: &word_of(end), reason, cause: &cause, is_error };
        self.finish_attempt(*turn, *attempt, &result, at);
    }

    fn finish_attempt(
        &mut self,
        number: TurnNumber,
        attempt: AttemptNumber,
        result: &AttemptResult<'_>,
        at: Timestamp,
    ) {
        let (Some(trace), Some(turn)) = (&self.trace, self.turns.get_mut(&number)) else { return };
        let Some(open) = turn.attempts.remove(&attempt) else { return };
        let name = format!("{} {attempt}", semconv::ATTEMPT);
        let of = SpanOf::Attempt(number, attempt);
        let mut span = trace.span(of, Some(SpanOf::Turn(number)), name, open.start, at);
        span.is_client = true;
        span.attributes = span
            .attributes
            .text(semconv::GEN_AI_AGENT_NAME, turn.agent.as_str())
            .number(semconv::TURN_NUMBER, number)
            .number(semconv::ATTEMPT_NUMBER, attempt)
            .text(semconv::WORKER_ID, open.worker.as_str())
            .number(semconv::RESERVED, open.reserved)
            .number(semconv::ALLOWANCE, open.allowance)
            .number_if_any(semconv::ATTEMPT_STEPS, open.steps as u64)
            .text(semconv::ATTEMPT_END, result.end)
            .text_if_any(semconv::ATTEMPT_CAUSE, result.cause)
            .text_if_any(semconv::REASON, result.reason);
        if let Some(usage) = turn.usage.get(&attempt) {
            span.attributes = span.attributes.usage(*usage).number(semconv::SPENT, usage.tokens());
        }
        if result.is_error {
            span.attributes = span.attributes.text(semconv::ERROR_TYPE, result.end);
            span.error = Some(cut(result.reason).to_owned());
        }
        span.events = open.events;
        self.finished.push(span);
    }

    pub(super) fn close_turn(&mut self, turn: TurnNumber, cause: Cause, reason: &str, at: Timestamp) {
        self.end_running(turn, at);
        let Some(open) = self.turns.get_mut(&turn) else { return };
        let attributes =
            Attributes::new().word(semconv::TURN_CAUSE, cause).text_if_any(semconv::REASON, reason);
        // A turn that was stopped because nobody needs it any more did not fail.
        let failed = !matches!(cause, Cause::Cancelled | Cause::Completed | Cause::Converged);
        let error = failed.then(|| (word_of(cause), cut(reason).to_owned()));
        open.closing = Some(Closing { at, attributes, error });
    }

    /// What an answer said of its inputs stands on its turn.
    pub(super) fn note_inputs(&mut self, turn: TurnNumber, inputs: Option<&InputsCheck>) {
        let (Some(turn), Some(inputs)) = (self.turns.get_mut(&turn), inputs) else { return };
        let Some(closing) = &mut turn.closing else { return };
        let InputsCheck { ignored, unknown, not_said } = inputs;
        let mut attributes = std::mem::take(&mut closing.attributes)
            .list(semconv::INPUTS_IGNORED, ignored)
            .list(semconv::INPUTS_UNKNOWN, unknown);
        if *not_said {
            attributes = attributes.flag(semconv::INPUTS_NOT_SAID, true);
        }
        closing.attributes = attributes;
    }

    pub(super) fn judge(&mut self, event: &Event, at: Timestamp) {
        let Event::GateJudged { turn, passed, findings, check, validate_turn } = event else { return };
        let Some(trace) = &self.trace else { return };
        let (turn, passed) = (*turn, *passed);
        let under = Some(SpanOf::Turn(turn));
        let start = match self.turns.get(&validate_turn.unwrap_or(turn)) {
            // A validator judges all the time its turn takes.
            Some(OpenTurn { start, .. }) if validate_turn.is_some() => *start,
            Some(OpenTurn { start, closing: Some(closing), .. }) => {
                closing.at.min(at.minus(TICK)).max(*start)
            }
            _ => at.minus(TICK),
        };
        let mut span = trace.span(SpanOf::Gate(turn), under, semconv::GATE.to_owned(), start, at);
        span.attributes = span
            .attributes
            .number(semconv::TURN_NUMBER, turn)
            .flag(semconv::GATE_PASSED, passed)
            .word(semconv::GATE_CHECK, check)
            .list(semconv::FINDINGS, findings);
        if !passed {
            span.attributes = span.attributes.text(semconv::ERROR_TYPE, &word_of(Cause::GateRejected));
            span.error = Some(cut(&findings.join("; ")).to_owned());
        }
        self.finished.push(span);
    }

    /// Ends the attempts that still run. The engine ends attempts before their turn; a journal that did not is told whole
    /// all the same.
    fn end_running(&mut self, turn: TurnNumber, at: Timestamp) {
        let running = self.turns.get(&turn).map(|open| open.attempts.keys().copied().collect::<Vec<_>>());
        for attempt in running.into_iter().flatten() {
            let end = word_of(AttemptEnd::Revoked);
            let result =
                AttemptResult { end: &end, reason: "the turn was closed", cause: "", is_error: false };
            self.finish_attempt(turn, attempt, &result, at);
        }
    }

    /// Finishes every turn, the open ones too: the task has ended.
    pub(super) fn finish_all_turns(&mut self, at: Timestamp) {
        for number in self.turns.keys().copied().collect::<Vec<_>>() {
            self.end_running(number, at);
            if let Some(mut turn) = self.turns.remove(&number) {
                let end = Closing { at, attributes: Attributes::new(), error: None };
                turn.closing.get_or_insert(end);
                self.finish_turn(number, turn);
            }
        }
    }

    /// Finishes the turns that have ended, but for one that this event still says something about.
    pub(super) fn finish_turns_unless_about(&mut self, event: &Event) {
        let about = match event {
            Event::HandedOff { turn, .. }
            | Event::DirectiveRefused { turn, .. }
            | Event::GateJudged { turn, .. } => Some(*turn),
            _ => None,
        };
        let done = |(number, turn): (&TurnNumber, &OpenTurn)| {
            (turn.closing.is_some() && Some(*number) != about).then_some(*number)
        };
        for number in self.turns.iter().filter_map(done).collect::<Vec<_>>() {
            if let Some(turn) = self.turns.remove(&number) {
                self.finish_turn(number, turn);
            }
        }
    }

    fn finish_turn(&mut self, number: TurnNumber, turn: OpenTurn) {
        let (Some(trace), Some(closing)) = (&self.trace, turn.closing) else { return };
        let mut total = Usage::default();
        turn.usage.values().for_each(|usage| total.add(*usage));
        let name = format!("{} {}", semconv::INVOKE_AGENT, turn.agent);
        let mut span = trace.span(SpanOf::Turn(number), Some(SpanOf::Task), name, turn.start, closing.at);
        span.attributes = span.attributes.text(semconv::GEN_AI_OPERATION_NAME, semconv::INVOKE_AGENT);
        span.attributes.0.extend(turn.attributes.0);
        span.attributes = span
            .attributes
            .number(semconv::ATTEMPTS, turn.attempts_started)
            .usage(total)
            .number(semconv::SPENT, total.tokens());
        span.attributes.0.extend(closing.attributes.0.iter().cloned());
        if let Some((kind, reason)) = &closing.error {
            span.attributes = span.attributes.text(semconv::ERROR_TYPE, kind);
            span.error = Some(reason.clone());
        }
        span.events = turn.events;
        if turn.kind == TurnKind::Decide {
            self.finished.push(decision(trace, number, turn.start, &turn.trips, closing));
        }
        self.finished.push(span);
    }
}

/// The span of what the owner was asked to decide and what it decided.
fn decision(
    trace: &Trace,
    turn: TurnNumber,
    start: Timestamp,
    trips: &[Trip],
    closing: Closing,
) -> super::Span {
    let under = Some(SpanOf::Turn(turn));
    let name = semconv::DECIDE.to_owned();
    let mut span = trace.span(SpanOf::Decide(turn), under, name, start, closing.at);
    span.attributes = span
        .attributes
        .number(semconv::TURN_NUMBER, turn)
        .list(semconv::TRIP_CAUSES, trips.iter().map(|trip| word_of(trip.cause)))
        .list(semconv::TRIP_EVIDENCE, trips.iter().map(|trip| trip.evidence.as_str()));
    span.attributes.0.extend(closing.attributes.0);
    if let Some((kind, reason)) = closing.error {
        span.attributes = span.attributes.text(semconv::ERROR_TYPE, &kind);
        span.error = Some(reason);
    }
    span
}

/// What an envelope says, but for its result.
fn told(envelope: &Envelope) -> (Attributes, Option<(String, String)>) {
    let mut attributes = Attributes::new().word(semconv::ANSWER_STATUS, envelope.status);
    if let Some(confidence) = envelope.confidence {
        attributes = attributes.real(semconv::ANSWER_CONFIDENCE, confidence.get());
    }
    let directive = match &envelope.directive {
        None => "",
        Some(Directive::HandOff(_)) => "hand_off",
        Some(Directive::Delegate(_) | Directive::InvalidPlan(_)) => "delegate",
        Some(Directive::AskHuman(_)) => "ask_human",
    };
    attributes = attributes
        .text_if_any(semconv::ANSWER_DIRECTIVE, directive)
        .text_if_any(semconv::REASON, &envelope.reason);
    let error = (envelope.status == Status::Failed)
        .then(|| (word_of(Cause::AgentFailed), cut(&envelope.reason).to_owned()));
    (attributes, error)
}

/// What a verdict says.
fn judged(verdict: &Verdict) -> Attributes {
    let attributes = Attributes::new().word(semconv::VERDICT, verdict.verdict);
    let attributes = match verdict.confidence {
        Some(confidence) => attributes.real(semconv::VERDICT_CONFIDENCE, confidence.get()),
        None => attributes,
    };
    attributes.list(semconv::FINDINGS, &verdict.reasons)
}

/// What a decision says, but for its result and plan.
fn decided(decision: &Decision) -> Attributes {
    let (word, reason) = match decision {
        Decision::ReplanWith(_) | Decision::InvalidReplan(_) | Decision::ReplanTo(_) => ("replan", ""),
        Decision::CompletePartial { reason, .. } => ("complete_partial", reason.as_str()),
        Decision::Escalate(question) => ("escalate", question.as_str()),
        Decision::Abort(reason) => ("abort", reason.as_str()),
    };
    Attributes::new().text(semconv::DECISION, word).text_if_any(semconv::REASON, reason)
}
