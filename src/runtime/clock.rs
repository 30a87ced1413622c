//! The only place that reads a clock. Time goes into the engine as an argument and never backwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use crate::types::time::{Span, Timestamp};

/// A wall clock.
pub trait Clock: Send + Sync + 'static {
    /// The time, as the clock has it. May jump; the runtime smooths it.
    fn now(&self) -> Timestamp;
}

/// The computer's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

/// A clock that follows tokio's: with paused time, a test drives both at once.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    base: Timestamp,
    start: tokio::time::Instant,
}

impl TokioClock {
    /// A clock that says `base` now. Call it inside a tokio runtime.
    pub fn starting_at(base: Timestamp) -> Self {
        Self { base, start: tokio::time::Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.base.plus(Span::from(self.start.elapsed()))
    }
}

/// A clock that never goes backwards, shared by the whole runtime.
#[derive(Clone)]
pub(super) struct Now {
    clock: Arc<dyn Clock>,
    latest: Arc<AtomicU64>,
}

impl Now {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, latest: Arc::new(AtomicU64::new(0)) }
    }

    /// The time: never earlier than any this has said or been told of.
    pub(super) fn read(&self) -> Timestamp {
        let now = self.clock.now();
        now.max(Timestamp(self.latest.fetch_max(now.0, Ordering::Relaxed)))
    }

    /// Makes sure that no later reading is before `time`: a journal may have been written by a faster clock.
    pub(super) fn at_least(&self, time: Timestamp) {
        self.latest.fetch_max(time.0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Jumpy(Mutex<Vec<u64>>);

    impl Clock for Jumpy {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.lock().expect("one thread").pop().unwrap_or(0))
        }
    }

    #[test]
    fn time_never_goes_backwards() {
        let now = Now::new(Arc::new(Jumpy(Mutex::new(vec![40, 20, 10, 30]))));
        let read: Vec<u64> = (0..4).map(|_| now.read().0).collect();
        assert_eq!(read, [30, 30, 30, 40]);
        now.at_least(Timestamp(99));
        assert_eq!(now.read(), Timestamp(99));
    }
}
