//! `bailiwick conformance`: drives a worker of any language through the cases of the worker protocol and says, case by
//! case, what it saw. A scripted server of its own, not the real engine: it can lose connections, hold acknowledgements
//! back and refuse answers at will. Must never need more from a worker than docs/conformance.md says.

mod cases;
mod child;
mod net;
mod report;
mod server;
mod stage;
mod table;
mod tasks;

use std::time::Duration;

pub use cases::{CaseInfo, list};
pub use report::{CaseReport, Report, print_case, print_list, print_summary};
use stage::{Failure, Stage};
pub use table::{Table, TableError};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

/// How long a worker may take to its first session: it may have to be built first.
const START_LIMIT: Duration = Duration::from_secs(120);

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The worker's program and its arguments. It is started with `BAILIWICK_ADDR`, `BAILIWICK_WORKER_ID` and
    /// `BAILIWICK_CONCURRENCY` set.
    pub command: Vec<String>,
    /// Only these cases, by name; all when empty.
    pub only: Vec<String>,
    /// Called with every case as it ends, e.g. [`print_case`].
    pub on_case: Option<fn(&CaseReport)>,
    /// How long the worker may take from its start to its first session.
    pub start_limit: Duration,
}

impl Options {
    /// Every case against this command, silently.
    pub fn new(command: Vec<String>) -> Self {
        Self { command, only: Vec::new(), on_case: None, start_limit: START_LIMIT }
    }
}

/// Why a run could not begin. A worker that fails is no error: it is in the report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No command was given.
    #[error("no command: write `bailiwick conformance -- COMMAND...`")]
    NoCommand,
    /// There is no such case.
    #[error("no case is called {0:?}; `--list` names them")]
    UnknownCase(String),
    /// The scripted server could not listen.
    #[error("cannot listen on loopback: {0}")]
    Listen(#[from] std::io::Error),
    /// SIGINT or SIGTERM came; the worker is ended.
    #[error("interrupted")]
    Interrupted,
}

/// Runs the cases, one after the other. Takes over SIGINT and SIGTERM, so that no worker is left behind.
///
/// # Errors
/// When the run could not begin or was interrupted; see [`Error`].
pub async fn run(options: Options) -> Result<Report, Error> {
    let Options { command, only, on_case, start_limit } = options;
    if command.is_empty() {
        return Err(Error::NoCommand);
    }
    if let Some(unknown) = only.iter().find(|name| !cases::ALL.iter().any(|c| c.info.name == **name)) {
        return Err(Error::UnknownCase(unknown.clone()));
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut stage = Stage::new(command.clone(), start_limit, on_case.is_some()).await?;
    let mut reports = Vec::new();
    for case in cases::ALL.iter().filter(|c| only.is_empty() || only.iter().any(|n| n == c.info.name)) {
        let report = tokio::select! {
            report = play(case, &mut stage) => report,
            // The stage is dropped, and with it the worker's process group is ended.
            _ = interrupt.recv() => return Err(Error::Interrupted),
            _ = terminate.recv() => return Err(Error::Interrupted),
        };
        if let Some(tell) = on_case {
            tell(&report);
        }
        reports.push(report);
    }
    Ok(Report { command, cases: reports })
}

async fn play(case: &cases::Case, stage: &mut Stage) -> CaseReport {
    let started = Instant::now();
    stage.begin();
    let verdict = match if case.fresh { stage.restart() } else { stage.ready().await } {
        Ok(()) => (case.play)(stage).await,
        Err(failure) => Err(failure),
    };
    let breaches = stage.take_breaches();
    let (passed, saw) = match verdict {
        Ok(saw) if breaches.is_empty() => (true, saw),
        Ok(_) => (false, breaches.join("; ")),
        Err(Failure(what)) if breaches.is_empty() => (false, what),
        Err(Failure(what)) => (false, format!("{what}; also: {}", breaches.join("; "))),
    };
    let transcript = if passed { Vec::new() } else { stage.transcript() };
    if !passed {
        // The next case shall not suffer for this one.
        stage.stop();
    }
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    CaseReport { name: case.info.name, what: case.info.what, passed, saw, transcript, millis }
}
