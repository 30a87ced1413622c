//! The tasks of the built-in load: one contract for each way in which agents work together, small enough to run by the
//! hundred, with budgets that leave room for attempts that vanish. What a shape may end as is said here and nowhere else.

use std::collections::BTreeMap;

use prost_types::Duration as WireDuration;
use serde_json::{Value, json};

use super::crew::Agent;
use crate::{
    pb::{self, TaskState},
    types::dice::Dice,
};

/// The label that says of which shape a task is.
pub const LABEL: &str = "chaos-shape";
/// The label that says of which run a task is.
pub const RUN_LABEL: &str = "chaos-run";

/// Tokens of a task that is not about its budget: dozens of attempts may vanish and stay charged.
const TOKENS: i64 = 100_000;
/// Tokens of one of its turns.
const TURN_TOKENS: i64 = 1_500;
/// Seconds a task may take in all, questions apart.
pub(super) const DEADLINE: i64 = 60;
/// Seconds a question stays open.
pub(super) const ANSWER_WITHIN: i64 = 8;

/// A way of working together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// One turn of one agent.
    Single,
    /// A few hand-offs, within the cap.
    HandOff,
    /// Hand-offs without end: the owner ends them.
    Endless,
    /// A planner that delegates; sometimes a step fails, and it re-plans.
    Plan,
    /// A plan that stands in the contract.
    StaticPlan,
    /// An agent that submits children and waits for them.
    Children,
    /// A validator that may refuse the first draft.
    Validated,
    /// An agent that asks a person.
    Question,
    /// A person who looks although everything passed.
    SpotCheck,
    /// A budget that is too small.
    Tight,
    /// An agent that spends beyond its allowance.
    Overspend,
}

/// Each shape with its weight in the load and what it may end as.
const SHAPES: [(Shape, &str, u64, &[TaskState]); 11] = {
    use TaskState::{Failed, Partial, Succeeded};
    [
        (Shape::Single, "single", 30, &[Succeeded]),
        (Shape::HandOff, "hand-off", 14, &[Succeeded]),
        (Shape::Endless, "endless", 4, &[Partial, Failed]),
        (Shape::Plan, "plan", 14, &[Succeeded, Partial]),
        (Shape::StaticPlan, "static-plan", 6, &[Succeeded]),
        (Shape::Children, "children", 8, &[Succeeded, Partial]),
        (Shape::Validated, "validated", 8, &[Succeeded]),
        (Shape::Question, "question", 5, &[Succeeded, Partial, Failed]),
        (Shape::SpotCheck, "spot-check", 3, &[Succeeded, Partial, Failed]),
        (Shape::Tight, "tight", 4, &[Partial, Failed]),
        (Shape::Overspend, "overspend", 4, &[Partial, Failed]),
    ]
};

impl Shape {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        SHAPES.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    /// Every shape.
    #[cfg(test)]
    fn all() -> impl Iterator<Item = Self> {
        SHAPES.iter().map(|row| row.0)
    }

    /// A shape, by the weights.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let all: u64 = SHAPES.iter().map(|row| row.2).sum();
        let mut place = dice.between(1, all);
        for (shape, _, weight, _) in SHAPES {
            if place <= weight {
                return shape;
            }
            place -= weight;
        }
        Self::Single
    }

    /// A contract of this shape.
    pub(super) fn contract(self, dice: &mut Dice) -> pb::Contract {
        let work = |dice: &mut Dice| json!({"work_ms": dice.between(1, 60), "tokens": dice.between(20, 400)});
        match self {
            Self::Single => first(Agent::Solo, &work(dice)),
            Self::HandOff => first(Agent::Relay, &json!({"left": dice.between(1, 4), "work_ms": 5})),
            Self::Endless => {
                let mut contract = first(Agent::Relay, &json!({"left": 1_000, "work_ms": 2}));
                limits(&mut contract).max_hops = Some(3);
                contract
            }
            Self::Plan => {
                let fails = dice.hits(0.25);
                let steps = dice.between(2, 6);
                first(
                    Agent::Planner,
                    &json!({"steps": steps, "fails": fails, "work_ms": dice.between(1, 40)}),
                )
            }
            Self::StaticPlan => static_plan(dice),
            Self::Children => first(Agent::Parent, &json!({"children": dice.between(1, 3)})),
            Self::Validated => {
                let mut input = work(dice);
                input["picky"] = json!(dice.hits(0.5));
                let mut contract = first(Agent::Solo, &input);
                gate(&mut contract).validator = Agent::Judge.name().to_owned();
                contract
            }
            Self::Question => first(Agent::Asker, &work(dice)),
            Self::SpotCheck => {
                let mut contract = first(Agent::Solo, &work(dice));
                gate(&mut contract).spot_check_rate = 1.0;
                contract
            }
            Self::Tight => {
                let mut contract = first(Agent::Solo, &json!({"work_ms": 5, "tokens": 50_000}));
                contract.budget = Some(budget(2_000, 0));
                contract
            }
            Self::Overspend => {
                // Every second one passes not only its allowance but the whole grant.
                let (chunk, tokens) =
                    if dice.hits(0.5) { (dice.between(80, 300), 20_000) } else { (5_000, 2_400) };
                let mut contract = first(Agent::Spender, &json!({"chunk": chunk}));
                contract.budget = Some(budget(tokens, 600));
                contract
            }
        }
    }
}

