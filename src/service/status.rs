//! The one map from what can go wrong to what a client is told. Exhaustive: an error added below breaks the build here.
//!
//! Every error has a stable reason (docs/errors.md lists them with what to do), says whether sending the same again may
//! help and whether anything may have happened, and is told in the same words as a gRPC status and, on the session
//! stream, as a `Refusal`. Never here: a bare "internal error".

mod closed;

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::{
    engine::{command::Rejection, intake::Violation},
    pb,
    runtime::{
        CommandError, HaltError, JournalFailing, OpenError, Overloaded, ReadError, SessionError, StoreError,
        SubmitError,
    },
    types::{
        halt::Halt,
        ids::{AgentName, Lease, Namespace, TaskId},
        time::Span,
    },
};

use super::convert::time::duration;

/// `ErrorInfo.domain` of every error.
pub const DOMAIN: &str = "bailiwick.v1";

/// How long to wait before trying again where nobody knows better.
const DEFAULT_RETRY: Span = Span::from_secs(1);
/// How long to wait before sending again what a chaos run has lost.
const INJECTED_RETRY: Span = Span::from_millis(100);
/// Bytes of violations that go into a status: trailers are headers, and many clients take 8 KiB of them at most.
const MAX_DETAIL_BYTES: usize = 4 << 10;
/// Bytes of a status message, and of one violation's text.
const MAX_MESSAGE_BYTES: usize = 600;

/// Why a call or a message was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The contract has these faults.
    ContractRefused(Vec<Violation>),
    /// The request has these faults.
    InvalidMessage(Vec<Violation>),
    /// The bytes are no message of this protocol.
    Undecodable(String),
    /// The message is larger than this many bytes.
    TooLarge(usize),
    /// This server has no such method.
    UnknownMethod,
    /// Something other than Register came first.
    RegisterFirst,
    /// Register came again.
    AlreadyRegistered,
    /// A message id that does not grow; the last good one.
    MessageId(i64),
    /// The session was superseded by another of the same worker, or closed for silence.
    SessionEnded,
    /// No such session.
    SessionUnknown,
    /// No such task, in words.
    TaskNotFound(String),
    /// No such question, in words.
    EscalationNotFound(String),
    /// No such agent.
    AgentNotFound(AgentName),
    /// The idempotency key names another contract.
    KeyTaken(TaskId, Vec<String>),
    /// The engine refused.
    Rejected(Rejection),
    /// A halt keeps it out.
    Halted(Arc<Halt>),
    /// A halt could not be made, kept or lifted.
    Halt(HaltError),
    /// Something is full.
    Overloaded(Overloaded),
    /// The settings of this server forbid chaos runs.
    ChaosForbidden,
    /// Another chaos run is on, started by this one.
    ChaosRunning(String),
    /// The chaos run is not on.
    ChaosNotRunning,
    /// A chaos run has lost the call or its answer.
    Injected,
    /// The journal takes nothing for now.
    JournalFailing(JournalFailing),
    /// The namespace has as many open tasks as it may have.
    NamespaceFull {
        /// The namespace.
        namespace: Namespace,
        /// The most it may have.
        limit: u32,
        /// When to try again.
        retry_after: Span,
    },
    /// The server is going away.
    ShuttingDown,
    /// The store failed.
    Store(StoreError),
}

/// What a fault comes down to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The gRPC code.
    pub code: Code,
    /// `ErrorInfo.reason`: stable.
    pub reason: &'static str,
    /// Whether the same, sent again after a while, may succeed; then how long that while is.
    pub retry_after: Option<Span>,
    /// Whether it is certain that nothing has changed.
    pub free_of_side_effects: bool,
}

const fn verdict(code: Code, reason: &'static str) -> Verdict {
    Verdict { code, reason, retry_after: None, free_of_side_effects: true }
}

const fn later(code: Code, reason: &'static str, retry_after: Span) -> Verdict {
    Verdict { code, reason, retry_after: Some(retry_after), free_of_side_effects: true }
}

impl Fault {
    /// One fault in one field.
    pub(crate) fn field(field: &str, description: impl Into<String>) -> Self {
        Self::InvalidMessage(vec![Violation { field: field.to_owned(), description: description.into() }])
    }

