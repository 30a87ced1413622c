//! What an event adds to the record of agents: how far their own confidence agreed with those who judged, and how often
//! people bore a validator out. Made from events and the state after them, like effects; written with the events, so that
//! it is as durable as they are and no second truth. Never here: a decision, or a sum.

use super::{
    event::{EscalationEnd, Event, GateCheck, TurnKind},
    task::Task,
    turn::Turn,
};
use crate::types::{
    envelope::{Answer, Confidence, Judgement},
    ids::{AgentName, TurnNumber},
};

/// Who judged a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judge {
    /// The contract's own checks.
    Gate,
    /// A validator.
    Validator,
    /// A person.
    Human,
}

impl Judge {
    /// Every judge.
    pub const ALL: [Self; 3] = [Self::Gate, Self::Validator, Self::Human];
}

/// One thing to be counted for an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    /// The agent.
    pub agent: AgentName,
    /// What.
    pub what: Tallied,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tallied {
    /// A result of the agent was judged.
    Result {
        /// By whom.
        judge: Judge,
        /// How sure the agent had said it was.
        said: Confidence,
        /// Whether it was let pass.
        accepted: bool,
    },
    /// The agent judged, as a validator.
    Verdict {
        /// Whether it agreed.
        agreed: bool,
    },
    /// A person judged the candidate that the agent had judged.
    Review {
        /// Whether the person came to the same end.
        upheld: bool,
    },
}

/// What one event adds, `task` being the state after it.
pub(super) fn of(event: &Event, task: &Task) -> Vec<Tally> {
    match event {
        Event::GateJudged { turn, passed, check, validate_turn, .. } => {
            let Some(judged) = task.turn(*turn) else { return Vec::new() };
            match check {
                // A step's answer is only ever judged when it does not fit: counting it would slander its agent.
                GateCheck::OutputSchema if judged.step.is_some() => Vec::new(),
                GateCheck::OutputSchema => result(judged, Judge::Gate, false).into_iter().collect(),
                // A confidence that is too low says nothing about the result.
                GateCheck::Rules => result(judged, Judge::Gate, is_sound(task, judged)).into_iter().collect(),
                GateCheck::Validator => {
                    let validator = validate_turn.and_then(|turn| task.turn(turn));
                    let verdict = validator.map(|turn| Tally {
                        agent: turn.agent.clone(),
                        what: Tallied::Verdict { agreed: *passed },
                    });
                    let of_author = [(Judge::Gate, true), (Judge::Validator, *passed)];
                    let of_author = of_author.into_iter().filter_map(|(judge, y)| result(judged, judge, y));
                    of_author.chain(verdict).collect()
                }
            }
        }
        Event::EscalationEnded { number, end, .. } => answered(task, *number, *end),
        _ => Vec::new(),
    }
}

/// Whether nothing but its confidence stands against a result.
fn is_sound(task: &Task, turn: &Turn) -> bool {
    let has_result = turn.envelope().is_some_and(|envelope| envelope.result.is_some());
    turn.findings().is_empty()
        && turn.output_findings().is_empty()
        && (has_result || task.contract.result_schema.is_none())
}

fn result(turn: &Turn, judge: Judge, accepted: bool) -> Option<Tally> {
    let said = turn.envelope()?.confidence?;
    Some(Tally { agent: turn.agent.clone(), what: Tallied::Result { judge, said, accepted } })
}

/// A person has answered a question about a result.
fn answered(task: &Task, number: u32, end: EscalationEnd) -> Vec<Tally> {
    let accepted = match end {
        EscalationEnd::Approved => true,
        // Who writes a better result does not accept this one.
        EscalationEnd::Aborted | EscalationEnd::Amended => false,
        EscalationEnd::Extended | EscalationEnd::Expired | EscalationEnd::Withdrawn => return Vec::new(),
    };
    let question = task.questions.iter().find(|question| question.asked.number == number);
    let Some(asked) = question.map(|question| &question.asked) else { return Vec::new() };
    let candidate = task.turn(asked.turn).filter(|turn| turn.kind == TurnKind::Work);
    let (Some(candidate), Some(_)) = (candidate, &asked.candidate) else { return Vec::new() };
    let review = verdict_on(task, candidate.number)
        .map(|(agent, agreed)| Tally { agent, what: Tallied::Review { upheld: agreed == accepted } });
    result(candidate, Judge::Human, accepted).into_iter().chain(review).collect()
}

/// What a validator said of the result of a turn.
fn verdict_on(task: &Task, judged: TurnNumber) -> Option<(AgentName, bool)> {
    let turn = task.turns.iter().rev().find(|turn| turn.judges == Some(judged))?;
    match turn.answer()?.as_ref() {
        Answer::Verdict(verdict) => Some((turn.agent.clone(), verdict.verdict == Judgement::Agree)),
        Answer::Envelope(_) | Answer::Decision { .. } => None,
    }
}
