//! Halts: what stops, what goes on, what is kept over a restart, and what ends.

use std::sync::atomic::Ordering;

use bailiwick::{
    engine::event::Event,
    runtime::{CommandError, Down, HaltError, HaltOrder, Halted, Lift, SubmitError},
    store::Store,
    types::{
        contract::{Contract, ContractDraft},
        envelope::{Answer, Directive, Envelope, HandOff, Status},
        halt::HaltScope,
        ids::TaskId,
        outcome::{Cause, EndedBy, TaskState},
        time::Span,
    },
};

use crate::kit::{World, agent, complete, contract, draft, envelope, in_time, json, keyed, success};

fn label(value: &str) -> HaltScope {
    HaltScope::Label { key: "team".to_owned(), value: value.to_owned() }
}

fn order(scope: HaltScope, cancel: bool) -> HaltOrder {
    HaltOrder { scope, by: "ann".to_owned(), reason: "the bill".to_owned(), cancel, burn: None }
}

async fn halt(world: &World, scope: HaltScope, cancel: bool) -> Halted {
    in_time(world.runtime.halt(order(scope, cancel))).await.expect("the memory writes")
}

async fn resume(world: &World, what: Lift) {
    let lifted = in_time(world.runtime.resume(&what, "bo".to_owned(), String::new())).await;
    assert!(!lifted.expect("the memory writes").is_empty());
}

/// Waits until every task under the halt has ended.
async fn swept(mut halted: Halted, world: &World) -> u64 {
    in_time(async {
        while !halted.progress.now().swept {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(halted.progress.done());
    world.runtime.halt_now(&halted.halt.scope).expect("it is in force").ended
}

fn labelled(value: &str) -> Contract {
    let labels = [("team".to_owned(), value.to_owned())].into();
    complete(&ContractDraft { labels, ..draft() })
}

fn of(first: &str, owner: &str) -> Contract {
    complete(&ContractDraft { first_agent: Some(first.to_owned()), owner: owner.to_owned(), ..draft() })
}

fn nothing_comes(worker: &mut crate::kit::Worker) {
    let told = worker.down.try_recv();
    assert!(told.is_err(), "{told:?}");
}

async fn state(world: &World, task: TaskId) -> TaskState {
    world.view(task).await.summary.state
}

#[tokio::test]
async fn a_halt_of_everything_stops_intake_and_dispatch_and_what_runs_goes_on() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 4).await;
    worker.credit(4);
    let running = world.submit().await;
    let lease = worker.work().await.lease;
    let halted = halt(&world, HaltScope::All, false).await;
    assert_eq!((halted.told, halted.existing, halted.halt.number), (0, false, 1));

    let refused = world.try_submit(contract()).await;
    let Err(SubmitError::Halted(by)) = refused else { panic!("{refused:?}") };
    assert_eq!((by.by.as_str(), by.reason.as_str()), ("ann", "the bill"));
    assert_eq!(world.runtime.open_tasks(), 1, "what was refused holds no place");

    assert_eq!(worker.complete(lease, success()).await, Ok(false), "what runs may be answered");
    assert_eq!(state(&world, running).await, TaskState::Succeeded);
    nothing_comes(&mut worker);
    resume(&world, Lift::Everything).await;
    world.submit().await;
    worker.do_one().await;
}

#[tokio::test]
async fn a_key_that_was_accepted_before_the_halt_still_finds_its_task() {
    let world = World::new().await;
    let first = world.try_submit(keyed("k")).await.expect("accepted");
    halt(&world, HaltScope::All, false).await;
    let again = world.try_submit(keyed("k")).await.expect("it is there");
    assert_eq!((again.task, again.existing), (first.task, true));
    assert!(matches!(world.try_submit(keyed("other")).await, Err(SubmitError::Halted(_))));
}

#[tokio::test]
async fn a_turn_that_waits_is_assigned_when_the_halt_is_lifted_and_says_why_it_waits() {
    let world = World::new().await;
    let task = world.submit().await;
    halt(&world, HaltScope::All, false).await;
    let mut worker = world.worker("w1", &["a"], 4).await;
    worker.credit(1);
    nothing_comes(&mut worker);
    let why = world.runtime.halts_on(&world.view(task).await);
    assert_eq!(why.iter().map(|halt| halt.by.as_str()).collect::<Vec<_>>(), ["ann"]);
    resume(&world, Lift::Number(1)).await;
    assert_eq!(worker.work().await.lease.task, task);
    assert!(world.runtime.halts_on(&world.view(task).await).is_empty());
}

#[tokio::test]
async fn an_assignment_whose_commit_was_under_way_is_not_sent() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    world.store.shut();
    let runtime = world.runtime.clone();
    let submit = tokio::spawn(async move { runtime.submit(contract(), 1, Default::default()).await });
    while world.store.arrived() == 0 {
        tokio::task::yield_now().await;
    }
    halt(&world, HaltScope::All, false).await;
    world.store.open();
    let task = in_time(submit).await.expect("it runs").expect("accepted").task;
    world.until(task, |event| matches!(event, Event::AttemptEnded { .. })).await;
    nothing_comes(&mut worker);
    assert_eq!(world.view(task).await.summary.ledger.spent, 0, "nobody had it, so it costs nothing");
    resume(&world, Lift::Everything).await;
    world.clock.advance(Span::from_secs(5));
    assert_eq!(worker.work().await.lease.task, task, "the credit was not used up");
}

