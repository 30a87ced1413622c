//! The halts in force: who stopped what, shared by everybody who takes something in or gives something out. In force in memory
//! first, since a brake may precede durability; what was acknowledged is in the store, as a note a halt (`halt/<number>`).
//!
//! Never here: the deeds. `handle::halt` takes the wish, the dispatcher stops, `halter` keeps and ends.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::{mpsc, watch};

use super::{
    burn::{BurnGuard, BurnLimit},
    halter::Job,
};
use crate::{
    store::{Store, StoreError},
    types::{
        halt::{Burn, Halt, HaltScope, HaltSet, MAX_HALTS},
        ids::Lease,
        time::Timestamp,
    },
};

/// Names of notes about halts begin so.
const PREFIX: &str = "halt/";

/// A wish to halt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaltOrder {
    /// What.
    pub scope: HaltScope,
    /// Who.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
    /// Whether the tasks under it are to end.
    pub cancel: bool,
    /// The figures, where the burn-rate guard wishes it.
    pub burn: Option<Burn>,
}

/// How far a halt with a cancel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HaltProgress {
    /// Attempts whose cancel has been handed to the stream of their worker.
    pub handed: usize,
    /// When the last of them was.
    pub handed_at: Timestamp,
    /// Whether all tasks under it have ended.
    pub swept: bool,
}

/// See the file's header.
pub(super) struct Halts {
    set: RwLock<Arc<HaltSet>>,
    next: Mutex<u64>,
    /// Cancels that streams are still to be handed, and whose halts they are.
    expected: Mutex<BTreeMap<Lease, watch::Sender<HaltProgress>>>,
    expecting: AtomicUsize,
    pub(super) jobs: mpsc::UnboundedSender<Job>,
    /// The guard that halts by itself.
    pub(super) burn: Arc<BurnGuard>,
    /// Held while one is written down, so that the store hears of one thing after the other.
    pub(super) writing: tokio::sync::Mutex<()>,
}

/// What the store knows of halts.
pub(super) struct Kept {
    pub(super) set: HaltSet,
    pub(super) next: u64,
}

impl Kept {
    /// Reads it. Blocks.
    pub(super) fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let mut kept = Self { set: HaltSet::default(), next: 1 };
        for halt in all(store)? {
            kept.next = kept.next.max(halt.number + 1);
            if halt.lifted.is_none() {
                kept.set.insert(Arc::new(halt));
            }
        }
        Ok(kept)
    }
}

/// Every halt that is kept, oldest first. Blocks.
pub(super) fn all(store: &dyn Store) -> Result<Vec<Halt>, StoreError> {
    let parse = |(name, text): (String, String)| {
        serde_json::from_str(&text).map_err(|error| StoreError::Corrupt(format!("the note {name}: {error}")))
    };
    store.texts(PREFIX)?.into_iter().map(parse).collect()
}

/// The name of a halt's note.
pub(super) fn note(number: u64) -> String {
    format!("{PREFIX}{number:020}")
}

impl Halts {
    /// What is kept, in force; and what is to be done about it, for the halter.
    pub(super) fn new(kept: Kept, limits: Vec<BurnLimit>) -> (Arc<Self>, mpsc::UnboundedReceiver<Job>) {
        let (jobs, to_do) = mpsc::unbounded_channel();
        let halts = Self {
            set: RwLock::new(Arc::new(kept.set)),
            next: Mutex::new(kept.next),
            expected: Mutex::default(),
            expecting: AtomicUsize::new(0),
            jobs,
            burn: Arc::new(BurnGuard::new(limits)),
            writing: tokio::sync::Mutex::new(()),
        };
        halts.go_on();
        (Arc::new(halts), to_do)
    }

    /// Goes on with what a stop has broken off: halts that have not ended all that they were to end.
    fn go_on(&self) {
        for halt in self.now().iter().filter(|halt| halt.cancel && !halt.swept) {
            let progress = watch::channel(HaltProgress::default()).0;
            // A halter that has gone has gone with the server.
            let _ = self.jobs.send(Job::Sweep(Arc::clone(halt), Vec::new(), progress));
        }
    }

