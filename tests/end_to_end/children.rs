//! Children over real gRPC: submitted under a lease, paid by their parent, stopped with it, bounded over the whole tree.

use bailiwick::pb::{self, TaskState, task_event::Event};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{Session, Stage, check, contract, soon, success, why};

/// A child's contract: what it leaves open is its parent's.
fn child(agent: &str) -> pb::Contract {
    pb::Contract { budget: None, limits: None, ..contract(agent) }
}

fn named(name: &str, tokens: i64, hops: Option<i32>) -> pb::Contract {
    pb::Contract {
        idempotency_key: name.into(),
        budget: Some(pb::Budget { max_tokens: tokens, ..Default::default() }),
        limits: Some(pb::Limits { max_hops: hops, ..Default::default() }),
        ..child("solver")
    }
}

async fn submit(
    stage: &Stage,
    lease: &str,
    contract: pb::Contract,
) -> Result<pb::SubmitTaskResponse, Status> {
    let request = pb::SubmitTaskRequest { contract: Some(contract), parent_lease: lease.to_owned() };
    stage.tasks().submit_task(request).await.map(tonic::Response::into_inner)
}

/// A stage with one worker that has room, and the first assignment of a parent of a million tokens.
async fn parent() -> (Stage, Session, pb::Assignment) {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver", "checker"]).await;
    worker.credit(8).await;
    let budget = Some(pb::Budget { max_tokens: 1_000_000, ..Default::default() });
    stage.submit(pb::Contract { budget, ..contract("solver") }).await;
    let work = worker.assignment().await;
    (stage, worker, work)
}