#[tokio::test]
async fn a_halted_agent_gets_nothing_and_contracts_that_need_it_are_refused() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a", "b"], 8).await;
    halt(&world, HaltScope::Agent(agent("b")), false).await;
    for contract in [of("b", "a"), of("a", "b")] {
        assert!(matches!(world.try_submit(contract).await, Err(SubmitError::Halted(_))));
    }
    let task = world.try_submit(of("a", "a")).await.expect("it can do without").task;
    worker.credit(2);
    let lease = worker.work().await.lease;
    let to_b = HandOff { agent: agent("b"), input: None };
    let directive = Some(Directive::HandOff(to_b));
    let handed =
        Envelope { directive, ..envelope(Status::Success, Some(json(serde_json::json!({"words": 1})))) };
    assert_eq!(worker.complete(lease, Answer::Envelope(handed)).await, Ok(false));
    nothing_comes(&mut worker);
    assert_eq!(world.runtime.halts_on(&world.view(task).await).len(), 1);
    resume(&world, Lift::Scope(HaltScope::Agent(agent("b")))).await;
    assert_eq!(worker.work().await.agent, agent("b"));
}

#[tokio::test]
async fn a_halted_label_keeps_its_tasks_back_and_nobody_elses() {
    let world = World::new().await;
    let waits = world.try_submit(labelled("search")).await.expect("accepted").task;
    halt(&world, label("search"), false).await;
    assert!(matches!(world.try_submit(labelled("search")).await, Err(SubmitError::Halted(_))));
    let other = world.try_submit(labelled("sales")).await.expect("accepted").task;
    let mut worker = world.worker("w1", &["a"], 8).await;
    worker.credit(8);
    assert_eq!(worker.work().await.lease.task, other);
    nothing_comes(&mut worker);
    assert_eq!(world.runtime.agents()[0].waiting, 1, "it still waits, as everybody can see");
    resume(&world, Lift::Everything).await;
    assert_eq!(worker.work().await.lease.task, waits);
}

#[tokio::test]
async fn a_halt_is_kept_over_a_restart_and_so_is_who_lifted_it() {
    let world = World::new().await;
    let task = world.submit().await;
    halt(&world, HaltScope::All, false).await;
    let world = world.restart().await;
    assert!(matches!(world.try_submit(keyed("new")).await, Err(SubmitError::Halted(_))));
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    nothing_comes(&mut worker);
    resume(&world, Lift::Everything).await;
    assert_eq!(worker.work().await.lease.task, task);
    let world = world.restart().await;
    assert!(world.runtime.halts().is_empty());
    let kept = world.runtime.all_halts().await.expect("the memory reads");
    let lifted = kept[0].lifted.as_ref().expect("it was lifted");
    assert_eq!((kept.len(), kept[0].by.as_str(), lifted.by.as_str()), (1, "ann", "bo"));
    assert_eq!(halt(&world, label("x"), false).await.halt.number, 2, "numbers go on");
}

