//! `bailiwick completions`: what a shell needs to complete this command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Exit, Failure, terminal::Terminal};

/// What `completions` can be told.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Runs `completions`.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: CompletionsArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let CompletionsArgs { shell } = args;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "bailiwick", &mut script);
    terminal.line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Ok)
}
