//! How the webhooks stand, as whoever sends them says. A board between them and the services: written there, shown here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{pb, types::time::Timestamp};

use super::convert::{int64, time::wire};

/// How one sink stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebhookState {
    /// Scheme, host and port.
    pub place: String,
    /// What it is told of.
    pub events: Vec<&'static str>,
    /// Up to here in the log everything has been delivered or needs not be.
    pub position: u64,
    /// Notices delivered since the server started.
    pub delivered: u64,
    /// Notices set aside since the database was made.
    pub set_aside: u64,
    /// When one was last delivered, since the server started.
    pub last_delivered_at: Option<Timestamp>,
    /// What it fails with, while it fails.
    pub failing: Option<Failing>,
}

/// A sink that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// The event that waits.
    pub event_id: String,
    /// Since when.
    pub since: Timestamp,
    /// Tries so far.
    pub tries: u32,
    /// What the last one got.
    pub error: String,
    /// About when the next one is.
    pub next_try_at: Timestamp,
}

/// The board. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct WebhookBoard(Arc<Mutex<BTreeMap<String, WebhookState>>>);

impl WebhookBoard {
    /// Changes what is known of a sink.
    pub fn note(&self, name: &str, change: impl FnOnce(&mut WebhookState)) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(states.entry(name.to_owned()).or_default());
    }

    /// Every sink, by name.
    #[must_use]
    pub fn states(&self) -> Vec<(String, WebhookState)> {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states.iter().map(|(name, state)| (name.clone(), state.clone())).collect()
    }

    /// Every sink, by name. `log_end` is the end of the log as far as it is known.
    pub(super) fn wire(&self, log_end: u64) -> Vec<pb::Webhook> {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states.iter().map(|(name, state)| webhook_out(name, state, log_end)).collect()
    }
}

fn webhook_out(name: &str, state: &WebhookState, log_end: u64) -> pb::Webhook {
    let WebhookState { place, events, position, delivered, set_aside, last_delivered_at, failing } = state;
    pb::Webhook {
        name: name.to_owned(),
        place: place.clone(),
        events: events.iter().map(|&event| event.to_owned()).collect(),
        behind: int64(log_end.saturating_sub(*position)),
        delivered: int64(*delivered),
        set_aside: int64(*set_aside),
        last_delivered_at: last_delivered_at.map(wire),
        failing: failing.as_ref().map(failing_out),
    }
}

fn failing_out(failing: &Failing) -> pb::WebhookFailing {
    let Failing { event_id, since, tries, error, next_try_at } = failing;
    pb::WebhookFailing {
        event_id: event_id.clone(),
        since: Some(wire(*since)),
        tries: super::convert::int32(*tries),
        error: error.clone(),
        next_try_at: Some(wire(*next_try_at)),
    }
}
