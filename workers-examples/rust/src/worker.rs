//! What a user sets up. Reads the environment and the signals; decides nothing about the protocol.

use std::{collections::BTreeMap, env, fmt, future::Future, io, process, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use crate::{
    answer::{Answer, HandlerError},
    context::Context,
    engine::{Engine, Handler, Setup, log},
    pb,
};

/// How long a draining worker waits for its handlers unless told otherwise.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// Exit code of a worker that was told twice to stop.
const EXIT_FORCED: i32 = 130;

/// Why a worker ended other than by a clean drain.
#[derive(Debug)]
pub enum RunError {
    /// The address is none.
    Address(tonic::transport::Error),
    /// No agent was given.
    NoAgents,
    /// The signal handlers could not be set.
    Signals(io::Error),
    /// The drain limit passed with this many attempts unfinished, or with answers that nobody acknowledged.
    DrainTimedOut {
        /// Attempts that were still running.
        unfinished: usize,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => write!(f, "the server's address is not valid: {error}"),
            Self::NoAgents => write!(f, "a worker needs at least one agent"),
            Self::Signals(error) => write!(f, "cannot listen for signals: {error}"),
            Self::DrainTimedOut { unfinished } => {
                write!(f, "the drain limit has passed with {unfinished} attempts unfinished")
            }
        }
    }
}

impl std::error::Error for RunError {}

/// A worker: a process that serves one or more agents over one session. Needs a multi-threaded tokio runtime where handlers
/// compute for long.
pub struct Worker {
    setup: Setup,
}

impl Worker {
    /// A worker for the server at `address`, "host:port". Its id is "rust-<hostname>-<pid>" and its concurrency 4 unless
    /// told otherwise.
    pub fn new(address: impl Into<String>) -> Self {
        let host = hostname();
        Self {
            setup: Setup {
                address: address.into(),
                worker_id: format!("rust-{host}-{}", process::id()),
                concurrency: 4,
                labels: BTreeMap::new(),
                agents: BTreeMap::new(),
                drain_limit: DRAIN_LIMIT,
            },
        }
    }

    /// A worker as `BAILIWICK_ADDR` (default 127.0.0.1:7400), `BAILIWICK_WORKER_ID` and `BAILIWICK_CONCURRENCY` say.
    pub fn from_env() -> Self {
        let set = |name: &str| env::var(name).ok().filter(|v| !v.is_empty());
        let mut worker = Self::new(set("BAILIWICK_ADDR").unwrap_or_else(|| "127.0.0.1:7400".into()));
        if let Some(id) = set("BAILIWICK_WORKER_ID") {
            worker = worker.worker_id(id);
        }
        match set("BAILIWICK_CONCURRENCY").map(|v| v.parse()) {
            Some(Ok(slots)) => worker.concurrency(slots),
            Some(Err(_)) => {
                log(format_args!("BAILIWICK_CONCURRENCY is no number; using {}", worker.setup.concurrency));
                worker
            }
            None => worker,
        }
    }

    /// The id kept over reconnects: 1 to 128 characters of [A-Za-z0-9._:-]. Two workers must not share one.
    #[must_use]
    pub fn worker_id(mut self, id: impl Into<String>) -> Self {
        self.setup.worker_id = id.into();
        self
    }

    /// The most attempts at once, over all agents. At least 1.
    #[must_use]
    pub fn concurrency(mut self, slots: u16) -> Self {
        self.setup.concurrency = usize::from(slots.max(1));
        self
    }

    /// A free label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.setup.labels.insert(key.into(), value.into());
        self
    }

    /// How long a drain waits for running handlers and for acknowledgements. Default 30 s.
    #[must_use]
    pub fn drain_limit(mut self, limit: Duration) -> Self {
        self.setup.drain_limit = limit;
        self
    }

    /// Serves an agent. The handler is called once per attempt; its future is dropped when the attempt is cancelled.
    #[must_use]
    pub fn agent<H, F>(mut self, spec: pb::AgentSpec, handler: H) -> Self
    where
        H: Fn(Context) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Answer, HandlerError>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |context| Box::pin(handler(context)));
        self.setup.agents.insert(spec.name.clone(), (spec, handler));
        self
    }

    /// Works until SIGTERM or SIGINT, then drains. A second signal ends the process at once.
    ///
    /// # Errors
    /// See [`RunError`]. A server that is away is no error: it is tried for ever.
    pub async fn run(self) -> Result<(), RunError> {
        let mut term = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
        let mut int = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
        let (stop, stopped) = oneshot::channel();
        let listener = tokio::spawn(async move {
            either(&mut term, &mut int).await;
            // Fails only when the worker has ended by itself.
            let _ = stop.send(());
            either(&mut term, &mut int).await;
            #[expect(
                clippy::disallowed_methods,
                reason = "who signals twice wants no destructors to be waited for"
            )]
            process::exit(EXIT_FORCED);
        });
        let result = self.run_until(async { drop(stopped.await) }).await;
        listener.abort();
        result
    }

    /// Works until `stop`, then drains. Leaves the signals alone.
    ///
    /// # Errors
    /// See [`RunError`]. A server that is away is no error: it is tried for ever.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        if self.setup.agents.is_empty() {
            return Err(RunError::NoAgents);
        }
        Engine::new(self.setup).run(stop).await
    }
}

async fn either(a: &mut Signal, b: &mut Signal) {
    tokio::select! {
        _ = a.recv() => {}
        _ = b.recv() => {}
    }
}

/// The host's name as far as a worker id can carry it.
fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| env::var("HOSTNAME").map_err(io::Error::other));
    let mut name = name.unwrap_or_default();
    name.retain(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    name.truncate(64);
    if name.is_empty() { "host".into() } else { name }
}
