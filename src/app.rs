//! Composition: a store, a runtime and a server become one running Bailiwick. Floor 4. Both `bailiwick serve` and the
//! tests start it here.
//!
//! Never here: a decision, a default that belongs to a part. Everything is taken down in the order that keeps promises:
//! ingress first, then what was accepted is made durable, all under one hard limit.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::{Metrics, Sources, Timed},
    notify::{self, Notifier, Notifying, Webhooks},
    runtime::{
        Clock, Entropy, Runtime, RuntimeOptions, RuntimeTasks, ShutdownReport, StartError, SystemClock,
        SystemEntropy, TaskRows,
    },
    service::{
        calls::CallBoard,
        server::{self, ServerError, ServerOptions, Serving},
    },
    store::{Store, StoreError, memory::MemoryStore, sqlite::SqliteStore},
    telemetry::{
        exporter::{SetupError, TraceExporter},
        settings::TraceSettings,
    },
};

/// The least that the runtime gets of a shutdown's grace, whatever ingress has used of it.
const MIN_COMMIT_GRACE: Duration = Duration::from_secs(1);
/// What the last traces may take, after everything else has ended.
const LAST_TRACES: Duration = Duration::from_secs(2);

/// What to run.
pub struct AppOptions {
    /// Where to listen; port 0 picks one.
    pub listen: SocketAddr,
    /// Where tasks are kept.
    pub store: StoreChoice,
    /// The runtime.
    pub runtime: RuntimeOptions,
    /// The server.
    pub server: ServerOptions,
    /// Where traces go.
    pub traces: Traces,
    /// Who is told of what.
    pub webhooks: Webhooks,
    /// Where metrics are served, if they are; port 0 picks one.
    pub metrics: Option<SocketAddr>,
    /// The hard limit of a shutdown.
    pub grace: Duration,
}

impl AppOptions {
    /// A server on loopback, on a port of the system's choice, with the parts' own defaults, no traces and no webhooks.
    pub fn on_loopback(store: StoreChoice) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            store,
            runtime: RuntimeOptions::default(),
            server: ServerOptions::default(),
            traces: Traces::Off,
            webhooks: Webhooks::default(),
            metrics: None,
            grace: Duration::from_secs(5),
        }
    }
}

/// Where traces go.
#[derive(Debug, Clone, PartialEq)]
pub enum Traces {
    /// Nowhere.
    Off,
    /// Where the standard `OTEL_*` variables say; nowhere unless an endpoint is set.
    FromEnvironment,
    /// There.
    To(TraceSettings),
}

/// Where tasks are kept.
pub enum StoreChoice {
    /// In memory: gone with the process.
    Memory,
    /// In this file, made if it is not there.
    Sqlite(PathBuf),
    /// In a store that is open already.
    Open(Arc<dyn Store>),
}

