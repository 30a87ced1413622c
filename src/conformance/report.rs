//! What a run found, for people, for scripts (JSON) and for CI (JUnit XML). Never runs anything.

use std::{fmt::Write as _, io::Write as _};

use serde::Serialize;

/// One case's end.
#[derive(Clone, Debug, Serialize)]
pub struct CaseReport {
    /// The case.
    pub name: &'static str,
    /// What it asks of a worker.
    pub what: &'static str,
    /// Whether the worker did it.
    pub passed: bool,
    /// What was seen, in a sentence.
    pub saw: String,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The worker's command.
    pub command: Vec<String>,
    /// The cases, in the order they were played.
    pub cases: Vec<CaseReport>,
}

impl Report {
    /// Whether every case passed.
    pub fn passed(&self) -> bool {
        self.failed() == 0
    }

    /// How many cases failed.
    pub fn failed(&self) -> usize {
        self.cases.iter().filter(|c| !c.passed).count()
    }

    /// As one JSON object: `command`, `passed`, `failed` and the `cases`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "command": self.command,
            "passed": self.cases.len() - self.failed(),
            "failed": self.failed(),
            "cases": self.cases,
        })
    }

    /// As JUnit XML, one test case each.
    pub fn to_junit(&self) -> String {
        let seconds = |millis: u64| millis as f64 / 1000.0;
        let total = seconds(self.cases.iter().map(|c| c.millis).sum());
        let (all, failed, name) = (self.cases.len(), self.failed(), xml(&self.command.join(" ")));
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        // Writing to a String cannot fail.
        let _ =
            writeln!(out, r#"<testsuite name="{name}" tests="{all}" failures="{failed}" time="{total:.3}">"#);
        for case in &self.cases {
            let (name, saw, time) = (xml(case.name), xml(&case.saw), seconds(case.millis));
            let _ = write!(out, r#"  <testcase classname="conformance" name="{name}" time="{time:.3}">"#);
            let _ = if case.passed {
                write!(out, "<system-out>{saw}</system-out>")
            } else {
                write!(out, r#"<failure message="{saw}"/>"#)
            };
            out.push_str("</testcase>\n");
        }
        out.push_str("</testsuite>\n");
        out
    }
}

/// Prints a case to stdout. Here and below a stdout that nobody reads any more is no fault.
pub fn print_case(case: &CaseReport) {
    let mark = if case.passed { "pass" } else { "FAIL" };
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{mark}  {:<22} {}", case.name, case.saw);
    if !case.passed {
        let _ = writeln!(out, "      {:<22} asked: {}", "", case.what);
    }
}

/// Prints the names of all cases and what they ask.
pub fn print_list() {
    let mut out = std::io::stdout().lock();
    for case in super::list() {
        let _ = writeln!(out, "{:<22} {}", case.name, case.what);
    }
}

/// Prints the sum of a run.
pub fn print_summary(report: &Report) {
    let (all, failed) = (report.cases.len(), report.failed());
    let seconds = report.cases.iter().map(|c| c.millis).sum::<u64>() as f64 / 1000.0;
    let _ = writeln!(std::io::stdout(), "{} of {all} cases passed in {seconds:.1} s", all - failed);
}

/// Text as XML takes it: escaped, and without the control characters it has no words for.
fn xml(text: &str) -> String {
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

    #[test]
    fn junit_escapes_what_a_worker_wrote() {
        let case = CaseReport { name: "a", what: "w", passed: false, saw: "<\"&\u{1}".into(), millis: 1_500 };
        let report = Report { command: vec!["run".into()], cases: vec![case] };
        let xml = report.to_junit();
        assert!(xml.contains("<failure message=\"&lt;&quot;&amp;\u{fffd}\"/>"), "{xml}");
        assert!(xml.contains(r#"tests="1" failures="1" time="1.500""#), "{xml}");
        assert!(!report.passed());
    }
}
