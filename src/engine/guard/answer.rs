//! The answer a text states, in the forms that systems commonly use: the result of a turn, `\boxed{}`, a "final answer"
//! line, a fenced block of code. A message that is JSON is an action or a report as often as an answer: it states none. Never here: whether it is right, or words of any one system.

use super::{
    figures::{self, normal_value},
    text::{self, Hash},
};

/// Code shorter than this, white space apart, is an example rather than an answer.
const MIN_CODE_BYTES: usize = 40;
/// A value longer than this is prose.
const MAX_VALUE_BYTES: usize = 64;
/// The most of a JSON text that is looked at for its value.
const MAX_VALUE_JSON_BYTES: usize = 256;
/// What printing looks like in the common languages, in lower case. Code that prints is a trial of itself: what prints is
/// often taken out later.
const PRINTS: &[&str] = &["print", "console.", "cout", "puts ", "echo ", "write("];

/// An answer that a text states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stated {
    /// Its hash, white space apart.
    pub(super) substance: u64,
    /// Its hash, to the letter.
    pub(super) letter: u64,
    /// Whether it is code that still prints.
    pub(super) draft: bool,
    /// Its value, where it is short.
    pub(super) value: Option<String>,
}

/// What a text is made of.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    /// Its fenced blocks.
    pub(super) code: Vec<&'a str>,
    /// Their hash; 0 without any.
    pub(super) code_hash: u64,
    /// Whether the last one has no end: the text was cut off, and what it states is not known.
    pub(super) is_cut: bool,
}

impl<'a> Parts<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let (code, is_cut) = if text.contains("```") { fenced(text) } else { (Vec::new(), false) };
        let hash = |hash: Hash, block: &&str| hash.word(text::exact(block));
        let code_hash = if code.is_empty() { 0 } else { code.iter().fold(Hash::new(), hash).finish() };
        Self { code, code_hash, is_cut }
    }
}

/// The fenced blocks of a text, without their fences, and whether the last one has no end and so runs to that of the text.
fn fenced(text: &str) -> (Vec<&str>, bool) {
    let mut blocks = Vec::new();
    let mut opened = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        if line.trim_start().starts_with("```") {
            match opened.take() {
                None => opened = Some(end),
                Some(start) => blocks.push(&text[start..at]),
            }
        }
        at = end;
    }
    if let Some(start) = opened {
        blocks.push(&text[start..]);
    }
    (blocks, opened.is_some())
}

/// The answer that a message states, if it states one.
pub(super) fn in_message(text: &str, parts: &Parts<'_>) -> Option<Stated> {
    if let Some(value) = boxed(text).or_else(|| final_answer(text)) {
        return Some(of_value(value));
    }
    let long: Vec<&str> =
        parts.code.iter().copied().filter(|code| bytes_of_substance(code) > MIN_CODE_BYTES).collect();
    if long.is_empty() || parts.is_cut {
        return None;
    }
    Some(Stated {
        substance: long.iter().fold(Hash::new(), |hash, code| hash.word(text::dense(code))).finish(),
        letter: parts.code_hash,
        draft: long.iter().any(|code| prints(code)),
        value: None,
    })
}

/// A result, as JSON text.
pub(super) fn in_result(json: &str) -> Stated {
    let value = (json.len() <= MAX_VALUE_JSON_BYTES).then(|| only_scalar(json)).flatten();
    Stated { substance: text::dense(json), letter: text::exact(json), draft: false, value }
}

fn of_value(value: String) -> Stated {
    let hash = text::raw(&value);
    Stated { substance: hash, letter: hash, draft: false, value: Some(value) }
}

fn prints(code: &str) -> bool {
    let code = code.to_ascii_lowercase();
    PRINTS.iter().any(|print| code.contains(print))
}

fn bytes_of_substance(code: &str) -> usize {
    code.split_whitespace().map(str::len).sum()
}

/// The content of the last `\boxed{}`.
fn boxed(text: &str) -> Option<String> {
    let start = text.rfind("\\boxed")?;
    let inside = text[start + "\\boxed".len()..].trim_start().strip_prefix('{')?;
    let mut depth = 1_u32;
    let end = inside.find(|char| {
        depth = match char {
            '{' => depth + 1,
            '}' => depth - 1,
            _ => depth,
        };
        depth == 0
    })?;
    short(&inside[..end])
}

