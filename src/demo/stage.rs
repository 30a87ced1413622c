//! What the audit leaves for the scenes: the material, the address, the summary; and the wait for workers to come up.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use tokio::time::Instant;

use super::{files::Listing, processes::Crew, show::Show};
use crate::{
    cli::{Failure, client::Client},
    pb,
};

/// How long a worker may take from its start to its first session: a JVM on a busy machine needs some of it.
const PATIENCE: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(30);

/// Where the demo plays.
pub(super) struct Stage {
    /// The folder, canonical.
    pub(super) root: PathBuf,
    /// Its material.
    pub(super) listing: Listing,
    /// The server.
    pub(super) addr: SocketAddr,
    /// The audit's summary.
    pub(super) summary: String,
    /// The audit's task.
    pub(super) task: String,
    /// Whether nobody is to be asked.
    pub(super) yes: bool,
    /// How this binary is called, for commands to type: with its path where it may not be found without.
    pub(super) me: String,
}

/// How this binary was called, if that can be typed again.
pub(super) fn called() -> String {
    let name = std::env::args().next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if name.contains('/') && name.chars().all(plain) { name } else { "bailiwick".to_owned() }
}

impl Stage {
    /// Waits until these workers are registered.
    ///
    /// # Errors
    /// Names the first that is not, with its last words.
    pub(super) async fn wait_for(
        &self,
        client: &Client,
        crew: &mut Crew,
        show: &mut Show<'_>,
        ids: &[String],
    ) -> Result<(), Failure> {
        match missing(client, crew, show, ids).await?.first() {
            None => Ok(()),
            Some(id) => {
                let words = crew.last_words(id);
                Err(Failure::from(format!("the worker {id} did not come up; the last it said: {words}")))
            }
        }
    }
}

/// Waits for workers to register; those that have not when they have ended, or after the patience.
pub(super) async fn missing(
    client: &Client,
    crew: &mut Crew,
    show: &mut Show<'_>,
    ids: &[String],
) -> Result<Vec<String>, Failure> {
    let until = Instant::now() + PATIENCE;
    let started = Instant::now();
    loop {
        let request = pb::ListWorkersRequest {};
        let answer = client.ask(show.terminal(), client.operator.clone().list_workers(request)).await?;
        let is_there = |id: &String| answer.workers.iter().any(|worker| worker.worker_id == *id);
        let missing: Vec<String> = ids.iter().filter(|id| !is_there(id)).cloned().collect();
        let hopeless = missing.iter().all(|id| crew.has_ended(id));
        if missing.is_empty() || hopeless || Instant::now() >= until {
            show.progress_done();
            return Ok(missing);
        }
        if started.elapsed() > Duration::from_secs(1) {
            show.progress(&format!("waiting for {}", missing.join(", ")));
        }
        tokio::time::sleep(AGAIN).await;
    }
}
