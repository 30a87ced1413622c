//! Cases about single turns: what an answer carries, what is said on the way, what a handler is given.

use bailiwick_worker::{from_json, to_json};
use serde_json::{Value, json};

use crate::{
    conformance::stage::{ALLOWANCE, Event, Failure, PATIENCE, Stage, Verdict, kind, require},
    pb::{self, status_envelope::Directive},
};

pub(super) fn status(envelope: &pb::StatusEnvelope, wanted: pb::Status) -> Result<(), Failure> {
    let is = envelope.status();
    require(is == wanted, || format!("status is {}, not {}", is.as_str_name(), wanted.as_str_name()))
}

pub(super) fn result(envelope: &pb::StatusEnvelope) -> Value {
    envelope.result.as_ref().map(to_json).unwrap_or_default()
}

pub(super) fn same(what: &str, is: &Value, wanted: &Value) -> Result<(), Failure> {
    require(is == wanted, || format!("{what} is {is}, not {wanted}"))
}

pub(super) fn used(usage: Option<&pb::Usage>, input: i64, output: i64) -> Result<(), Failure> {
    let is = usage.map(|u| (u.input_tokens, u.output_tokens));
    require(is == Some((input, output)), || {
        format!("the usage (input, output) is {is:?}, not {:?}", Some((input, output)))
    })
}

pub(super) async fn answer(stage: &mut Stage) -> Verdict {
    let value =
        json!({"n": 7, "x": 0.5, "text": "ünïcode \"quoted\"", "list": [true, null, -3], "empty": {}});
    let lease = stage.assign(json!({
        "actions": [{"usage": {"input_tokens": 10, "output_tokens": 5}}],
        "answer": {"status": "success", "result": value, "confidence": 0.75, "reason": "scripted",
                   "inputs_used": ["step-a", "turn-1"]},
    }));
    let envelope = stage.envelope(&lease).await?;
    status(&envelope, pb::Status::Success)?;
    same("the result", &result(&envelope), &value)?;
    let confidence = envelope.confidence;
    require(confidence == Some(0.75), || format!("confidence is {confidence:?}, not 0.75"))?;
    require(envelope.reason == "scripted", || format!("reason is {:?}", envelope.reason))?;
    require(envelope.inputs_used == ["step-a", "turn-1"], || {
        format!("inputs_used is {:?}", envelope.inputs_used)
    })?;
    used(envelope.usage.as_ref(), 10, 5)?;
    require(envelope.directive.is_none(), || "the answer carries a directive nobody asked for".into())?;
    Ok("SUCCESS with the very result, confidence 0.75 and usage 10 + 5".into())
}

pub(super) async fn partial_and_failed(stage: &mut Stage) -> Verdict {
    for (name, wanted) in [("partial", pb::Status::Partial), ("failed", pb::Status::Failed)] {
        let reason = format!("only {name}");
        let answer = json!({"status": name, "result": {"half": 1}, "confidence": 0.25, "reason": reason});
        let lease = stage.assign(json!({"actions": [], "answer": answer}));
        let envelope = stage.envelope(&lease).await?;
        status(&envelope, wanted)?;
        require(envelope.reason == reason, || format!("reason is {:?}, not {reason:?}", envelope.reason))?;
        used(envelope.usage.as_ref(), 0, 0)?;
        require(!envelope.retryable, || "an answer that the agent gave is not retryable".into())?;
        if wanted == pb::Status::Partial {
            same("the result", &result(&envelope), &json!({"half": 1}))?;
        }
    }
    Ok("PARTIAL with result and reason, FAILED with reason, both with usage 0".into())
}

pub(super) async fn directives(stage: &mut Stage) -> Verdict {
    let next = json!({"agent": "writer", "input": {"draft": 1}});
    let lease = stage.assign(json!({"actions": [], "answer": {"status": "success", "hand_off": next}}));
    match stage.envelope(&lease).await?.directive {
        Some(Directive::HandOff(hand_off)) => {
            require(hand_off.agent == "writer", || format!("handed off to {:?}", hand_off.agent))?;
            let input = hand_off.input.as_ref().map(to_json).unwrap_or_default();
            same("the input handed off", &input, &json!({"draft": 1}))?;
        }
        other => return Err(Failure(format!("a hand-off was scripted, the directive is {other:?}"))),
    }
    let lease = stage.assign(json!({"actions": [], "answer": {"status": "partial", "reason": "unsure",
                                                               "ask_human": "Go on?"}}));
    match stage.envelope(&lease).await?.directive {
        Some(Directive::AskHuman(ask)) if ask.question == "Go on?" => {}
        other => return Err(Failure(format!("a question was scripted, the directive is {other:?}"))),
    }
    Ok("a hand-off to `writer` with its input, and the question".into())
}

