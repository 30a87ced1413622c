//! `cargo bench --bench table`: one table of what Bailiwick does on the machine it runs on, every row with its floor, what is
//! wanted, and what was measured in this run.
//!
//! The server is a process of its own (this program, started again); clients and workers are in this one, so that they cost
//! what clients cost. E is raw tonic unary echo, 64 in flight, by the same threads; L is one echo and one 4 KiB fdatasync;
//! both are measured again in every round of what they divide. A probe before and after each run, and a look at what others
//! used meanwhile, say whether the machine was quiet; runs that were not are repeated a few times, and only quiet ones count
//! where there are any.
//!
//! `-- --rows cycle,kill` measures some rows, `--quick` all of them shortly (to see that they work: the figures mean little),
//! `--json` prints JSON.

mod board;
mod child;
mod contracts;
mod echo;
mod load;
mod long;
mod memory;
mod open;
mod overload;
mod quiet;
mod rounds;
mod row;
mod stats;
mod traces;
mod worker;

use std::{path::PathBuf, time::Duration};

use rounds::Stage;
use row::Row;

/// As the product has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Every row, in the order of the table.
const ROWS: [&str; 14] = [
    "cycle", "streamed", "dispatch", "half", "overload", "reports", "kill", "memory", "restart", "growth",
    "long", "cpu", "backtest", "crowd",
];
/// The threads of the server's side and of the client's, in every measurement alike.
const THREADS: usize = 2;

/// How long and how often things are measured.
pub(crate) struct Plan {
    rounds: usize,
    round: Duration,
    latencies: usize,
    latency: Duration,
    /// Runs that may be repeated because the machine was not quiet.
    repeats: usize,
    overload: Duration,
    /// Idle workers.
    idle: usize,
    /// Open tasks.
    open: u64,
    /// Recorded runs.
    traces: u64,
    /// Workers at once.
    crowd: usize,
}

impl Plan {
    const fn full() -> Self {
        Self {
            rounds: 5,
            round: Duration::from_secs(2),
            latencies: 3,
            latency: Duration::from_secs(5),
            repeats: 3,
            overload: Duration::from_secs(60),
            idle: 1_000,
            open: 1_000_000,
            traces: 2_000,
            crowd: 10_000,
        }
    }

    const fn quick() -> Self {
        Self {
            rounds: 1,
            round: Duration::from_millis(400),
            latencies: 1,
            latency: Duration::from_secs(1),
            repeats: 0,
            overload: Duration::from_secs(3),
            idle: 100,
            open: 10_000,
            traces: 200,
            crowd: 300,
        }
    }
}

/// A run of this program.
pub(crate) struct Bench {
    plan: Plan,
    rows: Vec<String>,
    json: bool,
    folder: PathBuf,
}

impl Bench {
    fn from_args() -> Result<Self, String> {
        let (mut plan, mut rows, mut json) = (Plan::full(), Vec::new(), false);
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => plan = Plan::quick(),
                "--json" => json = true,
                "--rows" => {
                    let chosen = args.next().unwrap_or_default();
                    rows.extend(chosen.split(',').map(str::to_owned));
                }
                "--open" => {
                    let open = args.next().and_then(|count| count.parse().ok());
                    plan.open =
                        open.filter(|open| *open > 1_000).ok_or("--open wants a number over 1,000")?;
                }
                "--bench" => {} // What cargo says to every benchmark.
                other => return Err(format!("{other}: there is no such option")),
            }
        }
        if let Some(unknown) = rows.iter().find(|row| !ROWS.contains(&row.as_str())) {
            return Err(format!("{unknown}: there is no such row; there are {}", ROWS.join(", ")));
        }
        // On the disk that the build is on: a temporary folder in memory would make fsync free.
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("table-{}", std::process::id()));
        Ok(Self { plan, rows, json, folder })
    }

    /// Whether one of these rows is wanted.
    fn wants(&self, rows: &[&str]) -> bool {
        self.rows.is_empty() || rows.iter().any(|row| self.rows.iter().any(|wanted| wanted == row))
    }

    /// A folder of that name, made if it is not there.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).expect("the target folder is writable");
        folder
    }

    /// Says how it goes.
    pub(crate) fn say(&self, text: impl std::fmt::Display) {
        eprintln!("{text}");
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .expect("threads can be started")
}

/// Lets this process open as many files as it may; how many those are.
pub(crate) fn files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current: _, maximum } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn main() -> std::process::ExitCode {
    files();
    if child::serve_if_asked() {
        return std::process::ExitCode::SUCCESS;
    }
    let bench = match Bench::from_args() {
        Ok(bench) => bench,
        Err(error) => {
            eprintln!("{error}");
            return std::process::ExitCode::from(2);
        }
    };
    let mut rows = measured(&bench);
    let place = |row: &Row| ROWS.iter().position(|key| *key == row.key);
    rows.retain(|row| bench.wants(&[row.key]));
    rows.sort_by_key(place);
    println!("{}", if bench.json { row::json(&rows) } else { row::table(&rows) });
    if std::fs::remove_dir_all(&bench.folder).is_err() {
        eprintln!("the bench's data stays in {}", bench.folder.display());
    }
    std::process::ExitCode::SUCCESS
}

fn measured(bench: &Bench) -> Vec<Row> {
    let client = runtime();
    let mut rows = Vec::new();
    if bench.wants(&["cycle", "streamed", "reports", "cpu", "dispatch", "half", "kill", "overload"]) {
        let stage = Stage::start(&client, bench, "cycle");
        let (shares, maximum) = rounds::shares(&client, bench, &stage);
        rows.extend(shares);
        if bench.wants(&["dispatch", "half", "kill"]) {
            rows.extend(rounds::latencies(&client, bench, &stage, maximum));
        }
        if bench.wants(&["overload"]) {
            rows.extend(overload::rows(&client, bench, &stage, maximum));
        }
        stage.server.stop();
    }
    if bench.wants(&["memory"]) {
        rows.extend(memory::idle(&client, bench));
    }
    if bench.wants(&["memory", "restart", "growth"]) {
        rows.extend(open::rows(&client, bench));
    }
    if bench.wants(&["long"]) {
        rows.extend(long::rows(bench));
    }
    if bench.wants(&["backtest"]) {
        rows.extend(traces::rows(bench));
    }
    if bench.wants(&["crowd"]) {
        rows.extend(memory::crowd(&client, bench));
    }
    rows
}
