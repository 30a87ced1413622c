//! What a span tells about a run, with the rest of it dropped: who, what kind of work, what was said, what it cost. The names
//! are OpenTelemetry's GenAI conventions, the current ones first and older ones behind them. Never here: order.

use serde_json::{Map, Value};

use super::{
    said::{self, Call, Said},
    wire::{Attributes, Event, Nanos, Span},
};
use crate::backtest::trace::{RunOutcome, StepRole};

/// What a span tells.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) id: String,
    pub(super) parent: String,
    pub(super) start: Nanos,
    pub(super) end: Nanos,
    pub(super) agent: Option<String>,
    pub(super) workflow: Option<String>,
    pub(super) work: Work,
    /// How the run was graded, as far as this span says.
    pub(super) outcome: Option<RunOutcome>,
    /// Whether it ended in an error.
    pub(super) failed: bool,
}

/// What kind of work a span stands for.
#[derive(Debug)]
pub(super) enum Work {
    /// A call of a model, or of an agent whose inside is not recorded.
    Model(Box<Exchange>),
    /// A call of an agent or a whole run: the work of a model only where nothing inside it is.
    Agent(Box<Exchange>),
    /// A tool at work.
    Tool {
        /// The call.
        call: Call,
        /// What came back, where it was recorded.
        result: Option<String>,
    },
    /// Anything else; kept because work may hang below it.
    Other,
}

/// What went into a model and came out.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    pub(super) input: Vec<Said>,
    pub(super) output: Vec<Said>,
    /// Tokens in and out, where they were counted.
    pub(super) tokens: Option<(u64, u64)>,
}

impl Exchange {
    fn of(span: &Span) -> Self {
        let mut input = Vec::new();
        let mut output = Vec::new();
        let sources = std::iter::once(&span.attributes).chain(span.events.iter().map(|e| &e.attributes));
        for source in sources {
            add(source, &["gen_ai.system_instructions"], StepRole::System, &mut input);
            add(source, &["gen_ai.input.messages", "gen_ai.prompt"], StepRole::User, &mut input);
            add(source, &["gen_ai.output.messages", "gen_ai.completion"], StepRole::Assistant, &mut output);
        }
        numbered(&span.attributes, "gen_ai.prompt", StepRole::User, &mut input);
        numbered(&span.attributes, "gen_ai.completion", StepRole::Assistant, &mut output);
        for event in &span.events {
            of_event(event, &mut input, &mut output);
        }
        Self { input, output, tokens: tokens(&span.attributes) }
    }

    /// Whether nothing says that a model was at work.
    pub(super) fn is_empty(&self) -> bool {
        self.output.is_empty() && self.tokens.is_none()
    }
}

/// The first of these attributes that is there.
fn add(source: &Attributes, keys: &[&str], role: StepRole, to: &mut Vec<Said>) {
    if let Some(value) = keys.iter().find_map(|key| source.value(key)) {
        to.extend(said::parse(&value, role));
    }
}

/// `gen_ai.prompt.0.content` and its kind: lists flattened into attributes.
fn numbered(attributes: &Attributes, head: &str, role: StepRole, to: &mut Vec<Said>) {
    for index in 0.. {
        let field = |name: &str| attributes.value(&format!("{head}.{index}.{name}"));
        let content = field("content");
        let call = field("tool_calls.0.name").map(|name| {
            let arguments = field("tool_calls.0.arguments").unwrap_or_default();
            Value::Object(Map::from_iter([("name".to_owned(), name), ("arguments".to_owned(), arguments)]))
        });
        if content.is_none() && call.is_none() {
            return;
        }
        let mut message = Map::new();
        message.insert("content".to_owned(), content.unwrap_or_default());
        message.insert("tool_calls".to_owned(), call.into_iter().collect());
        message.extend(field("role").map(|role| ("role".to_owned(), role)));
        to.extend(said::parse(&Value::Object(message), role));
    }
}

/// The older way: a span event for each message.
fn of_event(event: &Event, input: &mut Vec<Said>, output: &mut Vec<Said>) {
    let (role, to) = match event.name.as_str() {
        "gen_ai.system.message" => ("system", input),
        "gen_ai.user.message" => ("user", input),
        "gen_ai.assistant.message" => ("assistant", input),
        "gen_ai.tool.message" => ("tool", input),
        "gen_ai.choice" => ("assistant", output),
        _ => return,
    };
    let mut message = Map::from_iter([("role".to_owned(), role.into())]);
    for key in ["content", "tool_calls", "id", "message"] {
        message.extend(event.attributes.value(key).map(|value| (key.to_owned(), value)));
    }
    to.extend(said::parse(&Value::Object(message), StepRole::Assistant));
}

