//! `bailiwick chaos`: its arguments. What it does is not here.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::{Exit, Failure, list, question, submit::read_contract, terminal::Terminal};
use crate::{
    chaos::{
        self, ChaosOptions, EdgeRates, OutageRates, Part, Stage,
        rate::{Often, Share},
    },
    pb,
};

/// Kills and freezes where nothing is said: often enough that a run of a minute has some of each.
const KILL_WORKER: &str = "12/m";
const KILL_SERVER: &str = "3/m";
const FREEZE_WORKER: &str = "6/m";
const FREEZE_SERVER: &str = "2/m";
/// Twice the lease time of the built-in crew: most workers that are frozen come back from the dead.
const FREEZE_FOR: Duration = Duration::from_secs(4);
/// How long the built-in tasks may take to end; their deadline is a minute.
const SETTLE: Duration = Duration::from_secs(90);
/// What a contract's own deadline is given beside itself.
const SLACK: Duration = Duration::from_secs(15);

/// What `chaos` can be told.
#[derive(Args, Debug)]
pub struct ChaosArgs {
    /// How long tasks are submitted and things fail. From 1s.
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    pub length: Duration,
    /// Tasks a second.
    #[arg(long, value_name = "TASKS", default_value = "10", value_parser = positive)]
    pub load: f64,
    /// Tasks that may be open at once; beyond it submissions are held back and counted. 1 to 1,500.
    #[arg(long, value_name = "TASKS", default_value = "200", value_parser = clap::value_parser!(u16).range(1..=1_500))]
    pub concurrency: u16,
    /// The share of messages between server and workers that is held up: 0.05 or 5%.
    #[arg(long, value_name = "SHARE", default_value = "5%")]
    pub delay: Share,
    /// The longest a message is held up. 1ms to 60s.
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = humantime::parse_duration)]
    pub delay_up_to: Duration,
    /// The share of messages that is lost, and the session with it.
    #[arg(long, value_name = "SHARE", default_value = "0.2%")]
    pub drop: Share,
    /// The share of messages that arrives twice.
    #[arg(long, value_name = "SHARE", default_value = "1%")]
    pub duplicate: Share,
    /// The share of assignments whose lease is lost.
    #[arg(long, value_name = "SHARE", default_value = "1%")]
    pub lose_lease: Share,
    /// The share of messages at which the session is ended.
    #[arg(long, value_name = "SHARE", default_value = "0.2%")]
    pub kill_session: Share,
    /// How often a worker is killed (SIGKILL), one after the other: 6/m, 1/s, 30/h, or 0. Default 12/m.
    #[arg(long, value_name = "RATE", conflicts_with = "server")]
    pub kill_worker: Option<Often>,
    /// How often the server is killed (SIGKILL) and started anew. Default 3/m.
    #[arg(long, value_name = "RATE", conflicts_with = "server")]
    pub kill_server: Option<Often>,
    /// How often a worker is frozen (SIGSTOP), one after the other, and woken again (SIGCONT). Default 6/m.
    #[arg(long, value_name = "RATE", conflicts_with = "server")]
    pub freeze_worker: Option<Often>,
    /// How often the server is frozen (SIGSTOP) and woken again (SIGCONT). Default 2/m.
    #[arg(long, value_name = "RATE", conflicts_with = "server")]
    pub freeze_server: Option<Often>,
    /// The longest that a process is frozen; the shortest is a quarter of it. 100ms to 60s. Default 4s: twice the lease time of
    /// the built-in crew, so that most workers come back without their leases.
    #[arg(long, value_name = "DURATION", conflicts_with = "server", value_parser = freeze)]
    pub freeze_for: Option<Duration>,
    /// Worker processes of the built-in crew. 1 to 64. Default 4.
    #[arg(long, value_name = "COUNT", conflicts_with = "server", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: Option<u16>,
    /// A running server with workers of yours, in place of the built-in crew: failures are made at its edge, on labelled tasks.
    #[arg(long, value_name = "HOST:PORT", requires = "contract")]
    pub server: Option<String>,
    /// What is submitted to that server, again and again: a contract as YAML or JSON; `-` reads stdin.
    #[arg(long, value_name = "FILE|-", requires = "server")]
    pub contract: Option<String>,
    /// A label that a task must have for failures to be made on it. Again: and this one. The run's tasks are given it. Default:
    /// only tasks of the run.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = list::label, requires = "server")]
    pub labels: Vec<(String, String)>,
    /// Answer the questions of the run's tasks, as a simulated person. The built-in crew's always are.
    #[arg(long, requires = "server")]
    pub answer: bool,
    /// The seed of every choice; drawn and shown where it is not said.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// How long tasks may take to end once the load is over. Default: 90s, or the contract's deadline and 15s.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub settle: Option<Duration>,
    /// Who runs it; it is recorded. Default: your login.
    #[arg(long = "by", value_name = "NAME", env = "USER", hide_env_values = true)]
    pub by: Option<String>,
    /// Write the score-board as JSON.
    #[arg(long)]
    pub json: bool,
    /// Write the checks as JUnit XML into this file.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// A process of a chaos run; started by the run, not by people.
