//! Spans as they are written by instrumentations, and the runs they become.

use serde_json::{Value, json};

use super::*;
use crate::backtest::{
    fault::Place,
    trace::{RunOutcome, StepKind, StepRole},
};

fn attributes(fields: &Value) -> Value {
    let one = |(key, value): (&String, &Value)| {
        let value = match value {
            Value::String(_) => json!({"stringValue": value}),
            Value::Number(number) => json!({"intValue": number.to_string()}),
            // As SDKs write what does not fit into an attribute.
            other => json!({"stringValue": other.to_string()}),
        };
        json!({"key": key, "value": value})
    };
    fields.as_object().unwrap().iter().map(one).collect()
}

/// A span of trace `t`: id, parent, start and end, attributes.
fn span(id: &str, parent: &str, from: u64, to: u64, fields: &Value) -> Value {
    json!({"traceId": "T", "spanId": id, "parentSpanId": parent, "name": "n", "kind": 1,
        "startTimeUnixNano": from.to_string(), "endTimeUnixNano": to, "attributes": attributes(fields)})
}

fn document(spans: &[Value]) -> Document {
    let resource = json!({"attributes": attributes(&json!({"service.name": "desk"}))});
    let text =
        json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {}, "spans": spans}]}]});
    Document { place: Place::line(&"f.json".into(), 1), bytes: text.to_string().into_bytes() }
}

fn runs(documents: &[Document]) -> (Vec<Trace>, Vec<String>) {
    let (mut runs, mut faults) = (Vec::new(), Vec::new());
    let mut gatherer = Gatherer::default();
    for document in documents {
        gatherer.add(document, |run| runs.push(run), |fault| faults.push(fault.to_string()));
    }
    gatherer.finish(|run| runs.push(run));
    (runs, faults)
}

fn one(spans: &[Value]) -> Trace {
    let (mut runs, faults) = runs(&[document(spans)]);
    assert_eq!((runs.len(), faults.len()), (1, 0), "{faults:?}");
    runs.remove(0)
}

/// Each step as "agent role kind text tokens".
fn check(trace: &Trace, expected: &[&str]) {
    let steps: Vec<String> = trace
        .steps
        .iter()
        .map(|step| {
            let role = match step.role {
                StepRole::Assistant => "assistant",
                StepRole::User => "user",
                StepRole::Tool => "tool",
                StepRole::System => "system",
            };
            let kind = match step.kind {
                StepKind::Message => "says",
                StepKind::ToolCall => "calls",
                StepKind::ToolResult => "answers",
            };
            let tokens = match (step.prompt_tokens, step.completion_tokens) {
                (None, None) => String::new(),
                (read, written) => format!(" {}+{}", read.unwrap_or(0), written.unwrap_or(0)),
            };
            format!("{} {role} {kind} {}{tokens}", step.agent, step.text)
        })
        .collect();
    assert_eq!(steps, expected);
}

fn text(role: &str, text: &str) -> Value {
    json!({"role": role, "parts": [{"type": "text", "content": text}]})
}

