//! Sends the spans of all tasks to an OTLP sink, by following the log: at least once, whole across a restart.
//!
//! The cursor moves only after the sink has taken a page; what is sent twice has the same ids. A sink that is away is
//! tried again for as long as it takes, a page at a time, so memory stays bounded and the journal is the queue. Nothing
//! of the server waits for this, and this never writes anything but its cursor.

use std::{sync::Arc, time::Duration};

use opentelemetry_sdk::trace::SpanExporter as SpanSink;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    cursor::{Cursor, CursorError},
    follower::{Follower, Page},
    otlp,
    settings::{InvalidSetting, Sampler, TraceSettings},
    span::Span,
};
use crate::store::{Store, StoreError};

/// The store's number that holds the exporter's place in the log.
pub const CURSOR: &str = "trace_cursor";

/// Spans in one message to the sink, at most: far below the 4 MiB that sinks usually take.
const CHUNK: usize = 128;
/// How long after a nudge the log is read: many commits make one read.
const GATHER: Duration = Duration::from_millis(200);
/// How often the log is read without a nudge.
const TICK: Duration = Duration::from_secs(2);
/// How often the cursor is made durable, at most. What lies between is sent again after a crash.
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// The first wait after a failure; doubles.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
/// The longest wait after a failure.
const LAST_BACKOFF: Duration = Duration::from_secs(30);
/// Open tasks that are kept in memory, unless said otherwise.
const MAX_KEPT_TASKS: usize = 4_096;

/// Traces cannot be exported as the environment asks.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A variable asks for what is not there.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The sink's address, or what goes with it, is not usable.
    #[error("the sink for traces cannot be used: {0}")]
    Sink(String),
}

/// Exports the traces of all tasks of a store.
pub struct TraceExporter<S = opentelemetry_otlp::SpanExporter> {
    store: Arc<dyn Store>,
    sink: S,
    sampler: Sampler,
    /// Lost whenever a pass is broken off; made anew from `confirmed`.
    follower: Option<Follower>,
    /// Tasks whose projectors are kept.
    kept_tasks: usize,
    /// Up to here the sink has everything. `None`: not read from the store yet.
    confirmed: Option<u64>,
    /// Up to here the store knows that it has.
    cursor: Cursor,
    /// Spans in the next message: fewer after a failure, in case the message was too large.
    chunk: usize,
}

/// Why a pass was broken off. Nothing is lost by it.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error("{0}")]
    Sink(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Cursor(#[from] CursorError),
    #[error("the reader of the log failed: {0}")]
    Reader(#[from] tokio::task::JoinError),
}

impl TraceExporter {
    /// The exporter that the process's environment asks for; `None`: traces are off. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// The environment asks for what is not there.
    pub fn from_env(store: Arc<dyn Store>) -> Result<Option<Self>, SetupError> {
        let settings = TraceSettings::read(|name| std::env::var(name).ok())?;
        settings.map(|settings| Self::new(store, &settings)).transpose()
    }

    /// The exporter for these settings. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The sink's address is not usable.
    pub fn new(store: Arc<dyn Store>, settings: &TraceSettings) -> Result<Self, SetupError> {
        let sink = otlp::sink(settings).map_err(|error| SetupError::Sink(error.to_string()))?;
        Ok(Self::with_sink(store, sink, settings.sampler))
    }
}

impl<S: SpanSink + 'static> TraceExporter<S> {
    /// An exporter to any sink.
    pub fn with_sink(store: Arc<dyn Store>, sink: S, sampler: Sampler) -> Self {
        let cursor = Cursor::new(Arc::clone(&store), CURSOR);
        Self {
            store,
            sink,
            sampler,
            follower: None,
            kept_tasks: MAX_KEPT_TASKS,
            confirmed: None,
            cursor,
            chunk: CHUNK,
        }
    }

    /// Keeps so many open tasks in memory instead of 4,096. Others are read from the journal when they go on.
    #[must_use]
    pub fn keeping(mut self, tasks: usize) -> Self {
        self.kept_tasks = tasks;
        self
    }

    /// Exports until `stop`, then once more what is left, for at most `last_limit`. `log_end` is the end of the log: a nudge,
    /// not a condition.
    pub async fn run(
        mut self,
        mut log_end: watch::Receiver<u64>,
        stop: CancellationToken,
        last_limit: Duration,
    ) {
        stop.run_until_cancelled(self.follow(&mut log_end)).await;
        let deadline = Instant::now() + last_limit;
        // The pass that was broken off may have lost its place.
        self.follower = None;
        match timeout_at(deadline, self.pass()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "traces are not complete: the rest is sent after the next start")
            }
            Err(_) => {
                tracing::warn!("traces are not complete in time: the rest is sent after the next start")
            }
        }
        if !matches!(timeout_at(deadline, self.save()).await, Ok(Ok(()))) {
            tracing::warn!(
                "the place in the log may not be saved: spans may be sent again after the next start"
            );
        }
    }

    async fn follow(&mut self, log_end: &mut watch::Receiver<u64>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut backoff = FIRST_BACKOFF;
        loop {
            match self.pass().await {
                Ok(()) => {
                    if backoff > FIRST_BACKOFF {
                        tracing::info!("traces are exported again");
                        backoff = FIRST_BACKOFF;
                    }
                }
                Err(error) => {
                    if backoff == FIRST_BACKOFF {
                        tracing::warn!(%error, "traces cannot be exported; tried again until they can");
                    }
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(LAST_BACKOFF);
                    continue;
                }
            }
            tokio::select! {
                _ = tick.tick() => {}
                // Without a sender there are no nudges any more, only ticks.
                Ok(()) = log_end.changed() => sleep(GATHER).await,
            }
        }
    }

    /// Exports what there is, to the end of the log.
    async fn pass(&mut self) -> Result<(), PassError> {
        loop {
            let page = self.read().await?;
            if let Err(error) = self.send(page.spans).await {
                // The projectors are ahead of what the sink has.
                self.follower = None;
                self.chunk = (self.chunk / 2).max(1);
                return Err(error);
            }
            self.chunk = CHUNK;
            self.confirmed = Some(page.position);
            if self.cursor.is_due(SAVE_EVERY) {
                self.save().await?;
            }
            if page.is_last {
                return Ok(());
            }
        }
    }

    async fn read(&mut self) -> Result<Page, PassError> {
        let start = match self.confirmed {
            Some(position) => position,
            None => *self.confirmed.insert(self.cursor.load().await?.unwrap_or(0)),
        };
        let follower = self.follower.take();
        let (store, sampler, kept_tasks) = (Arc::clone(&self.store), self.sampler, self.kept_tasks);
        let reading = tokio::task::spawn_blocking(move || {
            let mut follower = follower.unwrap_or_else(|| Follower::new(store, sampler, start, kept_tasks));
            let page = follower.next()?;
            Ok::<_, StoreError>((follower, page))
        });
        let (follower, page) = reading.await??;
        self.follower = Some(follower);
        Ok(page)
    }

    async fn send(&self, spans: Vec<Span>) -> Result<(), PassError> {
        let mut spans = spans.into_iter().map(otlp::span_data).peekable();
        while spans.peek().is_some() {
            let chunk = spans.by_ref().take(self.chunk).collect();
            self.sink.export(chunk).await.map_err(|error| PassError::Sink(error.to_string()))?;
        }
        Ok(())
    }

    /// Makes the cursor durable.
    async fn save(&mut self) -> Result<(), PassError> {
        let Some(confirmed) = self.confirmed else { return Ok(()) };
        Ok(self.cursor.save(confirmed).await?)
    }
}
