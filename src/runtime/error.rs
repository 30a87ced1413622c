//! Why a call was refused: one enum per kind of call, closed, so that the service maps each case.

use std::sync::Arc;

use super::journal_health::JournalFailing;
use crate::{
    engine::command::Rejection,
    store::StoreError,
    types::{
        halt::Halt,
        ids::{Namespace, TaskId},
        time::Span,
    },
};

/// Something is full. Waiting helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: try again in {retry_after}")]
pub struct Overloaded {
    /// How long to wait before the next try.
    pub retry_after: Span,
    /// What is full, with its figure.
    pub what: String,
}

impl Overloaded {
    pub(super) fn new(retry_after: Span, what: impl Into<String>) -> Self {
        Self { retry_after, what: what.into() }
    }
}

/// Why a submission was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The idempotency key already names another contract.
    #[error(
        "the idempotency key already names task {task}, whose contract is another{}: use a new key",
        in_what(differs)
    )]
    KeyTaken {
        /// The task it names.
        task: TaskId,
        /// The fields that differ, with the values there and here.
        differs: Vec<String>,
    },
    /// A halt keeps it out; nothing was kept.
    #[error("{0}: nothing new is accepted under it until it is lifted")]
    Halted(Arc<Halt>),
    /// Full; nothing was kept.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The journal takes nothing for now; nothing was kept.
    #[error(transparent)]
    JournalFailing(#[from] JournalFailing),
    /// The namespace has as many open tasks as it may have; nothing was kept.
    #[error("namespace {namespace} has {limit} open tasks, the most it may have: try again in {retry_after}")]
    NamespaceFull {
        /// The namespace.
        namespace: Namespace,
        /// The most it may have.
        limit: u32,
        /// How long to wait before the next try.
        retry_after: Span,
    },
    /// The server is going away; nothing was kept.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The store failed. With an idempotency key, submitting again is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn in_what(differs: &[String]) -> String {
    if differs.is_empty() { String::new() } else { format!(" (there -> here: {})", differs.join("; ")) }
}

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No such task.
    #[error("there is no task {task}")]
    NotFound {
        /// The task.
        task: TaskId,
    },
    /// Full.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The server is going away.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The store failed, or holds what it should not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a command had no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such task.
    #[error("there is no task {task}")]
    NotFound {
        /// The task.
        task: TaskId,
    },
    /// The engine refused it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// A halt keeps a child, or a successor of a dead letter, out.
    #[error("{0}: nothing new is accepted under it until it is lifted")]
    Halted(Arc<Halt>),
    /// Full. Every command under a lease may be sent again.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The server is going away.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The store failed; nothing was kept. Every command under a lease may be sent again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a session was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too many sessions.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The server is going away.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The agents could not be made durable.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a message of a session was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// No such session: it was superseded, closed for silence, or belongs to another run of the server.
    #[error("no such session: register again, with the leases still held")]
    SessionUnknown,
}

/// Why something was not halted, or not resumed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HaltError {
    /// As many are in force as there may be.
    #[error(
        "{} halts are in force, the most there may be: halt everything, or lift some",
        crate::types::halt::MAX_HALTS
    )]
    TooMany,
    /// There is no such halt.
    #[error("there is no such halt in force: `bailiwick halts` lists them")]
    NothingToLift,
    /// It is in force, but only in memory.
    #[error("it is halted, but only until this server stops: {error}. Halt it again once the store is well")]
    NotKept {
        /// Why it could not be kept.
        error: StoreError,
    },
    /// The store failed; what was halted stays halted.
    #[error(transparent)]
    Store(#[from] StoreError),
}
