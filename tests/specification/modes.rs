//! One test for each of the fourteen MAST failure modes: the failure happens, and the engine answers it; and what `check` says
//! of a contract that leaves the mode to luck and of one that does not.

use std::sync::Arc;

use bailiwick::{
    engine::{
        command::{Command, Findings, HumanAnswer, Rejection, Reply},
        event::{Event, InputsCheck, TurnKind},
        intake,
        mast::{Mode, modes},
        readiness::{Declares, Readiness, ServerFacts},
        tally::Tallied,
    },
    types::{
        contract::ContractDraft,
        envelope::{Answer, Decision, Envelope, Status, WorkStep, WorkStepKind},
        ids::Lease,
        limits::Ceilings,
        outcome::{Cause, TaskState},
        time::Span,
    },
};

use crate::support::{Bench, ask, contract, delegate, draft, hand_off, json, name, step, success, verdict};

const SAME: &str =
    r#"{"summary":"The refund was approved on the second of May and will be paid out within five days."}"#;

fn told(draft: &ContractDraft, facts: &ServerFacts, code: &str) -> Mode {
    let modes = modes(&contract(draft), facts);
    assert_eq!(modes.len(), 14);
    modes.into_iter().find(|mode| mode.code == code).expect("each mode is told")
}

/// What `check` says of a mode under a contract.
#[track_caller]
fn check(code: &str, readiness: Readiness, says: &str, set: impl FnOnce(&mut ContractDraft)) {
    let mut draft = draft();
    set(&mut draft);
    let mode = told(&draft, &ServerFacts::default(), code);
    assert_eq!(mode.readiness, readiness, "{mode:?}");
    assert!(mode.advice.contains(says), "{mode:?}");
}

