//! The gate, step by step: validators, agents' own schemas, inputs, spot checks.

#[path = "support/engine.rs"]
mod support;

use std::sync::Arc;

use bailiwick::{
    engine::{
        command::{Command, Findings, HumanAnswer, Rejection, Reply},
        event::{Event, GateCheck, InputsCheck, TurnKind},
        tally::{Tallied, Tally},
    },
    types::{
        contract::ContractDraft,
        envelope::{Answer, Decision, Envelope, Status},
        outcome::TaskState,
        time::Span,
    },
};
use support::{Bench, delegate, draft, failed, hand_off, json, plan, step, success, usage, verdict};

/// A draft whose results the judge must agree to.
fn judged() -> ContractDraft {
    let mut draft = draft();
    draft.gate.validator = "judge".to_owned();
    draft
}

fn bench(draft: &ContractDraft) -> Bench {
    Bench::new(draft)
}

/// What the gate said, in order: who, whether it passed, the first finding.
fn judgements(bench: &Bench) -> Vec<(GateCheck, bool, String)> {
    let judged = |event: &Event| match event {
        Event::GateJudged { passed, findings, check, .. } => {
            Some((*check, *passed, findings.first().cloned().unwrap_or_default()))
        }
        _ => None,
    };
    bench.records.iter().filter_map(|record| judged(&record.event)).collect()
}

fn answer_with(bench: &mut Bench, envelope: Envelope, findings: Findings) {
    let lease = bench.next().lease;
    let answer = Arc::new(Answer::Envelope(envelope));
    bench.send(Command::Complete { lease, answer, findings }).expect("accepted");
}

