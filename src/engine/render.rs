//! Making views from state. Never read back by a decision.

use std::sync::Arc;

use super::{
    ledger::LedgerView,
    task::Task,
    turn::Turn,
    view::{BestView, Counters, EscalationView, SettledAs, SummaryView, TaskView, TurnView, short},
};
use crate::types::{
    contract::Contract,
    ids::{AgentName, TaskId},
    outcome::{Cause, EndedBy, TaskState},
    time::Timestamp,
};

/// What a summary is made of: taken from a task at one moment, cheaply, and made only if somebody looks.
#[derive(Debug, Clone)]
pub struct Glance {
    task: TaskId,
    contract: Arc<Contract>,
    state: TaskState,
    end: Option<(EndedBy, Cause)>,
    created_at: Timestamp,
    updated_at: Timestamp,
    ended_at: Option<Timestamp>,
    seq: u64,
    counters: Counters,
    ledger: LedgerView,
    agents: Arc<[AgentName]>,
    parent: Option<TaskId>,
    unsettled: bool,
    settled: Option<SettledAs>,
}

impl Glance {
    /// The task in a line, as it was.
    pub fn summary(&self) -> SummaryView {
        SummaryView {
            task: self.task,
            state: self.state,
            ended_by: self.end.map(|(by, _)| by),
            cause: self.end.map(|(_, cause)| cause),
            goal: short(&self.contract.goal),
            owner: self.contract.owner.clone(),
            labels: self.contract.labels.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            ended_at: self.ended_at,
            seq: self.seq,
            counters: self.counters,
            ledger: self.ledger.clone(),
            agents: self.agents.clone(),
            parent: self.parent,
            namespace: self.contract.namespace.clone(),
            unsettled: self.unsettled,
            settled: self.settled,
        }
    }
}

impl Task {
    /// The task in a line.
    pub fn summary(&self) -> SummaryView {
        self.glance().summary()
    }

    /// What its summary is made of.
    pub fn glance(&self) -> Glance {
        Glance {
            task: self.id,
            contract: self.contract.clone(),
            state: self.state(),
            end: self.outcome.as_ref().map(|outcome| (outcome.ended_by, outcome.cause)),
            created_at: self.created_at,
            updated_at: self.updated_at,
            ended_at: self.ended_at,
            seq: self.seq,
            counters: self.counters,
            ledger: self.ledger.view(),
            agents: self.agents.clone(),
            parent: self.parent.as_ref().map(|parent| parent.task),
            unsettled: self.children.is_unsettled(),
            settled: self.settled.as_ref().map(|settlement| SettledAs::of(&settlement.what)),
        }
    }

    /// The task in full.
    pub fn view(&self) -> TaskView {
        TaskView {
            summary: self.summary(),
            contract: self.contract.clone(),
            turns: self.turns.iter().map(|turn| self.turn_view(turn)).collect(),
            outcome: self.outcome.clone(),
            best_result: self.best.as_ref().map(|best| best.result.clone()),
            trace: self.trace.clone(),
            deadline: self.deadline_at(self.updated_at),
            parent: self.parent.clone(),
            children: self.children_views(),
            tripped: self.tripped.clone(),
            redrives: self.redrives.as_deref().cloned(),
            dead_letter: self.dead_letter_view(),
            best: self.best.as_ref().map(|best| BestView {
                turn: best.turn,
                score: best.score,
                confidence: best.confidence,
                findings: best.findings.clone(),
            }),
        }
    }

    fn turn_view(&self, turn: &Turn) -> TurnView {
        let spent = (1..turn.next_attempt()).map(|n| self.ledger.spent_by((turn.number, n))).sum();
        TurnView {
            turn: turn.number,
            agent: turn.agent.clone(),
            kind: turn.kind,
            state: turn.state(),
            step: turn.step_id.clone(),
            attempts: turn.next_attempt() - 1,
            worker: turn.attempts.last().map(|a| a.worker.clone()),
            allowance: self.ledger.allowance(turn.last_key()),
            spent,
            opened_at: turn.opened_at,
            started_at: turn.started_at,
            ended_at: turn.ended_at,
            answer: turn.answer().cloned(),
            notes: turn.notes.clone(),
            judges: turn.judges,
            inputs: turn.inputs().cloned(),
        }
    }

    /// A question, as it stands.
    pub fn question_view(&self, number: u32) -> Option<EscalationView> {
        let question = self.questions.iter().find(|q| q.asked.number == number)?;
        let ended = question.end.as_ref();
        Some(EscalationView {
            task: self.id,
            goal: self.short_goal(),
            asked: question.asked.clone(),
            asked_at: question.asked_at,
            default_answer: self.contract.escalation.default_answer,
            labels: self.contract.labels.clone(),
            end: ended.map(|ended| ended.end),
            by: ended.map(|ended| ended.by.clone()).unwrap_or_default(),
            note: ended.map(|ended| ended.note.clone()).unwrap_or_default(),
            ended_at: ended.map(|ended| ended.at),
            result: ended.and_then(|ended| ended.result.clone()),
            extended: ended.and_then(|ended| ended.extended.clone()),
        })
    }

    fn short_goal(&self) -> String {
        short(&self.contract.goal)
    }
}
