//! Dead letters: what each attempt died of, one successor each whatever breaks, and what was done with them.

use bailiwick::{
    engine::{
        command::Rejection,
        dead_letter::Redriven,
        event::{AttemptEnd, Event, TraceContext},
        view::{Settled, SettledAs},
    },
    runtime::{
        CommandError, Discard, HaltOrder, Lift, ReadError, RedriveOf, StoreError, Submitted,
        dead_letters::{DeadLetterFilter, DeadLetterStory},
    },
    types::{
        contract::{ContractDraft, LimitsDraft},
        halt::HaltScope,
        ids::TaskId,
        outcome::{Cause, TaskState},
        time::Span,
    },
};

use crate::kit::{BACKOFF, LEASE, World, complete, contract, draft, in_time, success};

const WAIT: Span = Span::from_secs(5);

/// A contract whose agents are waited for only so long.
fn impatient() -> ContractDraft {
    let limits =
        draft().limits.map(|limits| LimitsDraft { worker_wait: i64::try_from(WAIT.0).ok(), ..limits });
    ContractDraft { limits, ..draft() }
}

/// A task that died because nobody serves its agent.
async fn dead(world: &World) -> TaskId {
    let task = world.try_submit(complete(&impatient())).await.expect("accepted").task;
    die(world, task).await;
    task
}

async fn die(world: &World, task: TaskId) {
    world.clock.advance(WAIT);
    world.until(task, |event| matches!(event, Event::Ended { .. })).await;
    assert_eq!(world.view(task).await.summary.state, TaskState::DeadLettered);
}

fn terms(task: TaskId, asked: u128) -> RedriveOf {
    RedriveOf {
        task,
        contract: contract(),
        fingerprint: 9,
        asked,
        changes: vec!["limits.max_hops: 12 -> 20".to_owned()],
        by: "ada".to_owned(),
        note: "the worker is back".to_owned(),
        trace: TraceContext::default(),
    }
}

async fn redrive(world: &World, task: TaskId, asked: u128) -> Result<Submitted, CommandError> {
    in_time(world.runtime.redrive(terms(task, asked))).await
}

async fn discard(world: &World, task: TaskId) -> Result<bool, CommandError> {
    let discard = Discard { by: "bob".to_owned(), note: "a test".to_owned() };
    in_time(world.runtime.discard(task, discard)).await
}

async fn listed(world: &World, settled: &[Option<SettledAs>]) -> Vec<DeadLetterStory> {
    let filter = DeadLetterFilter { settled: settled.to_vec(), ..DeadLetterFilter::default() };
    in_time(world.runtime.dead_letters(filter, None, 100)).await.expect("the store reads").letters
}

async fn open(world: &World) -> u64 {
    in_time(world.runtime.open_dead_letters()).await.expect("the store reads")
}

fn settled<T: std::fmt::Debug>(refused: Result<T, CommandError>) -> Settled {
    match refused {
        Err(CommandError::Rejected(Rejection::LetterSettled(letter))) => letter.what,
        other => panic!("expected that something was done with it before, got {other:?}"),
    }
}

/// A successor is new work; one that was made before the halt is found all the same.
#[tokio::test]
async fn what_is_halted_is_not_redriven() {
    let world = World::new().await;
    let (task, other) = (dead(&world).await, dead(&world).await);
    let made = redrive(&world, task, 1).await.expect("accepted");
    let order = HaltOrder {
        scope: HaltScope::All,
        by: "ann".to_owned(),
        reason: String::new(),
        cancel: false,
        burn: None,
    };
    in_time(world.runtime.halt(order)).await.expect("the memory writes");
    let refused = redrive(&world, other, 1).await;
    assert!(matches!(&refused, Err(CommandError::Halted(by)) if by.by == "ann"), "{refused:?}");
    assert_eq!(world.view(other).await.dead_letter.and_then(|letter| letter.settled), None);
    assert_eq!(redrive(&world, task, 1).await, Ok(Submitted { task: made.task, existing: true }));
    in_time(world.runtime.resume(&Lift::Everything, "bo".to_owned(), String::new())).await.expect("one halt");
    redrive(&world, other, 1).await.expect("nothing is halted");
}

