//! `bailiwick chaos`: its arguments. What it does is not here.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::{Exit, Failure, terminal::Terminal};
use crate::chaos::{self, ChaosOptions, KillRates, Part, rate::Often};

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
    /// Worker processes of the built-in crew. 1 to 64.
    #[arg(long, value_name = "COUNT", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// How often a worker is killed (SIGKILL), one after the other: 6/m, 1/s, 30/h, or 0.
    #[arg(long, value_name = "RATE", default_value = "12/m")]
    pub kill_worker: Often,
    /// How often the server is killed (SIGKILL) and started anew.
    #[arg(long, value_name = "RATE", default_value = "3/m")]
    pub kill_server: Often,
    /// The seed of every choice; drawn and shown where it is not said.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// How long tasks may take to end once the load is over.
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = humantime::parse_duration)]
    pub settle: Duration,
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

/// Runs `chaos`.
///
/// # Errors
/// When it could not be run.
pub async fn run(args: ChaosArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let ChaosArgs { length, load, concurrency, workers, kill_worker, kill_server, seed, settle, json, junit } =
        args;
    let options = ChaosOptions {
        length: length.max(Duration::from_secs(1)),
        rate: load,
        concurrency: usize::from(concurrency),
        workers: usize::from(workers),
        slots: (concurrency * 2 / workers).max(8),
        kills: KillRates { worker: kill_worker, server: kill_server },
        seed,
        settle,
        json,
        junit,
    };
    chaos::run(options, terminal).await
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
