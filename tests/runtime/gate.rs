//! The gate through the runtime: rules and schemas are checked off the shards, verdicts and records outlive the server.

use bailiwick::{
    engine::{event::TurnKind, tally::Judge},
    runtime::{Registration, Runtime, tallies::Verdicts},
    types::{
        contract::{Contract, ContractDraft, TerminationDraft},
        envelope::{Answer, Confidence, Directive, Envelope, HandOff, Judgement, Status, Verdict},
        outcome::TaskState,
    },
};
use serde_json::json as value;

use crate::kit::{World, agent, complete, draft, envelope, in_time, json, success, usage};

fn verdict(reasons: &[&str]) -> Answer {
    Answer::Verdict(Verdict {
        verdict: if reasons.is_empty() { Judgement::Agree } else { Judgement::Disagree },
        confidence: Confidence::new(0.5),
        reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
        usage: Some(usage(20)),
    })
}

fn judged() -> Contract {
    let mut draft = draft();
    draft.gate.validator = "judge".to_owned();
    complete(&draft)
}

fn ruled(rules: &[&str]) -> Contract {
    let rules = rules.iter().map(|rule| (*rule).to_owned()).collect();
    let termination = Some(TerminationDraft { acceptance: rules, ..TerminationDraft::default() });
    complete(&ContractDraft { termination, ..draft() })
}

async fn declare(runtime: &Runtime, id: &str, name: &str, spec: serde_json::Value) {
    let registration = Registration {
        worker: id.parse().expect("a valid id"),
        agents: vec![(agent(name), spec.to_string())],
        max_concurrency: 1,
        labels: std::collections::BTreeMap::new(),
        held: Vec::new(),
    };
    in_time(runtime.open_session(registration)).await.expect("the session opens");
}

#[tokio::test]
async fn a_validate_turn_survives_a_restart_and_its_verdict_is_on_record() {
    let world = World::new().await;
    let mut author = world.worker("w1", &["a"], 1).await;
    let mut judge = world.worker("w2", &["judge"], 1).await;
    author.credit(1);
    judge.credit(1);
    let task = world.try_submit(judged()).await.expect("accepted").task;
    author.do_one().await;
    let asked = judge.work().await;
    assert_eq!((asked.kind, asked.author), (TurnKind::Validate, Some(agent("a"))));
    let world = world.restart().await;
    let judge = world.worker_with("w2", &["judge"], 1, vec![asked.lease]).await;
    assert_eq!(judge.complete(asked.lease, verdict(&[])).await, Ok(false));
    assert_eq!(judge.complete(asked.lease, verdict(&[])).await, Ok(true), "a repeat is harmless");
    assert_eq!(world.view(task).await.summary.state, TaskState::Succeeded);
    let world = world.restart().await;
    let records = in_time(world.runtime.agent_records()).await.expect("read");
    let expected = Verdicts { agreed: 1, ..Verdicts::default() };
    assert_eq!(records[&agent("judge")].verdicts, expected);
    let curve = records[&agent("a")].curves[&Judge::Validator];
    assert_eq!((curve.judged(), curve.accepted(), curve.buckets[9].judged), (1, 1, 1));
}

#[tokio::test]
async fn a_rule_that_does_not_hold_comes_back_with_its_text() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    let task = world
        .try_submit(ruled(&["result.words > 2", "usage.total_tokens < 1000", "task.agent == 'a'"]))
        .await
        .expect("accepted")
        .task;
    worker.credit(1);
    let lease = worker.work().await.lease;
    let short = Answer::Envelope(envelope(Status::Success, Some(json(value!({"words": 1})))));
    assert_eq!(worker.complete(lease, short).await, Ok(false));
    worker.credit(1);
    let revision = worker.work().await;
    assert_eq!(revision.acceptance.len(), 3, "the rules ride on every assignment");
    let notes = revision.notes.join("; ");
    assert!(notes.contains("the rule result.words > 2 (termination.acceptance[0]) does not hold"), "{notes}");
    let none = Answer::Envelope(Envelope { usage: None, ..envelope(Status::Success, None) });
    assert_eq!(worker.complete(revision.lease, none).await, Ok(false));
    worker.credit(1);
    let revision = worker.work().await;
    let notes = revision.notes.join("; ");
    assert!(
        notes.contains("[0]) could not be evaluated") && notes.contains("[1]) could not be evaluated"),
        "{notes}"
    );
    assert_eq!(worker.complete(revision.lease, success()).await, Ok(false));
    assert_eq!(world.view(task).await.summary.state, TaskState::Succeeded);
}

#[tokio::test]
async fn an_agents_own_schemas_hold_for_what_it_is_given_and_what_it_gives() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    declare(&world.runtime, "w3", "b", value!({"input_schema": {"type": "object", "required": ["n"]}})).await;
    let task = world.submit().await;
    worker.credit(1);
    let lease = worker.work().await.lease;
    let to = HandOff { agent: agent("b"), input: Some(json(value!({"m": 1}))) };
    let wrong = Envelope { directive: Some(Directive::HandOff(to)), ..envelope(Status::Success, None) };
    assert_eq!(worker.complete(lease, Answer::Envelope(wrong)).await, Ok(false));
    worker.credit(1);
    let correction = worker.work().await;
    let notes = correction.notes.join("; ");
    assert!(notes.contains("hand-off to b: does not fit the input_schema of b"), "{notes}");

    declare(&world.runtime, "w4", "a", value!({"output_schema": {"required": ["sources"]}})).await;
    assert_eq!(worker.complete(correction.lease, success()).await, Ok(false));
    worker.credit(1);
    let revision = worker.work().await;
    let notes = revision.notes.join("; ");
    assert!(notes.contains("by the output_schema of a") && notes.contains("sources"), "{notes}");
    let whole = Some(json(value!({"words": 3, "sources": []})));
    let whole = Answer::Envelope(envelope(Status::Success, whole));
    assert_eq!(worker.complete(revision.lease, whole).await, Ok(false));
    assert_eq!(world.view(task).await.summary.state, TaskState::Succeeded);

    let contract = complete(&ContractDraft { first_agent: Some("b".to_owned()), ..draft() });
    let faults = in_time(world.runtime.check_inputs(&contract));
    let faults = faults.await.expect("checked");
    assert!(faults.len() == 1 && faults[0].0 == "input", "{faults:?}");
}
