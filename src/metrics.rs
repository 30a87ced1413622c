//! Figures for Prometheus, over HTTP. Floor 4. What stands is read from the runtime when somebody asks; what adds up is
//! counted by following the log, as the exporter of traces does; calls are counted by a layer around them.
//!
//! Never here: a call by hand in a branch of the product, a decision, or a label whose values are not bounded.

mod counters;
mod follow;
mod gauges;
mod http;
pub mod names;
mod text;
mod timed;

use std::{net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    runtime::Runtime,
    service::{calls::CallBoard, webhooks::WebhookBoard},
    store::{Store, StoreError},
};
use counters::Counters;
pub use timed::Timed;

/// What a scrape reads.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) runtime: Runtime,
    pub(crate) store: Arc<Timed>,
    pub(crate) calls: CallBoard,
    pub(crate) webhooks: WebhookBoard,
}

/// The endpoint, at work. Whoever holds it must finish it.
pub(crate) struct Metrics {
    addr: SocketAddr,
    stop: CancellationToken,
    tasks: [JoinHandle<()>; 2],
}

impl Metrics {
    /// Serves on a listener that is bound already. Counters begin at the log's present end.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) async fn start(listener: TcpListener, sources: Sources) -> Result<Self, StoreError> {
        let store: Arc<dyn Store> = sources.store.clone();
        let ended = |error: tokio::task::JoinError| StoreError::Unavailable(error.to_string());
        let reader = store.clone();
        let end = tokio::task::spawn_blocking(move || reader.log_end()).await.map_err(ended)??;
        let addr = listener.local_addr().map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let (stop, counters) = (CancellationToken::new(), Counters::default());
        let log_end = sources.runtime.log_end();
        let following = follow::follow(store, end, counters.clone(), log_end);
        let serving = http::serve(listener, sources, counters);
        let until = |stop: &CancellationToken| stop.clone().cancelled_owned();
        let (first, second) = (until(&stop), until(&stop));
        let tasks = [
            tokio::spawn(async move {
                tokio::select! { biased; () = first => {} () = following => {} }
            }),
            tokio::spawn(async move {
                tokio::select! { biased; () = second => {} () = serving => {} }
            }),
        ];
        Ok(Self { addr, stop, tasks })
    }

    /// Where it listens.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops. Nothing is lost by it: counters begin anew with the process.
    pub(crate) async fn finish(self) {
        self.stop.cancel();
        for task in self.tasks {
            // It ends at its next step; one that panicked has ended.
            let _ = task.await;
        }
    }
}
