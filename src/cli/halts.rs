//! `bailiwick halts`: what is halted, since when, by whom and why.

use clap::Args;

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    question::now,
    terminal::Terminal,
};
use crate::{console::halt, pb};

/// Halts asked for at once.
const PAGE: i32 = 1_000;

/// What `halts` can be told.
#[derive(Args, Debug)]
pub struct HaltsArgs {
    /// Also those that were lifted, with who lifted them: the newest 1,000 are kept.
    #[arg(long)]
    pub all: bool,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `halts`.
///
/// # Errors
/// When the server cannot be asked.
pub async fn run(args: HaltsArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let HaltsArgs { all, remote } = args;
    let client = Client::connect(&remote, terminal).await?;
    let mut request = pb::ListHaltsRequest { lifted: all, page_size: PAGE, page_token: String::new() };
    let mut found = Vec::new();
    loop {
        let answer = client.ask(terminal, client.operator.clone().list_halts(request.clone())).await?;
        found.extend(answer.halts);
        if answer.next_page_token.is_empty() || answer.next_page_token == request.page_token {
            break;
        }
        request.page_token = answer.next_page_token;
    }
    if remote.json {
        found.iter().try_for_each(|halt| terminal.line(json::line("Halt", halt)?))?;
    } else if found.is_empty() {
        terminal.note("nothing is halted");
    } else {
        terminal.line(halt::halts(terminal.look(), &found, &now()))?;
    }
    Ok(Exit::Ok)
}
