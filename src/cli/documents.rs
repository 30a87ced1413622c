//! Parts a text into the contracts in it: YAML documents apart by `---`, JSON values one after another (JSON lines). Knows
//! nothing of contracts, and refuses nothing: what is broken stays whole, so that its reader says why.

use serde_json::value::RawValue;

use super::contract_file::Format;

/// One document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// Its text.
    pub(super) text: &'a str,
    /// Lines of the whole text before it.
    pub(super) lines_before: usize,
}

/// The documents of a text, in order. At least one: an empty text is one empty document.
pub(super) fn split(text: &str, format: Format) -> Vec<Document<'_>> {
    let mut documents = match format {
        Format::Yaml => yaml(text),
        Format::Json => json(text),
    };
    if documents.is_empty() {
        documents.push(Document { text, lines_before: 0 });
    }
    documents
}

fn yaml(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut at, mut first_line) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let is_mark = line.strip_prefix("---").is_some_and(|rest| rest.trim_start().len() < rest.len());
        if (is_mark || line == "---") && at > start {
            documents.push(Document { text: &text[start..at], lines_before: first_line });
            (start, first_line) = (at, number);
        }
        at += line.len();
    }
    documents.push(Document { text: &text[start..], lines_before: first_line });
    documents.retain(|document| says_something(document.text));
    documents
}

/// Whether there is more than marks, comments and blanks.
fn says_something(text: &str) -> bool {
    text.lines()
        .map(|line| line.strip_prefix("---").unwrap_or(line).trim())
        .any(|line| !line.is_empty() && !line.starts_with('#') && line != "...")
}

fn json(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let (mut start, mut lines_before) = (0, 0);
    loop {
        let next = values.next();
        let end = match next {
            None => return documents,
            Some(Ok(_)) => values.byte_offset(),
            Some(Err(_)) => text.len(),
        };
        let gap = text[start..].len() - text[start..].trim_start().len();
        lines_before += text[start..start + gap].matches('\n').count();
        let document = &text[start + gap..end];
        documents.push(Document { text: document, lines_before });
        lines_before += document.matches('\n').count();
        start = end;
        if start == text.len() {
            return documents;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, format: Format, expected: &[(&str, usize)]) {
        let found = split(text, format);
        let found: Vec<_> = found.iter().map(|d| (d.text.trim_end(), d.lines_before)).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn yaml_documents_are_apart_by_their_marks() {
        check("goal: a", Format::Yaml, &[("goal: a", 0)]);
        check("goal: a\n---\ngoal: b\n", Format::Yaml, &[("goal: a", 0), ("---\ngoal: b", 1)]);
        check("# two\n---\na: 1\n---\n\n--- {a: 2}\n", Format::Yaml, &[("---\na: 1", 1), ("--- {a: 2}", 5)]);
        check("goal: |\n  ---\n  x\nb: ----\n", Format::Yaml, &[("goal: |\n  ---\n  x\nb: ----", 0)]);
        check("a: 1\n---", Format::Yaml, &[("a: 1", 0)]);
        check("", Format::Yaml, &[("", 0)]);
    }

    #[test]
    fn json_values_follow_each_other() {
        check("{\"a\":1}\n{\"a\":2}\n", Format::Json, &[("{\"a\":1}", 0), ("{\"a\":2}", 1)]);
        check("{\n\"a\":1}\n\n {}", Format::Json, &[("{\n\"a\":1}", 0), ("{}", 3)]);
        // What is broken is one document to the end: its reader says what is wrong with it.
        check("{}\n{\"a\"\n{}", Format::Json, &[("{}", 0), ("{\"a\"\n{}", 1)]);
        check(" ", Format::Json, &[("", 0)]);
    }
}
