//! What a specialist finds, in the one shape that every language of the crew writes. Pure text and numbers: whether a
//! finding is true is the reviewer's question.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Findings a specialist reports at most; the counts are in its facts.
pub(crate) const MOST: usize = 200;
/// Characters of an excerpt at most.
pub(crate) const EXCERPT: usize = 200;

/// One thing found at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// What kind of thing: "size", "unfinished", "dead_link".
    pub(crate) kind: String,
    /// The file, relative to the root, with "/".
    pub(crate) path: String,
    /// The line from 1; 0 speaks of the whole file.
    #[serde(default)]
    pub(crate) line: usize,
    /// A verbatim excerpt of that line; may be empty.
    #[serde(default)]
    pub(crate) text: String,
    /// What it means.
    #[serde(default)]
    pub(crate) note: String,
    /// The figure, where the kind has one: bytes of a "size", lines of a "length".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<u64>,
}

impl Finding {
    /// "path:line", or the path alone.
    pub(crate) fn place(&self) -> String {
        if self.line == 0 { self.path.clone() } else { format!("{}:{}", self.path, self.line) }
    }
}

/// A specialist's whole result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Findings {
    /// One sentence with the key figures.
    #[serde(default)]
    pub(crate) summary: String,
    /// Figures by name.
    #[serde(default)]
    pub(crate) facts: BTreeMap<String, Value>,
    /// What was found, each with its place.
    pub(crate) findings: Vec<Value>,
}

impl Findings {
    /// The result of an envelope, if it has this shape.
    pub(crate) fn of(result: &Value) -> Option<Self> {
        serde_json::from_value(result.clone()).ok()
    }

    /// The findings that read as such, and how many do not.
    pub(crate) fn list(&self) -> (Vec<Finding>, usize) {
        let good: Vec<Finding> =
            self.findings.iter().filter_map(|one| serde_json::from_value(one.clone()).ok()).collect();
        let bad = self.findings.len() - good.len();
        (good, bad)
    }
}

/// At most [`EXCERPT`] characters of a line, without the blanks around it.
pub(crate) fn excerpt(line: &str) -> String {
    line.trim().chars().take(EXCERPT).collect::<String>().trim_end().to_owned()
}

/// Tokens that a text of this many characters is estimated to be.
pub(crate) fn estimate(chars: usize) -> i64 {
    i64::try_from(chars / 4).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_finding_is_counted_and_costs_nothing_else() {
        let result = json!({
            "summary": "s", "facts": {"files": 2},
            "findings": [{"kind": "size", "path": "a.rs", "value": 3}, {"kind": "x"}, 7],
        });
        let findings = Findings::of(&result).expect("it has the shape");
        let (good, bad) = findings.list();
        assert_eq!((good.len(), bad), (1, 2));
        assert_eq!(good[0].place(), "a.rs");
        assert_eq!(Findings::of(&json!({"summary": "no list"})), None);
    }

    #[test]
    fn excerpts_are_part_of_their_line() {
        let line = format!("  é{}", " x".repeat(300));
        assert!(line.contains(&excerpt(&line)));
        assert!(excerpt(&line).chars().count() <= EXCERPT);
    }
}
