//! `bailiwick chaos`: a crew under load while things fail on purpose, and a score-board of what the journal says afterwards.
//!
//! `load`, `person`, `kills` make things happen and `log` notes them; `collect` reads back what the server knows, `story` judges
//! one task, `score` adds up: the last two are pure, and no verdict comes from anywhere else. `crew` is the worker side,
//! `part` what the processes of a run are. Never here: a shortcut into the server. Everything goes over its API.

mod clients;
mod collect;
mod crew;
pub mod junit;
mod kills;
mod load;
mod log;
mod part;
mod person;
mod processes;
pub mod rate;
pub mod report;
pub mod score;
pub mod shapes;
pub mod story;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, interval, timeout},
};
use tokio_util::sync::CancellationToken;

pub use kills::KillRates;
pub use part::{Part, run as run_part};

use self::{
    clients::Clients,
    load::{Load, Pace, Source},
    log::{Log, Notes},
    processes::{Fleet, Place},
    report::About,
    score::{Board, Observed},
};
use crate::{
    cli::{Exit, Failure, terminal::Terminal},
    types::dice::Dice,
};

/// How long the workers may take to register.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often progress is shown to whoever watches, and how often it is a line where nobody does.
const SHOW: Duration = Duration::from_millis(500);
const LINE: Duration = Duration::from_secs(10);

/// What to run.
#[derive(Clone, Debug)]
pub struct ChaosOptions {
    /// How long the load lasts.
    pub length: Duration,
    /// Tasks a second.
    pub rate: f64,
    /// Tasks that may be open at once.
    pub concurrency: usize,
    /// Worker processes.
    pub workers: usize,
    /// Attempts each of them takes at once.
    pub slots: u16,
    /// Kills.
    pub kills: KillRates,
    /// The seed; drawn where it is not said.
    pub seed: Option<u64>,
    /// How long tasks may take to end once the load is over.
    pub settle: Duration,
    /// Whether the board is JSON on stdout.
    pub json: bool,
    /// Where the JUnit XML goes.
    pub junit: Option<PathBuf>,
}

/// Runs it. `Exit::Ok` only where every check passed.
///
/// # Errors
/// When it could not be run, or was interrupted twice.
pub async fn run(options: ChaosOptions, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let started = Instant::now();
    let run = uuid::Uuid::now_v7().simple().to_string();
    let seed = options.seed.unwrap_or_else(rand::random);
    let place = Place::new(&run)?;
    let mut fleet = Fleet::start(place.clone(), options.workers, options.slots).await?;
    let scene = Scene {
        clients: Arc::new(Clients::new(&fleet.addr().to_string(), options.concurrency)?),
        log: Arc::new(Log::default()),
        run,
        seed,
        started,
        options: &options,
    };
    terminal.note(scene.opening(&fleet));
    let board = scene.play(&mut fleet, &place, terminal).await;
    terminal.progress_done();
    fleet.end().await;
    let board = board?;
    let about = scene.about(place.data.display().to_string());
    scene.tell(&board, &about, terminal)?;
    Ok(if board.passed() { Exit::Ok } else { Exit::ChaosFailed })
}

/// One run.
struct Scene<'a> {
    clients: Arc<Clients>,
    log: Arc<Log>,
    run: String,
    seed: u64,
    started: Instant,
    options: &'a ChaosOptions,
}

