//! `google.protobuf.Value` to JSON text and back, without a tree in between.
//!
//! What is accepted here can be carried by every message of the protocol: nesting is bounded below what protobuf
//! decoders refuse, so nothing that was accepted from one client is undecodable to another.

use std::{collections::BTreeMap, fmt};

use prost_types::{ListValue, Struct, Value, value::Kind};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::types::{limits::fixed::MAX_PAYLOAD_BYTES, payload::Payload};

/// How deep arrays and objects may nest. One object level is three levels of protobuf messages, whose decoders stop at
/// 100, and a value may itself sit eight messages deep (in a step of a plan in an envelope in a watched event).
pub const MAX_DEPTH: usize = 28;
const _: () = assert!(MAX_DEPTH * 3 + 8 + 2 <= 100);

/// Whole numbers up to here are exact in a double, and are printed as integers.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Why a value was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    /// Too deep.
    #[error("nests deeper than {MAX_DEPTH} levels: flatten it, or send the inner part as text")]
    TooDeep,
    /// NaN or infinite.
    #[error("holds a number that is not finite: JSON has none; write null or a string")]
    NotFinite,
    /// A `Value` without a kind.
    #[error("holds a Value of no kind: set one, null_value for null")]
    NoKind,
    /// Too large.
    #[error("takes more than {0} bytes as JSON: pass large data by reference")]
    TooLarge(usize),
}

/// The payload of a value.
pub fn payload(value: &Value) -> Result<Payload, BadValue> {
    let mut writer = Writer { out: Vec::new(), most: MAX_PAYLOAD_BYTES };
    writer.value(value, 0)?;
    Ok(writer.finish())
}

/// The payload of an object of at most `most` bytes.
pub fn object(object: &Struct, most: usize) -> Result<Payload, BadValue> {
    let mut writer = Writer { out: Vec::new(), most };
    writer.fields(object, 1)?;
    Ok(writer.finish())
}

/// The value of a payload.
pub fn value(payload: &Payload) -> Value {
    serde_json::from_str::<Wire>(payload.as_str()).map_or(NULL, |wire| wire.0)
}

/// The object of a payload; empty where it is none.
pub fn structure(payload: &Payload) -> Struct {
    match value(payload).kind {
        Some(Kind::StructValue(object)) => object,
        _ => Struct::default(),
    }
}

const NULL: Value = Value { kind: Some(Kind::NullValue(0)) };

struct Writer {
    out: Vec<u8>,
    most: usize,
}

impl Writer {
    fn finish(self) -> Payload {
        serde_json::from_slice(&self.out).expect("the writer writes JSON")
    }

    fn value(&mut self, value: &Value, depth: usize) -> Result<(), BadValue> {
        let Value { kind } = value;
        match kind.as_ref().ok_or(BadValue::NoKind)? {
            Kind::NullValue(_) => self.out.extend_from_slice(b"null"),
            Kind::BoolValue(true) => self.out.extend_from_slice(b"true"),
            Kind::BoolValue(false) => self.out.extend_from_slice(b"false"),
            Kind::NumberValue(number) => self.number(*number)?,
            Kind::StringValue(text) => self.text(text),
            Kind::ListValue(list) => self.list(list, depth + 1)?,
            Kind::StructValue(object) => self.fields(object, depth + 1)?,
        }
        if self.out.len() > self.most { Err(BadValue::TooLarge(self.most)) } else { Ok(()) }
    }

    fn number(&mut self, number: f64) -> Result<(), BadValue> {
        if !number.is_finite() {
            return Err(BadValue::NotFinite);
        }
        if number.fract() == 0.0 && number.abs() <= EXACT {
            #[allow(clippy::cast_possible_truncation)] // Whole and within 2^53.
            self.json(&(number as i64));
        } else {
            self.json(&number);
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.json(text);
    }

    fn json<T: serde::Serialize + ?Sized>(&mut self, value: &T) {
        serde_json::to_writer(&mut self.out, value).expect("a finite number or a string always encodes");
    }

    fn list(&mut self, list: &ListValue, depth: usize) -> Result<(), BadValue> {
        check_depth(depth)?;
        let ListValue { values } = list;
        self.out.push(b'[');
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.value(value, depth)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn fields(&mut self, object: &Struct, depth: usize) -> Result<(), BadValue> {
        check_depth(depth)?;
        let Struct { fields } = object;
        self.out.push(b'{');
        for (index, (key, value)) in fields.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.text(key);
            self.out.push(b':');
            self.value(value, depth)?;
        }
        self.out.push(b'}');
        if self.out.len() > self.most { Err(BadValue::TooLarge(self.most)) } else { Ok(()) }
    }
}

const fn check_depth(depth: usize) -> Result<(), BadValue> {
    if depth > MAX_DEPTH { Err(BadValue::TooDeep) } else { Ok(()) }
}

/// A wire value that reads itself from JSON.
struct Wire(Value);

impl<'de> Deserialize<'de> for Wire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WireVisitor).map(|kind| Self(Value { kind: Some(kind) }))
    }
}

