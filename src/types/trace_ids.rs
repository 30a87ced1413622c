//! Trace and span ids, derived: whoever knows the task and the number of a thing knows its ids, in any process, before
//! and after a restart. That is what makes one task one trace and a repeated export harmless.
//!
//! Never made up here: no randomness, no clock. Never zero: W3C trace context and OTLP take a zero id for none.

use std::fmt::Write as _;

use uuid::Uuid;

use super::ids::{AttemptNumber, TaskId, TurnNumber};
use crate::engine::event::TraceContext;

/// The UUID namespace of span ids.
const SPAN_NAMESPACE: Uuid = Uuid::from_u128(0x6261_696c_6977_4963_8b00_0000_0000_0002);

/// The length of a `traceparent` of version 00.
const TEXT_BYTES: usize = 55;

/// A W3C `traceparent`, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace. Not zero.
    pub trace_id: u128,
    /// The caller's span. Not zero.
    pub parent_id: u64,
    /// The flags; bit 0: sampled.
    pub flags: u8,
}

impl TraceParent {
    /// Whether the caller records this trace.
    pub const fn is_sampled(self) -> bool {
        self.flags & 1 == 1
    }
}

impl std::fmt::Display for TraceParent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (mut trace, trace_id) = ([0; 32], Uuid::from_u128(self.trace_id));
        let trace = trace_id.simple().encode_lower(&mut trace);
        write!(f, "00-{trace}-{:016x}-{:02x}", self.parent_id, self.flags)
    }
}

/// What within a task has a span of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpanOf {
    /// The task: the root.
    Task,
    /// A turn.
    Turn(TurnNumber),
    /// An attempt of a turn.
    Attempt(TurnNumber, AttemptNumber),
    /// The gate's judgement of a turn's result.
    Gate(TurnNumber),
    /// The decision of a decide turn.
    Decide(TurnNumber),
    /// A plan, by its number.
    Plan(u32),
    /// A question, by its number.
    Escalation(u32),
    /// Usage that was heard of after the end, by the number of its event.
    LateUsage(u64),
}

impl SpanOf {
    /// A tag and two numbers, different for every thing that has a span.
    const fn parts(self) -> (u8, u64, u32) {
        match self {
            Self::Task => (0, 0, 0),
            Self::Turn(turn) => (1, turn as u64, 0),
            Self::Attempt(turn, attempt) => (2, turn as u64, attempt),
            Self::Gate(turn) => (3, turn as u64, 0),
            Self::Decide(turn) => (4, turn as u64, 0),
            Self::Plan(number) => (5, number as u64, 0),
            Self::Escalation(number) => (6, number as u64, 0),
            Self::LateUsage(seq) => (7, seq, 0),
        }
    }
}

/// Parses a `traceparent` header. `None` where W3C Trace Context says to ignore it.
pub fn parse_traceparent(text: &str) -> Option<TraceParent> {
    let bytes = text.as_bytes();
    let lower_hex = |range: std::ops::Range<usize>| {
        let part = bytes.get(range)?;
        let good = part.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
        if good { std::str::from_utf8(part).ok() } else { None }
    };
    let version = u8::from_str_radix(lower_hex(0..2)?, 16).ok()?;
    let dashes = [2, 35, 52].iter().all(|at| bytes.get(*at) == Some(&b'-'));
    // A later version may have more fields behind another dash; version 0 may not.
    let length_fits = bytes.len() == 55 || (version > 0 && bytes.get(55) == Some(&b'-'));
    if version == 0xff || !dashes || !length_fits {
        return None;
    }
    let parsed = TraceParent {
        trace_id: u128::from_str_radix(lower_hex(3..35)?, 16).ok()?,
        parent_id: u64::from_str_radix(lower_hex(36..52)?, 16).ok()?,
        flags: u8::from_str_radix(lower_hex(53..55)?, 16).ok()?,
    };
    (parsed.trace_id != 0 && parsed.parent_id != 0).then_some(parsed)
}

/// The submitter's span, if it sent a valid `traceparent`.
pub fn submitter(context: &TraceContext) -> Option<TraceParent> {
    context.traceparent.as_deref().and_then(parse_traceparent)
}

/// The trace of a task: the submitter's if it sent a valid `traceparent`, else the task's own id.
pub fn trace_id(task: TaskId, context: &TraceContext) -> u128 {
    submitter(context).map_or_else(|| task.uuid().as_u128().max(1), |parent| parent.trace_id)
}