pub(super) async fn context(stage: &mut Stage) -> Verdict {
    let mut assignment = stage.assignment(json!({"actions": []}));
    assignment.attempt = 2;
    assignment.notes = vec!["the result was not an object".into(), "give an object".into()];
    let key = assignment.idempotency_key.clone();
    let lease = stage.send(assignment);
    let envelope = stage.envelope(&lease).await?;
    status(&envelope, pb::Status::Success)?;
    let result = result(&envelope);
    same("attempt", &result["attempt"], &json!(2))?;
    same("notes", &result["notes"], &json!(["the result was not an object", "give an object"]))?;
    same("idempotency_key", &result["idempotency_key"], &json!(key))?;
    same("allowance", &result["allowance"], &json!(ALLOWANCE))?;
    same("granted", &result["granted"], &json!([]))?;
    same("lineage", &result["lineage"], &json!([]))?;
    require(envelope.confidence == Some(1.0), || format!("confidence is {:?}, not 1", envelope.confidence))?;
    Ok(format!("attempt 2, both notes, allowance {ALLOWANCE} and the key {key}"))
}

pub(super) async fn progress(stage: &mut Stage) -> Verdict {
    let lease = stage.assign(json!({"actions": [
        {"progress": {"text": "first"}},
        {"progress": {"text": "second", "partial": {"so_far": 2}}},
        {"sleep_ms": 50},
    ]}));
    stage.progress(&lease, "first").await?;
    let second = stage.progress(&lease, "second").await?;
    let partial = second.partial_result.as_ref().map(to_json).unwrap_or_default();
    same("the partial result", &partial, &json!({"so_far": 2}))?;
    let envelope = stage.envelope(&lease).await?;
    status(&envelope, pb::Status::Success)?;
    Ok("both steps in order and the partial result, before the answer".into())
}

pub(super) async fn usage(stage: &mut Stage) -> Verdict {
    let lease = stage.assign(json!({"actions": [
        {"usage": {"input_tokens": 3, "output_tokens": 1}},
        {"sleep_ms": 100},
        {"usage": {"input_tokens": 0, "output_tokens": 4}},
        {"sleep_ms": 100},
        {"usage": {"input_tokens": 7, "output_tokens": 0}},
        {"sleep_ms": 100},
    ]}));
    let mut reports = Vec::new();
    let complete = stage
        .wait("send Complete", PATIENCE, |seen| match &seen.event {
            Event::Usage(report) if report.lease == lease => {
                reports.extend(report.usage.as_ref().map(|u| (u.input_tokens, u.output_tokens)));
                None
            }
            Event::Complete(_, complete) if complete.lease == lease => Some(complete.clone()),
            _ => None,
        })
        .await?;
    let sums = [(0, 0), (3, 1), (3, 5), (10, 5)];
    require(reports.iter().all(|r| sums.contains(r)), || {
        format!("reports {reports:?}: each must be the sum so far, one of {sums:?}")
    })?;
    require(reports.contains(&(10, 5)), || format!("reports {reports:?}: (10, 5) was never reported"))?;
    match complete.answer {
        Some(pb::complete::Answer::Envelope(envelope)) => used(envelope.usage.as_ref(), 10, 5)?,
        other => return Err(Failure(format!("a work turn wants an envelope, not {}", kind(other.as_ref())))),
    }
    Ok(format!("reports {reports:?}, and (10, 5) in the answer"))
}

async fn budget(stage: &mut Stage, tokens: i64, grants: bool) -> Result<Value, Failure> {
    stage.policy.grant = grants;
    let lease = stage.assign(json!({"actions": [{"request_budget": tokens}]}));
    let asked = stage
        .wait("send BudgetRequest", PATIENCE, |seen| match &seen.event {
            Event::Budget(request) if request.lease == lease => Some(request.tokens),
            _ => None,
        })
        .await?;
    require(asked == tokens, || format!("asked for {asked} tokens, not {tokens}"))?;
    let envelope = stage.envelope(&lease).await?;
    status(&envelope, pb::Status::Success)?;
    Ok(result(&envelope))
}

pub(super) async fn budget_granted(stage: &mut Stage) -> Verdict {
    let result = budget(stage, 500, true).await?;
    same("granted", &result["granted"], &json!([500]))?;
    same("allowance", &result["allowance"], &json!(ALLOWANCE + 500))?;
    Ok(format!("asked for 500, was granted 500, allowance {}", ALLOWANCE + 500))
}

