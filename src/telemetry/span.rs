//! A finished span as a plain value: what the projector yields and the exporter sends.
//!
//! Never here: wire types, and payloads of tasks. A span carries figures, names and short sentences.

use std::borrow::Cow;

use serde::Serialize;

use super::semconv;
use crate::types::{time::Timestamp, trace_ids::TraceParent, usage::Usage};

/// The most bytes of a text that a span carries; the rest is cut.
pub const MAX_TEXT_BYTES: usize = 1_024;
/// The most entries of a list that an attribute carries.
pub const MAX_LIST: usize = 32;
/// The most events that a span carries; further ones are counted as dropped.
pub const MAX_EVENTS: usize = 128;

/// A finished span.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace. Not zero.
    pub trace_id: u128,
    /// The span. Not zero.
    pub span_id: u64,
    /// The span it hangs under.
    pub parent_id: Option<u64>,
    /// Whether the parent is another process's: the submitter's.
    pub parent_is_remote: bool,
    /// The submitter's `tracestate`, as it came.
    pub trace_state: Option<String>,
    /// The name.
    pub name: String,
    /// Whether it reaches out of the server: attempts do.
    pub is_client: bool,
    /// When it began, by the journal.
    pub start: Timestamp,
    /// When it ended, by the journal.
    pub end: Timestamp,
    /// The attributes, each key once.
    pub attributes: Attributes,
    /// What went wrong; `None`: nothing.
    pub error: Option<String>,
    /// What happened meanwhile.
    pub events: Events,
    /// A span of another trace that it comes from: that of the attempt that submitted a child.
    pub link: Option<TraceParent>,
}

/// Something that happened during a span.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The name.
    pub name: &'static str,
    /// When, by the journal.
    pub at: Timestamp,
    /// The attributes.
    pub attributes: Attributes,
}

/// The events of a span, bounded.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Events {
    /// The first [`MAX_EVENTS`].
    pub kept: Vec<Event>,
    /// How many more there were.
    pub dropped: u32,
}

impl Events {
    /// Adds an event, or counts it as dropped.
    pub fn push(&mut self, name: &'static str, at: Timestamp, attributes: Attributes) {
        if self.kept.len() < MAX_EVENTS {
            self.kept.push(Event { name, at, attributes });
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text, cut to [`MAX_TEXT_BYTES`].
    Text(String),
    /// A whole number.
    Number(i64),
    /// A number.
    Real(f64),
    /// Yes or no.
    Flag(bool),
    /// Texts, at most [`MAX_LIST`].
    List(Vec<String>),
}

/// Attributes, built up in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attributes(pub Vec<(Cow<'static, str>, Value)>);

impl Attributes {
    /// No attributes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text, cut where it is too long.
    #[must_use]
    pub fn text(mut self, key: impl Into<Cow<'static, str>>, text: &str) -> Self {
        self.0.push((key.into(), Value::Text(cut(text).to_owned())));
        self
    }

    /// Adds a text, unless it is empty.
    #[must_use]
    pub fn text_if_any(self, key: &'static str, text: &str) -> Self {
        if text.is_empty() { self } else { self.text(key, text) }
    }

    /// Adds a number, at most the largest that fits.
    #[must_use]
    pub fn number(mut self, key: &'static str, number: impl Into<u64>) -> Self {
        self.0.push((key.into(), Value::Number(i64::try_from(number.into()).unwrap_or(i64::MAX))));
        self
    }

    /// Adds a number, unless it is zero.
    #[must_use]
    pub fn number_if_any(self, key: &'static str, number: impl Into<u64>) -> Self {
        let number = number.into();
        if number == 0 { self } else { self.number(key, number) }
    }

    /// Adds a real number.
    #[must_use]
    pub fn real(mut self, key: &'static str, number: f64) -> Self {
        self.0.push((key.into(), Value::Real(number)));
        self
    }

    /// Adds a yes or no.
    #[must_use]
    pub fn flag(mut self, key: &'static str, flag: bool) -> Self {
        self.0.push((key.into(), Value::Flag(flag)));
        self
    }

    /// Adds one of a closed set of words, as the journal writes it.
    #[must_use]
    pub fn word(self, key: &'static str, word: impl Serialize) -> Self {
        self.text(key, &word_of(word))
    }

    /// Adds a list of texts, unless it is empty.
    #[must_use]
    pub fn list<T: AsRef<str>>(mut self, key: &'static str, texts: impl IntoIterator<Item = T>) -> Self {
        let texts: Vec<String> =
            texts.into_iter().take(MAX_LIST).map(|text| cut(text.as_ref()).to_owned()).collect();
        if !texts.is_empty() {
            self.0.push((key.into(), Value::List(texts)));
        }
        self
    }

    /// Adds tokens and money.
    #[must_use]
    pub fn usage(self, usage: Usage) -> Self {
        self.number(semconv::GEN_AI_USAGE_INPUT_TOKENS, usage.input)
            .number(semconv::GEN_AI_USAGE_OUTPUT_TOKENS, usage.output)
            .number_if_any(semconv::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, usage.cached)
            .number_if_any(semconv::GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, usage.reasoning)
            .number_if_any(semconv::COST_NANO_USD, usage.cost_nano_usd)
    }

    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

/// A unit of a closed enum, as the journal writes it; empty where it is no such thing.
pub(super) fn word_of(word: impl Serialize) -> String {
    match serde_json::to_value(word) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

/// The text, or as much of it as a span carries.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_lists_and_event_floods_are_cut() {
        let long = "ü".repeat(MAX_TEXT_BYTES);
        let attributes =
            Attributes::new().text("t", &long).list("l", vec!["x"; MAX_LIST + 1]).list("none", [""; 0]);
        assert_eq!(attributes.get("t"), Some(&Value::Text("ü".repeat(MAX_TEXT_BYTES / 2))));
        assert_eq!(attributes.get("l"), Some(&Value::List(vec!["x".to_owned(); MAX_LIST])));
        assert_eq!(attributes.get("none"), None);

        let mut events = Events::default();
        for _ in 0..MAX_EVENTS + 3 {
            events.push("e", Timestamp(1), Attributes::new());
        }
        assert_eq!((events.kept.len(), events.dropped), (MAX_EVENTS, 3));
    }

    #[test]
    fn words_are_those_of_the_journal() {
        assert_eq!(word_of(crate::types::outcome::Cause::AgentFailed), "AGENT_FAILED");
        assert_eq!(word_of(3), "");
    }
}