#[tokio::test]
async fn a_redrive_is_a_new_task_linked_both_ways_and_the_same_again_is_the_same_one() {
    let world = World::new().await;
    let task = dead(&world).await;
    let before = world.view(task).await;
    assert_eq!(open(&world).await, 1);
    let made = redrive(&world, task, 1).await.expect("accepted");
    assert!(!made.existing && made.task != task);

    let after = world.view(task).await;
    assert_eq!((&after.outcome, &after.summary.ledger), (&before.outcome, &before.summary.ledger));
    assert_eq!(after.summary.ended_at, before.summary.ended_at);
    let letter = after.dead_letter.expect("it is a dead letter");
    let Some(Settled::Redriven(Redriven { successor, changes, by, .. })) = letter.settled else {
        panic!("{letter:?}")
    };
    assert_eq!((successor, changes.len(), by.as_str()), (made.task, 1, "ada"));
    let view = world.view(made.task).await;
    assert_eq!(view.redrives.expect("it redrives one").task, task);
    assert_eq!(view.summary.ledger.spent, 0, "books of its own");
    assert_eq!(open(&world).await, 0);

    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let work = worker.work().await;
    assert_eq!(work.lease.task, made.task);
    let notes = work.notes.join("\n");
    for part in [&task.to_string(), "the worker is back", "NoWorker"] {
        assert!(notes.contains(part), "{part} in {notes}");
    }
    worker.complete(work.lease, success()).await.expect("accepted");

    // A lost answer, an impatient person, another server: always the same one.
    let again = Ok(Submitted { existing: true, ..made });
    assert_eq!(redrive(&world, task, 1).await, again);
    let world = world.restart().await;
    assert_eq!(redrive(&world, task, 1).await, again);
    assert!(matches!(settled(redrive(&world, task, 2).await), Settled::Redriven(_)));
    assert!(matches!(settled(discard(&world, task).await), Settled::Redriven(_)));
    assert_eq!(world.kinds(task).last().map(String::as_str), Some("redriven"));
    assert_eq!(open(&world).await, 0);
}

#[tokio::test]
async fn both_are_in_one_commit_and_a_failed_one_leaves_neither() {
    let world = World::new().await;
    let task = dead(&world).await;
    let successor = task.of_redrive();
    world.store.fail_after(0);
    let failed = redrive(&world, task, 1).await;
    assert!(matches!(failed, Err(CommandError::Store(StoreError::Unavailable(_)))), "{failed:?}");
    let missing = in_time(world.runtime.get(successor)).await;
    assert_eq!(missing, Err(ReadError::NotFound { task: successor }));
    assert_eq!(world.view(task).await.dead_letter.expect("a dead letter").settled, None);
    assert_eq!(world.runtime.open_tasks(), 0, "its place is free again");

    let made = redrive(&world, task, 1).await.expect("accepted");
    assert_eq!(made, Submitted { task: successor, existing: false });
    let kept = world.store.kept();
    let both = |commit: &&Vec<bailiwick::store::record::Append>| {
        let has = |id| commit.iter().any(|append| append.task == id);
        has(task) && has(successor)
    };
    assert_eq!(kept.iter().filter(both).count(), 1);
    let of_successor = kept.iter().flatten().filter(|append| append.task == successor).count();
    assert_eq!(of_successor, 1, "nothing of it is anywhere else");
}

#[tokio::test]
async fn a_hundred_redrives_at_once_make_one_task() {
    let world = World::new().await;
    let task = dead(&world).await;
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let runtime = world.runtime.clone();
        racing.spawn(async move { runtime.redrive(terms(task, 1)).await });
    }
    let all = in_time(racing.join_all()).await;
    let made: Vec<_> = all.into_iter().map(|made| made.expect("accepted")).collect();
    assert_eq!(made.iter().filter(|made| !made.existing).count(), 1);
    assert!(made.iter().all(|each| each.task == task.of_redrive()));
    assert_eq!(world.kinds(task).iter().filter(|kind| *kind == "redriven").count(), 1);
    assert_eq!(world.runtime.open_tasks(), 1);
}

#[tokio::test]
async fn a_discard_is_recorded_once_and_stands() {
    let world = World::new().await;
    let (task, other) = (dead(&world).await, dead(&world).await);
    assert_eq!(open(&world).await, 2);
    assert_eq!(discard(&world, task).await, Ok(false));
    assert_eq!(discard(&world, task).await, Ok(true));
    let world = world.restart().await;
    assert_eq!(discard(&world, task).await, Ok(true));
    assert!(matches!(settled(redrive(&world, task, 1).await), Settled::Discarded(_)));
    assert_eq!(world.kinds(task).iter().filter(|kind| *kind == "discarded").count(), 1);
    assert_eq!(open(&world).await, 1);

    let ids = |letters: Vec<DeadLetterStory>| -> Vec<_> {
        letters.into_iter().map(|letter| letter.task.summary.task).collect()
    };
    assert_eq!(ids(listed(&world, &[None]).await), [other]);
    assert_eq!(ids(listed(&world, &[Some(SettledAs::Discarded)]).await), [task]);
    assert_eq!(ids(listed(&world, &[Some(SettledAs::Redriven)]).await), []);
    assert_eq!(ids(listed(&world, &[]).await).len(), 2);
}

