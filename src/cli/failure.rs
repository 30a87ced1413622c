//! Why a command did not do what was asked: the sentence, the details, the exit code. Rich errors of the server are taken
//! apart here and nowhere else.

use std::time::Duration;

use serde_json::json;
use tonic::Status;
use tonic_types::StatusExt;

use super::{contract_file::Fault, exit::Exit};
use crate::console::text::{clean, clip};

/// What the server's ErrorInfo says for clients that act on it: the exit code and `try again` say it to people.
const FOR_MACHINES: [&str; 2] = ["retryable", "free_of_side_effects"];

/// One thing that is wrong with what was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violation {
    /// Where it stands: `file:line:column`; empty where it stands in no file.
    pub place: String,
    /// The field; empty where it is the whole.
    pub field: String,
    /// What is wrong and what to write.
    pub description: String,
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What went wrong, in a sentence.
    pub message: String,
    /// Field by field, where it can be said.
    pub violations: Vec<Violation>,
    /// What else helps.
    pub hints: Vec<String>,
    /// The server's stable name for the reason; empty where there is none.
    pub reason: String,
    /// After how long trying again may help.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that is told in a sentence.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            violations: Vec::new(),
            hints: Vec::new(),
            reason: String::new(),
            retry_after: None,
        }
    }

    /// With a sentence that helps.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// A contract file that could not be read as a contract.
    #[must_use]
    pub fn of_faults(faults: &[Fault]) -> Self {
        let violations = faults
            .iter()
            .map(|fault| Violation {
                place: fault.place_words(),
                field: fault.field.clone(),
                description: fault.message.clone(),
            })
            .collect();
        Self { violations, ..Self::new(Exit::Refused, "the contract cannot be read") }
    }

    /// The standard output is gone: whoever read it has had enough. Nothing to say, and no fault.
    #[must_use]
    pub fn reader_gone() -> Self {
        Self::new(Exit::Ok, "")
    }

    /// A call that the server refused, or that did not reach it.
    #[must_use]
    pub fn of_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let mut failure = Self::new(Exit::of_status(status.code()), clean(status.message()));
        if failure.message.is_empty() {
            failure.message = status.code().description().to_owned();
        }
        if let Some(bad) = details.bad_request() {
            failure
                .violations
                .extend(bad.field_violations.iter().map(|v| violation(&v.field, &v.description)));
            // The message names the first of them, or all; each has a line of its own below.
            if let Some((sum, rest)) = failure.message.split_once(": ")
                && failure.violations.iter().any(|v| rest.contains(&v.description))
            {
                failure.message = sum.to_owned();
            }
        }
        if let Some(precondition) = details.precondition_failure() {
            failure
                .violations
                .extend(precondition.violations.iter().map(|v| violation(&v.subject, &v.description)));
        }
        if let Some(info) = details.error_info() {
            failure.reason = clip(&info.reason, 64);
            let mut known: Vec<_> =
                info.metadata.iter().filter(|(name, _)| !FOR_MACHINES.contains(&name.as_str())).collect();
            known.sort();
            failure
                .hints
                .extend(known.iter().map(|(name, text)| format!("{}: {}", clean(name), clip(text, 200))));
        }
        if let Some(resource) = details.resource_info() {
            let name = clean(&resource.resource_name);
            if !failure.message.contains(&name) {
                failure.hints.push(format!("looked for {} {name}", clean(&resource.resource_type)));
            }
        }
        failure.retry_after = details.retry_info().and_then(|retry| retry.retry_delay);
        failure
    }

    /// As people read it, a line each; the first is the message.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.message.clone()];
        lines.extend(self.violations.iter().map(|Violation { place, field, description }| {
            let parts = [place, field, description].into_iter().filter(|part| !part.is_empty());
            format!("  {}", parts.map(String::as_str).collect::<Vec<_>>().join(": "))
        }));
        lines.extend(self.hints.iter().map(|hint| format!("  {hint}")));
        if !self.reason.is_empty() {
            lines.push(format!("  reason: {}", self.reason));
        }
        if let Some(delay) = self.retry_after {
            lines.push(format!("  try again in {}", humantime::format_duration(delay)));
        }
        lines
    }

    /// As scripts read it: one object.
    #[must_use]
    pub fn json(&self) -> String {
        let violations: Vec<_> = self
            .violations
            .iter()
            .map(|Violation { place, field, description }| {
                json!({"place": place, "field": field, "description": description})
            })
            .collect();
        json!({"error": {
            "exit_code": self.exit.code(),
            "message": self.message,
            "reason": self.reason,
            "violations": violations,
            "hints": self.hints,
            "retry_after_seconds": self.retry_after.map(|delay| delay.as_secs_f64()),
        }})
        .to_string()
    }
}

fn violation(field: &str, description: &str) -> Violation {
    Violation { place: String::new(), field: clean(field), description: clean(description) }
}

impl From<String> for Failure {
    /// A fault of this program that has only words.
    fn from(message: String) -> Self {
        Self::new(Exit::Error, message)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic::Code;
    use tonic_types::{ErrorDetails, FieldViolation};

    use super::*;

    #[test]
    fn rich_details_become_lines() {
        let mut details = ErrorDetails::with_bad_request(vec![
            FieldViolation::new("limits.deadline", "is missing. Write a duration, like \"90s\""),
            FieldViolation::new("owner", "is missing"),
        ]);
        details.set_error_info(
            "CONTRACT_INVALID",
            "bailiwick.v1",
            HashMap::from([("faults".into(), "2".into())]),
        );
        details.set_retry_info(Some(Duration::from_millis(1_500)));
        let status = Status::with_error_details(Code::InvalidArgument, "the contract is refused", details);
        let failure = Failure::of_status(&status);
        assert_eq!(failure.exit, Exit::Usage);
        assert_eq!(
            failure.lines(),
            [
                "the contract is refused",
                "  limits.deadline: is missing. Write a duration, like \"90s\"",
                "  owner: is missing",
                "  faults: 2",
                "  reason: CONTRACT_INVALID",
                "  try again in 1s 500ms",
            ]
        );
        let json: serde_json::Value = serde_json::from_str(&failure.json()).unwrap();
        assert_eq!(json["error"]["violations"][1]["field"], "owner");
        assert_eq!(json["error"]["retry_after_seconds"], 1.5);
    }

    #[test]
    fn a_status_without_words_still_says_something() {
        assert!(!Failure::of_status(&Status::new(Code::Internal, "")).message.is_empty());
    }
}
