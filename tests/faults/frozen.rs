//! Processes that stand still for longer than a lease and come back as if nothing had been.

use std::time::Duration;

use bailiwick::pb::{TaskState, task_event::Event};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    crew::Process,
    hand::{World, contract, soon, state_of, success},
};

/// Longer than the lease time of the servers here, which is 2 s.
const STILL: Duration = Duration::from_millis(3_500);

fn signal(process: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(process).expect("a process id")).expect("not zero");
    kill_process(pid, signal).expect("it runs");
}

#[tokio::test]
async fn a_worker_that_stood_still_has_lost_its_lease_and_its_answer_counts_for_nothing() {
    let world = World::new().await;
    let mut sleeper = Process::start(&world.server().uri(), "sleeper", "slow").await;
    let task = world.submit_when_known(contract("solo")).await;
    let started = |events: &[bailiwick::pb::TaskEvent]| {
        events.iter().filter(|event| matches!(event.event, Some(Event::AttemptStarted(_)))).count()
    };
    soon("the first attempt", async {
        while started(&world.events(&task, 0, 3).await) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    signal(sleeper.id(), Signal::STOP);
    // Real time, on purpose: a real process stands still while its lease runs out.
    tokio::time::sleep(STILL).await;
    let (mut hand, _) = world.hand("awake", &["solo", "boss"], &[]).await;
    let second = hand.next().await;
    assert_eq!((second.task_id.as_str(), second.attempt), (task.as_str(), 2));
    signal(sleeper.id(), Signal::CONT);
    // The first worker answers now, or is told to stop: the second one's answer is the only one that counts.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(world.state(&task).await, TaskState::Running, "a stale answer ends nothing");
    hand.answer(&second.lease, success(7)).await.expect("the live lease is answered");
    let ended = world.ended(&task).await;
    assert_eq!(state_of(&ended), TaskState::Succeeded);
    let events = world.events(&task, 0, usize::MAX).await;
    let answers = events.iter().filter(|event| matches!(event.event, Some(Event::TurnAnswered(_)))).count();
    assert_eq!(answers, 1, "{events:?}");
    sleeper.kill().await;
}

#[tokio::test]
async fn a_server_that_stood_still_takes_nobodys_lease_for_that() {
    let world = World::new().await;
    let mut worker = Process::start(&world.server().uri(), "steady", "slow").await;
    let tasks =
        [world.submit_when_known(contract("solo")).await, world.submit_when_known(contract("solo")).await];
    for task in &tasks {
        world.events(task, 0, 3).await;
    }
    signal(world.server().id(), Signal::STOP);
    tokio::time::sleep(STILL).await;
    signal(world.server().id(), Signal::CONT);
    for task in &tasks {
        let ended = soon("the task to end", world.ended(task)).await;
        assert_eq!(state_of(&ended), TaskState::Succeeded);
        let events = world.events(task, 0, usize::MAX).await;
        let attempts =
            events.iter().filter(|event| matches!(event.event, Some(Event::AttemptStarted(_)))).count();
        assert_eq!(attempts, 1, "the worker was there all the time: {events:?}");
    }
    worker.kill().await;
}
