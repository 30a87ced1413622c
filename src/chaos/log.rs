//! What the run has seen so far: acknowledgements and outages for the score, and counts for whoever watches. Shared by the
//! tasks of the run; never holds a verdict.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    score::{Acknowledged, How, Outage},
    story::word,
};
use crate::{
    pb,
    runtime::{Clock as _, SystemClock},
};

/// The run's own notes.
#[derive(Default)]
pub(super) struct Log(Mutex<Notes>);

/// Where an outage is noted.
pub(super) struct Noted(usize);

/// What is noted.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    /// Every acknowledgement.
    pub(super) acknowledged: Vec<Acknowledged>,
    /// Tasks that were submitted.
    pub(super) submitted: u64,
    /// Kills and freezes.
    pub(super) outages: Vec<Outage>,
    /// Tasks that are being submitted or have not ended.
    pub(super) open: usize,
    /// Tasks that were not submitted because as many as may be were open.
    pub(super) held_back: u64,
    /// Tasks that were refused, by reason.
    pub(super) refused: BTreeMap<String, u64>,
    /// Tasks by the state they ended in.
    pub(super) ended: BTreeMap<&'static str, u64>,
    /// Questions that were answered.
    pub(super) answered: u64,
}

impl Log {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As it stands.
    pub(super) fn read(&self) -> Notes {
        self.notes().clone()
    }

    /// A task has been given a place.
    pub(super) fn opened(&self) {
        let mut notes = self.notes();
        notes.open += 1;
        notes.submitted += 1;
    }

    /// Its place is free again.
    pub(super) fn closed(&self) {
        let mut notes = self.notes();
        notes.open = notes.open.saturating_sub(1);
    }

    /// The server has acknowledged a submission.
    pub(super) fn acknowledged(&self, key: &str, task: &str) {
        self.notes().acknowledged.push(Acknowledged { key: key.to_owned(), task: task.to_owned() });
    }

    /// No place was free.
    pub(super) fn held_back(&self) {
        self.notes().held_back += 1;
    }

    /// The server will not have it.
    pub(super) fn refused(&self, reason: &str) {
        *self.notes().refused.entry(reason.to_owned()).or_default() += 1;
    }

    /// A task has ended.
    pub(super) fn ended(&self, state: pb::TaskState) {
        *self.notes().ended.entry(word(state)).or_default() += 1;
    }

    /// A question was answered.
    pub(super) fn answered(&self) {
        self.notes().answered += 1;
    }

    /// A process is about to be killed or frozen. `worker`: `None` is the server.
    pub(super) fn out(&self, worker: Option<String>, how: How) -> Noted {
        let at = now();
        let outages = &mut self.notes().outages;
        outages.push(Outage { worker, how, at, back: None });
        Noted(outages.len() - 1)
    }

    /// It is there again.
    pub(super) fn back(&self, Noted(place): Noted) {
        let at = now();
        if let Some(outage) = self.notes().outages.get_mut(place) {
            outage.back.get_or_insert(at);
        }
    }

    /// Whatever was killed or frozen is there again.
    pub(super) fn all_back(&self) {
        let at = now();
        for outage in &mut self.notes().outages {
            outage.back.get_or_insert(at);
        }
    }
}

/// The time, in microseconds since the epoch, by the clock that the journal's times come from.
fn now() -> u64 {
    SystemClock.now().0
}
