//! `bailiwick chaos`: a crew under load while things fail on purpose, and a score-board of what the journal says afterwards.
//!
//! `load`, `person`, `outages`, `edge` make things happen and `log` notes them; `collect` reads back what the server knows, `story`
//! judges one task, `score` adds up: the last two are pure, and no verdict comes from anywhere else. `scene` is the run, `crew`
//! the worker side, `part` what the processes of a run are. Never here: a shortcut into the server. Everything goes over its
//! API.

mod breakers;
mod clients;
mod collect;
mod crew;
mod edge;
pub mod junit;
mod load;
mod log;
mod outages;
mod part;
mod person;
mod processes;
pub mod rate;
pub mod report;
mod scene;
pub mod score;
pub mod shapes;
pub mod story;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::Instant;

pub use edge::EdgeRates;
pub use outages::OutageRates;
pub use part::{Part, run as run_part};

use self::{
    clients::Clients,
    log::Log,
    processes::{Fleet, Place},
    report::About,
    scene::Scene,
    score::Board,
};
use crate::{
    cli::{Exit, Failure, terminal::Terminal},
    pb,
};

/// What to run.
#[derive(Clone, Debug)]
pub struct ChaosOptions {
    /// How long the load lasts.
    pub length: Duration,
    /// Tasks a second.
    pub rate: f64,
    /// Tasks that may be open at once.
    pub concurrency: usize,
    /// What fails between the server and its workers.
    pub edge: EdgeRates,
    /// The seed; drawn where it is not said.
    pub seed: Option<u64>,
    /// How long tasks may take to end once the load is over.
    pub settle: Duration,
    /// Who runs it, for the server's record.
    pub by: String,
    /// Whether the board is JSON on stdout.
    pub json: bool,
    /// Where the JUnit XML goes.
    pub junit: Option<PathBuf>,
    /// On what.
    pub stage: Stage,
}

/// What a run is played on.
#[derive(Clone, Debug)]
pub enum Stage {
    /// A server and workers of the run's own.
    BuiltIn {
        /// Worker processes.
        workers: usize,
        /// Attempts each of them takes at once.
        slots: u16,
        /// Kills and freezes.
        outages: OutageRates,
    },
    /// Somebody's server and somebody's workers.
    Server {
        /// Where the server is.
        addr: String,
        /// What is submitted.
        contract: Box<pb::Contract>,
        /// Labels of the tasks that failures are for; empty: those of the run alone.
        labels: BTreeMap<String, String>,
        /// Whether questions are answered.
        answer: bool,
    },
}

/// Runs it. `Exit::Ok` only where every check passed.
///
/// # Errors
/// When it could not be run.
pub async fn run(options: ChaosOptions, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let run = uuid::Uuid::now_v7().simple().to_string();
    let (board, about) = match options.stage.clone() {
        Stage::BuiltIn { workers, slots, outages } => {
            let place = Place::new(&run)?;
            let mut fleet = Fleet::start(place.clone(), workers, slots).await?;
            let mut scene = scene(&options, run, &fleet.addr().to_string())?;
            scene.outages = outages;
            let played = scene.play(Some((&mut fleet, &place)), terminal).await;
            terminal.progress_done();
            fleet.end().await;
            let board = played?;
            let about = scene.about(place.data.display().to_string());
            (board, about)
        }
        Stage::Server { addr, .. } => {
            let scene = scene(&options, run, &addr)?;
            let board = scene.play(None, terminal).await?;
            terminal.progress_done();
            let about = scene.about(String::new());
            (board, about)
        }
    };
    tell(&options, &board, &about, terminal)?;
    Ok(if board.passed() { Exit::Ok } else { Exit::ChaosFailed })
}

fn scene<'o>(options: &'o ChaosOptions, run: String, addr: &str) -> Result<Scene<'o>, Failure> {
    Ok(Scene {
        clients: Arc::new(Clients::new(addr, options.concurrency)?),
        log: Arc::new(Log::default()),
        run,
        seed: options.seed.unwrap_or_else(rand::random),
        started: Instant::now(),
        outages: OutageRates::default(),
        options,
    })
}

/// Prints the board, and writes it where it was asked for.
fn tell(options: &ChaosOptions, board: &Board, about: &About, terminal: &Terminal) -> Result<(), Failure> {
    if let Some(file) = &options.junit {
        std::fs::write(file, junit::xml(board, about.seconds))
            .map_err(|error| Failure::from(format!("{} cannot be written: {error}", file.display())))?;
    }
    if options.json {
        return terminal.line(report::json(board, about));
    }
    terminal.lines(report::lines(board, about, terminal.look()))?;
    if !about.record.is_empty() {
        terminal.note(format!("the record stays: bailiwick serve --data {}", about.record));
    }
    Ok(())
}
