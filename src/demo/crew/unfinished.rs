//! The specialist `unfinished`: marks of work that was left undone. What a mark means is up to who wrote it, so its
//! confidence is 0.9.

use bailiwick_worker::{Answer, Context, HandlerError};
use serde_json::{Value, json};

use super::{Material, afford, chars_of};
use crate::demo::finding::{EXCERPT, Finding, MOST, estimate, excerpt};

/// Written in pieces, so that an audit of this very file finds nothing.
const MARKS: [&str; 7] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
    concat!("unimple", "mented!"),
    concat!("to", "do!"),
    concat!("NotImple", "mentedError"),
];
/// Files between two reports.
const EVERY: usize = 25;

pub(super) async fn handle(context: Context) -> Result<Answer, HandlerError> {
    let material = Material::of(&context.input())?;
    let (mut read, mut all, mut findings) = (0_u64, 0_usize, Vec::new());
    let (mut unreported, mut short) = (0, None);
    for (number, file) in material.files.iter().enumerate() {
        let Some(text) = material.read(file) else { continue };
        let tokens = estimate(text.chars().count());
        if !afford(&context, unreported + tokens).await {
            short = Some(format!("the allowance ended after {number} of {} files", material.files.len()));
            break;
        }
        read += 1;
        unreported += tokens;
        let marks = marks(file, &text);
        all += marks.len();
        findings.extend(marks.into_iter().take(MOST - findings.len()));
        if number % EVERY == EVERY - 1 {
            context.usage(unreported, 0).await;
            unreported = 0;
            context.progress(format!("{} of {} files, {all} marks", number + 1, material.files.len())).await;
        }
    }
    let result = result(read, all, &findings);
    context.usage(unreported, estimate(chars_of(&result))).await;
    Ok(match short {
        Some(reason) => Answer::partial(result, reason),
        None => Answer::success(result),
    }
    .confidence(0.9))
}

fn result(read: u64, all: usize, findings: &[Finding]) -> Value {
    let summary = match all {
        0 => format!("no mark of unfinished work in {read} files"),
        1 => format!("1 mark of unfinished work in {read} files"),
        _ => format!("{all} marks of unfinished work in {read} files"),
    };
    json!({"summary": summary, "facts": {"files": read, "marks": all}, "findings": findings})
}

/// The marks of a text, one a line at most.
fn marks(file: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let Some((mark, at)) = MARKS.iter().find_map(|mark| Some((mark, place(text, mark)?))) else {
            continue;
        };
        // Of a line longer than an excerpt, the part that has the mark.
        let shown = if text.trim().chars().count() > EXCERPT { &text[at..] } else { text };
        let text = excerpt(shown);
        let (kind, path, note) = ("unfinished".to_owned(), file.to_owned(), (*mark).to_owned());
        found.push(Finding { kind, path, line, text, note, value: None });
    }
    found
}

/// Where a mark stands as a word of its own.
fn place(line: &str, mark: &str) -> Option<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(mark).map(|(at, _)| at).find(|&at| {
        let before = line[..at].chars().next_back();
        let after = line[at + mark.len()..].chars().next();
        !before.is_some_and(is_word) && (mark.ends_with('!') || !after.is_some_and(is_word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_word_and_has_its_place() {
        let mark = MARKS[0];
        let text = format!("fine\n  // {mark}: later\n{mark}S and my{mark} are words\n{}\n", MARKS[4]);
        let found = marks("a.rs", &text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].place(), "a.rs:2");
        assert_eq!(found[0].text, format!("// {mark}: later"));
        assert_eq!(found[1].line, 4);
    }

    #[test]
    fn of_a_long_line_the_mark_is_shown() {
        let line = format!("{} {} end", "x".repeat(900), MARKS[1]);
        assert_eq!(marks("a", &line)[0].text, format!("{} end", MARKS[1]));
    }
}