pub(super) async fn budget_denied(stage: &mut Stage) -> Verdict {
    let result = budget(stage, 700, false).await?;
    same("granted", &result["granted"], &json!([0]))?;
    same("allowance", &result["allowance"], &json!(ALLOWANCE))?;
    Ok(format!("asked for 700, was granted 0, allowance still {ALLOWANCE}"))
}

pub(super) fn entry(n: i32) -> pb::LineageEntry {
    let envelope = pb::StatusEnvelope {
        status: pb::Status::Success.into(),
        result: Some(from_json(json!({"n": n}))),
        ..Default::default()
    };
    let agent = "earlier".into();
    pb::LineageEntry {
        id: format!("turn-{n}"),
        turn: n,
        agent,
        step_id: String::new(),
        envelope: Some(envelope),
    }
}

pub(super) async fn lineage(stage: &mut Stage) -> Verdict {
    let mut whole = stage.assignment(json!({"actions": [{"lineage": true}]}));
    whole.lineage = vec![entry(1), entry(2)];
    whole.lineage_total = 2;
    let lease = stage.send(whole);
    let assigned = result(&stage.envelope(&lease).await?);
    same("the lineage as assigned", &assigned["lineage"], &json!(["turn-1", "turn-2"]))?;

    let mut part = stage.assignment(json!({"actions": [{"lineage": true}]}));
    part.lineage = vec![entry(4), entry(5)];
    part.lineage_total = 5;
    stage.lineage_book().write(&part.lease, (1..=5).map(entry).collect());
    let trace = part.traceparent[3..35].to_owned();
    let lease = stage.send(part);
    let mut calls = Vec::new();
    let complete = stage
        .wait("send Complete", PATIENCE, |seen| match &seen.event {
            Event::Lineage { lease: of, traceparent } if *of == lease => {
                calls.push(traceparent.clone());
                None
            }
            Event::Complete(_, complete) if complete.lease == lease => Some(complete.clone()),
            _ => None,
        })
        .await?;
    let Some(pb::complete::Answer::Envelope(envelope)) = complete.answer else {
        return Err(Failure("a work turn wants an envelope".into()));
    };
    let fetched = result(&envelope);
    same(
        "the lineage as fetched",
        &fetched["lineage"],
        &json!(["turn-1", "turn-2", "turn-3", "turn-4", "turn-5"]),
    )?;
    require(calls.iter().all(|header| header.get(3..35) == Some(&trace)), || {
        format!("GetLineage must carry the attempt's trace {trace} as traceparent; it carried {calls:?}")
    })?;
    Ok(format!("2 entries as assigned; 5 fetched in {} calls that carry the trace", calls.len()))
}

pub(super) async fn traceparent(stage: &mut Stage) -> Verdict {
    let assignment = stage.assignment(json!({"actions": []}));
    let parent = assignment.traceparent.clone();
    let lease = stage.send(assignment);
    let result = result(&stage.envelope(&lease).await?);
    same("traceparent", &result["traceparent"], &json!(parent))?;
    let child = result["child_traceparent"].as_str().unwrap_or_default();
    let parts: Vec<&str> = child.split('-').collect();
    let hex = |s: &str, len| s.len() == len && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let well_formed =
        matches!(parts[..], ["00", trace, span, flags] if hex(trace, 32) && hex(span, 16) && hex(flags, 2));
    require(well_formed, || format!("child_traceparent {child:?} is no W3C traceparent"))?;
    require(parts[1] == &parent[3..35], || format!("child_traceparent {child} left the trace of {parent}"))?;
    require(parts[2] != &parent[36..52] && parts[2] != "0000000000000000", || {
        format!("child_traceparent {child} needs a span id of its own, not that of {parent}")
    })?;
    Ok(format!("trace {} kept, span {} new", parts[1], parts[2]))
}

pub(super) async fn decide(stage: &mut Stage) -> Verdict {
    let script = json!({"actions": [{"usage": {"input_tokens": 2, "output_tokens": 3}}]});
    let mut assignment = stage.assignment(script);
    assignment.kind = pb::TurnKind::Decide.into();
    assignment.best_result = Some(from_json(json!({"best": true})));
    let lease = stage.send(assignment);
    let decision = match stage.answer(&lease).await?.1.answer {
        Some(pb::complete::Answer::Decision(decision)) => decision,
        other => {
            return Err(Failure(format!("a decide turn wants a decision, not {}", kind(other.as_ref()))));
        }
    };
    match &decision.decision {
        Some(pb::decision::Decision::CompletePartial(partial)) if partial.reason == "conformance" => {}
        other => {
            return Err(Failure(format!(
                "CompletePartial with reason \"conformance\" was due, not {other:?}"
            )));
        }
    }
    used(decision.usage.as_ref(), 2, 3)?;
    Ok("CompletePartial with usage 2 + 3".into())
}

