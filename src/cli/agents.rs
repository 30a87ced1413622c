//! `bailiwick agents`.

use clap::Args;

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    question::now,
    terminal::Terminal,
};
use crate::{
    console::{operator, record},
    pb,
};

/// What `agents` can be told.
#[derive(Args, Debug)]
pub struct AgentsArgs {
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `agents`.
///
/// # Errors
/// When the server cannot be asked.
pub async fn run(args: AgentsArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let AgentsArgs { remote } = args;
    let client = Client::connect(&remote, terminal).await?;
    let answer = client.ask(terminal, client.operator.clone().list_agents(pb::ListAgentsRequest {})).await?;
    if remote.json {
        answer.agents.iter().try_for_each(|agent| terminal.line(json::line("Agent", agent)?))?;
    } else if answer.agents.is_empty() {
        terminal.note("no agents");
    } else {
        terminal.line(operator::agents(terminal.look(), &answer.agents, &now()))?;
        record::records(&answer.agents).into_iter().try_for_each(|line| terminal.line(line))?;
    }
    Ok(Exit::Ok)
}
