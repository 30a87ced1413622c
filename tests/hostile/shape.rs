//! Messages made up from the protos themselves: a field added tomorrow is attacked without a word here.

use std::collections::HashMap;

use bailiwick::pb;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _,
    Value,
};

use crate::dice::Dice;

/// Deeper than what is accepted, shallower than what decoders take.
const MAX_LEVELS: usize = 14;

const TEXTS: &[&str] = &[
    "",
    "solver",
    "Solver",
    "-",
    "a.b/c",
    "../..",
    "true",
    "result.x > 0",
    "[1].all(x, x > 0)",
    "^(a+)+$",
    "$ref",
    "#",
    "object",
    "type",
    "properties",
    "\0",
    "\u{feff}é漢\u{202e}",
    "2026-01-01",
    "9223372036854775808",
    "%s{}\"'\\",
    "limits.max_hops",
    "budget",
    "00000000-0000-0000-0000-000000000001",
    "00000000000000000000000000000001.1.1.00000000000000aa",
];
const WHOLE: &[i64] =
    &[0, 1, -1, 2, 7, 100, 1_000, 10_000, 65_536, i32::MAX as i64, i32::MIN as i64, i64::MAX, i64::MIN];
const REAL: &[f64] =
    &[0.0, -0.0, 0.5, 1.0, -1.0, 1e18, 1e308, 5e-324, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

/// What exists on the server that is attacked: half of the texts name it, so that what comes behind the first look is met.
#[derive(Clone, Default)]
pub struct Known(pub Vec<(&'static str, String)>);

impl Known {
    fn of(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| field.contains(name)).map(|(_, text)| text.as_str())
    }
}

pub fn pool() -> DescriptorPool {
    DescriptorPool::decode(pb::DESCRIPTORS).expect("the protos of this build")
}

/// A message of this kind, of whatever the dice say.
pub fn shaped(dice: &mut Dice, of: &MessageDescriptor, known: &Known) -> DynamicMessage {
    message(dice, of, known, 0)
}

/// The message with one thing in it changed: what is valid but for one field gets furthest.
pub fn nudge(dice: &mut Dice, message: &mut DynamicMessage, known: &Known) {
    let fields: Vec<_> = message.descriptor().fields().collect();
    if fields.is_empty() {
        return;
    }
    let field = dice.pick(&fields).clone();
    if message.has_field(&field) && !dice.one_in(3) {
        match message.get_field_mut(&field) {
            Value::Message(inner) => return nudge(dice, inner, known),
            Value::List(values) if !values.is_empty() => {
                let at = dice.below(values.len());
                return match (&mut values[at], dice.below(4)) {
                    (_, 0) => drop(values.remove(at)),
                    (Value::Message(inner), _) => nudge(dice, inner, known),
                    _ => values.push(single(dice, &field, known, 4)),
                };
            }
            _ => {}
        }
    }
    if dice.one_in(3) {
        message.clear_field(&field);
    } else {
        let value = value(dice, &field, known, 4);
        message.set_field(&field, value);
    }
}

fn message(dice: &mut Dice, of: &MessageDescriptor, known: &Known, level: usize) -> DynamicMessage {
    let mut made = DynamicMessage::new(of.clone());
    for field in of.fields() {
        // Wide at the top, thin below: a message ends.
        let leave_out = if level < 3 { dice.one_in(4) } else { !dice.one_in(level) };
        if leave_out || level >= MAX_LEVELS {
            continue;
        }
        let value = value(dice, &field, known, level + 1);
        made.set_field(&field, value);
    }
    made
}

fn value(dice: &mut Dice, field: &FieldDescriptor, known: &Known, level: usize) -> Value {
    let many = if dice.one_in(30) { 70 } else { dice.below(4) };
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { unreachable!("a map is a list of entries") };
        let inner = entry.map_entry_value_field();
        let entries =
            (0..many).map(|_| (MapKey::String(text(dice, "key", known)), single(dice, &inner, known, level)));
        return Value::Map(entries.collect::<HashMap<_, _>>());
    }
    if field.is_list() {
        return Value::List((0..many).map(|_| single(dice, field, known, level)).collect());
    }
    single(dice, field, known, level)
}

fn single(dice: &mut Dice, field: &FieldDescriptor, known: &Known, level: usize) -> Value {
    let whole = *dice.pick(WHOLE);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Whatever comes out is welcome.
    match field.kind() {
        Kind::Double => Value::F64(*dice.pick(REAL)),
        Kind::Float => Value::F32(*dice.pick(REAL) as f32),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(whole as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(whole),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(whole as u32),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(whole as u64),
        Kind::Bool => Value::Bool(dice.one_in(2)),
        Kind::String => Value::String(text(dice, field.name(), known)),
        Kind::Bytes => Value::Bytes(text(dice, field.name(), known).into_bytes().into()),
        Kind::Enum(of) => {
            let numbers: Vec<i32> = of.values().map(|value| value.number()).collect();
            Value::EnumNumber(if dice.one_in(8) { whole as i32 } else { *dice.pick(&numbers) })
        }
        Kind::Message(of) => Value::Message(message(dice, &of, known, level)),
    }
}

fn text(dice: &mut Dice, field: &str, known: &Known) -> String {
    if let Some(text) = known.of(field).filter(|_| !dice.one_in(3)) {
        return text.to_owned();
    }
    match dice.below(40) {
        0 => "x".repeat(20_000),
        1..4 => "é".repeat(dice.below(600)),
        _ => (*dice.pick(TEXTS)).to_owned(),
    }
}

/// The bytes with something done to them.
pub fn twist(dice: &mut Dice, bytes: &mut Vec<u8>) {
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        match dice.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, dice.next().to_le_bytes()[0]),
            2 => {
                let again = bytes[at..].to_vec();
                bytes.extend(again);
            }
            3 => {
                // A length, or a number, greater than anything behind it.
                let varint = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
                let long = dice.below(varint.len());
                bytes.splice(at..at, varint[long..].iter().copied());
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
        }
    }
}
