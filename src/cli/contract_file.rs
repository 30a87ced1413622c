//! Reads a contract from YAML or JSON through the protobuf JSON mapping of `bailiwick.v1.Contract`: one schema, the protos.
//!
//! What a file can get wrong (a field that is not there, a value of the wrong kind) is said for every fault at once, with
//! file, line, field and what to write. Whether the contract is a good one is for the server to say, never for this file.

use std::{fmt, path::Path};

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::{json, place, strict};
use crate::{config::table::nearest, pb};

/// One thing wrong with a contract file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file as the user named it.
    pub file: String,
    /// Line and column from 1, where known.
    pub place: Option<(usize, usize)>,
    /// The field as a path: `limits.max_hops`; empty where it is the file as a whole.
    pub field: String,
    /// What is wrong and what to write.
    pub message: String,
}

impl Fault {
    /// `file:line:column`, as editors jump to it.
    #[must_use]
    pub fn place_words(&self) -> String {
        match self.place {
            Some((line, column)) => format!("{}:{line}:{column}", self.file),
            None => self.file.clone(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if self.field.is_empty() { "" } else { ": " };
        write!(f, "{}{gap}{}: {}", self.place_words(), self.field, self.message)
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML, of which JSON is nearly a part.
    Yaml,
    /// JSON.
    Json,
}

/// The format a name and a text suggest: the ending, or, without one, a leading brace.
#[must_use]
pub fn format_of(name: &str, text: &str) -> Format {
    match Path::new(name).extension().and_then(|ending| ending.to_str()) {
        Some("json") => Format::Json,
        Some("yaml" | "yml") => Format::Yaml,
        _ if text.trim_start().starts_with('{') => Format::Json,
        _ => Format::Yaml,
    }
}

/// A step into a value: by field name or by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Into the field of that name, as written.
    Field(String),
    /// Into the element of that index.
    Index(usize),
}

/// Reads the contract in `text`, which came from `name`.
///
/// # Errors
/// Every fault of form, at once.
pub fn parse(name: &str, text: &str) -> Result<pb::Contract, Vec<Fault>> {
    let format = format_of(name, text);
    let fault = |place, field: &str, message: String| Fault {
        file: name.to_owned(),
        place,
        field: field.to_owned(),
        message,
    };
    if text.trim().is_empty() {
        return Err(vec![fault(
            None,
            "",
            "is empty. Write a contract; examples/ has some to start from".into(),
        )]);
    }
    let value = strict::parse(text, format).map_err(|error| vec![fault(error.place, "", error.message)])?;
    let descriptor =
        json::descriptor("bailiwick.v1.Contract").map_err(|error| vec![fault(None, "", error)])?;
    let mut found = Vec::new();
    inspect(&descriptor, &value, &mut Vec::new(), &mut found);
    if !found.is_empty() {
        let mut faults: Vec<Fault> = found
            .into_iter()
            .map(|Found { at, message }| fault(place::of(text, format, &at), &dotted(&at), message))
            .collect();
        faults.sort_by_key(|fault| fault.place);
        return Err(faults);
    }
    // Nothing is left to find field by field; this is the mapping's own word on the whole.
    let message = DynamicMessage::deserialize(descriptor, value)
        .map_err(|error| vec![fault(None, "", format!("is not a contract: {error}"))])?;
    message.transcode_to().map_err(|error| vec![fault(None, "", format!("is not a contract: {error}"))])
}

struct Found {
    at: Vec<Hop>,
    message: String,
}

fn dotted(at: &[Hop]) -> String {
    let mut out = String::new();
    for hop in at {
        match hop {
            Hop::Field(name) if out.is_empty() => out.push_str(name),
            Hop::Field(name) => out.push_str(&format!(".{name}")),
            Hop::Index(index) => out.push_str(&format!("[{index}]")),
        }
    }
    out
}

fn inspect(descriptor: &MessageDescriptor, value: &Value, at: &mut Vec<Hop>, found: &mut Vec<Found>) {
    let Value::Object(fields) = value else {
        let message = format!("{} is not a group of fields. {}", shown(value), fields_of(descriptor));
        return found.push(Found { at: at.clone(), message });
    };
    one_of_each(descriptor, fields, at, found);
    for (name, value) in fields {
        at.push(Hop::Field(name.clone()));
        match field_named(descriptor, name) {
            None => found.push(Found { at: at.clone(), message: unknown(descriptor, name) }),
            Some(field) => inspect_field(descriptor, &field, name, value, at, found),
        }
        at.pop();
    }
}

fn field_named(descriptor: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    descriptor.get_field_by_name(name).or_else(|| descriptor.get_field_by_json_name(name))
}

fn inspect_field(
    descriptor: &MessageDescriptor,
    field: &FieldDescriptor,
    name: &str,
    value: &Value,
    at: &mut Vec<Hop>,
    found: &mut Vec<Found>,
) {
    if let (Some(inner), false) = (own_message(field), value.is_null()) {
        match value {
            Value::Array(items) if field.is_list() => {
                for (index, item) in items.iter().enumerate() {
                    at.push(Hop::Index(index));
                    inspect(&inner, item, at, found);
                    at.pop();
                }
                return;
            }
            _ if !field.is_list() => return inspect(&inner, value, at, found),
            _ => {}
        }
    }
    let alone = Value::Object(Map::from_iter([(name.to_owned(), value.clone())]));
    if DynamicMessage::deserialize(descriptor.clone(), alone).is_err() {
        let message = format!("{} does not fit. Write {}", shown(value), wanted(field));
        found.push(Found { at: at.clone(), message });
    }
}

/// The message behind a field, if it is one of ours (not a well-known one with a JSON form of its own, not a map).
fn own_message(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(inner) if !field.is_map() && inner.package_name() == "bailiwick.v1" => Some(inner),
        _ => None,
    }
}

/// Of the fields of a oneof, only one may be written; and no field under both of its names.
fn one_of_each(
    descriptor: &MessageDescriptor,
    fields: &Map<String, Value>,
    at: &[Hop],
    found: &mut Vec<Found>,
) {
    let written: Vec<(&String, FieldDescriptor)> = fields
        .iter()
        .filter(|(_, value)| !value.is_null())
        .filter_map(|(name, _)| field_named(descriptor, name).map(|field| (name, field)))
        .collect();
    for (index, (name, field)) in written.iter().enumerate() {
        let earlier = written[..index].iter().find(|(_, other)| {
            other == field
                || (field.containing_oneof().is_some()
                    && field.containing_oneof() == other.containing_oneof())
        });
        if let Some((other, _)) = earlier {
            let mut at = at.to_vec();
            at.push(Hop::Field((*name).clone()));
            found.push(Found { at, message: format!("cannot stand beside {other}. Write one of the two") });
        }
    }
}

fn unknown(descriptor: &MessageDescriptor, name: &str) -> String {
    let fields: Vec<FieldDescriptor> = descriptor.fields().collect();
    match nearest(name, fields.iter().map(FieldDescriptor::name)) {
        Some(near) => format!("there is no such field. Write {near}, if that is what is meant"),
        None => match elsewhere(descriptor, name) {
            Some(path) => format!("there is no such field here; there is {path}"),
            None => format!("there is no such field. {}", fields_of(descriptor)),
        },
    }
}

/// A field of that very name in another part of the contract: a term written at the wrong depth.
fn elsewhere(descriptor: &MessageDescriptor, name: &str) -> Option<String> {
    let root = descriptor.parent_pool().get_message_by_name("bailiwick.v1.Contract")?;
    if root.get_field_by_name(name).is_some() {
        return Some(format!("one named {name} at the top of the contract"));
    }
    root.fields().find_map(|field| {
        let inner = own_message(&field)?;
        inner.get_field_by_name(name).map(|_| format!("{}.{name}", field.name()))
    })
}

fn fields_of(descriptor: &MessageDescriptor) -> String {
    let names: Vec<String> = descriptor.fields().map(|field| field.name().to_owned()).collect();
    format!("The fields here are {}", names.join(", "))
}

/// What to write for a field.
fn wanted(field: &FieldDescriptor) -> String {
    if field.is_map() {
        return "a group of names and values, like {key: value}; text that looks like a number goes in quotes".into();
    }
    let one = wanted_kind(&field.kind());
    if field.is_list() { format!("a list, each of it {one}") } else { one }
}

fn wanted_kind(kind: &Kind) -> String {
    match kind {
        Kind::String => "text; put it in quotes where it looks like a number, a date, true or false".into(),
        Kind::Bool => "true or false".into(),
        Kind::Double | Kind::Float => "a number, like 0.8".into(),
        Kind::Bytes => "base64".into(),
        Kind::Enum(kind) => {
            let names: Vec<String> = kind.values().skip(1).map(|value| value.name().to_owned()).collect();
            names.join(" or ")
        }
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Duration" => {
                "a duration in seconds with its unit, like \"90s\" or \"0.5s\"".into()
            }
            "google.protobuf.Timestamp" => "a time, like \"2026-11-20T12:00:00Z\"".into(),
            "google.protobuf.Struct" => "a group of names and values, like {type: object}".into(),
            "google.protobuf.Value" => "any JSON value".into(),
            _ => format!("a group of fields. {}", fields_of(message)),
        },
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Uint32 | Kind::Fixed32 => {
            "a whole number of at most 2147483647, without separators or units".into()
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
            "a whole number, without separators or units".into()
        }
    }
}

