//! What runs behind a runtime: every task named and joined, and one way to end them all.

use std::{collections::HashMap, thread, time::Duration};

use tokio::{
    task::{Id, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::Runtime;
use crate::store::writer::WriterHandle;

/// What runs behind a runtime. Whoever started it must shut it down.
pub struct RuntimeTasks {
    runtime: Runtime,
    /// Each ends with the number of open tasks it leaves.
    running: JoinSet<usize>,
    names: HashMap<Id, String>,
    stop: CancellationToken,
    writer: WriterHandle,
    journal: Journal,
}

/// What makes things durable.
pub(super) enum Journal {
    Thread(thread::JoinHandle<()>),
    /// One task, which ends with this.
    Task(JoinSet<()>),
}

/// How a shutdown went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Whether everything accepted was finished and committed within the grace.
    pub clean: bool,
    /// What had to be stopped by force, or had failed, by name.
    pub aborted: Vec<String>,
    /// Open tasks that wait for the next start; without those of what was stopped by force.
    pub open_tasks: usize,
}

impl RuntimeTasks {
    pub(super) fn new(
        runtime: Runtime,
        stop: CancellationToken,
        writer: WriterHandle,
        journal: Journal,
    ) -> Self {
        Self { runtime, running: JoinSet::new(), names: HashMap::new(), stop, writer, journal }
    }

    pub(super) fn spawn(&mut self, name: String, task: impl Future<Output = usize> + Send + 'static) {
        let handle = self.running.spawn(task);
        self.names.insert(handle.id(), name);
    }

    /// Waits until one of the tasks ends that never should, and says which. Then the server cannot keep its promises: whoever
    /// hears of it should shut down.
    pub async fn failed(&mut self) -> String {
        let (id, how) = match self.running.join_next_with_id().await {
            Some(Ok((id, _))) => (id, "has ended".to_owned()),
            Some(Err(error)) => (error.id(), error.to_string()),
            None => return "nothing runs any more".to_owned(),
        };
        format!("{}: {how}", self.names.remove(&id).unwrap_or_default())
    }

    /// Takes nothing new, finishes what has been accepted, ends every session and every watch, and stops the journal. `grace`
    /// is the hard limit for all of it.
    pub async fn shutdown(mut self, grace: Duration) -> ShutdownReport {
        let limit = Instant::now() + grace;
        self.runtime.begin_shutdown();
        self.stop.cancel();
        let mut open_tasks = 0;
        let finished = timeout_at(limit, async {
            while let Some(ended) = self.running.join_next_with_id().await {
                if let Ok((id, left)) = ended {
                    self.names.remove(&id);
                    open_tasks += left;
                }
            }
        })
        .await;
        self.running.abort_all();
        self.runtime.end_streams();
        self.writer.stop();
        let hands = self.runtime.0.hands.clone();
        let joined = timeout_at(limit, async {
            match self.journal {
                Journal::Thread(thread) => matches!(hands.run(move || thread.join().is_ok()).await, Ok(true)),
                Journal::Task(mut task) => matches!(task.join_next().await, Some(Ok(()))),
            }
        });
        let joined = joined.await;
        let mut aborted: Vec<String> = self.names.into_values().collect();
        if !matches!(joined, Ok(true)) {
            aborted.push("journal".to_owned());
        }
        aborted.sort();
        ShutdownReport { clean: finished.is_ok() && aborted.is_empty(), aborted, open_tasks }
    }
}
