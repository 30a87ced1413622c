//! `bailiwick halt`: stops everything, an agent or a label, at once. Never asks back: whoever types this has no time.

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
    pb::{self, halt_selector::Scope},
};

/// What to halt, or to let go on.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct What {
    /// Everything.
    #[arg(long)]
    pub all: bool,
    /// This agent: its turns, and contracts that cannot do without it.
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// Every task with this label, and their children.
    #[arg(long, value_name = "KEY=VALUE", value_parser = list::label)]
    pub label: Option<(String, String)>,
}

impl What {
    /// For the wire; `None` where nothing was named.
    pub(super) fn selector(self) -> Option<pb::HaltSelector> {
        let Self { all, agent, label } = self;
        let label = label.map(|(key, value)| Scope::Label(pb::HaltLabel { key, value }));
        let scope = agent.map(Scope::Agent).or(label).or_else(|| all.then_some(Scope::All(true)))?;
        Some(pb::HaltSelector { scope: Some(scope) })
    }
}

/// What `halt` can be told.
#[derive(Args, Debug)]
pub struct HaltArgs {
    /// What to halt.
    #[command(flatten)]
    pub what: What,
    /// Also end the tasks under it: CANCELLED, cause HALTED, their best result attached.
    #[arg(long)]
    pub cancel: bool,
    /// Why, in a sentence; it is recorded and shown to whoever is refused.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reason: String,
    /// Who halts; it is recorded. Default: your login.
    #[arg(long = "by", alias = "as", value_name = "NAME", env = "USER", hide_env_values = true)]
    pub by: Option<String>,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `halt`. What is halted already is no error.
///
/// # Errors
/// When the server cannot be asked, or could not make the halt durable.
pub async fn run(args: HaltArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let HaltArgs { what, cancel, reason, by, remote } = args;
    let client = Client::connect(&remote, terminal).await?;
    let request = pb::HaltRequest { selector: what.selector(), halted_by: who(by), reason, cancel };
    let answer = client.ask(terminal, client.operator.clone().halt(request)).await?;
    if remote.json {
        terminal.line(json::line("HaltResponse", &answer)?)?;
        return Ok(Exit::Ok);
    }
    terminal.lines(halt::done(terminal.look(), &answer))?;
    let number = answer.halt.map_or(0, |halt| halt.number);
    if !cancel {
        terminal.note("what runs goes on, nothing new starts; to end it too: the same with --cancel");
    }
    terminal.note(format!("to go on: bailiwick resume --halt {number}{}", remote.flag()));
    Ok(Exit::Ok)
}