struct WireVisitor;

#[allow(clippy::cast_precision_loss)] // The wire knows only doubles; what was accepted from it is exact.
impl<'de> Visitor<'de> for WireVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::NullValue(0))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::BoolValue(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::NumberValue(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::NumberValue(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Kind, E> {
        Ok(Kind::NumberValue(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::StringValue(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Kind, E> {
        Ok(Kind::StringValue(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
        let mut values = Vec::new();
        while let Some(Wire(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Kind::ListValue(ListValue { values }))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((key, Wire(value))) = map.next_entry::<String, Wire>()? {
            fields.insert(key, value);
        }
        Ok(Kind::StructValue(Struct { fields }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::pb;

    fn number(number: f64) -> Value {
        Value { kind: Some(Kind::NumberValue(number)) }
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(number(1.0), |inner, _| {
            let fields = BTreeMap::from([("k".to_owned(), inner)]);
            Value { kind: Some(Kind::StructValue(Struct { fields })) }
        })
    }

    fn check(value: &Value, expected: Result<&str, BadValue>) {
        assert_eq!(payload(value).as_ref().map(Payload::as_str), expected.as_ref().map(|text| *text));
    }

    #[test]
    fn values_become_json_or_are_refused_with_the_reason() {
        check(&NULL, Ok("null"));
        check(&number(3.0), Ok("3"));
        check(&number(-0.5), Ok("-0.5"));
        check(&number(EXACT), Ok("9007199254740992"));
        check(&number(1e300), Ok("1e+300"));
        check(&number(f64::NAN), Err(BadValue::NotFinite));
        check(&number(f64::INFINITY), Err(BadValue::NotFinite));
        check(&Value { kind: None }, Err(BadValue::NoKind));
        check(&Value { kind: Some(Kind::StringValue("a\"\n".into())) }, Ok("\"a\\\"\\n\""));
        let huge = Value { kind: Some(Kind::StringValue("x".repeat(MAX_PAYLOAD_BYTES))) };
        check(&huge, Err(BadValue::TooLarge(MAX_PAYLOAD_BYTES)));
        check(&nested(MAX_DEPTH + 1), Err(BadValue::TooDeep));
        assert!(payload(&nested(MAX_DEPTH)).is_ok());
    }

    #[test]
    fn the_deepest_accepted_value_survives_the_deepest_message() {
        let step = pb::Step { input: Some(nested(MAX_DEPTH)), ..Default::default() };
        let plan = pb::Plan { steps: vec![step], ..Default::default() };
        let delegate = pb::status_envelope::Directive::Delegate(pb::Delegate { plan: Some(plan) });
        let envelope = pb::StatusEnvelope { directive: Some(delegate), ..Default::default() };
        let turn = pb::TurnAnswered { envelope: Some(envelope), ..Default::default() };
        let event =
            pb::TaskEvent { event: Some(pb::task_event::Event::TurnAnswered(turn)), ..Default::default() };
        let response = pb::WatchTaskResponse { event: Some(event), summary: None };
        assert_eq!(pb::WatchTaskResponse::decode(&*response.encode_to_vec()), Ok(response));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(NULL),
            any::<bool>().prop_map(|b| Value { kind: Some(Kind::BoolValue(b)) }),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(number),
            (-1000i32..1000).prop_map(|n| number(f64::from(n))),
            ".*".prop_map(|s| Value { kind: Some(Kind::StringValue(s)) }),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|values| Value { kind: Some(Kind::ListValue(ListValue { values })) }),
                prop::collection::btree_map(".*", inner, 0..4)
                    .prop_map(|fields| Value { kind: Some(Kind::StructValue(Struct { fields })) }),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_value_comes_back_as_it_went(value in any_value()) {
            let there = payload(&value).expect("any finite shallow value is accepted");
            prop_assert_eq!(super::value(&there), value);
        }
    }
}