#[tokio::test]
async fn a_halt_that_cannot_be_kept_stops_everything_all_the_same() {
    let world = World::new().await;
    world.store.fail_texts.store(true, Ordering::SeqCst);
    let refused = in_time(world.runtime.halt(order(HaltScope::All, false))).await;
    assert!(matches!(refused, Err(HaltError::NotKept { .. })), "{refused:?}");
    assert!(matches!(world.try_submit(contract()).await, Err(SubmitError::Halted(_))));
    let lifted = in_time(world.runtime.resume(&Lift::Everything, "bo".to_owned(), String::new())).await;
    assert!(matches!(lifted, Err(HaltError::Store(_))), "what is not kept is not lifted");
    assert!(matches!(world.try_submit(contract()).await, Err(SubmitError::Halted(_))));
    world.store.fail_texts.store(false, Ordering::SeqCst);
    assert!(halt(&world, HaltScope::All, false).await.existing);
    let world = world.restart().await;
    assert!(matches!(world.try_submit(contract()).await, Err(SubmitError::Halted(_))));
}

#[tokio::test]
async fn a_halt_with_a_cancel_tells_every_attempt_before_the_commit_and_ends_every_task() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 8).await;
    worker.credit(2);
    let running = [world.submit().await, world.submit().await];
    let mut leases = [worker.work().await.lease, worker.work().await.lease];
    let waiting = world.submit().await;
    world.store.shut();
    let runtime = world.runtime.clone();
    let halting = tokio::spawn(async move { runtime.halt(order(HaltScope::All, true)).await });
    let mut told = [worker.cancelled().await, worker.cancelled().await];
    leases.sort();
    told.sort();
    assert_eq!(told.map(|(lease, _)| lease), leases, "while no commit can be made");
    assert!(told.iter().all(|(_, cause)| *cause == Some(Cause::Halted)));
    world.store.open();
    let halted = in_time(halting).await.expect("it runs").expect("the memory writes");
    assert_eq!(halted.told, 2);
    assert_eq!(swept(halted, &world).await, 3);
    for task in running.into_iter().chain([waiting]) {
        let outcome = world.view(task).await.outcome.expect("it has ended");
        assert_eq!(
            (outcome.state, outcome.ended_by, outcome.cause),
            (TaskState::Cancelled, EndedBy::System, Cause::Halted)
        );
        assert_eq!(outcome.reason, "halted by ann (everything, halt 1): the bill");
        assert!(world.kinds(task).contains(&"halted".to_owned()));
    }
    nothing_comes(&mut worker);
    let late = worker.complete(leases[0], success()).await;
    assert!(matches!(late, Err(CommandError::Rejected(_))), "a cancel is a fence: {late:?}");
    assert_eq!(world.runtime.open_tasks(), 0);
}

#[tokio::test]
async fn a_label_is_ended_with_its_children_and_no_other_task() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 8).await;
    worker.credit(1);
    let parent = world.try_submit(labelled("search")).await.expect("accepted").task;
    let lease = worker.work().await.lease;
    let child = ContractDraft { budget: None, limits: None, ..draft() };
    let child = in_time(world.runtime.submit_child(lease, child, 1)).await.expect("accepted").task;
    let other = world.submit().await;

    // Without a cancel the child is kept back as its parent is.
    halt(&world, label("search"), false).await;
    worker.credit(2);
    assert_eq!(worker.work().await.lease.task, other);
    nothing_comes(&mut worker);
    let refused = ContractDraft { budget: None, limits: None, goal: "another".to_owned(), ..draft() };
    let refused = in_time(world.runtime.submit_child(lease, refused, 2)).await;
    assert!(matches!(refused, Err(CommandError::Halted(_))), "{refused:?}");

    let halted = halt(&world, label("search"), true).await;
    assert!(halted.existing);
    swept(halted, &world).await;
    assert_eq!(worker.cancelled().await.0, lease);
    for task in [parent, child] {
        world.until(task, |event| matches!(event, Event::Ended { .. })).await;
        assert_eq!(state(&world, task).await, TaskState::Cancelled);
    }
    assert_eq!(state(&world, other).await, TaskState::Running);
}

