//! Tasks, questions, deadlines, keys, cursors, ledgers and the registry outlive the process.

use std::time::{Duration, UNIX_EPOCH};

use bailiwick::pb::{
    Answer, AnswerEscalationRequest, Cause, Escalation, EscalationPolicy, EscalationState, Gate, HandOff,
    Limits, ListEscalationsRequest, OwnerFallback, ReportUsageRequest, StatusEnvelope, TaskState,
    UsageReport, status_envelope::Directive, task_event::Event,
};
use tonic::Code;

use crate::hand::{World, contract, seconds, soon, success, usage};

fn state(task: &bailiwick::pb::Task) -> TaskState {
    task.summary.as_ref().map_or(TaskState::Unspecified, |summary| summary.state())
}

async fn questions(world: &World, state: EscalationState) -> Vec<Escalation> {
    let request = ListEscalationsRequest { states: vec![state.into()], ..ListEscalationsRequest::default() };
    world.operator().list_escalations(request).await.expect("a list").into_inner().escalations
}

#[tokio::test]
async fn a_deadline_that_passes_while_the_server_is_down_trips_at_the_start() {
    let mut world = World::new().await;
    world.hand("w", &["solo", "boss"], &[]).await;
    let mut short = contract("solo");
    short.limits = Some(Limits { deadline: seconds(1), ..Limits::default() });
    short.escalation = Some(EscalationPolicy {
        owner_fallback: OwnerFallback::Finish.into(),
        ..EscalationPolicy::default()
    });
    let id = world.submit(short).await;
    let deadline = world.task(&id).await.deadline.expect("a task has a deadline");
    world.kill().await;
    let deadline = Duration::new(
        u64::try_from(deadline.seconds).expect("after 1970"),
        u32::try_from(deadline.nanos).expect("nanoseconds"),
    );
    // The computer's clock must pass it: nothing can be awaited here.
    while let Some(left) = deadline.checked_sub(UNIX_EPOCH.elapsed().expect("the clock is past 1970")) {
        tokio::time::sleep(left + Duration::from_millis(1)).await;
    }
    world.start().await;
    let events = world.events(&id, 0, usize::MAX).await;
    let trips = events.iter().filter_map(|event| match &event.event {
        Some(Event::GuardsTripped(tripped)) => Some(&tripped.trips),
        _ => None,
    });
    assert!(trips.flatten().any(|trip| trip.cause() == Cause::Deadline), "{events:?}");
    let task = world.task(&id).await;
    assert_eq!(state(&task), TaskState::Failed, "{:?}", task.outcome);
}