/// What the last "final answer" is said to be, on its own line.
fn final_answer(text: &str) -> Option<String> {
    const MARK: &[u8] = b"final answer";
    let bytes = text.as_bytes();
    // The rare letter first: this runs over every byte of every message.
    const W: usize = 9;
    let mut end = bytes.len();
    let start = loop {
        let w = bytes[..end].iter().rposition(|byte| byte | 0x20 == MARK[W])?;
        let found = w.checked_sub(W).and_then(|start| Some((start, bytes.get(start..start + MARK.len())?)));
        match found {
            Some((start, window)) if window.eq_ignore_ascii_case(MARK) => break start,
            _ => end = w,
        }
    };
    let rest = text.get(start + MARK.len()..)?;
    let line = rest.trim_start_matches(['*', '#', '_', ' ']);
    let said = line.strip_prefix(':').or_else(|| line.strip_prefix("is"))?;
    short(said.trim_start_matches([':', '*', ' ', '\n']).lines().next()?)
}

fn short(value: &str) -> Option<String> {
    let value = normal_value(value);
    (!value.is_empty() && value.len() <= MAX_VALUE_BYTES).then_some(value)
}

/// The only scalar in a JSON text, if there is just one.
fn only_scalar(json: &str) -> Option<String> {
    fn scalars(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Null => {}
            serde_json::Value::Bool(bool) => found.push(bool.to_string()),
            serde_json::Value::Number(number) => found.push(number.to_string()),
            serde_json::Value::String(string) => found.push(string.clone()),
            serde_json::Value::Array(items) => items.iter().for_each(|item| scalars(item, found)),
            serde_json::Value::Object(fields) => fields.values().for_each(|item| scalars(item, found)),
        }
    }
    let mut found = Vec::new();
    scalars(&serde_json::from_str(json).ok()?, &mut found);
    match found.as_slice() {
        [one] => short(one),
        _ => None,
    }
}

/// Whether a tool's result says a value. Only figures are looked for, and only among few: words may be an echo or an error.
pub(super) fn says(result: &str, value: &str) -> bool {
    value.ends_with(|c: char| c.is_ascii_digit()) && figures::are_few_with(result, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<String> {
        in_message(text, &Parts::of(text)).and_then(|stated| stated.value)
    }

    #[test]
    fn the_common_forms_of_an_answer_are_read() {
        let check = |text: &str, expected: &str| assert_eq!(value(text).as_deref(), Some(expected), "{text}");
        check("so \\boxed{3} or rather \\boxed{\\frac{1}{20}}", "1/20");
        check("it is \\boxed{\\text{about }1,200.50}", "about1200.5");
        check("FINAL ANSWER: Saint Petersburg", "saintpetersburg");
        check("The final answer is: **42**.", "42");
    }

    #[test]
    fn prose_states_no_answer() {
        for text in [
            "I think that we are done.",
            "",
            "\\boxed{",
            "\\boxed",
            "the final answer",
            "```\nls\n```",
            "{\"page\": 2}",
        ] {
            assert_eq!(in_message(text, &Parts::of(text)), None, "{text:?}");
        }
    }

    #[test]
    fn code_is_an_answer_and_a_draft_while_it_prints() {
        let program = "def area(width, height):\n    return width * height  # in metres\n";
        let stated = |code: &str| {
            let text = format!("Here it is:\n```python\n{code}```\nDone.");
            in_message(&text, &Parts::of(&text)).expect("code is an answer")
        };
        let one = stated(program);
        assert!(!one.draft);
        let spaced = stated(&program.replace("\n    ", "\n\n    "));
        assert_eq!(one.substance, spaced.substance);
        assert_ne!(one.letter, spaced.letter);
        assert_ne!(one.substance, stated(&program.replace('*', "+")).substance);
        assert!(stated(&format!("{program}print(area(2, 3))\n")).draft);
    }

    #[test]
    fn a_fence_may_stay_open() {
        assert_eq!(fenced("a\n```\nb\n```\nc\n```rust\nd"), (vec!["b\n", "d"], true));
        assert_eq!(fenced("```"), (vec![""], true));
        let cut = format!("```\n{}", "let total = width * height;\n".repeat(3));
        assert_eq!(in_message(&cut, &Parts::of(&cut)), None);
        let whole = cut + "```";
        assert!(in_message(&whole, &Parts::of(&whole)).is_some());
    }

    #[test]
    fn a_result_says_a_value_as_its_last_line_or_as_one_of_few_figures() {
        assert!(says("exitcode: 0\nCode output: 4.0\n", "4"));
        assert!(says("Remaining: 1/20", "1/20"));
        assert!(!says("None", "none"));
        assert!(!says("1 2 3 4 5 6 7 8 9 10 11 12", "4"));
        assert!(!says("14", "4"));
        assert!(!says("", "4"));
    }
}
