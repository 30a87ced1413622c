//! What a task's events say, read independently of the server's own sums, so that the demo can check the ledger rather than
//! repeat it.

use std::collections::BTreeMap;

use crate::{
    console::text,
    pb::{self, task_event::Event},
};

/// One attempt, as the events tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attempt {
    /// The worker.
    pub(super) worker: String,
    /// Tokens it was allowed at its start.
    pub(super) allowance: i64,
    /// The greatest figure reported or charged for it.
    pub(super) tokens: i64,
    /// How it ended, where it ended without an answer.
    pub(super) ended: Option<i32>,
    /// Whether its answer was accepted.
    pub(super) answered: bool,
}

/// The events of one task, summed up.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// By turn and attempt.
    pub(super) attempts: BTreeMap<(i32, i32), Attempt>,
    /// Agents by turn.
    pub(super) agents: BTreeMap<i32, String>,
    /// The hops, one by one.
    pub(super) hops: Vec<(String, String)>,
    /// The trips, in order.
    pub(super) trips: Vec<pb::Trip>,
    /// The questions.
    pub(super) questions: Vec<pb::Escalation>,
    /// How often the task ended: once, ever.
    pub(super) ends: usize,
}

impl Record {
    /// Adds an event.
    pub(super) fn take(&mut self, event: &pb::TaskEvent) {
        let Some(event) = &event.event else { return };
        match event {
            Event::TurnOpened(it) => {
                self.agents.insert(it.turn, it.agent.clone());
            }
            Event::AttemptStarted(it) => {
                let attempt = self.attempt(it.turn, it.attempt);
                attempt.worker.clone_from(&it.worker_id);
                attempt.allowance = it.allowance_tokens;
            }
            Event::UsageRecorded(it) => self.charge(it.turn, it.attempt, text::tokens(it.usage.as_ref())),
            // What a child used is in its own record.
            Event::LateUsage(it) if !it.child_task_id.is_empty() => {}
            Event::LateUsage(it) => self.charge(it.turn, it.attempt, text::tokens(it.usage.as_ref())),
            Event::TurnAnswered(it) => {
                self.charge(it.turn, it.attempt, it.charged_tokens);
                self.attempt(it.turn, it.attempt).answered = true;
            }
            Event::AttemptEnded(it) => self.attempt(it.turn, it.attempt).ended = Some(it.end),
            Event::HandedOff(it) => self.hops.push((it.from.clone(), it.to.clone())),
            Event::GuardsTripped(it) => self.trips.extend(it.trips.iter().cloned()),
            Event::Escalated(it) => self.questions.extend(it.escalation.clone()),
            Event::Ended(_) => self.ends += 1,
            _ => {}
        }
    }

    fn attempt(&mut self, turn: i32, attempt: i32) -> &mut Attempt {
        self.attempts.entry((turn, attempt)).or_default()
    }

    /// Reports are cumulative: the greatest counts, and no two are added.
    fn charge(&mut self, turn: i32, attempt: i32, tokens: i64) {
        let attempt = self.attempt(turn, attempt);
        attempt.tokens = attempt.tokens.max(tokens);
    }

    /// Tokens of all attempts, each counted once.
    pub(super) fn tokens(&self) -> i64 {
        self.attempts.values().map(|attempt| attempt.tokens).sum()
    }
}

/// Tokens that the ledger has charged in all.
pub(super) const fn charged(ledger: &pb::Ledger) -> i64 {
    ledger.spent_tokens.saturating_add(ledger.overrun_tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(turn: i32, attempt: i32, tokens: i64) -> pb::TaskEvent {
        let usage = Some(pb::Usage { input_tokens: tokens, ..Default::default() });
        let event = Event::UsageRecorded(pb::UsageRecorded { turn, attempt, usage });
        pb::TaskEvent { event: Some(event), ..Default::default() }
    }

    #[test]
    fn reports_are_cumulative_and_attempts_are_not() {
        let mut record = Record::default();
        for event in [usage(1, 1, 10), usage(1, 1, 30), usage(1, 1, 20), usage(1, 2, 5)] {
            record.take(&event);
        }
        let answered = pb::TurnAnswered { turn: 1, attempt: 2, charged_tokens: 9, ..Default::default() };
        record.take(&pb::TaskEvent { event: Some(Event::TurnAnswered(answered)), ..Default::default() });
        assert_eq!(record.tokens(), 39);
        assert!(record.attempts[&(1, 2)].answered && !record.attempts[&(1, 1)].answered);
    }
}