    /// The map.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::ContractRefused(_) => verdict(Code::InvalidArgument, "CONTRACT_REFUSED"),
            Self::InvalidMessage(_) => verdict(Code::InvalidArgument, "INVALID_MESSAGE"),
            Self::Undecodable(_) => verdict(Code::InvalidArgument, "UNDECODABLE_MESSAGE"),
            Self::TooLarge(_) => verdict(Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
            Self::UnknownMethod => verdict(Code::Unimplemented, "UNKNOWN_METHOD"),
            Self::RegisterFirst => verdict(Code::FailedPrecondition, "REGISTER_FIRST"),
            Self::AlreadyRegistered => verdict(Code::FailedPrecondition, "ALREADY_REGISTERED"),
            Self::MessageId(_) => verdict(Code::InvalidArgument, "MESSAGE_ID_NOT_GROWING"),
            Self::SessionEnded => verdict(Code::Aborted, "SESSION_ENDED"),
            Self::SessionUnknown => verdict(Code::NotFound, "SESSION_UNKNOWN"),
            Self::TaskNotFound(_) => verdict(Code::NotFound, "TASK_NOT_FOUND"),
            Self::EscalationNotFound(_) => verdict(Code::NotFound, "ESCALATION_NOT_FOUND"),
            Self::AgentNotFound(_) => verdict(Code::NotFound, "AGENT_NOT_FOUND"),
            Self::KeyTaken(..) => verdict(Code::AlreadyExists, "KEY_TAKEN"),
            Self::Rejected(rejection) => rejected(rejection),
            // It helps to send it again, but not before a person has lifted the halt.
            Self::Halted(_) => verdict(Code::FailedPrecondition, "HALTED"),
            Self::Halt(error) => halting(error),
            Self::Overloaded(full) => later(Code::ResourceExhausted, "OVERLOADED", full.retry_after),
            Self::ChaosForbidden => verdict(Code::PermissionDenied, "CHAOS_FORBIDDEN"),
            Self::ChaosRunning(_) => verdict(Code::FailedPrecondition, "CHAOS_RUNNING"),
            Self::ChaosNotRunning => verdict(Code::NotFound, "CHAOS_NOT_RUNNING"),
            Self::Injected => Verdict {
                free_of_side_effects: false,
                ..later(Code::Unavailable, "INJECTED_FAILURE", INJECTED_RETRY)
            },
            Self::JournalFailing(_) => later(Code::Unavailable, "JOURNAL_FAILING", DEFAULT_RETRY),
            Self::NamespaceFull { retry_after, .. } => {
                later(Code::ResourceExhausted, "NAMESPACE_FULL", *retry_after)
            }
            Self::ShuttingDown => later(Code::Unavailable, "SHUTTING_DOWN", DEFAULT_RETRY),
            Self::Store(error) => stored(error),
        }
    }

    /// What is wrong and what to do, in words.
    pub fn message(&self) -> String {
        let text = match self {
            Self::ContractRefused(faults) => list("the contract", faults),
            Self::InvalidMessage(faults) => list("the message", faults),
            Self::Undecodable(what) => {
                format!(
                    "the message is not one of this protocol ({what}): is the client built from these protos?"
                )
            }
            Self::TooLarge(most) => {
                format!("the message is larger than {most} bytes: pass large data by reference")
            }
            Self::UnknownMethod => {
                "this server has no such method: is the client built from the protos of another version?"
                    .to_owned()
            }
            Self::RegisterFirst => "the first message of a session is register: send it first".to_owned(),
            Self::AlreadyRegistered => {
                "the session is registered already: open another one to change the registration".to_owned()
            }
            Self::MessageId(last) => {
                format!(
                    "message_id must be greater than 0 and grow within the session: the last one was {last}"
                )
            }
            Self::SessionEnded => {
                "the session has ended (another one of the same worker took its place, or it \
                                   was silent for too long): register again, with the leases still held"
                    .to_owned()
            }
            Self::SessionUnknown => SessionError::SessionUnknown.to_string(),
            Self::TaskNotFound(what) | Self::EscalationNotFound(what) => what.clone(),
            Self::AgentNotFound(agent) => {
                format!("no worker has ever served {agent}: `bailiwick agents` lists them")
            }
            Self::KeyTaken(task, differs) => {
                SubmitError::KeyTaken { task: *task, differs: differs.clone() }.to_string()
            }
            Self::Rejected(Rejection::EscalationClosed(closed)) => closed::message(closed),
            Self::Rejected(rejection) => rejection.to_string(),
            Self::Halted(halt) => SubmitError::Halted(Arc::clone(halt)).to_string(),
            Self::Halt(error) => error.to_string(),
            Self::Overloaded(full) => full.to_string(),
            Self::ChaosForbidden => {
                "the settings of this server forbid chaos runs: start it without --forbid-chaos".to_owned()
            }
            Self::ChaosRunning(by) => {
                format!("another chaos run is on, started by {by}: it ends by itself when its command does")
            }
            Self::ChaosNotRunning => {
                "this chaos run is not on: it has lapsed, was stopped, or the server was started anew"
                    .to_owned()
            }
            Self::Injected => "a chaos run has lost this call or its answer: send it again".to_owned(),
            Self::JournalFailing(failing) => failing.to_string(),
            Self::NamespaceFull { namespace, limit, retry_after } => {
                let (namespace, limit, retry_after) = (namespace.clone(), *limit, *retry_after);
                SubmitError::NamespaceFull { namespace, limit, retry_after }.to_string()
            }
            Self::ShuttingDown => "the server is shutting down: try again when it is back".to_owned(),
            Self::Store(error) => error.to_string(),
        };
        shorten(&text, MAX_MESSAGE_BYTES)
    }

    /// As a gRPC status with rich details.
    pub fn to_status(&self) -> Status {
        let Verdict { code, reason, retry_after, free_of_side_effects } = self.verdict();
        let mut info = HashMap::from([
            ("retryable".to_owned(), retry_after.is_some().to_string()),
            ("free_of_side_effects".to_owned(), free_of_side_effects.to_string()),
        ]);
        match self {
            Self::KeyTaken(task, differs) => {
                info.insert("task_id".to_owned(), task.to_string());
                info.insert("differs".to_owned(), shorten(&differs.join("; "), MAX_MESSAGE_BYTES));
            }
            Self::Rejected(Rejection::LetterSettled(settled)) => info.extend(closed::settled(settled)),
            Self::Rejected(Rejection::EscalationClosed(closed)) => info.extend(closed::facts(closed)),
            Self::Halted(halt) => info.extend(halt_facts(halt)),
            _ => {} // The reason says it all.
        }
        let mut details = ErrorDetails::with_error_info(reason, DOMAIN, info);
        if let Some(faults) = self.faults() {
            details.set_bad_request(field_violations(&faults));
        }
        if let Some(wait) = retry_after {
            details.set_retry_info(Some(wait.as_duration()));
        }
        if let Some(kind) = self.missing_resource() {
            details.set_resource_info(kind, "", "", self.message());
        }
        Status::with_error_details(code, self.message(), details)
    }

    /// As a message down the session stream.
    pub(crate) fn to_refusal(&self, message_id: i64, lease: Option<Lease>) -> pb::Refusal {
        let Verdict { code, reason, retry_after, free_of_side_effects: _ } = self.verdict();
        pb::Refusal {
            message_id,
            lease: lease.map(|lease| lease.to_string()).unwrap_or_default(),
            code: code as i32,
            reason: reason.to_owned(),
            message: self.message(),
            retryable: retry_after.is_some(),
            retry_after: retry_after.map(duration),
        }
    }

    /// What is wrong, field by field, where it can be said.
    fn faults(&self) -> Option<Cow<'_, [Violation]>> {
        match self {
            Self::ContractRefused(faults)
            | Self::InvalidMessage(faults)
            | Self::Rejected(Rejection::ExtensionRefused(faults)) => Some(Cow::Borrowed(faults)),
            Self::Rejected(Rejection::AmendmentRefused(findings)) => Some(Cow::Owned(
                findings
                    .iter()
                    .map(|finding| Violation {
                        field: "amend.result".to_owned(),
                        description: finding.clone(),
                    })
                    .collect(),
            )),
            _ => None, // No field is to blame.
        }
    }

    const fn missing_resource(&self) -> Option<&'static str> {
        match self {
            Self::TaskNotFound(_) => Some("task"),
            Self::AgentNotFound(_) => Some("agent"),
            Self::EscalationNotFound(_) | Self::Rejected(Rejection::EscalationUnknown) => Some("escalation"),
            Self::SessionUnknown => Some("session"),
            Self::Halt(HaltError::NothingToLift) => Some("halt"),
            Self::ChaosNotRunning => Some("chaos run"),
            Self::Rejected(Rejection::LeaseUnknown) => Some("lease"),
            _ => None, // Whatever else is wrong, it is there.
        }
    }
}

