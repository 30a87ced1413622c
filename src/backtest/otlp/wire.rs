//! OTLP/JSON as exporters write it: ids in hex, 64-bit numbers as text or as numbers, absent and null the same. Only what a
//! backtest looks at is kept. Never here: what the attributes mean.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::backtest::record::MOST_TOKENS;

/// A document of spans.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    #[serde(alias = "resource_spans", rename = "resourceSpans", default, deserialize_with = "or_default")]
    pub(super) resource_spans: Vec<ResourceSpans>,
}

/// Spans of one resource.
#[derive(Debug, Deserialize)]
pub(super) struct ResourceSpans {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) resource: Resource,
    #[serde(
        alias = "scope_spans",
        alias = "instrumentationLibrarySpans",
        rename = "scopeSpans",
        default,
        deserialize_with = "or_default"
    )]
    pub(super) scope_spans: Vec<ScopeSpans>,
}

/// Who sent them.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Resource {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) attributes: Attributes,
}

/// Spans of one instrumentation.
#[derive(Debug, Deserialize)]
pub(super) struct ScopeSpans {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) spans: Vec<Span>,
}

/// A span.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Span {
    #[serde(alias = "trace_id", deserialize_with = "or_default")]
    pub(super) trace_id: String,
    #[serde(alias = "span_id", deserialize_with = "or_default")]
    pub(super) span_id: String,
    #[serde(alias = "parent_span_id", deserialize_with = "or_default")]
    pub(super) parent_span_id: String,
    #[serde(alias = "start_time_unix_nano", deserialize_with = "or_default")]
    pub(super) start_time_unix_nano: Nanos,
    #[serde(alias = "end_time_unix_nano", deserialize_with = "or_default")]
    pub(super) end_time_unix_nano: Nanos,
    #[serde(deserialize_with = "or_default")]
    pub(super) attributes: Attributes,
    #[serde(deserialize_with = "or_default")]
    pub(super) events: Vec<Event>,
    #[serde(deserialize_with = "or_default")]
    pub(super) status: Status,
}

/// An event of a span.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    #[serde(deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) attributes: Attributes,
}

/// How a span ended.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    code: Value,
}

impl Status {
    /// Whether it failed.
    pub(super) fn is_error(&self) -> bool {
        self.code == 2 || self.code == "STATUS_CODE_ERROR"
    }
}

/// Nanoseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Nanos(pub(super) u64);

impl<'de> Deserialize<'de> for Nanos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl de::Visitor<'_> for Reader {
            type Value = Nanos;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "nanoseconds since 1970, as a number or as text")
            }

            fn visit_u64<E>(self, nanos: u64) -> Result<Nanos, E> {
                Ok(Nanos(nanos))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Nanos, E> {
                text.parse().map(Nanos).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// Attributes that a backtest may look at, by key.
#[derive(Debug, Default)]
pub(super) struct Attributes(pub(super) BTreeMap<String, Value>);

/// How the keys begin that are kept. Everything else is dropped as it is read.
const KEPT: [&str; 3] = ["gen_ai.", "bailiwick.outcome.", "service.name"];

/// Keys of the older events, which have no prefix.
const OF_EVENTS: [&str; 4] = ["content", "tool_calls", "id", "message"];

impl Attributes {
    /// A text that is not empty.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// A count of tokens; nonsense counts as absent.
    pub(super) fn tokens(&self, key: &str) -> Option<u64> {
        let read = |value: &Value| {
            value.as_u64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()))
        };
        self.0.get(key).and_then(read).filter(|tokens| *tokens <= MOST_TOKENS)
    }

    /// A value: JSON written into a text is read; other text is text.
    pub(super) fn value(&self, key: &str) -> Option<Value> {
        self.0.get(key).map(unwrapped)
    }
}

/// JSON written into a text, as SDKs do where attributes cannot nest; anything else as it is.
pub(super) fn unwrapped(value: &Value) -> Value {
    let inner = value
        .as_str()
        .filter(|text| text.starts_with(['{', '[', '"']))
        .and_then(|text| serde_json::from_str(text).ok());
    inner.unwrap_or_else(|| value.clone())
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> de::Visitor<'de> for Reader {
            type Value = Attributes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of attributes, each with key and value")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Attributes, A::Error> {
                let mut kept = BTreeMap::new();
                while let Some(KeyValue { key, value }) = list.next_element()? {
                    if KEPT.iter().any(|begin| key.starts_with(begin)) || OF_EVENTS.contains(&key.as_str()) {
                        kept.insert(key, value.0);
                    }
                }
                Ok(Attributes(kept))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[derive(Deserialize)]
struct KeyValue {
    #[serde(default, deserialize_with = "or_default")]
    key: String,
    #[serde(default, deserialize_with = "or_default")]
    value: AnyValue,
}

/// A value of the protocol, as the JSON it stands for.
#[derive(Default)]
struct AnyValue(Value);

impl<'de> Deserialize<'de> for AnyValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        enum Kind {
            #[serde(alias = "string_value")]
            StringValue,
            #[serde(alias = "bool_value")]
            BoolValue,
            #[serde(alias = "int_value")]
            IntValue,
            #[serde(alias = "double_value")]
            DoubleValue,
            #[serde(alias = "array_value")]
            ArrayValue,
            #[serde(alias = "kvlist_value", alias = "kvListValue")]
            KvlistValue,
            #[serde(other)]
            Other,
        }
        struct Reader;
        impl<'de> de::Visitor<'de> for Reader {
            type Value = AnyValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a value such as {{\"stringValue\": \"...\"}}")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<AnyValue, A::Error> {
                let mut found = Value::Null;
                while let Some(kind) = map.next_key()? {
                    match kind {
                        Kind::StringValue | Kind::BoolValue | Kind::DoubleValue => {
                            found = map.next_value()?
                        }
                        Kind::IntValue => found = whole(map.next_value()?),
                        Kind::ArrayValue => {
                            let list = map.next_value::<List<AnyValue>>()?.values;
                            found = list.into_iter().map(|AnyValue(value)| value).collect();
                        }
                        Kind::KvlistValue => {
                            let list = map.next_value::<List<KeyValue>>()?.values;
                            found = list.into_iter().map(|KeyValue { key, value }| (key, value.0)).collect();
                        }
                        Kind::Other => {
                            map.next_value::<de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(AnyValue(found))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// 64-bit numbers are written as text.
fn whole(value: Value) -> Value {
    match value.as_str().and_then(|text| text.parse::<i64>().ok()) {
        Some(number) => number.into(),
        None => value,
    }
}

#[derive(Deserialize)]
struct List<T> {
    #[serde(default = "Vec::new")]
    values: Vec<T>,
}

/// Null is the same as absent.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