#[tokio::test]
async fn an_agent_is_ended_with_the_tasks_it_owns_or_works_on_now() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a", "b"], 8).await;
    worker.credit(3);
    let owned = world.try_submit(of("a", "b")).await.expect("accepted").task;
    let worked_on = world.try_submit(of("b", "a")).await.expect("accepted").task;
    let other = world.try_submit(of("a", "a")).await.expect("accepted").task;
    for _ in 0..3 {
        worker.work().await;
    }
    let halted = halt(&world, HaltScope::Agent(agent("b")), true).await;
    assert_eq!(halted.told, 2);
    assert_eq!(swept(halted, &world).await, 2);
    for task in [owned, worked_on] {
        assert_eq!(world.view(task).await.summary.cause, Some(Cause::Halted));
    }
    assert_eq!(state(&world, other).await, TaskState::Running);
}

#[tokio::test]
async fn a_restart_in_the_middle_of_a_cancel_goes_on_with_it() {
    let world = World::new().await;
    let mut tasks = Vec::new();
    for _ in 0..20 {
        tasks.push(world.submit().await);
    }
    // The note is durable, and no task can be ended any more before the server is gone.
    world.store.fail_every(1);
    let halted = halt(&world, HaltScope::All, true).await;
    assert!(!halted.progress.now().swept);
    drop(halted);
    let (store, clock) = (world.store.clone(), world.clock.clone());
    world.stop().await;
    store.fail_every(0);
    let (runtime, running) =
        crate::kit::start(&store, &clock, crate::kit::options()).await.expect("the store starts again");
    let cause = |task: &TaskId| store.summary(*task).expect("the memory reads").expect("it is there").cause;
    in_time(async {
        while !tasks.iter().all(|task| cause(task) == Some(Cause::Halted)) {
            clock.advance(Span::from_millis(200));
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(runtime.open_tasks(), 0);
    running.shutdown(std::time::Duration::from_secs(20)).await;
}

#[tokio::test]
async fn deadlines_go_on_while_a_task_is_halted() {
    let world = World::new().await;
    halt(&world, label("other"), false).await;
    let task = world.submit().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    halt(&world, HaltScope::All, false).await;
    worker.credit(1);
    let mut states = std::collections::BTreeSet::new();
    in_time(async {
        while !states.contains(&TaskState::AwaitingHuman) {
            world.clock.advance(Span::from_secs(9));
            worker.heartbeat();
            states.insert(state(&world, task).await);
        }
    })
    .await;
    // Its owner was asked, could not be reached, and so a person is asked: who may answer at any time.
    assert!(states.contains(&TaskState::OwnerDecides), "{states:?}");
    assert_eq!(world.view(task).await.tripped[0].trips[0].cause, Cause::Deadline);
    nothing_comes(&mut worker);
}

#[tokio::test]
async fn nothing_is_lifted_that_is_not_there_and_the_same_halt_twice_is_one() {
    let world = World::new().await;
    for what in [Lift::Everything, Lift::Number(7), Lift::Scope(HaltScope::All)] {
        let lifted = in_time(world.runtime.resume(&what, "bo".to_owned(), String::new())).await;
        assert_eq!(lifted, Err(HaltError::NothingToLift));
    }
    halt(&world, HaltScope::All, false).await;
    let again =
        in_time(world.runtime.halt(HaltOrder { by: "cy".to_owned(), ..order(HaltScope::All, false) })).await;
    let again = again.expect("the memory writes");
    assert_eq!((again.existing, again.halt.number, again.halt.by.as_str()), (true, 1, "ann"));
    resume(&world, Lift::Everything).await;
    assert!(world.try_submit(contract()).await.is_ok());
}

#[tokio::test]
async fn a_session_that_comes_back_under_a_halt_hears_that_its_lease_is_gone() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    world.submit().await;
    let lease = worker.work().await.lease;
    drop(worker);
    swept(halt(&world, HaltScope::All, true).await, &world).await;
    let mut back = world.worker_with("w1", &["a"], 1, vec![lease]).await;
    assert_eq!(back.opened.live, []);
    back.credit(1);
    assert!(!matches!(back.down.try_recv(), Ok(Down::Assignment(_))));
}
