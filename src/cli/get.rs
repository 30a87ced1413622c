//! `bailiwick get`: one task in full.

use clap::Args;

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    terminal::Terminal,
};
use crate::{console::task, pb};

/// What `get` can be told.
#[derive(Args, Debug)]
pub struct GetArgs {
    /// The task.
    #[arg(value_name = "TASK")]
    pub id: String,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `get`.
///
/// # Errors
/// When there is no such task or the server cannot be asked.
pub async fn run(args: GetArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let GetArgs { id, remote } = args;
    let client = Client::connect(&remote, terminal).await?;
    let answer =
        client.ask(terminal, client.tasks.clone().get_task(pb::GetTaskRequest { task_id: id })).await?;
    let found = answer.task.ok_or_else(|| Failure::from("the server answered without a task".to_owned()))?;
    if remote.json {
        terminal.line(json::line("Task", &found)?)?;
    } else {
        terminal.lines(task::full(terminal.look(), &found))?;
        if found.summary.as_ref().is_some_and(|summary| summary.state() == pb::TaskState::AwaitingHuman) {
            let id = found.summary.map(|summary| summary.task_id).unwrap_or_default();
            terminal.note(format!("it waits for a person: bailiwick show {id}{}", remote.flag()));
        }
    }
    Ok(Exit::Ok)
}
