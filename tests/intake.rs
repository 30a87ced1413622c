//! A contract is refused unless complete: every fault at once, each saying what to write.

#[path = "support/engine.rs"]
mod support;

use bailiwick::{
    engine::{intake, readiness},
    types::{
        contract::{ContractDraft, LimitsDraft},
        limits::Ceilings,
        plan::StepDraft,
        time::Span,
    },
};
use support::{AGENTS, contract, draft, plan, step};

fn faults(draft: &ContractDraft) -> Vec<(String, String)> {
    let known = |agent: &bailiwick::types::ids::AgentName| AGENTS.contains(&agent.as_str());
    match intake::complete(draft, &Ceilings::default(), &known) {
        Ok(_) => Vec::new(),
        Err(violations) => violations.into_iter().map(|v| (v.field, v.description)).collect(),
    }
}

/// One change to a good draft must give exactly one fault, in `field`, whose words contain `says`.
fn check(change: impl FnOnce(&mut ContractDraft), field: &str, says: &str) {
    let mut draft = draft();
    change(&mut draft);
    let found = faults(&draft);
    assert_eq!(found.len(), 1, "{field}: {found:?}");
    assert_eq!(found[0].0, field, "{found:?}");
    assert!(found[0].1.contains(says), "{found:?}");
}

fn limits(draft: &mut ContractDraft) -> &mut LimitsDraft {
    draft.limits.as_mut().expect("the draft has limits")
}

#[test]
fn five_faults_get_five_violations_in_one_answer() {
    let mut bad = draft();
    bad.goal = String::new();
    bad.owner = "nobody".to_owned();
    bad.budget.as_mut().expect("budget").max_tokens = 0;
    limits(&mut bad).deadline = None;
    bad.termination = None;
    let found = faults(&bad);
    let fields: Vec<_> = found.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["budget.max_tokens", "goal", "limits.deadline", "owner", "termination"]);
    for (field, description) in &found {
        assert!(
            description.contains("write") || description.contains("start a worker"),
            "{field}: {description}"
        );
    }
}

#[test]
fn every_fault_names_its_field_and_what_to_write() {
    check(|d| d.first_agent = None, "first_agent", "name the agent");
    check(|d| d.plan = Some(plan(vec![step("a", "alpha", &[])])), "first_agent", "exactly one");
    check(|d| d.first_agent = Some("ghost".to_owned()), "first_agent", "no worker has ever served");
    check(|d| d.owner = "Not A Name".to_owned(), "owner", "starting with a letter");
    check(|d| d.goal = "x".repeat(16_385), "goal", "at most 16384");
    check(|d| d.priority = 10, "priority", "0 to 9");
    check(|d| d.gate.min_confidence = 1.7, "gate.min_confidence", "0 to 1");
    check(|d| d.gate.min_confidence = f64::NAN, "gate.min_confidence", "0 to 1");
    check(|d| d.guards.times = 11, "guards.repetition.times", "write 2 to 10");
    check(|d| d.guards.times = -1, "guards.repetition.times", "write 2 to 10");
    check(|d| d.guards.max_cycle = 7, "guards.repetition.max_cycle", "write 1 to 6");
    check(|d| d.guards.similarity = 0.4, "guards.repetition.similarity", "write 0.5 to 1");
    check(|d| d.guards.similarity = f64::NAN, "guards.repetition.similarity", "write 0.5 to 1");
    check(|d| d.guards.restated = Some(1), "guards.finished.restated", "or 0 for not at all");
    check(|d| d.guards.idle = Some(101), "guards.finished.idle", "write 2 to 100");
    check(|d| d.guards.draft_similarity = 1.1, "guards.drafts.similarity", "write 0.5 to 1");
    check(|d| d.guards.max_steps = -3, "guards.max_steps", "write 1 to 1000000");
    check(|d| limits(d).max_hops = Some(101), "limits.max_hops", "0 to 100");
    check(|d| limits(d).max_hops = Some(-1), "limits.max_hops", "0 to 100");
    check(|d| limits(d).max_children = 1_001, "limits.max_children", "write 1 to 1000");
    check(|d| limits(d).max_depth = Some(11), "limits.max_depth", "write 0 to 10");
    check(|d| limits(d).deadline = Some(-5), "limits.deadline", "negative");
    check(|d| limits(d).deadline = Some(i64::MAX), "limits.deadline", "\"1s\" to \"604800s\"");
    check(|d| limits(d).decide_timeout = Some(90_000_000), "limits.decide_timeout", "to \"60s\"");
    check(
        |d| d.budget.as_mut().expect("budget").finalization_reserve_tokens = 100,
        "budget.finalization_reserve_tokens",
        "400 to 50000",
    );
    check(
        |d| d.budget.as_mut().expect("budget").max_tokens = 200_000_000,
        "budget.max_tokens",
        "1000 to 100000000",
    );
    check(
        |d| d.budget.as_mut().expect("budget").max_cost_nano_usd = 5,
        "budget.max_cost_nano_usd",
        "price table",
    );
    check(
        |d| d.termination.as_mut().expect("termination").acceptance = vec!["  ".to_owned()],
        "termination.acceptance[0]",
        "is empty",
    );
    check(|d| d.gate.validator = "owner".to_owned(), "gate.validator", "judge its own work");
    check(|d| d.gate.validator = "planner".to_owned(), "gate.validator", "the first agent");
    check(|d| d.gate.validator = "nobody".to_owned(), "gate.validator", "no worker has ever served");
    check(|d| d.gate.spot_check_rate = f64::NAN, "gate.spot_check_rate", "write 0 to 1");
    check(|d| d.gate.min_confidence = 1.7, "gate.min_confidence", "is 1.7: write 0 to 1");
    check(
        |d| {
            d.gate.spot_check_rate = 0.5;
            d.escalation.max_escalations = Some(0);
        },
        "gate.spot_check_rate",
        "needs a person",
    );
    check(
        |d| drop(d.labels.insert("bailiwick/drill".to_owned(), "true".to_owned())),
        "labels.bailiwick/drill",
        "the server's own",
    );
    check(
        |d| drop(d.labels.insert("Bad Key".to_owned(), "x".to_owned())),
        "labels.Bad Key",
        "characters of a-z",
    );
    check(
        |d| d.allowed_hand_offs = vec![("alpha".to_owned(), Vec::new())],
        "allowed_hand_offs[0].to",
        "name 1 to 64",
    );
}

