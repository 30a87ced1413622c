//! The journal of a task, out: records of the engine as `TaskEvent`s.
//!
//! Records refer to each other (a turn names its step by its place in a plan that an earlier record holds), so they are
//! read in order, from the first.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    engine::{
        event::{Escalated, Event, PlanKind, Record, StepRef},
        family::{ChildEnded, ChildReport, ChildStarted, Parent, Share},
        view::GOAL_CHARS,
    },
    pb,
    pb::task_event::Event as Wire,
    types::{
        contract::{Contract, DefaultAnswer},
        envelope::{Answer, WorkStep},
        ids::{AgentName, TaskId, TurnNumber},
        payload::Payload,
        plan::Plan,
        time::Timestamp,
        usage::Usage,
    },
};

use super::{
    answer::{answer_out, usage_out},
    contract::contract_out,
    dead_letter::redriven_out,
    enums,
    halt::halted_out,
    int32, int64,
    plan::plan_out,
    question::{asked_out, ended_out, extended_out},
    task::{ledger_out, outcome_out, trip_out},
    time::wire,
    value::value,
    verdict::inputs_out,
};

/// Reads the records of one task, in order.
#[derive(Debug)]
pub struct Reader {
    task: TaskId,
    goal: String,
    default_answer: DefaultAnswer,
    plans: BTreeMap<u32, Arc<Plan>>,
    /// The agents of the turns so far; turn n stands at n - 1.
    agents: Vec<AgentName>,
}

impl Reader {
    /// A reader that has read nothing yet.
    pub fn new(task: TaskId) -> Self {
        let plans = BTreeMap::new();
        let (goal, agents) = (String::new(), Vec::new());
        Self { task, goal, default_answer: DefaultAnswer::Partial, plans, agents }
    }

    /// Takes note of a record that is not to be shown.
    pub fn skip(&mut self, record: &Record) {
        match &record.event {
            Event::Submitted { contract, .. } => self.note_contract(contract),
            Event::PlanStarted { number, plan, .. } => {
                self.plans.insert(*number, plan.clone());
            }
            Event::TurnOpened { agent, .. } => self.agents.push(agent.clone()),
            _ => {} // Nothing that a later record refers to.
        }
    }

    /// The record for the wire.
    pub fn read(&mut self, record: &Record) -> pb::TaskEvent {
        self.skip(record);
        let Record { seq, at, event } = record;
        pb::TaskEvent {
            task_id: self.task.to_string(),
            seq: int64(*seq),
            at: Some(wire(*at)),
            event: Some(self.event(*at, event)),
        }
    }

    fn note_contract(&mut self, contract: &Contract) {
        self.goal = contract.goal.chars().take(GOAL_CHARS).collect();
        self.default_answer = contract.escalation.default_answer;
    }

    fn step_id(&self, step: Option<StepRef>) -> String {
        let found = step.and_then(|StepRef { plan, step }| self.plans.get(&plan)?.steps.get(step));
        found.map(|step| step.id.to_string()).unwrap_or_default()
    }

    /// The agent of a turn; empty where there is none.
    fn agent(&self, turn: Option<TurnNumber>) -> String {
        let index = turn.and_then(|turn| usize::try_from(turn).ok()?.checked_sub(1));
        index.and_then(|index| self.agents.get(index)).map(ToString::to_string).unwrap_or_default()
    }

    fn asked(&self, asked: &Escalated, at: Timestamp) -> Wire {
        let escalation = asked_out(self.task, &self.goal, asked, at, self.default_answer);
        Wire::Escalated(pb::Escalated { escalation: Some(escalation) })
    }

    fn judged(&self, event: &Event) -> Wire {
        let Event::GateJudged { turn, passed, findings, check, validate_turn } = event else {
            return Wire::GateJudged(pb::GateJudged::default());
        };
        Wire::GateJudged(pb::GateJudged {
            turn: int32(*turn),
            passed: *passed,
            findings: findings.clone(),
            check: enums::gate_check(*check) as i32,
            agent: self.agent(Some(*turn)),
            validator: self.agent(*validate_turn),
            validate_turn: int32(validate_turn.unwrap_or_default()),
        })
    }