#[derive(Args, Debug)]
pub struct PartArgs {
    #[command(subcommand)]
    part: PartCommand,
}

#[derive(Debug, Subcommand)]
enum PartCommand {
    Server {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        data: PathBuf,
    },
    Worker {
        #[arg(long)]
        addr: String,
        #[arg(long)]
        id: String,
        #[arg(long)]
        slots: u16,
        #[arg(long)]
        world: PathBuf,
    },
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.01..=10_000.0).contains(number));
    number.ok_or_else(|| format!("{text:?} is no rate: write 0.01 to 10000"))
}

fn freeze(text: &str) -> Result<Duration, String> {
    let length = humantime::parse_duration(text).ok();
    let length =
        length.filter(|length| (Duration::from_millis(100)..=Duration::from_secs(60)).contains(length));
    length.ok_or_else(|| format!("{text:?} is no time to be frozen for: write 100ms to 60s"))
}

/// Runs `chaos`.
///
/// # Errors
/// When it could not be run.
pub async fn run(args: ChaosArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let options = options(args)?;
    chaos::run(options, terminal).await
}

fn options(args: ChaosArgs) -> Result<ChaosOptions, Failure> {
    let usage = |text: String| Failure::new(Exit::Usage, text);
    let edge = EdgeRates {
        delay: args.delay,
        delay_up_to: args.delay_up_to,
        drop: args.drop,
        duplicate: args.duplicate,
        lose_lease: args.lose_lease,
        kill_session: args.kill_session,
    };
    if args.length < Duration::from_secs(1) {
        return Err(usage("--for is less than a second: nothing would come of it".to_owned()));
    }
    let (stage, settle) = match (args.server, args.contract) {
        (Some(addr), Some(file)) => {
            let contract = Box::new(read_contract(&file)?);
            let settle = deadline(&contract) + SLACK;
            let labels = args.labels.into_iter().collect();
            (Stage::Server { addr, contract, labels, answer: args.answer }, settle)
        }
        _ => {
            let rate =
                |said: Option<Often>, default: &str| said.map_or_else(|| default.parse(), Ok).map_err(usage);
            let workers = args.workers.unwrap_or(4);
            let outages = OutageRates {
                kill_worker: rate(args.kill_worker, KILL_WORKER)?,
                kill_server: rate(args.kill_server, KILL_SERVER)?,
                freeze_worker: rate(args.freeze_worker, FREEZE_WORKER)?,
                freeze_server: rate(args.freeze_server, FREEZE_SERVER)?,
                freeze_for: args.freeze_for.unwrap_or(FREEZE_FOR),
            };
            let slots = (args.concurrency * 2 / workers).max(8);
            (Stage::BuiltIn { workers: usize::from(workers), slots, outages }, SETTLE)
        }
    };
    Ok(ChaosOptions {
        length: args.length,
        rate: args.load,
        concurrency: usize::from(args.concurrency),
        edge,
        seed: args.seed,
        settle: args.settle.unwrap_or(settle),
        by: args.by.filter(|name| !name.trim().is_empty()).unwrap_or_else(question::login),
        json: args.json,
        junit: args.junit,
        stage,
    })
}

/// The deadline of a contract; none where it names none, which the server refuses.
fn deadline(contract: &pb::Contract) -> Duration {
    let deadline = contract.limits.as_ref().and_then(|limits| limits.deadline);
    deadline.and_then(|deadline| Duration::try_from(deadline).ok()).unwrap_or_default()
}

/// Is a process of a run.
///
/// # Errors
/// When it cannot start, or a part of it fails.
pub async fn part(args: PartArgs) -> Result<Exit, Failure> {
    chaos::run_part(match args.part {
        PartCommand::Server { listen, data } => Part::Server { listen, data },
        PartCommand::Worker { addr, id, slots, world } => Part::Worker { addr, id, slots, world },
    })
    .await
}