/// What a shape may end as; `None`: it is none of these.
pub(super) fn may_end(name: &str) -> Option<&'static [TaskState]> {
    SHAPES.iter().find(|row| row.1 == name).map(|row| row.3)
}

/// A contract whose first turn is this agent's.
fn first(agent: Agent, input: &Value) -> pb::Contract {
    let start = pb::contract::Start::FirstAgent(agent.name().to_owned());
    pb::Contract { input: Some(wire(input)), start: Some(start), ..common() }
}

fn static_plan(dice: &mut Dice) -> pb::Contract {
    let step = |id: &str, after: &[&str], dice: &mut Dice| pb::Step {
        id: id.to_owned(),
        agent: Agent::Solo.name().to_owned(),
        input: Some(wire(&json!({"work_ms": dice.between(1, 40), "tokens": 60, "step": id}))),
        depends_on: after.iter().map(|id| (*id).to_owned()).collect(),
        max_tokens: 1_000,
        ..pb::Step::default()
    };
    let steps = vec![
        step("left", &[], dice),
        step("right", &[], dice),
        pb::Step { optional: true, ..step("side", &[], dice) },
        step("join", &["left", "right"], dice),
    ];
    let plan = pb::Plan { steps, result_step: "join".to_owned(), ..pb::Plan::default() };
    pb::Contract { start: Some(pb::contract::Start::Plan(plan)), ..common() }
}

/// What all tasks of the load have in common.
fn common() -> pb::Contract {
    let seconds = |seconds| Some(WireDuration { seconds, nanos: 0 });
    let millis = |millis: i32| Some(WireDuration { seconds: 0, nanos: millis * 1_000_000 });
    pb::Contract {
        goal: "Chaos: end as the contract says, whatever fails on the way.".to_owned(),
        owner: Agent::Lead.name().to_owned(),
        budget: Some(budget(TOKENS, TURN_TOKENS)),
        limits: Some(pb::Limits { deadline: seconds(DEADLINE), max_attempts: 15, ..pb::Limits::default() }),
        termination: Some(pb::Termination { result_schema: Some(schema()), ..pb::Termination::default() }),
        escalation: Some(pb::EscalationPolicy {
            timeout: seconds(ANSWER_WITHIN),
            default_answer: pb::DefaultAnswer::Partial.into(),
            max_escalations: Some(2),
            owner_fallback: pb::OwnerFallback::Finish.into(),
        }),
        retry: Some(pb::RetryPolicy { initial_backoff: millis(50), max_backoff: millis(500) }),
        ..pb::Contract::default()
    }
}

/// A child's contract: what its parent does not say, it inherits.
pub(super) fn child(tokens: i64, input: &Value) -> pb::Contract {
    let contract = first(Agent::Solo, input);
    let limits = pb::Limits { max_attempts: 15, max_hops: Some(0), max_turns: 4, ..pb::Limits::default() };
    let escalation = pb::EscalationPolicy {
        max_escalations: Some(0),
        owner_fallback: pb::OwnerFallback::Finish.into(),
        ..pb::EscalationPolicy::default()
    };
    pb::Contract {
        budget: Some(budget(tokens, 0)),
        limits: Some(limits),
        escalation: Some(escalation),
        ..contract
    }
}

fn budget(max_tokens: i64, max_tokens_per_turn: i64) -> pb::Budget {
    pb::Budget { max_tokens, max_tokens_per_turn, ..pb::Budget::default() }
}

fn limits(contract: &mut pb::Contract) -> &mut pb::Limits {
    contract.limits.get_or_insert_default()
}

fn gate(contract: &mut pb::Contract) -> &mut pb::Gate {
    contract.gate.get_or_insert_default()
}

fn schema() -> prost_types::Struct {
    let schema = json!({"type": "object", "required": ["done"]});
    match wire(&schema).kind {
        Some(prost_types::value::Kind::StructValue(fields)) => fields,
        _ => prost_types::Struct::default(),
    }
}

/// JSON as the wire knows it.
pub(super) fn wire(value: &Value) -> prost_types::Value {
    bailiwick_worker::from_json(value.clone())
}

/// Labels that a task of a run carries.
pub(super) fn labels(run: &str, shape: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(RUN_LABEL.to_owned(), run.to_owned()), (LABEL.to_owned(), shape.to_owned())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_has_a_name_an_end_and_a_part_of_the_load() {
        let mut dice = Dice::new(3);
        let drawn: std::collections::BTreeSet<Shape> = (0..2_000).map(|_| Shape::draw(&mut dice)).collect();
        for shape in Shape::all() {
            assert!(drawn.contains(&shape), "{shape:?}");
            assert!(may_end(shape.name()).is_some_and(|ends| !ends.is_empty()), "{shape:?}");
            let contract = shape.contract(&mut dice);
            assert!(contract.start.is_some() && contract.budget.is_some(), "{shape:?}");
        }
        assert_eq!(may_end("somebody else's"), None);
    }
}
