//! Children: a live lease may submit a task. What it may use is carved from what its parent has left and reserved until it
//! has ended, so that over a whole tree every cap holds. A child never outlives its parent.

use std::sync::Arc;

use super::Txn;
use crate::{
    engine::{
        command::{Rejection, Reply},
        event::{Event, TurnKind},
        family::{ChildEnded, ChildReport, ChildStarted, Share},
        intake::{self, Terms},
        task::Task,
    },
    types::{
        contract::{Contract, ContractDraft},
        ids::{AttemptNumber, Lease, TaskId, TurnNumber},
        limits::{Ceilings, fixed},
        outcome::{Cause, TaskState},
        time::{Span, Timestamp},
    },
};

impl Txn<'_> {
    /// Submits a child under a live lease. Everything is checked and carved in one decision: two of them cannot both have
    /// the last token.
    pub(super) fn start_child(
        &mut self,
        lease: Lease,
        child: TaskId,
        draft: &ContractDraft,
        ceilings: &Ceilings,
        fingerprint: u128,
    ) -> Result<Reply, Rejection> {
        let turn = self.live_turn(lease)?;
        if turn.kind != TurnKind::Work {
            return Err(Rejection::ChildNotAllowed);
        }
        if let Some(known) = self.task.children.all.iter().find(|known| known.id == child) {
            if known.fingerprint != fingerprint {
                return Err(Rejection::ChildKeyTaken(child, Vec::new()));
            }
            return Ok(Reply::ChildStarted { number: known.number, existing: true });
        }
        let contract = self.task.child_contract(draft, ceilings, self.env)?;
        let number = self.task.counters.children + 1;
        let share = Share {
            tokens: contract.budget.max_tokens,
            hops: contract.limits.max_hops,
            turns: contract.limits.max_turns,
            escalations: contract.escalation.max_escalations,
            by_agent: capped(&self.task.contract, &contract),
        };
        let (turn, attempt) = (lease.turn, lease.attempt);
        let contract = Arc::new(contract);
        let started = ChildStarted { number, child, turn, attempt, contract, fingerprint, share };
        self.emit(Event::ChildStarted(Box::new(started)));
        Ok(Reply::ChildStarted { number, existing: false })
    }

    /// A child says how it ended, or what it used after that. Saying it again is harmless.
    pub(super) fn hear_child(&mut self, report: ChildReport) -> Reply {
        let Some(child) = self.task.children.get(report.number).filter(|c| c.id == report.child) else {
            return Reply::Done;
        };
        let (turn, attempt) = (child.turn, child.attempt);
        if child.is_open() {
            let overrun_before = self.task.ledger.overrun();
            let ChildReport { number, child, state, used } = report;
            let reason = if state.is_some() { String::new() } else { NEVER_STARTED.to_owned() };
            let tokens = used.usage.tokens();
            self.emit(Event::ChildEnded(Box::new(ChildEnded {
                number,
                child,
                state,
                used: Some(used),
                reason,
            })));
            let beyond = self.task.ledger.overrun() - overrun_before;
            if beyond > 0 {
                let evidence =
                    format!("child {number} used {tokens} tokens, {beyond} of them beyond the grant");
                self.trip(Cause::Budget, evidence);
            } else if self.task.ledger.is_cost_exceeded() {
                self.trip(
                    Cause::Budget,
                    format!("the task has cost more than max_cost_nano_usd with child {number}"),
                );
            }
            return Reply::Done;
        }
        if child.used.is_none() || self.task.ledger.is_child_news(report.number, &report.used) {
            let (usage, number) = (report.used.usage, report.number);
            let overrun_before = self.task.ledger.overrun();
            self.emit(Event::LateUsage { turn, attempt, usage, child: Some(Box::new(report)) });
            let beyond = self.task.ledger.overrun() - overrun_before;
            if beyond > 0 && self.works() {
                let evidence =
                    format!("child {number} is heard to have used {beyond} tokens beyond the grant");
                self.trip(Cause::Budget, evidence);
            }
        }
        Reply::Done
    }

    /// Stops the children that an attempt submitted: nobody is left who waits for them.
    pub(super) fn stop_children_of(&mut self, turn: TurnNumber, attempt: AttemptNumber, reason: &str) {
        self.stop_children(reason, |of| of == (turn, attempt));
    }

    /// Stops every child.
    pub(super) fn stop_all_children(&mut self, reason: &str) {
        self.stop_children(reason, |_| true);
    }

    fn stop_children(&mut self, reason: &str, stops: impl Fn((TurnNumber, AttemptNumber)) -> bool) {
        if self.task.children.open == 0 {
            return;
        }
        let open = self.task.children.all.iter().filter(|c| c.is_open() && stops((c.turn, c.attempt)));
        let stopped: Vec<_> = open.map(|c| (c.number, c.id)).collect();
        for (number, child) in stopped {
            let state = Some(TaskState::Cancelled);
            let reason = reason.to_owned();
            self.emit(Event::ChildEnded(Box::new(ChildEnded { number, child, state, used: None, reason })));
        }
    }
}

