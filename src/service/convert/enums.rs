//! Enums, both ways. Every match is exhaustive on the domain's side; numbers unknown to this server are `None`.

use crate::{
    engine::{
        event::{AttemptEnd, EscalationEnd, GateCheck, StepEnd, TripScope, TurnKind},
        guard::GuardKind,
        readiness::Readiness,
        view::TurnState,
    },
    pb,
    types::{
        contract::{DefaultAnswer, OwnerFallback},
        envelope::{Judgement, Status, WorkStepKind},
        outcome::{Cause, EndedBy, TaskState},
        plan::OnStepFailure,
    },
};

/// A task's state for the wire.
pub(crate) const fn task_state(state: TaskState) -> pb::TaskState {
    match state {
        TaskState::Queued => pb::TaskState::Queued,
        TaskState::Running => pb::TaskState::Running,
        TaskState::AwaitingHuman => pb::TaskState::AwaitingHuman,
        TaskState::OwnerDecides => pb::TaskState::OwnerDecides,
        TaskState::Succeeded => pb::TaskState::Succeeded,
        TaskState::Partial => pb::TaskState::Partial,
        TaskState::Failed => pb::TaskState::Failed,
        TaskState::Cancelled => pb::TaskState::Cancelled,
        TaskState::DeadLettered => pb::TaskState::DeadLettered,
    }
}

/// A task's state from a filter.
pub(crate) fn task_state_in(number: i32) -> Option<TaskState> {
    TaskState::ALL.into_iter().find(|state| task_state(*state) as i32 == number)
}

/// A cause for the wire.
pub(crate) const fn cause(cause: Cause) -> pb::Cause {
    match cause {
        Cause::Completed => pb::Cause::Completed,
        Cause::Converged => pb::Cause::Converged,
        Cause::Budget => pb::Cause::Budget,
        Cause::Hops => pb::Cause::Hops,
        Cause::Turns => pb::Cause::Turns,
        Cause::Replans => pb::Cause::Replans,
        Cause::NotConverged => pb::Cause::NotConverged,
        Cause::Repetition => pb::Cause::Repetition,
        Cause::Deadline => pb::Cause::Deadline,
        Cause::GateRejected => pb::Cause::GateRejected,
        Cause::Role => pb::Cause::Role,
        Cause::AgentFailed => pb::Cause::AgentFailed,
        Cause::PlanFailed => pb::Cause::PlanFailed,
        Cause::NoWorker => pb::Cause::NoWorker,
        Cause::AttemptsExhausted => pb::Cause::AttemptsExhausted,
        Cause::OwnerUnavailable => pb::Cause::OwnerUnavailable,
        Cause::EscalationExpired => pb::Cause::EscalationExpired,
        Cause::Cancelled => pb::Cause::Cancelled,
        Cause::Halted => pb::Cause::Halted,
    }
}

/// A cause that may be missing, for the wire.
pub(crate) fn maybe_cause(found: Option<Cause>) -> i32 {
    found.map_or(pb::Cause::Unspecified, cause) as i32
}

/// A cause from a filter.
pub(crate) fn cause_in(number: i32) -> Option<Cause> {
    Cause::ALL.into_iter().find(|known| cause(*known) as i32 == number)
}

/// Who ended a task, for the wire.
pub(crate) const fn ended_by(by: EndedBy) -> pb::EndedBy {
    match by {
        EndedBy::Gate => pb::EndedBy::Gate,
        EndedBy::Owner => pb::EndedBy::Owner,
        EndedBy::Human => pb::EndedBy::Human,
        EndedBy::Fallback => pb::EndedBy::Fallback,
        EndedBy::Client => pb::EndedBy::Client,
        EndedBy::System => pb::EndedBy::System,
    }
}

/// What a trip stops, for the wire.
pub(crate) const fn trip_scope(scope: TripScope) -> pb::TripScope {
    match scope {
        TripScope::Task => pb::TripScope::Task,
        TripScope::Step => pb::TripScope::Step,
        TripScope::Decision => pb::TripScope::Decision,
    }
}

/// Which guard over content it was, for the wire.
pub(crate) const fn trip_pattern(guard: GuardKind) -> pb::TripPattern {
    match guard {
        GuardKind::Repetition => pb::TripPattern::Repetition,
        GuardKind::Cycle => pb::TripPattern::Cycle,
        GuardKind::NearRepetition => pb::TripPattern::NearRepetition,
        GuardKind::Restated => pb::TripPattern::Restated,
        GuardKind::Confirmed => pb::TripPattern::Confirmed,
        GuardKind::Idle => pb::TripPattern::Idle,
        GuardKind::Drafts => pb::TripPattern::Drafts,
        GuardKind::NoGain => pb::TripPattern::NoGain,
        GuardKind::Steps => pb::TripPattern::Steps,
    }
}

