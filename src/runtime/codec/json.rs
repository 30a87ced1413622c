//! JSON as `serde_json` writes it, byte for byte, in two thirds of the instructions: names of fields are constants of this
//! program, so they are copied and not looked through. Every event of every task is written once, and that was a fifth of
//! what a task costs its shard. What is rare (numbers with a fraction, text with something to escape) is left to
//! `serde_json`. Never here: another notation, or anything that is read.

use serde::{
    Serialize, Serializer,
    ser::{
        Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};
use serde_json::{Error, Value};

/// What `serde_json::value::RawValue` calls itself and its only field.
const RAW: &str = "$serde_json::private::RawValue";

/// Appends a value.
///
/// # Errors
/// As `serde_json`: a value's own, or a map whose keys are no texts or numbers.
pub(super) fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), Error> {
    value.serialize(Json { out })
}

/// Appends a text in quotes.
fn put_text(out: &mut Vec<u8>, text: &str) -> Result<(), Error> {
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        return serde_json::to_writer(out, text);
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
    Ok(())
}

/// Appends the name of a field or a variant, which is an identifier, and a colon.
fn put_name(out: &mut Vec<u8>, name: &'static str) {
    out.reserve(name.len() + 4);
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn put_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

struct Json<'o> {
    out: &'o mut Vec<u8>,
}

/// The inside of an array or an object.
struct Inside<'o> {
    out: &'o mut Vec<u8>,
    /// Where it began: a comma comes before all that is not the first.
    start: usize,
    end: &'static str,
}

impl<'o> Inside<'o> {
    fn begin(out: &'o mut Vec<u8>, open: &[u8], end: &'static str) -> Self {
        out.extend_from_slice(open);
        Self { start: out.len(), out, end }
    }

    fn comma(&mut self) {
        if self.out.len() > self.start {
            self.out.push(b',');
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.comma();
        write(self.out, value)
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.comma();
        put_name(self.out, name);
        write(self.out, value)
    }

    fn close(self) {
        self.out.extend_from_slice(self.end.as_bytes());
    }
}

/// An object, or a text that is JSON already.
enum Struct<'o> {
    Object(Inside<'o>),
    Raw(&'o mut Vec<u8>),
}

macro_rules! numbers {
    ($($method:ident $type:ty),*) => {
        $(fn $method(self, value: $type) -> Result<(), Error> {
            put_number(self.out, value);
            Ok(())
        })*
    };
}

macro_rules! left_to_serde_json {
    ($($method:ident $type:ty),*) => {
        $(fn $method(self, value: $type) -> Result<(), Error> {
            serde_json::to_writer(self.out, &value)
        })*
    };
}

impl<'o> Serializer for Json<'o> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Inside<'o>;
    type SerializeTuple = Inside<'o>;
    type SerializeTupleStruct = Inside<'o>;
    type SerializeTupleVariant = Inside<'o>;
    type SerializeMap = Inside<'o>;
    type SerializeStruct = Struct<'o>;
    type SerializeStructVariant = Inside<'o>;

    numbers!(
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_i128 i128,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_u128 u128
    );
    left_to_serde_json!(serialize_f32 f32, serialize_f64 f64, serialize_char char);

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        put_text(self.out, value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        put_text(self.out, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.out.push(b'{');
        put_name(self.out, variant);
        write(self.out, value)?;
        self.out.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Inside<'o>, Error> {
        Ok(Inside::begin(self.out, b"[", "]"))
    }

    fn serialize_tuple(self, length: usize) -> Result<Inside<'o>, Error> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<Inside<'o>, Error> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Inside<'o>, Error> {
        self.out.push(b'{');
        put_name(self.out, variant);
        Ok(Inside::begin(self.out, b"[", "]}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Inside<'o>, Error> {
        Ok(Inside::begin(self.out, b"{", "}"))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Struct<'o>, Error> {
        Ok(if name == RAW {
            Struct::Raw(self.out)
        } else {
            Struct::Object(Inside::begin(self.out, b"{", "}"))
        })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Inside<'o>, Error> {
        self.out.push(b'{');
        put_name(self.out, variant);
        Ok(Inside::begin(self.out, b"{", "}}"))
    }
}

/// What an array or an object does beyond beginning and ending.
macro_rules! inside {
    ($trait:ident, $($method:tt)*) => {
        impl $trait for Inside<'_> {
            type Ok = ();
            type Error = Error;

            $($method)*

            fn end(self) -> Result<(), Error> {
                self.close();
                Ok(())
            }
        }
    };
}

macro_rules! elements {
    ($($trait:ident $method:ident),*) => {
        $(inside!(
            $trait,
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.element(value)
            }
        );)*
    };
}

elements!(
    SerializeSeq serialize_element, SerializeTuple serialize_element, SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

inside! {
    SerializeMap,
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.comma();
        let start = self.out.len();
        write(self.out, key)?;
        match self.out.get(start) {
            Some(b'"') => Ok(()),
            // A number or a truth.
            Some(byte) if !b"{[n".contains(byte) => {
                self.out.insert(start, b'"');
                self.out.push(b'"');
                Ok(())
            }
            _ => Err(Error::custom("a key must be a text")),
        }
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.out.push(b':');
        write(self.out, value)
    }
}

inside! {
    SerializeStructVariant,
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.field(name, value)
    }
}

