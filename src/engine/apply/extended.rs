//! Applying a person's answer: the question's end, and caps that rise. Counters stay as they are. Never here: a check; what
//! stands in the event has been found to fit.

use std::sync::Arc;

use crate::{
    engine::{
        event::{Event, Extended},
        task::{QuestionEnd, Task},
    },
    types::{
        extension::Extension,
        time::{Span, Timestamp},
    },
};

impl Task {
    pub(super) fn on_question_ended(&mut self, event: &Event, at: Timestamp) {
        let Event::EscalationEnded { number, end, by, note, result } = event else { return };
        self.open_questions.remove(number);
        if let Some(question) = self.questions.iter_mut().find(|q| q.asked.number == *number) {
            question.end = Some(QuestionEnd {
                end: *end,
                by: by.clone(),
                note: note.clone(),
                at,
                result: result.clone(),
                extended: None,
            });
        }
    }

    /// The task's contract becomes a raised copy; the one that was submitted stays in the first event.
    pub(super) fn on_extended(&mut self, extended: &Extended) {
        let Extended { number, by: _, added, reserve_tokens, decides } = extended;
        let Extension {
            tokens,
            tokens_per_turn,
            tokens_by_agent,
            cost_nano_usd,
            time,
            hops,
            turns,
            rounds,
            replans,
            revisions,
        } = added;
        self.ledger.extend(added, *reserve_tokens);
        let contract = Arc::make_mut(&mut self.contract);
        let budget = &mut contract.budget;
        budget.max_tokens += tokens;
        budget.max_tokens_per_turn += tokens_per_turn;
        budget.max_cost_nano_usd = budget.max_cost_nano_usd.map(|cost| cost.saturating_add(*cost_nano_usd));
        for (agent, tokens) in tokens_by_agent {
            if let Some(cap) = budget.max_tokens_by_agent.get_mut(agent) {
                *cap += tokens;
            }
        }
        let limits = &mut contract.limits;
        limits.deadline = Span(limits.deadline.0.saturating_add(time.0));
        limits.max_hops += hops;
        limits.max_turns += turns;
        limits.max_rounds += rounds;
        limits.max_replans += replans;
        limits.max_decides += decides;
        contract.gate.max_revisions += revisions;
        let question = self.questions.iter_mut().find(|q| q.asked.number == *number);
        if let Some(end) = question.and_then(|question| question.end.as_mut()) {
            end.extended = Some(extended.clone());
        }
    }
}
