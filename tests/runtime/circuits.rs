//! Circuit breakers, bulkheads and namespaces, at work.

use bailiwick::{
    engine::event::Event,
    runtime::{BreakerState, BreakerTerms, Breaking, Bulkheads, RuntimeOptions, SubmitError, WaitReason},
    types::{
        contract::{Contract, ContractDraft, LimitsDraft},
        envelope::{Answer, Directive, Status},
        ids::{Lease, TaskId},
        name_limits::NameLimits,
        outcome::Cause,
        plan::{PlanDraft, StepDraft},
        time::Span,
    },
};

use crate::kit::{LEASE, START, Worker, World, complete, draft, envelope, options, success};

const OPEN: Span = Span::from_secs(5);

/// A failure that is worth another try.
fn retryable() -> Answer {
    let mut failed = envelope(Status::Failed, None);
    failed.retryable = true;
    Answer::Envelope(failed)
}

/// Fails attempts of agent "a" until its circuit opens; each of a task of its own.
async fn break_down(world: &World, worker: &mut Worker) {
    for _ in 0..5 {
        world.try_submit(once()).await.expect("accepted");
        worker.credit(1);
        let lease = worker.work().await.lease;
        assert_eq!(worker.complete(lease, retryable()).await, Ok(false));
    }
}

/// A contract whose turns are tried once.
fn once() -> Contract {
    let limits = draft().limits.map(|limits| LimitsDraft { max_attempts: 1, ..limits });
    complete(&ContractDraft { limits, ..draft() })
}

fn held_up(event: &Event) -> bool {
    matches!(event, Event::TurnHeldUp { .. })
}

#[tokio::test]
async fn a_circuit_opens_holds_turns_back_and_closes_after_good_probes() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 8).await;
    break_down(&world, &mut worker).await;
    let agent = &world.runtime.agents()[0];
    assert_eq!((agent.breaker.state, agent.breaker.openings), (BreakerState::Open, 1));
    assert_eq!(agent.breaker.until, Some(START.plus(OPEN)));
    assert_eq!(world.runtime.workers()[0].breaker.state, BreakerState::Open);

    worker.credit(8);
    let held = world.submit().await;
    let record = world.until(held, held_up).await;
    let Event::TurnHeldUp { reason, passed_to, .. } = record.event else { panic!("it is held up") };
    assert!(reason.starts_with("unavailable: circuit open since 2023-11-14T22:13:20"), "{reason}");
    assert!(reason.ends_with("5 of the last 5 attempts failed"), "{reason}");
    assert_eq!(passed_to, None);
    let other = world.submit().await;
    let waits = world.runtime.waits(&world.view(held).await);
    assert_eq!((waits[0].1.reason, waits[0].1.until), (WaitReason::AgentBreaker, Some(START.plus(OPEN))));

    world.clock.advance(OPEN);
    let probe = worker.work().await.lease;
    assert_eq!(probe.task, held);
    assert_eq!(world.runtime.agents()[0].breaker.state, BreakerState::HalfOpen);
    assert_eq!(world.runtime.agents()[0].waiting, 1, "one probe at a time");
    assert_eq!(worker.complete(probe, success()).await, Ok(false));
    let second = worker.work().await.lease;
    assert_eq!(second.task, other);
    assert_eq!(worker.complete(second, success()).await, Ok(false));
    assert_eq!(world.runtime.agents()[0].breaker.state, BreakerState::Closed);
    assert_eq!(world.runtime.workers()[0].breaker.state, BreakerState::Closed);
    assert_eq!(world.kinds(held).iter().filter(|kind| *kind == "turn_held_up").count(), 1);
}

#[tokio::test]
async fn answers_and_failures_of_an_agents_own_open_nothing() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 8).await;
    for _ in 0..12 {
        let task = world.submit().await;
        worker.credit(1);
        let lease = worker.work().await.lease;
        let own = Answer::Envelope(envelope(Status::Failed, None));
        assert_eq!(worker.complete(lease, own).await, Ok(false));
        // The owner's decision is called back by the client: that says nothing either.
        worker.credit(1);
        let decide = worker.work().await.lease;
        world.runtime.cancel(task, String::new()).await.expect("it is there");
        assert_eq!(worker.cancelled().await.0, decide);
    }
    assert_eq!(world.runtime.agents()[0].breaker.state, BreakerState::Closed);
    assert_eq!(world.runtime.agents()[0].breaker.failed, 0);
}

#[tokio::test]
async fn a_worker_that_dies_with_many_attempts_has_failed_once() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 8).await;
    worker.credit(8);
    let mut leases = Vec::new();
    for _ in 0..8 {
        world.submit().await;
        leases.push(worker.work().await.lease);
    }
    world.clock.advance(LEASE);
    world.until(leases[7].task, |event| matches!(event, Event::AttemptEnded { .. })).await;
    let breaker = world.runtime.agents()[0].breaker;
    assert_eq!((breaker.state, breaker.failed, breaker.results), (BreakerState::Closed, 1, 1));
}

