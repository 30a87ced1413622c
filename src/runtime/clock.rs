//! The only place that reads a clock. Time goes into the engine as an argument and never backwards.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
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

/// A clock that never goes backwards, shared by the whole runtime. While the computer's clock is behind (it was set back, or a
/// faster one wrote the journal) this one goes on at half the speed until the other has caught up: time that stood still
/// would end no lease and no deadline.
#[derive(Clone)]
pub(super) struct Now {
    clock: Arc<dyn Clock>,
    latest: Arc<AtomicU64>,
    behind: Arc<Mutex<Behind>>,
}

/// Where both clocks stood when one was last seen behind.
#[derive(Default)]
struct Behind {
    clock: u64,
    said: u64,
}

impl Now {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, latest: Arc::default(), behind: Arc::default() }
    }

    /// The time: never earlier than any this has said or been told of.
    pub(super) fn read(&self) -> Timestamp {
        self.both().1
    }

    /// What the computer's clock says, and the time.
    fn both(&self) -> (Timestamp, Timestamp) {
        let clock = self.clock.now();
        let latest = self.latest.fetch_max(clock.0, Ordering::Relaxed);
        (clock, if clock.0 >= latest { clock } else { self.slowly(clock.0) })
    }

    /// The time while the computer's clock is behind.
    fn slowly(&self, clock: u64) -> Timestamp {
        // Nothing under this lock panics half-way through a change.
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = self.latest.load(Ordering::Relaxed);
        // Time has moved on by itself since, or the clock was set back once more: it is counted from here.
        if behind.said != latest || clock < behind.clock {
            *behind = Behind { clock, said: latest };
            return Timestamp(latest);
        }
        let more = (clock - behind.clock) / 2;
        *behind = Behind { clock: behind.clock + 2 * more, said: latest + more };
        self.latest.fetch_max(behind.said, Ordering::Relaxed);
        Timestamp(behind.said)
    }

    pub(super) fn jumps_are_absences(&self) -> bool {
        self.clock.jumps_are_absences()
    }

    /// Waits until about this time; for ever without one.
    pub(super) async fn wait(&self, until: Option<Timestamp>) {
        match until {
            Some(until) => {
                let (clock, now) = self.both();
                self.clock.wait(clock.plus(until.since(now))).await;
            }
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
    fn time_never_goes_backwards_and_never_stands_still() {
        // Set back from 100 to 10, and once more from 20 to 15; at 300 it has caught up.
        let clock = vec![300, 130, 90, 15, 20, 15, 10, 100];
        let now = Now::new(Arc::new(Jumpy(Mutex::new(clock))));
        let read: Vec<u64> = (0..8).map(|_| now.read().0).collect();
        assert_eq!(read, [100, 100, 102, 105, 105, 142, 162, 300]);
        now.at_least(Timestamp(999));
        assert_eq!(now.read(), Timestamp(999));
    }
}