const fn rejected(rejection: &Rejection) -> Verdict {
    match rejection {
        Rejection::LeaseUnknown => verdict(Code::NotFound, "LEASE_UNKNOWN"),
        Rejection::LeaseNotLive(_) => verdict(Code::FailedPrecondition, "LEASE_NOT_LIVE"),
        Rejection::AlreadyAnswered => verdict(Code::FailedPrecondition, "ALREADY_ANSWERED"),
        Rejection::NotADecideTurn => verdict(Code::FailedPrecondition, "NOT_A_DECIDE_TURN"),
        Rejection::TooManyReports(_) => verdict(Code::ResourceExhausted, "TOO_MANY_REPORTS"),
        Rejection::NotAValidateTurn => verdict(Code::FailedPrecondition, "NOT_A_VALIDATE_TURN"),
        Rejection::TurnNotReady => verdict(Code::FailedPrecondition, "TURN_NOT_READY"),
        Rejection::EscalationUnknown => verdict(Code::NotFound, "ESCALATION_NOT_FOUND"),
        Rejection::EscalationClosed(_) => verdict(Code::FailedPrecondition, "ESCALATION_CLOSED"),
        Rejection::NothingToApprove => verdict(Code::FailedPrecondition, "NOTHING_TO_APPROVE"),
        Rejection::AmendmentRefused(_) => verdict(Code::InvalidArgument, "AMENDMENT_REFUSED"),
        Rejection::ExtensionRefused(_) => verdict(Code::InvalidArgument, "EXTENSION_REFUSED"),
        Rejection::TaskEnded => verdict(Code::FailedPrecondition, "TASK_ENDED"),
        Rejection::ChildNotAllowed => verdict(Code::FailedPrecondition, "CHILD_NOT_ALLOWED"),
        Rejection::DepthExceeded { .. } => verdict(Code::FailedPrecondition, "DEPTH_EXCEEDED"),
        Rejection::ChildrenExceeded { .. } => verdict(Code::FailedPrecondition, "CHILDREN_EXCEEDED"),
        Rejection::BudgetTooSmall { .. } => verdict(Code::FailedPrecondition, "BUDGET_TOO_SMALL"),
        Rejection::ParentExhausted { .. } => verdict(Code::FailedPrecondition, "PARENT_EXHAUSTED"),
        Rejection::NotADeadLetter(_) => verdict(Code::FailedPrecondition, "NOT_A_DEAD_LETTER"),
        Rejection::RedriveOfChild { .. } => verdict(Code::FailedPrecondition, "REDRIVE_OF_CHILD"),
        Rejection::LetterSettled(_) => verdict(Code::FailedPrecondition, "DEAD_LETTER_SETTLED"),
        Rejection::ChildKeyTaken(..) => verdict(Code::AlreadyExists, "KEY_TAKEN"),
        Rejection::ChildContract(_) => verdict(Code::InvalidArgument, "CONTRACT_REFUSED"),
    }
}

