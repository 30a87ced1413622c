//! `bailiwick show`: one question with its whole story, and what to type for each answer.

use clap::Args;

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    question::{now, resolve},
    terminal::Terminal,
};
use crate::{console::question, pb};

/// What `show` can be told.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The question, or the beginning of its id or of its task's; may be left out where only one is open.
    #[arg(value_name = "ID", default_value = "", hide_default_value = true)]
    pub id: String,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `show`.
///
/// # Errors
/// When no question is meant, or several could be; when the server cannot be asked.
pub async fn run(args: ShowArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let ShowArgs { id, remote } = args;
    let client = Client::connect(&remote, terminal).await?;
    let escalation_id = resolve(&client, terminal, &id, true).await?;
    let request = pb::GetEscalationRequest { escalation_id };
    let answer = client.ask(terminal, client.operator.clone().get_escalation(request)).await?;
    let found = answer.escalation.unwrap_or_default();
    if remote.json {
        terminal.line(json::line("Escalation", &found)?)?;
        return Ok(Exit::Ok);
    }
    terminal.lines(question::full(terminal.look(), &found, &now(), &remote.flag()))?;
    Ok(Exit::Ok)
}
