//! The gate over the wire: rules and schemas that are none are refused with their place, verdicts count and are on record.

use bailiwick::pb;
use prost_types::{Value, value::Kind};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{
    SUCCEEDED, check,
    harness::{Stage, complete, contract, object, register, success, text},
};

fn number(number: f64) -> Value {
    Value { kind: Some(Kind::NumberValue(number)) }
}

fn fields(status: &tonic::Status) -> Vec<(String, String)> {
    let request = status.get_details_bad_request().expect("violations");
    request.field_violations.into_iter().map(|v| (v.field, v.description)).collect()
}

fn ruled(rules: &[&str]) -> pb::Contract {
    let mut contract = contract("solver");
    let termination = contract.termination.as_mut().expect("a termination");
    termination.acceptance = rules.iter().map(|rule| (*rule).to_owned()).collect();
    contract
}

#[tokio::test]
async fn a_rule_that_cannot_run_is_a_violation_with_its_place() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", &["solver"]).await;
    let bad = ruled(&["size(result.answer) > 0", "resutl.answer != ''", "result.answer", "result.answer =="]);
    let status = check(stage.try_submit(bad.clone()).await, Code::InvalidArgument, "CONTRACT_REFUSED");
    let found = fields(&status);
    let names: Vec<_> = found.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(names, ["termination.acceptance[1]", "termination.acceptance[3]"], "{found:?}");
    assert!(found[0].1.contains("resutl is not a name here: write one of result"), "{found:?}");
    assert!(found[1].1.contains("line 1, character"), "{found:?}");
    // The same by `check`, which submits nothing.
    let checked = stage.tasks().check_contract(pb::CheckContractRequest { contract: Some(bad) }).await;
    assert_eq!(checked.expect("it is checked").into_inner().violations.len(), 2);
    stage.submit(ruled(&["size(result.answer) > 0"])).await;
}

