//! What the runtime is started with, and why it may refuse to start.

use crate::{
    store::StoreError,
    types::{ids::TaskId, limits::Ceilings, name_limits::NameLimits, time::Span},
};

use super::{Breaking, Bulkheads, burn::BurnLimit, prices::PriceTable};

/// How the runtime behaves. Every number bounds something.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// Single-writer shards. Fixed for the life of a database. From 1.
    pub shards: u16,
    /// A worker not heard of for this long loses its leases.
    pub lease_time: Span,
    /// How often a worker is to be heard: at most a third of `lease_time`.
    pub heartbeat_interval: Span,
    /// Tasks that may be open at once; over it, intake says so.
    pub max_open_tasks: usize,
    /// The most open tasks kept in memory, over all shards: the others are read from the journal when something happens to
    /// them. Every shard keeps its part, rounded up; with 0 it keeps only what is on its way to the disk.
    pub max_resident_tasks: usize,
    /// Requests that may wait for one shard, intake and the rest apart.
    pub max_queue: usize,
    /// Sessions that may be open at once.
    pub max_sessions: usize,
    /// Bytes of the journal that watchers may hold unread, over all of them: memory is a few times that. From 1 MiB.
    pub max_watch_bytes: usize,
    /// Attempts that one worker may hold at once, whatever it asks for.
    pub max_concurrency: u32,
    /// When circuit breakers open, and how they close again.
    pub breaking: Breaking,
    /// The most attempts at once of one agent, and of one namespace.
    pub bulkheads: Bulkheads,
    /// The most tasks of one namespace that may be open at once; over it, intake says so.
    pub max_open_by_namespace: NameLimits,
    /// The ceilings of every limit in a contract.
    pub ceilings: Ceilings,
    /// What models cost.
    pub prices: PriceTable,
    /// How fast tokens and money may go.
    pub burn_rate: Vec<BurnLimit>,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            shards: 2,
            lease_time: Span::from_secs(30),
            heartbeat_interval: Span::from_secs(10),
            max_open_tasks: 100_000,
            max_resident_tasks: 20_000,
            max_queue: 1_024,
            max_sessions: 16_384,
            max_watch_bytes: 64 << 20,
            max_concurrency: 1_000,
            breaking: Breaking::default(),
            bulkheads: Bulkheads::default(),
            max_open_by_namespace: NameLimits::default(),
            ceilings: Ceilings::default(),
            prices: PriceTable::default(),
            burn_rate: Vec::new(),
        }
    }
}

impl RuntimeOptions {
    /// Refuses what cannot work, with what to write instead.
    pub(super) fn check(&self) -> Result<(), StartError> {
        let faults = [
            (self.shards == 0, "shards must be at least 1"),
            (self.heartbeat_interval == Span::ZERO, "heartbeat_interval must be more than 0"),
            (
                self.heartbeat_interval.times(3) > self.lease_time,
                "heartbeat_interval must be at most a third of lease_time, so that one lost heartbeat costs nothing",
            ),
            (self.max_open_tasks == 0, "max_open_tasks must be at least 1"),
            (self.max_queue == 0, "max_queue must be at least 1"),
            (self.max_sessions == 0, "max_sessions must be at least 1"),
            (self.max_watch_bytes < 1 << 20, "max_watch_bytes must be at least 1 MiB"),
            (self.max_concurrency == 0, "max_concurrency must be at least 1"),
            (
                [self.breaking.agents, self.breaking.workers]
                    .iter()
                    .any(|terms| terms.open_for == Span::ZERO),
                "breakers.open_for must be more than 0",
            ),
        ];
        match faults.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, what)) => Err(StartError::Options(what)),
            None => Ok(()),
        }
    }
}

/// Why the runtime did not start. Nothing has been changed in the store.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting that cannot work.
    #[error("{0}")]
    Options(&'static str),
    /// The database was made with another number of shards, and task ids carry theirs.
    #[error(
        "this database was made with {stored} shards, not {asked}: start with {stored}, or with another database"
    )]
    Shards {
        /// What the database says.
        stored: u64,
        /// What was asked for.
        asked: u16,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An open task cannot be rebuilt.
    #[error(
        "open task {task} cannot be rebuilt: {error}. Start the version that wrote it, or restore the database from a backup"
    )]
    Rebuild {
        /// The task.
        task: TaskId,
        /// Why.
        error: StoreError,
    },
    /// The system has no thread for the journal.
    #[error("the journal's thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}
