//! What an answer must be checked against before it is decided. The checks are costly, so they run off the shards, and
//! what they find comes back in the command. Never here: a check.

use std::sync::Arc;

use super::{event::TurnKind, task::Task};
use crate::types::{
    contract::Contract,
    ids::{AgentName, Lease, StepId, TaskId, TurnNumber},
};

/// What the answer under one lease must be checked against. It does not change while the lease lives. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AnswerChecks {
    /// The contract, with its schema and rules.
    pub contract: Arc<Contract>,
    /// The task.
    pub task: TaskId,
    /// The turn.
    pub turn: TurnNumber,
    /// Its agent.
    pub agent: AgentName,
    /// Its kind.
    pub kind: TurnKind,
    /// Its step.
    pub step: Option<StepId>,
    /// Whether the answer can become the outcome, so that the contract's schema and rules apply to its result.
    pub is_final: bool,
}

impl PartialEq for AnswerChecks {
    fn eq(&self, other: &Self) -> bool {
        let Self { contract, task, turn, agent, kind, step, is_final } = self;
        (Arc::ptr_eq(contract, &other.contract) || *contract == other.contract)
            && (task, turn, agent, kind) == (&other.task, &other.turn, &other.agent, &other.kind)
            && (step, is_final) == (&other.step, &other.is_final)
    }
}

impl Task {
    /// What a person's own result for an open question must be checked against; `None`: there is no such question.
    pub fn checks_for_amendment(&self, number: u32) -> Option<AnswerChecks> {
        let question = self.questions.iter().find(|question| question.asked.number == number)?;
        if question.end.is_some() {
            return None;
        }
        // As a decision, because it speaks for the task and not for an agent: no agent's own schema applies.
        Some(AnswerChecks {
            contract: self.contract.clone(),
            task: self.id,
            turn: question.asked.turn,
            agent: self.contract.owner.clone(),
            kind: TurnKind::Decide,
            step: None,
            is_final: true,
        })
    }

    /// What the answer under a live lease must be checked against; `None`: the lease is not live, and no check is due.
    pub fn checks_for(&self, lease: &Lease) -> Option<AnswerChecks> {
        let turn = self.turn(lease.turn)?;
        if turn.live()?.lease != *lease {
            return None;
        }
        Some(AnswerChecks {
            contract: self.contract.clone(),
            task: self.id,
            turn: turn.number,
            agent: turn.agent.clone(),
            kind: turn.kind,
            step: turn.step_id.clone(),
            is_final: self.can_become_outcome(turn),
        })
    }
}
