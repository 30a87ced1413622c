//! Webhooks: tells chat tools and pagers what a person may have to act on, out of the journal. Floor 4.
//!
//! Never here: a decision, and anything the work of a task waits for. A sink that is slow, wrong or away costs nobody but
//! itself. docs/webhooks.md is the promise to operators and receivers.

mod burn;
mod courier;
pub mod http;
pub mod kind;
pub mod notice;
pub mod place;
pub mod schedule;
pub mod settings;
pub mod signature;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet, spawn_blocking},
};
use tokio_rustls::rustls::RootCertStore;
use tokio_util::sync::CancellationToken;

use self::{
    courier::{Courier, Shared},
    http::{HttpPost, Post},
    schedule::Schedule,
    settings::Sink,
};
use crate::{
    runtime::Clock,
    service::webhooks::WebhookBoard,
    store::{Store, StoreError},
};

/// What a courier may take to stop: it is only ever waiting.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// The webhooks of a server.
#[derive(Debug, Clone, Default)]
pub struct Webhooks {
    /// The sinks.
    pub sinks: Vec<Sink>,
    /// When they are tried again.
    pub schedule: Schedule,
    /// Certificates to trust instead of the computer's own.
    pub roots: Option<RootCertStore>,
}

/// Webhooks cannot be sent as configured.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// TLS cannot be set up.
    #[error("the webhooks cannot be used: {0}")]
    Tls(String),
    /// Their places in the log cannot be read or made.
    #[error("the webhooks' places in the log: {0}")]
    Store(#[from] StoreError),
}

/// Webhooks that are ready to be sent.
pub struct Notifier<P = HttpPost> {
    sinks: Vec<Sink>,
    shared: Arc<Shared<P>>,
}

/// Webhooks that are being sent.
pub struct Notifying {
    stop: CancellationToken,
    /// Ends when every courier has.
    couriers: JoinHandle<()>,
}

impl Notifier {
    /// Prepares them; `None` where there are none. To be called before anything is added to the log: a sink that is new
    /// begins at its end.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub async fn prepare(
        webhooks: Webhooks,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        board: WebhookBoard,
    ) -> Result<Option<Self>, SetupError> {
        let Webhooks { sinks, schedule, roots } = webhooks;
        if sinks.is_empty() {
            return Ok(None);
        }
        let roots = match roots {
            Some(roots) => roots,
            None if sinks.iter().any(|sink| sink.place.tls()) => {
                http::system_roots().map_err(SetupError::Tls)?
            }
            None => RootCertStore::empty(),
        };
        let post = HttpPost::trusting(roots).map_err(SetupError::Tls)?;
        Self::with_post(sinks, schedule, post, store, clock, board).await.map(Some)
    }
}

impl<P: Post> Notifier<P> {
    /// Prepares sinks that are told by any means.
    ///
    /// # Errors
    /// Their places in the log cannot be read or made.
    pub async fn with_post(
        sinks: Vec<Sink>,
        schedule: Schedule,
        post: P,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        board: WebhookBoard,
    ) -> Result<Self, SetupError> {
        let names: Vec<String> = sinks.iter().map(|sink| sink.name.clone()).collect();
        let log = Arc::clone(&store);
        spawn_blocking(move || make_places(&*log, &names))
            .await
            .unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))?;
        Ok(Self { sinks, shared: Arc::new(Shared { store, post, clock, board, schedule }) })
    }

    /// Starts to send. `log_end` tells of commits.
    pub fn start(self, log_end: &watch::Receiver<u64>) -> Notifying {
        let Self { sinks, shared } = self;
        let stop = CancellationToken::new();
        let mut couriers = JoinSet::new();
        for sink in sinks {
            let courier = Courier::new(Arc::clone(&shared), sink);
            couriers.spawn(courier.run(log_end.clone(), stop.clone()));
        }
        let all_ended = async move {
            while let Some(ended) = couriers.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "a webhook has failed and sends nothing until the next start");
                }
            }
        };
        Notifying { stop, couriers: tokio::spawn(all_ended) }
    }
}

/// Gives every new sink its places: the end of the log and of the notes about burn rates, so that it is not told of all that
/// ever happened.
fn make_places(store: &dyn Store, sinks: &[String]) -> Result<(), StoreError> {
    let make = |name: String, end: &dyn Fn() -> Result<u64, StoreError>| match store.number(&name)? {
        None => store.set_number(&name, end()?),
        Some(_) => Ok(()),
    };
    for sink in sinks {
        make(courier::cursor_name(sink), &|| store.log_end())?;
        make(burn::cursor_name(sink), &|| burn::last(store))?;
    }
    Ok(())
}

impl Notifying {
    /// Stops. What was not delivered is delivered after the next start.
    pub async fn finish(self) {
        let Self { stop, mut couriers } = self;
        stop.cancel();
        if tokio::time::timeout(STOP_LIMIT, &mut couriers).await.is_err() {
            // What it holds is aborted with it.
            couriers.abort();
        }
    }
}
