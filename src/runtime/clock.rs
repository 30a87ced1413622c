//! The only place that reads a clock. Time goes into the engine as an argument and never backwards.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;

use crate::types::time::{Span, Timestamp};

/// A wall clock that can be waited for.
pub trait Clock: Send + Sync + 'static {
    /// The time, as the clock has it. May jump; the runtime smooths it.
    fn now(&self) -> Timestamp;
    /// Waits until about this time. May return early: whoever waits looks at the clock again.
    fn wait(&self, until: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Whether a great jump between two readings can only mean that this process stood still, or that its computer did, and
    /// not that somebody set the clock on purpose.
    fn jumps_are_absences(&self) -> bool {
        false
    }
}

/// The longest sleep between two looks at the wall clock: it may be set forward, or the computer may have slept.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// The computer's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    fn wait(&self, until: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let left = until.since(self.now()).as_duration();
        Box::pin(tokio::time::sleep(left.min(LONGEST_SLEEP)))
    }

    fn jumps_are_absences(&self) -> bool {
        true
    }
}

/// A clock that stands still until it is moved by hand: in a test nothing falls due by itself.
#[derive(Debug)]
pub struct ManualClock(watch::Sender<Timestamp>);

impl ManualClock {
    /// A clock that says `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(watch::channel(start).0)
    }

    /// Moves it forward, and wakes whoever waits for a time that has come.
    pub fn advance(&self, span: Span) {
        self.0.send_modify(|now| *now = now.plus(span));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn wait(&self, until: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut moved = self.0.subscribe();
        Box::pin(async move {
            // The sender lives as long as this borrow of it.
            let _ = moved.wait_for(|now| *now >= until).await;
        })
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

    pub(super) fn jumps_are_absences(&self) -> bool {
        self.clock.jumps_are_absences()
    }

    /// Waits until about this time; for ever without one.
    pub(super) async fn wait(&self, until: Option<Timestamp>) {
        match until {
            Some(until) => self.clock.wait(until).await,
            None => std::future::pending().await,
        }
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

        fn wait(&self, _: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(std::future::ready(()))
        }
    }

    #[tokio::test]
    async fn a_manual_clock_wakes_only_whose_time_has_come() {
        let clock = ManualClock::new(Timestamp(10));
        clock.wait(Timestamp(10)).await;
        let mut later = clock.wait(Timestamp(1_000_010));
        assert!(futures_ready(&mut later).is_none());
        clock.advance(Span::from_secs(1));
        assert!(futures_ready(&mut later).is_some());
    }

    /// Polls once.
    fn futures_ready(future: &mut Pin<Box<dyn Future<Output = ()> + Send + '_>>) -> Option<()> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(()) => Some(()),
            std::task::Poll::Pending => None,
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