/// A turn's kind for the wire.
pub(crate) const fn turn_kind(kind: TurnKind) -> pb::TurnKind {
    match kind {
        TurnKind::Work => pb::TurnKind::Work,
        TurnKind::Decide => pb::TurnKind::Decide,
        TurnKind::Validate => pb::TurnKind::Validate,
    }
}

/// What judged a result, for the wire.
pub(crate) const fn gate_check(check: GateCheck) -> pb::GateCheck {
    match check {
        GateCheck::Rules => pb::GateCheck::Rules,
        GateCheck::OutputSchema => pb::GateCheck::OutputSchema,
        GateCheck::Validator => pb::GateCheck::Validator,
    }
}

/// A verdict for the wire.
pub(crate) const fn judgement(verdict: Judgement) -> pb::Judgement {
    match verdict {
        Judgement::Agree => pb::Judgement::Agree,
        Judgement::Disagree => pb::Judgement::Disagree,
    }
}

/// A verdict from an answer. UNSPECIFIED is none.
pub(crate) fn judgement_in(number: i32) -> Option<Judgement> {
    match pb::Judgement::try_from(number).ok()? {
        pb::Judgement::Unspecified => None,
        pb::Judgement::Agree => Some(Judgement::Agree),
        pb::Judgement::Disagree => Some(Judgement::Disagree),
    }
}

/// A turn's state for the wire.
pub(crate) const fn turn_state(state: TurnState) -> pb::TurnState {
    match state {
        TurnState::Ready => pb::TurnState::Ready,
        TurnState::Leased => pb::TurnState::Leased,
        TurnState::Answered => pb::TurnState::Answered,
        TurnState::Closed => pb::TurnState::Closed,
    }
}

/// How a turn went, for the wire.
pub(crate) const fn status(status: Status) -> pb::Status {
    match status {
        Status::Success => pb::Status::Success,
        Status::Partial => pb::Status::Partial,
        Status::Failed => pb::Status::Failed,
    }
}

/// How a turn went, from an answer. UNSPECIFIED is no answer.
pub(crate) fn status_in(number: i32) -> Option<Status> {
    match pb::Status::try_from(number).ok()? {
        pb::Status::Unspecified => None,
        pb::Status::Success => Some(Status::Success),
        pb::Status::Partial => Some(Status::Partial),
        pb::Status::Failed => Some(Status::Failed),
    }
}

/// What a step inside a turn is, for the wire.
pub(crate) const fn work_step_kind(kind: WorkStepKind) -> pb::WorkStepKind {
    match kind {
        WorkStepKind::Message => pb::WorkStepKind::Message,
        WorkStepKind::ToolCall => pb::WorkStepKind::ToolCall,
        WorkStepKind::ToolResult => pb::WorkStepKind::ToolResult,
    }
}

/// What a step inside a turn is, from a report.
pub(crate) fn work_step_kind_in(number: i32) -> Option<WorkStepKind> {
    Some(match pb::WorkStepKind::try_from(number).ok()? {
        pb::WorkStepKind::Unspecified | pb::WorkStepKind::Message => WorkStepKind::Message,
        pb::WorkStepKind::ToolCall => WorkStepKind::ToolCall,
        pb::WorkStepKind::ToolResult => WorkStepKind::ToolResult,
    })
}

/// What happens to siblings, for the wire.
pub(crate) const fn on_step_failure(what: OnStepFailure) -> pb::OnStepFailure {
    match what {
        OnStepFailure::Wait => pb::OnStepFailure::Wait,
        OnStepFailure::Cancel => pb::OnStepFailure::Cancel,
    }
}

/// What happens to siblings, from a plan.
pub(crate) fn on_step_failure_in(number: i32) -> Option<OnStepFailure> {
    Some(match pb::OnStepFailure::try_from(number).ok()? {
        pb::OnStepFailure::Unspecified | pb::OnStepFailure::Wait => OnStepFailure::Wait,
        pb::OnStepFailure::Cancel => OnStepFailure::Cancel,
    })
}

/// What an unanswered question means, for the wire.
pub(crate) const fn default_answer(answer: DefaultAnswer) -> pb::DefaultAnswer {
    match answer {
        DefaultAnswer::Partial => pb::DefaultAnswer::Partial,
        DefaultAnswer::Abort => pb::DefaultAnswer::Abort,
    }
}

/// What an unanswered question means, from a contract; the inner `None` is the default.
pub(crate) fn default_answer_in(number: i32) -> Option<Option<DefaultAnswer>> {
    Some(match pb::DefaultAnswer::try_from(number).ok()? {
        pb::DefaultAnswer::Unspecified => None,
        pb::DefaultAnswer::Partial => Some(DefaultAnswer::Partial),
        pb::DefaultAnswer::Abort => Some(DefaultAnswer::Abort),
    })
}

