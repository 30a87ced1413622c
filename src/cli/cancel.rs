//! `bailiwick cancel`: ends a task at once.

use clap::Args;

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    terminal::Terminal,
};
use crate::{console::words, pb};

/// What `cancel` can be told.
#[derive(Args, Debug)]
pub struct CancelArgs {
    /// The task.
    #[arg(value_name = "TASK")]
    pub id: String,
    /// Why, in a sentence; it is recorded.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reason: String,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `cancel`. A task that had ended already is no error.
///
/// # Errors
/// When there is no such task or the server cannot be asked.
pub async fn run(args: CancelArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let CancelArgs { id, reason, remote } = args;
    let client = Client::connect(&remote, terminal).await?;
    let request = pb::CancelTaskRequest { task_id: id.clone(), reason };
    let answer = client.ask(terminal, client.tasks.clone().cancel_task(request)).await?;
    if remote.json {
        terminal.line(json::line("CancelTaskResponse", &answer)?)?;
    } else {
        let state = words::state(answer.summary.as_ref().map_or(0, |summary| summary.state));
        let had = if answer.already_ended { "had already ended" } else { "is" };
        terminal.line(format!("{id} {had} {state}"))?;
    }
    Ok(Exit::Ok)
}
