//! What people ask and answer: questions listed, looked at, followed and answered.

use super::Runtime;
use crate::{
    engine::{
        answer_checks::AnswerChecks,
        command::{Command, HumanAnswer, Rejection},
        view::EscalationView,
    },
    runtime::{
        CommandError, EscalationFilter, EscalationPage, Overloaded, QuestionPlace, QuestionWatch, ReadError,
        codec, questions,
        shard::{Answered, Outcome, QUEUE_RETRY},
    },
    types::{
        envelope::{Answer, Confidence, Envelope, Status},
        extension::Extension,
        ids::EscalationId,
        payload::Payload,
        usage::Usage,
    },
};

/// How often an amended result is put to its task: what it must fit may not be known at first.
const MAX_CHECKS: usize = 3;

/// A person's answer, as it comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersonAnswer {
    /// Accept the candidate, or go on where there is none.
    Approve,
    /// End SUCCEEDED with this result.
    Amend(Payload),
    /// Raise caps and go on.
    Extend(Extension),
    /// End FAILED.
    Abort,
}

impl Runtime {
    /// Questions that fit, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn escalations(
        &self,
        filter: EscalationFilter,
        after: Option<QuestionPlace>,
        limit: usize,
    ) -> Result<EscalationPage, ReadError> {
        let store = std::sync::Arc::clone(&self.0.store);
        Ok(self.0.hands.run(move || questions::page(&*store, &filter, after, limit)).await??)
    }

    /// One question, as it stands; `None`: there is no such question.
    ///
    /// # Errors
    /// The store failed.
    pub async fn escalation(&self, id: EscalationId) -> Result<Option<EscalationView>, ReadError> {
        let store = std::sync::Arc::clone(&self.0.store);
        let row = self.0.hands.run(move || store.escalation(id)).await??;
        Ok(row.map(|row| codec::escalation(&row)).transpose()?)
    }

    /// The open questions that fit (states are not looked at), then every change.
    pub fn watch_escalations(&self, filter: EscalationFilter) -> QuestionWatch {
        let store = std::sync::Arc::clone(&self.0.store);
        QuestionWatch::start(store, &self.0.questions, self.0.hands.clone(), filter)
    }

    /// A person's answer. Returns the question as it stands, durable.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn answer(
        &self,
        id: EscalationId,
        answer: PersonAnswer,
        by: String,
        note: String,
    ) -> Result<EscalationView, CommandError> {
        let mut checks = None;
        for _ in 0..MAX_CHECKS {
            let answer = self.checked(&answer, checks.as_ref()).await?;
            let (by, note) = (by.clone(), note.clone());
            let command = Command::AnswerEscalation { number: id.number, answer, by, note };
            match self.command(id.task, command, checks).await {
                Ok(Answered::Decided(outcome)) => return answered(id, *outcome),
                Ok(Answered::Check(wanted)) => checks = Some(*wanted),
                Err(CommandError::NotFound { .. }) => return Err(Rejection::EscalationUnknown.into()),
                Err(other) => return Err(other),
            }
        }
        Err(Overloaded::new(QUEUE_RETRY, "the result could not be checked in time").into())
    }

    /// The answer with what only this server knows: what stands against an amended result, and its ceilings.
    async fn checked(
        &self,
        answer: &PersonAnswer,
        checks: Option<&AnswerChecks>,
    ) -> Result<HumanAnswer, CommandError> {
        Ok(match answer {
            PersonAnswer::Approve => HumanAnswer::Approve,
            PersonAnswer::Abort => HumanAnswer::Abort,
            PersonAnswer::Extend(by) => {
                HumanAnswer::Extend { by: by.clone(), ceilings: Box::new(self.0.options.ceilings) }
            }
            PersonAnswer::Amend(result) => {
                let findings = match checks {
                    Some(checks) => self.0.answer_check.findings(checks, &envelope(result)).await?.result,
                    None => Vec::new(),
                };
                HumanAnswer::Amend { result: result.clone(), findings }
            }
        })
    }
}

/// A person's own result in the form of an answer, so that it is checked where answers are: they are sure of it.
fn envelope(result: &Payload) -> Answer {
    Answer::Envelope(Envelope {
        status: Status::Success,
        result: Some(result.clone()),
        confidence: Confidence::new(1.0),
        reason: String::new(),
        // A person uses no tokens: a rule about usage has something to hold against.
        usage: Some(Usage::default()),
        inputs_used: Vec::new(),
        retryable: false,
        directive: None,
        score: None,
    })
}

fn answered(id: EscalationId, outcome: Outcome) -> Result<EscalationView, CommandError> {
    let answered = outcome.escalations.into_iter().find(|view| view.asked.number == id.number);
    answered.ok_or(CommandError::Rejected(Rejection::EscalationUnknown))
}
