//! Halting, resuming and cancelling many, as a person types them at night.

use bailiwick::pb::{self, TaskState, halt_selector::Scope, resume_request::What};

use super::{ask, fake::Fake};

fn fake() -> Fake {
    Fake::in_state(TaskState::Running)
}

fn selector(scope: Scope) -> Option<pb::HaltSelector> {
    Some(pb::HaltSelector { scope: Some(scope) })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halt_says_what_is_stopped_how_fast_and_how_to_go_on() {
    let fake = fake();
    let addr = fake.serve().await;
    ask(addr, &["halt", "--all", "--cancel", "--reason", "the bill"])
        .await
        .exits(0)
        .says("everything is halted by tester since ")
        .says("the bill")
        .says("told 12 attempts to stop in 1.500ms; 12 on their workers' streams, the last after 2.000ms")
        .says("ended 7 tasks")
        .says("to go on: bailiwick resume --halt 3");
    ask(addr, &["halt", "--agent", "greeter", "--by", "ann"]).await.exits(0).says("what runs goes on");
    ask(addr, &["halt", "--label", "team=search"]).await.exits(0);
    let json = ask(addr, &["halt", "--label", "team=search", "--json"]).await.exits(0).json();
    assert_eq!(json[0]["attempts_told"], 12);
    let halts = fake.0.lock().unwrap().halts.clone();
    assert_eq!(halts[0].selector, selector(Scope::All(true)));
    assert_eq!((halts[0].cancel, halts[0].halted_by.as_str()), (true, "tester"));
    assert_eq!(halts[1].selector, selector(Scope::Agent("greeter".into())));
    assert_eq!((halts[1].cancel, halts[1].halted_by.as_str()), (false, "ann"));
    let label = pb::HaltLabel { key: "team".into(), value: "search".into() };
    assert_eq!(halts[2].selector, selector(Scope::Label(label)));
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_thing_is_named() {
    let addr = fake().serve().await;
    for args in [
        &["halt"][..],
        &["halt", "--all", "--agent", "a"],
        &["halt", "--label", "team"],
        &["resume"],
        &["resume", "--all", "--halt", "3"],
    ] {
        ask(addr, args).await.exits(2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_halted_is_listed_and_lifted() {
    let fake = fake();
    let addr = fake.serve().await;
    ask(addr, &["halts"]).await.exits(0).says("agent greeter").says("ann").says("it repeats itself");
    ask(addr, &["resume", "--agent", "greeter"]).await.exits(0).says("agent greeter goes on (halt 3)");
    ask(addr, &["resume", "--all"]).await.exits(0);
    ask(addr, &["resume", "--halt", "3", "--by", "bo", "--reason", "fixed"]).await.exits(0);
    let resumes = fake.0.lock().unwrap().resumes.clone();
    let what: Vec<_> = resumes.iter().map(|resume| resume.what.clone()).collect();
    let agent = pb::HaltSelector { scope: Some(Scope::Agent("greeter".into())) };
    assert_eq!(what, [Some(What::Selector(agent)), Some(What::Everything(true)), Some(What::Number(3))]);
    assert_eq!((resumes[2].resumed_by.as_str(), resumes[2].reason.as_str()), ("bo", "fixed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_cancelled_by_filter_and_counted() {
    let fake = fake();
    let addr = fake.serve().await;
    let filter = ["cancel", "--label", "team=search", "--state", "running,queued", "--agent", "greeter"];
    let filter = [&filter[..], &["--namespace", "batch"]].concat();
    ask(addr, &[&filter[..], &["--dry-run"]].concat())
        .await
        .exits(0)
        .says("3 open tasks would be cancelled (1 QUEUED, 2 RUNNING)");
    ask(addr, &[&filter[..], &["--yes", "--reason", "old"]].concat())
        .await
        .exits(0)
        .says("2 of 3 open tasks cancelled");
    ask(addr, &["cancel", "--all", "--yes", "--reason", "fail"]).await.exits(5).says("the store failed");
    let cancels = fake.0.lock().unwrap().cancels.clone();
    let sent = cancels[1].filter.clone().unwrap();
    assert_eq!((sent.agent.as_str(), sent.labels["team"].as_str()), ("greeter", "search"));
    assert_eq!(sent.namespace, "batch");
    assert_eq!(sent.states, [TaskState::Running as i32, TaskState::Queued as i32]);
    assert_eq!((cancels[1].reason.as_str(), cancels[1].cancelled_by.as_str()), ("old", "tester"));
    assert_eq!(cancels[2].filter, Some(pb::ListTasksRequest::default()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_cancelled_that_was_not_named_or_not_meant() {
    let fake = fake();
    let addr = fake.serve().await;
    ask(addr, &["cancel"]).await.exits(2).says("nothing was named");
    ask(addr, &["cancel", "--all"]).await.exits(2).says("--yes");
    ask(addr, &["cancel", super::fake::TASK, "--all"]).await.exits(2);
    ask(addr, &["cancel", super::fake::TASK, "--namespace", "batch"]).await.exits(2);
    ask(addr, &["cancel", "--namespace", "batch"]).await.exits(2).says("--yes");
    assert!(fake.0.lock().unwrap().cancels.is_empty());
}