impl Scene<'_> {
    fn opening(&self, fleet: &Fleet) -> String {
        let ChaosOptions { length, rate, workers, kills, .. } = self.options;
        format!(
            "chaos {}: {} at {rate} tasks a second; {workers} workers, the server on {}; kills: workers {}, server {}; seed {}",
            self.run,
            humantime::format_duration(*length),
            fleet.addr(),
            kills.worker,
            kills.server,
            self.seed
        )
    }

    /// The load with its failures, then what became of it.
    async fn play(
        &self,
        fleet: &mut Fleet,
        place: &Place,
        terminal: &mut Terminal,
    ) -> Result<Board, Failure> {
        if !load::workers_there(&self.clients, self.options.workers, PATIENCE).await {
            let logs = place.logs.display();
            return Err(Failure::from(format!("the workers did not come up: see {logs}")));
        }
        let person = person::answer(
            Arc::clone(&self.clients),
            Arc::clone(&self.log),
            self.run.clone(),
            Dice::of(self.seed, "person").next(),
        );
        let person = tokio::spawn(person);
        let settled = self.storm(fleet, terminal).await;
        person.abort();
        settled?;
        self.judge(place, terminal).await
    }

    /// Loads, kills, shows; then waits until all has ended, or for as long as that may take.
    async fn storm(&self, fleet: &mut Fleet, terminal: &mut Terminal) -> Result<(), Failure> {
        let enough = CancellationToken::new();
        let load = Arc::new(Load {
            clients: Arc::clone(&self.clients),
            log: Arc::clone(&self.log),
            run: self.run.clone(),
            source: Source::BuiltIn,
            labels: BTreeMap::new(),
            seed: Dice::of(self.seed, "load").next(),
        });
        let pace = Pace { rate: self.options.rate, concurrency: self.options.concurrency };
        let mut loading = tokio::spawn(load.run(pace, enough.clone()));
        let dice = Dice::of(self.seed, "kills");
        let ended = tokio::select! {
            killed = kills::kill_in_turn(fleet, self.options.kills, &self.log, dice, &enough) => killed,
            stopped = over(self.options.length) => stopped,
            () = self.watch(terminal) => Ok(()),
        };
        enough.cancel();
        if ended.is_err() {
            loading.abort();
            return ended;
        }
        // The end may have come between a kill and the return of what was killed.
        fleet.make_whole().await?;
        self.log.back();
        tokio::select! {
            // What has not ended by then is for the score to see.
            _ = timeout(self.options.settle, &mut loading) => {}
            () = self.watch(terminal) => {}
        }
        loading.abort();
        Ok(())
    }

    /// Shows how it goes, for ever.
    async fn watch(&self, terminal: &mut Terminal) {
        let (mut show, mut line) = (interval(SHOW), Instant::now() + LINE);
        loop {
            show.tick().await;
            let text = self.progress(&self.log.read());
            if terminal.is_watched() {
                terminal.progress(&text);
            } else if Instant::now() >= line {
                line += LINE;
                terminal.note(text);
            }
        }
    }

    fn progress(&self, notes: &Notes) -> String {
        let Notes { acknowledged, kills, open, ended, .. } = notes;
        let servers = kills.iter().filter(|kill| kill.worker.is_none()).count();
        let ends: Vec<String> = ended.iter().map(|(state, count)| format!("{state} {count}")).collect();
        format!(
            "{}s: {} acknowledged, {open} open; {}; killed: {} workers, {servers} servers",
            self.started.elapsed().as_secs(),
            acknowledged.len(),
            if ends.is_empty() { "none ended".to_owned() } else { ends.join(", ") },
            kills.len() - servers,
        )
    }

    /// Reads everything back and scores it.
    async fn judge(&self, place: &Place, terminal: &mut Terminal) -> Result<Board, Failure> {
        let notes = self.log.read();
        terminal.progress("reading every task back");
        let ids: BTreeSet<String> = notes.acknowledged.iter().map(|one| one.task.clone()).collect();
        let tasks = collect::judge_all(Arc::clone(&self.clients), ids).await?;
        let world = crew::read_folder(&place.world)
            .map_err(|error| Failure::from(format!("the side effects cannot be read: {error}")))?;
        let seen = Observed {
            injected: self.injected(&notes),
            acknowledged: notes.acknowledged,
            tasks,
            effects: world.effects,
            brakes: world.brakes,
            kills: notes.kills,
            breakers: None,
        };
        Ok(score::score(&seen))
    }

    /// Failures by kind; those that were asked for stand there even if they never happened.
    fn injected(&self, notes: &Notes) -> BTreeMap<String, u64> {
        let (servers, workers): (Vec<_>, Vec<_>) = notes.kills.iter().partition(|kill| kill.worker.is_none());
        let KillRates { worker, server } = self.options.kills;
        let count = |kills: Vec<_>| u64::try_from(kills.len()).unwrap_or(u64::MAX);
        [("worker killed", worker, count(workers)), ("server killed", server, count(servers))]
            .into_iter()
            .filter(|(_, rate, _)| rate.per_minute() > 0.0)
            .map(|(kind, _, times)| (kind.to_owned(), times))
            .collect()
    }

    fn about(&self, record: String) -> About {
        let notes = self.log.read();
        About {
            run: self.run.clone(),
            seed: self.seed,
            seconds: self.started.elapsed().as_secs_f64(),
            held_back: notes.held_back,
            refused: notes.refused,
            answered: notes.answered,
            record,
        }
    }

    /// Prints the board, and writes it where it was asked for.
    fn tell(&self, board: &Board, about: &About, terminal: &Terminal) -> Result<(), Failure> {
        if let Some(file) = &self.options.junit {
            std::fs::write(file, junit::xml(board, about.seconds))
                .map_err(|error| Failure::from(format!("{} cannot be written: {error}", file.display())))?;
        }
        if self.options.json {
            return terminal.line(report::json(board, about));
        }
        terminal.lines(report::lines(board, about, terminal.look()))?;
        terminal.note(format!("the record stays: bailiwick serve --data {}", about.record));
        Ok(())
    }
}

/// Waits until the time is over, or until somebody has had enough: then the run ends early and is scored all the same.
async fn over(length: Duration) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::from(format!("cannot listen for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        () = tokio::time::sleep(length) => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
