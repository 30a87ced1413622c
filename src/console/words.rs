//! The words for the enums of the wire, as people read and type them: `RUNNING`, `BUDGET`, `success`.
//! A number this version does not know is shown as such, never hidden.

use crate::pb;

use super::Tone;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident: $kind:ty, $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(value: i32) -> String {
            <$kind>::try_from(value).map_or_else(
                |_| format!("{value}?"),
                |known| known.as_str_name().strip_prefix($prefix).unwrap_or(known.as_str_name()).to_owned(),
            )
        }
    )*};
}

words! {
    /// A task's state.
    state: pb::TaskState, "TASK_STATE_";
    /// A cause.
    cause: pb::Cause, "CAUSE_";
    /// Who ended a task.
    ended_by: pb::EndedBy, "ENDED_BY_";
    /// A turn's state.
    turn_state: pb::TurnState, "TURN_STATE_";
    /// A turn's kind.
    turn_kind: pb::TurnKind, "TURN_KIND_";
    /// An answer's status.
    status: pb::Status, "STATUS_";
    /// How a step ended.
    step_end: pb::StepEnd, "STEP_END_";
    /// How an attempt ended.
    attempt_end: pb::AttemptEnd, "ATTEMPT_END_";
    /// Which guard over content tripped.
    trip_pattern: pb::TripPattern, "TRIP_PATTERN_";
    /// Where a question is.
    escalation: pb::EscalationState, "ESCALATION_STATE_";
    /// How well a point of the readiness list is met, or a failure mode answered.
    readiness: pb::Readiness, "READINESS_";
}

/// The words of `name` in small letters, for the middle of a sentence: "lease expired".
#[must_use]
pub fn small(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', " ")
}

/// How a task's state looks.
#[must_use]
pub fn state_tone(value: i32) -> Tone {
    match pb::TaskState::try_from(value) {
        Ok(pb::TaskState::Succeeded) => Tone::Good,
        Ok(pb::TaskState::Partial | pb::TaskState::AwaitingHuman | pb::TaskState::OwnerDecides) => Tone::Warn,
        Ok(pb::TaskState::Failed | pb::TaskState::DeadLettered) => Tone::Bad,
        Ok(pb::TaskState::Cancelled) => Tone::Faint,
        Ok(pb::TaskState::Unspecified | pb::TaskState::Queued | pb::TaskState::Running) | Err(_) => {
            Tone::Plain
        }
    }
}

/// How an answer's status looks.
#[must_use]
pub fn status_tone(value: i32) -> Tone {
    match pb::Status::try_from(value) {
        Ok(pb::Status::Success) => Tone::Good,
        Ok(pb::Status::Partial) => Tone::Warn,
        Ok(pb::Status::Failed) => Tone::Bad,
        Ok(pb::Status::Unspecified) | Err(_) => Tone::Plain,
    }
}

/// Whether a task in this state has ended.
#[must_use]
pub fn has_ended(state: i32) -> bool {
    matches!(
        pb::TaskState::try_from(state),
        Ok(pb::TaskState::Succeeded
            | pb::TaskState::Partial
            | pb::TaskState::Failed
            | pb::TaskState::Cancelled
            | pb::TaskState::DeadLettered)
    )
}
