//! Reads YAML or JSON into a value and refuses what both formats let pass in silence: a key written twice, a number that is
//! none. Knows nothing of contracts.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use super::contract_file::Format;

/// Why a text could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Line and column from 1, where known.
    pub place: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
}

/// Reads one document.
///
/// # Errors
/// The first fault the format has found, with its place.
pub fn parse(text: &str, format: Format) -> Result<Value, Unreadable> {
    match format {
        Format::Yaml => Strict.deserialize(serde_yaml_ng::Deserializer::from_str(text)).map_err(|error| {
            let place = error.location().map(|at| (at.line(), at.column()));
            Unreadable { place, message: explained("YAML", &error.to_string()) }
        }),
        Format::Json => {
            let mut deserializer = serde_json::Deserializer::from_str(text);
            let value = Strict.deserialize(&mut deserializer);
            value.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| Unreadable {
                place: Some((error.line(), error.column())),
                message: explained("JSON", &error.to_string()),
            })
        }
    }
}

/// What a key written twice is told; the one fault here that is not the format's own.
const TWICE: &str = "is written twice. Keep one of the two";

/// The libraries write the place behind the message; ours stands before it.
fn explained(format: &str, message: &str) -> String {
    let message = &message[..message.find(" at line ").unwrap_or(message.len())];
    if message.ends_with(TWICE) { message.to_owned() } else { format!("is not {format}: {message}") }
}

#[derive(Clone, Copy)]
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text, a number, true, false, nothing, a list or a group of fields")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom(format!("{value} is not a number JSON has")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(Name(name)) = entries.next_key_seed(NotAmong(&fields))? {
            let value = entries.next_value_seed(self)?;
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

struct Name(String);

/// A key that has not been seen; refused while the reader still stands on it, so that the place is right.
struct NotAmong<'a>(&'a Map<String, Value>);

impl<'de> DeserializeSeed<'de> for NotAmong<'_> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NotAmong<'_> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of a field")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Name, E> {
        if self.0.contains_key(name) {
            return Err(E::custom(format!("{name} {TWICE}")));
        }
        Ok(Name(name.to_owned()))
    }
}