pub(super) async fn validate(stage: &mut Stage) -> Verdict {
    let usage = json!({"usage": {"input_tokens": 2, "output_tokens": 3}});
    let said = json!({"agree": false, "confidence": 0.25, "reasons": ["it is half of it"]});
    let seen = ["it is half of it", "author writer", "result the draft", "criterion it answers the goal"];
    let against = verdict(stage, json!({"actions": [usage], "verdict": said})).await?;
    let is = |found: &pb::Verdict, wanted: pb::Judgement, confidence: f64| {
        require(found.verdict() == wanted, || format!("{wanted:?} was due, not {:?}", found.verdict()))?;
        let said = found.confidence;
        require(said == Some(confidence), || format!("confidence {confidence} was due, not {said:?}"))
    };
    is(&against, pb::Judgement::Disagree, 0.25)?;
    require(against.reasons == seen, || format!("the reasons {seen:?} were due, not {:?}", against.reasons))?;
    used(against.usage.as_ref(), 2, 3)?;
    let said = json!({"agree": true, "confidence": 0.75});
    let agreed = verdict(stage, json!({"actions": [], "verdict": said})).await?;
    is(&agreed, pb::Judgement::Agree, 0.75)?;
    Ok("DISAGREE with the reasons, author, result and criteria seen, usage 2 + 3; then AGREE".into())
}

/// What the worker says of a candidate by this script.
async fn verdict(stage: &mut Stage, script: Value) -> Result<pb::Verdict, Failure> {
    let mut assignment = stage.assignment(script);
    assignment.kind = pb::TurnKind::Validate.into();
    assignment.author = "writer".into();
    assignment.criteria = vec!["it answers the goal".into()];
    assignment.candidate = Some(pb::StatusEnvelope {
        status: pb::Status::Success.into(),
        result: Some(from_json(json!("the draft"))),
        ..Default::default()
    });
    let lease = stage.send(assignment);
    match stage.answer(&lease).await?.1.answer {
        Some(pb::complete::Answer::Verdict(verdict)) => Ok(verdict),
        other => Err(Failure(format!("a validate turn wants a verdict, not {}", kind(other.as_ref())))),
    }
}

async fn failing(stage: &mut Stage, action: &str) -> Result<pb::StatusEnvelope, Failure> {
    let usage = json!({"usage": {"input_tokens": 4, "output_tokens": 1}});
    let lease = stage.assign(json!({"actions": [usage, {action: "the roof is on fire"}]}));
    let envelope = stage.envelope(&lease).await?;
    status(&envelope, pb::Status::Failed)?;
    used(envelope.usage.as_ref(), 4, 1)?;
    require(envelope.reason.contains("the roof is on fire"), || {
        format!("the reason {:?} does not hold the error's message", envelope.reason)
    })?;
    Ok(envelope)
}

pub(super) async fn error(stage: &mut Stage) -> Verdict {
    let envelope = failing(stage, "fail").await?;
    require(!envelope.retryable, || "an ordinary error must not be retryable".into())?;
    let reason = &envelope.reason;
    let named = reason.split_once(": ").is_some_and(|(name, _)| !name.is_empty());
    require(named, || format!("the reason {reason:?} does not read \"<type>: <message>\""))?;
    let lease = stage.assign(json!({"actions": [{"fail": "long ".repeat(1_000)}]}));
    let long = stage.envelope(&lease).await?.reason.chars().count();
    require(long <= 1_000, || format!("a reason of {long} characters: 1,000 at most"))?;
    // Two bytes each: a worker that cuts at bytes keeps half of them.
    let lease = stage.assign(json!({"actions": [{"fail": "é".repeat(5_000)}]}));
    let wide = stage.envelope(&lease).await?.reason.chars().count();
    require((900..=1_000).contains(&wide), || {
        format!(
            "a long reason of non-ASCII letters was cut to {wide} characters: 1,000 characters, not bytes, may stay"
        )
    })?;
    Ok(format!("FAILED, reason {reason:?}, usage 4 + 1; a long reason cut to {long} characters"))
}

pub(super) async fn retryable_error(stage: &mut Stage) -> Verdict {
    let envelope = failing(stage, "fail_retryable").await?;
    require(envelope.retryable, || "a technical error must be retryable".into())?;
    Ok(format!("FAILED, retryable, reason {:?}", envelope.reason))
}