#[test]
fn a_validator_that_agrees_lets_the_result_succeed() {
    let mut bench = bench(&judged());
    bench.turn(success(r#"{"n":1}"#, 100));
    assert_eq!(bench.state(), TaskState::Running, "a validate turn is no decision of the owner");
    let asked = bench.judge(verdict(&[], 40));
    assert_eq!((asked.kind, asked.agent.as_str()), (TurnKind::Validate, "judge"));
    assert_eq!(asked.author.as_ref().map(ToString::to_string).as_deref(), Some("planner"));
    assert_eq!(asked.candidate.and_then(|c| c.result), Some(json(r#"{"n":1}"#)));
    assert!(asked.criteria.iter().any(|c| c.contains("goal")), "{:?}", asked.criteria);
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed");
    assert_eq!(judgements(&bench), [(GateCheck::Validator, true, String::new())]);
    let view = bench.task.view();
    assert_eq!((view.summary.counters.turns, view.turns.len()), (1, 2), "judging is not work");
    assert_eq!((view.turns[1].judges, view.turns[1].spent), (Some(1), 40));
    assert_eq!(view.summary.ledger.spent, 140);
    bench.check_replay();
}

#[test]
fn a_validator_that_disagrees_sends_its_reasons_back_to_the_author() {
    let mut bench = bench(&judged());
    bench.turn(success("{}", 100));
    bench.judge(verdict(&["the second source is missing", "it is too long"], 40));
    let revision = bench.turn(success(r#"{"again":1}"#, 100));
    assert_eq!(revision.agent.as_str(), "planner");
    assert_eq!(revision.notes.len(), 2, "{:?}", revision.notes);
    assert!(revision.notes[0].contains("judge disagrees (confidence 0.75): the second source is missing"));
    bench.judge(verdict(&[], 40));
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed");
    assert_eq!(bench.task.view().outcome.and_then(|o| o.result), Some(json(r#"{"again":1}"#)));
    bench.check_replay();
}

#[test]
fn a_disagreement_without_revisions_left_goes_to_a_person_with_the_findings() {
    let mut draft = judged();
    draft.gate.max_revisions = Some(0);
    let mut bench = bench(&draft);
    bench.turn(success("{}", 100));
    bench.judge(verdict(&["off the goal"], 40));
    assert_eq!(bench.state(), TaskState::AwaitingHuman);
    let question = bench.task.question_view(1).expect("asked");
    assert!(question.asked.findings[0].ends_with("off the goal"), "{:?}", question.asked.findings);
    bench.human(1, HumanAnswer::Approve).expect("open");
    assert_eq!(bench.outcome(), "Succeeded by Human for Completed");
    bench.check_replay();
}

#[test]
fn without_a_person_a_disagreement_is_the_owners() {
    let mut draft = judged();
    draft.gate.max_revisions = Some(0);
    draft.escalation.max_escalations = Some(0);
    let mut bench = bench(&draft);
    bench.turn(success("{}", 100));
    bench.judge(verdict(&["off the goal"], 40));
    assert_eq!(bench.state(), TaskState::OwnerDecides);
    let decide = bench.next();
    bench.decide(decide.lease, Decision::CompletePartial { result: None, reason: "so be it".to_owned() });
    assert_eq!(bench.outcome(), "Partial by Owner for GateRejected");
    let findings = bench.task.view().outcome.expect("ended").findings;
    assert!(
        findings[0].contains("off the goal"),
        "a partial result carries what stands against it: {findings:?}"
    );
}

#[test]
fn only_a_verdict_answers_a_validate_turn_and_only_there() {
    let mut bench = bench(&judged());
    let work = bench.next();
    let send = |bench: &mut Bench, lease, answer| {
        bench.send(Command::Complete { lease, answer: Arc::new(answer), findings: Findings::default() })
    };
    assert_eq!(send(&mut bench, work.lease, verdict(&[], 1)), Err(Rejection::NotAValidateTurn));
    bench.answer(work.lease, success("{}", 10));
    let validate = bench.next();
    let decision = Answer::Decision { decision: Decision::Abort("mine".to_owned()), usage: None };
    assert_eq!(send(&mut bench, validate.lease, decision), Err(Rejection::NotADecideTurn));
    assert_eq!(send(&mut bench, validate.lease, verdict(&[], 1)), Ok(Reply::Completed { repeated: false }));
    assert_eq!(send(&mut bench, validate.lease, verdict(&[], 1)), Ok(Reply::Completed { repeated: true }));
    assert_eq!(send(&mut bench, validate.lease, verdict(&["no"], 1)), Err(Rejection::AlreadyAnswered));
}

#[test]
fn a_validator_out_of_role_leaves_the_result_to_a_person() {
    let mut bench = bench(&judged());
    bench.turn(success("{}", 100));
    let validate = bench.next();
    bench.answer(validate.lease, success(r#"{"mine":1}"#, 10));
    let question = bench.task.question_view(1).expect("asked");
    assert_eq!(question.asked.cause.map(|c| format!("{c:?}")).as_deref(), Some("Role"));
    assert_eq!(question.asked.candidate, Some(json("{}")), "the author's result, not the validator's");
    bench.human(1, HumanAnswer::Abort).expect("open");
    assert_eq!(bench.outcome(), "Failed by Human for Role");
    bench.check_replay();
}

#[test]
fn a_validator_that_is_away_leaves_the_result_to_a_person_and_then_to_the_owner() {
    for (questions, outcome) in [(1, "Failed by Human for NoWorker"), (0, "Partial by Owner for NoWorker")] {
        let mut draft = judged();
        draft.escalation.max_escalations = Some(questions);
        let mut bench = bench(&draft);
        bench.turn(success("{}", 100));
        bench.known.served = false;
        bench.known.since = bench.now;
        bench.pass(Span::from_secs(301));
        if questions == 1 {
            bench.human(1, HumanAnswer::Abort).expect("open");
        } else {
            let decide = bench.next();
            bench.decide(decide.lease, Decision::CompletePartial { result: None, reason: String::new() });
        }
        assert_eq!(bench.outcome(), outcome);
        bench.check_replay();
    }
}

#[test]
fn a_validator_whose_attempts_are_lost_is_tried_again_and_then_replaced_by_a_person() {
    let mut bench = bench(&judged());
    bench.turn(success("{}", 100));
    for _ in 0..2 {
        let validate = bench.next();
        bench.lose(validate.lease);
        bench.pass(Span::from_secs(2));
    }
    let validate = bench.next();
    bench.answer(validate.lease, Envelope { retryable: true, ..failed("outage", 5) });
    let question = bench.task.question_view(1).expect("asked");
    assert_eq!(question.asked.cause.map(|c| format!("{c:?}")).as_deref(), Some("AttemptsExhausted"));
    bench.human(1, HumanAnswer::Approve).expect("open");
    assert_eq!(bench.outcome(), "Succeeded by Human for Completed");
}

#[test]
fn nobody_judges_its_own_answer() {
    let mut bench = bench(&judged());
    bench.turn(hand_off("judge"));
    bench.turn(success("{}", 10));
    let question = bench.task.question_view(1).expect("a person is asked instead");
    assert!(
        question.asked.question.contains("would have to judge its own answer"),
        "{}",
        question.asked.question
    );
    assert!(bench.task.view().turns.iter().all(|t| t.kind == TurnKind::Work));
}

#[test]
fn what_spent_everything_is_judged_from_the_validators_half_of_the_reserve() {
    let mut draft = judged();
    let budget = draft.budget.as_mut().expect("a budget");
    (budget.max_tokens, budget.finalization_reserve_tokens) = (1_000, 400);
    (budget.max_tokens_per_turn, budget.min_tokens_per_turn) = (600, 100);
    draft.escalation.max_escalations = Some(0);
    draft.gate.max_revisions = Some(0);
    let mut bench = bench(&draft);
    bench.turn(success("{}", 590));
    let validate = bench.next();
    assert_eq!(validate.allowance, 200, "half of the reserve");
    // It cannot reach into the owner's half.
    let more = Command::RequestBudget { lease: validate.lease, tokens: 1, reason: String::new() };
    assert!(matches!(bench.send(more), Ok(Reply::Budget { granted: 0, .. })));
    let (lease, answer) = (validate.lease, Arc::new(verdict(&["no"], 200)));
    bench.send(Command::Complete { lease, answer, findings: Findings::default() }).expect("accepted");
    let decide = bench.next();
    assert_eq!((decide.kind, decide.allowance), (TurnKind::Decide, 200), "the owner's half is whole");
    bench.decide(decide.lease, Decision::Abort("no use".to_owned()));
    assert_eq!(bench.outcome(), "Failed by Owner for GateRejected");
    bench.check_replay();
}

#[test]
fn a_decide_turn_leaves_the_validators_half_alone() {
    let mut draft = judged();
    draft.limits.as_mut().expect("limits").max_hops = Some(0);
    let mut bench = bench(&draft);
    bench.turn(hand_off("alpha"));
    let decide = bench.next();
    let half = decide.allowance;
    let more = Command::RequestBudget { lease: decide.lease, tokens: 1, reason: String::new() };
    assert!(matches!(bench.send(more), Ok(Reply::Budget { granted: 0, .. })), "its half is {half}");
}

#[test]
fn overspending_cancels_and_the_deadline_find_a_validate_turn_like_any_other() {
    let mut over = bench(&judged());
    over.turn(success("{}", 100));
    let validate = over.next();
    let spent = usage(validate.allowance + 1);
    over.send(Command::Usage { lease: validate.lease, usage: spent, priced: true }).expect("recorded");
    assert_eq!(over.state(), TaskState::OwnerDecides);

    let mut cancelled = bench(&judged());
    cancelled.turn(success("{}", 100));
    cancelled.next();
    cancelled.send(Command::Cancel { reason: String::new() }).expect("never rejected");
    assert_eq!(cancelled.outcome(), "Cancelled by Client for Cancelled");
    assert_eq!(cancelled.task.view().outcome.and_then(|o| o.result), Some(json("{}")));

    let mut late = bench(&judged());
    // The deadline is 600 s, its reserve 60 s: work that came in time is judged within the first half of that.
    late.now = late.now.plus(Span::from_secs(539));
    late.turn(success("{}", 100));
    late.next();
    late.pass(Span::from_secs(29));
    assert_eq!(late.state(), TaskState::Running);
    late.pass(Span::from_secs(3));
    assert_eq!(late.state(), TaskState::OwnerDecides);
    late.check_replay();
}

#[test]
fn what_does_not_fit_the_agents_own_schema_comes_back_to_it() {
    let mut bench = bench(&draft());
    let output =
        || Findings { output: vec!["by the output_schema of planner: /n".to_owned()], ..Findings::default() };
    answer_with(&mut bench, success("{}", 10), output());
    let revision = bench.next();
    assert!(revision.notes[0].contains("output_schema of planner"), "{:?}", revision.notes);
    bench.answer(revision.lease, success("{}", 10));
    assert_eq!(
        judgements(&bench).into_iter().map(|j| (j.0, j.1)).collect::<Vec<_>>(),
        [(GateCheck::OutputSchema, false), (GateCheck::Rules, true)]
    );
    bench.check_replay();
}

#[test]
fn a_step_that_keeps_breaking_its_own_schema_fails() {
    let mut draft = draft();
    draft.gate.max_revisions = Some(1);
    let mut bench = bench(&draft);
    bench.turn(delegate(vec![step("a", "alpha", &[]), step("b", "beta", &["a"])]));
    let output = || Findings { output: vec!["no n".to_owned()], ..Findings::default() };
    answer_with(&mut bench, success("{}", 10), output());
    let revision = bench.task.outstanding().ready;
    assert_eq!(revision.len(), 1, "the step goes on with a revision");
    answer_with(&mut bench, success("{}", 10), output());
    let planner = bench.next();
    assert_eq!(planner.agent.as_str(), "planner");
    assert!(planner.notes[0].contains("does not fit its own output_schema"), "{:?}", planner.notes);
    assert_eq!(
        bench.story().iter().filter(|kind| **kind == "step_ended").count(),
        2,
        "one failed, one skipped"
    );
    bench.check_replay();
}

#[test]
fn a_directive_whose_input_does_not_fit_comes_back_with_the_reasons() {
    let mut bench = bench(&draft());
    let inputs = Findings { inputs: vec!["hand-off to alpha: /n".to_owned()], ..Findings::default() };
    answer_with(&mut bench, hand_off("alpha"), inputs);
    let correction = bench.next();
    assert_eq!(correction.agent.as_str(), "planner");
    assert!(correction.notes[0].contains("hand-off to alpha: /n"), "{:?}", correction.notes);
    assert_eq!(bench.task.view().summary.counters.hops, 0, "nothing was handed off");
    bench.check_replay();
}

#[test]
fn a_dependency_that_is_left_out_is_flagged_and_silence_is_not() {
    let said = |named: &[&str]| {
        let mut bench = bench(&draft());
        bench.turn(delegate(vec![step("a", "alpha", &[]), step("b", "beta", &[])]));
        for _ in 0..2 {
            let turn = bench.ready()[0];
            let lease = bench.assign(turn).expect("assigned").lease;
            bench.answer(lease, success("1", 10));
        }
        let inputs_used = named.iter().map(|id| (*id).to_owned()).collect();
        bench.turn(Envelope { inputs_used, ..success("{}", 10) });
        bench.check_replay();
        bench.task.view().turns[3].inputs.clone()
    };
    let list = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(said(&["a", "b", "turn-1"]), None, "everything was used");
    assert_eq!(said(&[]), Some(InputsCheck { not_said: true, ..InputsCheck::default() }));
    let check = said(&["a", "turn-9", "step-x", "turn-2"]);
    let unknown = list(&["step-x", "turn-2", "turn-9"]);
    assert_eq!(check, Some(InputsCheck { ignored: list(&["b"]), unknown, not_said: false }));
}

#[test]
fn a_spot_check_asks_a_person_and_its_expiry_does_not_approve() {
    let mut draft = judged();
    draft.gate.spot_check_rate = 1.0;
    let run = |draft: &ContractDraft| {
        let mut bench = Bench::new(draft);
        bench.turn(success("{}", 100));
        bench.judge(verdict(&[], 10));
        assert_eq!(bench.state(), TaskState::AwaitingHuman);
        bench
    };
    let mut approved = run(&draft);
    approved.human(1, HumanAnswer::Approve).expect("open");
    assert_eq!(approved.outcome(), "Succeeded by Human for Completed");
    let mut aborted = run(&draft);
    aborted.human(1, HumanAnswer::Abort).expect("open");
    assert_eq!(aborted.outcome(), "Failed by Human for GateRejected");
    let mut expired = run(&draft);
    expired.pass(Span::from_secs(86_401));
    assert_eq!(expired.outcome(), "Partial by Fallback for EscalationExpired");
    expired.check_replay();
}

#[test]
fn an_agent_cannot_use_up_the_question_that_a_spot_check_needs() {
    let mut draft = draft();
    draft.gate.spot_check_rate = 1.0;
    draft.escalation.max_escalations = Some(1);
    let mut bench = bench(&draft);
    let ask = bailiwick::types::envelope::Directive::AskHuman("may I?".to_owned());
    bench.turn(Envelope { directive: Some(ask), ..success("{}", 10) });
    let correction = bench.next();
    assert!(correction.notes[0].contains("which is the cap"), "{:?}", correction.notes);
    bench.answer(correction.lease, success("{}", 10));
    assert_eq!(bench.state(), TaskState::AwaitingHuman, "the spot check has its question");
}

#[test]
fn a_static_plans_result_is_judged_once() {
    let mut draft = judged();
    let mut fixed = plan(vec![step("a", "alpha", &[]), step("b", "beta", &["a"])]);
    fixed.result_step = "b".to_owned();
    (draft.first_agent, draft.plan) = (None, Some(fixed));
    let mut bench = bench(&draft);
    bench.turn(success("1", 10));
    bench.turn(success("{}", 10));
    let asked = bench.judge(verdict(&[], 10));
    assert_eq!(asked.author.map(|a| a.to_string()).as_deref(), Some("beta"));
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed");
    assert_eq!(bench.task.view().turns.iter().filter(|t| t.judges.is_some()).count(), 1);
    bench.check_replay();
}

#[test]
fn a_partial_answer_is_never_put_to_the_validator() {
    let mut bench = bench(&judged());
    let partial = Envelope { status: Status::Partial, reason: "half".to_owned(), ..success("{}", 10) };
    bench.turn(partial);
    assert_eq!(bench.state(), TaskState::OwnerDecides);
    assert!(bench.task.view().turns.iter().all(|t| t.kind != TurnKind::Validate));
}

/// What has been counted, in order, as words.
fn tallied(bench: &Bench) -> Vec<String> {
    let word = |tally: &Tally| match tally.what {
        Tallied::Result { judge, said, accepted } => {
            format!("{} {judge:?} {} {accepted}", tally.agent, said.get())
        }
        Tallied::Verdict { agreed } => format!("{} agreed {agreed}", tally.agent),
        Tallied::Review { upheld } => format!("{} upheld {upheld}", tally.agent),
    };
    bench.tallies.iter().map(word).collect()
}

#[test]
fn verdicts_of_the_gate_of_validators_and_of_people_are_counted_for_their_agents() {
    let mut draft = judged();
    draft.gate.max_revisions = Some(0);
    let mut overruled = bench(&draft);
    overruled.turn(success("{}", 100));
    overruled.judge(verdict(&["off the goal"], 40));
    overruled.human(1, HumanAnswer::Approve).expect("open");
    assert_eq!(
        tallied(&overruled),
        [
            "planner Gate 0.9 true",
            "planner Validator 0.9 false",
            "judge agreed false",
            "planner Human 0.9 true",
            "judge upheld false",
        ]
    );
    draft.gate.spot_check_rate = 1.0;
    let mut upheld = bench(&draft);
    upheld.turn(success("{}", 100));
    upheld.judge(verdict(&[], 40));
    upheld.human(1, HumanAnswer::Approve).expect("open");
    assert_eq!(tallied(&upheld)[2..], ["judge agreed true", "planner Human 0.9 true", "judge upheld true"]);
}

#[test]
fn a_low_confidence_or_none_says_nothing_about_the_result() {
    let mut draft = draft();
    draft.gate.min_confidence = 0.95;
    draft.gate.max_revisions = Some(3);
    let mut bench = bench(&draft);
    bench.turn(success("{}", 10));
    bench.turn(Envelope { confidence: None, ..success("{}", 10) });
    answer_with(&mut bench, success("{}", 10), vec!["/n: missing".to_owned()].into());
    assert_eq!(tallied(&bench), ["planner Gate 0.9 true", "planner Gate 0.9 false"]);
}

#[test]
fn a_question_that_expires_is_no_verdict_of_a_person() {
    let mut draft = draft();
    draft.gate.spot_check_rate = 1.0;
    let mut bench = bench(&draft);
    bench.turn(success("{}", 10));
    bench.pass(Span::from_secs(86_401));
    assert_eq!(tallied(&bench), ["planner Gate 0.9 true"]);
}
