//! `bailiwick workers`.

use clap::Args;

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    question::now,
    terminal::Terminal,
};
use crate::{console::operator, pb};

/// What `workers` can be told.
#[derive(Args, Debug)]
pub struct WorkersArgs {
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `workers`.
///
/// # Errors
/// When the server cannot be asked.
pub async fn run(args: WorkersArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let WorkersArgs { remote } = args;
    let client = Client::connect(&remote, terminal).await?;
    let answer =
        client.ask(terminal, client.operator.clone().list_workers(pb::ListWorkersRequest {})).await?;
    if remote.json {
        answer.workers.iter().try_for_each(|worker| terminal.line(json::line("Worker", worker)?))?;
    } else if answer.workers.is_empty() {
        terminal.note("no workers");
    } else {
        terminal.line(operator::workers(terminal.look(), &answer.workers, &now()))?;
    }
    Ok(Exit::Ok)
}
