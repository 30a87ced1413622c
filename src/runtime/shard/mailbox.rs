//! How requests reach a shard: two bounded queues, what runs already and what is new. A full queue says so at once; nobody
//! ever waits to get in.

use std::sync::Arc;

use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use crate::{
    engine::{
        answer_checks::AnswerChecks,
        command::{Command, LineageEntry, Reply},
        dead_letter::Redriven,
        event::TraceContext,
        family::{Birth, Parent},
        view::{EscalationView, SummaryView, TaskView},
    },
    runtime::{
        CommandError, OpenError, Overloaded, ReadError, SubmitError, Submitted,
        dispatch::{Ending, HeldUp, Slot},
        intake::Place,
    },
    store::StoreError,
    types::{
        contract::Contract,
        ids::{Lease, TaskId},
        time::{Span, Timestamp},
    },
};

use super::ticket::{Places, Ticket};

/// How long to wait when a queue is full: queues drain within a few commits.
pub(in crate::runtime) const QUEUE_RETRY: Span = Span::from_millis(200);

type Answer<T, E> = oneshot::Sender<Result<T, E>>;

/// A contract on its way in.
pub(in crate::runtime) struct Submission {
    pub(in crate::runtime) id: TaskId,
    /// Whether the id was made of a name (an idempotency key, or a child's), so that the task may be there already.
    pub(in crate::runtime) keyed: bool,
    pub(in crate::runtime) contract: Arc<Contract>,
    pub(in crate::runtime) fingerprint: u128,
    pub(in crate::runtime) trace: TraceContext,
    /// What it is a child of.
    pub(in crate::runtime) parent: Option<Box<Parent>>,
    pub(in crate::runtime) place: Place,
    pub(in crate::runtime) answer: Answer<Submitted, SubmitError>,
    /// Its place in the queue.
    pub(in crate::runtime) ticket: Option<Ticket>,
}

/// A redrive on its way to its dead letter.
pub(in crate::runtime) struct Redrive {
    pub(in crate::runtime) redriven: Redriven,
    /// The dead letter.
    pub(in crate::runtime) task: TaskId,
    pub(in crate::runtime) contract: Arc<Contract>,
    /// Of the successor's contract.
    pub(in crate::runtime) fingerprint: u128,
    pub(in crate::runtime) trace: TraceContext,
    pub(in crate::runtime) place: Place,
    pub(in crate::runtime) answer: Answer<Submitted, CommandError>,
}

/// A command on its way to a task.
pub(in crate::runtime) struct Asked {
    pub(in crate::runtime) task: TaskId,
    pub(in crate::runtime) command: Command,
    /// What an answer was checked against.
    pub(in crate::runtime) checked: Option<AnswerChecks>,
    /// When it came in: the hard kill is measured from here.
    pub(in crate::runtime) arrived: Timestamp,
    pub(in crate::runtime) answer: Answer<Answered, CommandError>,
}

/// What a command came to.
pub(in crate::runtime) enum Answered {
    /// It was decided, and that is durable.
    Decided(Box<Outcome>),
    /// Not decided yet: the answer must be checked against this first.
    Check(Box<AnswerChecks>),
}

/// What a decided command left.
pub(in crate::runtime) struct Outcome {
    pub(in crate::runtime) reply: Reply,
    /// After a cancel.
    pub(in crate::runtime) summary: Option<SummaryView>,
    pub(in crate::runtime) escalations: Vec<EscalationView>,
    /// After the submission of a child that is open.
    pub(in crate::runtime) birth: Option<Box<Birth>>,
}

/// What a shard is asked.
pub(in crate::runtime) enum Request {
    Submit(Box<Submission>),
    Redrive(Box<Redrive>),
    Command(Box<Asked>),
    View(TaskId, Answer<TaskView, ReadError>),
    Lineage(Lease, Answer<Vec<LineageEntry>, CommandError>),
    /// The runtime's own: nobody waits for it.
    End(Ending),
    /// The same.
    HoldUp(HeldUp),
    /// A worker is promised a turn of a task that is not in memory.
    Assign(Slot),
    /// Answered when all is known that the journal says of the task's leases.
    Recall(TaskId, Answer<(), OpenError>),
}

/// Why a request was given up without being served.
#[derive(Debug, Clone)]
pub(super) enum GivenUp {
    NotFound,
    Overloaded(Overloaded),
    Store(StoreError),
}

impl Request {
    pub(super) fn task(&self) -> TaskId {
        match self {
            Self::Submit(submission) => submission.id,
            Self::Redrive(redrive) => redrive.task,
            Self::Command(asked) => asked.task,
            Self::View(task, _) | Self::Recall(task, _) => *task,
            Self::Assign(slot) => slot.key.task,
            Self::Lineage(lease, _) => lease.task,
            Self::End(ending) => ending.lease.task,
            Self::HoldUp(held_up) => held_up.key.task,
        }
    }