#[tokio::test]
async fn a_question_stays_open_with_its_expiry_and_can_be_approved() {
    let mut world = World::new().await;
    let (mut hand, _) = world.hand("w", &["solo", "boss"], &[]).await;
    let mut strict = contract("solo");
    strict.gate = Some(Gate { min_confidence: 0.8, max_revisions: Some(0), ..Gate::default() });
    let id = world.submit(strict).await;
    let assignment = hand.next().await;
    let unsure = StatusEnvelope { confidence: Some(0.3), ..success(10) };
    hand.answer(&assignment.lease, unsure).await.expect("acknowledged");
    let asked = soon("a question", async {
        loop {
            let open = questions(&world, EscalationState::Open).await;
            if !open.is_empty() {
                return open;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    world.restart().await;
    assert_eq!(questions(&world, EscalationState::Open).await, asked, "the same question, the same expiry");
    assert!(asked[0].expires_at.is_some());
    assert_eq!(state(&world.task(&id).await), TaskState::AwaitingHuman);
    let request = AnswerEscalationRequest {
        escalation_id: asked[0].escalation_id.clone(),
        answer: Answer::Approve.into(),
        answered_by: "ada".to_owned(),
        ..AnswerEscalationRequest::default()
    };
    world.operator().answer_escalation(request).await.expect("it can be answered");
    assert_eq!(state(&world.ended(&id).await), TaskState::Succeeded);
    assert_eq!(questions(&world, EscalationState::Open).await, []);
}

#[tokio::test]
async fn a_turn_that_waited_for_a_worker_is_offered_again() {
    let mut world = World::new().await;
    world.hand("w", &["solo", "boss"], &[]).await;
    let id = world.submit(contract("solo")).await;
    world.restart().await;
    let (mut hand, _) = world.hand("w", &["solo", "boss"], &[]).await;
    let assignment = hand.next().await;
    assert_eq!((assignment.task_id.as_str(), assignment.turn, assignment.attempt), (id.as_str(), 1, 1));
    hand.answer(&assignment.lease, success(10)).await.expect("acknowledged");
    assert_eq!(state(&world.ended(&id).await), TaskState::Succeeded);
}

#[tokio::test]
async fn a_key_still_names_its_task_and_refuses_another_contract() {
    let mut world = World::new().await;
    world.hand("w", &["solo", "boss"], &[]).await;
    let mut keyed = contract("solo");
    keyed.idempotency_key = "order-7".to_owned();
    let id = world.submit(keyed.clone()).await;
    world.restart().await;
    let again = world.try_submit(keyed.clone()).await.expect("the same contract is welcome");
    assert_eq!((again.task_id, again.existing), (id, true));
    keyed.goal = "something else".to_owned();
    let refused = world.try_submit(keyed).await.expect_err("another contract is not");
    assert_eq!(refused.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn a_watch_goes_on_from_its_cursor_without_a_gap() {
    let mut world = World::new().await;
    let (mut hand, _) = world.hand("w", &["first", "last", "boss"], &[]).await;
    let id = world.submit(contract("first")).await;
    let assignment = hand.next().await;
    hand.answer(&assignment.lease, hand_off("last")).await.expect("acknowledged");
    // In the middle of a commit: the hand-off and the turn it opens are still to come.
    let before = world.events(&id, 0, 4).await;
    world.restart().await;
    let (mut hand, _) = world.hand("w", &["first", "last", "boss"], &[]).await;
    let assignment = hand.next().await;
    hand.answer(&assignment.lease, success(10)).await.expect("acknowledged");
    let after = world.events(&id, before.last().expect("events").seq, usize::MAX).await;
    let pieces = [before, after].concat();
    let numbers: Vec<i64> = pieces.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=i64::try_from(pieces.len()).expect("few")).collect::<Vec<_>>());
    assert!(matches!(pieces.last().and_then(|event| event.event.as_ref()), Some(Event::Ended(_))));
    assert_eq!(world.events(&id, 0, usize::MAX).await, pieces, "the journal is what was watched");
}

fn hand_off(to: &str) -> StatusEnvelope {
    let hand_off = HandOff { agent: to.to_owned(), input: None };
    StatusEnvelope { result: None, directive: Some(Directive::HandOff(hand_off)), ..success(30) }
}

#[tokio::test]
async fn the_ledger_and_every_turn_are_the_same_before_and_after() {
    let mut world = World::new().await;
    let (mut hand, _) = world.hand("w", &["first", "last", "boss"], &[]).await;
    let id = world.submit(contract("first")).await;
    let assignment = hand.next().await;
    hand.answer(&assignment.lease, hand_off("last")).await.expect("acknowledged");
    let running = hand.next().await;
    let report = UsageReport { lease: running.lease, usage: usage(17) };
    hand.client.report_usage(ReportUsageRequest { usage: Some(report) }).await.expect("acknowledged");
    let before = world.task(&id).await;
    let ledger = before.summary.as_ref().and_then(|summary| summary.ledger.as_ref()).expect("a ledger");
    assert!(
        ledger.spent_tokens >= 30 && ledger.reserved_tokens > 0,
        "there is something to keep: {ledger:?}"
    );
    world.restart().await;
    assert_eq!(world.task(&id).await, before);
}

#[tokio::test]
async fn an_agent_once_seen_stays_known_and_one_never_seen_is_refused() {
    let mut world = World::new().await;
    world.hand("w", &["solo", "boss"], &[]).await;
    world.restart().await;
    world.submit(contract("solo")).await;
    let refused = world.try_submit(contract("nobody")).await.expect_err("an agent never seen");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
}