const fn halting(error: &HaltError) -> Verdict {
    match error {
        HaltError::TooMany => verdict(Code::ResourceExhausted, "TOO_MANY_HALTS"),
        HaltError::NothingToLift => verdict(Code::NotFound, "HALT_NOT_FOUND"),
        HaltError::NotKept { error } | HaltError::Store(error) => stored(error),
    }
}

/// What keeps something out, for clients that act on it.
fn halt_facts(halt: &Halt) -> [(String, String); 4] {
    [
        ("halt".to_owned(), halt.number.to_string()),
        ("halted".to_owned(), halt.scope.to_string()),
        ("halted_by".to_owned(), halt.by.clone()),
        ("halted_at".to_owned(), halt.at.to_string()),
    ]
}

const fn stored(error: &StoreError) -> Verdict {
    let (code, reason, retry_after) = match error {
        StoreError::Conflict { .. } => (Code::Unavailable, "STORE_CONFLICT", Some(DEFAULT_RETRY)),
        StoreError::Unavailable(_) => (Code::Unavailable, "STORE_UNAVAILABLE", Some(DEFAULT_RETRY)),
        StoreError::Corrupt(_) => (Code::DataLoss, "STORE_CORRUPT", None),
    };
    // A commit that failed was not kept, but a disk that fails may fail to say so.
    Verdict { code, reason, retry_after, free_of_side_effects: false }
}

