//! `bailiwick submit`: hands contracts over and prints their tasks' ids.

use std::io::{Read, Write};

use clap::Args;

use super::{
    Exit, Failure,
    client::{Client, Remote},
    contract_file, documents, json,
    submit_many::{self, Entry},
    terminal::Terminal,
    watch,
};
use crate::pb;

/// A contract larger than this cannot be one: the largest parts of it are bounded far below.
const LARGEST_FILE: u64 = 64 * 1024 * 1024;

/// What `submit` can be told.
#[derive(Args, Debug)]
pub struct SubmitArgs {
    /// Contracts, as YAML or JSON, one or many a file (YAML documents, JSON lines); `-` reads stdin. Of many, the ids are
    /// written in the order of the contracts.
    #[arg(value_name = "FILE|-", required = true)]
    pub files: Vec<String>,
    /// Follow the one task until it ends; the exit code then says how it ended.
    #[arg(long, short)]
    pub watch: bool,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `submit`.
///
/// # Errors
/// When a contract cannot be read, the only one is refused, or the server cannot be asked. Of many, refusals are an exit code.
pub async fn run(args: SubmitArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let SubmitArgs { files, watch, remote } = args;
    let mut entries = read_contracts(&files)?;
    if watch && entries.len() > 1 {
        let message = format!("--watch follows one task, and these are {} contracts", entries.len());
        return Err(Failure::new(Exit::Usage, message));
    }
    let client = Client::connect(&remote, terminal).await?;
    let contract = match entries.pop() {
        Some(Entry { place: _, contract }) if entries.is_empty() => contract,
        last => {
            entries.extend(last);
            return submit_many::submit(entries, &client, terminal, &remote).await;
        }
    };
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

/// The contracts in these files, each with its place.
fn read_contracts(files: &[String]) -> Result<Vec<Entry>, Failure> {
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    // Everything is read before anything is sent: a file with a slip in it is no half-done deed.
    for file in files {
        let (name, text) = read_text(file)?;
        for document in documents::split(&text, contract_file::format_of(name, &text)) {
            let line = document.lines_before;
            match contract_file::parse(name, document.text) {
                Ok(contract) => entries.push(Entry { place: format!("{name}:{}", line + 1), contract }),
                Err(found) => faults.extend(found.into_iter().map(|fault| contract_file::Fault {
                    place: fault.place.map(|(row, column)| (row + line, column)),
                    ..fault
                })),
            }
        }
    }
    if faults.is_empty() { Ok(entries) } else { Err(Failure::of_faults(&faults)) }
}

/// The contract in a file, or on stdin.
///
/// # Errors
/// When it cannot be read, with every fault of form at once.
pub fn read_contract(file: &str) -> Result<pb::Contract, Failure> {
    let (name, text) = read_text(file)?;
    contract_file::parse(name, &text).map_err(|faults| Failure::of_faults(&faults))
}

/// A file, or stdin: how it is called, and its text.
fn read_text(file: &str) -> Result<(&str, String), Failure> {
    let (name, text) =
        if file == "-" { ("<stdin>", read(std::io::stdin().lock())) } else { (file, read_file(file)) };
    let text = text.map_err(|error| Failure::new(Exit::Usage, format!("{name} cannot be read: {error}")))?;
    Ok((name, text))
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
