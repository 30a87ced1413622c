//! How much a turn may be given. Reads the ledger and the contract; reserves nothing. Never here: what follows when a turn
//! cannot be funded.

use crate::{
    engine::{plan_run::PlanRun, task::Task, turn::Turn},
    types::{
        ids::{AgentName, TurnNumber},
        plan::Plan,
    },
};

/// What an attempt is funded with.
pub(super) struct Funding {
    pub(super) allowance: u64,
    /// What the running plan's hold must be raised by first.
    pub(super) raise_hold: u64,
    /// Whether it is the validator's half of the finalization reserve.
    pub(super) from_reserve: bool,
}

impl Task {
    /// The allowance of a work turn outside plans, or what is short.
    pub(super) fn main_allowance(&self, agent: &AgentName) -> Result<u64, String> {
        let budget = &self.contract.budget;
        let free = self.ledger.main_free();
        let allowance = budget.max_tokens_per_turn.min(free).min(self.ledger.agent_free(agent));
        if allowance >= budget.min_tokens_per_turn {
            return Ok(allowance);
        }
        let view = self.ledger.view();
        Err(format!(
            "{allowance} tokens are left for a turn of {agent}, {} are the least: {} spent and {} reserved of {} granted, {} of \
             them kept for the owner's decision",
            budget.min_tokens_per_turn, view.spent, view.reserved, view.granted, view.finalization
        ))
    }

    /// Whether a work turn outside plans could be funded if attempts that vanished were not charged in full: then what is
    /// short is a technical matter, not the budget.
    pub(super) fn is_short_by_vanished(&self, agent: &AgentName) -> bool {
        let budget = &self.contract.budget;
        let free = self.ledger.main_free().saturating_add(self.ledger.vanished(None));
        let own = self.ledger.agent_free(agent).saturating_add(self.ledger.vanished(Some(agent)));
        let least = budget.min_tokens_per_turn;
        self.main_allowance(agent).is_err() && budget.max_tokens_per_turn.min(free).min(own) >= least
    }

    /// Funding for the next attempt of a ready turn, or what is short.
    pub(super) fn funding(&self, turn: &Turn) -> Result<Funding, String> {
        use crate::engine::event::TurnKind;
        match (turn.kind, turn.step) {
            (TurnKind::Decide, _) => self.decide_allowance(),
            (TurnKind::Validate, _) => return self.validate_funding(&turn.agent),
            (TurnKind::Work, None) => self.main_allowance(&turn.agent),
            (TurnKind::Work, Some(step)) => return self.step_funding(turn, step.step),
        }
        .map(|allowance| Funding { allowance, raise_hold: 0, from_reserve: false })
    }

    /// The allowance of a decide turn: half of the reserve, the other half being a validate turn's.
    pub(super) fn decide_allowance(&self) -> Result<u64, String> {
        let half = self.contract.budget.finalization_reserve / 2;
        let allowance = half.min(self.decision_free());
        if allowance >= self.contract.budget.min_tokens_per_turn.min(half).max(1) {
            return Ok(allowance);
        }
        Err(format!("{allowance} tokens of the finalization reserve are left"))
    }

    /// Tokens of the reserve that are left for decisions: without a validator all of it, else the owner's half.
    pub(super) fn decision_free(&self) -> u64 {
        match self.contract.gate.validator {
            None => self.ledger.final_free(),
            Some(_) => self.ledger.decision_free(),
        }
    }

    /// A validate turn is paid from the main grant where that has room, else from its half of the reserve: work that spent
    /// everything is judged all the same.
    pub(super) fn validate_funding(&self, validator: &AgentName) -> Result<Funding, String> {
        let short = match self.main_allowance(validator) {
            Ok(allowance) => return Ok(Funding { allowance, raise_hold: 0, from_reserve: false }),
            Err(short) => short,
        };
        let half = self.contract.budget.finalization_reserve / 2;
        let allowance = self.ledger.validation_free().min(self.ledger.agent_free(validator));
        if allowance >= self.contract.budget.min_tokens_per_turn.min(half).max(1) {
            return Ok(Funding { allowance, raise_hold: 0, from_reserve: true });
        }
        Err(format!("{short}; {allowance} tokens of the validator's half of the reserve are left"))
    }