#[tokio::test]
async fn only_a_dead_letter_is_redriven_and_no_child() {
    let world = World::new().await;
    let running = world.submit().await;
    let refused = |what: Result<Submitted, CommandError>| match what {
        Err(CommandError::Rejected(rejection)) => rejection,
        other => panic!("expected a refusal, got {other:?}"),
    };
    let rejection = refused(redrive(&world, running, 1).await);
    assert_eq!(rejection, Rejection::NotADeadLetter(TaskState::Queued));
    let nobody = TaskId::from_key("nobody", 1);
    assert_eq!(redrive(&world, nobody, 1).await, Err(CommandError::NotFound { task: nobody }));

    // A child that dies is its parent's affair.
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let work = worker.work().await;
    let limits = impatient().limits.map(|limits| LimitsDraft { deadline: None, ..limits });
    let child = ContractDraft { limits, budget: None, first_agent: Some("b".to_owned()), ..draft() };
    let child = in_time(world.runtime.submit_child(work.lease, child, 5)).await;
    assert!(child.is_err(), "an agent that nobody knows: {child:?}");
    let idle = world.worker("w2", &["b"], 1).await;
    let limits = impatient().limits.map(|limits| LimitsDraft { deadline: None, ..limits });
    let child = ContractDraft { limits, budget: None, first_agent: Some("b".to_owned()), ..draft() };
    let child = in_time(world.runtime.submit_child(work.lease, child, 5)).await.expect("accepted").task;
    world.runtime.close_session(idle.session);
    die(&world, child).await;
    assert_eq!(refused(redrive(&world, child, 1).await), Rejection::RedriveOfChild { parent: running });
    assert_eq!(discard(&world, child).await, Ok(false));
}

#[tokio::test]
async fn the_story_says_what_each_attempt_died_of() {
    let world = World::new().await;
    let limits = draft().limits.map(|limits| LimitsDraft { max_attempts: 2, ..limits });
    let task = world.try_submit(complete(&ContractDraft { limits, ..draft() })).await.expect("accepted").task;
    for id in ["w1", "w2"] {
        let mut worker = world.worker(id, &["a"], 1).await;
        worker.credit(1);
        let lease = worker.work().await.lease;
        in_time(world.runtime.usage(lease, crate::kit::usage(40), String::new())).await.expect("recorded");
        world.clock.advance(LEASE);
        let lapsed =
            |event: &Event| matches!(event, Event::AttemptEnded { attempt, .. } if *attempt == lease.attempt);
        world.until(task, lapsed).await;
        world.clock.advance(BACKOFF);
    }
    world.until(task, |event| matches!(event, Event::Ended { .. })).await;
    let letters = listed(&world, &[None]).await;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!(letter.task.summary.cause, Some(Cause::AttemptsExhausted));
    assert_eq!((letter.attempts.len(), letter.attempts_total), (2, 2));
    for (attempt, worker) in letter.attempts.iter().zip(["w1", "w2"]) {
        assert_eq!((attempt.turn, attempt.worker.as_str(), attempt.spent), (1, worker, 40));
        assert_eq!(attempt.end, Some(AttemptEnd::LeaseExpired));
        assert!(!attempt.answered && !attempt.reason.is_empty() && attempt.ended_at.is_some());
        assert!(attempt.allowance >= 40);
    }
    assert_eq!(in_time(world.runtime.dead_letter(task)).await, Ok(Some(letter.clone())));
    let none = in_time(world.runtime.dead_letter(TaskId::from_key("nobody", 1))).await;
    assert_eq!(none, Ok(None));
}

#[tokio::test]
async fn pages_meet_every_dead_letter_once_while_they_are_dealt_with() {
    let world = World::new().await;
    let mut all: Vec<TaskId> = Vec::new();
    for _ in 0..7 {
        all.push(world.try_submit(complete(&impatient())).await.expect("accepted").task);
        world.clock.advance(Span::from_millis(1));
    }
    for task in &all {
        die(&world, *task).await;
    }
    all.reverse();
    let filter = DeadLetterFilter { settled: vec![None], ..DeadLetterFilter::default() };
    let (mut met, mut after) = (Vec::new(), None);
    loop {
        let page = in_time(world.runtime.dead_letter_ids(filter.clone(), after, 3)).await;
        let (ids, next) = page.expect("the store reads");
        for task in &ids {
            redrive(&world, *task, 1).await.expect("accepted");
        }
        met.extend(ids);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(met, all);
    assert_eq!(listed(&world, &[None]).await, []);
}
