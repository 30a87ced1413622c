//! Settings of the server: defaults < file < environment < flags, all of them from one table.
//!
//! `table` is that table; `layers` lays the four sources over one another; `value` reads and shows one value. Nothing here
//! opens a socket or a database, and nothing reads the process's environment or clock: both are handed in.

pub mod burn;
pub mod layers;
pub mod table;
pub mod value;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crate::types::name_limits::NameLimits;

pub use layers::{ConfigError, Loaded, Origin, Sources, load};

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything `bailiwick serve` can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// The database file; not opened when `in_memory`.
    pub data: PathBuf,
    /// Whether nothing is kept on disk.
    pub in_memory: bool,
    /// Whether a listen address that other machines can reach is allowed, without TLS or keys.
    pub insecure: bool,
    /// A worker not heard of for this long loses its leases.
    pub lease_time: Duration,
    /// How often workers are told to send a heartbeat. None: a third of `lease_time`; see [`Settings::heartbeat`].
    pub heartbeat_interval: Option<Duration>,
    /// Single-writer shards; fixed once a database is made.
    pub shards: u32,
    /// Tasks that may be open at once, over all shards.
    pub max_open_tasks: u32,
    /// Open tasks kept in memory, over all shards.
    pub max_resident_tasks: u32,
    /// Commands that may wait for one shard before it says RESOURCE_EXHAUSTED.
    pub max_queue: u32,
    /// HTTP/2 streams at once on one connection.
    pub max_concurrent_streams: u32,
    /// The file of prices, if there is one.
    pub prices: Option<PathBuf>,
    /// The file of webhooks, if there is one.
    pub webhooks: Option<PathBuf>,
    /// The file of burn-rate limits, if there is one.
    pub burn_rate: Option<PathBuf>,
    /// Where metrics are served, if they are.
    pub metrics: Option<SocketAddr>,
    /// How long a shutdown may take before open streams are cut.
    pub shutdown_grace: Duration,
    /// The most attempts one worker is given at once, whatever it asks for.
    pub worker_max_concurrency: u32,
    /// Worker sessions open at once.
    pub max_sessions: u32,
    /// Tasks watched at once.
    pub max_watches: u32,
    /// MiB of events that watchers may hold unread.
    pub max_watch_mib: u32,
    /// Whether chaos runs are refused.
    pub forbid_chaos: bool,
    /// Which log lines are written, in the words of `tracing_subscriber::EnvFilter`.
    pub log: String,
    /// How they are written.
    pub log_format: LogFormat,
    /// When circuit breakers open, and how they close again.
    pub breakers: Breakers,
    /// How much of the server one agent or one namespace may take.
    pub bulkheads: Bulkheads,
    /// The most that any contract may ask for.
    pub ceilings: Ceilings,
}

/// When circuit breakers open, and how they close again; those of agents and of workers alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breakers {
    /// Technical failures in a row that open one; 0: never for that reason.
    pub consecutive_failures: u32,
    /// Technical failures, in percent of the last 32 attempts, that open one; 0: never for that reason.
    pub failure_percent: u32,
    /// Attempts before that share means anything.
    pub min_results: u32,
    /// How long it stays open the first time; doubles with each opening in a row.
    pub open_for: Duration,
    /// The longest it stays open.
    pub open_at_most: Duration,
    /// Probes at once while it is half open.
    pub probes: u32,
    /// Probes that must go well before it closes.
    pub probes_to_close: u32,
}

impl Default for Breakers {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            failure_percent: 50,
            min_results: 10,
            open_for: Duration::from_secs(5),
            open_at_most: Duration::from_secs(5 * MINUTE),
            probes: 1,
            probes_to_close: 2,
        }
    }
}

/// How much of the server one agent or one namespace may take.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Bulkheads {
    /// Attempts at once, by agent.
    pub agents: NameLimits,
    /// Attempts at once, by namespace.
    pub namespaces: NameLimits,
    /// Open tasks, by namespace.
    pub open_tasks: NameLimits,
}

/// The most that any contract may ask for; one that asks for more is refused at intake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ceilings {
    /// Of `budget.max_tokens`, in tokens.
    pub max_tokens: u64,
    /// Of `limits.deadline`.
    pub deadline: Duration,
    /// Of `limits.max_hops`.
    pub max_hops: u32,
    /// Of `limits.max_turns`.
    pub max_turns: u32,
    /// Of `limits.max_replans`.
    pub max_replans: u32,
    /// Of `limits.max_rounds`.
    pub max_rounds: u32,
    /// Of `limits.max_attempts`.
    pub max_attempts: u32,
    /// Of `limits.max_parallel`.
    pub max_parallel: u32,
    /// Of `limits.max_children`.
    pub max_children: u32,
    /// Of `limits.max_depth`.
    pub max_depth: u32,
    /// Of `escalation.timeout`.
    pub escalation_timeout: Duration,
    /// Of `limits.max_lifetime`.
    pub max_lifetime: Duration,
}