fn asks_for_fields(draft: &mut ContractDraft) {
    let termination = draft.termination.as_mut().expect("termination");
    termination.result_schema = Some(json(r#"{"type":"object","required":["summary"]}"#));
}

fn judged(draft: &mut ContractDraft) {
    draft.gate.validator = "judge".to_owned();
}

fn as_it_is(_: &mut ContractDraft) {}

fn with(set: impl FnOnce(&mut ContractDraft)) -> ContractDraft {
    let mut draft = draft();
    set(&mut draft);
    draft
}

fn answer_with(bench: &mut Bench, envelope: Envelope, findings: Findings) {
    let lease = bench.next().lease;
    let answer = Arc::new(Answer::Envelope(envelope));
    bench.send(Command::Complete { lease, answer, findings }).expect("accepted");
}

fn say(bench: &mut Bench, lease: Lease, content: &str) {
    let steps = vec![WorkStep {
        kind: WorkStepKind::Message,
        tool: String::new(),
        content: content.to_owned(),
        fingerprint: false,
    }];
    bench.send(Command::Progress { lease, steps, partial: None }).expect("its lease is live");
}

#[test]
fn mode_1_1_a_result_that_disobeys_the_task_goes_back_with_the_exact_reasons() {
    let mut bench = Bench::new(&with(judged));
    let missing = vec!["result: \"summary\" is a required property".to_owned()];
    answer_with(&mut bench, success(r#"{"text":"?"}"#, 10), missing.into());
    let revision = bench.next();
    assert!(revision.notes[0].contains("\"summary\" is a required property"), "{:?}", revision.notes);
    bench.answer(revision.lease, success(r#"{"summary":"a poem"}"#, 10));
    bench.judge(verdict(&["a report was asked for, and this is a poem"], 10));
    assert!(bench.next().notes[0].contains("this is a poem"), "the validator holds it against the goal");
    check("1.1", Readiness::Absent, "any result will do", as_it_is);
    check("1.1", Readiness::Weak, "add termination.acceptance or gate.validator", asks_for_fields);
    check("1.1", Readiness::Enforced, "the validator judge", judged);
}

#[test]
fn mode_1_2_an_agent_out_of_its_role_is_refused_and_then_the_owner_decides() {
    let to_alpha = |draft: &mut ContractDraft| {
        draft.allowed_hand_offs = vec![("planner".to_owned(), vec!["alpha".to_owned()])];
    };
    let mut bench = Bench::new(&with(to_alpha));
    let lease = bench.next().lease;
    let answer = Arc::new(Answer::Decision { decision: Decision::Abort("I decide".to_owned()), usage: None });
    let decides = bench.send(Command::Complete { lease, answer, findings: Findings::default() });
    assert_eq!(decides, Err(Rejection::NotADecideTurn), "only the owner decides");
    bench.answer(lease, hand_off("beta"));
    let correction = bench.turn(hand_off("beta"));
    assert!(correction.notes[0].contains("lets planner hand off only to alpha"), "{:?}", correction.notes);
    bench.turn(hand_off("beta"));
    let decide = bench.next();
    assert_eq!((decide.kind, decide.trips[0].cause), (TurnKind::Decide, Cause::Role));
    assert_eq!(bench.task.summary().counters.hops, 0);
    check("1.2", Readiness::Weak, "list allowed_hand_offs", as_it_is);
    check("1.2", Readiness::Enforced, "to whom allowed_hand_offs says", to_alpha);
}

/// The incident that began it all: an agent sent the same answer 58 times, and each time asked the next one.
#[test]
fn mode_1_3_step_repetition_the_incident_of_58_equal_answers_ends_at_the_third() {
    const ANSWERS: u64 = 58;
    const TOKENS: u64 = 1_500;
    let mut draft = draft();
    draft.limits.as_mut().expect("limits").max_hops = Some(100);
    draft.budget.as_mut().expect("budget").max_tokens = 1_000_000;
    let mut bench = Bench::new(&draft);
    let mut answered = 0;
    while bench.state() != TaskState::OwnerDecides && answered < ANSWERS {
        let next = ["alpha", "beta", "gamma"][usize::try_from(answered % 3).expect("small")];
        bench.turn(Envelope { directive: hand_off(next).directive, ..success(SAME, TOKENS) });
        answered += 1;
    }
    let decide = bench.next();
    assert_eq!((answered, decide.trips[0].cause), (3, Cause::Repetition));
    assert_eq!(decide.best_result, Some(json(SAME)), "repetition mostly means: it is done");
    bench.decide(decide.lease, Decision::CompletePartial { result: None, reason: String::new() });
    assert_eq!(bench.outcome(), "Partial by Owner for Repetition");
    let spent = bench.task.summary().ledger.spent;
    println!(
        "58 equal answers end at answer {answered}: {spent} tokens spent, {} of {} saved",
        ANSWERS * TOKENS - spent,
        ANSWERS * TOKENS
    );
    assert_eq!(spent, 3 * TOKENS + 5, "three answers and the owner's decision");
    check("1.3", Readiness::Enforced, "3 times in a row or in a cycle of up to 6", as_it_is);
    check("1.3", Readiness::Weak, "a loop runs for 50 turns: switch guards.repetition on", |draft| {
        draft.guards.repetition_off = true;
    });
}

#[test]
fn mode_1_4_the_history_is_the_servers_and_comes_with_every_turn_whichever_worker_takes_it() {
    let mut bench = Bench::new(&draft());
    for number in 1..=12 {
        let to = if number % 2 == 1 { "alpha" } else { "beta" };
        let said =
            format!(r#"{{"found":"item {number} of the list, which is unlike all that came before"}}"#);
        bench.turn(Envelope { directive: hand_off(to).directive, ..success(&said, 10) });
    }
    let lost = bench.next();
    assert_eq!((lost.lineage.len(), lost.lineage_total), (8, 12), "the newest, and how many there are");
    bench.lose(lost.lease);
    bench.pass(Span::from_secs(1));
    let next = bench.next();
    assert_eq!(next.lineage, lost.lineage, "nothing was with the worker that was lost");
    let all = bench.task.lineage(&next.lease).expect("a live lease reads all of it");
    assert_eq!((all.len(), all[0].id.as_str()), (12, "turn-1"));
    check("1.4", Readiness::Enforced, "the server keeps every envelope", as_it_is);
}

#[test]
fn mode_1_5_every_turn_knows_what_ends_the_task_and_work_that_is_done_is_ended() {
    let mut bench = Bench::new(&draft());
    let draft_again =
        || Envelope { result: Some(json(SAME)), ..delegate(vec![step("improve", "alpha", &[])]) };
    let first = bench.turn(draft_again());
    assert_eq!(first.result_schema, Some(json(r#"{"type":"object"}"#)));
    assert_eq!((first.rounds_left, first.turns_left, first.hops_left), (5, 49, 12));
    bench.turn(success(r#"{"hint":"nothing to add"}"#, 10));
    bench.turn(draft_again());
    let decide = bench.next();
    assert_eq!((decide.kind, decide.trips[0].cause), (TurnKind::Decide, Cause::Converged));
    check("1.5", Readiness::Enforced, "an answer that stands while the talk goes on", as_it_is);
    check("1.5", Readiness::Weak, "switch guards.finished on", |draft| draft.guards.finished_off = true);
}

#[test]
fn mode_2_1_who_comes_back_from_the_dead_changes_nothing_and_who_starts_over_is_seen() {
    let mut bench = Bench::new(&draft());
    bench.turn(Envelope { directive: hand_off("alpha").directive, ..success(SAME, 10) });
    let lost = bench.next();
    bench.lose(lost.lease);
    bench.pass(Span::from_secs(1));
    let next = bench.next();
    assert_eq!((&next.input, &next.lineage), (&lost.input, &lost.lineage), "it goes on where the task is");
    let answer = Arc::new(Answer::Envelope(success(r#"{"n":"from before"}"#, 10)));
    let reply = bench.send(Command::Complete { lease: lost.lease, answer, findings: Findings::default() });
    assert!(matches!(reply, Ok(Reply::Refused(Rejection::LeaseNotLive(_)))), "{reply:?}");
    // It greets, and greets, and greets.
    for _ in 0..3 {
        say(&mut bench, next.lease, "Hello! I am your assistant for refunds. How can I help you today?");
    }
    assert_eq!(bench.next().trips[0].cause, Cause::Repetition);
    check("2.1", Readiness::Enforced, "attempts are fenced", as_it_is);
    check("2.1", Readiness::Weak, "goes unseen", |draft| draft.guards.repetition_off = true);
}

#[test]
fn mode_2_2_an_agent_that_needs_to_know_asks_a_person_and_the_task_waits() {
    let mut bench = Bench::new(&draft());
    bench.turn(ask("which of the two customers?"));
    let deadline = bench.task.view().deadline;
    bench.pass(Span::from_secs(3_600));
    assert_eq!(bench.state(), TaskState::AwaitingHuman, "an hour is longer than its deadline");
    bench.human(1, HumanAnswer::Approve).expect("open");
    let next = bench.next();
    assert_eq!((next.agent, next.notes), (name("planner"), vec!["ada says: go on: fine".to_owned()]));
    assert_eq!(bench.task.view().deadline, deadline.plus(Span::from_secs(3_600)));
    check("2.2", Readiness::Weak, "set gate.min_confidence", as_it_is);
    check("2.2", Readiness::Enforced, "a guess below confidence 0.7 goes back", |draft| {
        draft.gate.min_confidence = 0.7;
    });
    check("2.2", Readiness::Absent, "nobody can be asked", |draft| {
        draft.escalation.max_escalations = Some(0)
    });
}

#[test]
fn mode_2_3_a_validator_sees_goal_and_result_and_drift_is_a_reason_of_the_gate() {
    let mut bench = Bench::new(&with(judged));
    bench.turn(success(r#"{"recipe":"pancakes"}"#, 10));
    let asked = bench.judge(verdict(&["it is off the goal: a report was asked for"], 10));
    assert_eq!((asked.kind, asked.goal.as_str()), (TurnKind::Validate, "write a report"));
    assert_eq!(asked.candidate.and_then(|c| c.result), Some(json(r#"{"recipe":"pancakes"}"#)));
    assert!(asked.criteria[0].contains("answers the goal"), "{:?}", asked.criteria);
    let refused = bench.records.iter().any(|record| {
        matches!(&record.event, Event::GateJudged { passed: false, findings, validate_turn: Some(2), .. }
            if findings[0].contains("off the goal"))
    });
    assert!(refused, "{:?}", bench.story());
    check("2.3", Readiness::Absent, "name gate.validator", as_it_is);
    check("2.3", Readiness::Enforced, "judge sees goal and result", judged);
}

#[test]
fn mode_2_4_what_an_agent_must_say_and_must_be_told_is_checked_before_it_reaches_another() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("find", "alpha", &[]), step("write", "beta", &["find"])]));
    let withheld = vec!["by the output_schema of alpha: \"sources\" is a required property".to_owned()];
    answer_with(&mut bench, success("{}", 10), Findings { output: withheld, ..Findings::default() });
    let again = bench.next();
    assert_eq!(again.agent, name("alpha"), "nobody is given what is not whole");
    assert!(again.notes[0].contains("\"sources\" is a required property"), "{:?}", again.notes);
    bench.answer(again.lease, success(r#"{"sources":[1]}"#, 10));
    let inputs = vec!["hand-off to gamma: \"topic\" is a required property".to_owned()];
    answer_with(&mut bench, hand_off("gamma"), Findings { inputs, ..Findings::default() });
    assert!(bench.next().notes[0].contains("\"topic\" is a required property"));

    let told = |declared: &[(&str, Declares)]| {
        let declared = declared.iter().map(|(agent, declares)| (name(agent), *declares)).collect();
        let facts = ServerFacts { declared, ..ServerFacts::default() };
        let hand_offs = vec![("planner".to_owned(), vec!["alpha".to_owned()])];
        let mode = told(&with(|draft| draft.allowed_hand_offs = hand_offs), &facts, "2.4");
        (mode.readiness, mode.advice)
    };
    let output = Declares { output_schema: true, input_schema: false };
    let both = Declares { output_schema: true, input_schema: true };
    assert_eq!(told(&[]).0, Readiness::Absent);
    let (readiness, advice) = told(&[("planner", output), ("alpha", output)]);
    assert_eq!(readiness, Readiness::Weak);
    assert!(advice.ends_with("declare at registration: input_schema of alpha"), "{advice}");
    assert_eq!(told(&[("planner", output), ("alpha", both)]).0, Readiness::Enforced);
}

#[test]
fn mode_2_5_a_dependency_that_an_answer_ignored_is_flagged() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("a", "alpha", &[]), step("b", "beta", &[])]));
    for _ in 0..2 {
        let lease = bench.assign(bench.ready()[0]).expect("ready").lease;
        bench.answer(lease, success("1", 10));
    }
    bench.turn(Envelope { inputs_used: vec!["a".to_owned()], ..success("{}", 10) });
    let flagged = InputsCheck { ignored: vec!["b".to_owned()], ..InputsCheck::default() };
    assert_eq!(bench.task.view().turns[3].inputs, Some(flagged));
    check("2.5", Readiness::Weak, "flagged in get, watch and the trace, but not refused", as_it_is);
    check("2.5", Readiness::Enforced, "judge sees the lineage", judged);
}

#[test]
fn mode_2_6_what_an_agent_did_is_kept_beside_what_it_says_and_another_judges_it() {
    let mut bench = Bench::new(&with(judged));
    let lease = bench.next().lease;
    say(&mut bench, lease, "I did not run the tests.");
    bench.answer(lease, success(r#"{"tests":"all have passed"}"#, 10));
    let did = bench.records.iter().any(|record| {
        matches!(&record.event, Event::Progressed { turn: 1, steps, .. } if steps[0].content.contains("did not run"))
    });
    assert!(did, "the journal has what it did, whatever it says");
    let asked = bench.judge(verdict(&["no step ran the tests"], 10));
    assert_eq!((asked.agent, asked.author), (name("judge"), Some(name("planner"))), "never the author");
    assert_eq!(bench.state(), TaskState::Running, "it goes back to its author");
    check("2.6", Readiness::Absent, "nobody looks", as_it_is);
    check("2.6", Readiness::Weak, "set gate.spot_check_rate", judged);
    check("2.6", Readiness::Enforced, "a person 10 % of results", |draft| {
        judged(draft);
        draft.gate.spot_check_rate = 0.1;
    });
}

#[test]
fn mode_3_1_nothing_ends_as_success_except_through_the_gate_or_a_person() {
    let mut bench = Bench::new(&draft());
    bench.turn(Envelope { result: None, ..success("null", 10) });
    assert_eq!(bench.state(), TaskState::Running, "a success without a result goes back");
    bench.turn(Envelope { status: Status::Partial, reason: "half".to_owned(), ..success("{}", 10) });
    let decide = bench.next();
    assert_eq!(decide.kind, TurnKind::Decide, "a part is for the owner");
    bench.decide(decide.lease, Decision::CompletePartial { result: None, reason: "enough".to_owned() });
    assert_eq!(bench.outcome(), "Partial by Owner for AgentFailed", "whose most is PARTIAL");
    check("3.1", Readiness::Weak, "say in result_schema", as_it_is);
    check("3.1", Readiness::Enforced, "the gate has result_schema", asks_for_fields);
}

#[test]
fn mode_3_2_a_contract_without_verification_is_refused_and_one_with_little_is_flagged() {
    let bare = with(|draft| draft.termination = None);
    let faults = intake::complete(&bare, &Ceilings::default(), &|_| true).expect_err("nothing verifies it");
    assert!(faults.iter().any(|fault| fault.field.starts_with("termination")), "{faults:?}");
    let mut bench = Bench::new(&with(judged));
    bench.turn(success("{}", 10));
    assert_eq!(bench.state(), TaskState::Running, "not before the validator has agreed");
    bench.judge(verdict(&[], 10));
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed");
    check("3.2", Readiness::Absent, "nothing verifies a result", as_it_is);
    check("3.2", Readiness::Weak, "only result_schema: add another look", asks_for_fields);
    check("3.2", Readiness::Enforced, "every result passes result_schema and the validator judge", |draft| {
        asks_for_fields(draft);
        judged(draft);
    });
}

#[test]
fn mode_3_3_a_person_sees_a_share_of_what_passed_and_wrong_verdicts_are_counted() {
    let mut draft = with(judged);
    draft.gate.spot_check_rate = 1.0;
    let mut bench = Bench::new(&draft);
    bench.turn(success("{}", 10));
    bench.judge(verdict(&[], 10));
    assert_eq!(bench.state(), TaskState::AwaitingHuman, "gate and validator have let it pass");
    bench.human(1, HumanAnswer::Abort).expect("open");
    assert_eq!(bench.outcome(), "Failed by Human for GateRejected");
    let overruled = |tally: &bailiwick::engine::tally::Tally| {
        tally.agent == name("judge") && tally.what == Tallied::Review { upheld: false }
    };
    assert!(bench.tallies.iter().any(overruled), "{:?}", bench.tallies);
    check("3.3", Readiness::Weak, "set gate.spot_check_rate", as_it_is);
    check("3.3", Readiness::Enforced, "a person sees 5 % of what passed", |draft| {
        draft.gate.spot_check_rate = 0.05;
    });
}

#[test]
fn every_mode_that_is_not_enforced_says_what_to_add() {
    let plain = modes(&contract(&draft()), &ServerFacts::default());
    let codes: Vec<_> = plain.iter().map(|mode| mode.code).collect();
    let expected =
        ["1.1", "1.2", "1.3", "1.4", "1.5", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "3.1", "3.2", "3.3"];
    assert_eq!(codes, expected);
    let verbs = ["add", "set", "name", "list", "switch", "declare", "say", "allow", "describe"];
    for mode in plain.iter().filter(|mode| mode.readiness != Readiness::Enforced) {
        let words: Vec<_> = mode.advice.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        assert!(words.iter().any(|word| verbs.contains(word)), "{mode:?}");
    }
    assert!(plain.iter().all(|mode| mode.advice.len() <= 160), "a line each: {plain:#?}");
}
