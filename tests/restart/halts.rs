//! A halt that was acknowledged holds after `kill -9`, and so does its end.

use bailiwick::pb::{
    Cause, HaltRequest, HaltSelector, ListHaltsRequest, ResumeRequest, TaskState, halt_selector::Scope,
    resume_request::What,
};
use tonic::Code;

use crate::hand::{World, contract, success};

async fn halt(world: &World, cancel: bool) -> bailiwick::pb::Halt {
    let request = HaltRequest {
        selector: Some(HaltSelector { scope: Some(Scope::All(true)) }),
        halted_by: "ann".to_owned(),
        reason: "the bill".to_owned(),
        cancel,
    };
    let answer = world.operator().halt(request).await.expect("it is halted").into_inner();
    answer.halt.expect("it is sent")
}

async fn resume(world: &World) {
    let what = Some(What::Everything(true));
    let request = ResumeRequest { what, resumed_by: "bo".to_owned(), reason: String::new() };
    world.operator().resume(request).await.expect("it is lifted");
}

#[tokio::test]
async fn a_halt_holds_after_a_kill_and_its_end_too() {
    let mut world = World::new().await;
    let (hand, _) = world.hand("w", &["solo", "boss"], &[]).await;
    drop(hand);
    let waits = world.submit(contract("solo")).await;
    halt(&world, false).await;
    world.kill().await;
    world.start().await;
    let refused = world.try_submit(contract("solo")).await.expect_err("it is halted");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(world.task(&waits).await.halts[0].halted_by, "ann");
    resume(&world).await;
    world.kill().await;
    world.start().await;
    let (mut hand, _) = world.hand("w", &["solo", "boss"], &[]).await;
    let work = hand.next().await;
    assert_eq!(work.task_id, waits);
    hand.answer(&work.lease, success(10)).await.expect("acknowledged");
    let request = ListHaltsRequest { lifted: true, ..ListHaltsRequest::default() };
    let kept = world.operator().list_halts(request).await.expect("listed").into_inner().halts;
    assert_eq!((kept.len(), kept[0].resumed_by.as_str()), (1, "bo"));
}

#[tokio::test]
async fn what_a_halt_has_ended_stays_ended_after_a_kill() {
    let mut world = World::new().await;
    let (mut hand, _) = world.hand("w", &["solo", "boss"], &[]).await;
    let id = world.submit(contract("solo")).await;
    let work = hand.next().await;
    let said = halt(&world, true).await;
    assert_eq!((said.tasks_ended, said.sweeping), (1, false));
    world.kill().await;
    world.start().await;
    let outcome = world.task(&id).await.outcome.expect("it has ended");
    assert_eq!((outcome.state(), outcome.cause()), (TaskState::Cancelled, Cause::Halted));
    assert!(hand.answer(&work.lease, success(10)).await.is_err(), "its lease is gone");
}