    #[rustfmt::skip] // A table: a line or two for each kind of event.
    fn event(&self, at: Timestamp, event: &Event) -> Wire {
        match event {
            Event::Submitted { contract, fingerprint: _, trace, parent, redrives } =>
                Wire::Submitted(pb::Submitted {
                    redrives_task_id: redrives.as_ref().map(|it| it.task.to_string()).unwrap_or_default(),
                    ..submitted(contract, trace.traceparent.as_deref(), parent.as_deref()) }),
            Event::TurnOpened { turn, agent, kind, input: _, step, corrections: _, revision, replan, fallback,
                notes, judges: _ } =>
                Wire::TurnOpened(pb::TurnOpened {
                    turn: int32(*turn), agent: agent.to_string(), kind: enums::turn_kind(*kind) as i32,
                    step_id: self.step_id(*step), notes: notes.clone(), replan: *replan, revision: *revision,
                    fallback: *fallback }),
            Event::AttemptStarted { turn, attempt, lease: _, worker, allowance, hold_raised: _, from_reserve: _ } =>
                Wire::AttemptStarted(pb::AttemptStarted {
                    turn: int32(*turn), attempt: int32(*attempt), worker_id: worker.to_string(),
                    allowance_tokens: int64(*allowance) }),
            Event::Progressed { turn, attempt, steps, partial } => progressed(*turn, *attempt, steps, partial.as_ref()),
            Event::UsageRecorded { turn, attempt, usage } => usage_recorded(*turn, *attempt, *usage),
            Event::BudgetAnswered { turn, attempt, asked, granted, allowance, left, reason } =>
                Wire::BudgetAnswered(pb::BudgetAnswered {
                    turn: int32(*turn), attempt: int32(*attempt), asked_tokens: int64(*asked),
                    granted_tokens: int64(*granted), allowance_tokens: int64(*allowance), left_tokens: int64(*left),
                    reason: reason.clone() }),
            Event::TurnAnswered { turn, attempt, answer, charged, findings: _, output_findings, inputs } =>
                Wire::TurnAnswered(pb::TurnAnswered {
                    inputs: inputs.as_ref().map(inputs_out), output_findings: output_findings.clone(),
                    ..answered(*turn, *attempt, answer, *charged) }),
            Event::AttemptEnded { turn, attempt, end, reason, cause, usage, retry_at } =>
                Wire::AttemptEnded(pb::AttemptEnded {
                    turn: int32(*turn), attempt: int32(*attempt), end: enums::attempt_end(*end) as i32,
                    reason: reason.clone(), retries: retry_at.is_some(), cause: enums::maybe_cause(*cause),
                    usage: usage.map(usage_out) }),
            Event::TurnClosed { turn, cause, reason } =>
                Wire::TurnClosed(pb::TurnClosed {
                    turn: int32(*turn), cause: enums::cause(*cause) as i32, reason: reason.clone() }),
            Event::HandedOff { turn, from, to, hop } =>
                Wire::HandedOff(pb::HandedOff {
                    turn: int32(*turn), from: from.to_string(), to: to.to_string(), hop: int32(*hop) }),
            Event::PlanStarted { number, planner_turn, plan, held, kind } =>
                Wire::PlanStarted(pb::PlanStarted {
                    plan_number: int32(*number), planner_turn: int32(*planner_turn), plan: Some(plan_out(plan)),
                    held_tokens: int64(*held), replan: matches!(kind, PlanKind::Replan) }),
            Event::StepEnded { plan, step: _, id, end, reason, optional } =>
                Wire::StepEnded(pb::StepEnded {
                    plan_number: int32(*plan), step_id: id.to_string(), end: enums::step_end(*end) as i32,
                    reason: reason.clone(), optional: *optional }),
            Event::PlanEnded { number, succeeded, released } =>
                Wire::PlanEnded(pb::PlanEnded {
                    plan_number: int32(*number), succeeded: *succeeded, released_tokens: int64(*released) }),
            Event::DirectiveRefused { turn, reasons } =>
                Wire::DirectiveRefused(pb::DirectiveRefused { turn: int32(*turn), reasons: reasons.clone() }),
            Event::GateJudged { .. } => self.judged(event),
            Event::GuardsTripped { trips } =>
                Wire::GuardsTripped(pb::GuardsTripped { trips: trips.iter().map(trip_out).collect() }),
            Event::Escalated(asked) => self.asked(asked, at),
            Event::EscalationEnded { number, end, by, note, result } =>
                Wire::EscalationEnded(ended_out(self.task, *number, *end, by, note, result.as_ref())),
            Event::Extended(extended) => Wire::Extended(extended_out(self.task, extended)),
            Event::Ended { outcome, ledger } =>
                Wire::Ended(pb::Ended { outcome: Some(outcome_out(outcome)), ledger: Some(ledger_out(ledger)) }),
            Event::LateUsage { turn, attempt, usage, child } => late_usage(*turn, *attempt, *usage, child.as_deref()),
            Event::Redriven(redriven) => Wire::Redriven(redriven_out(redriven)),
            Event::Discarded(it) =>
                Wire::Discarded(pb::Discarded { by: it.by.clone(), note: it.note.clone() }),
            Event::ChildStarted(started) => child_started(started),
            Event::ChildEnded(ended) => child_ended(ended),
            Event::Halted(halt) => Wire::Halted(halted_out(halt)),
            Event::TurnHeldUp { turn, reason, passed_to } => held_up(*turn, reason, passed_to.as_ref()),
        }
    }
}

