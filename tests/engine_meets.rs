//! Where the parts of the engine meet: guards inside steps with fallbacks, validators and convergence, extensions and the
//! halves of the reserve, children and spot checks.

#[path = "support/engine.rs"]
mod support;

use std::sync::Arc;

use bailiwick::{
    engine::{
        command::{Command, Findings, HumanAnswer, Rejection},
        event::{Event, StepEnd, TurnKind},
    },
    types::{
        contract::{BudgetDraft, ContractDraft, ConvergenceDraft, LimitsDraft},
        envelope::{Answer, Confidence, Decision, Envelope, HandOff, WorkStep, WorkStepKind},
        extension::Extension,
        ids::{Lease, TaskId},
        limits::Ceilings,
        outcome::{Cause, TaskState},
        plan::StepDraft,
        time::Span,
    },
};
use support::{
    Bench, ask, delegate, draft, failed, hand_off, json, name, plan, step, success, usage, verdict,
};

/// Something said that is long enough to count, and always the same.
fn say(bench: &mut Bench, lease: Lease, times: usize) {
    let said = WorkStep {
        kind: WorkStepKind::Message,
        tool: String::new(),
        content: "I will look at the file once more before I decide what to do with it.".to_owned(),
        fingerprint: false,
    };
    let steps = vec![said; times];
    bench.send(Command::Progress { lease, steps, partial: None }).expect("the lease is live");
}

fn with_fallback(id: &str) -> StepDraft {
    StepDraft { fallback_agents: vec!["beta".to_owned()], ..step(id, "alpha", &[]) }
}

fn step_ends(bench: &Bench) -> Vec<(String, StepEnd)> {
    let end = |event: &Event| match event {
        Event::StepEnded { id, end, .. } => Some((id.to_string(), *end)),
        _ => None,
    };
    bench.records.iter().filter_map(|record| end(&record.event)).collect()
}

fn extend(by: Extension) -> HumanAnswer {
    HumanAnswer::Extend { by, ceilings: Box::default() }
}

fn judged(mut draft: ContractDraft) -> ContractDraft {
    draft.gate.validator = "judge".to_owned();
    draft
}

fn replan(bench: &mut Bench, agent: &str) {
    let decide = bench.next();
    assert_eq!(decide.kind, TurnKind::Decide);
    bench.decide(decide.lease, Decision::ReplanTo(HandOff { agent: name(agent), input: None }));
}

/// The owner's next turn, which uses its whole allowance to ask a person.
fn escalate_for_all(bench: &mut Bench) -> u64 {
    let decide = bench.next();
    let decision = Decision::Escalate("more?".to_owned());
    let answer = Arc::new(Answer::Decision { decision, usage: Some(usage(decide.allowance)) });
    let complete = Command::Complete { lease: decide.lease, answer, findings: Findings::default() };
    bench.send(complete).expect("it is live");
    decide.allowance
}

// Guards and plans.

#[test]
fn a_loop_inside_a_step_fails_it_whatever_fallbacks_it_has() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![with_fallback("a")]));
    let a = bench.next();
    say(&mut bench, a.lease, 3);
    assert_eq!(step_ends(&bench), [("a".to_owned(), StepEnd::Failed)]);
    let planner = bench.next();
    assert_eq!(planner.agent, name("planner"), "no other agent hides the trip");
    assert!(planner.notes[0].contains("3 times"), "{:?}", planner.notes);
    bench.check_replay();
}

#[test]
fn an_optional_step_that_loops_is_gone_without_and_its_siblings_go_on() {
    let mut bench = Bench::new(&draft());
    let optional = StepDraft { optional: true, ..with_fallback("a") };
    bench.turn(delegate(vec![optional, step("b", "gamma", &["a"])]));
    let a = bench.next();
    say(&mut bench, a.lease, 3);
    let b = bench.next();
    assert_eq!(b.agent, name("gamma"));
    assert!(b.lineage[0].envelope.reason.contains("3 times"), "it is told why: {:?}", b.lineage[0]);
    bench.answer(b.lease, success("1", 10));
    assert!(bench.next().notes[0].contains("without what was optional"));
}