/// What stands in a parent's journal for a child that could not be made before it was stopped.
const NEVER_STARTED: &str = "it was stopped before it started";

/// The caps of agents that the parent's contract caps, as the child has them.
fn capped(
    parent: &Contract,
    child: &Contract,
) -> std::collections::BTreeMap<crate::types::ids::AgentName, u64> {
    let caps = &child.budget.max_tokens_by_agent;
    let of_both = |agent| Some((Clone::clone(agent), *caps.get(agent)?));
    parent.budget.max_tokens_by_agent.keys().filter_map(of_both).collect()
}

impl Task {
    /// The child's contract, completed under what this task has left; or why there can be no such child.
    fn child_contract(
        &self,
        draft: &ContractDraft,
        ceilings: &Ceilings,
        env: crate::engine::command::Env<'_>,
    ) -> Result<Contract, Rejection> {
        let limits = &self.contract.limits;
        if limits.max_depth == 0 {
            let depth = self.parent.as_ref().map_or(0, |parent| parent.depth);
            return Err(Rejection::DepthExceeded { depth });
        }
        if self.counters.children >= limits.max_children {
            return Err(Rejection::ChildrenExceeded { max: limits.max_children });
        }
        let terms = self.terms(env.now);
        let asked = draft.budget.as_ref().map_or(0, |budget| u64::try_from(budget.max_tokens).unwrap_or(0));
        if asked > terms.tokens || terms.tokens < fixed::MIN_TOKENS {
            let asked = asked.max(fixed::MIN_TOKENS);
            return Err(Rejection::BudgetTooSmall { asked, left: terms.tokens });
        }
        if terms.turns == 0 || terms.time < fixed::MIN_DEADLINE {
            return Err(Rejection::ParentExhausted { turns: terms.turns, time: terms.time });
        }
        intake::complete_child(draft, &terms, ceilings, &|agent| env.agents.is_known(agent))
            .map_err(Rejection::ChildContract)
    }

    /// What is left for a child now.
    fn terms(&self, now: Timestamp) -> Terms {
        let limits = &self.contract.limits;
        let until = self.work_deadline_at(now);
        let agents = self.contract.budget.max_tokens_by_agent.keys();
        Terms {
            tokens: self.ledger.main_free(),
            cost: self.ledger.cost_left(),
            by_agent: agents.map(|agent| (agent.clone(), self.ledger.agent_free(agent))).collect(),
            time: if until > now { until.since(now) } else { Span::ZERO },
            hops: limits.max_hops - self.hops_taken(),
            turns: limits.max_turns - self.turns_taken(),
            // A child cannot use up the question that a spot check needs either.
            escalations: (self.contract.escalation.max_escalations)
                .saturating_sub(self.escalations_taken() + self.kept_questions()),
            max_replans: limits.max_replans,
            max_rounds: limits.max_rounds,
            max_attempts: limits.max_attempts,
            max_parallel: limits.max_parallel,
            max_children: limits.max_children,
            max_depth: limits.max_depth - 1,
            priority: self.contract.priority,
            namespace: Some(self.contract.namespace.clone()),
        }
    }
}
