//! The person at the end: what each answer does, who is told what who comes too late, and what an extension may and may not.

#[path = "support/engine.rs"]
mod support;

use std::sync::Arc;

use bailiwick::{
    engine::{
        command::{ClosedQuestion, Command, Findings, HumanAnswer, Rejection, Reply},
        event::{Escalated, EscalationEnd, Event, Record, TurnKind},
        intake::Violation,
        task::Task,
    },
    types::{
        contract::ContractDraft,
        envelope::{Answer, Confidence, Decision, Directive, Envelope, HandOff},
        extension::Extension,
        limits::{Ceilings, fixed},
        outcome::{Cause, TaskState},
        time::Span,
    },
};
use support::{Bench, delegate, draft, failed, hand_off, json, name, step, success, usage};

fn extend(by: Extension) -> HumanAnswer {
    HumanAnswer::Extend { by, ceilings: Box::default() }
}

fn amend(result: &str) -> HumanAnswer {
    HumanAnswer::Amend { result: json(result), findings: Vec::new() }
}

fn ask(question: &str) -> Envelope {
    Envelope { directive: Some(Directive::AskHuman(question.to_owned())), result: None, ..success("1", 10) }
}

/// A task whose gate has refused a result, with a question about it.
fn refused_by_the_gate() -> Bench {
    let mut draft = draft();
    draft.gate.min_confidence = 0.8;
    draft.gate.max_revisions = Some(0);
    let mut bench = Bench::new(&draft);
    bench.turn(Envelope { confidence: Confidence::new(0.5), ..success(r#"{"x":1}"#, 10) });
    assert_eq!(bench.state(), TaskState::AwaitingHuman);
    bench
}

/// A task whose owner asks a person after this trip.
fn escalated(draft: &ContractDraft, until: impl Fn(&mut Bench)) -> Bench {
    let mut bench = Bench::new(draft);
    until(&mut bench);
    let decide = bench.next();
    assert_eq!(decide.kind, TurnKind::Decide);
    bench.decide(decide.lease, Decision::Escalate("more room?".to_owned()));
    assert_eq!(bench.state(), TaskState::AwaitingHuman);
    bench
}

fn out_of_hops() -> Bench {
    let mut draft = draft();
    draft.limits.as_mut().expect("limits").max_hops = Some(1);
    escalated(&draft, |bench| {
        bench.turn(hand_off("alpha"));
        bench.turn(hand_off("beta"));
    })
}

fn out_of_tokens() -> Bench {
    escalated(&draft(), |bench| {
        bench.turn(Envelope { usage: Some(usage(150_000)), ..hand_off("alpha") });
    })
}

fn asked(bench: &Bench) -> Escalated {
    let asked = bench.records.iter().rev().find_map(|record| match &record.event {
        Event::Escalated(asked) => Some((**asked).clone()),
        _ => None,
    });
    asked.expect("a person was asked")
}

fn refusal(bench: &mut Bench, by: Extension) -> Vec<Violation> {
    let events = bench.records.len();
    let answer = bench.human(1, extend(by));
    let Err(Rejection::ExtensionRefused(faults)) = answer else { panic!("refused, not {answer:?}") };
    assert_eq!((bench.records.len(), bench.state()), (events, TaskState::AwaitingHuman), "it stays open");
    faults
}

#[track_caller]
fn check_refused(bench: &mut Bench, by: Extension, field: &str, says: &str) {
    let faults = refusal(bench, by);
    let found = faults.iter().any(|fault| fault.field == field && fault.description.contains(says));
    assert!(found, "{field} {says}: {faults:?}");
}

fn replan_to(agent: &str) -> Decision {
    Decision::ReplanTo(HandOff { agent: name(agent), input: None })
}

#[test]
fn an_amended_result_takes_the_candidates_place_and_both_are_kept() {
    let mut bench = refused_by_the_gate();
    bench.human(1, amend(r#"{"x":2}"#)).expect("it fits");
    assert_eq!(bench.outcome(), "Succeeded by Human for Completed");
    let outcome = bench.task.view().outcome.expect("it has ended");
    assert_eq!((outcome.result, outcome.findings), (Some(json(r#"{"x":2}"#)), Vec::new()));
    assert_eq!(outcome.reason, "ada amended the result: fine");
    let view = bench.task.question_view(1).expect("it was asked");
    assert_eq!((view.asked.candidate, view.result), (Some(json(r#"{"x":1}"#)), Some(json(r#"{"x":2}"#))));
    assert_eq!((view.by.as_str(), view.ended_at), ("ada", Some(bench.now)));
    bench.check_replay();
}

#[test]
fn an_amended_result_that_does_not_fit_is_refused_and_the_question_stays_open() {
    let mut bench = refused_by_the_gate();
    let events = bench.records.len();
    let findings = vec!["the result: 7 is no object".to_owned()];
    let answer = bench.human(1, HumanAnswer::Amend { result: json("7"), findings: findings.clone() });
    assert_eq!(answer, Err(Rejection::AmendmentRefused(findings)));
    assert_eq!((bench.records.len(), bench.state()), (events, TaskState::AwaitingHuman));
    bench.human(1, HumanAnswer::Approve).expect("still open");
}

#[test]
fn approval_overrides_the_gate_and_its_findings_stay_attached() {
    let mut bench = refused_by_the_gate();
    bench.human(1, HumanAnswer::Approve).expect("approved");
    let outcome = bench.task.view().outcome.expect("it has ended");
    assert!(outcome.findings[0].contains("below min_confidence"), "{:?}", outcome.findings);
}

#[test]
fn an_agents_own_question_can_be_answered_with_the_result_itself() {
    let mut bench = Bench::new(&draft());
    bench.turn(ask("which of the two?"));
    bench.human(1, amend(r#"{"mine":true}"#)).expect("it fits");
    assert_eq!(bench.outcome(), "Succeeded by Human for Completed");
    bench.check_replay();
}

#[test]
fn raised_hops_give_the_owner_a_decide_turn_with_the_room_and_the_note() {
    let mut bench = out_of_hops();
    bench.human(1, extend(Extension { hops: 2, ..Extension::default() })).expect("there is room");
    assert_eq!(bench.state(), TaskState::OwnerDecides);
    let decide = bench.next();
    assert_eq!(decide.notes, ["ada extended the task by 2 hops: fine"]);
    assert_eq!((decide.trips[0].cause, decide.hops_left), (Cause::Hops, 2));
    bench.decide(decide.lease, replan_to("alpha"));
    bench.turn(hand_off("beta"));
    bench.turn(hand_off("alpha"));
    assert_eq!(bench.task.summary().counters.hops, 3, "counters are never reset");
    bench.turn(hand_off("beta"));
    assert_eq!(bench.state(), TaskState::OwnerDecides, "and the raised cap is as hard as the first");
    bench.check_replay();
}

#[test]
fn added_tokens_refill_the_reserve_first() {
    let mut bench = out_of_tokens();
    let before = bench.task.summary().ledger;
    assert_eq!((before.granted, before.finalization_left), (100_000, 9_995));
    bench.human(1, extend(Extension { tokens: 20_000, ..Extension::default() })).expect("there is room");
    let after = bench.task.summary().ledger;
    assert_eq!((after.granted, after.finalization, after.finalization_left), (120_000, 10_005, 10_000));
    assert_eq!((after.spent, after.overrun), (before.spent, before.overrun), "nothing is forgotten");
    let decide = bench.next();
    assert_eq!(decide.allowance, 5_000);
    bench.decide(decide.lease, replan_to("alpha"));
    assert_eq!(bench.next().allowance, 19_995, "what the reserve left of the addition");
    bench.check_replay();
}

#[test]
fn tokens_that_only_refill_the_reserve_leave_the_owner_to_complete() {
    let mut bench = out_of_tokens();
    bench.human(1, extend(Extension { tokens: 5, ..Extension::default() })).expect("there is room");
    let decide = bench.next();
    bench.decide(decide.lease, replan_to("alpha"));
    let again = bench.next();
    assert!(again.notes[0].contains("0 tokens are left for a turn of alpha"), "{:?}", again.notes);
    assert_eq!(bench.task.summary().ledger.finalization, 10_005);
}

#[test]
fn added_time_is_added_to_what_pauses_have_moved_and_the_clock_goes_on() {
    let mut bench = escalated(&draft(), |bench| {
        bench.next();
        bench.pass(Span::from_secs(540));
    });
    let deadline = bench.task.view().deadline;
    bench.pass(Span::from_secs(3_600));
    assert_eq!(bench.state(), TaskState::AwaitingHuman);
    bench
        .human(1, extend(Extension { time: Span::from_secs(300), ..Extension::default() }))
        .expect("there is room");
    assert_eq!(bench.task.view().deadline, deadline.plus(Span::from_secs(3_900)));
    let decide = bench.next();
    bench.decide(decide.lease, replan_to("alpha"));
    let work = bench.next();
    assert_eq!(
        work.deadline,
        bench.now.plus(Span::from_secs(300)),
        "the reserve of time stays behind the work"
    );
    bench.pass(Span::from_secs(300));
    assert_eq!(bench.state(), TaskState::OwnerDecides, "and the new deadline is as hard as the first");
    assert_eq!(bench.next().trips[0].cause, Cause::Deadline);
    bench.check_replay();
}

#[test]
fn a_task_without_time_to_decide_is_extended_by_time_or_not_at_all() {
    let mut bench = escalated(&draft(), |bench| {
        bench.next();
        bench.pass(Span::from_secs(540));
        bench.pass(Span::from_secs(30));
    });
    let tokens = Extension { tokens: 5_000, ..Extension::default() };
    check_refused(&mut bench, tokens.clone(), "extend.time", "30s would be left");
    check_refused(&mut bench, tokens.clone(), "extend.time", "add 30s or more");
    bench.human(1, extend(Extension { time: Span::from_secs(30), ..tokens })).expect("now there is");
    assert_eq!(bench.state(), TaskState::OwnerDecides);
}

#[test]
fn a_reserve_that_is_used_up_must_be_refilled() {
    let mut draft = draft();
    draft.budget.as_mut().expect("budget").finalization_reserve_tokens = 400;
    let mut bench = Bench::new(&draft);
    bench.turn(failed("no", 10));
    let escalate = |bench: &mut Bench| {
        let decide = bench.next();
        let decision = Decision::Escalate("more?".to_owned());
        let answer = Arc::new(Answer::Decision { decision, usage: Some(usage(decide.allowance)) });
        let complete = Command::Complete { lease: decide.lease, answer, findings: Findings::default() };
        bench.send(complete).expect("it is live");
    };
    let hops = Extension { hops: 1, ..Extension::default() };
    escalate(&mut bench);
    bench.human(1, extend(hops.clone())).expect("half of the reserve is left");
    escalate(&mut bench);
    assert_eq!(bench.task.summary().ledger.finalization_left, 0);
    let refused = bench.human(2, extend(hops.clone()));
    let Err(Rejection::ExtensionRefused(faults)) = refused else { panic!("refused, not {refused:?}") };
    assert_eq!(faults[0].field, "extend.tokens");
    bench.human(2, extend(Extension { tokens: 500, ..hops })).expect("refilled");
    let ledger = bench.task.summary().ledger;
    assert_eq!((ledger.finalization, ledger.finalization_left), (800, 400));
    assert_eq!(bench.next().allowance, 200);
    bench.check_replay();
}

#[test]
fn no_cap_passes_the_servers_ceiling_and_the_refusal_says_what_may_be_added() {
    let mut bench = out_of_hops();
    let most = Ceilings::default();
    let none = Extension::default;
    check_refused(&mut bench, none(), "extend", "adds nothing");
    check_refused(&mut bench, Extension { hops: 100, ..none() }, "extend.hops", "is 100, so add at most 99");
    check_refused(&mut bench, Extension { turns: 10_000, ..none() }, "extend.turns", "add at most 9950");
    check_refused(&mut bench, Extension { rounds: 1_000, ..none() }, "extend.rounds", "ceiling is 1000");
    check_refused(&mut bench, Extension { replans: u32::MAX, ..none() }, "extend.replans", "add at most 97");
    check_refused(&mut bench, Extension { revisions: 99, ..none() }, "extend.revisions", "add at most 18");
    let tokens = Extension { tokens: most.max_tokens, ..none() };
    check_refused(&mut bench, tokens, "extend.tokens", "add at most 99900000");
    let per_turn = Extension { tokens_per_turn: u64::MAX, ..none() };
    check_refused(&mut bench, per_turn, "extend.tokens_per_turn", "beside the reserve is 90000");
    let cost = Extension { cost_nano_usd: 1, ..none() };
    check_refused(&mut bench, cost, "extend.cost_nano_usd", "no limit on money");
    let by_agent = Extension { tokens_by_agent: [(name("alpha"), 5)].into(), ..none() };
    check_refused(&mut bench, by_agent, "extend.tokens_by_agent.alpha", "no cap of its own");
    let time = Extension { time: most.deadline, ..none() };
    check_refused(&mut bench, time, "extend.time", "the server's ceiling is 604800s");
    assert_eq!(refusal(&mut bench, Extension { hops: 100, turns: 10_000, ..none() }).len(), 2, "all at once");
}

#[test]
fn an_extension_never_outlasts_the_tasks_lifetime() {
    let mut draft = draft();
    draft.limits.as_mut().expect("limits").max_lifetime = Some(700_000_000);
    draft.limits.as_mut().expect("limits").max_hops = Some(0);
    let mut bench = escalated(&draft, |bench| {
        bench.turn(hand_off("alpha"));
    });
    let time = |secs| Extension { time: Span::from_secs(secs), ..Extension::default() };
    check_refused(&mut bench, time(101), "extend.time", "max_lifetime of 700s: add at most 100s");
    bench.human(1, extend(time(100))).expect("just so");
    bench.pass(Span::from_secs(700));
    assert!(bench.task.is_ended());
}

#[test]
fn an_owner_that_has_used_its_decisions_gets_one_more_with_the_extension_but_never_beyond_the_cap() {
    let mut draft = draft();
    draft.limits.as_mut().expect("limits").max_decides = 1;
    draft.limits.as_mut().expect("limits").max_hops = Some(0);
    draft.escalation.max_escalations = Some(20);
    let mut bench = escalated(&draft, |bench| {
        bench.turn(hand_off("alpha"));
    });
    for number in 1..10 {
        let more = Extension { hops: 1, tokens: 100, ..Extension::default() };
        bench.human(number, extend(more)).expect("there is room");
        assert_eq!(bench.task.contract().limits.max_decides, number + 1);
        let decide = bench.next();
        bench.decide(decide.lease, Decision::Escalate("and more?".to_owned()));
    }
    assert_eq!(bench.task.summary().counters.decides, fixed::MAX_DECIDES);
    let answer = bench.human(10, extend(Extension { hops: 1, ..Extension::default() }));
    let Err(Rejection::ExtensionRefused(faults)) = answer else { panic!("refused, not {answer:?}") };
    assert!(faults[0].description.contains("has decided 10 times"), "{faults:?}");
    bench.check_replay();
}

#[test]
fn a_result_that_the_gate_refused_goes_to_the_owner_when_a_person_extends() {
    let mut bench = refused_by_the_gate();
    bench.human(1, extend(Extension { revisions: 1, ..Extension::default() })).expect("there is room");
    let decide = bench.next();
    assert_eq!((decide.kind, decide.trips[0].cause), (TurnKind::Decide, Cause::GateRejected));
    bench.decide(decide.lease, replan_to("alpha"));
    bench.turn(Envelope { confidence: Confidence::new(0.5), ..success(r#"{"x":3}"#, 10) });
    let revision = bench.next();
    assert_eq!(revision.agent, name("alpha"), "the revision that was added");
    bench.answer(revision.lease, success(r#"{"x":4}"#, 10));
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed");
    bench.check_replay();
}

#[test]
fn an_agent_that_asked_by_itself_goes_on_with_the_note_under_raised_caps() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("a", "alpha", &[]), step("b", "beta", &[])]));
    let asks = bench.assign(2).expect("a");
    let runs = bench.assign(3).expect("b");
    bench.answer(asks.lease, ask("may I have more?"));
    let more = Extension { tokens: 5_000, ..Extension::default() };
    bench.human(1, extend(more)).expect("there is room");
    assert_eq!(bench.leases(), [runs.lease], "its sibling runs on");
    let next = bench.next();
    assert_eq!((next.agent, next.step), (name("alpha"), asks.step));
    assert!(next.notes[0].contains("extended the task by 5000 tokens: fine"), "{:?}", next.notes);
    assert_eq!(bench.task.summary().ledger.granted, 105_000);
    bench.check_replay();
}

#[test]
fn a_caps_of_a_turn_and_of_an_agent_can_be_raised_too() {
    let mut draft = draft();
    let budget = draft.budget.as_mut().expect("budget");
    budget.max_tokens_per_turn = 1_000;
    budget.max_tokens_by_agent.insert("alpha".to_owned(), 500);
    let mut bench = escalated(&draft, |bench| {
        bench.turn(failed("too little", 10));
    });
    let more = Extension {
        tokens_per_turn: 2_000,
        tokens_by_agent: [(name("alpha"), 2_000), (name("beta"), 0)].into(),
        ..Extension::default()
    };
    bench.human(1, extend(more)).expect("there is room");
    let decide = bench.next();
    bench.decide(decide.lease, replan_to("alpha"));
    assert_eq!(bench.next().allowance, 2_500, "its own cap, raised, is below what a turn may use now");
    bench.check_replay();
}

#[test]
fn the_first_answer_wins_and_the_second_is_told_who_when_and_how() {
    for (first, end) in [
        (HumanAnswer::Approve, EscalationEnd::Approved),
        (amend("{}"), EscalationEnd::Amended),
        (extend(Extension { tokens: 1_000, ..Extension::default() }), EscalationEnd::Extended),
        (HumanAnswer::Abort, EscalationEnd::Aborted),
    ] {
        let mut bench = refused_by_the_gate();
        bench.human(1, first).expect("the first");
        let events = bench.records.len();
        let closed = ClosedQuestion {
            end,
            by: "ada".to_owned(),
            note: "fine".to_owned(),
            at: bench.now,
            outcome: bench.task.view().outcome.map(|outcome| (outcome.state, outcome.cause)),
        };
        bench.now = bench.now.plus(Span::from_secs(1));
        for second in [HumanAnswer::Approve, HumanAnswer::Abort, amend("{}")] {
            let answer = bench.human(1, second);
            assert_eq!(answer, Err(Rejection::EscalationClosed(Box::new(closed.clone()))));
        }
        assert_eq!(bench.records.len(), events);
    }
}

#[test]
fn an_answer_to_an_expired_question_is_told_what_the_default_answer_did_and_nothing_is_lost() {
    let mut bench = refused_by_the_gate();
    bench.now = asked(&bench).expires_at;
    // No tick has come yet: the answer itself finds that the time is over.
    let reply = bench.human(1, HumanAnswer::Approve).expect("what was due is recorded");
    let Reply::Refused(Rejection::EscalationClosed(closed)) = reply else { panic!("{reply:?}") };
    assert_eq!(closed.end, EscalationEnd::Expired);
    assert_eq!(closed.outcome, Some((TaskState::Partial, Cause::EscalationExpired)));
    assert!(closed.to_string().contains("ended PARTIAL with its best result so far"), "{closed}");
    assert_eq!(bench.outcome(), "Partial by Fallback for EscalationExpired");
    assert_eq!(bench.task.view().outcome.and_then(|outcome| outcome.result), Some(json(r#"{"x":1}"#)));
    assert_eq!(bench.human(1, HumanAnswer::Abort), Err(Rejection::EscalationClosed(closed)));
    assert_eq!(bench.human(9, HumanAnswer::Abort), Err(Rejection::EscalationUnknown));
    bench.check_replay();
}

#[test]
fn a_question_tells_the_story_so_far_and_what_is_used_of_every_cap() {
    let bench = out_of_hops();
    let asked = asked(&bench);
    assert_eq!(
        asked.story,
        [
            "turn 1 planner answered SUCCESS, confidence 0.9, hands off to alpha [10 tokens]",
            "turn 2 alpha answered SUCCESS, confidence 0.9, hands off to beta [10 tokens]",
            "turn 3 owner decided to ask a person [5 tokens]",
            "guard tripped: HOPS: alpha wanted to hand off to beta on turn 2, and 1 of 1 hops are used",
            "spent 25 of 100000 tokens (alpha 10, owner 5, planner 10)",
        ]
    );
    let room = asked.room.expect("it says so");
    assert_eq!((room.hops.used, room.hops.cap, room.tokens.used, room.tokens.cap), (1, 1, 25, 100_000));
    assert_eq!(room.time_left, Span::from_secs(600));
}

#[test]
fn the_story_of_a_long_task_is_bounded() {
    let mut draft = draft();
    draft.limits.as_mut().expect("limits").max_hops = Some(40);
    let bench = escalated(&draft, |bench| {
        for hop in 0..=40 {
            let to = if hop % 2 == 0 { "alpha" } else { "beta" };
            let reason = "long\n".repeat(200);
            bench.turn(Envelope { reason, ..hand_off(to) });
        }
    });
    let story = asked(&bench).story;
    assert!(story.len() <= 24, "{}", story.len());
    assert!(story.iter().all(|line| line.chars().count() <= 240 && !line.contains('\n')), "{story:?}");
    assert!(story[2].contains("32 more turns"), "{story:?}");
}

#[test]
fn a_journal_from_before_extensions_still_replays() {
    let mut bench = refused_by_the_gate();
    bench.human(1, HumanAnswer::Approve).expect("approved");
    let old = bench.records.iter().map(|record| {
        let mut body = serde_json::to_value(&record.event).expect("encodes");
        for (kind, fields) in [("escalated", ["story", "room"]), ("escalation_ended", ["result", "added"])] {
            let event = body.get_mut(kind).and_then(serde_json::Value::as_object_mut);
            event.into_iter().for_each(|event| fields.iter().for_each(|field| drop(event.remove(*field))));
        }
        Record { event: serde_json::from_value(body).expect("decodes"), ..record.clone() }
    });
    let replayed = Task::replay(bench.task.id(), old).expect("it replays");
    assert_eq!(replayed.view(), bench.task.view());
}
