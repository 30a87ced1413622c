//! `bailiwick resume`: lifts halts.

use clap::Args;

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json, list,
    question::who,
    terminal::Terminal,
};
use crate::{
    console::halt,
    pb::{self, halt_selector::Scope, resume_request},
};

/// What `resume` can be told.
#[derive(Args, Debug)]
pub struct ResumeArgs {
    /// What to lift.
    #[command(flatten)]
    pub what: Which,
    /// Why, in a sentence; it is recorded.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reason: String,
    /// Who lifts it; it is recorded. Default: your login.
    #[arg(long = "by", alias = "as", value_name = "NAME", env = "USER", hide_env_values = true)]
    pub by: Option<String>,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Which halts.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// Every halt, whatever it stops.
    #[arg(long)]
    pub all: bool,
    /// The halt of this agent.
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// The halt of this label.
    #[arg(long, value_name = "KEY=VALUE", value_parser = list::label)]
    pub label: Option<(String, String)>,
    /// The halt of this number, as `bailiwick halts` shows it.
    #[arg(long, value_name = "N")]
    pub halt: Option<i64>,
}

impl Which {
    fn wire(self) -> Option<resume_request::What> {
        let Self { all, agent, label, halt } = self;
        let label = label.map(|(key, value)| Scope::Label(pb::HaltLabel { key, value }));
        let scope = agent.map(Scope::Agent).or(label);
        let selector =
            scope.map(|scope| resume_request::What::Selector(pb::HaltSelector { scope: Some(scope) }));
        let number = halt.map(resume_request::What::Number);
        selector.or(number).or_else(|| all.then_some(resume_request::What::Everything(true)))
    }
}

/// Runs `resume`.
///
/// # Errors
/// When there is nothing to lift, or the server cannot be asked.
pub async fn run(args: ResumeArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let ResumeArgs { what, reason, by, remote } = args;
    let client = Client::connect(&remote, terminal).await?;
    let request = pb::ResumeRequest { what: what.wire(), resumed_by: who(by), reason };
    let answer = client.ask(terminal, client.operator.clone().resume(request)).await?;
    for lifted in &answer.halts {
        if remote.json {
            terminal.line(json::line("Halt", lifted)?)?;
        } else {
            terminal.line(format!(
                "{} goes on (halt {})",
                halt::scope(lifted.selector.as_ref()),
                lifted.number
            ))?;
        }
    }
    Ok(Exit::Ok)
}
