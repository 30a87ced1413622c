//! Medians, spreads, and the fdatasync probe.

use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    time::Instant,
};

/// The least, the middle and the greatest of some figures.
pub(crate) struct Spread {
    least: f64,
    pub(crate) median: f64,
    greatest: f64,
}

impl Spread {
    pub(crate) fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self { least: sorted[0], median: percentile(&sorted, 0.5), greatest: sorted[sorted.len() - 1] }
    }

    pub(crate) fn show(&self, unit: &str, scale: f64) -> String {
        let digits = if self.median * scale >= 100.0 { 0 } else { 3 };
        format!(
            "median {:.digits$}{unit}  ({:.digits$} to {:.digits$})",
            self.median * scale,
            self.least * scale,
            self.greatest * scale
        )
    }
}

/// The figure below which `part` of the sorted figures lie.
pub(crate) fn percentile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len() - 1;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let index = (part * last as f64).round() as usize;
    sorted[index.min(last)]
}

pub(crate) fn ratio(figure: f64, limit: f64) -> String {
    format!("{:.2} L", figure / limit)
}

/// The median time of writing 4 KiB and making it durable, in seconds.
#[allow(clippy::disallowed_methods)] // A benchmark reads the clock.
pub(crate) fn fdatasync(folder: &Path, times: usize) -> f64 {
    let path = folder.join("probe");
    let mut file = File::create(&path).expect("the folder is writable");
    let block = [7_u8; 4096];
    let mut figures = Vec::with_capacity(times);
    for _ in 0..times {
        let start = Instant::now();
        file.seek(SeekFrom::Start(0)).expect("a file can be sought");
        file.write_all(&block).expect("4 KiB can be written");
        file.sync_data().expect("4 KiB can be synced");
        figures.push(start.elapsed().as_secs_f64());
    }
    figures.sort_by(f64::total_cmp);
    percentile(&figures, 0.5)
}