#[test]
fn a_conversation_with_a_tool_is_told_once_and_in_order() {
    let ask = json!({"role": "assistant", "parts": [
        {"type": "tool_call", "id": "c1", "name": "find", "arguments": {"q": "x"}}]});
    let found =
        json!({"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "none"}]});
    let trace = one(&[
        span(
            "4",
            "1",
            40,
            50,
            &json!({"gen_ai.operation.name": "chat",
            "gen_ai.usage.input_tokens": 30, "gen_ai.usage.output_tokens": 4,
            "gen_ai.input.messages": [text("user", "find x"), ask, found],
            "gen_ai.output.messages": [text("assistant", "there is none")]}),
        ),
        span(
            "3",
            "1",
            20,
            30,
            &json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "find",
            "gen_ai.tool.call.id": "c1", "gen_ai.tool.call.arguments": {"q": "x"},
            "gen_ai.tool.call.result": "none"}),
        ),
        span(
            "1",
            "",
            1,
            60,
            &json!({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "clerk",
            "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 10}),
        ),
        span(
            "2",
            "1",
            10,
            20,
            &json!({"gen_ai.operation.name": "chat",
            "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 6,
            "gen_ai.system_instructions": [{"type": "text", "content": "be brief"}],
            "gen_ai.input.messages": [text("user", "find x")],
            "gen_ai.output.messages": [ask]}),
        ),
    ]);
    assert_eq!((trace.trace_id.as_str(), trace.dataset.as_str()), ("t", "desk"));
    assert_eq!(trace.outcome, RunOutcome::Unknown);
    assert!(trace.steps[0].templated);
    assert_eq!(trace.steps[2].call.as_deref(), Some("find({\"q\":\"x\"})"));
    check(
        &trace,
        &[
            "system system says be brief",
            "user user says find x",
            "clerk assistant calls find({\"q\":\"x\"}) 10+6",
            "find tool answers none",
            "clerk assistant says there is none 30+4",
        ],
    );
}

#[test]
fn the_same_words_said_twice_are_two_steps() {
    let chat = |id: &str, at: u64, input: Value| {
        span(
            id,
            "",
            at,
            at + 1,
            &json!({"gen_ai.operation.name": "chat", "gen_ai.agent.name": "a",
            "gen_ai.input.messages": input, "gen_ai.output.messages": [text("assistant", "done")]}),
        )
    };
    let (go, done) = (text("user", "go on"), text("assistant", "done"));
    let trace = one(&[
        chat("1", 1, json!([go])),
        chat("2", 2, json!([go, done, go])),
        chat("3", 3, json!([go, done, go, done, text("user", "done")])),
    ]);
    check(
        &trace,
        &[
            "user user says go on",
            "a assistant says done",
            "user user says go on",
            "a assistant says done",
            // Said by a person, though an agent has said it twice.
            "user user says done",
            "a assistant says done",
        ],
    );
}

#[test]
fn without_content_tokens_are_still_counted_and_nothing_looks_the_same() {
    let trace = one(&[
        span("1", "", 1, 9, &json!({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 7})),
        span("2", "", 2, 2, &json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "find"})),
        span("3", "", 3, 3, &json!({"gen_ai.operation.name": "embeddings", "gen_ai.usage.input_tokens": 9})),
        span("4", "", 4, 4, &json!({"http.method": "GET"})),
        span(
            "5",
            "",
            5,
            5,
            &json!({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "b",
            "gen_ai.usage.output_tokens": 3}),
        ),
    ]);
    check(&trace, &["desk assistant says  7+0", "desk assistant calls  0+0", "b assistant says  0+3"]);
    assert_eq!(trace.steps[1].call, None);
}

