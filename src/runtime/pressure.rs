//! Whether this process has more to do than it can: how late its async threads come to what is due. Never here: what follows
//! from that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(10);
/// How late is too late, on the average of the last few looks: a shard's round and a commit take less where there is room.
const LATE: Duration = Duration::from_millis(4);
/// One look counts for a quarter of the average.
const WEIGHT: u64 = 4;

/// The pressure on this process. Cheap to clone; all clones are the same one. Without anybody who measures it there is none.
#[derive(Debug, Clone, Default)]
pub(super) struct Pressure(Arc<AtomicU64>);

impl Pressure {
    /// Whether there is more to do than can be done.
    pub(super) fn is_high(&self) -> bool {
        Duration::from_micros(self.0.load(Ordering::Relaxed)) >= LATE
    }

    fn look(&self, late: Duration) {
        let late = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        let average = self.0.load(Ordering::Relaxed);
        self.0.store((average * (WEIGHT - 1) + late.min(1_000_000)) / WEIGHT, Ordering::Relaxed);
    }

    /// Measures until it is told to stop. It leaves no tasks.
    pub(super) async fn measure(self, stop: CancellationToken) -> usize {
        loop {
            let start = Instant::now();
            tokio::select! {
                biased;
                () = stop.cancelled() => return 0,
                () = sleep(EVERY) => self.look(start.elapsed().saturating_sub(EVERY)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_high_when_looks_are_late_for_a_while_and_falls_again() {
        let pressure = Pressure::default();
        assert!(!pressure.is_high());
        pressure.look(LATE * 2);
        assert!(!pressure.is_high(), "once is a hiccup");
        (0..3).for_each(|_| pressure.look(LATE * 2));
        assert!(pressure.is_high());
        (0..3).for_each(|_| pressure.look(Duration::ZERO));
        assert!(!pressure.is_high());
    }
}
