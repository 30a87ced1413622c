//! What the exit codes mean. They are a promise to scripts: numbers are never reused for another meaning.

use tonic::Code;

use crate::pb;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was done; a task that was watched SUCCEEDED.
    Ok = 0,
    /// Something else went wrong.
    Error = 1,
    /// The command line or an argument is wrong.
    Usage = 2,
    /// The contract was refused.
    Refused = 3,
    /// There is no such task or question.
    NotFound = 4,
    /// No server, or a server that is full or shutting down.
    Unavailable = 5,
    /// What was asked contradicts what is there.
    Conflict = 6,
    /// Nobody answered a drill in time.
    Unanswered = 7,
    /// It was done, but for what could not be read; that was named.
    Incomplete = 8,
    /// A check of a chaos run failed.
    ChaosFailed = 9,
    /// The task ended PARTIAL.
    Partial = 10,
    /// The task ended FAILED.
    Failed = 11,
    /// The task ended CANCELLED.
    Cancelled = 12,
    /// The task ended DEAD_LETTERED.
    DeadLettered = 13,
}

/// Every code with its meaning, as help shows them.
const MEANINGS: &[(Exit, &str)] = &[
    (Exit::Ok, "done; with `submit --watch` and `watch`: the task SUCCEEDED"),
    (Exit::Error, "something else went wrong"),
    (Exit::Usage, "the command line, a setting or an argument is wrong"),
    (Exit::Refused, "the contract was refused"),
    (Exit::NotFound, "there is no such task or question"),
    (Exit::Unavailable, "no server there, or it is full, late or shutting down: try again"),
    (Exit::Conflict, "contradicts what is there: already answered, or the idempotency key is taken"),
    (Exit::Unanswered, "`drill`: nobody answered in time"),
    (Exit::Incomplete, "`backtest`: some lines could not be read; they are named, and the rest is judged"),
    (Exit::ChaosFailed, "`chaos`: a check failed; the score-board says which"),
    (Exit::Partial, "`submit --watch`, `watch`: the task ended PARTIAL"),
    (Exit::Failed, "`submit --watch`, `watch`: the task ended FAILED"),
    (Exit::Cancelled, "`submit --watch`, `watch`: the task ended CANCELLED"),
    (Exit::DeadLettered, "`submit --watch`, `watch`: the task ended DEAD_LETTERED"),
];

/// The list for `--help`.
#[must_use]
pub fn help() -> String {
    let mut out = String::from("Exit codes:\n");
    for (exit, meaning) in MEANINGS {
        out.push_str(&format!("  {:>2}  {meaning}\n", exit.code()));
    }
    out
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Of a task that was watched to its end.
    #[must_use]
    pub fn of_state(state: i32) -> Self {
        match pb::TaskState::try_from(state) {
            Ok(pb::TaskState::Succeeded) => Self::Ok,
            Ok(pb::TaskState::Partial) => Self::Partial,
            Ok(pb::TaskState::Failed) => Self::Failed,
            Ok(pb::TaskState::Cancelled) => Self::Cancelled,
            Ok(pb::TaskState::DeadLettered) => Self::DeadLettered,
            Ok(
                pb::TaskState::Unspecified
                | pb::TaskState::Queued
                | pb::TaskState::Running
                | pb::TaskState::AwaitingHuman
                | pb::TaskState::OwnerDecides,
            )
            | Err(_) => Self::Error,
        }
    }

    /// Of a call that was refused.
    #[must_use]
    pub const fn of_status(code: Code) -> Self {
        match code {
            Code::Ok => Self::Ok,
            Code::InvalidArgument | Code::OutOfRange => Self::Usage,
            Code::NotFound => Self::NotFound,
            Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded => Self::Unavailable,
            Code::FailedPrecondition | Code::AlreadyExists | Code::Aborted => Self::Conflict,
            Code::Cancelled
            | Code::Unknown
            | Code::PermissionDenied
            | Code::Unimplemented
            | Code::Internal
            | Code::DataLoss
            | Code::Unauthenticated => Self::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_ended_has_its_own_code_and_no_other_has() {
        let codes: Vec<u8> = (0..10).map(|state| Exit::of_state(state).code()).collect();
        assert_eq!(codes, [1, 1, 1, 1, 1, 0, 10, 11, 12, 13]);
        assert_eq!(Exit::of_state(99), Exit::Error);
    }

    #[test]
    fn refusals_map_by_what_the_caller_can_do() {
        let code = |code| Exit::of_status(code).code();
        assert_eq!([Code::InvalidArgument, Code::NotFound].map(code), [2, 4]);
        assert_eq!([Code::Unavailable, Code::ResourceExhausted, Code::DeadlineExceeded].map(code), [5, 5, 5]);
        assert_eq!([Code::AlreadyExists, Code::FailedPrecondition].map(code), [6, 6]);
        assert_eq!([Code::Internal, Code::Unknown].map(code), [1, 1]);
    }

    #[test]
    fn help_says_every_code_once() {
        let codes: Vec<u8> = MEANINGS.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        assert!(help().contains("\n  13  "));
    }
}
