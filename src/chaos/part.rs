//! The processes of a run: this binary again, as the server that is killed and started anew, or as a worker of the crew. Each
//! ends when the run that started it ends, in whatever way: its stdin ends with it.

use std::{io::Write as _, net::SocketAddr, path::PathBuf, time::Duration};

use super::crew;
use crate::{
    app::{self, AppOptions, StoreChoice, Traces},
    cli::{Exit, Failure},
    demo::crew::told_to_end,
    notify::Webhooks,
    runtime::RuntimeOptions,
    service::server::ServerOptions,
    types::time::Span,
};

/// What the first line of the server begins with; its address follows.
pub(super) const READY: &str = "listens on ";
/// Short, so that a worker that is killed is soon missed.
pub(super) const LEASE_TIME: Span = Span::from_secs(2);
/// The hard limit of its end.
const GRACE: Duration = Duration::from_secs(5);

/// Which process this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The server, with its database in `data`.
    Server {
        /// Where it listens; port 0 picks one.
        listen: SocketAddr,
        /// The database.
        data: PathBuf,
    },
    /// A worker of the crew.
    Worker {
        /// The server.
        addr: String,
        /// The worker's id.
        id: String,
        /// Attempts it takes at once.
        slots: u16,
        /// The folder of its side effects.
        world: PathBuf,
    },
}

/// Is the process until it is told to end.
///
/// # Errors
/// When it cannot start, or a part of it fails.
pub async fn run(part: Part) -> Result<Exit, Failure> {
    match part {
        Part::Server { listen, data } => serve(listen, data).await,
        Part::Worker { addr, id, slots, world } => {
            let worker = crew::worker(&addr, &id, slots, world)
                .map_err(|error| Failure::from(format!("its folder cannot be written: {error}")))?;
            let ended = worker.run_until(told_to_end()).await;
            ended.map(|()| Exit::Ok).map_err(|error| Failure::from(error.to_string()))
        }
    }
}

async fn serve(listen: SocketAddr, data: PathBuf) -> Result<Exit, Failure> {
    let options = AppOptions {
        listen,
        store: StoreChoice::Sqlite(data),
        runtime: RuntimeOptions {
            lease_time: LEASE_TIME,
            heartbeat_interval: LEASE_TIME.part(4),
            ..RuntimeOptions::default()
        },
        server: ServerOptions::default(),
        webhooks: Webhooks::default(),
        traces: Traces::FromEnvironment,
        metrics: None,
        grace: GRACE,
    };
    let mut running = app::serve(options).await.map_err(|error| Failure::from(error.to_string()))?;
    let mut out = std::io::stdout();
    let said = writeln!(out, "{READY}{}", running.local_addr()).and_then(|()| out.flush());
    said.map_err(|error| Failure::from(format!("stdout cannot be written: {error}")))?;
    let failed = tokio::select! {
        () = told_to_end() => None,
        what = running.failed() => Some(what),
    };
    running.shutdown().await;
    failed.map_or(Ok(Exit::Ok), |what| Err(Failure::from(what)))
}
