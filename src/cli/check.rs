//! `bailiwick check`: what a submission would say, without submitting.

use clap::Args;

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    submit::{read_contract, refused},
    terminal::Terminal,
};
use crate::{
    console::{Tone, contract, text::plural},
    pb,
};

/// What `check` can be told.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The contract, as YAML or JSON; `-` reads stdin.
    #[arg(value_name = "FILE|-")]
    pub file: String,
    /// Print the contract with every default filled in, as YAML, and nothing else.
    #[arg(long, conflicts_with = "json")]
    pub effective: bool,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `check`.
///
/// # Errors
/// When the contract cannot be read, or the server cannot be asked. Violations are no error but an exit code.
pub async fn run(args: CheckArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let CheckArgs { file, effective, remote } = args;
    let contract = read_contract(&file)?;
    let client = Client::connect(&remote, terminal).await?;
    let request = pb::CheckContractRequest { contract: Some(contract) };
    let answer = client.ask(terminal, client.tasks.clone().check_contract(request)).await.map_err(refused)?;
    let exit = if answer.violations.is_empty() { Exit::Ok } else { Exit::Refused };
    if remote.json {
        terminal.line(json::line("CheckContractResponse", &answer)?)?;
    } else if let (true, Some(filled)) = (effective, &answer.effective) {
        terminal.line(json::yaml("Contract", filled)?.trim_end())?;
    } else {
        print(terminal, &file, &answer)?;
    }
    Ok(exit)
}

fn print(terminal: &Terminal, file: &str, answer: &pb::CheckContractResponse) -> Result<(), Failure> {
    let look = terminal.look();
    if answer.violations.is_empty() {
        terminal.line(format!("{file}: {}", look.paint(Tone::Good, "would be accepted")))?;
    } else {
        let count = plural(i64::try_from(answer.violations.len()).unwrap_or(i64::MAX), "violation");
        terminal.line(format!("{file}: {}, {count}", look.paint(Tone::Bad, "would be refused")))?;
        terminal.lines(contract::violations(look, &answer.violations))?;
    }
    let heading = |title: &str, judged: Vec<i32>| {
        terminal.line(format!("{}: {}", look.paint(Tone::Strong, title), contract::tally(judged)))
    };
    if !answer.points.is_empty() {
        heading("readiness", answer.points.iter().map(|point| point.readiness).collect())?;
        terminal.lines(contract::points(look, &answer.points))?;
    }
    if !answer.modes.is_empty() {
        heading("failure modes", answer.modes.iter().map(|mode| mode.readiness).collect())?;
        terminal.lines(contract::modes(look, &answer.modes))?;
    }
    Ok(())
}