impl Default for Ceilings {
    fn default() -> Self {
        Self {
            max_tokens: 100_000_000,
            deadline: Duration::from_secs(7 * DAY),
            max_hops: 100,
            max_turns: 10_000,
            max_replans: 100,
            max_rounds: 1_000,
            max_attempts: 20,
            max_parallel: 256,
            max_children: 1_000,
            max_depth: 10,
            escalation_timeout: Duration::from_secs(30 * DAY),
            max_lifetime: Duration::from_secs(90 * DAY),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7400)),
            data: PathBuf::from("./bailiwick.db"),
            in_memory: false,
            insecure: false,
            lease_time: Duration::from_secs(15),
            heartbeat_interval: None,
            shards: 2,
            max_open_tasks: 100_000,
            max_resident_tasks: 20_000,
            max_queue: 4_096,
            max_concurrent_streams: 128,
            prices: None,
            webhooks: None,
            burn_rate: None,
            metrics: None,
            shutdown_grace: Duration::from_secs(10),
            worker_max_concurrency: 1_000,
            max_sessions: 16_384,
            max_watches: 1_024,
            max_watch_mib: 64,
            forbid_chaos: false,
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            breakers: Breakers::default(),
            bulkheads: Bulkheads::default(),
            ceilings: Ceilings::default(),
        }
    }
}

impl Settings {
    /// How often workers are told to send a heartbeat: what was set, or a third of the lease time.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        self.heartbeat_interval.unwrap_or(self.lease_time / 3)
    }

    /// What no single value can be blamed for: contradictions between settings, each with what to write.
    ///
    /// # Errors
    /// Every contradiction, at once.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        // Destructured without `..`, so that a new setting cannot forget to be considered here.
        let Self {
            listen,
            data,
            in_memory,
            insecure,
            lease_time,
            heartbeat_interval,
            shards: _,
            max_open_tasks: _,
            max_resident_tasks: _,
            max_queue: _,
            max_concurrent_streams: _,
            prices: _,
            webhooks: _,
            burn_rate: _,
            metrics,
            shutdown_grace: _,
            worker_max_concurrency: _,
            max_sessions: _,
            max_watches: _,
            max_watch_mib: _,
            forbid_chaos: _,
            log,
            log_format: _,
            breakers,
            bulkheads: _,
            ceilings,
        } = self;
        let mut faults = Vec::new();
        if !insecure {
            faults.extend(reachable(*listen, *metrics));
        }
        if !in_memory && data.as_os_str().is_empty() {
            faults.push("data: the path is empty. Name a file, or write --in-memory".to_owned());
        }
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(log) {
            faults.push(format!(
                "log: {log:?} is not a filter: {error}. Write a level, like info, or info,bailiwick=debug"
            ));
        }
        faults.extend(times(*lease_time, *heartbeat_interval, breakers, ceilings));
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// What other machines could reach without having to show that they may.
fn reachable(listen: SocketAddr, metrics: Option<SocketAddr>) -> Vec<String> {
    let mut faults = Vec::new();
    if !listen.ip().is_loopback() {
        faults.push(format!(
            "listen: {listen} can be reached from other machines, and there is no TLS and there are no keys yet. \
             Listen on 127.0.0.1:{}, or write --insecure if everyone who can reach it may use it",
            listen.port()
        ));
    }
    if let Some(metrics) = metrics.filter(|metrics| !metrics.ip().is_loopback()) {
        faults.push(format!(
            "metrics: {metrics} can be reached from other machines, and there is no TLS and there are no keys yet. Serve \
             them on 127.0.0.1:{}, or write --insecure if everyone who can reach it may read them",
            metrics.port()
        ));
    }
    faults
}

/// Times that contradict each other.
fn times(
    lease_time: Duration,
    heartbeat_interval: Option<Duration>,
    breakers: &Breakers,
    ceilings: &Ceilings,
) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(interval) = heartbeat_interval
        && interval > lease_time / 3
    {
        faults.push(format!(
            "heartbeat_interval: {} is more than a third of lease_time ({}), so that two lost heartbeats would cost \
             a lease. Write at most {}",
            value::show_duration(interval),
            value::show_duration(lease_time),
            value::show_duration(lease_time / 3)
        ));
    }
    if breakers.open_at_most < breakers.open_for {
        faults.push(format!(
            "breakers.open_at_most: {} is less than breakers.open_for ({}). Write at least that",
            value::show_duration(breakers.open_at_most),
            value::show_duration(breakers.open_for)
        ));
    }
    if ceilings.max_lifetime < ceilings.deadline {
        faults.push(format!(
            "ceilings.max_lifetime: {} is less than ceilings.deadline ({}). Write at least that",
            value::show_duration(ceilings.max_lifetime),
            value::show_duration(ceilings.deadline)
        ));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Settings), expected: &[&str]) {
        let mut settings = Settings::default();
        change(&mut settings);
        let faults = settings.validate().err().unwrap_or_default();
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        for (fault, start) in faults.iter().zip(expected) {
            assert!(fault.starts_with(start), "{fault:?} should start with {start:?}");
        }
    }

    #[test]
    fn contradictions_are_refused_all_at_once() {
        check(|_| {}, &[]);
        check(|s| s.listen = ([0, 0, 0, 0], 7400).into(), &["listen: 0.0.0.0:7400 can be reached"]);
        check(
            |s| {
                s.listen = ([0, 0, 0, 0], 7400).into();
                s.insecure = true;
            },
            &[],
        );
        check(
            |s| {
                s.data = PathBuf::new();
                s.log = "bailiwick=loud".to_owned();
                s.heartbeat_interval = Some(Duration::from_secs(6));
                s.ceilings.max_lifetime = Duration::from_secs(1);
            },
            &["data: ", "log: ", "heartbeat_interval: 6s is more", "ceilings.max_lifetime: 1s is less"],
        );
    }

    #[test]
    fn the_heartbeat_follows_the_lease_time() {
        let settings = Settings { lease_time: Duration::from_secs(30), ..Settings::default() };
        assert_eq!(settings.heartbeat(), Duration::from_secs(10));
    }
}
