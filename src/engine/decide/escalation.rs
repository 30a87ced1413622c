//! Questions to a person: durable, capped, with a time limit and a default answer. The first answer counts; expiry never
//! approves. What an extension does stands beside, in `extend`.

use super::{Opening, Txn};
use crate::{
    engine::{
        command::{ClosedQuestion, HumanAnswer, Rejection, Reply},
        event::{Escalated, EscalationEnd, Event, InputFrom},
        task::QuestionEnd,
    },
    types::{
        contract::DefaultAnswer,
        envelope::Confidence,
        ids::TurnNumber,
        outcome::{Cause, EndedBy, TaskState},
        payload::Payload,
    },
};

impl Txn<'_> {
    /// Whether the contract and the task's lifetime allow another question.
    pub(super) fn may_escalate(&self) -> bool {
        self.task.counters.escalations + self.task.kept_questions()
            < self.task.contract.escalation.max_escalations
            && self.env.now < self.task.lifetime_end()
    }

    pub(super) fn best_candidate(&self) -> (Option<Payload>, Option<Confidence>, Vec<String>) {
        match &self.task.best {
            Some(best) => (Some(best.result.clone()), Some(best.confidence), best.findings.clone()),
            None => (None, None, Vec::new()),
        }
    }

    pub(super) fn escalate(
        &mut self,
        turn: TurnNumber,
        question: String,
        cause: Option<Cause>,
        candidate: Option<Payload>,
        confidence: Option<Confidence>,
        findings: Vec<String>,
    ) {
        let number = self.task.counters.escalations + 1;
        let expires_at =
            self.env.now.plus(self.task.contract.escalation.timeout).min(self.task.lifetime_end());
        let story = self.task.story();
        let room = Some(self.task.room(self.env.now));
        let asked = Escalated {
            number,
            turn,
            question,
            cause,
            candidate,
            confidence,
            findings,
            expires_at,
            story,
            room,
        };
        self.emit(Event::Escalated(Box::new(asked)));
    }

    pub(super) fn answer_question(
        &mut self,
        number: u32,
        answer: HumanAnswer,
        by: String,
        note: String,
    ) -> Result<Reply, Rejection> {
        let question = self.task.questions.iter().find(|q| q.asked.number == number);
        let question = question.ok_or(Rejection::EscalationUnknown)?;
        if let Some(end) = &question.end {
            return Err(self.closed(end));
        }
        let asked = question.asked.clone();
        match answer {
            HumanAnswer::Approve => self.approve(&asked, by, note),
            HumanAnswer::Amend { result, findings } => self.amend(&asked, result, findings, by, note),
            HumanAnswer::Extend { by: added, ceilings } => self.extend(&asked, added, &ceilings, by, note),
            HumanAnswer::Abort => {
                self.emit(end_event(number, EscalationEnd::Aborted, by.clone(), note.clone()));
                let story = with_note(format!("{by} aborted"), &note);
                let cause = super::gate::cause_of_abort(asked.cause);
                self.end(TaskState::Failed, EndedBy::Human, cause, None, story);
                Ok(Reply::Done)
            }
        }
    }

    fn closed(&self, end: &QuestionEnd) -> Rejection {
        let QuestionEnd { end, by, note, at, result: _, extended: _ } = end.clone();
        let outcome = self.task.outcome.as_ref().map(|outcome| (outcome.state, outcome.cause));
        Rejection::EscalationClosed(Box::new(ClosedQuestion { end, by, note, at, outcome }))
    }

    fn approve(&mut self, asked: &Escalated, by: String, note: String) -> Result<Reply, Rejection> {
        if asked.candidate.is_none() && asked.cause.is_some() {
            return Err(Rejection::NothingToApprove);
        }
        self.emit(end_event(asked.number, EscalationEnd::Approved, by.clone(), note.clone()));
        let Some(candidate) = &asked.candidate else {
            self.go_on(asked.turn, with_note(format!("{by} says: go on"), &note));
            return Ok(Reply::Done);
        };
        let story = with_note(format!("{by} approved"), &note);
        let result = Some((candidate.clone(), asked.findings.clone()));
        self.end(TaskState::Succeeded, EndedBy::Human, Cause::Completed, result, story);
        Ok(Reply::Done)
    }

    /// A person gives the result: it ends the task, an agent's own question included. Unlike the candidate it must fit.
    fn amend(
        &mut self,
        asked: &Escalated,
        result: Payload,
        findings: Vec<String>,
        by: String,
        note: String,
    ) -> Result<Reply, Rejection> {
        if !findings.is_empty() {
            return Err(Rejection::AmendmentRefused(findings));
        }
        self.emit(Event::EscalationEnded {
            number: asked.number,
            end: EscalationEnd::Amended,
            by: by.clone(),
            note: note.clone(),
            result: Some(result.clone()),
        });
        let story = with_note(format!("{by} amended the result"), &note);
        let result = Some((result, Vec::new()));
        self.end(TaskState::Succeeded, EndedBy::Human, Cause::Completed, result, story);
        Ok(Reply::Done)
    }

    /// An agent's own question was answered: it has the next turn, with the note.
    pub(super) fn go_on(&mut self, turn: TurnNumber, note: String) {
        let Some(state) = self.task.turn(turn) else { return };
        let opening = Opening {
            step: state.step,
            notes: vec![note],
            ..Opening::new(state.agent.clone(), InputFrom::Same(turn))
        };
        self.open_work(opening);
    }

    /// Nobody answered in time: the default answer applies.
    pub(super) fn expire_question(&mut self, number: u32) {
        self.emit(end_event(number, EscalationEnd::Expired, String::new(), String::new()));
        let story = "nobody answered in time".to_owned();
        match self.task.contract.escalation.default_answer {
            DefaultAnswer::Partial => self.finish(Cause::EscalationExpired, story),
            DefaultAnswer::Abort => {
                self.end(TaskState::Failed, EndedBy::Fallback, Cause::EscalationExpired, None, story);
            }
        }
    }

    pub(super) fn withdraw_question(&mut self, number: u32) {
        self.emit(end_event(number, EscalationEnd::Withdrawn, String::new(), String::new()));
    }

    /// Withdraws the questions that a turn asked.
    pub(super) fn withdraw_questions_of(&mut self, turn: TurnNumber) {
        let open = &self.task.open_questions;
        let asked: Vec<_> = self
            .task
            .questions
            .iter()
            .filter(|q| q.asked.turn == turn && open.contains(&q.asked.number))
            .map(|q| q.asked.number)
            .collect();
        for number in asked {
            self.withdraw_question(number);
        }
    }
}

pub(super) const fn end_event(number: u32, end: EscalationEnd, by: String, note: String) -> Event {
    Event::EscalationEnded { number, end, by, note, result: None }
}

pub(super) fn with_note(story: String, note: &str) -> String {
    if note.is_empty() { story } else { format!("{story}: {note}") }
}
