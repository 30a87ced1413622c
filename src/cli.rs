//! The command line: `serve`, and a client of that server.
//!
//! A command parses its arguments, asks the server, prints the answer, and says by its exit code how it went. Nothing here
//! decides anything about a task: whoever finds a rule here has found a mistake. One file a subcommand.

pub mod abort;
pub mod agents;
pub mod amend;
pub mod approve;
pub mod backtest;
pub mod cancel;
pub mod chaos;
pub mod check;
pub mod client;
pub mod completions;
mod compose;
pub mod conformance;
pub mod contract_file;
pub mod dead_letters;
pub mod demo;
pub mod discard;
mod documents;
pub mod drill;
pub mod exit;
pub mod extend;
pub mod failure;
mod files;
pub mod get;
pub mod halt;
pub mod halts;
pub mod inbox;
pub mod json;
pub mod list;
mod place;
pub mod question;
pub mod redrive;
pub mod reset_breaker;
pub mod resume;
pub mod run;
pub mod serve;
mod settle;
pub mod show;
pub mod strict;
pub mod submit;
mod submit_many;
pub mod terminal;
pub mod watch;
pub mod webhooks;
pub mod workers;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::terminal::{Color, Terminal};
pub use self::{exit::Exit, failure::Failure};

/// A control plane in which every task of a multi-agent LLM system has an owner, a budget and an end.
#[derive(Debug, Parser)]
#[command(name = "bailiwick", version, after_help = exit::help())]
pub struct Cli {
    /// When to write in colour: auto, always or never. NO_COLOR is respected.
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        hide_possible_values = true
    )]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(Box<serve::ServeArgs>),
    /// Submit a contract; prints the task's id.
    #[command(after_help = exit::help())]
    Submit(submit::SubmitArgs),
    /// Say what a submission would say, and show the ten-point readiness list and the fourteen failure modes.
    #[command(after_help = exit::help())]
    Check(check::CheckArgs),
    /// Follow a task's events until it ends.
    #[command(after_help = exit::help())]
    Watch(watch::WatchArgs),
    /// Show one task: outcome, ledger, counters, turns.
    Get(get::GetArgs),
    /// List tasks, newest first.
    List(list::ListArgs),
    /// End a task at once, or every open task that fits a filter; best results so far stay attached.
    Cancel(Box<cancel::CancelArgs>),
    /// Stop everything, an agent or a label at once: no new task, no new turn; with --cancel what runs ends too.
    Halt(halt::HaltArgs),
    /// Lift a halt: intake and dispatch go on.
    Resume(resume::ResumeArgs),
    /// List what is halted, since when, by whom and why.
    Halts(halts::HaltsArgs),
    /// List the questions that wait for a person; --watch goes on.
    Inbox(inbox::InboxArgs),
    /// Show one question: the story so far, what is used, and what to type for each answer.
    Show(show::ShowArgs),
    /// Accept the candidate: the task SUCCEEDED. To an agent's own question: go on, with the note.
    Approve(question::AnswerArgs),
    /// Give the result yourself; it is checked, and the task SUCCEEDED with it.
    Amend(amend::AmendArgs),
    /// Raise caps; the owner decides anew, or the agent that asked goes on.
    Extend(Box<extend::ExtendArgs>),
    /// End the task that asks FAILED; its best result so far stays attached.
    Abort(question::AnswerArgs),
    /// Ask a person a harmless question through the whole path, and record who answered when.
    #[command(after_help = exit::help())]
    Drill(drill::DrillArgs),
    /// List the tasks that died for technical reasons; with an id its full story: contract, lineage, every attempt, ledger.
    DeadLetters(Box<dead_letters::DeadLettersArgs>),
    /// Make new tasks of dead letters, under their contracts with changed limits; running it again is harmless.
    #[command(after_help = exit::help())]
    Redrive(Box<redrive::RedriveArgs>),
    /// Say of dead letters that nothing more is to come of them.
    #[command(after_help = exit::help())]
    Discard(Box<discard::DiscardArgs>),
    /// List the webhooks of the server, and how they stand.
    Webhooks(webhooks::WebhooksArgs),
    /// List the workers that are connected now.
    Workers(workers::WorkersArgs),
    /// List every agent the server has ever seen.
    Agents(agents::AgentsArgs),
    /// Close the circuit breaker of an agent or a worker by hand.
    ResetBreaker(reset_breaker::ResetBreakerArgs),
    /// Run a crew of agents over a folder, end to end, without a model or a network.
    Demo(demo::DemoArgs),
    #[command(hide = true)]
    Crew(demo::CrewArgs),
    /// Load a crew with tasks while things fail on purpose, and score what became of them.
    #[command(after_help = exit::help())]
    Chaos(Box<chaos::ChaosArgs>),
    #[command(hide = true)]
    ChaosPart(chaos::PartArgs),
    /// Drive a worker, in any language, through the cases of the protocol.
    Conformance(conformance::ConformanceArgs),
    /// Judge recorded runs by the guards of live tasks: what a contract would have stopped, saved and harmed.
    #[command(after_help = exit::help())]
    Backtest(backtest::BacktestArgs),
    /// Print completions for a shell.
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// Whether errors are for a script, too.
    fn json(&self) -> bool {
        match self {
            Self::Serve(_) | Self::Crew(_) | Self::ChaosPart(_) | Self::Completions(_) => false,
            Self::Submit(args) => args.remote.json,
            Self::Check(args) => args.remote.json,
            Self::Watch(args) => args.remote.json,
            Self::Get(args) => args.remote.json,
            Self::List(args) => args.remote.json,
            Self::Cancel(args) => args.remote.json,
            Self::Halt(args) => args.remote.json,
            Self::Resume(args) => args.remote.json,
            Self::Halts(args) => args.remote.json,
            Self::Inbox(args) => args.remote.json,
            Self::Show(args) => args.remote.json,
            Self::Approve(args) | Self::Abort(args) => args.remote.json,
            Self::Amend(args) => args.answer.remote.json,
            Self::Extend(args) => args.answer.remote.json,
            Self::Drill(args) => args.remote.json,
            Self::DeadLetters(args) => args.remote.json,
            Self::Redrive(args) => args.settle.remote.json,
            Self::Discard(args) => args.settle.remote.json,
            Self::Webhooks(args) => args.remote.json,
            Self::Workers(args) => args.remote.json,
            Self::Agents(args) => args.remote.json,
            Self::ResetBreaker(args) => args.remote.json,
            Self::Demo(args) => args.json,
            Self::Chaos(args) => args.json,
            Self::Conformance(args) => args.json,
            Self::Backtest(args) => args.json,
        }
    }

    async fn run(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        match self {
            Self::Serve(args) => serve::run(*args, terminal).await,
            Self::Submit(args) => submit::run(args, terminal).await,
            Self::Check(args) => check::run(args, terminal).await,
            Self::Watch(args) => watch::run(args, terminal).await,
            Self::Get(args) => get::run(args, terminal).await,
            Self::List(args) => list::run(args, terminal).await,
            Self::Cancel(args) => cancel::run(*args, terminal).await,
            Self::Halt(args) => halt::run(args, terminal).await,
            Self::Resume(args) => resume::run(args, terminal).await,
            Self::Halts(args) => halts::run(args, terminal).await,
            Self::Inbox(args) => inbox::run(args, terminal).await,
            Self::Show(args) => show::run(args, terminal).await,
            Self::Approve(args) => approve::run(args, terminal).await,
            Self::Amend(args) => amend::run(args, terminal).await,
            Self::Extend(args) => extend::run(*args, terminal).await,
            Self::Abort(args) => abort::run(args, terminal).await,
            Self::Drill(args) => drill::run(args, terminal).await,
            Self::DeadLetters(args) => dead_letters::run(*args, terminal).await,
            Self::Redrive(args) => redrive::run(*args, terminal).await,
            Self::Discard(args) => discard::run(*args, terminal).await,
            Self::Webhooks(args) => webhooks::run(args, terminal).await,
            Self::Workers(args) => workers::run(args, terminal).await,
            Self::Agents(args) => agents::run(args, terminal).await,
            Self::ResetBreaker(args) => reset_breaker::run(args, terminal).await,
            Self::Demo(args) => run::demo(args, terminal).await,
            Self::Crew(args) => run::crew(args).await,
            Self::Chaos(args) => chaos::run(*args, terminal).await,
            Self::ChaosPart(args) => chaos::part(args).await,
            Self::Conformance(args) => run::conformance(args, terminal).await,
            Self::Backtest(args) => backtest::run(args, terminal),
            Self::Completions(args) => completions::run(args, terminal),
        }
    }
}

/// Runs the command line of this process to its end.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { color, command } = Cli::parse();
    let mut terminal = Terminal::new(color);
    let json = command.json();
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from(format!("the runtime cannot be started: {error}")))
        .and_then(|runtime| runtime.block_on(command.run(&mut terminal)));
    terminal.progress_done();
    let exit = done.unwrap_or_else(|failure| {
        if !failure.message.is_empty() {
            terminal.fail(&failure, json);
        }
        failure.exit
    });
    ExitCode::from(exit.code())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }
}
