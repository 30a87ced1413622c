//! What is wrong with a message, collected. Never stops at the first fault.

use crate::{
    engine::intake::Violation,
    types::{ids::InvalidName, payload::Payload},
};

use super::value::{self, BadValue};

/// The faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Violation>);

impl Faults {
    /// Notes a fault: which field, what is wrong with it and what to write.
    pub(crate) fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation { field: field.into(), description: description.into() });
    }

    /// Takes over faults found elsewhere. A field that has one already keeps only that: the first names the root.
    pub(crate) fn merge(&mut self, others: Vec<Violation>) {
        for other in others {
            if !self.0.iter().any(|mine| mine.field == other.field) {
                self.0.push(other);
            }
        }
    }

    /// The value, if nothing is wrong; otherwise every fault, sorted by field.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Violation>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self.sorted()),
        }
    }

    /// Every fault, sorted by field.
    pub(crate) fn sorted(mut self) -> Vec<Violation> {
        self.0.sort_by(|a, b| (&a.field, &a.description).cmp(&(&b.field, &b.description)));
        self.0.dedup();
        self.0
    }

    /// Holds a text to a length in bytes.
    pub(crate) fn text(&mut self, field: &str, text: &str, most: usize) {
        if text.len() > most {
            self.add(field, format!("has {} bytes: write at most {most}", text.len()));
        }
    }

    /// Holds a text to a length in characters.
    pub(crate) fn short(&mut self, field: &str, text: &str, most: usize) {
        let chars = text.chars().count();
        if chars > most {
            self.add(field, format!("has {chars} characters: write at most {most}"));
        }
    }

    /// A text that must be there, held to a length in bytes.
    pub(crate) fn required(&mut self, field: &str, text: &str, most: usize, what: &str) {
        if text.trim().is_empty() {
            self.add(field, format!("is required: write {what}"));
        }
        self.text(field, text, most);
    }

    /// Holds a list to a length.
    pub(crate) fn list<T>(&mut self, field: &str, list: &[T], most: usize) {
        if list.len() > most {
            self.add(field, format!("has {} entries: write at most {most}", list.len()));
        }
    }

    /// Parses a name, or notes the rule it breaks.
    pub(crate) fn name<T: std::str::FromStr<Err = InvalidName>>(
        &mut self,
        field: &str,
        text: &str,
    ) -> Option<T> {
        if text.is_empty() {
            self.add(field, "is required");
            return None;
        }
        text.parse().map_err(|error: InvalidName| self.add(field, error.to_string())).ok()
    }

    /// A JSON value as a payload; absent stays absent.
    pub(crate) fn payload(&mut self, field: &str, wire: Option<&prost_types::Value>) -> Option<Payload> {
        wire.and_then(|wire| value::payload(wire).map_err(|bad| self.bad_value(field, bad)).ok())
    }

    /// A JSON object as a payload of at most `most` bytes; absent stays absent.
    pub(crate) fn object(
        &mut self,
        field: &str,
        wire: Option<&prost_types::Struct>,
        most: usize,
    ) -> Option<Payload> {
        wire.and_then(|wire| value::object(wire, most).map_err(|bad| self.bad_value(field, bad)).ok())
    }

    fn bad_value(&mut self, field: &str, bad: BadValue) {
        self.add(field, bad.to_string());
    }

    /// An enum number as a domain value, or a fault that lists what may be written.
    pub(crate) fn one_of<T>(&mut self, field: &str, number: i32, found: Option<T>, names: &str) -> Option<T> {
        if found.is_none() {
            self.add(field, format!("{number} is not a value of this enum: write {names}"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_sorted_and_once_a_field() {
        let mut faults = Faults::default();
        faults.add("owner", "is required");
        faults.add("budget", "is required");
        faults.merge(vec![
            Violation { field: "owner".into(), description: "is unknown".into() },
            Violation { field: "goal".into(), description: "is empty".into() },
        ]);
        let fields: Vec<_> = faults.sorted().into_iter().map(|v| v.field).collect();
        assert_eq!(fields, ["budget", "goal", "owner"]);
    }

    #[test]
    fn bounds_count_what_they_say() {
        let mut faults = Faults::default();
        faults.text("bytes", "ää", 4);
        faults.short("chars", "ää", 2);
        assert!(faults.0.is_empty());
        faults.text("bytes", "ää", 3);
        faults.short("chars", "äää", 2);
        faults.required("blank", "  ", 10, "a word");
        faults.list("list", &[1, 2], 1);
        assert_eq!(faults.0.len(), 4);
    }
}
