//! `bailiwick reset-breaker`: an operator's hand on a circuit breaker.

use clap::Args;

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    terminal::Terminal,
};
use crate::pb::{self, reset_breaker_request::Whose};

/// What `reset-breaker` can be told.
#[derive(Args, Debug)]
pub struct ResetBreakerArgs {
    /// The agent whose breaker is to be closed.
    #[arg(long, value_name = "AGENT", required_unless_present = "worker", conflicts_with = "worker")]
    pub agent: Option<String>,
    /// The worker whose breaker is to be closed, by its id.
    #[arg(long, value_name = "WORKER")]
    pub worker: Option<String>,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `reset-breaker`.
///
/// # Errors
/// When there is no such agent or the server cannot be asked.
pub async fn run(args: ResetBreakerArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let ResetBreakerArgs { agent, worker, remote } = args;
    let name = agent.as_ref().or(worker.as_ref()).cloned().unwrap_or_default();
    let whose = agent.map(Whose::Agent).or_else(|| worker.map(Whose::WorkerId));
    let client = Client::connect(&remote, terminal).await?;
    let request = pb::ResetBreakerRequest { whose };
    let answer = client.ask(terminal, client.operator.clone().reset_breaker(request)).await?;
    if remote.json {
        terminal.line(json::line("ResetBreakerResponse", &answer)?)?;
    } else if answer.was_open {
        terminal.line(format!("the breaker of {name} is closed"))?;
    } else {
        terminal.note(format!("the breaker of {name} was closed already"));
    }
    Ok(Exit::Ok)
}
