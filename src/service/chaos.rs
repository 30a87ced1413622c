//! The session's edge under a chaos run: what passes between the server and its workers is delayed, lost, delivered twice or
//! cut off, at the run's rates, on tasks that carry the run's labels and on no other. A run is a lease: it lapses by itself
//! unless it is renewed. Kept in memory alone, so that no server starts with one on.
//!
//! Off, it costs a look at one flag a message. Never here: a change to a task. What is done here can happen on any network.

mod fate;
mod rpc;
mod way_down;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::time::{Instant, sleep};

use self::fate::Fate;
pub(crate) use self::{
    fate::{Faults, Way},
    rpc::{RunView, StartChaos},
    way_down::{Arrived, WayDown},
};
use super::{
    status::Fault,
    work::{Call, Reply},
};
use crate::{
    runtime::{Down, Runtime},
    types::{
        dice::Dice,
        ids::{Lease, TaskId},
        outcome::Cause,
        time::{Span, Timestamp},
    },
};

/// Tasks whose labels are remembered, and leases that are watched for brakes. Beyond it, what is known is forgotten and
/// looked up afresh.
const REMEMBERED: usize = 50_000;
/// Brakes that are kept for whoever renews the run.
const MAX_BRAKES: usize = 10_000;

/// The edge of every session. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Edge(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Whether a run may be on. The run itself knows better.
    on: AtomicBool,
    forbidden: bool,
    run: Mutex<Option<Run>>,
}

/// One stop of an attempt that spent too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Brake {
    /// From the report to the cancel on its way.
    pub(crate) to_cancel: Span,
    /// From the cancel to the end of the lease on disk.
    pub(crate) to_fence: Span,
}

/// What a run has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    pub(crate) delayed: u64,
    pub(crate) dropped: u64,
    pub(crate) duplicated: u64,
    pub(crate) leases_lost: u64,
    pub(crate) sessions_killed: u64,
}

/// A run.
#[derive(Debug)]
struct Run {
    id: String,
    started_by: String,
    started_at: Timestamp,
    lapses_at: Timestamp,
    lapses: Instant,
    labels: BTreeMap<String, String>,
    faults: Faults,
    dice: Dice,
    tally: Tally,
    brakes: Vec<Brake>,
    /// Tasks by whether they carry the labels.
    tasks: BTreeMap<TaskId, bool>,
    marks: BTreeMap<Lease, Mark>,
}

/// What is known of the end of a lease that spent too much.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    /// When the first report that left nothing to spend was heard, and when it was on disk.
    crossed: Option<(Instant, Instant)>,
    /// When its cancel was on its way.
    cancelled: Option<Instant>,
}

/// What comes of something the runtime says to a worker.
pub(crate) enum Heard {
    /// It is sent, so many times.
    Sent(usize),
    /// The session ends.
    Cut,
}

impl Edge {
    /// The edge of a server.
    pub(crate) fn new(forbidden: bool) -> Self {
        Self(Arc::new(Inner { forbidden, ..Inner::default() }))
    }

