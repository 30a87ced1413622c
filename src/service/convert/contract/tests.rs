//! Contracts in and out, and every fault of the wire, through one helper.

use prost_types::{Duration, Struct, Value, value::Kind};
use serde_json::json;

use super::*;
use crate::{service::convert::value, types::guards::GuardTerms};

/// The smallest contract that is complete.
fn good() -> pb::Contract {
    pb::Contract {
        goal: "find it".into(),
        start: Some(pb::contract::Start::FirstAgent("planner".into())),
        owner: "planner".into(),
        budget: Some(pb::Budget { max_tokens: 10_000, ..Default::default() }),
        limits: Some(pb::Limits { deadline: Some(Duration { seconds: 60, nanos: 0 }), ..Default::default() }),
        termination: Some(pb::Termination {
            result_schema: Some(schema(&json!({"type": "object"}))),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn schema(json: &serde_json::Value) -> Struct {
    value::structure(&Payload::from_json(json))
}

fn number(number: f64) -> Value {
    Value { kind: Some(Kind::NumberValue(number)) }
}

fn taken(wire: pb::Contract) -> Result<Contract, Vec<Violation>> {
    intake(wire, &Ceilings::default(), &|agent| agent.as_str() != "stranger")
}

/// The good contract, changed, must be refused for exactly these fields.
fn check(change: impl FnOnce(&mut pb::Contract), fields: &[&str]) {
    let mut wire = good();
    change(&mut wire);
    let found = taken(wire).err().unwrap_or_default();
    let named: Vec<_> = found.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(named, fields, "{found:?}");
}

#[test]
fn every_fault_of_the_wire_is_named() {
    check(|_| {}, &[]);
    check(|c| c.input = Some(number(f64::NAN)), &["input"]);
    check(|c| c.input = Some(Value { kind: None }), &["input"]);
    check(
        |c| {
            let escalation =
                pb::EscalationPolicy { default_answer: 9, owner_fallback: 9, ..Default::default() };
            c.escalation = Some(escalation);
        },
        &["escalation.default_answer", "escalation.owner_fallback"],
    );
    check(
        |c| {
            let bad = schema(&json!({"properties": {"a": {"type": "nonsense"}}}));
            c.termination = Some(pb::Termination { result_schema: Some(bad), ..Default::default() });
        },
        &["termination.result_schema"],
    );
    check(
        |c| {
            let large = schema(&json!({"description": "x".repeat(fixed::MAX_SCHEMA_BYTES)}));
            c.termination = Some(pb::Termination { result_schema: Some(large), ..Default::default() });
        },
        &["termination.result_schema"],
    );
    check(
        |c| {
            let mut object = schema(&json!({}));
            object.fields.insert("minimum".into(), number(f64::INFINITY));
            c.termination = Some(pb::Termination { result_schema: Some(object), ..Default::default() });
        },
        &["termination.result_schema"],
    );
    check(
        |c| {
            let step = pb::Step {
                id: "one".into(),
                agent: "planner".into(),
                input: Some(number(f64::NAN)),
                ..Default::default()
            };
            c.start = Some(pb::contract::Start::Plan(pb::Plan {
                steps: vec![step],
                on_step_failure: 5,
                result_step: "one".into(),
            }));
        },
        &["plan.on_step_failure", "plan.steps[0].input"],
    );
}

#[test]
fn faults_of_the_wire_and_of_intake_come_together_sorted() {
    check(
        |c| {
            c.goal = String::new();
            c.owner = "stranger".into();
            c.input = Some(number(f64::NAN));
            c.limits = Some(pb::Limits::default());
            let escalation = pb::EscalationPolicy { default_answer: -1, ..Default::default() };
            c.escalation = Some(escalation);
        },
        &["escalation.default_answer", "goal", "input", "limits.deadline", "owner"],
    );
}

#[test]
fn a_contract_survives_the_way_out_and_in_again() {
    let mut wire = good();
    wire.input = Some(schema_value(&json!({"n": [1, 2.5, null]})));
    wire.labels.insert("team".into(), "search".into());
    wire.idempotency_key = "order-17".into();
    wire.allowed_hand_offs = vec![pb::AllowedHandOff { from: "planner".into(), to: vec!["writer".into()] }];
    wire.gate = Some(pb::Gate { min_confidence: 0.5, ..Default::default() });
    let step = |id: &str, needs: &[&str]| pb::Step {
        id: id.into(),
        agent: "writer".into(),
        depends_on: needs.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    wire.start = Some(pb::contract::Start::Plan(pb::Plan {
        steps: vec![step("a", &[]), step("b", &["a"])],
        on_step_failure: pb::OnStepFailure::Cancel as i32,
        result_step: "b".into(),
    }));
    let contract = taken(wire).expect("it is complete");
    let again = taken(contract_out(&contract)).expect("what comes out is complete");
    assert_eq!(again, contract);
}

#[test]
fn the_terms_of_the_guards_survive_too() {
    let check = |guards: pb::Guards| {
        let mut wire = good();
        wire.guards = Some(guards);
        let contract = taken(wire).expect("it is complete");
        let again = taken(contract_out(&contract)).expect("what comes out is complete");
        assert_eq!(again, contract);
        contract.guards
    };
    assert_eq!(check(pb::Guards::default()), GuardTerms::default(), "all on, as the defaults say");
    let off = check(pb::Guards {
        repetition: Some(pb::RepetitionGuard { off: true, times: 4, max_cycle: 2, similarity: 1.0 }),
        finished: Some(pb::FinishedGuard {
            off: true,
            restated: Some(0),
            confirmed: Some(false),
            idle: Some(12),
        }),
        drafts: Some(pb::DraftsGuard { off: true, similarity: 0.8 }),
        max_steps: 27,
    });
    assert!(!off.repetition.on && !off.finished.on && !off.drafts.on);
    assert_eq!((off.repetition.times, off.repetition.max_cycle), (4, 2));
    assert_eq!((off.repetition.similarity_permille, off.drafts.similarity_permille), (1_000, 800));
    assert_eq!((off.finished.restated, off.finished.confirmed, off.finished.idle), (None, false, Some(12)));
    assert_eq!(off.max_steps, Some(27));
}

fn schema_value(json: &serde_json::Value) -> Value {
    value::value(&Payload::from_json(json))
}

#[test]
fn the_fingerprint_is_of_what_was_written() {
    let mut other = good();
    assert_eq!(fingerprint(&good()), fingerprint(&other));
    other.limits = Some(pb::Limits { max_turns: 50, ..good().limits.unwrap_or_default() });
    assert_ne!(fingerprint(&good()), fingerprint(&other), "a default that was written out counts");
}
