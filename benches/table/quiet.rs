//! Whether the machine was quiet: what everybody else used of the processors, in a short probe before and after a run and
//! during the run itself. Steal counts as somebody else.

use std::{fs, process, thread, time::Duration};

/// How long a probe looks.
const PROBE: Duration = Duration::from_millis(100);
/// What others may use of one processor in a probe: the clock of these counts has ten ticks in it.
const MOST_BESIDE: f64 = 0.25;
/// What others may use of all processors while a run goes on.
const MOST_DURING: f64 = 0.08;

/// Processor time, in ticks.
#[derive(Debug, Clone, Copy)]
struct Ticks {
    all: u64,
    busy: u64,
    ours: u64,
}

/// A look at the machine that has begun.
pub(crate) struct Watch {
    before: f64,
    start: Ticks,
    server: u32,
}

/// What a look found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    before: f64,
    during: f64,
    after: f64,
}

impl Watch {
    /// Probes, and begins to watch. `server` is the process of the server: what it uses is the run's own.
    pub(crate) fn begin(server: u32) -> Self {
        let before = probe(server);
        Self { before, start: ticks(server), server }
    }

    pub(crate) fn end(self) -> Seen {
        let during = others(self.start, ticks(self.server), 1.0);
        Seen { before: self.before, during, after: probe(self.server) }
    }
}

impl Seen {
    pub(crate) fn is_quiet(self) -> bool {
        self.before <= MOST_BESIDE && self.after <= MOST_BESIDE && self.during <= MOST_DURING
    }
}

/// What others use of one processor just now.
fn probe(server: u32) -> f64 {
    let start = ticks(server);
    thread::sleep(PROBE);
    others(start, ticks(server), f64::from(processors()))
}

fn processors() -> u32 {
    thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1))
}

fn others(start: Ticks, end: Ticks, scale: f64) -> f64 {
    let all = end.all.saturating_sub(start.all).max(1);
    let busy = end.busy.saturating_sub(start.busy);
    let ours = end.ours.saturating_sub(start.ours);
    crate::stats::float(busy.saturating_sub(ours)) / crate::stats::float(all) * scale
}

/// Not to be had (another system than Linux): all zero, and every run counts.
fn ticks(server: u32) -> Ticks {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    // user nice system idle iowait irq softirq steal; guest time is in user already.
    let figures: Vec<u64> = first.split_whitespace().skip(1).take(8).filter_map(|f| f.parse().ok()).collect();
    let all: u64 = figures.iter().sum();
    let idle = figures.get(3).copied().unwrap_or(0) + figures.get(4).copied().unwrap_or(0);
    Ticks { all, busy: all - idle, ours: of_process(process::id()) + of_process(server) }
}

/// User and system time of a process, threads that have ended included, in ticks.
pub(crate) fn of_process(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold anything; the fields begin behind its bracket, the third of all first.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}
