//! Extending: a person raises caps and the task goes on. Counters stay as they are, the finalization reserve is refilled
//! first, and no cap passes the server's ceiling or the task's lifetime. The owner decides what to do with the room; an
//! agent that had asked by itself simply goes on.

use std::collections::BTreeMap;

use super::{
    Txn,
    escalation::{end_event, with_note},
};
use crate::{
    engine::{
        command::{Rejection, Reply},
        event::{Escalated, EscalationEnd, Event, Extended, Trip, TurnKind},
        intake::Violation,
        task::Task,
    },
    types::{
        extension::Extension,
        guards::MAX_STEPS,
        ids::AgentName,
        limits::{Ceilings, fixed},
        outcome::Cause,
        time::{Span, Timestamp},
    },
};

impl Txn<'_> {
    pub(super) fn extend(
        &mut self,
        asked: &Escalated,
        added: Extension,
        ceilings: &Ceilings,
        by: String,
        note: String,
    ) -> Result<Reply, Rejection> {
        let own = asked.is_own();
        let plan = self.task.plan_extension(added, ceilings, self.env.now, !own);
        let (added, reserve_tokens, decides) = plan.map_err(Rejection::ExtensionRefused)?;
        let story = with_note(format!("{by} extended the task by {added}"), &note);
        let number = asked.number;
        self.emit(end_event(number, EscalationEnd::Extended, by.clone(), note));
        self.emit(Event::Extended(Box::new(Extended { number, by, added, reserve_tokens, decides })));
        if own {
            self.go_on(asked.turn, story);
        } else {
            self.decide_anew(asked, story);
        }
        Ok(Reply::Done)
    }

    /// The owner has the word again, with the room and the note.
    fn decide_anew(&mut self, asked: &Escalated, note: String) {
        self.stop_all(asked.cause.unwrap_or(Cause::GateRejected), &note);
        let is_work = self.task.turn(asked.turn).is_some_and(|turn| turn.kind == TurnKind::Work);
        if is_work {
            // The gate asked the person directly: the owner has not heard of it yet. A spot check asks about a result that had
            // passed: extended, it has not.
            let cause = super::gate::cause_of_abort(asked.cause);
            let evidence = match asked.findings.as_slice() {
                [] => asked.question.clone(),
                findings => format!("the gate refused turn {}: {}", asked.turn, findings.join("; ")),
            };
            self.emit(Event::GuardsTripped { trips: vec![Trip::new(cause, evidence)] });
        }
        self.open_decide_turn(vec![note]);
    }
}

impl Escalated {
    /// Whether an agent asked by itself, so that "go on" is an answer.
    pub(super) const fn is_own(&self) -> bool {
        self.cause.is_none() && self.candidate.is_none()
    }
}

/// What an extension comes to: what is added, the part of it for the reserve, and decide turns.
type Plan = (Extension, u64, u32);

impl Task {
    /// What an extension comes to, or every reason against it. With `decides`, it must leave the owner room to decide.
    fn plan_extension(
        &self,
        mut added: Extension,
        ceilings: &Ceilings,
        now: Timestamp,
        decides: bool,
    ) -> Result<Plan, Vec<Violation>> {
        added.tokens_by_agent.retain(|_, tokens| *tokens > 0);
        let mut faults = Faults::default();
        if added.is_empty() {
            faults.add("", "adds nothing: say by what, such as tokens, hops or time".to_owned());
        }
        self.check_carved(&added, &mut faults);
        self.check_counts_of(&added, ceilings, &mut faults);
        self.check_budget_of(&added, ceilings, &mut faults);
        self.check_time_of(added.time, ceilings, now, &mut faults);
        let reserve = self.contract.budget.finalization_reserve;
        let (granted, used) = self.ledger.final_granted_and_used();
        let refill = added.tokens.min((reserve + used).saturating_sub(granted));
        let mut extra = 0;
        if decides {
            let left = match self.contract.gate.validator {
                None => granted + refill - used,
                Some(_) => self.ledger.decision_free() + self.ledger.decision_refill(refill),
            };
            self.check_reserve_of(left, &mut faults);
            self.check_deciding_time(added.time, now, &mut faults);
            extra = (self.counters.decides + 1).saturating_sub(self.contract.limits.max_decides);
            if self.contract.limits.max_decides + extra > fixed::MAX_DECIDES {
                let most = fixed::MAX_DECIDES;
                faults.add("", format!("leads nowhere: the owner has decided {most} times, the most it may"));
            }
        }
        if faults.0.is_empty() { Ok((added, refill, extra)) } else { Err(faults.0) }
    }

    /// What a child may use is reserved in its parent: more than that would escape the parent's caps.
    fn check_carved(&self, added: &Extension, faults: &mut Faults) {
        let Some(parent) = &self.parent else { return };
        for (field, more) in [
            ("tokens", added.tokens),
            ("cost_nano_usd", added.cost_nano_usd),
            ("tokens_by_agent", added.tokens_by_agent.values().copied().max().unwrap_or_default()),
            ("hops", u64::from(added.hops)),
            ("turns", u64::from(added.turns)),
        ] {
            if more > 0 {
                let from = parent.task;
                let text = format!(
                    "cannot be raised: it was carved from task {from}, whose child this is; approve or abort"
                );
                faults.add(field, text);
            }
        }
    }