#[test]
fn older_ways_of_writing_messages() {
    let trace = one(&[
        span(
            "1",
            "",
            1,
            2,
            &json!({"gen_ai.system": "x", "gen_ai.usage.prompt_tokens": 5,
            "gen_ai.usage.completion_tokens": 2, "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "hi",
            "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "hello"}),
        ),
        {
            let mut span = span("2", "", 3, 4, &json!({"gen_ai.operation.name": "chat"}));
            span["events"] = json!([
                {"name": "gen_ai.user.message", "attributes": attributes(&json!({"content": "bye"}))},
                {"name": "gen_ai.choice", "attributes": attributes(&json!({"message": {"content": "so long"}}))},
                {"name": "other"}]);
            span
        },
        {
            let mut span = span("3", "", 5, 6, &json!({"gen_ai.operation.name": "chat"}));
            span["events"] = json!([{"name": "gen_ai.client.inference.operation.details", "attributes": [
                {"key": "gen_ai.output.messages", "value": {"arrayValue": {"values": [{"kvlistValue": {"values": [
                    {"key": "role", "value": {"stringValue": "assistant"}},
                    {"key": "content", "value": {"stringValue": "structured"}}]}}]}}}]}]);
            span
        },
    ]);
    check(
        &trace,
        &[
            "user user says hi",
            "desk assistant says hello 5+2",
            "user user says bye",
            "desk assistant says so long",
            "desk assistant says structured",
        ],
    );
}

#[test]
fn outcomes_are_taken_from_who_knows() {
    let outcome = |fields: &Value, status: &Value, events: Value| {
        let mut span = span("1", "", 1, 2, fields);
        span["status"] = status.clone();
        span["events"] = events;
        one(&[span]).outcome
    };
    let chat = json!({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 1});
    assert_eq!(outcome(&chat, &json!({"code": 1}), json!([])), RunOutcome::Unknown);
    assert_eq!(outcome(&chat, &json!({"code": "STATUS_CODE_ERROR"}), json!(null)), RunOutcome::Failure);
    let graded = json!([{"name": "gen_ai.evaluation.result",
        "attributes": attributes(&json!({"gen_ai.evaluation.score.label": "Pass"}))}]);
    assert_eq!(outcome(&chat, &json!({}), graded), RunOutcome::Success);
    let own = json!({"gen_ai.operation.name": "invoke_workflow", "bailiwick.outcome.state": "SUCCEEDED",
        "gen_ai.usage.input_tokens": 1});
    assert_eq!(outcome(&own, &json!({"code": 2}), json!([])), RunOutcome::Success);
}

#[test]
fn parents_in_a_circle_do_no_harm() {
    let chat = json!({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 1});
    let (runs, _) = runs(&[document(&[span("1", "2", 1, 2, &chat), span("2", "1", 1, 2, &chat)])]);
    assert!(runs.len() <= 1);
}

#[test]
fn spans_come_in_any_document_and_traces_in_the_order_of_their_first() {
    let chat = json!({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 1});
    let of = |trace: &str, id: &str, at| {
        let mut span = span(id, "", at, at, &chat);
        span["traceId"] = trace.into();
        span
    };
    let documents = [
        document(&[of("b", "1", 5), of("a", "2", 1)]),
        document(&[]),
        document(&[of("B", "3", 1), of("c", "4", 1)]),
    ];
    let (found, _) = runs(&documents);
    let lengths: Vec<_> = found.iter().map(|run| (run.trace_id.as_str(), run.steps.len())).collect();
    assert_eq!(lengths, [("b", 2), ("a", 1), ("c", 1)]);

    let mut gatherer = Gatherer { most: 1_700, ..Gatherer::default() };
    let (mut early, mut faults) = (Vec::new(), Vec::new());
    for document in &documents {
        gatherer.add(document, |run| early.push(run.trace_id), |fault| faults.push(fault.to_string()));
    }
    assert_eq!((early.len(), faults.len()), (0, 0), "four short spans fit");
    let more = document(&[of("d", "5", 1)]);
    gatherer.add(&more, |run| early.push(run.trace_id), |_| {});
    let late = document(&[of("a", "6", 1)]);
    gatherer.add(&late, |_| {}, |fault| faults.push(fault.to_string()));
    assert_eq!(early[0], "a", "it had been silent longest");
    assert!(faults[0].contains("trace a"), "{faults:?}");
}

#[test]
fn what_does_not_fit_is_named() {
    let told = |text: &str| {
        let document = Document { place: Place::line(&"f".into(), 3), bytes: text.as_bytes().to_vec() };
        runs(&[document]).1.join("; ")
    };
    assert!(
        told(r#"{"resourceSpans": 7}"#).starts_with("f:3:19: is not OTLP/JSON: invalid type: integer `7`")
    );
    assert!(told(r#"{"resourceSpans": [{"scopeSpans"#).contains("is not JSON"));
    let nameless = r#"{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "n"}, {"traceId": null}]}]}]}"#;
    assert_eq!(told(nameless), "f:3: spans without traceId or spanId, left out: 2");
    assert_eq!(told(r#"{"resourceSpans": null}"#), "");
}