/// What happens without an owner, for the wire.
pub(crate) const fn owner_fallback(fallback: OwnerFallback) -> pb::OwnerFallback {
    match fallback {
        OwnerFallback::Escalate => pb::OwnerFallback::Escalate,
        OwnerFallback::Finish => pb::OwnerFallback::Finish,
    }
}

/// What happens without an owner, from a contract; the inner `None` is the default.
pub(crate) fn owner_fallback_in(number: i32) -> Option<Option<OwnerFallback>> {
    Some(match pb::OwnerFallback::try_from(number).ok()? {
        pb::OwnerFallback::Unspecified => None,
        pb::OwnerFallback::Escalate => Some(OwnerFallback::Escalate),
        pb::OwnerFallback::Finish => Some(OwnerFallback::Finish),
    })
}

/// How an attempt ended, for the wire.
pub(crate) const fn attempt_end(end: AttemptEnd) -> pb::AttemptEnd {
    match end {
        AttemptEnd::LeaseExpired => pb::AttemptEnd::LeaseExpired,
        AttemptEnd::Released => pb::AttemptEnd::Released,
        AttemptEnd::Undelivered => pb::AttemptEnd::Undelivered,
        AttemptEnd::Retryable => pb::AttemptEnd::Retryable,
        AttemptEnd::Revoked => pb::AttemptEnd::Revoked,
    }
}

/// How a step ended, for the wire.
pub(crate) const fn step_end(end: StepEnd) -> pb::StepEnd {
    match end {
        StepEnd::Success => pb::StepEnd::Success,
        StepEnd::Partial => pb::StepEnd::Partial,
        StepEnd::Failed => pb::StepEnd::Failed,
        StepEnd::Skipped => pb::StepEnd::Skipped,
        StepEnd::Cancelled => pb::StepEnd::Cancelled,
    }
}

/// Where a question is, for the wire; `None` is open.
pub(crate) const fn escalation_state(end: Option<EscalationEnd>) -> pb::EscalationState {
    match end {
        None => pb::EscalationState::Open,
        Some(EscalationEnd::Approved) => pb::EscalationState::Approved,
        Some(EscalationEnd::Aborted) => pb::EscalationState::Aborted,
        Some(EscalationEnd::Expired) => pb::EscalationState::Expired,
        Some(EscalationEnd::Withdrawn) => pb::EscalationState::Withdrawn,
        Some(EscalationEnd::Amended) => pb::EscalationState::Amended,
        Some(EscalationEnd::Extended) => pb::EscalationState::Extended,
    }
}

/// A question's state as rows name it, from a filter; UNSPECIFIED is OPEN.
pub(crate) fn escalation_state_in(number: i32) -> Option<&'static str> {
    Some(match pb::EscalationState::try_from(number).ok()? {
        pb::EscalationState::Unspecified | pb::EscalationState::Open => "OPEN",
        pb::EscalationState::Approved => "APPROVED",
        pb::EscalationState::Aborted => "ABORTED",
        pb::EscalationState::Expired => "EXPIRED",
        pb::EscalationState::Withdrawn => "WITHDRAWN",
        pb::EscalationState::Amended => "AMENDED",
        pb::EscalationState::Extended => "EXTENDED",
    })
}

/// How well a point is met, for the wire.
pub(crate) const fn readiness(readiness: Readiness) -> pb::Readiness {
    match readiness {
        Readiness::Enforced => pb::Readiness::Enforced,
        Readiness::Weak => pb::Readiness::Weak,
        Readiness::Absent => pb::Readiness::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_and_cause_survives_the_wire_and_zero_means_none() {
        for state in TaskState::ALL {
            assert_eq!(task_state_in(task_state(state) as i32), Some(state));
        }
        for known in Cause::ALL {
            assert_eq!(cause_in(cause(known) as i32), Some(known));
        }
        assert_eq!((task_state_in(0), task_state_in(99), cause_in(0)), (None, None, None));
        assert_eq!((status_in(0), status_in(9)), (None, None));
        assert_eq!(default_answer_in(0), Some(None));
        assert_eq!(owner_fallback_in(7), None);
    }

    #[test]
    fn the_wire_names_are_the_domains_names() {
        for state in TaskState::ALL {
            let json = serde_json::to_value(state).expect("encodes");
            assert_eq!(task_state(state).as_str_name().strip_prefix("TASK_STATE_"), json.as_str());
        }
        for known in Cause::ALL {
            let json = serde_json::to_value(known).expect("encodes");
            assert_eq!(cause(known).as_str_name().strip_prefix("CAUSE_"), json.as_str());
        }
    }
}