/// A value as it is quoted in a message.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "a group of fields".into(),
        Value::Array(_) => "a list".into(),
        Value::Null => "nothing".into(),
        other => crate::console::text::clip(&other.to_string(), 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "goal: g\nfirst_agent: a\nowner: a\nbudget: {max_tokens: 5000}\nlimits:\n  deadline: 90s\n";

    fn check(name: &str, text: &str, expected: &[&str]) {
        let faults: Vec<String> =
            parse(name, text).err().unwrap_or_default().iter().map(Fault::to_string).collect();
        assert_eq!(faults, expected, "{text}");
    }

    #[test]
    fn yaml_and_json_are_the_same_contract() {
        let json = r#"{"goal":"g","firstAgent":"a","owner":"a","budget":{"maxTokens":"5000"},"limits":{"deadline":"90s"}}"#;
        let contract = parse("c.yaml", GOOD).unwrap();
        assert_eq!(contract, parse("c.json", json).unwrap());
        assert_eq!(contract, parse("-", json).unwrap());
        assert_eq!(contract.limits.unwrap().deadline.unwrap().seconds, 90);
    }

    #[test]
    fn absent_and_zero_are_told_apart() {
        let hops = |text: &str| parse("-", text).unwrap().limits.unwrap().max_hops;
        assert_eq!(hops(GOOD), None);
        assert_eq!(hops(&format!("{GOOD}  max_hops: 0\n")), Some(0));
    }

    #[test]
    fn unknown_fields_name_the_nearest_or_the_right_place() {
        check(
            "c.yaml",
            "goal: g\nlimits:\n  max_hop: 3\n",
            &["c.yaml:3:3: limits.max_hop: there is no such field. Write max_hops, if that is what is meant"],
        );
        check(
            "c.yaml",
            "deadline: 5s\n",
            &["c.yaml:1:1: deadline: there is no such field here; there is limits.deadline"],
        );
        check(
            "c.yaml",
            "budget:\n  owner: me\n",
            &[
                "c.yaml:2:3: budget.owner: there is no such field here; there is one named owner at the top of the contract",
            ],
        );
        check(
            "c.yaml",
            "gate:\n  colour: red\n",
            &[
                "c.yaml:2:3: gate.colour: there is no such field. The fields here are min_confidence, validator, max_revisions, spot_check_rate",
            ],
        );
    }

    #[test]
    fn every_fault_is_said_at_once_with_its_place() {
        check(
            "c.yaml",
            "goal: 12\npriority: high\nlimits:\n  deadline: 90\n  max_turns: 1.5\nplan:\n  steps:\n    - {id: a, agnt: b}\n\
             escalation: {default_answer: MAYBE}\nlabels: {build: 7}\ngate: none\n",
            &[
                "c.yaml:1:1: goal: 12 does not fit. Write text; put it in quotes where it looks like a number, a date, true \
                 or false",
                "c.yaml:2:1: priority: \"high\" does not fit. Write a whole number of at most 2147483647, without separators \
                 or units",
                "c.yaml:4:3: limits.deadline: 90 does not fit. Write a duration in seconds with its unit, like \"90s\" or \
                 \"0.5s\"",
                "c.yaml:5:3: limits.max_turns: 1.5 does not fit. Write a whole number of at most 2147483647, without \
                 separators or units",
                "c.yaml:8:15: plan.steps[0].agnt: there is no such field. Write agent, if that is what is meant",
                "c.yaml:9:14: escalation.default_answer: \"MAYBE\" does not fit. Write DEFAULT_ANSWER_PARTIAL or \
                 DEFAULT_ANSWER_ABORT",
                "c.yaml:10:1: labels: a group of fields does not fit. Write a group of names and values, like {key: value}; \
                 text that looks like a number goes in quotes",
                "c.yaml:11:1: gate: \"none\" is not a group of fields. The fields here are min_confidence, validator, \
                 max_revisions, spot_check_rate",
            ],
        );
    }

    #[test]
    fn one_start_and_no_field_twice() {
        check(
            "c.yaml",
            "first_agent: a\nplan: {steps: []}\n",
            &["c.yaml:2:1: plan: cannot stand beside first_agent. Write one of the two"],
        );
        check(
            "c.yaml",
            "first_agent: a\nfirstAgent: b\n",
            &["c.yaml:1:1: first_agent: cannot stand beside firstAgent. Write one of the two"],
        );
        check("c.yaml", "goal: a\ngoal: b\n", &["c.yaml:2:1: goal is written twice. Keep one of the two"]);
        check(
            "c.json",
            "{\"goal\": \"a\",\n \"goal\": \"b\"}",
            &["c.json:2:7: goal is written twice. Keep one of the two"],
        );
    }

    #[test]
    fn what_is_no_contract_at_all() {
        check("c.yaml", " \n", &["c.yaml: is empty. Write a contract; examples/ has some to start from"]);
        for (name, text) in [
            ("c.yaml", "a: [1"),
            ("c.yaml", "- 1\n- 2"),
            ("c.json", "{\"goal\": }"),
            ("-", "{"),
            ("-", "just text"),
        ] {
            let faults = parse(name, text).unwrap_err();
            assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        }
        let deep = format!("input: {}", "[".repeat(1_000));
        assert!(parse("c.yaml", &deep).is_err());
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n";
        assert!(parse("c.yaml", bomb).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,80}") {
            let _ = (parse("c.yaml", &text), parse("c.json", &text), parse("-", &text));
        }

        #[test]
        fn no_value_is_too_strange(key in "[a-z_]{1,12}|limits|plan|budget|termination", value in "\\PC{0,20}|[0-9eE.+-]{1,30}") {
            for text in [format!("{key}: {value}"), format!("{key}: {{deadline: {value}, steps: [{value}]}}")] {
                if let Err(faults) = parse("c.yaml", &text) {
                    proptest::prop_assert!(!faults.is_empty());
                }
            }
        }
    }
}
