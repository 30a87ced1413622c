//! Medians, spreads, and the fdatasync that L is made of.

use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    sync::LazyLock,
    time::{Duration, Instant},
};

/// Now. A benchmark reads the clock.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds since the process began: fits into an atomic.
pub(crate) fn nanos() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(now);
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// The seconds in so many nanoseconds.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// A count as a figure.
#[allow(clippy::cast_precision_loss)]
pub(crate) const fn float(count: u64) -> f64 {
    count as f64
}

/// How often something happened in a second.
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    float(count) / time.as_secs_f64().max(1e-9)
}

/// The least, the middle and the greatest of some figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) greatest: f64,
}

impl Spread {
    /// Of no figures there is none.
    pub(crate) fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, greatest) = (*sorted.first()?, *sorted.last()?);
        Some(Self { least, median: percentile(&sorted, 0.5), greatest })
    }
}

/// The figure below which `part` of the sorted figures lie; 0 of none.
pub(crate) fn percentile(sorted: &[f64], part: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let index = (part * last as f64).round() as usize;
    sorted[index.min(last)]
}

/// The median time of writing 4 KiB and making it durable, in seconds.
pub(crate) fn fdatasync(folder: &Path, times: usize) -> f64 {
    let path = folder.join("probe");
    let mut file = File::create(&path).expect("the folder is writable");
    let block = [7_u8; 4096];
    let mut figures = Vec::with_capacity(times);
    for _ in 0..times {
        let start = now();
        file.seek(SeekFrom::Start(0)).expect("a file can be sought");
        file.write_all(&block).expect("4 KiB can be written");
        file.sync_data().expect("4 KiB can be synced");
        figures.push(start.elapsed().as_secs_f64());
    }
    figures.sort_by(f64::total_cmp);
    percentile(&figures, 0.5)
}
