//! Batches on their way to the disk, and what follows from their fate.

use super::{
    Committed, Order, Shard,
    batch::{Batch, InFlight, Release},
};
use crate::{
    engine::{
        command::Assignment,
        event::{AttemptEnd, TraceContext},
    },
    runtime::{codec, dispatch::Ending, journal_health::TRY_EVERY, shard::hydrate::RELOAD_AFTER},
    store::{StoreError, writer::SubmitError},
    types::{ids::TaskId, trace_ids},
};

impl Shard {
    /// Sends the batch off, if there is anything in it.
    pub(super) fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let number = self.batch.number;
        let batch = std::mem::replace(&mut self.batch, Batch::new(number + 1));
        let residents = &self.residents;
        let (appends, in_flight) =
            batch.close(|id| residents.get(id).map(|resident| codec::task_row(&resident.task)));
        self.in_flight.push_back(in_flight);
        let fates = self.fates.clone();
        // A shard that has gone needs no answer.
        let on_done = Box::new(move |result| drop(fates.send(Committed { number, result })));
        if let Err(error) = self.shared.writer.submit(appends, on_done) {
            let (SubmitError::Full(_) | SubmitError::Stopped(_)) = &error;
            let result = Err(StoreError::Unavailable(error.to_string()));
            let _ = self.fates.send(Committed { number, result });
        }
    }

    /// A batch has met its fate.
    pub(super) fn resolve(&mut self, committed: Committed) {
        let Committed { number, result } = committed;
        let Some(index) = self.in_flight.iter().position(|batch| batch.number == number) else { return };
        let Some(batch) = self.in_flight.remove(index) else { return };
        self.resolved = self.resolved.max(number);
        match result {
            Ok(end) => {
                self.shared.health.works();
                self.durable(batch, end);
            }
            Err(error) => self.void(batch, &error),
        }
        if self.in_flight.is_empty() && !self.failed.is_empty() {
            self.drop_failed();
        }
    }

    fn durable(&mut self, batch: InFlight, end: u64) {
        let InFlight { number, tasks, questions, releases, regardless: _ } = batch;
        for release in releases {
            self.release(release, None);
        }
        for (task, seq) in tasks {
            self.shared.watchers.ring(task, seq);
            if self.residents.get(task).is_some_and(|resident| resident.batch <= number) {
                self.residents.ended(task, number);
            }
        }
        self.shared.questions.tell(&questions);
        self.shared.log_end.send_if_modified(|known| {
            let grew = end > *known;
            *known = end.max(*known);
            grew
        });
    }

    /// Nothing of this batch ever happened. Its tasks are dropped once all that builds on them has failed too.
    fn void(&mut self, batch: InFlight, error: &StoreError) {
        let InFlight { number: _, tasks, questions: _, releases, regardless } = batch;
        // Said once: while the journal takes nothing, every try would say it again.
        if self.shared.health.failed(error, self.shared.now.read()) {
            tracing::error!(%error, "the journal takes nothing: nothing new is accepted until it does");
        }
        tracing::warn!(%error, tasks = tasks.len(), "a commit failed: its tasks are rebuilt from the journal");
        for release in releases {
            if let Release::Deliver(work) = &release {
                // Should the journal have it after all, nobody has the work: its worker would keep it alive for ever.
                self.hydration.follow_up(undelivered(work));
            }
            self.release(release, Some(error));
        }
        self.failed.extend(tasks.iter().map(|(task, _)| *task));
        for ending in regardless {
            self.hydration.follow_up(ending);
        }
    }

    /// The journal fails, or works again: then what was kept back is assigned.
    pub(super) fn journal_changed(&mut self) {
        if self.shared.health.failing().is_none() {
            self.orders.extend(self.kept_slots.drain(..).map(Order::Assign));
        }
    }

    fn drop_failed(&mut self) {
        let now = self.shared.now.read();
        // What is due would only fail again before the journal is tried again.
        let again_in = self.shared.health.failing().map_or(RELOAD_AFTER, |_| TRY_EVERY);
        for task in std::mem::take(&mut self.failed) {
            self.residents.remove(task);
            self.shared.dispatch.withdraw_task(task);
            self.hydration.lose(task, again_in, now);
        }
    }

    /// Says or does what was held back; with an error, says that instead.
    pub(super) fn release(&self, release: Release, failed: Option<&StoreError>) {
        match (release, failed) {
            (Release::Answer(answer), failed) => answer(failed.cloned()),
            (Release::Deliver(assignment), None) => {
                self.shared.dispatch.deliver(traced(assignment), self.shared.now.read());
            }
            (Release::Errand(errand), None) => self.shared.errands.send(errand),
            // It never happened: the task, rebuilt, knows what it owes.
            (Release::Errand(_), Some(_)) => {}
            (Release::Deliver(assignment), Some(_)) => {
                self.shared.dispatch.unlease(&assignment.lease, self.shared.now.read());
            }
        }
    }
}

fn undelivered(work: &Assignment) -> Ending {
    let reason = "the commit that leased it was reported as failed, and its work was not sent".to_owned();
    Ending { lease: work.lease, end: AttemptEnd::Undelivered, reason }
}

/// Work under the trace of its own attempt, where the engine put the submitter's.
fn traced(mut assignment: Box<Assignment>) -> Box<Assignment> {
    let context = TraceContext {
        traceparent: assignment.traceparent.take(),
        tracestate: assignment.tracestate.clone(),
    };
    let task: TaskId = assignment.lease.task;
    let (turn, attempt) = (assignment.lease.turn, assignment.lease.attempt);
    assignment.traceparent = Some(trace_ids::attempt_traceparent(task, &context, turn, attempt));
    assignment
}
