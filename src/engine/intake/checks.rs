//! The checks that intake is made of: each notes a fault and goes on, so that all are named at once.

use super::Violation;
use crate::types::{
    ids::{AgentName, InvalidName, Namespace},
    limits::fixed,
    payload::Payload,
    plan::{Plan, PlanDraft},
    time::Span,
};

/// Faults found so far.
pub(super) struct Checks<'a> {
    is_known: &'a dyn Fn(&AgentName) -> bool,
    violations: Vec<Violation>,
}

impl<'a> Checks<'a> {
    pub(super) const fn new(is_known: &'a dyn Fn(&AgentName) -> bool) -> Self {
        Self { is_known, violations: Vec::new() }
    }

    pub(super) fn fault(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.violations.push(Violation { field: field.into(), description: description.into() });
    }

    /// The faults, sorted by field.
    pub(super) fn into_violations(mut self) -> Vec<Violation> {
        self.violations.sort_by(|a, b| a.field.cmp(&b.field));
        self.violations
    }

    /// An agent that this server has seen.
    pub(super) fn agent(&mut self, field: &str, name: &str) -> Option<AgentName> {
        if name.is_empty() {
            self.fault(field, "is missing: name an agent");
            return None;
        }
        match name.parse::<AgentName>() {
            Ok(agent) if (self.is_known)(&agent) => Some(agent),
            Ok(agent) => {
                self.fault(
                    field,
                    format!(
                        "names {agent}, which no worker has ever served here: start a worker for it first, or correct the name \
                         (`bailiwick agents` lists those known)"
                    ),
                );
                None
            }
            Err(error) => {
                self.fault(field, error.to_string());
                None
            }
        }
    }

    /// A namespace; the default where none is named.
    pub(super) fn namespace(&mut self, name: &str) -> Namespace {
        if name.is_empty() {
            return Namespace::default();
        }
        name.parse().unwrap_or_else(|error: InvalidName| {
            self.fault("namespace", error.to_string());
            Namespace::default()
        })
    }

    /// A plan whose shape is right and whose agents are known.
    pub(super) fn plan(&mut self, field: &str, draft: &PlanDraft) -> Option<Plan> {
        // Also where the shape is wrong, so that an agent nobody serves is named in the same go.
        for (index, step) in draft.steps.iter().take(fixed::MAX_STEPS).enumerate() {
            self.name_in_plan(format!("{field}.steps[{index}].agent"), &step.agent);
            for (place, fallback) in step.fallback_agents.iter().take(fixed::MAX_FALLBACKS).enumerate() {
                self.name_in_plan(format!("{field}.steps[{index}].fallback_agents[{place}]"), fallback);
            }
        }
        super::plan(draft, field).map_err(|violations| self.violations.extend(violations)).ok()
    }

    /// An agent of a plan. What is no name at all is a fault of the plan's shape, and named there.
    fn name_in_plan(&mut self, field: String, name: &str) {
        if name.parse::<AgentName>().is_ok() {
            self.agent(&field, name);
        }
    }

    /// Tokens that must be given.
    pub(super) fn required_tokens(
        &mut self,
        field: &str,
        given: i64,
        (least, most): (u64, u64),
    ) -> Option<u64> {
        match u64::try_from(given) {
            Ok(0) => self.fault(field, format!("is missing: write tokens, {least} to {most}")),
            Ok(tokens) if (least..=most).contains(&tokens) => return Some(tokens),
            Ok(_) | Err(_) => self.fault(field, format!("is {given}: write tokens, {least} to {most}")),
        }
        None
    }

    /// Tokens that have a default; 0 is the default.
    pub(super) fn tokens(&mut self, field: &str, given: i64, default: u64, (least, most): (u64, u64)) -> u64 {
        match u64::try_from(given) {
            Ok(0) if default <= most => default,
            Ok(tokens) if (least..=most).contains(&tokens) => tokens,
            Ok(_) | Err(_) => {
                self.fault(field, format!("is {given}: write tokens, {least} to {most}"));
                default
            }
        }
    }

    /// A count that has a default.
    pub(super) fn count(
        &mut self,
        field: &str,
        given: Option<i32>,
        default: u32,
        (least, most): (u32, u32),
    ) -> u32 {
        let Some(given) = given else { return default.min(most) };
        match u32::try_from(given) {
            Ok(count) if (least..=most).contains(&count) => count,
            Ok(_) | Err(_) => {
                self.fault(field, format!("is {given}: write {least} to {most}"));
                default
            }
        }
    }

    /// A span that has a default, in microseconds.
    pub(super) fn span(
        &mut self,
        field: &str,
        given: Option<i64>,
        default: Span,
        (least, most): (Span, Span),
    ) -> Span {
        let Some(given) = given else { return default };
        match u64::try_from(given).map(Span) {
            Ok(span) if (least..=most).contains(&span) => span,
            Ok(span) => {
                self.fault(field, format!("is {span}: write \"{least}\" to \"{most}\""));
                default
            }
            Err(_) => {
                self.fault(field, format!("is negative: write \"{least}\" to \"{most}\""));
                default
            }
        }
    }

    pub(super) fn payload(&mut self, field: &str, payload: &Payload, most: usize) {
        let bytes = payload.as_str().len();
        if bytes > most {
            self.fault(field, format!("has {bytes} bytes: write at most {most}"));
        }
    }

    pub(super) fn label(&mut self, key: &str, value: &str) {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._/-".contains(&b);
        if key.is_empty() || key.len() > fixed::MAX_LABEL_KEY_BYTES || !key.bytes().all(fits) {
            let most = fixed::MAX_LABEL_KEY_BYTES;
            self.fault(
                format!("labels.{key}"),
                format!("has a key that is not 1 to {most} characters of a-z, 0-9, ., _, / and -"),
            );
        }
        if value.len() > fixed::MAX_LABEL_VALUE_BYTES {
            self.fault(
                format!("labels.{key}"),
                format!("has a value longer than {} bytes", fixed::MAX_LABEL_VALUE_BYTES),
            );
        }
    }
}
