//! Reads the log on and has its events counted. What cannot be read now is read later; nothing of the server waits for it.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};

use super::counters::Counters;
use crate::{
    engine::event::Event,
    store::{Store, StoreError},
    telemetry::follower::decode,
};

/// Entries of the log read at once. An entry may hold a result of a megabyte, so this bounds memory too.
const PAGE: usize = 128;
/// How long after a nudge the log is read: many commits make one read.
const GATHER: Duration = Duration::from_millis(200);
/// How often it is read without a nudge.
const TICK: Duration = Duration::from_secs(2);
/// The wait after a failure.
const BACKOFF: Duration = Duration::from_secs(1);

/// Follows the log from a position, for as long as it is polled.
pub(super) async fn follow(
    store: Arc<dyn Store>,
    mut position: u64,
    counters: Counters,
    mut log_end: watch::Receiver<u64>,
) {
    counters.reached(position);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (reader, counted) = (Arc::clone(&store), counters.clone());
        match tokio::task::spawn_blocking(move || pass(&*reader, position, &counted)).await {
            Ok((reached, Ok(()))) => position = reached,
            Ok((reached, Err(error))) => {
                position = reached;
                tracing::warn!(%error, "the counters are behind: the log cannot be read");
                sleep(BACKOFF).await;
            }
            Err(error) => {
                tracing::error!(%error, "the counters are behind: their reader failed");
                sleep(BACKOFF).await;
            }
        }
        tokio::select! {
            _ = tick.tick() => {}
            // Without a sender there are no nudges any more, only ticks.
            Ok(()) = log_end.changed() => sleep(GATHER).await,
        }
    }
}

/// Counts to the end of the log. Says how far it came.
fn pass(store: &dyn Store, mut position: u64, counters: &Counters) -> (u64, Result<(), StoreError>) {
    loop {
        let entries = match store.log(position, PAGE) {
            Ok(entries) => entries,
            Err(error) => return (position, Err(error)),
        };
        for entry in &entries {
            match decode(&entry.event) {
                Ok(record) => {
                    let owner = match &record.event {
                        // A task ends once: this is a read a task.
                        Event::Ended { .. } => match store.summary(entry.task) {
                            Ok(row) => row.map(|row| row.owner),
                            Err(error) => return (position, Err(error)),
                        },
                        _ => None,
                    };
                    counters.take(&record.event, owner.as_ref());
                }
                Err(error) => {
                    tracing::warn!(task = %entry.task, seq = entry.event.seq, error, "an event cannot be counted");
                    counters.unreadable();
                }
            }
            position = entry.position;
        }
        counters.reached(position);
        if entries.len() < PAGE {
            return (position, Ok(()));
        }
    }
}
