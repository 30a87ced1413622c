//! Finds where in a text a field stands, by letting the format's own reader walk to it and fail there.
//! The error of that deliberate failure carries the place; nothing else of it is used.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::contract_file::{Format, Hop};

/// Line and column, from 1, of the field or element that `at` leads to; None where the text has no such thing.
#[must_use]
pub(super) fn of(text: &str, format: Format, at: &[Hop]) -> Option<(usize, usize)> {
    if at.is_empty() {
        return None;
    }
    match format {
        Format::Yaml => {
            let error = Walk(at).deserialize(serde_yaml_ng::Deserializer::from_str(text)).err()?;
            error.location().map(|place| (place.line(), place.column()))
        }
        Format::Json => {
            let error = Walk(at).deserialize(&mut serde_json::Deserializer::from_str(text)).err()?;
            Some((error.line(), error.column()))
        }
    }
}

struct Walk<'a>(&'a [Hop]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.0.is_empty() { Err(D::Error::custom("here")) } else { deserializer.deserialize_any(self) }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what was found there before")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((Hop::Index(wanted), rest)) = self.0.split_first() else {
            return Err(A::Error::custom("here"));
        };
        for _ in 0..*wanted {
            items.next_element::<IgnoredAny>()?;
        }
        items.next_element_seed(Walk(rest))?;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Some((Hop::Field(wanted), rest)) = self.0.split_first() else {
            return Err(A::Error::custom("here"));
        };
        while let Some(found) = entries.next_key_seed(Key { wanted, last: rest.is_empty() })? {
            if found {
                return entries.next_value_seed(Walk(rest));
            }
            entries.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// Says whether a key is the wanted one, and fails on it where the way ends.
struct Key<'a> {
    wanted: &'a str,
    last: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<bool, E> {
        match (name == self.wanted, self.last) {
            (true, true) => Err(E::custom("here")),
            (found, _) => Ok(found),
        }
    }
}