/// Either count may be missing; where one is there, the other is taken as nothing.
fn tokens(attributes: &Attributes) -> Option<(u64, u64)> {
    let count = |keys: [&str; 2]| keys.iter().find_map(|key| attributes.tokens(key));
    let read = count(["gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"]);
    let written = count(["gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"]);
    (read.is_some() || written.is_some()).then(|| (read.unwrap_or(0), written.unwrap_or(0)))
}

impl Heard {
    /// What `span` tells.
    pub(super) fn of(span: Span) -> Self {
        let attributes = &span.attributes;
        Self {
            agent: attributes.text("gen_ai.agent.name").map(str::to_owned),
            workflow: attributes.text("gen_ai.workflow.name").map(str::to_owned),
            work: work(&span),
            outcome: outcome(&span),
            failed: span.status.is_error(),
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano.max(span.start_time_unix_nano),
            id: span.span_id,
            parent: span.parent_span_id,
        }
    }

    /// Everything said in it.
    pub(super) fn said(&mut self) -> impl Iterator<Item = &mut Said> {
        let exchange = match &mut self.work {
            Work::Model(exchange) | Work::Agent(exchange) => Some(exchange),
            Work::Tool { .. } | Work::Other => None,
        };
        exchange.into_iter().flat_map(|exchange| exchange.input.iter_mut().chain(&mut exchange.output))
    }

    /// About how many bytes it holds beside what is said in it.
    pub(super) fn size(&self) -> usize {
        match &self.work {
            Work::Tool { call, result } => {
                FIXED + call.canonical.len() + result.as_ref().map_or(0, String::len)
            }
            Work::Model(exchange) | Work::Agent(exchange) => {
                FIXED + (exchange.input.len() + exchange.output.len()) * size_of::<Said>()
            }
            Work::Other => FIXED,
        }
    }
}

/// Bytes of a span beside its content, about.
const FIXED: usize = 400;

fn work(span: &Span) -> Work {
    let attributes = &span.attributes;
    match attributes.text("gen_ai.operation.name") {
        Some("chat" | "text_completion" | "generate_content") => Work::Model(Box::new(Exchange::of(span))),
        Some("invoke_agent" | "invoke_workflow") => Work::Agent(Box::new(Exchange::of(span))),
        Some("execute_tool") => tool(span),
        Some(_) => Work::Other,
        None if attributes.text("gen_ai.tool.name").is_some() && tokens(attributes).is_none() => tool(span),
        None => {
            let exchange = Exchange::of(span);
            if exchange.is_empty() { Work::Other } else { Work::Model(Box::new(exchange)) }
        }
    }
}

fn tool(span: &Span) -> Work {
    let attributes = &span.attributes;
    let name = attributes.text("gen_ai.tool.name").unwrap_or("tool");
    let arguments = attributes.value("gen_ai.tool.call.arguments");
    let result = attributes.value("gen_ai.tool.call.result").map(|value| said::plain(&value));
    let mut call = Call::new(attributes.text("gen_ai.tool.call.id"), name, arguments.as_ref());
    if arguments.is_none() && result.is_none() {
        // Content was not recorded: two such calls must not look the same.
        call.canonical.clear();
    }
    Work::Tool { call, result }
}

/// A task of this server says how it ended; an evaluation says what it found.
fn outcome(span: &Span) -> Option<RunOutcome> {
    let graded = |text: &str| match text.to_ascii_lowercase().as_str() {
        "succeeded" | "success" | "pass" | "passed" | "correct" => Some(RunOutcome::Success),
        "failed" | "failure" | "fail" | "incorrect" | "dead_lettered" => Some(RunOutcome::Failure),
        _ => None,
    };
    let evaluations = span.events.iter().filter(|event| event.name == "gen_ai.evaluation.result");
    let labels = evaluations.filter_map(|event| event.attributes.text("gen_ai.evaluation.score.label"));
    span.attributes.text("bailiwick.outcome.state").into_iter().chain(labels).find_map(graded)
}