/// A static plan with one fault, in `field` under "plan".
fn check_plan(steps: Vec<StepDraft>, field: &str, says: &str) {
    check(
        |d| {
            d.first_agent = None;
            let result_step = steps.first().map(|s| s.id.clone()).unwrap_or_default();
            d.plan = Some(bailiwick::types::plan::PlanDraft { result_step, ..plan(steps) });
        },
        field,
        says,
    );
}

#[test]
fn a_plan_with_a_cycle_still_names_the_agents_that_nobody_serves() {
    let mut bad = draft();
    bad.first_agent = None;
    let mut lost = step("c", "ghost", &[]);
    lost.fallback_agents = vec!["phantom".to_owned()];
    let steps = vec![step("a", "alpha", &["b"]), step("b", "beta", &["a"]), lost];
    bad.plan = Some(bailiwick::types::plan::PlanDraft { result_step: "c".to_owned(), ..plan(steps) });
    let fields: Vec<_> = faults(&bad).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["plan.steps", "plan.steps[2].agent", "plan.steps[2].fallback_agents[0]"]);
}

#[test]
fn a_plan_is_checked_whole() {
    check_plan(Vec::new(), "plan.steps", "write 1 to 1000");
    check_plan(vec![step("a", "alpha", &["b"]), step("b", "beta", &["a"])], "plan.steps", "in a cycle: a, b");
    check_plan(vec![step("a", "alpha", &["a"])], "plan.steps[0].depends_on", "the step itself");
    check_plan(vec![step("a", "alpha", &["x"])], "plan.steps[0].depends_on", "no step of the plan");
    check_plan(vec![step("a", "alpha", &[]), step("a", "beta", &[])], "plan.steps[1].id", "ids are unique");
    check_plan(vec![step("a", "ghost", &[])], "plan.steps[0].agent", "no worker has ever served");
    let mut big = step("a", "alpha", &[]);
    big.max_tokens = 95_000;
    check_plan(vec![big], "plan.steps", "need 95000 tokens");
    let mut optional = step("a", "alpha", &[]);
    optional.optional = true;
    check_plan(vec![optional], "plan.result_step", "which is optional");
    let with = |agents: &[&str]| {
        let fallback_agents = agents.iter().map(|agent| (*agent).to_owned()).collect();
        vec![StepDraft { fallback_agents, ..step("a", "alpha", &[]) }]
    };
    check_plan(with(&["beta", "ghost"]), "plan.steps[0].fallback_agents[1]", "no worker has ever served");
    check_plan(with(&["Not A Name"]), "plan.steps[0].fallback_agents[0]", "starting with a letter");
    check_plan(with(&["alpha"]), "plan.steps[0].fallback_agents[0]", "no agent gets the same step twice");
    check_plan(
        with(&["beta", "beta"]),
        "plan.steps[0].fallback_agents[1]",
        "no agent gets the same step twice",
    );
    check_plan(with(&["beta"; 9]), "plan.steps[0].fallback_agents", "at most 8");
    check(
        |d| {
            d.first_agent = None;
            d.plan = Some(plan(vec![step("a", "alpha", &[])]));
        },
        "plan.result_step",
        "is missing",
    );
}

#[test]
fn defaults_are_those_the_contract_documents() {
    let contract = contract(&draft());
    assert_eq!(contract.limits.max_hops, 12);
    assert_eq!(contract.budget.finalization_reserve, 10_000);
    assert_eq!(contract.budget.max_tokens_per_turn, 22_500);
    assert_eq!(contract.limits.finalization_reserve, Span::from_secs(60));
    assert_eq!(contract.limits.max_lifetime, Span::from_secs(600 + 3 * 86_400));
    assert_eq!((contract.limits.max_turns, contract.limits.max_attempts), (50, 3));
}

#[test]
fn the_readiness_list_has_ten_points_and_says_what_is_missing() {
    let points = readiness::points(&contract(&draft()), &readiness::ServerFacts::default());
    assert_eq!(points.iter().map(|p| p.number).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    let gate = &points[6];
    assert_eq!(gate.readiness, readiness::Readiness::Weak);
    assert!(gate.advice.contains("set gate.min_confidence"));
}
