//! `bailiwick submit`: hands a contract over and prints the task's id.

use std::io::{Read, Write};

use clap::Args;

use super::{
    Exit, Failure,
    client::{Client, Remote},
    contract_file, json,
    terminal::Terminal,
    watch,
};
use crate::pb;

/// A contract larger than this cannot be one: the largest parts of it are bounded far below.
const LARGEST_FILE: u64 = 64 * 1024 * 1024;

/// What `submit` can be told.
#[derive(Args, Debug)]
pub struct SubmitArgs {
    /// The contract, as YAML or JSON; `-` reads stdin.
    #[arg(value_name = "FILE|-")]
    pub file: String,
    /// Follow the task until it ends; the exit code then says how it ended.
    #[arg(long, short)]
    pub watch: bool,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `submit`.
///
/// # Errors
/// When the contract cannot be read or is refused, or the server cannot be asked.
pub async fn run(args: SubmitArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let SubmitArgs { file, watch, remote } = args;
    let contract = read_contract(&file)?;
    let client = Client::connect(&remote, terminal).await?;
    let request = pb::SubmitTaskRequest { contract: Some(contract), parent_lease: String::new() };
    let answer = client.ask(terminal, client.tasks.clone().submit_task(request)).await.map_err(refused)?;
    if remote.json {
        terminal.line(json::line("SubmitTaskResponse", &answer)?)?;
    } else {
        if answer.existing {
            terminal.note("this idempotency key had already made this task");
        }
        terminal.line(&answer.task_id)?;
    }
    // The id must be with its reader before a long watch begins, whatever stdout is.
    let _ = std::io::stdout().flush();
    if watch {
        return watch::follow(&client, terminal, &answer.task_id, 0, &remote).await;
    }
    if !remote.json {
        terminal.note(format!("follow it with: bailiwick watch {}{}", answer.task_id, remote.flag()));
    }
    Ok(Exit::Ok)
}

/// The contract in a file, or on stdin.
///
/// # Errors
/// When it cannot be read, with every fault of form at once.
pub fn read_contract(file: &str) -> Result<pb::Contract, Failure> {
    let (name, text) =
        if file == "-" { ("<stdin>", read(std::io::stdin().lock())) } else { (file, read_file(file)) };
    let text = text.map_err(|error| Failure::new(Exit::Usage, format!("{name} cannot be read: {error}")))?;
    contract_file::parse(name, &text).map_err(|faults| Failure::of_faults(&faults))
}

fn read_file(path: &str) -> std::io::Result<String> {
    read(std::fs::File::open(path)?)
}

fn read(from: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(std::io::Error::other(format!("it has more than {LARGEST_FILE} bytes")));
    }
    Ok(text)
}

/// An argument that is refused here is the contract.
#[must_use]
pub fn refused(failure: Failure) -> Failure {
    if failure.exit == Exit::Usage { Failure { exit: Exit::Refused, ..failure } } else { failure }
}
