//! The score as JUnit XML: one test case a check, for whatever reads test results.

use std::fmt::Write as _;

use super::score::{Board, Verdict};

/// The score-board's verdicts. `seconds`: how long the run took.
#[must_use]
pub fn xml(board: &Board, seconds: f64) -> String {
    let failures = board.verdicts.iter().filter(|verdict| !verdict.passed()).count();
    let all = board.verdicts.len();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        r#"<testsuite name="chaos" tests="{all}" failures="{failures}" errors="0" time="{seconds:.3}">"#
    );
    for verdict in &board.verdicts {
        case(&mut out, verdict);
    }
    out.push_str("</testsuite>\n");
    out
}

fn case(out: &mut String, verdict: &Verdict) {
    let (name, what, saw) = (verdict.check.name(), escaped(verdict.check.what()), escaped(&verdict.saw));
    let _ = write!(out, r#"  <testcase classname="chaos" name="{name}" time="0">"#);
    if !verdict.passed() {
        let lines: Vec<String> = verdict.evidence.iter().map(|line| escaped(line)).collect();
        let _ = write!(out, r#"<failure message="{what}: {saw}">{}</failure>"#, lines.join("\n"));
    }
    let _ = writeln!(out, "<system-out>{what}: {saw}</system-out></testcase>");
}

/// Text as XML takes it: escaped, and without the characters it has no words for.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::score::Check;

    #[test]
    fn a_case_a_check_and_what_tasks_say_is_escaped() {
        let good = Verdict { check: Check::Lost, broken: 0, saw: "0 of 3".to_owned(), evidence: Vec::new() };
        let evidence = vec!["task <a> & \"b\"\u{1}".to_owned(), "another".to_owned()];
        let bad = Verdict { check: Check::Budget, broken: 2, saw: "2".to_owned(), evidence };
        let board = Board { verdicts: vec![good, bad], ..Board::default() };
        let xml = xml(&board, 1.5);
        assert!(xml.starts_with(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"chaos\" tests=\"2\" failures=\"1\""
        ));
        assert!(xml.contains(r#"<testcase classname="chaos" name="lost" time="0"><system-out>"#), "{xml}");
        assert!(xml.contains("task &lt;a&gt; &amp; &quot;b&quot;\u{fffd}\nanother</failure>"), "{xml}");
        assert_eq!(xml.matches("<testcase").count(), xml.matches("</testcase>").count());
        assert!(xml.ends_with("</testsuite>\n"));
    }
}
