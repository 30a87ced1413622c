//! What a run found, for people, for scripts (JSON) and for CI (JUnit XML). Never runs anything.

use std::{fmt::Write as _, io::Write as _, time::Duration};

use serde::Serialize;

/// How often a person is told that nothing has come yet.
const EVERY: Duration = Duration::from_secs(10);

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
    /// The last messages of a case that failed, oldest first, as lines for people; empty where it passed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transcript: Vec<String>,
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
            } else if case.transcript.is_empty() {
                write!(out, r#"<failure message="{saw}"/>"#)
            } else {
                let lines: Vec<String> = case.transcript.iter().map(|line| xml(line)).collect();
                write!(out, "<failure message=\"{saw}\">{}</failure>", lines.join("\n"))
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
        let _ =
            writeln!(out, "      {:<22} again: `--only {}`; docs/conformance.md has the case", "", case.name);
        for line in &case.transcript {
            let _ = writeln!(out, "        {line}");
        }
    }
}

/// Says on stderr, every ten seconds until `limit`, that the worker's first session is waited for.
pub(super) async fn tell_wait(limit: Duration) {
    let mut waited = Duration::ZERO;
    while waited + EVERY < limit {
        tokio::time::sleep(EVERY).await;
        waited += EVERY;
        let (waited, limit) = (waited.as_secs(), limit.as_secs());
        let _ = writeln!(std::io::stderr(), "waiting for the worker's first session: {waited} of {limit} s");
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
        let case = CaseReport {
            name: "a",
            what: "w",
            passed: false,
            saw: "<\"&\u{1}".into(),
            transcript: vec!["-> a & b".into()],
            millis: 1_500,
        };
        let report = Report { command: vec!["run".into()], cases: vec![case] };
        let xml = report.to_junit();
        assert!(
            xml.contains("<failure message=\"&lt;&quot;&amp;\u{fffd}\">-&gt; a &amp; b</failure>"),
            "{xml}"
        );
        assert!(xml.contains(r#"tests="1" failures="1" time="1.500""#), "{xml}");
        assert!(!report.passed());
    }
}