#[tokio::test]
async fn a_worker_that_comes_back_keeps_its_breaker_and_a_server_that_does_forgets_it() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 8).await;
    break_down(&world, &mut worker).await;
    world.runtime.close_session(worker.session);
    let back = world.worker("w1", &["a"], 8).await;
    assert_eq!(world.runtime.workers()[0].breaker.state, BreakerState::Open);
    drop(back);
    let world = world.restart().await;
    // The seed of ids begins anew.
    world.clock.advance(Span::from_secs(1));
    let mut worker = world.worker("w1", &["a"], 8).await;
    assert_eq!(world.runtime.workers()[0].breaker.state, BreakerState::Closed);
    worker.credit(1);
    world.submit().await;
    worker.do_one().await;
}

#[tokio::test]
async fn an_operator_closes_a_breaker_by_hand() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 8).await;
    break_down(&world, &mut worker).await;
    worker.credit(8);
    world.submit().await;
    assert!(world.runtime.reset_worker(&"w1".parse().expect("a valid id")));
    assert!(world.runtime.reset_agent(&"a".parse().expect("a valid name")));
    assert!(!world.runtime.reset_agent(&"a".parse().expect("a valid name")));
    worker.do_one().await;
}

/// A plan of one step by "helper", with a fallback, delegated by "a".
fn plan(fallbacks: &[&str]) -> Answer {
    let step = StepDraft {
        id: "look".to_owned(),
        agent: "helper".to_owned(),
        fallback_agents: fallbacks.iter().map(|name| (*name).to_owned()).collect(),
        ..StepDraft::default()
    };
    let plan = PlanDraft { steps: vec![step], ..PlanDraft::default() };
    let mut answer = envelope(Status::Success, None);
    let plan = bailiwick::engine::intake::plan(&plan, "plan").expect("a good plan");
    answer.directive = Some(Directive::Delegate(plan));
    Answer::Envelope(answer)
}

/// Has "helper" fail until its circuit opens: five tasks whose planner delegates to it, and which end with its failure.
async fn break_helper(world: &World, planner: &mut Worker, helper: &mut Worker) {
    for _ in 0..5 {
        planner.credit(1);
        let task = world.try_submit(once()).await.expect("accepted").task;
        let lease = planner.work().await.lease;
        planner.complete(lease, plan(&[])).await.expect("accepted");
        helper.credit(1);
        let lease = helper.work().await.lease;
        helper.complete(lease, retryable()).await.expect("accepted");
        world.runtime.cancel(task, String::new()).await.expect("it is there");
    }
}

async fn delegate(world: &World, planner: &mut Worker, fallbacks: &[&str]) -> TaskId {
    planner.credit(2);
    let task = world.submit().await;
    let lease: Lease = planner.work().await.lease;
    planner.complete(lease, plan(fallbacks)).await.expect("accepted");
    task
}

#[tokio::test]
async fn a_fallback_takes_a_step_over_at_once_and_the_planner_hears_why() {
    let world = World::new().await;
    let mut planner = world.worker("p", &["a"], 8).await;
    let mut helper = world.worker("h", &["helper"], 8).await;
    let mut other = world.worker("o", &["other"], 8).await;
    break_helper(&world, &mut planner, &mut helper).await;
    helper.credit(8);
    other.credit(8);
    let task = delegate(&world, &mut planner, &["other"]).await;
    let work = other.work().await;
    assert!(work.notes[0].contains("unavailable: circuit open since"), "{:?}", work.notes);
    let record = world.until(task, held_up).await;
    assert!(
        matches!(record.event, Event::TurnHeldUp { passed_to: Some(agent), .. } if agent.as_str() == "other")
    );
    other.complete(work.lease, success()).await.expect("accepted");
    let back = planner.work().await;
    let told = back.notes.iter().find(|note| note.contains("circuit open")).expect("the planner hears of it");
    assert!(told.starts_with("step look waited for helper: unavailable"), "{told}");
}

