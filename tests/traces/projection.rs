//! What the engine itself journals is projected whole: every turn, attempt and judgement once, each within its parent.

use std::collections::BTreeMap;

use bailiwick::{
    engine::{
        command::{Command, HumanAnswer},
        event::{Event, Record},
    },
    telemetry::{
        semconv,
        span::{Span, Value},
        spans::Projector,
    },
    types::{
        envelope::{Confidence, Decision, Envelope},
        ids::TaskId,
        plan::StepDraft,
        time::Span as TimeSpan,
    },
};

use crate::engine::{Bench, delegate, draft, failed, hand_off, json, step, success};

const SECOND: TimeSpan = TimeSpan::from_secs(1);

fn project(task: TaskId, records: &[Record]) -> Vec<Span> {
    let mut projector = Projector::new(task);
    let spans = records.iter().flat_map(|record| projector.apply(record)).collect();
    assert!(projector.has_ended());
    spans
}

/// Projects the bench's journal, checks what must hold of any, and returns the spans.
fn check(bench: &Bench) -> Vec<Span> {
    let spans = project(bench.task.id(), &bench.records);
    let by_id: BTreeMap<u64, &Span> = spans.iter().map(|span| (span.span_id, span)).collect();
    assert_eq!(by_id.len(), spans.len(), "a span twice");
    for span in &spans {
        let Some(parent) = span.parent_id else {
            assert_eq!(span.name, semconv::INVOKE_WORKFLOW);
            continue;
        };
        let parent = by_id[&parent];
        assert!(parent.start <= span.start, "{} begins before {}", span.name, parent.name);
        let may_outlast = span.name == semconv::ESCALATION;
        assert!(may_outlast || span.end <= parent.end, "{} ends after {}", span.name, parent.name);
    }
    let spans_of = |name: &str| spans.iter().filter(|span| span.name.starts_with(name)).count();
    let events_of = |kind: &str| bench.records.iter().filter(|record| record.event.kind() == kind).count();
    for (name, kind) in [
        (semconv::INVOKE_WORKFLOW, "submitted"),
        (semconv::INVOKE_AGENT, "turn_opened"),
        (semconv::ATTEMPT, "attempt_started"),
        (semconv::PLAN, "plan_started"),
        (semconv::GATE, "gate_judged"),
        (semconv::ESCALATION, "escalated"),
    ] {
        assert_eq!(spans_of(name), events_of(kind), "{name} for {kind}");
    }
    for (name, kind) in [(semconv::HAND_OFF, "handed_off"), (semconv::DIRECTIVE_REFUSED, "directive_refused")]
    {
        let turns = spans.iter().filter(|span| span.name.starts_with(semconv::INVOKE_AGENT));
        let found = turns.flat_map(|turn| &turn.events.kept).filter(|event| event.name == name).count();
        assert_eq!(found, events_of(kind), "{name} on turns for {kind}");
    }
    spans
}

fn texts<'a>(spans: &'a [Span], name: &str, key: &str) -> Vec<&'a str> {
    let of_name = spans.iter().filter(|span| span.name.starts_with(name));
    let text = |span: &'a Span| match span.attributes.get(key) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    of_name.filter_map(text).collect()
}

fn ended_as(spans: &[Span]) -> Vec<&str> {
    texts(spans, semconv::INVOKE_WORKFLOW, semconv::OUTCOME_STATE)
}

