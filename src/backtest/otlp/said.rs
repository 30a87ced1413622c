//! Messages as instrumentations write them, in the shapes that are about: roles with parts, chat-completion objects, bare
//! text. Never here: spans, or order.

use std::sync::Arc;

use serde_json::Value;

use crate::backtest::trace::StepRole;

/// One thing that was said, by whomever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// As whom.
    pub(super) role: StepRole,
    /// What; shared, because every call of a model is sent the whole conversation again.
    pub(super) what: Arc<What>,
}

impl Said {
    fn new(role: StepRole, what: What) -> Self {
        Self { role, what: Arc::new(what) }
    }
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum What {
    /// Text, and whatever is no text as its JSON.
    Text(String),
    /// A tool is to be called.
    Call(Call),
    /// A tool answered.
    Response {
        /// The id of the call, where it is known.
        id: Option<String>,
        /// The answer.
        result: String,
    },
}

impl What {
    /// About how many bytes it holds.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text(text) | Self::Response { result: text, .. } => text.len(),
            Self::Call(call) => call.canonical.len(),
        }
    }
}

/// A tool is to be called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Call {
    /// The id of the call, where it is known.
    pub(super) id: Option<String>,
    /// The tool.
    pub(super) tool: String,
    /// Tool and arguments, in one spelling.
    pub(super) canonical: String,
}

impl Call {
    /// A call from its parts. Arguments may be JSON or JSON as text: both are written with sorted keys.
    pub(super) fn new(id: Option<&str>, tool: &str, arguments: Option<&Value>) -> Self {
        let arguments = arguments.map(super::wire::unwrapped).unwrap_or_default();
        let canonical =
            if arguments.is_null() { format!("{tool}()") } else { format!("{tool}({})", plain(&arguments)) };
        Self { id: id.map(str::to_owned), tool: tool.to_owned(), canonical }
    }
}

/// Text as it is, anything else as JSON.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Everything said in `value`: a list of messages, one message, or text by `role`.
pub(super) fn parse(value: &Value, role: StepRole) -> Vec<Said> {
    match value {
        Value::Array(list) => list.iter().flat_map(|message| one(message, role)).collect(),
        other => one(other, role),
    }
}

/// One message.
fn one(value: &Value, role: StepRole) -> Vec<Said> {
    let Some(message) = value.as_object() else {
        return text(&plain(value), role).into_iter().collect();
    };
    // A choice wraps its message.
    if let Some(inner @ Value::Object(_)) = message.get("message") {
        return one(inner, role);
    }
    if !message.contains_key("role") && message.get("type").is_some_and(Value::is_string) {
        return part(value, role).into_iter().collect();
    }
    let role = message.get("role").and_then(Value::as_str).map_or(role, role_of);
    if let Some(parts) = message.get("parts").and_then(Value::as_array) {
        return joined(parts.iter().filter_map(|value| part(value, role)));
    }
    let mut said = match message.get("content") {
        Some(Value::Array(parts)) => joined(parts.iter().filter_map(|value| part(value, role))),
        Some(content) if role == StepRole::Tool => {
            let id = ["tool_call_id", "id"].iter().find_map(|key| message.get(*key).and_then(Value::as_str));
            let what = What::Response { id: id.map(str::to_owned), result: plain(content) };
            vec![Said::new(role, what)]
        }
        Some(content) => text(&plain(content), role).into_iter().collect(),
        None => Vec::new(),
    };
    let calls = message.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
    said.extend(calls.map(|call| {
        let function = call.get("function").unwrap_or(call);
        Said::new(role, call_of(call.get("id"), function))
    }));
    said
}