#[tokio::test]
async fn without_a_fallback_the_step_waits_as_for_a_worker_and_its_planner_hears_why() {
    let terms = BreakerTerms {
        open_for: Span::from_secs(600),
        open_at_most: Span::from_secs(600),
        ..BreakerTerms::default()
    };
    let breaking = Breaking { agents: terms, workers: terms };
    let world = World::with(RuntimeOptions { breaking, ..options() }).await;
    let mut planner = world.worker("p", &["a"], 8).await;
    let mut helper = world.worker("h", &["helper"], 8).await;
    break_helper(&world, &mut planner, &mut helper).await;
    helper.credit(8);
    let task = delegate(&world, &mut planner, &[]).await;
    world.until(task, held_up).await;
    for _ in 0..30 {
        world.clock.advance(LEASE.part(3));
        planner.heartbeat();
        helper.heartbeat();
    }
    let closed = world.until(task, |event| matches!(event, Event::StepEnded { .. })).await;
    assert!(closed.at.since(START) >= Span::from_secs(300), "{closed:?}");
    let back = planner.work().await;
    assert!(back.notes[0].contains("step look failed: unavailable: circuit open since"), "{:?}", back.notes);
}

#[tokio::test]
async fn bulkheads_hold_and_what_is_full_says_so() {
    let bulkheads = Bulkheads { agents: NameLimits::default().with("a", 2), ..Bulkheads::default() };
    let world = World::with(RuntimeOptions { bulkheads, ..options() }).await;
    let mut worker = world.worker("w1", &["a"], 8).await;
    worker.credit(8);
    let (_, _, third) = (world.submit().await, world.submit().await, world.submit().await);
    let first = worker.work().await.lease;
    worker.work().await;
    let info = &world.runtime.agents()[0];
    assert_eq!((info.leased, info.limit, info.waiting), (2, Some(2), 1));
    let waits = world.runtime.waits(&world.view(third).await);
    assert_eq!(waits[0].1.reason, WaitReason::AgentFull);
    worker.complete(first, success()).await.expect("accepted");
    assert_eq!(worker.work().await.lease.task, third);
}

#[tokio::test]
async fn a_namespace_has_its_own_bounds_and_is_found_by_its_name() {
    let world = World::with(RuntimeOptions {
        bulkheads: Bulkheads { namespaces: NameLimits::default().with("team", 1), ..Bulkheads::default() },
        max_open_by_namespace: NameLimits::default().with("team", 2),
        ..options()
    })
    .await;
    let mut worker = world.worker("w1", &["a"], 8).await;
    worker.credit(8);
    let of_team = || complete(&ContractDraft { namespace: "team".to_owned(), ..draft() });
    let first = world.try_submit(of_team()).await.expect("accepted").task;
    let second = world.try_submit(of_team()).await.expect("accepted").task;
    let refused = world.try_submit(of_team()).await;
    assert!(matches!(refused, Err(SubmitError::NamespaceFull { limit: 2, .. })), "{refused:?}");
    let other = world.submit().await;
    let got = [worker.work().await.lease, worker.work().await.lease];
    assert_eq!(got.map(|lease| lease.task), [first, other], "the second waits, and is passed by");
    let namespaces = world.runtime.namespaces();
    let team = namespaces.iter().find(|info| info.name.as_str() == "team").expect("it is there");
    assert_eq!((team.running, team.limit, team.open, team.open_limit), (1, Some(1), 2, Some(2)));

    // All of it holds after a restart.
    let world = world.restart().await;
    let refused = world.try_submit(of_team()).await;
    assert!(matches!(refused, Err(SubmitError::NamespaceFull { .. })), "{refused:?}");
    let waits = world.runtime.waits(&world.view(second).await);
    assert_eq!(waits[0].1.reason, WaitReason::NoWorker);
    let mut worker = world.worker_with("w1", &["a"], 8, got.to_vec()).await;
    worker.credit(8);
    let waits = world.runtime.waits(&world.view(second).await);
    assert_eq!(waits[0].1.reason, WaitReason::NamespaceFull);
    worker.complete(got[0], success()).await.expect("accepted");
    assert_eq!(worker.work().await.lease.task, second);
    for (name, expected) in [("team", vec![second, first]), ("default", vec![other])] {
        let filter = bailiwick::runtime::TaskFilter { namespace: name.parse().ok(), ..Default::default() };
        let found = world.runtime.list(filter, None, 10).await.expect("the store reads");
        let mut found: Vec<TaskId> = found.into_iter().map(|summary| summary.task).collect();
        let mut expected = expected;
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{name}");
    }
}

#[tokio::test]
async fn an_attempt_that_hangs_until_the_deadline_has_timed_out() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let limits = LimitsDraft { deadline: Some(60_000_000), ..LimitsDraft::default() };
    let short = complete(&ContractDraft { limits: Some(limits), ..draft() });
    let task = world.try_submit(short).await.expect("accepted").task;
    worker.work().await;
    for _ in 0..6 {
        world.clock.advance(Span::from_secs(10));
        worker.heartbeat();
    }
    let (_, cause) = worker.cancelled().await;
    assert_eq!(cause, Some(Cause::Deadline));
    assert_eq!(world.runtime.agents()[0].breaker.failed, 1);
    world.runtime.cancel(task, String::new()).await.expect("it is there");
}
