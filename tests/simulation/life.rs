//! One life of the server's process: its clock, its random bits and its disk, each of which may be where it dies. What a dead
//! process still computes reaches nobody: its disk takes nothing and its messages go nowhere.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use bailiwick::{
    runtime::{Clock, Entropy, Pace, SeededEntropy, Wait, Work},
    types::time::Timestamp,
};
use tokio_util::sync::CancellationToken;

use crate::{
    chance::Chance,
    time::{now, sleep},
};

/// When every run begins.
const START: u64 = 1_700_000_000_000_000;
/// Looks at the clock after which a run is taken for one that never ends.
const MAX_READS: u64 = 20_000_000;
/// The longest sleep between two looks at the wall clock, as in the computer's own.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// The computer's wall clock, which people set.
#[derive(Debug)]
pub(crate) struct WallClock {
    /// In microseconds.
    set_by: AtomicI64,
    reads: AtomicU64,
}

impl WallClock {
    pub(crate) fn new() -> Self {
        Self { set_by: AtomicI64::new(0), reads: AtomicU64::new(0) }
    }

    /// Sets it forward or back.
    pub(crate) fn jump(&self, seconds: i64) {
        self.set_by.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }

    fn now(&self) -> Timestamp {
        let reads = self.reads.fetch_add(1, Ordering::Relaxed);
        assert!(reads < MAX_READS, "the run does not end");
        let micros = START + u64::try_from(now().as_micros()).unwrap_or(0);
        Timestamp(micros.saturating_add_signed(self.set_by.load(Ordering::Relaxed)))
    }
}

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) number: u64,
    alive: AtomicBool,
    /// Steps until it dies; negative: it does not.
    fuse: AtomicI64,
    /// Whether it has been asked to stop.
    stopping: AtomicBool,
    pub(crate) gone: CancellationToken,
}

impl Life {
    pub(crate) fn new(number: u64, fuse: i64) -> Arc<Self> {
        let (alive, fuse) = (AtomicBool::new(true), AtomicI64::new(fuse));
        let stopping = AtomicBool::new(false);
        Arc::new(Self { number, alive, fuse, stopping, gone: CancellationToken::new() })
    }

    /// It has been asked to stop.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    pub(crate) fn die(&self) {
        self.alive.store(false, Ordering::Relaxed);
        self.gone.cancel();
    }

    /// It dies at one of its next steps.
    pub(crate) fn light(&self, steps: u64) {
        self.fuse.store(i64::try_from(steps).unwrap_or(1), Ordering::Relaxed);
    }

    /// It does not die after all.
    pub(crate) fn live_on(&self) {
        self.fuse.store(-1, Ordering::Relaxed);
    }

    /// Something that this process does to the outside: it may be the last thing.
    pub(crate) fn step(&self) {
        if self.fuse.load(Ordering::Relaxed) > 0 && self.fuse.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.die();
        }
    }
}

/// The clock as one process reads it.
#[derive(Debug)]
pub(crate) struct LifeClock {
    pub(crate) wall: Arc<WallClock>,
    pub(crate) life: Arc<Life>,
}

impl Clock for LifeClock {
    fn now(&self) -> Timestamp {
        self.life.step();
        self.wall.now()
    }

    fn jumps_are_absences(&self) -> bool {
        true
    }

    fn wait(&self, until: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let left = until.since(self.wall.now()).as_duration();
        Box::pin(sleep(left.min(LONGEST_SLEEP)))
    }
}

/// The random bits of one process.
pub(crate) struct LifeEntropy {
    pub(crate) bits: SeededEntropy,
    pub(crate) life: Arc<Life>,
}

impl Entropy for LifeEntropy {
    fn bits(&self) -> u64 {
        self.life.step();
        self.bits.bits()
    }
}

/// How long its work takes.
pub(crate) struct LifePace {
    pub(crate) chance: Mutex<Chance>,
    /// In a thousand commits.
    pub(crate) slow: u32,
}

impl fmt::Debug for LifePace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LifePace")
    }
}

impl Pace for LifePace {
    fn before(&self, work: Work) -> Wait {
        let mut chance = self.chance.lock().expect("no panic under it");
        let wait = match work {
            Work::Commit if chance.happens(self.slow) => chance.millis(200, 5_000),
            Work::Commit => chance.millis(1, 8),
            Work::Call => chance.millis(0, 3),
        };
        Box::pin(async move {
            if wait.is_zero() {
                tokio::task::yield_now().await;
            } else {
                sleep(wait).await;
            }
        })
    }
}
