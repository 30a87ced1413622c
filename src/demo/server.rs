//! The demo's server: the real one, on loopback, on a port of its own, with a database that stays behind for the user.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    app::{self, AppOptions, Running, StoreChoice, Traces},
    cli::Failure,
    config::Settings,
    runtime::RuntimeOptions,
    service::server::ServerOptions,
    types::time::Span,
};

/// Short, so that a worker that is killed is missed while somebody watches.
const LEASE_TIME: Span = Span::from_secs(3);
/// The hard limit of its end.
const GRACE: Duration = Duration::from_secs(5);

/// A folder for what the demo leaves behind: the database and the workers' logs.
pub(super) struct Place {
    /// The database.
    pub(super) data: PathBuf,
    /// The folder of logs.
    pub(super) logs: PathBuf,
}

impl Place {
    /// A fresh folder among the system's temporary ones.
    pub(super) fn new() -> Result<Self, Failure> {
        let name = format!("bailiwick-demo-{}", uuid::Uuid::now_v7().simple());
        let folder = std::env::temp_dir().join(name);
        let logs = folder.join("logs");
        std::fs::create_dir_all(&logs)
            .map_err(|error| Failure::from(format!("{} cannot be made: {error}", logs.display())))?;
        Ok(Self { data: folder.join("bailiwick.db"), logs })
    }
}

/// Starts the server with its database in `data`.
pub(super) async fn start(data: &Path) -> Result<Running, Failure> {
    let options = AppOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        store: StoreChoice::Sqlite(data.to_owned()),
        // As many shards as `bailiwick serve` would use, so that it can open the same database afterwards.
        runtime: RuntimeOptions {
            shards: u16::try_from(Settings::default().shards).unwrap_or(1),
            lease_time: LEASE_TIME,
            heartbeat_interval: LEASE_TIME.part(4),
            ..RuntimeOptions::default()
        },
        server: ServerOptions::default(),
        webhooks: crate::notify::Webhooks::default(),
        metrics: None,
        traces: Traces::FromEnvironment,
        grace: GRACE,
    };
    app::serve(options).await.map_err(|error| Failure::from(error.to_string()))
}