#[test]
fn a_person_who_answers_one_step_says_nothing_of_the_others() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("a", "alpha", &[]), step("b", "beta", &[])]));
    let (a, b) = (bench.assign(2).expect("a"), bench.assign(3).expect("b"));
    say(&mut bench, b.lease, 2);
    bench.answer(a.lease, ask("may I?"));
    bench.human(1, HumanAnswer::Approve).expect("asked");
    say(&mut bench, b.lease, 1);
    assert_eq!(step_ends(&bench), [("b".to_owned(), StepEnd::Failed)], "it was the third time");
    bench.check_replay();
}

#[test]
fn a_person_who_answers_a_step_answers_what_its_guards_saw() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("a", "alpha", &[])]));
    let a = bench.next();
    say(&mut bench, a.lease, 2);
    bench.answer(a.lease, ask("may I?"));
    bench.human(1, HumanAnswer::Approve).expect("asked");
    let again = bench.next();
    say(&mut bench, again.lease, 2);
    assert_eq!(bench.leases(), [again.lease], "what came before does not count");
}

#[test]
fn a_question_of_a_step_is_withdrawn_when_the_whole_task_trips() {
    let mut draft = draft();
    draft.limits.as_mut().expect("limits").max_hops = Some(0);
    let mut bench = Bench::new(&draft);
    bench.turn(delegate(vec![step("a", "alpha", &[]), step("b", "beta", &[])]));
    let (a, b) = (bench.assign(2).expect("a"), bench.assign(3).expect("b"));
    bench.answer(a.lease, ask("may I?"));
    bench.answer(b.lease, hand_off("gamma"));
    assert_eq!(bench.state(), TaskState::OwnerDecides);
    let late = bench.human(1, HumanAnswer::Approve);
    assert!(matches!(late, Err(Rejection::EscalationClosed(_))), "{late:?}");
    assert_eq!(bench.next().trips[0].cause, Cause::Hops);
    bench.check_replay();
}

#[test]
fn a_static_plan_whose_last_answer_reaches_the_cap_on_steps_goes_to_the_gate() {
    let mut draft = draft();
    draft.guards.max_steps = 2;
    let mut fixed = plan(vec![step("a", "alpha", &[]), step("b", "beta", &["a"])]);
    fixed.result_step = "b".to_owned();
    (draft.first_agent, draft.plan) = (None, Some(fixed));
    let mut bench = Bench::new(&draft);
    bench.turn(success("1", 10));
    bench.turn(success("{}", 10));
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed", "nothing is left to be stopped");
    let mut bench = Bench::new(&draft);
    bench.turn(success("1", 10));
    bench.turn(failed("no", 10));
    assert_eq!(bench.next().trips.len(), 2, "the cap and the plan: the owner hears of both");
}

#[test]
fn a_fallback_that_cannot_be_funded_shortens_no_wait() {
    let mut draft = draft();
    let budget = draft.budget.as_mut().expect("budget");
    (budget.max_tokens, budget.min_tokens_per_turn) = (10_000, 1_000);
    budget.max_tokens_by_agent.insert("beta".to_owned(), 500);
    let mut bench = Bench::new(&draft);
    bench.turn(delegate(vec![with_fallback("a")]));
    (bench.known.served, bench.known.since) = (false, bench.now);
    let wait = bench.task.contract().limits.worker_wait;
    bench.pass(wait.part(2));
    assert_eq!(step_ends(&bench), [], "it has no fallback to go to");
    bench.pass(wait.part(2));
    assert_eq!(step_ends(&bench), [("a".to_owned(), StepEnd::Failed)]);
}

