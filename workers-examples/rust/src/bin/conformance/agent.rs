//! The `conformance` agent: does what the script in its input says. The language is described in docs/conformance.md.

use std::time::Duration;

use bailiwick_worker::{AgentSpec, Answer, Context, HandlerError, from_json, pb, to_json};
use serde_json::{Value, json};

/// How the agent is declared.
pub(crate) fn spec() -> AgentSpec {
    let description = "Does what a conformance script says".into();
    AgentSpec { name: "conformance".into(), version: "1".into(), description, ..Default::default() }
}

/// Runs the script, then answers.
pub(crate) async fn handle(ctx: Context) -> Result<Answer, HandlerError> {
    let input = ctx.input();
    let (mut granted, mut children) = (Vec::new(), Vec::new());
    let mut lineage: Vec<String> = ctx.assignment().lineage.iter().map(|e| e.id.clone()).collect();
    for action in input["actions"].as_array().into_iter().flatten() {
        let Some((name, value)) = action.as_object().and_then(|a| a.iter().next()) else { continue };
        let number = value.as_i64().unwrap_or_default();
        match name.as_str() {
            "usage" => {
                let tokens = |field: &str| value[field].as_i64().unwrap_or_default();
                ctx.usage(tokens("input_tokens"), tokens("output_tokens")).await;
            }
            "progress" => {
                let step = pb::WorkStep { content: text(&value["text"]), ..Default::default() };
                ctx.report(vec![step], value.get("partial").cloned()).await;
            }
            "request_budget" => granted.push(ctx.request_budget(number, "conformance").await),
            "sleep_ms" => tokio::time::sleep(Duration::from_millis(number.unsigned_abs())).await,
            "lineage" => lineage = ctx.lineage().await?.into_iter().map(|e| e.id).collect(),
            "child" => children.push(child(&ctx, value).await?),
            "fail" => return Err(HandlerError::failed(text(value))),
            "fail_retryable" => return Err(HandlerError::retryable(text(value))),
            other => return Err(HandlerError::failed(format!("unknown action {other}"))),
        }
    }
    if ctx.is_decide() {
        return Ok(Answer::complete_partial(tripped(&ctx), "conformance"));
    }
    if ctx.is_validate() {
        return Ok(verdict(&ctx, &input["verdict"]));
    }
    Ok(match input.get("answer") {
        Some(answer) => scripted(answer),
        None => Answer::success(seen(&ctx, &granted, &lineage, &children)).confidence(1.0),
    })
}

fn scripted(script: &Value) -> Answer {
    let result = script["result"].clone();
    let mut answer = match script["status"].as_str() {
        Some("partial") => Answer::partial(result, ""),
        Some("failed") => Answer::failed(""),
        _ => Answer::success(result),
    };
    answer = answer.reason(text(&script["reason"]));
    if let Some(confidence) = script["confidence"].as_f64() {
        answer = answer.confidence(confidence);
    }
    if let Some(score) = script["score"].as_f64() {
        answer = answer.score(score);
    }
    answer = answer.inputs_used(script["inputs_used"].as_array().into_iter().flatten().map(text));
    if let Some(agent) = script["hand_off"]["agent"].as_str() {
        answer = answer.hand_off(agent, script["hand_off"]["input"].clone());
    }
    match script["ask_human"].as_str() {
        Some(question) => answer.ask_human(question),
        None => answer,
    }
}

/// What the script says of the candidate; without a word it agrees. Its last reasons tell what it has seen.
fn verdict(ctx: &Context, script: &Value) -> Answer {
    let answer = match script["agree"].as_bool() {
        Some(false) => {
            let result = ctx.candidate().and_then(|envelope| envelope.result.as_ref()).map(to_json);
            let seen =
                [format!("author {}", ctx.author()), format!("result {}", text(&result.unwrap_or_default()))];
            let criteria = ctx.criteria().iter().map(|criterion| format!("criterion {criterion}"));
            let said = script["reasons"].as_array().into_iter().flatten().map(text);
            Answer::disagree(said.chain(seen).chain(criteria))
        }
        Some(true) | None => Answer::agree(),
    };
    match script["confidence"].as_f64() {
        Some(confidence) => answer.confidence(confidence),
        None => answer,
    }
}

/// Submits a child for the agent that is named, and waits for it.
async fn child(ctx: &Context, wanted: &Value) -> Result<Value, tonic::Status> {
    let agent = text(&wanted["agent"]);
    let contract = pb::Contract {
        goal: text(&wanted["goal"]),
        input: wanted.get("input").cloned().map(from_json),
        start: Some(pb::contract::Start::FirstAgent(agent.clone())),
        owner: agent,
        termination: Some(pb::Termination {
            convergence: Some(pb::Convergence::default()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let task_id = match ctx.submit_child(contract).await {
        Ok(task_id) => task_id,
        Err(refusal) => return Ok(json!({ "refused": refusal.code() as i32 })),
    };
    let outcome = ctx.wait_for(&task_id).await?.outcome.unwrap_or_default();
    let result = outcome.result.as_ref().map(to_json);
    Ok(json!({ "state": outcome.state().as_str_name(), "result": result }))
}

/// What tripped, on a decide turn, a line each.
fn tripped(ctx: &Context) -> Option<Value> {
    let line = |trip: &pb::Trip| format!("{} {} {}", trip.cause().as_str_name(), trip.times, trip.evidence);
    let lines: Vec<String> = ctx.trips().iter().map(line).collect();
    (!lines.is_empty()).then(|| lines.into())
}

fn seen(ctx: &Context, granted: &[i64], lineage: &[String], children: &[Value]) -> Value {
    let assignment = ctx.assignment();
    let terms = ctx.terms();
    json!({
        "granted": granted,
        "allowance": ctx.allowance(),
        "lineage": lineage,
        "notes": assignment.notes,
        "attempt": assignment.attempt,
        "idempotency_key": assignment.idempotency_key,
        "traceparent": ctx.traceparent(),
        "step_id": assignment.step_id,
        "children": children,
        "termination": {
            "min_confidence": terms.min_confidence,
            "turns_left": terms.turns_left,
            "acceptance": terms.acceptance,
            "patience": terms.convergence.map(|c| c.patience),
            "best_score": terms.best_score,
        },
        "child_traceparent": ctx.child_traceparent().unwrap_or_default(),
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