#[test]
fn a_plan_that_fails_and_a_replan_that_succeeds() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("a", "alpha", &[]), step("b", "beta", &[]), step("c", "gamma", &["a"])]));
    bench.pass(SECOND);
    let a = bench.assign(2).expect("a");
    let b = bench.assign(3).expect("b");
    bench.pass(SECOND);
    bench.answer(a.lease, failed("no source", 10));
    bench.answer(b.lease, success("2", 10));
    bench.turn(delegate(vec![step("a", "gamma", &[])]));
    bench.pass(SECOND);
    bench.turn(success("3", 10));
    bench.turn(success(r#"{"done":true}"#, 10));
    let spans = check(&bench);
    assert_eq!(ended_as(&spans), ["SUCCEEDED"]);
    assert_eq!(texts(&spans, semconv::PLAN, semconv::ERROR_TYPE), ["PLAN_FAILED"]);
    assert_eq!(texts(&spans, semconv::PLAN, semconv::PLAN_KIND), ["ROUND", "REPLAN"]);
}

#[test]
fn a_step_that_fell_back_one_that_was_handed_on_and_one_that_was_gone_without() {
    let mut bench = Bench::new(&draft());
    let falls_back = StepDraft { fallback_agents: vec!["beta".to_owned()], ..step("a", "alpha", &[]) };
    let optional = StepDraft { optional: true, ..step("b", "beta", &["a"]) };
    bench.turn(delegate(vec![falls_back, optional, step("c", "gamma", &["b"])]));
    bench.turn(failed("no source", 10));
    bench.pass(SECOND);
    bench.turn(success("1", 10));
    bench.turn(failed("no key", 10));
    bench.turn(hand_off("alpha"));
    bench.pass(SECOND);
    bench.turn(success("3", 10));
    bench.turn(success(r#"{"done":true}"#, 10));
    let spans = check(&bench);
    let turns = spans.iter().filter(|span| span.attributes.get(semconv::STEP_ID).is_some());
    let of_steps: Vec<_> = turns.filter(|span| span.name.starts_with(semconv::INVOKE_AGENT)).collect();
    let word = |span: &Span, key: &str| match span.attributes.get(key) {
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    };
    let agents: Vec<_> = of_steps
        .iter()
        .map(|span| {
            let fallback =
                if span.attributes.get(semconv::TURN_FALLBACK).is_some() { " takes over" } else { "" };
            format!("{}:{}{fallback}", word(span, semconv::STEP_ID), word(span, semconv::GEN_AI_AGENT_NAME))
        })
        .collect();
    assert_eq!(agents, ["a:alpha", "a:beta takes over", "b:beta", "c:gamma", "c:alpha"]);
    let parents: std::collections::BTreeSet<_> = of_steps.iter().map(|span| span.parent_id).collect();
    assert_eq!(parents.len(), 1, "they stand beside each other, whoever had the step");
    assert!(texts(&spans, semconv::PLAN, semconv::ERROR_TYPE).is_empty(), "the plan did not fail");
    let plan = spans.iter().find(|span| span.name.starts_with(semconv::PLAN)).expect("a plan");
    let without: Vec<_> =
        plan.events.kept.iter().filter(|e| e.attributes.get(semconv::STEP_OPTIONAL).is_some()).collect();
    assert_eq!(without.len(), 1);
}

#[test]
fn hand_offs_to_the_cap_and_the_owners_decision() {
    let mut draft = draft();
    draft.limits.as_mut().expect("limits").max_hops = Some(2);
    let mut bench = Bench::new(&draft);
    for to in ["alpha", "beta", "alpha"] {
        bench.pass(SECOND);
        bench.turn(hand_off(to));
    }
    let decide = bench.next();
    bench.pass(SECOND);
    let partial = Decision::CompletePartial { result: Some(json("{}")), reason: "enough".to_owned() };
    bench.decide(decide.lease, partial);
    let spans = check(&bench);
    assert_eq!(texts(&spans, semconv::DECIDE, semconv::DECISION), ["complete_partial"]);
    let decision = spans.iter().find(|span| span.name == semconv::DECIDE).expect("a decision");
    let causes = decision.attributes.get(semconv::TRIP_CAUSES);
    assert_eq!(causes, Some(&Value::List(vec!["HOPS".to_owned()])));
}

#[test]
fn low_confidence_that_a_person_approves() {
    let mut draft = draft();
    draft.gate.min_confidence = 0.8;
    draft.gate.max_revisions = Some(1);
    let mut bench = Bench::new(&draft);
    let unsure = Envelope { confidence: Confidence::new(0.3), ..success(r#"{"done":true}"#, 10) };
    bench.turn(unsure.clone());
    bench.pass(SECOND);
    bench.turn(unsure);
    bench.pass(TimeSpan::from_secs(3_600));
    bench.human(1, HumanAnswer::Approve).expect("answered");
    let spans = check(&bench);
    assert_eq!(ended_as(&spans), ["SUCCEEDED"]);
    assert_eq!(texts(&spans, semconv::ESCALATION, semconv::ESCALATION_END), ["APPROVED"]);
    assert_eq!(texts(&spans, semconv::GATE, semconv::ERROR_TYPE), ["GATE_REJECTED"; 2]);
}

#[test]
fn a_lost_worker_a_refused_directive_and_a_cancel_in_the_middle() {
    let mut bench = Bench::new(&draft());
    let lost = bench.next();
    bench.pass(SECOND);
    bench.lose(lost.lease);
    bench.pass(SECOND);
    bench.turn(hand_off("nobody"));
    let running = bench.next();
    bench
        .send(Command::RequestBudget { lease: running.lease, tokens: 10, reason: String::new() })
        .expect("answered");
    bench.pass(SECOND);
    bench.send(Command::Cancel { reason: "not needed".to_owned() }).expect("cancelled");
    bench.pass(SECOND);
    bench
        .send(Command::Usage { lease: running.lease, usage: crate::journal::usage(3, 4), priced: true })
        .expect("heard");
    let late = matches!(bench.records.last().expect("records").event, Event::LateUsage { .. });
    assert!(late, "usage after the end");
    // All but the late usage, which lies outside of its parent's time by its nature.
    let last = bench.records.pop().expect("records");
    let spans = check(&bench);
    assert_eq!(ended_as(&spans), ["CANCELLED"]);
    let ends = texts(&spans, semconv::ATTEMPT, semconv::ATTEMPT_END);
    assert_eq!(ends, ["LEASE_EXPIRED", "ANSWERED", "REVOKED"]);
    bench.records.push(last);
    let with_late = project(bench.task.id(), &bench.records);
    assert_eq!(with_late[..spans.len()], spans, "what was finished stays as it was");
    assert_eq!(
        with_late[spans.len()..].iter().map(|span| span.name.as_str()).collect::<Vec<_>>(),
        ["late_usage"]
    );
}
