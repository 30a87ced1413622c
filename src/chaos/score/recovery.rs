//! Whether everything that was taken away came back, and how long it took until work went on.

use super::{How, Judged, Observed};

#[derive(Default)]
pub(super) struct Recoveries {
    /// From a kill to the first assignment, in microseconds.
    pub(super) killed: Vec<u64>,
    /// From the end of a freeze to the first assignment, in microseconds.
    pub(super) thawed: Vec<u64>,
    /// What did not recover.
    pub(super) failed: Vec<String>,
}

/// From every kill of the server, and from the end of every freeze, to the first assignment after it, by the journal's clock.
/// An outage while nothing was open has nothing to recover; where another one follows first, the time runs on.
pub(super) fn recoveries(seen: &Observed) -> Recoveries {
    let mut starts: Vec<u64> = seen.tasks.iter().flat_map(|task| task.started.iter().copied()).collect();
    starts.sort_unstable();
    let mut found = Recoveries::default();
    for outage in &seen.outages {
        let did = match outage.how {
            How::Killed => "killed",
            How::Frozen => "frozen",
        };
        let (None, Some(back)) = (&outage.worker, outage.back) else {
            let who = outage.worker.as_deref().unwrap_or("the server");
            let lost = outage.back.is_none().then(|| format!("{who} was {did} and did not come back"));
            found.failed.extend(lost);
            continue;
        };
        // How long a freeze lasts is the run's choice, not the server's.
        let (from, times) = match outage.how {
            How::Killed => (outage.at, &mut found.killed),
            How::Frozen => (back, &mut found.thawed),
        };
        let is_open = |task: &Judged| task.life.0 <= from && task.life.1.is_none_or(|end| end > from);
        match starts.get(starts.partition_point(|at| *at <= from)) {
            Some(at) => times.push(at - from),
            // What was under way needed no further assignment, or nothing was.
            None if seen.tasks.iter().filter(|task| is_open(task)).all(|task| task.life.1.is_some()) => {}
            None => found.failed.push(format!(
                "tasks were open when the server was {did}, and nothing was assigned after it"
            )),
        }
    }
    found
}
