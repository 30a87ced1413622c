//! What goes in and out of the runtime's face: plain values.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::BreakerInfo;
use crate::{
    engine::{command::Assignment, view::SummaryView},
    store::record::AgentRow,
    types::{
        ids::{AgentName, Lease, Namespace, TaskId, WorkerId},
        outcome::Cause,
        time::{Span, Timestamp},
    },
};

/// Names one session of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub Uuid);

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for SessionId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(Self)
    }
}

/// An accepted submission. Durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// The task.
    pub task: TaskId,
    /// Whether the idempotency key had already made it.
    pub existing: bool,
}

/// A cancelled task. Durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancelled {
    /// The task, after the cancel.
    pub summary: SummaryView,
    /// Whether it had ended already.
    pub already_ended: bool,
}

/// What a request for budget got, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Granted; 0 is a denial.
    pub granted: u64,
    /// The allowance now.
    pub allowance: u64,
    /// What could still be granted.
    pub left: u64,
}

/// How a worker introduces itself.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Its id, kept over reconnects.
    pub worker: WorkerId,
    /// The agents it serves, each with its declaration as JSON.
    pub agents: Vec<(AgentName, String)>,
    /// Attempts it takes at once; the server's limit applies. From 1.
    pub max_concurrency: u32,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Leases it still works under.
    pub held: Vec<Lease>,
}

/// An open session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its name.
    pub session: SessionId,
    /// Silence after which leases lapse.
    pub lease_time: Span,
    /// How often the worker is to be heard.
    pub heartbeat_interval: Span,
    /// Of the leases it said it holds: those that are live.
    pub live: Vec<Lease>,
    /// Attempts it gets at once, at most.
    pub max_concurrency: u32,
}

/// What a session is told. Acks, grants and refusals are answers to calls, and not here.
#[derive(Debug, Clone, PartialEq)]
pub enum Down {
    /// Work, its lease durable; `traceparent` is already that of the attempt.
    Assignment(Box<Assignment>),
    /// Stop: the lease is revoked.
    Cancel {
        /// The lease.
        lease: Lease,
        /// Why, in a sentence.
        reason: String,
        /// The cause; `None` where the lease was simply lost.
        cause: Option<Cause>,
    },
    /// The server is going away.
    Drain,
}

/// An agent, as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentInfo {
    /// Its durable row.
    pub row: AgentRow,
    /// Workers that serve it now.
    pub workers: u32,
    /// Turns that wait for one of them, back-off included.
    pub waiting: u32,
    /// Attempts that run, those about to start included.
    pub leased: u32,
    /// The most there may be at once; `None`: there is no limit.
    pub limit: Option<u32>,
    /// Its breaker.
    pub breaker: BreakerInfo,
}

/// A namespace, as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceInfo {
    /// Its name.
    pub name: Namespace,
    /// Attempts that run.
    pub running: u32,
    /// The most there may be at once; `None`: there is no limit.
    pub limit: Option<u32>,
    /// Open tasks, where they have a bound; else 0.
    pub open: u32,
    /// The bound.
    pub open_limit: Option<u32>,
}

/// A connected worker, as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerInfo {
    /// Its id.
    pub id: WorkerId,
    /// The agents it serves.
    pub agents: Vec<AgentName>,
    /// Attempts it takes at once.
    pub max_concurrency: u32,
    /// Assignments it has asked for and not got.
    pub credit: u32,
    /// Attempts it holds.
    pub leased: u32,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When its session began.
    pub connected_at: Timestamp,
    /// When it was last heard.
    pub last_heard_at: Timestamp,
    /// Whether it asked for nothing new.
    pub draining: bool,
    /// Its breaker.
    pub breaker: BreakerInfo,
}
