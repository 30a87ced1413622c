//! What a rule speaks about, as values of the language. Numbers of JSON are doubles there, as they are on the wire: a rule
//! that works on one result works on the next.

use std::{collections::HashMap, sync::Arc};

use cel::{Context, Value};
use serde_json::json;

use crate::{
    engine::answer_checks::AnswerChecks,
    types::{
        contract::{Contract, Start},
        envelope::Envelope,
        usage::Usage,
    },
};

/// The names a rule may use.
pub(super) const NAMES: [&str; 4] = ["result", "confidence", "usage", "task"];

/// What a rule is evaluated over.
#[derive(Debug, Clone)]
pub(in crate::runtime) struct Subject {
    result: Value,
    confidence: f64,
    usage: Value,
    task: Value,
}

impl Subject {
    /// An answer that is to be judged.
    pub(in crate::runtime) fn of(checks: &AnswerChecks, envelope: &Envelope) -> Self {
        let result = envelope.result.as_ref().map(|result| value(&result.to_json()));
        Self {
            result: result.unwrap_or(Value::Null),
            confidence: envelope.confidence.unwrap_or_default().get(),
            usage: envelope.usage.map_or_else(|| map([]), usage),
            task: task(&checks.contract, &checks.task.to_string(), checks.agent.as_str(), checks.turn),
        }
    }

    /// An answer as it may come to be, with this result.
    pub(super) fn sample(contract: &Contract, result: &serde_json::Value) -> Self {
        let agent = match &contract.start {
            Start::FirstAgent(agent) => agent,
            Start::Plan(_) => &contract.owner,
        };
        let tokens = Usage { input: 100, output: 100, cached: 10, reasoning: 10, cost_nano_usd: 0 };
        Self {
            result: value(result),
            confidence: 0.9,
            usage: usage(tokens),
            task: task(contract, "00000000-0000-7000-8000-000000000000", agent.as_str(), 1),
        }
    }

    /// The names, bound.
    pub(super) fn bind(&self, context: &mut Context<'_, '_>) {
        context.add_variable_from_value("result", self.result.clone());
        context.add_variable_from_value("confidence", self.confidence);
        context.add_variable_from_value("usage", self.usage.clone());
        context.add_variable_from_value("task", self.task.clone());
    }
}

fn task(contract: &Contract, id: &str, agent: &str, turn: u32) -> Value {
    let labels = value(&json!(contract.labels));
    let input = contract.input.as_ref().map_or(Value::Null, |input| value(&input.to_json()));
    map([
        ("id", text(id)),
        ("goal", text(&contract.goal)),
        ("input", input),
        ("owner", text(contract.owner.as_str())),
        ("labels", labels),
        ("agent", text(agent)),
        ("turn", Value::Int(i64::from(turn))),
    ])
}

fn usage(usage: Usage) -> Value {
    let tokens = |count: u64| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
    map([
        ("input_tokens", tokens(usage.input)),
        ("output_tokens", tokens(usage.output)),
        ("cached_tokens", tokens(usage.cached)),
        ("reasoning_tokens", tokens(usage.reasoning)),
        ("total_tokens", tokens(usage.tokens())),
    ])
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value));
    Value::Map(entries.collect::<HashMap<String, Value>>().into())
}

fn text(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}

/// JSON as a value. As deep as the JSON, which is bounded where it comes in.
fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Bool(*flag),
        serde_json::Value::Number(number) => Value::Float(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(string) => text(string),
        serde_json::Value::Array(items) => Value::List(Arc::new(items.iter().map(value).collect())),
        serde_json::Value::Object(fields) => {
            let fields = fields.iter().map(|(key, field)| (key.clone(), value(field)));
            Value::Map(fields.collect::<HashMap<String, Value>>().into())
        }
    }
}