/// The span of a thing within a task. Never zero.
pub fn span_id(task: TaskId, of: SpanOf) -> u64 {
    let (tag, first, second) = of.parts();
    let mut name = [0; 29];
    name[..16].copy_from_slice(task.uuid().as_bytes());
    name[16] = tag;
    name[17..25].copy_from_slice(&first.to_be_bytes());
    name[25..].copy_from_slice(&second.to_be_bytes());
    let (high, low) = Uuid::new_v5(&SPAN_NAMESPACE, &name).as_u64_pair();
    // Both halves, since each has bits that a UUID fixes.
    (high ^ low).max(1)
}

/// The `traceparent` of an attempt, for its assignment: spans that a worker makes under it hang below the attempt. It is
/// marked as sampled unless the submitter's own said otherwise.
pub fn attempt_traceparent(
    task: TaskId,
    context: &TraceContext,
    turn: TurnNumber,
    attempt: AttemptNumber,
) -> String {
    let parent = TraceParent {
        trace_id: trace_id(task, context),
        parent_id: span_id(task, SpanOf::Attempt(turn, attempt)),
        // Only the flag that version 00 defines is passed on.
        flags: submitter(context).map_or(1, |parent| parent.flags & 1),
    };
    let mut text = String::with_capacity(TEXT_BYTES);
    write!(text, "{parent}").expect("a text takes any text");
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn task() -> TaskId {
        TaskId::with_shard(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000), 3)
    }

    fn context(traceparent: &str) -> TraceContext {
        TraceContext { traceparent: Some(traceparent.to_owned()), tracestate: None }
    }

    #[test]
    fn a_traceparent_survives_its_text() {
        let parsed = parse_traceparent(PARENT).expect("well formed");
        assert_eq!(parsed.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(parsed.parent_id, 0xb7ad_6b71_6920_3331);
        assert!(parsed.is_sampled());
        assert_eq!(parsed.to_string(), PARENT);
    }

    #[test]
    fn a_malformed_traceparent_is_no_traceparent() {
        let long = format!("{PARENT}-more");
        for bad in [
            "",
            "00",
            &PARENT[..54],
            &long,
            &PARENT.to_uppercase(),
            &PARENT.replacen("00-", "ff-", 1),
            &PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &PARENT.replace("b7ad6b7169203331", &"0".repeat(16)),
            &PARENT.replace("b7ad", "+7ad"),
            &PARENT.replace("b7ad", "é7a"),
        ] {
            assert_eq!(parse_traceparent(bad), None, "{bad}");
        }
        assert!(
            parse_traceparent(&long.replacen("00-", "01-", 1)).is_some(),
            "a later version may be longer"
        );
    }

    #[test]
    fn the_trace_is_the_submitters_or_the_tasks() {
        assert_eq!(trace_id(task(), &TraceContext::default()), task().uuid().as_u128());
        assert_eq!(trace_id(task(), &context("nonsense")), task().uuid().as_u128());
        assert_eq!(trace_id(task(), &context(PARENT)), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_ne!(trace_id(Uuid::nil().into(), &TraceContext::default()), 0);
    }

    #[test]
    fn span_ids_are_stable_and_differ_for_everything_of_a_task() {
        let all = [
            SpanOf::Task,
            SpanOf::Turn(1),
            SpanOf::Turn(2),
            SpanOf::Attempt(1, 1),
            SpanOf::Attempt(1, 2),
            SpanOf::Attempt(2, 1),
            SpanOf::Gate(1),
            SpanOf::Decide(1),
            SpanOf::Plan(1),
            SpanOf::Escalation(1),
            SpanOf::LateUsage(1),
        ];
        let ids: HashSet<u64> = all.iter().map(|of| span_id(task(), *of)).collect();
        assert_eq!(ids.len(), all.len());
        assert!(!ids.contains(&0));
        // Fixed for good: a worker's spans of last year still hang under the same attempt.
        assert_eq!(span_id(task(), SpanOf::Task), 11_464_291_570_396_678_832);
        assert_ne!(
            span_id(TaskId::with_shard(Uuid::from_u128(9), 3), SpanOf::Task),
            span_id(task(), SpanOf::Task)
        );
    }

    #[test]
    fn an_attempts_traceparent_names_its_span_and_keeps_the_submitters_choice() {
        let own = parse_traceparent(&attempt_traceparent(task(), &TraceContext::default(), 2, 1));
        let own = own.expect("well formed");
        assert_eq!(own.trace_id, task().uuid().as_u128());
        assert_eq!(own.parent_id, span_id(task(), SpanOf::Attempt(2, 1)));
        assert!(own.is_sampled());
        let unsampled = context(&PARENT.replace("-01", "-00"));
        assert!(attempt_traceparent(task(), &unsampled, 2, 1).ends_with("-00"));
    }
}
