//! What a handler gives back: an answer, or an error that becomes a FAILED one. Usage is filled in by the worker.

use std::fmt::Display;

use crate::{json::from_json, pb};

/// Longest reason sent, in characters.
const MAX_REASON: usize = 1_000;

/// The answer to a turn: an envelope on a work turn, a decision on a decide turn, a verdict on a validate turn. Its usage need not be set: the worker
/// puts in what the attempt has reported in all.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Answers a work turn.
    Work(Box<pb::StatusEnvelope>),
    /// Answers a decide turn.
    Decide(Box<pb::Decision>),
    /// Answers a validate turn.
    Validate(Box<pb::Verdict>),
}

impl Answer {
    /// The goal of the turn is met, with this result. Confidence is 0 unless [`Answer::confidence`] says more.
    pub fn success(result: serde_json::Value) -> Self {
        Self::work(pb::Status::Success, Some(result), String::new())
    }

    /// Something useful, and why it is not all that was asked.
    pub fn partial(result: serde_json::Value, reason: impl Into<String>) -> Self {
        Self::work(pb::Status::Partial, Some(result), reason.into())
    }

    /// Nothing useful, and why. Never retried blindly.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::work(pb::Status::Failed, None, reason.into())
    }

    /// Runs a plan, then has control back. `best` is the best result so far, if there is one.
    pub fn delegate(plan: pb::Plan, best: Option<serde_json::Value>) -> Self {
        let mut answer = Self::work(pb::Status::Success, best, String::new());
        answer.direct(pb::status_envelope::Directive::Delegate(pb::Delegate { plan: Some(plan) }));
        answer
    }

    /// Answers a decide turn.
    pub fn decide(decision: pb::decision::Decision) -> Self {
        Self::Decide(Box::new(pb::Decision { usage: None, decision: Some(decision) }))
    }

    /// On a decide turn: end the task PARTIAL with `result`, or with the best result so far where `result` is `None`.
    pub fn complete_partial(result: Option<serde_json::Value>, reason: impl Into<String>) -> Self {
        Self::decide(pb::decision::Decision::CompletePartial(pb::CompletePartial {
            result: result.map(from_json),
            reason: reason.into(),
        }))
    }

    /// On a validate turn: the candidate may become the outcome.
    pub fn agree() -> Self {
        Self::validate(pb::Judgement::Agree, Vec::new())
    }

    /// On a validate turn: the candidate may not become the outcome, and why, each reason in words that its author can act
    /// on. At least one.
    pub fn disagree(reasons: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::validate(pb::Judgement::Disagree, reasons.into_iter().map(Into::into).collect())
    }

    fn validate(verdict: pb::Judgement, reasons: Vec<String>) -> Self {
        let verdict = verdict.into();
        Self::Validate(Box::new(pb::Verdict { verdict, confidence: None, reasons, usage: None }))
    }

    /// How sure the agent is, 0 to 1. Nothing on a decision.
    #[must_use]
    pub fn confidence(mut self, confidence: f64) -> Self {
        match &mut self {
            Self::Work(envelope) => envelope.confidence = Some(confidence),
            Self::Validate(verdict) => verdict.confidence = Some(confidence),
            Self::Decide(_) => {}
        }
        self
    }

    /// How good the result is, 0 to 1, in a measure that means the same over the whole task: what convergence is judged by.
    /// Without it the confidence is taken. Nothing on a decision.
    #[must_use]
    pub fn score(self, score: f64) -> Self {
        self.edit(|envelope| envelope.score = Some(score))
    }

    /// Why, in a sentence. Nothing on a decision.
    #[must_use]
    pub fn reason(self, reason: impl Into<String>) -> Self {
        self.edit(|envelope| envelope.reason = reason.into())
    }

    /// The lineage entries this answer drew on. Nothing on a decision.
    #[must_use]
    pub fn inputs_used(self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.edit(|envelope| envelope.inputs_used = ids.into_iter().map(Into::into).collect())
    }

    /// Passes control to another agent. Nothing on a decision.
    #[must_use]
    pub fn hand_off(mut self, agent: impl Into<String>, input: serde_json::Value) -> Self {
        let hand_off = pb::HandOff { agent: agent.into(), input: Some(from_json(input)) };
        self.direct(pb::status_envelope::Directive::HandOff(hand_off));
        self
    }

    /// Asks a person. Nothing on a decision.
    #[must_use]
    pub fn ask_human(mut self, question: impl Into<String>) -> Self {
        self.direct(pb::status_envelope::Directive::AskHuman(pb::AskHuman { question: question.into() }));
        self
    }

    fn work(status: pb::Status, result: Option<serde_json::Value>, reason: String) -> Self {
        Self::Work(Box::new(pb::StatusEnvelope {
            status: status.into(),
            result: result.map(from_json),
            reason,
            ..Default::default()
        }))
    }

    fn direct(&mut self, directive: pb::status_envelope::Directive) {
        if let Self::Work(envelope) = self {
            envelope.directive = Some(directive);
        }
    }

    fn edit(mut self, change: impl FnOnce(&mut pb::StatusEnvelope)) -> Self {
        if let Self::Work(envelope) = &mut self {
            change(envelope);
        }
        self
    }

    /// The message that carries it, with the attempt's whole usage.
    pub(crate) fn complete(self, lease: String, usage: pb::Usage) -> pb::Complete {
        let answer = match self {
            Self::Work(mut envelope) => {
                envelope.usage = Some(usage);
                pb::complete::Answer::Envelope(*envelope)
            }
            Self::Decide(mut decision) => {
                decision.usage = Some(usage);
                pb::complete::Answer::Decision(*decision)
            }
            Self::Validate(mut verdict) => {
                verdict.usage = Some(usage);
                pb::complete::Answer::Verdict(*verdict)
            }
        };
        pb::Complete { lease, answer: Some(answer) }
    }
}