/// Waits until the parent has heard of so many ends.
async fn heard(stage: &Stage, task_id: &str, ends: usize) -> pb::Task {
    soon("the parent to hear of its children", async {
        loop {
            let task = stage.task(task_id).await;
            if task.children.iter().filter(|child| !child.open && child.reserved_tokens == 0).count() == ends
            {
                return task;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_worker_submits_a_child_watches_it_and_its_parent_pays() {
    let (stage, mut worker, work) = parent().await;
    let task_id = submit(&stage, &work.lease, child("checker")).await.expect("accepted").task_id;
    let again = submit(&stage, &work.lease, child("checker")).await.expect("accepted");
    assert_eq!((again.task_id.as_str(), again.existing), (task_id.as_str(), true));

    let childs = worker.assignment().await;
    assert_eq!((childs.task_id.as_str(), childs.agent.as_str()), (task_id.as_str(), "checker"));
    worker.complete(&childs.lease, success("yes")).await;
    // As any client does.
    let outcome = stage.outcome(&task_id).await;
    assert_eq!(outcome.state, TaskState::Succeeded as i32);
    let parent = heard(&stage, &work.task_id, 1).await;
    worker.complete(&work.lease, success("42")).await;

    assert_eq!(parent.children[0].spent_tokens, 42);
    let own = stage.task(&task_id).await;
    let of = own.parent.expect("it is a child");
    assert_eq!((of.task_id.as_str(), of.turn, of.attempt, of.depth), (work.task_id.as_str(), 1, 1, 1));
    assert_ne!(own.trace_id, parent.trace_id, "one task is one trace; the two are linked");
    let summary = stage.task(&work.task_id).await.summary.expect("it is sent");
    let ledger = summary.ledger.expect("it is sent");
    assert_eq!((ledger.spent_tokens, ledger.children_tokens), (84, 42));
    assert_eq!(summary.counters.map(|counters| counters.children), Some(1));

    let events = stage.events(&work.task_id, 0).await;
    let kinds: Vec<_> = events
        .iter()
        .filter_map(|event| match event.event.as_ref() {
            Some(Event::ChildStarted(it)) => Some(("started", it.child_task_id.clone())),
            Some(Event::ChildEnded(it)) => Some(("ended", it.child_task_id.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, [("started", task_id.clone()), ("ended", task_id.clone())]);
    let filter = pb::ListTasksRequest { parent_task_id: work.task_id.clone(), ..Default::default() };
    let listed = stage.tasks().list_tasks(filter).await.expect("it answers").into_inner().tasks;
    assert_eq!(listed.iter().map(|task| &task.task_id).collect::<Vec<_>>(), [&task_id]);
    assert!(stage.shutdown().await);
}

#[tokio::test]
async fn a_cancel_goes_down_the_whole_tree() {
    let (stage, mut worker, work) = parent().await;
    let child_id = submit(&stage, &work.lease, named("c", 100_000, None)).await.expect("accepted").task_id;
    let childs = worker.assignment().await;
    let grandchild = submit(&stage, &childs.lease, named("g", 10_000, None)).await.expect("accepted").task_id;
    let last = worker.assignment().await;
    assert_eq!(last.task_id, grandchild);

    let request = pb::CancelTaskRequest { task_id: work.task_id.clone(), reason: "enough".into() };
    stage.tasks().cancel_task(request).await.expect("it is there");
    let mut stopped =
        vec![worker.cancel().await.lease, worker.cancel().await.lease, worker.cancel().await.lease];
    let mut all = vec![work.lease.clone(), childs.lease.clone(), last.lease.clone()];
    stopped.sort();
    all.sort();
    assert_eq!(stopped, all);
    for task_id in [&child_id, &grandchild] {
        let outcome = stage.outcome(task_id).await;
        assert_eq!(outcome.state, TaskState::Cancelled as i32);
        assert_eq!(outcome.ended_by, pb::EndedBy::Client as i32, "a child's client is its parent");
    }
    // Usage that comes late goes up the whole tree.
    for lease in [&last.lease, &childs.lease] {
        let late = worker.send(crate::harness::usage(lease, 70)).await;
        worker.acked(late).await;
    }
    let root = heard(&stage, &work.task_id, 1).await;
    let ledger = root.summary.and_then(|summary| summary.ledger).expect("it is sent");
    assert_eq!(ledger.children_tokens, 140);
    check(submit(&stage, &work.lease, child("checker")).await, Code::FailedPrecondition, "LEASE_NOT_LIVE");
}

#[tokio::test]
async fn what_a_child_may_not_have_is_refused_by_name() {
    let (stage, mut worker, work) = parent().await;
    let refused = submit(&stage, &work.lease, named("c", 2_000_000, None)).await;
    let status = check(refused, Code::FailedPrecondition, "BUDGET_TOO_SMALL");
    assert!(status.message().contains("675000 of this task's are free"), "{}", status.message());

    let refused = submit(&stage, &work.lease, named("c", 10_000, Some(13))).await;
    let status = check(refused, Code::InvalidArgument, "CONTRACT_REFUSED");
    let details = status.get_details_bad_request().expect("the fields are named");
    assert_eq!(details.field_violations[0].field, "limits.max_hops");
    let said = &details.field_violations[0].description;
    assert!(said.contains("write 0 to 12, which is what the parent has left"), "{said}");

    let none = pb::Contract { termination: None, ..child("solver") };
    let refused = submit(&stage, &work.lease, none).await;
    check(refused, Code::InvalidArgument, "CONTRACT_REFUSED");
    let refused = submit(&stage, "nonsense", child("solver")).await;
    check(refused, Code::InvalidArgument, "INVALID_MESSAGE");
    let unknown = format!("{}0", &work.lease[..work.lease.len() - 1]);
    let unknown =
        if unknown == work.lease { format!("{}1", &work.lease[..work.lease.len() - 1]) } else { unknown };
    check(submit(&stage, &unknown, child("solver")).await, Code::NotFound, "LEASE_UNKNOWN");

    submit(&stage, &work.lease, named("k", 10_000, None)).await.expect("accepted");
    let refused = submit(&stage, &work.lease, named("k", 20_000, None)).await;
    check(refused, Code::AlreadyExists, "KEY_TAKEN");
    let childs = worker.assignment().await;
    worker.complete(&childs.lease, success("1")).await;
}

#[tokio::test]
async fn the_fourth_level_is_refused() {
    let (stage, mut worker, mut work) = parent().await;
    for tokens in [500_000, 200_000, 100_000] {
        submit(&stage, &work.lease, named("deeper", tokens, None)).await.expect("three levels");
        work = worker.assignment().await;
    }
    assert_eq!(stage.task(&work.task_id).await.parent.map(|parent| parent.depth), Some(3));
    let refused = submit(&stage, &work.lease, named("deeper", 10_000, None)).await;
    check(refused, Code::FailedPrecondition, "DEPTH_EXCEEDED");
}

#[tokio::test]
async fn over_the_tree_there_are_no_more_hops_than_the_root_may_have() {
    let (stage, mut worker, work) = parent().await;
    let hop = |to: &str| {
        let hand_off = pb::HandOff { agent: to.into(), input: None };
        let directive = Some(pb::status_envelope::Directive::HandOff(hand_off));
        pb::StatusEnvelope { result: None, directive, ..success("") }
    };
    submit(&stage, &work.lease, named("c", 100_000, Some(10))).await.expect("accepted");
    let mut childs = worker.assignment().await;
    // Two are the root's own; the child's ten are reserved, used or not.
    let mut root = work;
    for _ in 0..2 {
        let to = if root.agent == "solver" { "checker" } else { "solver" };
        worker.complete(&root.lease, hop(to)).await;
        root = worker.assignment().await;
    }
    assert_eq!(root.termination.as_ref().map(|terms| terms.hops_left), Some(0));
    for _ in 0..3 {
        let to = if childs.agent == "solver" { "checker" } else { "solver" };
        worker.complete(&childs.lease, hop(to)).await;
        childs = worker.assignment().await;
    }
    worker.complete(&childs.lease, success("3 hops")).await;
    let task = heard(&stage, &root.task_id, 1).await;
    assert_eq!(task.summary.and_then(|summary| summary.counters).map(|counters| counters.hops), Some(5));
}

/// Every attempt submits children for as long as it may: the tree is bounded by what the root was given, and ends.
#[tokio::test]
async fn a_fan_out_without_end_ends_with_typed_refusals() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(64).await;
    let limits = pb::Limits {
        max_turns: 40,
        max_children: 3,
        deadline: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
        ..Default::default()
    };
    let budget = Some(pb::Budget { max_tokens: 100_000, max_tokens_per_turn: 1_000, ..Default::default() });
    let root = stage.submit(pb::Contract { budget, limits: Some(limits), ..contract("solver") }).await;
    // Breadth first, nobody answers: every attempt submits for as long as it may, as its children will.
    let mut refusals = std::collections::BTreeMap::<String, usize>::new();
    let (mut all, mut next) = (vec![worker.assignment().await], 0);
    while next < all.len() {
        let lease = all[next].lease.clone();
        next += 1;
        let reason = loop {
            let greedy = pb::Contract { idempotency_key: format!("{}", all.len()), ..child("solver") };
            match submit(&stage, &lease, greedy).await {
                Ok(_) => all.push(worker.assignment().await),
                Err(status) => break why(&status),
            }
        };
        assert_eq!(reason.0, Code::FailedPrecondition, "{reason:?}");
        *refusals.entry(reason.1).or_default() += 1;
    }
    assert!((5..=40).contains(&all.len()), "as many tasks as the root has turns, at most: {}", all.len());
    assert!(refusals.contains_key("CHILDREN_EXCEEDED"), "{refusals:?}");
    assert_eq!(refusals.values().sum::<usize>(), all.len(), "each is told why: {refusals:?}");
    // From the leaves up.
    for work in all.iter().rev() {
        worker.complete(&work.lease, success("done")).await;
    }
    assert_eq!(stage.outcome(&root).await.state, TaskState::Succeeded as i32);
    let children = stage.task(&root).await.children.len();
    let task = heard(&stage, &root, children).await;
    let summary = task.summary.expect("it is sent");
    let ledger = summary.ledger.expect("it is sent");
    assert!(ledger.spent_tokens + ledger.reserved_tokens <= 100_000, "{ledger:?}");
    assert!(summary.counters.is_some_and(|counters| counters.turns <= 40));
}