fn submitted(contract: &Contract, traceparent: Option<&str>, parent: Option<&Parent>) -> pb::Submitted {
    pb::Submitted {
        parent_task_id: parent.map(|parent| parent.task.to_string()).unwrap_or_default(),
        depth: int32(parent.map_or(0, |parent| parent.depth)),
        contract: Some(contract_out(contract)),
        traceparent: traceparent.unwrap_or_default().to_owned(),
        redrives_task_id: String::new(),
    }
}

fn held_up(turn: TurnNumber, reason: &str, passed_to: Option<&AgentName>) -> Wire {
    Wire::TurnHeldUp(pb::TurnHeldUp {
        turn: int32(turn),
        reason: reason.to_owned(),
        passed_to: passed_to.map(ToString::to_string).unwrap_or_default(),
    })
}

fn usage_recorded(turn: u32, attempt: u32, usage: Usage) -> Wire {
    let usage = Some(usage_out(usage));
    Wire::UsageRecorded(pb::UsageRecorded { turn: int32(turn), attempt: int32(attempt), usage })
}

fn late_usage(turn: u32, attempt: u32, usage: Usage, child: Option<&ChildReport>) -> Wire {
    Wire::LateUsage(pb::LateUsage {
        turn: int32(turn),
        attempt: int32(attempt),
        usage: Some(usage_out(usage)),
        child_task_id: child.map(|report| report.child.to_string()).unwrap_or_default(),
    })
}

fn child_started(started: &ChildStarted) -> Wire {
    let ChildStarted { number, child, turn, attempt, contract, fingerprint: _, share } = started;
    let Share { tokens, hops, turns, escalations, by_agent: _ } = share;
    Wire::ChildStarted(pb::ChildStarted {
        number: int32(*number),
        child_task_id: child.to_string(),
        turn: int32(*turn),
        attempt: int32(*attempt),
        goal: contract.goal.chars().take(GOAL_CHARS).collect(),
        tokens: int64(*tokens),
        hops: int32(*hops),
        turns: int32(*turns),
        escalations: int32(*escalations),
    })
}

fn child_ended(ended: &ChildEnded) -> Wire {
    let ChildEnded { number, child, state, used, reason } = ended;
    Wire::ChildEnded(pb::ChildEnded {
        number: int32(*number),
        child_task_id: child.to_string(),
        state: state.map_or(pb::TaskState::Unspecified, enums::task_state) as i32,
        reason: reason.clone(),
        heard: used.is_some(),
        usage: used.as_ref().map(|used| usage_out(used.usage)),
        hops: int32(used.as_ref().map_or(0, |used| used.hops)),
        turns: int32(used.as_ref().map_or(0, |used| used.turns)),
    })
}

fn progressed(turn: u32, attempt: u32, steps: &[WorkStep], partial: Option<&Payload>) -> Wire {
    Wire::Progressed(pb::Progressed {
        turn: int32(turn),
        attempt: int32(attempt),
        steps: steps.iter().map(work_step_out).collect(),
        partial_result: partial.map(value),
    })
}

fn work_step_out(step: &WorkStep) -> pb::WorkStep {
    let WorkStep { kind, tool, content, fingerprint } = step;
    pb::WorkStep {
        kind: enums::work_step_kind(*kind) as i32,
        tool: tool.clone(),
        content: content.clone(),
        fingerprint: *fingerprint,
    }
}

fn answered(turn: u32, attempt: u32, answer: &Answer, charged: Usage) -> pb::TurnAnswered {
    let (envelope, decision, verdict) = answer_out(answer);
    pb::TurnAnswered {
        turn: int32(turn),
        attempt: int32(attempt),
        envelope,
        decision,
        charged_tokens: int64(charged.tokens()),
        verdict,
        inputs: None,
        output_findings: Vec::new(),
    }
}