/// A handler that could not answer. Any [`std::error::Error`] becomes one by `?`; it fails the turn with the reason
/// `<type>: <message>`. Say [`HandlerError::retryable`] only where the failure was technical.
#[derive(Clone, Debug)]
pub struct HandlerError {
    reason: String,
    retryable: bool,
}

impl HandlerError {
    /// Fails the turn; it is not tried again.
    pub fn failed(message: impl Display) -> Self {
        Self { reason: format!("HandlerError: {message}"), retryable: false }
    }

    /// Fails the attempt for a technical reason (an upstream outage, a rate limit): another may do better.
    pub fn retryable(message: impl Display) -> Self {
        Self { reason: format!("Retryable: {message}"), retryable: true }
    }

    pub(crate) fn panicked(message: &str) -> Self {
        Self { reason: format!("panic: {message}"), retryable: false }
    }

    pub(crate) fn into_answer(self) -> Answer {
        let reason: String = self.reason.chars().take(MAX_REASON).collect();
        Answer::failed(reason).edit(|envelope| envelope.retryable = self.retryable)
    }
}

impl<E: std::error::Error> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let path = std::any::type_name::<E>();
        let name = path.split('<').next().and_then(|p| p.rsplit("::").next()).unwrap_or(path);
        Self { reason: format!("{name}: {error}"), retryable: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_type_and_is_cut_at_the_limit() {
        let error = "x".parse::<i32>().expect_err("not a number");
        let Answer::Work(envelope) = HandlerError::from(error).into_answer() else {
            panic!("not an envelope")
        };
        assert_eq!(envelope.reason, "ParseIntError: invalid digit found in string");
        assert!(!envelope.retryable);
        let Answer::Work(long) = HandlerError::retryable("é".repeat(5_000)).into_answer() else {
            panic!("not an envelope")
        };
        assert_eq!(long.reason.chars().count(), 1_000);
        assert!(long.retryable);
    }

    #[test]
    fn the_usage_of_the_attempt_rides_on_every_answer() {
        let usage = pb::Usage { input_tokens: 5, ..Default::default() };
        let complete = Answer::complete_partial(None, "enough").complete("lease".into(), usage.clone());
        let Some(pb::complete::Answer::Decision(decision)) = complete.answer else {
            panic!("not a decision")
        };
        assert_eq!(decision.usage, Some(usage));
    }
}
