//! Delivers to one sink what it is to be told of, in the order of the log: at least once, whatever fails, over restarts.
//!
//! The journal is the queue, so memory stays bounded however long a sink is away. The place in the log moves past a notice
//! only after the sink has accepted it, or after it has been set aside: see `may_set_aside`. Nothing of the server, and no
//! other sink, waits for this; this never writes anything but its own numbers.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    burn,
    http::{Parcel, Post, Reply, RetryAfter},
    kind::NoticeKind,
    notice::{self, Notice},
    schedule::{REFUSALS, Schedule, Verdict, judge},
    settings::Sink,
};
use crate::{
    console::text::clip,
    runtime::Clock,
    service::webhooks::{Failing, WebhookBoard, WebhookState},
    store::{Store, StoreError},
    telemetry::cursor::{Cursor, CursorError},
    types::time::{Span, Timestamp},
};

/// Entries of the log that are read at once. An entry may hold a result of a megabyte, so this bounds memory too.
const PAGE: usize = 128;
/// How long after a nudge the log is read: many commits make one read.
const GATHER: Duration = Duration::from_millis(50);
/// How often the log is read without a nudge.
const TICK: Duration = Duration::from_secs(2);
/// How often the place is made durable where nothing is delivered. What lies between is looked through again.
const SAVE_EVERY: Duration = Duration::from_secs(10);
/// Characters of a sink's answer that are shown.
const MOST_CHARS: usize = 200;

/// The name of the number that holds a sink's place in the log.
pub(super) fn cursor_name(sink: &str) -> String {
    format!("webhook_cursor.{sink}")
}

/// The name of the number that counts what was set aside.
fn set_aside_name(sink: &str) -> String {
    format!("webhook_set_aside.{sink}")
}

/// The name of the number that says whether the sink has accepted anything since the last notice that was set aside.
fn proven_name(sink: &str) -> String {
    format!("webhook_proven.{sink}")
}

/// What all couriers share.
pub(super) struct Shared<P> {
    pub(super) store: Arc<dyn Store>,
    pub(super) post: P,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) board: WebhookBoard,
    pub(super) schedule: Schedule,
}

impl<P> Shared<P> {
    async fn sleep_until(&self, time: Timestamp) {
        // A clock may wake early.
        while self.clock.now() < time {
            self.clock.wait(time).await;
        }
    }
}

/// The courier of one sink.
pub(super) struct Courier<P> {
    shared: Arc<Shared<P>>,
    sink: Sink,
    place: Cursor,
    set_aside: Cursor,
    proven: Cursor,
    /// Its place among the notes about burn rates.
    burns: Cursor,
    /// What the cursors hold; `None`: not read yet.
    now: Option<Progress>,
}

#[derive(Clone, Copy)]
struct Progress {
    position: u64,
    set_aside: u64,
    proven: bool,
}

/// A part of the log, looked through.
struct Page {
    notices: Vec<Notice>,
    end: u64,
    is_last: bool,
}

impl<P: Post> Courier<P> {
    pub(super) fn new(shared: Arc<Shared<P>>, sink: Sink) -> Self {
        let cursor = |name: String| Cursor::new(Arc::clone(&shared.store), &name);
        let burns = cursor(burn::cursor_name(&sink.name));
        let (place, set_aside, proven) = (
            cursor(cursor_name(&sink.name)),
            cursor(set_aside_name(&sink.name)),
            cursor(proven_name(&sink.name)),
        );
        let shown = (sink.place.shown(), sink.kinds.iter().map(|kind| kind.name()).collect());
        shared.board.note(&sink.name, |state| (state.place, state.events) = shown);
        Self { shared, sink, place, set_aside, proven, burns, now: None }
    }

    /// Delivers until `stop`. `log_end` is the end of the log: a nudge, not a condition.
    pub(super) async fn run(mut self, mut log_end: watch::Receiver<u64>, stop: CancellationToken) {
        stop.run_until_cancelled(self.follow(&mut log_end)).await;
    }

    async fn follow(&mut self, log_end: &mut watch::Receiver<u64>) {
        let mut troubles = 0_u32;
        loop {
            if let Err(error) = self.pass().await {
                troubles = troubles.saturating_add(1);
                if troubles == 1 {
                    tracing::warn!(webhook = %self.sink.name, %error, "the log cannot be followed; tried until it can");
                }
                let wait = self.shared.schedule.wait(troubles, None);
                self.shared.sleep_until(self.shared.clock.now().plus(Span::from(wait))).await;
                continue;
            }
            troubles = 0;
            tokio::select! {
                () = sleep(TICK) => {}
                // Without a sender there are no nudges any more, only ticks.
                Ok(()) = log_end.changed() => sleep(GATHER).await,
            }
        }
    }

    /// Delivers what there is, to the end of the log.
    async fn pass(&mut self) -> Result<(), CursorError> {
        self.pass_burns().await?;
        loop {
            let progress = self.load().await?;
            let page = self.read(progress.position).await?;
            for notice in page.notices {
                self.deliver(&notice).await?;
                self.advance(notice.position);
                self.place.save(notice.position).await?;
            }
            self.advance(page.end);
            if self.place.is_due(SAVE_EVERY) {
                self.place.save(page.end).await?;
            }
            if page.is_last {
                return Ok(());
            }
        }
    }

    /// Delivers the notices about burn rates that there are.
    async fn pass_burns(&mut self) -> Result<(), CursorError> {
        if !self.sink.kinds.contains(&NoticeKind::BurnRate) {
            return Ok(());
        }
        self.load().await?;
        let place = self.burns.load().await?.unwrap_or(0);
        let store = Arc::clone(&self.shared.store);
        for notice in spawn_blocking(move || burn::after(&*store, place)).await?? {
            self.deliver(&notice).await?;
            self.burns.save(notice.position).await?;
        }
        Ok(())
    }