    /// Those in force now.
    pub(super) fn now(&self) -> Arc<HaltSet> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the set. `first` hears of the new one before anybody sees it, `then` after.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut HaltSet) -> T,
        first: impl FnOnce(&Arc<HaltSet>),
        then: impl FnOnce(&Arc<HaltSet>),
    ) -> T {
        let mut current = self.set.write().unwrap_or_else(PoisonError::into_inner);
        let mut set = HaltSet::clone(&current);
        let made = change(&mut set);
        let set = Arc::new(set);
        first(&set);
        *current = Arc::clone(&set);
        then(&set);
        made
    }

    /// Puts a halt in force; `stop` stops dispatch. One of the same scope stays whose it was, and may be made to cancel. `None`:
    /// there are too many. Says whether it was in force already.
    pub(super) fn impose(
        &self,
        order: HaltOrder,
        at: Timestamp,
        stop: impl FnOnce(&Arc<HaltSet>),
    ) -> Option<(Arc<Halt>, bool)> {
        let HaltOrder { scope, by, reason, cancel, burn } = order;
        let impose = |set: &mut HaltSet| {
            if let Some(known) = set.get(&scope).cloned() {
                let again = cancel && (!known.cancel || known.swept);
                let halt = if again {
                    Arc::new(Halt { cancel, swept: false, ..Halt::clone(&known) })
                } else {
                    known
                };
                set.insert(Arc::clone(&halt));
                return Some((halt, true));
            }
            if set.len() >= MAX_HALTS {
                return None;
            }
            let number = self.take_number();
            let (ended, swept, lifted) = (0, !cancel, None);
            let halt = Arc::new(Halt { number, scope, by, reason, at, cancel, ended, swept, burn, lifted });
            set.insert(Arc::clone(&halt));
            Some((halt, false))
        };
        self.change(impose, stop, |_| {})
    }

    fn take_number(&self) -> u64 {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next += 1;
        *next - 1
    }

    /// Notes something of a halt, if it is still in force; gives it back as it is then.
    pub(super) fn note(&self, halt: &Halt, change: impl FnOnce(&mut Halt)) -> Option<Arc<Halt>> {
        let note = |set: &mut HaltSet| {
            let known = set.get(&halt.scope).filter(|known| known.number == halt.number)?;
            let mut noted = Halt::clone(known);
            change(&mut noted);
            let noted = Arc::new(noted);
            set.insert(Arc::clone(&noted));
            Some(noted)
        };
        self.change(note, |_| {}, |_| {})
    }

    /// Takes a halt out of force; `start` starts dispatch again.
    pub(super) fn lift(&self, halt: &Halt, start: impl FnOnce(&Arc<HaltSet>)) {
        let lift = |set: &mut HaltSet| {
            if set.get(&halt.scope).is_some_and(|known| known.number == halt.number) {
                set.remove(&halt.scope);
            }
        };
        self.change(lift, |_| {}, start);
    }

    fn expected(&self) -> MutexGuard<'_, BTreeMap<Lease, watch::Sender<HaltProgress>>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels of these leases are about to go to streams.
    pub(super) fn expect(&self, leases: &[Lease], progress: &watch::Sender<HaltProgress>) {
        let mut expected = self.expected();
        expected.extend(leases.iter().map(|lease| (*lease, progress.clone())));
        self.expecting.store(expected.len(), Ordering::Release);
    }

    /// A cancel has been handed to a stream.
    pub(super) fn handed(&self, lease: &str, at: impl FnOnce() -> Timestamp) {
        if self.expecting.load(Ordering::Acquire) == 0 {
            return;
        }
        let Ok(lease) = lease.parse::<Lease>() else { return };
        let mut expected = self.expected();
        if let Some(progress) = expected.remove(&lease) {
            self.expecting.store(expected.len(), Ordering::Release);
            let at = at();
            progress.send_modify(|progress| {
                progress.handed += 1;
                progress.handed_at = progress.handed_at.max(at);
            });
        }
    }

    /// Nobody waits for these any more.
    pub(super) fn expect_no_more(&self, leases: &[Lease]) {
        let mut expected = self.expected();
        for lease in leases {
            expected.remove(lease);
        }
        self.expecting.store(expected.len(), Ordering::Release);
    }
}
