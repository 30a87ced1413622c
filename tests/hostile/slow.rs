//! Schemas and acceptance rules made to be slow: they end by their meters, with a finding, and others' tasks end meanwhile.

use bailiwick::{
    pb,
    service::convert::value::{structure, value},
    types::payload::Payload,
};
use serde_json::{Value, json};

use crate::{
    harness::{Session, Stage, complete, contract, success},
    panics,
};

fn payload(json: &Value) -> Payload {
    Payload::from_json(json)
}

fn with(schema: &Value, acceptance: &[&str]) -> pb::Contract {
    let termination = pb::Termination {
        result_schema: Some(structure(&payload(schema))),
        acceptance: acceptance.iter().map(|&rule| rule.to_owned()).collect(),
        ..Default::default()
    };
    pb::Contract { termination: Some(termination), ..contract("slow") }
}

fn saying(result: &Value) -> pb::StatusEnvelope {
    pb::StatusEnvelope { result: Some(value(&payload(result))), ..success("") }
}

/// Somebody else's task from end to end.
async fn serve(stage: &Stage, worker: &mut Session) {
    let task_id = stage.submit(contract("quiet")).await;
    let work = worker.assignment().await;
    worker.complete(&work.lease, success("42")).await;
    assert_eq!(stage.outcome(&task_id).await.state, pb::TaskState::Succeeded as i32);
}

/// Answers with `result` on three tasks of this contract; others are served; then nothing of it has been accepted, and
/// what the agent is told says `finding`.
async fn hold(contract: pb::Contract, result: Value, finding: &str) {
    panics::watch();
    let stage = Stage::new().await;
    let mut honest = stage.worker("honest", &["quiet"]).await;
    let mut hostile = stage.worker("hostile", &["slow"]).await;
    honest.credit(1).await;
    hostile.credit(3).await;
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(stage.submit(contract.clone()).await);
        let work = hostile.assignment().await;
        let id = hostile.send(complete(&work.lease, saying(&result))).await;
        tasks.push(id.to_string());
    }
    serve(&stage, &mut honest).await;
    for pair in tasks.chunks(2) {
        let [task_id, id] = pair else { unreachable!("they come in pairs") };
        hostile.acked(id.parse().expect("a number")).await;
        let task = stage.task(task_id).await;
        assert!(task.outcome.is_none(), "what was not checked is not accepted: {:?}", task.outcome);
        let told: Vec<_> = task.turns.iter().flat_map(|turn| turn.notes.iter()).collect();
        assert!(told.iter().any(|note| note.contains(finding)), "{told:?}");
    }
    panics::none();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_is_slow_is_a_finding() {
    let field = json!({"properties": {"a": {"$ref": "#/$defs/n"}}});
    let schema = json!({"$defs": {"n": {"allOf": vec![field; 50]}}, "$ref": "#/$defs/n"});
    let deep = (0..27).fold(json!(1), |inner, _| json!({"a": inner}));
    hold(with(&schema, &[]), deep, "takes too many steps").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_is_slow_is_a_finding() {
    let schema = json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "array", "items": {"type": "integer"}}}});
    let rule = "result.n.all(a, result.n.all(b, a + b >= 0))";
    let result = json!({"n": (0..2_000).collect::<Vec<u32>>()});
    hold(with(&schema, &[rule]), result, "termination.acceptance[0]").await;
}