#[test]
fn a_step_that_gives_the_same_refused_answer_again_and_again_is_stopped_before_revisions_are_used_up() {
    let mut draft = draft();
    draft.gate.max_revisions = Some(10);
    let mut bench = Bench::new(&draft);
    bench.turn(delegate(vec![step("a", "alpha", &[])]));
    for _ in 0..3 {
        let lease = bench.next().lease;
        let answer = Arc::new(Answer::Envelope(success(r#"{"rows":"these are no rows at all"}"#, 10)));
        let findings = Findings { output: vec!["rows is no array".to_owned()], ..Findings::default() };
        bench.send(Command::Complete { lease, answer, findings }).expect("accepted");
    }
    assert_eq!(step_ends(&bench), [("a".to_owned(), StepEnd::Failed)]);
    assert_eq!(bench.task.summary().counters.revisions, 2);
    assert_eq!(bench.task.view().tripped[0].trips[0].cause, Cause::Repetition);
    assert_eq!(bench.next().agent, name("planner"));
    bench.check_replay();
}

// Validators, drafts and the best result.

#[test]
fn a_draft_that_the_validator_refused_is_not_put_to_it_again() {
    let mut draft = judged(draft());
    draft.termination.as_mut().expect("termination").convergence =
        Some(ConvergenceDraft { min_gain: 0.1, patience: 2 });
    let mut bench = Bench::new(&draft);
    let round = |version: u32, score| Envelope {
        result: Some(json(&format!(r#"{{"draft":"version {version}"}}"#))),
        score: Confidence::new(score),
        ..delegate(vec![step("improve", "alpha", &[])])
    };
    bench.turn(round(1, 0.8));
    bench.turn(success(r#"{"hint":1}"#, 10));
    bench.turn(round(2, 0.5));
    bench.turn(success(r#"{"hint":2}"#, 10));
    bench.turn(round(3, 0.5));
    bench.judge(verdict(&["it is off the goal"], 10));
    let causes: Vec<_> =
        bench.task.view().tripped.last().expect("told").trips.iter().map(|t| t.cause).collect();
    assert_eq!(causes, [Cause::Converged, Cause::GateRejected]);
    replan(&mut bench, "planner");
    // Drafts that do not fit the schema rank no higher, so the refused one is still the best.
    for version in 4..6 {
        let (lease, answer) = (bench.next().lease, Arc::new(Answer::Envelope(round(version, 0.5))));
        let findings = vec!["is no object".to_owned()].into();
        bench.send(Command::Complete { lease, answer, findings }).expect("accepted");
        if version == 4 {
            bench.turn(success(r#"{"hint":4}"#, 10));
        }
    }
    assert_eq!(bench.state(), TaskState::OwnerDecides);
    let judged: Vec<_> = bench.task.view().turns.iter().filter_map(|turn| turn.judges).collect();
    let mut once = judged.clone();
    once.dedup();
    assert_eq!(judged, once, "no result is judged twice");
    bench.check_replay();
}

#[test]
fn what_the_gate_refused_ranks_below_a_revision_that_it_did_not() {
    let mut bench = Bench::new(&judged(draft()));
    bench.turn(Envelope { score: Confidence::new(0.9), ..success(r#"{"n":1}"#, 10) });
    bench.judge(verdict(&["it is off the goal"], 10));
    let revised = r#"{"n":2}"#;
    bench.turn(Envelope { score: Confidence::new(0.6), ..success(revised, 10) });
    assert_eq!(bench.task.view().best_result, Some(json(revised)));
    bench.send(Command::Cancel { reason: String::new() }).expect("never rejected");
    let outcome = bench.task.view().outcome.expect("ended");
    assert_eq!((outcome.result, outcome.findings), (Some(json(revised)), Vec::new()));
    bench.check_replay();
}

#[test]
fn a_revision_after_the_time_for_work_is_the_owners_to_decide() {
    let mut bench = Bench::new(&judged(draft()));
    bench.turn(success("{}", 10));
    let limits = bench.task.contract().limits.clone();
    let judge = bench.next();
    bench.pass(Span(limits.deadline.0 - limits.finalization_reserve.0));
    assert_eq!(bench.leases(), [judge.lease], "half of the reserve of time is the validator's");
    let answer = Arc::new(verdict(&["no"], 10));
    let complete = Command::Complete { lease: judge.lease, answer, findings: Findings::default() };
    bench.send(complete).expect("it is live");
    bench.pass(Span::from_millis(1));
    let decide = bench.next();
    assert_eq!((decide.kind, decide.trips[0].cause), (TurnKind::Decide, Cause::Deadline));
    assert_eq!(decide.best_result, Some(json("{}")));
}

// Extensions and the reserve.

#[test]
fn a_refill_gives_the_owner_its_half_back_and_leaves_the_validators() {
    let mut draft = judged(draft());
    draft.budget.as_mut().expect("budget").finalization_reserve_tokens = 1_000;
    let mut bench = Bench::new(&draft);
    bench.turn(failed("no", 10));
    for number in 1..4 {
        assert_eq!(escalate_for_all(&mut bench), 500, "decision {number} has its whole half");
        bench.human(number, extend(Extension { tokens: 500, ..Extension::default() })).expect("refilled");
        let ledger = bench.task.summary().ledger;
        assert_eq!(ledger.finalization_left, 1_000);
        bench.check_replay();
        if number == 3 {
            assert_eq!(bench.next().allowance, 500);
        }
    }
}

#[test]
fn an_extension_that_leaves_the_owner_nothing_of_its_half_is_refused() {
    let mut draft = judged(draft());
    draft.budget.as_mut().expect("budget").finalization_reserve_tokens = 1_000;
    let mut bench = Bench::new(&draft);
    bench.turn(failed("no", 10));
    escalate_for_all(&mut bench);
    let refused = bench.human(1, extend(Extension { hops: 1, ..Extension::default() }));
    let Err(Rejection::ExtensionRefused(faults)) = refused else { panic!("refused, not {refused:?}") };
    assert_eq!(faults[0].field, "extend.tokens", "the validator's half is not the owner's");
    bench.human(1, extend(Extension { tokens: 500, ..Extension::default() })).expect("refilled");
    assert_eq!(bench.state(), TaskState::OwnerDecides);
}

#[test]
fn a_cap_on_steps_that_was_reached_leaves_room_again_when_it_is_raised() {
    let mut draft = draft();
    draft.guards.max_steps = 2;
    draft.limits.as_mut().expect("limits").max_decides = 5;
    let mut bench = Bench::new(&draft);
    let lease = bench.next().lease;
    say(&mut bench, lease, 2);
    replan(&mut bench, "alpha");
    let decide = bench.next();
    assert!(decide.notes[0].contains("all 2 steps are used"), "{:?}", decide.notes);
    bench.decide(decide.lease, Decision::Escalate("more?".to_owned()));
    bench.human(1, extend(Extension { steps: 2, ..Extension::default() })).expect("raised");
    assert_eq!(bench.task.summary().counters.steps, 2, "a counter is never reset");
    replan(&mut bench, "alpha");
    let lease = bench.next().lease;
    say(&mut bench, lease, 1);
    assert_eq!(bench.leases(), [lease], "one more is left");
    say(&mut bench, lease, 1);
    assert_eq!(bench.next().trips[0].cause, Cause::Turns);
    bench.check_replay();
}

// Children.

fn start(
    bench: &mut Bench,
    lease: Lease,
    draft: ContractDraft,
) -> Result<bailiwick::engine::command::Reply, Rejection> {
    let (child, ceilings) = (TaskId::from_key("child", 1), Box::<Ceilings>::default());
    bench.send(Command::StartChild { lease, child, draft: Arc::new(draft), ceilings, fingerprint: 1 })
}

fn open_child() -> ContractDraft {
    ContractDraft { budget: None, limits: None, ..draft() }
}

#[test]
fn a_child_cannot_use_up_the_question_that_a_spot_check_needs() {
    let mut draft = draft();
    draft.gate.spot_check_rate = 1.0;
    draft.escalation.max_escalations = Some(1);
    let mut bench = Bench::new(&draft);
    let lease = bench.next().lease;
    start(&mut bench, lease, open_child()).expect("there is room");
    let birth = bench.task.birth(1).expect("open");
    assert_eq!(birth.contract.escalation.max_escalations, 0);
    bench.answer(lease, success("{}", 10));
    assert_eq!(bench.task.view().summary.counters.escalations, 1, "the spot check has its question");
}

#[test]
fn a_child_is_not_paid_from_what_a_plan_holds() {
    let mut bench = Bench::new(&draft());
    // 90,000 beside the reserve: 40,000 for steps, 22,500 for the planner's next turn.
    let mut steps = vec![step("a", "alpha", &[]), step("b", "beta", &["a"])];
    (steps[0].max_tokens, steps[1].max_tokens) = (20_000, 20_000);
    bench.turn(delegate(steps));
    let lease = bench.next().lease;
    let free = 90_000 - 10 - 62_500;
    let with = |tokens| {
        let budget = Some(BudgetDraft { max_tokens: tokens, ..BudgetDraft::default() });
        ContractDraft { budget, limits: Some(LimitsDraft::default()), ..open_child() }
    };
    let refused = start(&mut bench, lease, with(free + 1));
    assert!(matches!(refused, Err(Rejection::BudgetTooSmall { .. })), "{refused:?}");
    start(&mut bench, lease, with(free)).expect("it is what is free");
    bench.answer(lease, success("1", 20_000));
    assert_eq!(bench.next().allowance, 20_000, "what was held for b is there");
}

#[test]
fn a_step_that_a_guard_stops_takes_its_children_with_it() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![with_fallback("a"), step("b", "gamma", &[])]));
    let (a, b) = (bench.assign(2).expect("a"), bench.assign(3).expect("b"));
    start(&mut bench, a.lease, open_child()).expect("there is room");
    say(&mut bench, a.lease, 3);
    let view = bench.task.view();
    assert_eq!((view.children[0].open, view.children[0].state), (false, Some(TaskState::Cancelled)));
    assert_eq!(bench.leases(), [b.lease], "its sibling goes on");
    bench.check_replay();
}

#[test]
fn figures_beyond_all_counting_are_refused_field_by_field_for_a_child_too() {
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    start(&mut bench, lease, open_child()).expect("there is room");
    let mut child = Bench::of(bench.task.birth(1).expect("open"));
    child.turn(ask("may I?"));
    let by_agent = ["alpha", "beta", "gamma"].map(|agent| (name(agent), u64::MAX));
    let most = Extension {
        tokens: u64::MAX,
        tokens_by_agent: by_agent.into(),
        cost_nano_usd: u64::MAX,
        tokens_per_turn: u64::MAX,
        time: Span(u64::MAX),
        hops: u32::MAX,
        turns: u32::MAX,
        rounds: u32::MAX,
        replans: u32::MAX,
        revisions: u32::MAX,
        steps: u32::MAX,
    };
    for bench in [&mut child, &mut bench] {
        if bench.task.parent().is_none() {
            bench.answer(lease, ask("may I?"));
        }
        let refused = bench.human(1, extend(most.clone()));
        assert!(matches!(refused, Err(Rejection::ExtensionRefused(_))), "{refused:?}");
    }
}

#[test]
fn what_is_heard_late_and_goes_beyond_the_grant_stops_what_works_now() {
    let mut bench = Bench::new(&draft());
    let lost = bench.next().lease;
    bench.lose(lost);
    bench.pass(Span::from_secs(60));
    let lease = bench.next().lease;
    let late = |tokens| Command::Usage { lease: lost, usage: usage(tokens), priced: true };
    bench.send(late(60_000)).expect("usage is never refused");
    assert_eq!(bench.leases(), [lease], "the free grant covers it");
    bench.send(late(70_000)).expect("usage is never refused");
    let decide = bench.next();
    assert_eq!((decide.kind, decide.trips[0].cause), (TurnKind::Decide, Cause::Budget));
    assert_eq!(bench.task.summary().ledger.overrun, 2_500);
    bench.send(late(80_000)).expect("usage is never refused");
    assert_eq!(bench.leases(), [decide.lease], "the owner is not to blame");
    bench.check_replay();
}