    fn check_counts_of(&self, added: &Extension, ceilings: &Ceilings, faults: &mut Faults) {
        let limits = &self.contract.limits;
        if added.steps > 0 && self.contract.guards.max_steps.is_none() {
            faults.add("steps", "cannot be raised: the contract sets no cap on steps".to_owned());
        }
        let steps = self.contract.guards.max_steps.unwrap_or(0);
        for (field, has, more, ceiling) in [
            ("steps", steps, added.steps, MAX_STEPS),
            ("hops", limits.max_hops, added.hops, ceilings.max_hops),
            ("turns", limits.max_turns, added.turns, ceilings.max_turns),
            ("rounds", limits.max_rounds, added.rounds, ceilings.max_rounds),
            ("replans", limits.max_replans, added.replans, ceilings.max_replans),
            ("revisions", self.contract.gate.max_revisions, added.revisions, fixed::MAX_REVISIONS),
        ] {
            faults.bound(field, u64::from(has), u64::from(more), u64::from(ceiling), "the server's ceiling");
        }
    }

    fn check_budget_of(&self, added: &Extension, ceilings: &Ceilings, faults: &mut Faults) {
        let budget = &self.contract.budget;
        faults.bound("tokens", budget.max_tokens, added.tokens, ceilings.max_tokens, "the server's ceiling");
        let total = budget.max_tokens.saturating_add(added.tokens);
        let per_turn = total - budget.finalization_reserve;
        let what = "what the budget leaves beside the reserve";
        faults.bound("tokens_per_turn", budget.max_tokens_per_turn, added.tokens_per_turn, per_turn, what);
        if added.tokens_per_turn > 0 && self.running_plan().is_some() {
            faults.add(
                "tokens_per_turn",
                "cannot be raised while a plan runs: its sum is held already".to_owned(),
            );
        }
        if added.cost_nano_usd > 0 && budget.max_cost_nano_usd.is_none() {
            faults.add("cost_nano_usd", "cannot be raised: the contract sets no limit on money".to_owned());
        }
        self.check_agents_of(&added.tokens_by_agent, total, faults);
    }

    fn check_agents_of(&self, added: &BTreeMap<AgentName, u64>, total: u64, faults: &mut Faults) {
        for (agent, &more) in added {
            let field = format!("tokens_by_agent.{agent}");
            match self.contract.budget.max_tokens_by_agent.get(agent) {
                Some(&has) => faults.bound(&field, has, more, total, "the budget of the whole task"),
                None => {
                    faults.add(&field, "cannot be raised: the contract gives it no cap of its own".to_owned())
                }
            }
        }
    }

    fn check_time_of(&self, more: Span, ceilings: &Ceilings, now: Timestamp, faults: &mut Faults) {
        if more == Span::ZERO {
            return;
        }
        let has = self.contract.limits.deadline;
        if has.0.saturating_add(more.0) > ceilings.deadline.0 {
            let room = Span(ceilings.deadline.0.saturating_sub(has.0));
            faults.add(
                "time",
                format!(
                    "would make the deadline {}: the server's ceiling is {}, so add at most {room}",
                    Span(has.0.saturating_add(more.0)),
                    ceilings.deadline
                ),
            );
        }
        let room = self.lifetime_end().since(self.deadline_at(now));
        if more > room {
            let most = self.contract.limits.max_lifetime;
            faults
                .add("time", format!("would outlast the task's max_lifetime of {most}: add at most {room}"));
        }
    }

    /// The owner's turn is paid from the reserve; `left` is what is in it then, in tokens.
    fn check_reserve_of(&self, left: u64, faults: &mut Faults) {
        let half = self.contract.budget.finalization_reserve / 2;
        let least = self.contract.budget.min_tokens_per_turn.min(half).max(1);
        if left < least {
            faults.add(
                "tokens",
                format!(
                    "must be added: {left} are left in the finalization reserve, which pays for the owner's decision, and {least} \
                     are the least"
                ),
            );
        }
    }

    fn check_deciding_time(&self, more: Span, now: Timestamp, faults: &mut Faults) {
        let need = self.contract.limits.decide_timeout;
        let end = self.deadline_at(now).plus(more);
        if end < now.plus(need) {
            let (left, short) = (end.since(now), now.plus(need).since(end));
            faults.add(
                "time",
                format!(
                    "must be added: {left} would be left, and the owner may take {need} to decide; add {} or more",
                    Span(more.0.saturating_add(short.0))
                ),
            );
        }
    }
}

/// Reasons against an extension, each with its field.
#[derive(Default)]
struct Faults(Vec<Violation>);

impl Faults {
    fn add(&mut self, field: &str, description: String) {
        let field = if field.is_empty() { "extend".to_owned() } else { format!("extend.{field}") };
        self.0.push(Violation { field, description });
    }

    /// Holds a raised cap to its ceiling. A cap that is not raised may stand where it stands.
    fn bound(&mut self, field: &str, has: u64, more: u64, ceiling: u64, what: &str) {
        let sum = has.saturating_add(more);
        if more == 0 || sum <= ceiling {
            return;
        }
        let room = ceiling.saturating_sub(has);
        self.add(field, format!("would make it {sum}: {what} is {ceiling}, so add at most {room}"));
    }
}
