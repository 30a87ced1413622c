//! Children in their parent's trace: events on the turn that submitted them. A child is a trace of its own, whose root span
//! links to that turn's attempt.

use super::{Projector, TICK};
use crate::{
    engine::{
        event::Record,
        family::{ChildEnded, ChildReport, ChildStarted},
    },
    telemetry::{semconv, span::Attributes},
    types::{ids::TurnNumber, time::Timestamp, trace_ids::SpanOf},
};

impl Projector {
    pub(super) fn start_child(&mut self, started: &ChildStarted, at: Timestamp) {
        let attributes = Attributes::new()
            .text(semconv::CHILD_TASK_ID, &started.child.to_string())
            .number(semconv::ATTEMPT_NUMBER, started.attempt)
            .number(semconv::GRANTED, started.share.tokens);
        if let Some(root) = &mut self.root {
            root.children += 1;
        }
        self.push_event(Some(started.turn), semconv::CHILD_STARTED, at, attributes);
    }

    pub(super) fn end_child(&mut self, ended: &ChildEnded, at: Timestamp) {
        let mut attributes = Attributes::new()
            .text(semconv::CHILD_TASK_ID, &ended.child.to_string())
            .text_if_any(semconv::OUTCOME_REASON, &ended.reason);
        if let Some(state) = ended.state {
            attributes = attributes.word(semconv::OUTCOME_STATE, state);
        }
        if let Some(used) = &ended.used {
            attributes = attributes.number(semconv::SPENT, used.usage.tokens());
        }
        self.push_event(None, semconv::CHILD_ENDED, at, attributes);
    }

    /// What a child used, heard of late: an event while the task is open, a span of its own after that.
    pub(super) fn hear_child(&mut self, record: &Record, turn: TurnNumber, report: &ChildReport) {
        let attributes = Attributes::new()
            .number(semconv::TURN_NUMBER, turn)
            .text(semconv::CHILD_TASK_ID, &report.child.to_string())
            .usage(report.used.usage)
            .number(semconv::SPENT, report.used.usage.tokens());
        if self.root.is_some() {
            self.push_event(None, semconv::LATE_USAGE, record.at, attributes);
        } else if let Some(trace) = &self.trace {
            let (start, end) = (record.at.minus(TICK), record.at);
            let of = SpanOf::LateUsage(record.seq);
            let mut span =
                trace.span(of, Some(SpanOf::Turn(turn)), semconv::LATE_USAGE.to_owned(), start, end);
            span.attributes.0.extend(attributes.0);
            self.finished.push(span);
        }
    }
}