    /// A first attempt gets what the plan holds for its step. A retry, a correction or a fallback draws on what the hold has
    /// to spare and then on the main grant, because a vanished attempt stays charged in full. A hand-off within the step
    /// never raises the hold: else an agent could multiply its step's tokens by handing off.
    fn step_funding(&self, turn: &Turn, step: usize) -> Result<Funding, String> {
        let inner = turn.by_hand_off && turn.attempts.is_empty();
        self.step_draw(&turn.agent, step, !inner)
    }

    /// What a step's next attempt can be given, were it `agent`'s.
    pub(super) fn step_draw(
        &self,
        agent: &AgentName,
        step: usize,
        may_raise: bool,
    ) -> Result<Funding, String> {
        let budget = &self.contract.budget;
        let Some(plan) = self.running_plan() else { return Err("its plan has ended".to_owned()) };
        let want = plan.tokens_of(step, budget.max_tokens_per_turn).min(self.ledger.agent_free(agent));
        let spare = self.ledger.plan_free().saturating_sub(self.plan_promises(plan, Some(step)));
        let raise_hold = if may_raise { want.saturating_sub(spare).min(self.ledger.main_free()) } else { 0 };
        let allowance = want.min(spare + raise_hold);
        if allowance >= budget.min_tokens_per_turn {
            return Ok(Funding { allowance, raise_hold, from_reserve: false });
        }
        Err(format!(
            "{allowance} tokens are left for {agent} in step {}, {} are the least",
            plan.plan.steps[step].id, budget.min_tokens_per_turn
        ))
    }

    /// What a running plan keeps back for its planner's next turn.
    pub(super) fn planner_hold(&self) -> u64 {
        match self.running_plan() {
            Some(plan) if plan.planner_turn != 0 => self.contract.budget.max_tokens_per_turn,
            Some(_) | None => 0,
        }
    }

    /// What the running plan's hold is promised to, but for one step: steps that have not started, what those that wait for
    /// a turn have not drawn, and the planner's next turn. The hold never falls below it.
    pub(in crate::engine) fn plan_promises(&self, plan: &PlanRun, but: Option<usize>) -> u64 {
        let per_turn = self.contract.budget.max_tokens_per_turn;
        let waiting: u64 = plan
            .running()
            .into_iter()
            .filter(|&step| {
                Some(step) != but && self.turn(plan.turn_of(step)).is_none_or(|t| t.live().is_none())
            })
            .map(|step| plan.tokens_of(step, per_turn).saturating_sub(self.drawn_by(plan.turns_of(step))))
            .sum();
        plan.committed(per_turn) + self.planner_hold() + waiting
    }

    /// What the attempts of these turns have used or stay charged with.
    fn drawn_by(&self, turns: &[TurnNumber]) -> u64 {
        let turns = turns.iter().filter_map(|&number| self.turn(number));
        turns.map(|t| (1..t.next_attempt()).map(|n| self.ledger.drawn_by((t.number, n))).sum::<u64>()).sum()
    }

    /// Whether a plan can be held whole: its steps and one planner turn. The sum, or every reason against it.
    pub(super) fn plan_sum(&self, plan: &Plan, has_planner: bool) -> Result<u64, Vec<String>> {
        let per_turn = self.contract.budget.max_tokens_per_turn;
        let least = self.contract.budget.min_tokens_per_turn;
        let mut reasons = Vec::new();
        let mut by_agent = std::collections::BTreeMap::<&AgentName, u64>::new();
        let mut steps = 0_u64;
        for step in &plan.steps {
            let tokens = step.max_tokens.unwrap_or(per_turn);
            if tokens < least {
                reasons.push(format!(
                    "step {} may use {tokens} tokens, and {least} are the least that a turn is given",
                    step.id
                ));
            }
            steps = steps.saturating_add(tokens);
            let sum = by_agent.entry(&step.agent).or_default();
            *sum = sum.saturating_add(tokens);
        }
        let planner = if has_planner { per_turn } else { 0 };
        let sum = steps.saturating_add(planner);
        let free = self.ledger.main_free();
        if sum > free {
            reasons.push(format!(
                "the plan needs {sum} tokens ({} steps: {steps}; the planner's next turn: {planner}), {free} are free: delegate \
                 fewer steps or give them a smaller max_tokens",
                plan.steps.len()
            ));
        }
        for (agent, tokens) in by_agent {
            let left = self.ledger.agent_free(agent);
            if tokens > left {
                reasons.push(format!("the steps of {agent} need {tokens} tokens, {left} are left to it"));
            }
        }
        if reasons.is_empty() { Ok(sum) } else { Err(reasons) }
    }
}