    async fn load(&mut self) -> Result<Progress, CursorError> {
        if let Some(now) = self.now {
            return Ok(now);
        }
        let now = Progress {
            position: self.place.load().await?.unwrap_or(0),
            set_aside: self.set_aside.load().await?.unwrap_or(0),
            proven: self.proven.load().await?.unwrap_or(0) > 0,
        };
        self.note(|state| (state.position, state.set_aside) = (now.position, now.set_aside));
        Ok(*self.now.insert(now))
    }

    async fn read(&self, after: u64) -> Result<Page, CursorError> {
        let (store, kinds) = (Arc::clone(&self.shared.store), self.sink.kinds.clone());
        Ok(spawn_blocking(move || look_through(&*store, &kinds, after)).await??)
    }

    fn advance(&mut self, position: u64) {
        if let Some(now) = &mut self.now {
            now.position = position;
        }
        self.note(|state| state.position = position);
    }

    fn note(&self, change: impl FnOnce(&mut WebhookState)) {
        self.shared.board.note(&self.sink.name, change);
    }

    /// Returns when the notice is done with.
    async fn deliver(&mut self, notice: &Notice) -> Result<(), CursorError> {
        let since = self.shared.clock.now();
        let (mut tries, mut refusals) = (0_u32, 0_u32);
        loop {
            let now = self.shared.clock.now();
            let signature = self.sink.secrets.sign(now.0 / 1_000_000, notice.body.as_bytes());
            let parcel = Parcel { notice, signature: &signature };
            tries = tries.saturating_add(1);
            let (error, asked) = match self.shared.post.post(&self.sink.place, parcel).await {
                Ok(reply) => match judge(reply.status) {
                    Verdict::Accepted => return self.accepted(notice, tries).await,
                    Verdict::SinkFails => (said(&reply), reply.retry_after),
                    Verdict::NoticeRefused => {
                        refusals = refusals.saturating_add(1);
                        if refusals >= REFUSALS && self.may_set_aside() {
                            return self.set_aside(notice, &said(&reply)).await;
                        }
                        (said(&reply), reply.retry_after)
                    }
                },
                Err(error) => (error.to_string(), None),
            };
            let now = self.shared.clock.now();
            let asked = asked.map(|asked| match asked {
                RetryAfter::In(wait) => wait,
                RetryAfter::At(second) => Duration::from_secs(second.saturating_sub(now.0 / 1_000_000)),
            });
            let wait = self.shared.schedule.wait(tries, asked);
            let next_try_at = now.plus(Span::from(wait));
            self.fails(Failing { event_id: notice.id.clone(), since, tries, error, next_try_at });
            self.shared.sleep_until(next_try_at).await;
        }
    }

    async fn accepted(&mut self, notice: &Notice, tries: u32) -> Result<(), CursorError> {
        let now = self.shared.clock.now();
        if tries > 1 {
            tracing::info!(webhook = %self.sink.name, event = %notice.id, tries, "delivered after all");
        }
        self.note(|state| {
            state.delivered += 1;
            state.last_delivered_at = Some(now);
            state.failing = None;
        });
        self.prove(true).await
    }

    /// Whether a notice that the sink keeps refusing may be passed over. Only once between two that it accepts: where it
    /// refuses one after the other, the sink is what is wrong, and all of them wait for it to be put right.
    fn may_set_aside(&self) -> bool {
        self.now.is_some_and(|now| now.proven)
    }

    async fn set_aside(&mut self, notice: &Notice, error: &str) -> Result<(), CursorError> {
        tracing::error!(
            webhook = %self.sink.name, event = %notice.id, kind = notice.kind.name(), error, tries = REFUSALS,
            "the sink refuses this notice: it is set aside, the next ones go on; `bailiwick watch` shows the event"
        );
        let count = self.now.map_or(0, |now| now.set_aside) + 1;
        self.set_aside.save(count).await?;
        if let Some(now) = &mut self.now {
            now.set_aside = count;
        }
        self.note(|state| {
            state.set_aside = count;
            state.failing = None;
        });
        self.prove(false).await
    }

    async fn prove(&mut self, proven: bool) -> Result<(), CursorError> {
        if let Some(now) = &mut self.now {
            now.proven = proven;
        }
        self.proven.save(u64::from(proven)).await
    }

    fn fails(&self, failing: Failing) {
        // The first failure is news; later ones less and less.
        if failing.tries.is_power_of_two() {
            let Failing { event_id, tries, error, next_try_at, .. } = &failing;
            let webhook = &self.sink.name;
            tracing::warn!(%webhook, event = %event_id, tries, %error, %next_try_at, "a webhook cannot be delivered");
        }
        self.note(|state| state.failing = Some(failing));
    }
}

fn look_through(store: &dyn Store, kinds: &[NoticeKind], after: u64) -> Result<Page, StoreError> {
    let entries = store.log(after, PAGE)?;
    let mut page = Page { notices: Vec::new(), end: after, is_last: entries.len() < PAGE };
    for entry in entries {
        page.notices.extend(notice::of(store, kinds, &entry)?);
        page.end = entry.position;
    }
    Ok(page)
}

/// What a sink that did not accept has said.
fn said(reply: &Reply) -> String {
    let words = clip(reply.excerpt.trim(), MOST_CHARS);
    match (words.is_empty(), reply.status) {
        (true, status @ 300..=399) => format!("status {status}: redirects are not followed"),
        (true, status) => format!("status {status}"),
        (false, status) => format!("status {status}: {words}"),
    }
}
