//! What the crew does to the world outside, as lines in a file for each life of a worker: the keys of side effects, and how
//! long it took to be stopped. A line is one write, so that a process that is killed leaves whole lines behind.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bailiwick_worker::{Context, pb};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::chaos::score::{self, Effect};

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Effect { key: String, task: String, turn: i32 },
    Brake { to_cancel: u64, to_fence: Option<u64> },
}

/// The file of one life of a worker.
pub(crate) struct OuterWorld(Mutex<File>);

impl OuterWorld {
    /// Opens the file of this life in the folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn open(folder: &Path, worker: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = folder.join(format!("{worker}.jsonl"));
        OpenOptions::new().create(true).append(true).open(file).map(|file| Self(Mutex::new(file)))
    }

    fn write(&self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes())
    }

    /// A side effect takes place under a key.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub(crate) fn effect(&self, key: &str, task: &str, turn: i32) -> io::Result<()> {
        self.write(&Line::Effect { key: key.to_owned(), task: task.to_owned(), turn })
    }
}

/// What all lives of all workers did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Side effects.
    pub(crate) effects: Vec<Effect>,
    /// Brakes.
    pub(crate) brakes: Vec<score::Brake>,
}

/// Reads what stands in the folder. A last line that is not whole is not counted: its write never returned.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read_folder(folder: &Path) -> io::Result<Seen> {
    let mut seen = Seen::default();
    for entry in fs::read_dir(folder)? {
        let text = fs::read_to_string(entry?.path())?;
        for line in text.lines() {
            match serde_json::from_str(line) {
                Ok(Line::Effect { key, task, turn }) => seen.effects.push(Effect { key, task, turn }),
                Ok(Line::Brake { to_cancel, to_fence }) => {
                    seen.brakes.push(score::Brake { to_cancel, to_fence })
                }
                Err(_) => {}
            }
        }
    }
    seen.effects.sort_unstable();
    Ok(seen)
}

/// The allowance's line of one attempt: dropped with the handler, which is how a cancel reaches it.
pub(super) struct Brake {
    context: Context,
    world: Arc<OuterWorld>,
    crossed: Option<Instant>,
}

impl Brake {
    pub(super) fn new(context: &Context, world: &Arc<OuterWorld>) -> Self {
        Self { context: context.clone(), world: Arc::clone(world), crossed: None }
    }

    /// The line is crossed by the report that follows. Only the first time counts.
    pub(super) fn crossed(&mut self, at: Instant) {
        self.crossed.get_or_insert(at);
    }

    /// Nobody stopped it: there is nothing to measure.
    pub(super) fn forget(&mut self) {
        self.crossed = None;
    }
}

impl Drop for Brake {
    fn drop(&mut self) {
        let Some(crossed) = self.crossed else { return };
        let cancelled = Instant::now();
        let to_cancel = micros(cancelled - crossed);
        let (context, world) = (self.context.clone(), Arc::clone(&self.world));
        // Tries the fence: an answer under the lease that has just been cancelled.
        tokio::spawn(async move {
            let to_fence = is_refused(&context).await.then(|| micros(cancelled.elapsed()));
            // A line that cannot be written is one measure less.
            let _ = world.write(&Line::Brake { to_cancel, to_fence });
        });
    }
}

/// Whether an answer under the lease is refused because the lease is over. Should it be taken, the journal shows whether
/// that was right: a worker stops by itself, too, when it has not heard of the server for the lease time.
async fn is_refused(context: &Context) -> bool {
    let Some(channel) = context.channel() else { return false };
    let envelope = pb::StatusEnvelope {
        status: pb::Status::Failed.into(),
        reason: "too late".to_owned(),
        usage: Some(context.used()),
        ..pb::StatusEnvelope::default()
    };
    let lease = context.assignment().lease.clone();
    let complete = pb::Complete { lease, answer: Some(pb::complete::Answer::Envelope(envelope)) };
    let request = pb::CompleteTurnRequest { complete: Some(complete) };
    let answer = pb::worker_service_client::WorkerServiceClient::new(channel).complete_turn(request).await;
    answer.is_err_and(|status| status.code() == tonic::Code::FailedPrecondition)
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