fn list(what: &str, faults: &[Violation]) -> String {
    let each: Vec<_> = faults.iter().map(|v| format!("{}: {}", v.field, v.description)).collect();
    let plural = if faults.len() == 1 { "fault" } else { "faults" };
    format!("{what} has {} {plural}: {}", faults.len(), each.join("; "))
}

/// The violations for the details, as many as fit into headers; the last then says how many more there are.
fn field_violations(faults: &[Violation]) -> Vec<FieldViolation> {
    let mut left = MAX_DETAIL_BYTES;
    let mut shown = Vec::new();
    for Violation { field, description } in faults {
        let (field, description) = (shorten(field, 200), shorten(description, MAX_MESSAGE_BYTES));
        let size = field.len() + description.len();
        if size > left {
            break;
        }
        left -= size;
        shown.push(FieldViolation::new(field, description));
    }
    if shown.len() < faults.len() {
        let more = faults.len() - shown.len();
        shown.push(FieldViolation::new(
            "",
            format!("and {more} more; CheckContract names all of a contract's"),
        ));
    }
    shown
}

/// The text, cut at a character when it is longer than `most` bytes.
fn shorten(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let cut = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}...", &text[..cut])
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        fault.to_status()
    }
}

impl From<Overloaded> for Fault {
    fn from(full: Overloaded) -> Self {
        Self::Overloaded(full)
    }
}

impl From<SubmitError> for Fault {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::KeyTaken { task, differs } => Self::KeyTaken(task, differs),
            SubmitError::Halted(halt) => Self::Halted(halt),
            SubmitError::Overloaded(full) => Self::Overloaded(full),
            SubmitError::JournalFailing(failing) => Self::JournalFailing(failing),
            SubmitError::NamespaceFull { namespace, limit, retry_after } => {
                Self::NamespaceFull { namespace, limit, retry_after }
            }
            SubmitError::ShuttingDown => Self::ShuttingDown,
            SubmitError::Store(error) => Self::Store(error),
        }
    }
}

impl From<Rejection> for Fault {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotFound { .. } => Self::TaskNotFound(error.to_string()),
            ReadError::Overloaded(full) => Self::Overloaded(full),
            ReadError::ShuttingDown => Self::ShuttingDown,
            ReadError::Store(error) => Self::Store(error),
        }
    }
}

impl From<CommandError> for Fault {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::NotFound { .. } => Self::TaskNotFound(error.to_string()),
            // One way of saying it, whoever has found it.
            CommandError::Rejected(Rejection::ChildContract(faults)) => Self::ContractRefused(faults),
            CommandError::Rejected(Rejection::ChildKeyTaken(task, differs)) => Self::KeyTaken(task, differs),
            CommandError::Rejected(rejection) => Self::Rejected(rejection),
            CommandError::Halted(halt) => Self::Halted(halt),
            CommandError::Overloaded(full) => Self::Overloaded(full),
            CommandError::ShuttingDown => Self::ShuttingDown,
            CommandError::Store(error) => Self::Store(error),
        }
    }
}

impl From<HaltError> for Fault {
    fn from(error: HaltError) -> Self {
        Self::Halt(error)
    }
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Overloaded(full) => Self::Overloaded(full),
            OpenError::ShuttingDown => Self::ShuttingDown,
            OpenError::Store(error) => Self::Store(error),
        }
    }
}

impl From<SessionError> for Fault {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::SessionUnknown => Self::SessionUnknown,
        }
    }
}

#[cfg(test)]
mod tests;