    /// Whether a run may be on.
    pub(crate) fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    fn run(&self) -> MutexGuard<'_, Option<Run>> {
        self.0.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run, unless it is over.
    fn live(&self) -> Live<'_> {
        let mut run = self.run();
        if run.as_ref().is_some_and(|run| run.lapses <= Instant::now()) {
            if let Some(run) = run.take() {
                tracing::warn!(
                    run = run.id,
                    by = run.started_by,
                    "the chaos run has lapsed: nobody renewed it"
                );
            }
            self.0.on.store(false, Ordering::Relaxed);
        }
        Live(run)
    }

    /// Carries out what was said under a lease, with whatever happens to it on its way. `None`: nothing is to be told, for it
    /// or its answer is lost, and the session with it.
    pub(crate) async fn up(&self, runtime: &Runtime, call: Call) -> Option<Result<Reply, Fault>> {
        let lease = call.lease;
        let fate = self.fate(runtime, lease.task, false).await;
        self.hold_up(fate).await;
        match fate.way {
            Way::Lost | Way::Cut => return None,
            Way::Through | Way::Twice | Way::AnswerLost => {}
        }
        let heard = Instant::now();
        let again = (fate.way == Way::Twice).then(|| call.clone());
        let told = call.run(runtime).await;
        // Nothing is allowed any more: this report, or one before it, has ended the lease.
        if matches!(told, Ok(Reply::Usage(0))) {
            self.mark(lease, |mark| {
                mark.crossed.get_or_insert_with(|| (heard, Instant::now()));
            });
        }
        if let Some(call) = again {
            // What the second one comes to is for nobody: it arrived, and is told apart by nothing.
            let _ = call.run(runtime).await;
        }
        (fate.way != Way::AnswerLost).then_some(told)
    }

    /// Passes on what the runtime says to a worker, with whatever happens to it on its way.
    pub(crate) async fn down(&self, runtime: &Runtime, down: &Down) -> Heard {
        let (lease, is_assignment) = match down {
            Down::Assignment(assignment) => (assignment.lease, true),
            Down::Cancel { lease, .. } => (*lease, false),
            Down::Drain => return Heard::Sent(1),
        };
        let told = Instant::now();
        let fate = self.fate(runtime, lease.task, is_assignment).await;
        self.hold_up(fate).await;
        if let Some(after) = fate.lease_lost_after {
            let runtime = runtime.clone();
            tokio::spawn(async move {
                sleep(after.as_duration()).await;
                runtime.lose_lease(lease, "its lease was ended by a chaos run".to_owned());
            });
        }
        if let Down::Cancel { cause: Some(Cause::Budget), .. } = down {
            // How long it was held up here is the run's doing, not the server's.
            self.mark(lease, |mark| mark.cancelled = Some(told));
        }
        match fate.way {
            Way::Lost | Way::AnswerLost | Way::Cut => Heard::Cut,
            Way::Twice => Heard::Sent(2),
            Way::Through => Heard::Sent(1),
        }
    }

    async fn hold_up(&self, fate: Fate) {
        if let Some(delay) = fate.delay {
            sleep(delay.as_duration()).await;
        }
    }

    /// What becomes of a message of this task.
    async fn fate(&self, runtime: &Runtime, task: TaskId, is_assignment: bool) -> Fate {
        let known = match self.live().0.as_ref() {
            None => return Fate::ORDINARY,
            Some(run) => run.tasks.get(&task).copied(),
        };
        let labelled = match known {
            Some(labelled) => labelled,
            None => self.look_up(runtime, task).await,
        };
        if !labelled {
            return Fate::ORDINARY;
        }
        let mut run = self.live();
        run.0.as_mut().map_or(Fate::ORDINARY, |run| run.draw(is_assignment))
    }

    /// Whether a task carries the run's labels. One that cannot be read does not.
    async fn look_up(&self, runtime: &Runtime, task: TaskId) -> bool {
        let Ok(view) = runtime.get(task).await else { return false };
        let mut run = self.live();
        let Some(run) = run.0.as_mut() else { return false };
        let labels = &view.contract.labels;
        let labelled = run.labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        if run.tasks.len() >= REMEMBERED {
            run.tasks.clear();
        }
        run.tasks.insert(task, labelled);
        labelled
    }

    /// Notes something about a lease of a labelled task.
    fn mark(&self, lease: Lease, change: impl FnOnce(&mut Mark)) {
        let mut run = self.live();
        let Some(run) = run.0.as_mut().filter(|run| run.tasks.get(&lease.task) == Some(&true)) else {
            return;
        };
        if run.marks.len() >= REMEMBERED {
            run.marks.clear();
        }
        let mark = run.marks.entry(lease).or_default();
        change(mark);
        let Mark { crossed: Some((heard, durable)), cancelled: Some(cancelled) } = *mark else { return };
        run.marks.remove(&lease);
        // One that was heard after the cancel did not cause it: another attempt of the task did.
        if heard <= cancelled && run.brakes.len() < MAX_BRAKES {
            let span = |from: Instant, to: Instant| Span::from(to.saturating_duration_since(from));
            run.brakes.push(Brake { to_cancel: span(heard, cancelled), to_fence: span(cancelled, durable) });
        }
    }
}

struct Live<'e>(MutexGuard<'e, Option<Run>>);

impl Run {
    fn draw(&mut self, is_assignment: bool) -> Fate {
        let fate = self.faults.draw(&mut self.dice, is_assignment);
        let tally = &mut self.tally;
        let count = |what: &mut u64, happened: bool| *what += u64::from(happened);
        tally.messages += 1;
        count(&mut tally.delayed, fate.delay.is_some());
        count(&mut tally.dropped, matches!(fate.way, Way::Lost | Way::AnswerLost));
        count(&mut tally.duplicated, fate.way == Way::Twice);
        count(&mut tally.leases_lost, fate.lease_lost_after.is_some());
        count(&mut tally.sessions_killed, fate.way == Way::Cut);
        fate
    }
}

#[cfg(test)]
mod tests;