/// One part of a message.
fn part(value: &Value, role: StepRole) -> Option<Said> {
    let kind = value.get("type").and_then(Value::as_str).unwrap_or("text");
    let field = |names: &[&str]| names.iter().find_map(|name| value.get(*name));
    match kind {
        "tool_call" | "tool_use" => Some(Said::new(role, call_of(value.get("id"), value))),
        "tool_call_response" | "tool_result" => {
            let id = field(&["id", "tool_use_id"]).and_then(Value::as_str).map(str::to_owned);
            let result = field(&["response", "result", "content"]).map(plain).unwrap_or_default();
            Some(Said::new(StepRole::Tool, What::Response { id, result }))
        }
        // What a model thinks aloud is in its tokens, not in what it says.
        "reasoning" | "thinking" => None,
        "text" | "output_text" | "input_text" => {
            text(&plain(field(&["content", "text"]).unwrap_or(&Value::Null)), role)
        }
        _ => text(&value.to_string(), role),
    }
}

fn call_of(id: Option<&Value>, function: &Value) -> What {
    let tool = function.get("name").and_then(Value::as_str).unwrap_or("tool");
    let arguments = ["arguments", "input"].iter().find_map(|key| function.get(*key));
    What::Call(Call::new(id.and_then(Value::as_str), tool, arguments))
}

fn text(text: &str, role: StepRole) -> Option<Said> {
    (!text.trim().is_empty()).then(|| Said::new(role, What::Text(text.to_owned())))
}

/// Texts that follow each other are one text.
fn joined(said: impl Iterator<Item = Said>) -> Vec<Said> {
    let mut out: Vec<Said> = Vec::new();
    for next in said {
        match (out.last().map(|last| &*last.what), &*next.what) {
            (Some(What::Text(text)), What::Text(more)) => {
                let text = format!("{text}\n{more}");
                out.pop();
                out.push(Said::new(next.role, What::Text(text)));
            }
            _ => out.push(next),
        }
    }
    out
}

fn role_of(role: &str) -> StepRole {
    match role {
        "assistant" | "ai" | "model" => StepRole::Assistant,
        "system" | "developer" => StepRole::System,
        "tool" | "function" => StepRole::Tool,
        _ => StepRole::User,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: &Value, expected: &[&str]) {
        let said: Vec<String> = parse(value, StepRole::User)
            .iter()
            .map(|said| match &*said.what {
                What::Text(text) => format!("{:?} {text}", said.role),
                What::Call(call) => format!("{:?} {:?} {}", said.role, call.id, call.canonical),
                What::Response { id, result } => format!("{:?} {id:?} -> {result}", said.role),
            })
            .collect();
        assert_eq!(said, expected, "{value}");
    }

    #[test]
    fn roles_with_parts() {
        check(
            &json!([
                {"role": "system", "parts": [{"type": "text", "content": "a"}, {"type": "text", "content": "b"}]},
                {"role": "assistant", "finish_reason": "tool_call", "parts": [
                    {"type": "reasoning", "content": "hm"},
                    {"type": "tool_call", "id": "c1", "name": "find", "arguments": {"b": 1, "a": 2}}]},
                {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": {"x": 1}}]},
                {"role": "user", "parts": [{"type": "uri", "uri": "gs://x"}]},
            ]),
            &[
                "System a\nb",
                "Assistant Some(\"c1\") find({\"a\":2,\"b\":1})",
                "Tool Some(\"c1\") -> {\"x\":1}",
                "User {\"type\":\"uri\",\"uri\":\"gs://x\"}",
            ],
        );
    }

    #[test]
    fn chat_completions_and_bare_text() {
        check(
            &json!([{"message": {"role": "assistant", "content": "", "tool_calls": [
                {"id": "c", "function": {"name": "f", "arguments": "{\"z\": 1, \"y\": []}"}}]}},
                {"role": "tool", "tool_call_id": "c", "content": "done"},
                {"role": "user", "content": [{"type": "text", "text": "hi"}]}]),
            &["Assistant Some(\"c\") f({\"y\":[],\"z\":1})", "Tool Some(\"c\") -> done", "User hi"],
        );
        check(&json!("hello"), &["User hello"]);
        check(&json!({"role": "assistant", "content": null}), &[]);
        check(&json!([{"type": "text", "content": "be kind"}]), &["User be kind"]);
        check(&json!(null), &[]);
    }
}
