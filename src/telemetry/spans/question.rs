//! The span of a question to a person: how long the task waited for one.

use super::Projector;
use crate::{
    engine::event::{Escalated, EscalationEnd},
    telemetry::{
        semconv,
        span::{Attributes, word_of},
    },
    types::{time::Timestamp, trace_ids::SpanOf},
};

/// A question that is open.
#[derive(Debug)]
pub(super) struct OpenQuestion {
    start: Timestamp,
    /// The turn that led to it; 0: none.
    turn: u32,
    attributes: Attributes,
}

impl Projector {
    pub(super) fn ask(&mut self, asked: &Escalated, at: Timestamp) {
        let mut attributes = Attributes::new()
            .number(semconv::ESCALATION_NUMBER, asked.number)
            .text(semconv::ESCALATION_QUESTION, &asked.question)
            .list(semconv::FINDINGS, &asked.findings);
        if let Some(cause) = asked.cause {
            attributes = attributes.word(semconv::ESCALATION_CAUSE, cause);
        }
        if let Some(confidence) = asked.confidence {
            attributes = attributes.real(semconv::ANSWER_CONFIDENCE, confidence.get());
        }
        self.questions.insert(asked.number, OpenQuestion { start: at, turn: asked.turn, attributes });
        if let Some(root) = &mut self.root {
            root.questions += 1;
        }
    }

    pub(super) fn end_question(
        &mut self,
        number: u32,
        end: EscalationEnd,
        by: &str,
        note: &str,
        at: Timestamp,
    ) {
        let (Some(trace), Some(question)) = (&self.trace, self.questions.remove(&number)) else { return };
        let under = if question.turn == 0 { SpanOf::Task } else { SpanOf::Turn(question.turn) };
        let name = semconv::ESCALATION.to_owned();
        let mut span = trace.span(SpanOf::Escalation(number), Some(under), name, question.start, at);
        span.attributes.0.extend(question.attributes.0);
        span.attributes = span
            .attributes
            .word(semconv::ESCALATION_END, end)
            .text_if_any(semconv::ESCALATION_BY, by)
            .text_if_any(semconv::REASON, note);
        if end == EscalationEnd::Expired {
            span.attributes = span.attributes.text(semconv::ERROR_TYPE, &word_of(end));
            span.error = Some("nobody answered in time".to_owned());
        }
        self.finished.push(span);
    }
}