/// Why it did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {source}: choose another address, or stop what listens there")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The database cannot be opened.
    #[error("cannot open the database {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// The runtime refused to start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The server refused to start.
    #[error(transparent)]
    Serve(#[from] ServerError),
    /// Traces cannot be exported as asked.
    #[error(transparent)]
    Traces(#[from] SetupError),
    /// Webhooks cannot be sent as configured.
    #[error(transparent)]
    Webhooks(#[from] notify::SetupError),
    /// Metrics cannot be counted.
    #[error("metrics cannot be served: {0}")]
    Metrics(StoreError),
    /// A signal cannot be listened for.
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
}

/// A running Bailiwick. Whoever holds it must shut it down.
pub struct Running {
    local_addr: SocketAddr,
    runtime: Runtime,
    tasks: RuntimeTasks,
    serving: Serving,
    exporting: Option<Exporting>,
    notifying: Option<Notifying>,
    metrics: Option<Metrics>,
    grace: Duration,
}

/// The exporter of traces, at work.
struct Exporting {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Exporting {
    fn start(exporter: TraceExporter, runtime: &Runtime) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(exporter.run(runtime.log_end(), stop.clone(), LAST_TRACES));
        Self { stop, task }
    }

    /// Sends what is left, after the last commit.
    async fn finish(self) {
        self.stop.cancel();
        let mut task = self.task;
        if tokio::time::timeout(LAST_TRACES * 3, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// Starts, with the computer's clock and randomness.
pub async fn serve(options: AppOptions) -> Result<Running, AppError> {
    serve_with(options, Arc::new(SystemClock), Arc::new(SystemEntropy)).await
}

/// Starts, with a clock and randomness of the caller's. The socket is bound first: a second server on the same address
/// fails before it touches the database.
pub async fn serve_with(
    options: AppOptions,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Running, AppError> {
    let AppOptions { listen, store, runtime, mut server, traces, webhooks, metrics, grace } = options;
    let (listener, local_addr) = bind(listen).await?;
    let metrics = match metrics {
        Some(addr) => Some(bind(addr).await?.0),
        None => None,
    };
    let store = open(store).await?;
    // Only where they are asked for: what is not read is not measured.
    let timed = metrics.is_some().then(|| Arc::new(Timed::new(store.clone())));
    let store = timed.clone().map_or(store, |timed| -> Arc<dyn Store> { timed });
    if metrics.is_some() {
        server.calls = CallBoard::counting();
    }
    let (calls, hooks) = (server.calls.clone(), server.webhooks.clone());
    let exporter = match traces {
        Traces::Off => None,
        Traces::FromEnvironment => TraceExporter::from_env(store.clone())?,
        Traces::To(settings) => Some(TraceExporter::new(store.clone(), &settings)?),
    };
    let board = server.webhooks.clone();
    let notifier = Notifier::prepare(webhooks, store.clone(), clock.clone(), board).await?;
    let (runtime, tasks) = Runtime::start(store, runtime, clock, entropy).await?;
    let measured = match metrics.zip(timed) {
        Some((listener, store)) => {
            let sources = Sources { runtime: runtime.clone(), store, calls, webhooks: hooks };
            Metrics::start(listener, sources).await.map(Some)
        }
        None => Ok(None),
    };
    let metrics = match measured {
        Ok(metrics) => metrics,
        Err(error) => {
            tasks.shutdown(grace).await;
            return Err(AppError::Metrics(error));
        }
    };
    match server::serve(listener, runtime.clone(), server).await {
        Ok(serving) => {
            let exporting = exporter.map(|exporter| Exporting::start(exporter, &runtime));
            let notifying = notifier.map(|notifier| notifier.start(&runtime.log_end()));
            Ok(Running { local_addr, runtime, tasks, serving, exporting, notifying, metrics, grace })
        }
        Err(error) => {
            finish(metrics).await;
            tasks.shutdown(grace).await;
            Err(error.into())
        }
    }
}

/// A socket, and where it is.
async fn bind(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), AppError> {
    let failed = |source| AppError::Bind { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let local_addr = listener.local_addr().map_err(failed)?;
    Ok((listener, local_addr))
}

async fn finish(metrics: Option<Metrics>) {
    if let Some(metrics) = metrics {
        metrics.finish().await;
    }
}

async fn open(choice: StoreChoice) -> Result<Arc<dyn Store>, AppError> {
    match choice {
        StoreChoice::Memory => Ok(Arc::new(MemoryStore::new())),
        StoreChoice::Open(store) => Ok(store),
        StoreChoice::Sqlite(path) => {
            let file = path.clone();
            let opened =
                tokio::task::spawn_blocking(move || SqliteStore::folding(&file, Arc::new(TaskRows))).await;
            let opened = opened.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())));
            opened
                .map(|store| -> Arc<dyn Store> { Arc::new(store) })
                .map_err(|source| AppError::Open { path, source })
        }
    }
}

impl Running {
    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where metrics are served, if they are.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(Metrics::addr)
    }

    /// The runtime, for what runs beside the server.
    pub const fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Waits until a part stops that never should; says which.
    pub async fn failed(&mut self) -> String {
        tokio::select! {
            what = self.serving.failed() => what,
            what = self.tasks.failed() => what,
        }
    }

    /// Takes everything down within the grace: ingress first, then the runtime finishes its commits.
    pub async fn shutdown(self) -> ShutdownReport {
        let Self { local_addr: _, runtime, tasks, serving, exporting, notifying, metrics, grace } = self;
        let until = Instant::now() + grace;
        let drained = serving.shutdown(grace).await;
        finish(metrics).await;
        drop(runtime);
        let left = until.saturating_duration_since(Instant::now()).max(MIN_COMMIT_GRACE);
        let mut report = tasks.shutdown(left).await;
        if let Some(exporting) = exporting {
            exporting.finish().await;
        }
        if let Some(notifying) = notifying {
            notifying.finish().await;
        }
        if !drained {
            report.clean = false;
            report.aborted.push("connections".to_owned());
        }
        report
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// A signal asked for it.
    Asked(ShutdownReport),
    /// A part failed.
    Failed(String, ShutdownReport),
    /// A second signal did not want to wait: the process should exit at once. The next start recovers.
    Forced,
}

/// Runs until SIGTERM or SIGINT, or until a part fails; then takes everything down. A second signal cuts that short.
///
/// `stopping` is called once, when the shutdown begins, with what it may take.
pub async fn run_until_signal(
    mut running: Running,
    stopping: impl FnOnce(Duration),
) -> Result<Ended, AppError> {
    let mut signals = Signals::new().map_err(AppError::Signals)?;
    let failed = tokio::select! {
        () = signals.next() => None,
        what = running.failed() => Some(what),
    };
    stopping(running.grace);
    tokio::select! {
        report = running.shutdown() => Ok(match failed {
            None => Ended::Asked(report),
            Some(what) => Ended::Failed(what, report),
        }),
        () = signals.next() => Ok(Ended::Forced),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Listened for so that a limit on the size of files is an error of a write, as a full disk is, and not the process's end.
    _file_size: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
