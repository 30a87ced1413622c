//! The courier: has parents and children hear of each other, across shards. What it carries was decided and is durable where
//! it comes from; where it goes to it changes nothing the second time. So it tries again until it is heard, and what it
//! could not deliver before a stop is owed again after the next start (`Task::outstanding`).
//!
//! Errands about one child are run one after another, in the order in which they came: a cancel never overtakes the start
//! that it is to undo. Never here: a decision.

use std::collections::{HashMap, VecDeque};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    CommandError, Runtime, SubmitError,
    shard::{Request, Submission},
};
use crate::{
    engine::{
        command::Command,
        event::TraceContext,
        family::{Birth, ChildReport, Used},
    },
    types::{ids::TaskId, time::Span},
};

/// How long to wait before the next try.
const AGAIN: Span = Span::from_millis(200);

/// Something one task has to tell another.
#[derive(Debug)]
pub(super) enum Errand {
    /// Make the child, if it is not there; then say so.
    Start(Box<Birth>, Option<oneshot::Sender<Result<(), CommandError>>>),
    /// Cancel the child for its parent.
    Cancel { parent: TaskId, number: u32, child: TaskId, reason: String },
    /// Tell the parent what a child used.
    Tell { parent: TaskId, report: Box<ChildReport> },
}

impl Errand {
    pub(super) fn start(birth: Birth, made: Option<oneshot::Sender<Result<(), CommandError>>>) -> Self {
        Self::Start(Box::new(birth), made)
    }

    fn child(&self) -> TaskId {
        match self {
            Self::Start(birth, _) => birth.child,
            Self::Cancel { child, .. } => *child,
            Self::Tell { report, .. } => report.child,
        }
    }
}

/// The way to the courier. Cheap to clone. Not bounded by itself: every errand belongs to a child, and children are bounded
/// by the contracts and places of their parents.
#[derive(Clone, Debug)]
pub(super) struct Errands(mpsc::UnboundedSender<Errand>);

impl Errands {
    /// The way to a courier that is yet to run.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Errand>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Sends one off. After a stop it goes nowhere: it is owed again after the next start.
    pub(super) fn send(&self, errand: Errand) {
        drop(self.0.send(errand));
    }
}

/// Runs until it is told to stop. It leaves no tasks.
pub(super) async fn carry(
    runtime: Runtime,
    mut errands: mpsc::UnboundedReceiver<Errand>,
    stop: CancellationToken,
) -> usize {
    let mut running = JoinSet::new();
    let mut waiting: HashMap<TaskId, VecDeque<Errand>> = HashMap::new();
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return 0,
            Some(errand) = errands.recv() => {
                let child = errand.child();
                if let Some(queue) = waiting.get_mut(&child) {
                    queue.push_back(errand);
                    continue;
                }
                waiting.insert(child, VecDeque::new());
                Some(errand)
            }
            Some(done) = running.join_next() => {
                let Ok(child) = done else { return 0 };
                let next = waiting.get_mut(&child).and_then(VecDeque::pop_front);
                if next.is_none() {
                    waiting.remove(&child);
                }
                next
            }
        };
        if let Some(errand) = next {
            running.spawn(run(runtime.clone(), errand));
        }
    }
}

/// Runs one errand until it is done. Returns whose it was.
async fn run(runtime: Runtime, errand: Errand) -> TaskId {
    let child = errand.child();
    match errand {
        Errand::Start(birth, made) => start(&runtime, *birth, made).await,
        Errand::Cancel { parent, number, child, reason } => {
            let cancelled = put(&runtime, child, || Command::Cancel { reason: reason.clone() }).await;
            if matches!(cancelled, Err(CommandError::NotFound { .. })) {
                let report = ChildReport { number, child, state: None, used: Used::default() };
                tell(&runtime, parent, &report).await;
            }
        }
        Errand::Tell { parent, report } => tell(&runtime, parent, &report).await,
    }
    child
}

async fn start(runtime: &Runtime, birth: Birth, made: Option<oneshot::Sender<Result<(), CommandError>>>) {
    let Birth { child, contract, fingerprint, parent } = birth;
    let inner = &runtime.0;
    let result = loop {
        let place = inner.intake.take(&contract.namespace);
        let (contract, parent) = (contract.clone(), Some(Box::new(parent.clone())));
        let trace = TraceContext::default();
        let asked = runtime.ask(child, Err(SubmitError::ShuttingDown), |answer| {
            let keyed = true;
            let id = child;
            let submission =
                Submission { id, keyed, contract, fingerprint, trace, parent, place, answer, ticket: None };
            Request::Submit(Box::new(submission))
        });
        match asked.await {
            Ok(_) => break Ok(()),
            Err(
                SubmitError::Overloaded(_)
                | SubmitError::NamespaceFull { .. }
                | SubmitError::JournalFailing(_)
                | SubmitError::Store(_),
            ) => {}
            Err(SubmitError::ShuttingDown) => break Err(CommandError::ShuttingDown),
            // A child that its parent has accepted is made, and waits.
            Err(SubmitError::Halted(halt)) => break Err(CommandError::Halted(halt)),
            Err(SubmitError::KeyTaken { task, .. }) => {
                // The id is made of the contract or of its key under one attempt, and the parent has compared them.
                tracing::error!(%task, "a child's id names another contract");
                break Err(CommandError::NotFound { task });
            }
        }
        inner.now.wait(Some(inner.now.read().plus(AGAIN))).await;
    };
    if let Some(made) = made {
        drop(made.send(result));
    }
}

async fn tell(runtime: &Runtime, parent: TaskId, report: &ChildReport) {
    let heard = put(runtime, parent, || Command::HearChild(Box::new(report.clone()))).await;
    if let Err(error) = heard {
        tracing::debug!(%parent, child = %report.child, %error, "a parent was not told");
    }
}

/// Puts a command to a task until it is decided, or cannot be.
async fn put(runtime: &Runtime, task: TaskId, command: impl Fn() -> Command) -> Result<(), CommandError> {
    loop {
        match runtime.decide(task, command()).await {
            Ok(_) => return Ok(()),
            Err(CommandError::Overloaded(_) | CommandError::Store(_)) => {}
            Err(
                error @ (CommandError::NotFound { .. }
                | CommandError::Rejected(_)
                | CommandError::Halted(_)
                | CommandError::ShuttingDown),
            ) => {
                return Err(error);
            }
        }
        let now = &runtime.0.now;
        now.wait(Some(now.read().plus(AGAIN))).await;
    }
}