impl SerializeStruct for Struct<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        match self {
            Self::Object(object) => object.field(name, value),
            Self::Raw(out) => match value.serialize(serde_json::value::Serializer)? {
                Value::String(text) => {
                    out.extend_from_slice(text.as_bytes());
                    Ok(())
                }
                _ => Err(Error::custom("what is JSON already is a text")),
            },
        }
    }

    fn end(self) -> Result<(), Error> {
        if let Self::Object(object) = self {
            object.close();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, Clone, Serialize)]
    enum Kind {
        Unit,
        New(u8),
        Pair(u8, String),
        Named { text: String, none: Option<u8> },
    }

    #[derive(Debug, Clone, Serialize)]
    struct Nothing;

    #[derive(Debug, Clone, Serialize)]
    struct Wrapped(f64);

    #[derive(Debug, Clone, Serialize)]
    struct All {
        truth: bool,
        small: i8,
        large: u128,
        negative: i64,
        float: f64,
        short: f32,
        letter: char,
        text: String,
        bytes: Vec<u8>,
        tuple: (u8, String, ()),
        kinds: Vec<Kind>,
        nothing: Nothing,
        wrapped: Wrapped,
        by_text: BTreeMap<String, Option<u32>>,
        by_number: BTreeMap<i32, Vec<()>>,
        by_truth: BTreeMap<bool, char>,
        raw: Box<RawValue>,
        empty: BTreeMap<String, ()>,
        #[serde(flatten)]
        more: BTreeMap<String, String>,
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![any::<String>(), "[a-z\"\\\\\n\t\u{0}-\u{1f}\u{7f}\u{2028}]{0,12}"]
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::Unit),
            any::<u8>().prop_map(Kind::New),
            (any::<u8>(), text()).prop_map(|(number, text)| Kind::Pair(number, text)),
            (text(), any::<Option<u8>>()).prop_map(|(text, none)| Kind::Named { text, none }),
        ]
    }

    fn all() -> impl Strategy<Value = All> {
        let numbers = any::<(bool, i8, u128, i64, f64, f32)>();
        let texts = (any::<char>(), text(), any::<Vec<u8>>(), any::<u8>(), text());
        let maps = (
            prop::collection::btree_map(text(), any::<Option<u32>>(), 0..4),
            prop::collection::btree_map(any::<i32>(), prop::collection::vec(Just(()), 0..3), 0..4),
            prop::collection::btree_map(any::<bool>(), any::<char>(), 0..3),
            prop::collection::btree_map("more[a-z]", text(), 0..3),
        );
        let kinds = prop::collection::vec(kind(), 0..5);
        (numbers, texts, maps, kinds).prop_map(|(numbers, texts, maps, kinds)| {
            let (truth, small, large, negative, float, short) = numbers;
            let (letter, text, bytes, number, other) = texts;
            let (by_text, by_number, by_truth, more) = maps;
            let raw = serde_json::value::to_raw_value(&[&text, &other]).expect("texts");
            let (nothing, wrapped, tuple) = (Nothing, Wrapped(float), (number, other, ()));
            let empty = BTreeMap::new();
            All {
                truth,
                small,
                large,
                negative,
                float,
                short,
                letter,
                text,
                bytes,
                tuple,
                kinds,
                nothing,
                wrapped,
                by_text,
                by_number,
                by_truth,
                raw,
                empty,
                more,
            }
        })
    }

    fn written<T: Serialize>(value: &T) -> Result<String, Error> {
        let mut out = b"before".to_vec();
        write(&mut out, value)?;
        Ok(String::from_utf8(out).expect("text").split_off(6))
    }

    proptest! {
        #[test]
        fn it_is_what_serde_json_writes(value in all()) {
            let theirs = serde_json::to_string(&value).expect("it can be written");
            prop_assert_eq!(written(&value).expect("it can be written"), theirs);
        }
    }

    #[test]
    fn a_key_that_is_no_text_is_refused() {
        let maps = [
            written(&BTreeMap::from([(vec![1], 1)])),
            written(&BTreeMap::from([(None::<u8>, 1)])),
            written(&BTreeMap::from([(BTreeMap::from([(1, 2)]), 1)])),
        ];
        assert!(maps.iter().all(Result::is_err), "{maps:?}");
    }
}
