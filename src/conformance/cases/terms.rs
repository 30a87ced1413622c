//! Cases about what a contract's terms bring to a worker: scores, termination terms, trips, steps, revisions.

use bailiwick_worker::from_json;
use serde_json::json;

use super::turns::{entry, result, same, status, used};
use crate::{
    conformance::stage::{Failure, Stage, Verdict, kind, require},
    pb::{self, status_envelope::Directive},
};

pub(super) async fn score(stage: &mut Stage) -> Verdict {
    for wanted in [Some(0.625), None] {
        let answer = json!({"status": "success", "result": "a draft", "confidence": 0.5, "score": wanted});
        let lease = stage.assign(json!({"actions": [], "answer": answer}));
        let envelope = stage.envelope(&lease).await?;
        require(envelope.score == wanted, || format!("score is {:?}, not {wanted:?}", envelope.score))?;
        let confidence = envelope.confidence;
        require(confidence == Some(0.5), || format!("confidence is {confidence:?}, not 0.5"))?;
    }
    Ok("score 0.625 beside confidence 0.5; none where none was said".into())
}

pub(super) async fn termination(stage: &mut Stage) -> Verdict {
    let mut assignment = stage.assignment(json!({"actions": []}));
    assignment.termination = Some(pb::TerminationTerms {
        min_confidence: 0.75,
        turns_left: 9,
        acceptance: vec!["size(result) > 0".into()],
        convergence: Some(pb::Convergence { min_gain: 0.25, patience: 3 }),
        best_score: Some(0.5),
        ..Default::default()
    });
    let lease = stage.send(assignment);
    let seen = result(&stage.envelope(&lease).await?);
    let wanted = json!({"min_confidence": 0.75, "turns_left": 9, "acceptance": ["size(result) > 0"],
                        "patience": 3, "best_score": 0.5});
    same("termination", &seen["termination"], &wanted)?;
    let lease = stage.assign(json!({"actions": []}));
    let seen = result(&stage.envelope(&lease).await?);
    let wanted = json!({"min_confidence": 0, "turns_left": 0, "acceptance": [],
                        "patience": null, "best_score": null});
    same("termination", &seen["termination"], &wanted)?;
    Ok("rules, patience, best score, confidence and turns left; null where there is none".into())
}

pub(super) async fn trips(stage: &mut Stage) -> Verdict {
    let mut assignment = stage.assignment(json!({"actions": []}));
    assignment.kind = pb::TurnKind::Decide.into();
    let trip = |cause: pb::Cause, evidence: &str, times| pb::Trip {
        cause: cause.into(),
        evidence: evidence.into(),
        times,
        ..Default::default()
    };
    assignment.trips = vec![
        trip(pb::Cause::Hops, "13 hand-offs, 12 are allowed", 0),
        trip(pb::Cause::Repetition, "the same answer", 3),
    ];
    let lease = stage.send(assignment);
    let answer = stage.answer(&lease).await?.1.answer;
    let Some(pb::complete::Answer::Decision(decision)) = answer else {
        return Err(Failure(format!("a decide turn wants a decision, not {}", kind(answer.as_ref()))));
    };
    used(decision.usage.as_ref(), 0, 0)?;
    let Some(pb::decision::Decision::CompletePartial(partial)) = decision.decision else {
        return Err(Failure("CompletePartial was due".into()));
    };
    let told = partial.result.as_ref().map(bailiwick_worker::to_json).unwrap_or_default();
    let wanted = json!(["CAUSE_HOPS 0 13 hand-offs, 12 are allowed", "CAUSE_REPETITION 3 the same answer"]);
    same("the trips", &told, &wanted)?;
    Ok("both trips with their cause, evidence and figures".into())
}

pub(super) async fn step(stage: &mut Stage) -> Verdict {
    let mut assignment = stage.assignment(json!({"actions": []}));
    assignment.step_id = "draft".into();
    let lease = stage.send(assignment);
    let seen = result(&stage.envelope(&lease).await?);
    same("step_id", &seen["step_id"], &json!("draft"))?;
    let next = json!({"agent": "editor", "input": {"text": "t"}});
    let script =
        json!({"actions": [], "answer": {"status": "success", "result": {"text": "t"}, "hand_off": next}});
    let mut assignment = stage.assignment(script);
    assignment.step_id = "draft".into();
    let lease = stage.send(assignment);
    let envelope = stage.envelope(&lease).await?;
    same("the result", &result(&envelope), &json!({"text": "t"}))?;
    match envelope.directive {
        Some(Directive::HandOff(hand_off)) if hand_off.agent == "editor" => {}
        other => return Err(Failure(format!("a hand-off was scripted, the directive is {other:?}"))),
    }
    Ok("the handler sees its step; its hand-off goes out with the result".into())
}

pub(super) async fn revision(stage: &mut Stage) -> Verdict {
    let first = stage.assignment(json!({"actions": [], "answer": {"status": "success", "result": 7}}));
    let (task_id, turn) = (first.task_id.clone(), first.turn);
    let lease = stage.send(first);
    let refused = stage.envelope(&lease).await?;
    status(&refused, pb::Status::Success)?;
    let note = "the result does not fit the output_schema of conformance: 7 is not of type \"object\"";
    let mut again = stage.assignment(json!({"actions": []}));
    (again.task_id, again.turn) = (task_id, turn + 1);
    again.notes = vec![note.into(), "answer again".into()];
    again.lineage = vec![pb::LineageEntry { envelope: Some(refused), ..entry(turn) }];
    again.lineage_total = 1;
    again.best_result = Some(from_json(json!(7)));
    let lease = stage.send(again);
    let seen = result(&stage.envelope(&lease).await?);
    same("notes", &seen["notes"], &json!([note, "answer again"]))?;
    same("lineage", &seen["lineage"], &json!([format!("turn-{turn}")]))?;
    Ok("the revision turn is another turn of the task: the handler sees why, and its own refused answer"
        .into())
}