    /// Whether it is a submission whose client has gone. Nobody was told anything, so nothing of it need ever be; a client that
    /// wants to know submits it again under its key.
    pub(super) fn is_given_up(&self) -> bool {
        matches!(self, Self::Submit(submission) if submission.answer.is_closed())
    }

    /// Answers that it was not served. Whoever asked may have gone; that is theirs to know.
    pub(super) fn give_up(self, why: GivenUp) {
        let task = self.task();
        match self {
            Self::Submit(submission) => {
                let error = match why {
                    // A submission makes what is not found.
                    GivenUp::NotFound => return,
                    GivenUp::Overloaded(overloaded) => overloaded.into(),
                    GivenUp::Store(error) => error.into(),
                };
                let _ = submission.answer.send(Err(error));
            }
            Self::Redrive(redrive) => drop(redrive.answer.send(Err(command_error(task, why)))),
            Self::Command(asked) => drop(asked.answer.send(Err(command_error(task, why)))),
            Self::Lineage(_, answer) => drop(answer.send(Err(command_error(task, why)))),
            Self::View(_, answer) => {
                let error = match why {
                    GivenUp::NotFound => ReadError::NotFound { task },
                    GivenUp::Overloaded(overloaded) => overloaded.into(),
                    GivenUp::Store(error) => error.into(),
                };
                let _ = answer.send(Err(error));
            }
            Self::Recall(_, answer) => {
                let found = match why {
                    // A lease of a task that never was holds nothing.
                    GivenUp::NotFound => Ok(()),
                    GivenUp::Overloaded(overloaded) => Err(overloaded.into()),
                    GivenUp::Store(error) => Err(error.into()),
                };
                let _ = answer.send(found);
            }
            Self::Assign(slot) => {
                tracing::error!(%task, turn = slot.key.turn, ?why, "a worker's place was not given back");
            }
            Self::End(ending) => {
                tracing::debug!(%task, turn = ending.lease.turn, ?why, "a lease could not be ended");
            }
            // The turn waits all the same; it will be told again, or its time will come.
            Self::HoldUp(held_up) => {
                tracing::debug!(%task, turn = held_up.key.turn, ?why, "a turn was not told")
            }
        }
    }
}

fn command_error(task: TaskId, why: GivenUp) -> CommandError {
    match why {
        GivenUp::NotFound => CommandError::NotFound { task },
        GivenUp::Overloaded(overloaded) => overloaded.into(),
        GivenUp::Store(error) => error.into(),
    }
}

/// The way into one shard.
pub(in crate::runtime) struct Mailbox {
    running: mpsc::Sender<Request>,
    intake: mpsc::UnboundedSender<Request>,
    places: Places,
}

/// The shard's end of it.
pub(in crate::runtime) struct Inlet {
    pub(super) running: mpsc::Receiver<Request>,
    /// Bounded by its places; what has none any more is thrown out by whoever reads it.
    pub(super) intake: mpsc::UnboundedReceiver<Request>,
    /// How many submissions wait at most that somebody waits for.
    pub(super) bound: usize,
}

/// Why a request did not get in.
pub(in crate::runtime) enum NotSent {
    Full(Overloaded),
    Closed,
}

/// A mailbox whose queues hold `bound` requests each.
pub(in crate::runtime) fn mailbox(bound: usize) -> (Mailbox, Inlet) {
    let (running, from_running) = mpsc::channel(bound);
    let (intake, from_intake) = mpsc::unbounded_channel();
    (
        Mailbox { running, intake, places: Places::new(bound) },
        Inlet { running: from_running, intake: from_intake, bound },
    )
}

impl Mailbox {
    /// Queues a request; a submission waits behind everything that runs, and as long as its ticket is kept.
    pub(in crate::runtime) fn send(&self, request: Request) -> Result<Option<Ticket>, NotSent> {
        let mut submission = match request {
            Request::Submit(submission) => submission,
            running => {
                return self.running.try_send(running).map(|()| None).map_err(|error| match error {
                    TrySendError::Full(_) => full(self.running.max_capacity()),
                    TrySendError::Closed(_) => NotSent::Closed,
                });
            }
        };
        let (queued, waiting) = self.places.take().ok_or_else(|| full(self.places.bound()))?;
        submission.ticket = Some(queued);
        self.intake.send(Request::Submit(submission)).map_err(|_| NotSent::Closed)?;
        Ok(Some(waiting))
    }
}

fn full(bound: usize) -> NotSent {
    let what = format!("the shard's queue is full ({bound} requests wait)");
    NotSent::Full(Overloaded::new(QUEUE_RETRY, what))
}

impl Inlet {
    /// Takes nothing new; what waits can still be had.
    pub(super) fn close(&mut self) {
        self.running.close();
        self.intake.close();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.intake.is_empty()
    }
}