#[tokio::test]
async fn what_is_no_schema_is_refused_at_registration_and_what_does_not_fit_one_at_intake() {
    let stage = Stage::new().await;
    let declare = |field: &str, schema: prost_types::Struct| {
        let mut register = register("w9", &["picky"], Vec::new());
        match field {
            "input_schema" => register.agents[0].input_schema = Some(schema),
            _ => register.agents[0].output_schema = Some(schema),
        }
        let mut workers = stage.workers();
        let request = pb::RegisterRequest { register: Some(register) };
        async move { workers.register(request).await }
    };
    let nonsense = || {
        object(&[(
            "properties",
            Value {
                kind: Some(Kind::StructValue(object(&[(
                    "n",
                    Value { kind: Some(Kind::StructValue(object(&[("type", text("nonsense"))]))) },
                )]))),
            },
        )])
    };
    for field in ["input_schema", "output_schema"] {
        let refused = check(declare(field, nonsense()).await, Code::InvalidArgument, "INVALID_MESSAGE");
        let found = fields(&refused);
        assert_eq!(found[0].0, format!("register.agents[0].{field}"));
        assert!(found[0].1.contains("picky") && found[0].1.contains("/properties/n/type"), "{found:?}");
    }
    declare("input_schema", object(&[("type", text("object"))])).await.expect("it is a schema");
    let given = pb::Contract { input: Some(number(3.0)), ..contract("picky") };
    let status = check(stage.try_submit(given).await, Code::InvalidArgument, "CONTRACT_REFUSED");
    let found = fields(&status);
    assert!(
        found[0].0 == "input" && found[0].1.contains("does not fit the input_schema of picky"),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_confidence_that_is_none_is_refused_by_name_on_the_stream_and_off_it() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(1).await;
    let task_id = stage.submit(contract("solver")).await;
    let lease = worker.assignment().await.lease;
    for wrong in [1.7, -0.1, f64::NAN, f64::INFINITY] {
        let bad = || pb::StatusEnvelope { confidence: Some(wrong), ..success("sure") };
        let id = worker.send(complete(&lease, bad())).await;
        let refusal = worker.refused(id).await;
        assert!(refusal.message.contains("envelope.confidence"), "{}", refusal.message);
        let answer = Some(pb::complete::Answer::Envelope(bad()));
        let complete = Some(pb::Complete { lease: lease.clone(), answer });
        let unary = stage.workers().complete_turn(pb::CompleteTurnRequest { complete }).await;
        let found = fields(&check(unary, Code::InvalidArgument, "INVALID_MESSAGE"));
        assert_eq!(found[0].0, "envelope.confidence");
    }
    worker.complete(&lease, success("sure")).await;
    assert_eq!(stage.outcome(&task_id).await.state, SUCCEEDED);
}

#[tokio::test]
async fn a_verdict_counts_shows_and_is_on_record() {
    let stage = Stage::new().await;
    let mut author = stage.worker("w1", &["solver"]).await;
    let mut judge = stage.worker("w2", &["judge"]).await;
    let gate = Some(pb::Gate { validator: "judge".into(), ..Default::default() });
    author.credit(2).await;
    judge.credit(2).await;
    let task_id = stage.submit(pb::Contract { gate, ..contract("solver") }).await;
    let lease = author.assignment().await.lease;
    author.complete(&lease, success("half")).await;

    let asked = judge.assignment().await;
    assert_eq!((asked.kind(), asked.author.as_str()), (pb::TurnKind::Validate, "solver"));
    let candidate = asked.candidate.expect("something to judge");
    assert_eq!((candidate.result, candidate.confidence), (Some(crate::result("half")), Some(0.9)));
    assert!(!asked.criteria.is_empty());
    let verdict = |verdict: pb::Judgement, reasons: &[&str]| {
        pb::complete::Answer::Verdict(pb::Verdict {
            verdict: verdict as i32,
            confidence: Some(0.8),
            reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
            usage: Some(pb::Usage { input_tokens: 5, ..Default::default() }),
        })
    };
    // Off the stream, as a language without streaming does it.
    let answer = Some(verdict(pb::Judgement::Disagree, &["the other half is missing"]));
    let complete = Some(pb::Complete { lease: asked.lease, answer });
    stage.workers().complete_turn(pb::CompleteTurnRequest { complete }).await.expect("accepted");

    let revision = author.assignment().await;
    assert!(revision.notes[0].contains("judge disagrees (confidence 0.8): the other half is missing"));
    author.complete(&revision.lease, success("whole")).await;
    let asked = judge.assignment().await;
    let answer = Some(verdict(pb::Judgement::Agree, &[]));
    let id =
        judge.send(pb::session_request::Message::Complete(pb::Complete { lease: asked.lease, answer })).await;
    judge.acked(id).await;
    assert_eq!(stage.outcome(&task_id).await.result, Some(crate::result("whole")));

    let turns = stage.task(&task_id).await.turns;
    let verdicts: Vec<_> = turns.iter().map(|turn| (turn.judges, turn.verdict.is_some())).collect();
    assert_eq!(verdicts, [(0, false), (1, true), (0, false), (3, true)]);
    let agents =
        stage.operator().list_agents(pb::ListAgentsRequest {}).await.expect("listed").into_inner().agents;
    let find = |name: &str| {
        let named = |agent: &&pb::Agent| agent.spec.as_ref().is_some_and(|spec| spec.name == name);
        agents.iter().find(named).cloned().expect("it is known")
    };
    let record = pb::ValidatorRecord { agreed: 1, disagreed: 1, upheld: 0, overruled: 0 };
    assert_eq!(find("judge").validator, Some(record));
    let curves = find("solver").calibration;
    let judges: Vec<_> = curves.iter().map(|curve| (curve.judge(), curve.judged, curve.accepted)).collect();
    assert_eq!(judges, [(pb::Judge::Gate, 2, 2), (pb::Judge::Validator, 2, 1)]);
    assert_eq!((curves[1].buckets.len(), curves[1].buckets[9].judged), (10, 2));
}

#[tokio::test]
async fn an_envelope_on_a_validate_turn_judges_nothing_and_a_person_is_asked() {
    let stage = Stage::new().await;
    let mut author = stage.worker("w1", &["solver"]).await;
    let mut judge = stage.worker("w2", &["judge"]).await;
    let gate = Some(pb::Gate { validator: "judge".into(), ..Default::default() });
    author.credit(1).await;
    judge.credit(1).await;
    let task_id = stage.submit(pb::Contract { gate, ..contract("solver") }).await;
    let lease = author.assignment().await.lease;
    author.complete(&lease, success("half")).await;
    let asked = judge.assignment().await;
    assert_eq!(asked.kind(), pb::TurnKind::Validate);
    judge.complete(&asked.lease, success("mine is better")).await;

    let request = pb::ListEscalationsRequest::default();
    let open = stage.operator().list_escalations(request).await.expect("listed").into_inner().escalations;
    let [question] = open.as_slice() else { panic!("one question is open: {open:?}") };
    assert_eq!((question.task_id.as_str(), question.cause()), (task_id.as_str(), pb::Cause::Role));
    assert_eq!(question.candidate, Some(crate::result("half")), "the author's result, not the validator's");
    let agents = stage.operator().list_agents(pb::ListAgentsRequest {}).await.expect("listed").into_inner();
    let record = agents.agents.iter().find_map(|agent| agent.validator);
    assert_eq!(record, None, "no verdict was given, so none is counted");
}
