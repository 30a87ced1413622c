//! `cargo bench --bench cycle`: what durability and the contract cost, as ratios on the machine it runs on.
//!
//! In one run, interleaved round by round so that a machine that slows down slows all of them: raw tonic unary echo (E, 64
//! in flight), one 4 KiB fdatasync, and the full durable cycle (submit acknowledged after fsync, assigned, completed,
//! acknowledged; client and workers included, 256 in flight). Then the dispatch latency (submit sent -> worker has it) at 200
//! tasks a second, as multiples of L = one echo + one fdatasync. Prints medians with their spread; judges nothing.
//!
//! `--quick` runs a short round of each, to see that it works; its figures mean little.

mod cycle;
mod echo;
mod latency;
mod stats;

use std::{path::PathBuf, time::Duration};

use stats::{Spread, ratio};

/// How long and how often things are measured.
pub(crate) struct Plan {
    rounds: usize,
    round: Duration,
    latency: Duration,
}

impl Plan {
    fn from_args() -> Self {
        if std::env::args().any(|arg| arg == "--quick") {
            return Self { rounds: 1, round: Duration::from_millis(500), latency: Duration::from_secs(1) };
        }
        Self { rounds: 7, round: Duration::from_secs(3), latency: Duration::from_secs(20) }
    }
}

/// The threads of the server's side and of the client's, in every measurement alike.
pub(crate) const THREADS: usize = 2;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .expect("threads can be started")
}

fn main() {
    let plan = Plan::from_args();
    let folder = data_folder();
    let (server, client) = (runtime(), runtime());
    let echo = echo::Echo::start(&server);
    let bailiwick = cycle::Bailiwick::start(&server, &client, &folder);

    let mut echoes = Vec::new();
    let mut syncs = Vec::new();
    let mut cycles = Vec::new();
    let mut single_echoes = Vec::new();
    for round in 1..=plan.rounds {
        echoes.push(client.block_on(echo.rate(64, plan.round)));
        single_echoes.push(client.block_on(echo.one(200)));
        syncs.push(stats::fdatasync(&folder, 100));
        cycles.push(client.block_on(bailiwick.rate(256, plan.round)));
        eprintln!(
            "round {round}/{}: echo {:.0}/s, fdatasync {:.3} ms, cycle {:.0}/s",
            plan.rounds,
            echoes[round - 1],
            syncs[round - 1] * 1e3,
            cycles[round - 1]
        );
    }
    let per_round: Vec<_> = cycles.iter().zip(&echoes).map(|(cycle, echo)| cycle / echo).collect();
    println!("echo, 64 in flight       {}", Spread::of(&echoes).show("/s", 1.0));
    println!("one echo                 {}", Spread::of(&single_echoes).show(" ms", 1e3));
    println!("one 4 KiB fdatasync      {}", Spread::of(&syncs).show(" ms", 1e3));
    println!("durable cycle, 256       {}", Spread::of(&cycles).show("/s", 1.0));
    println!("ratio R (cycle / echo)   {}", Spread::of(&per_round).show("", 1.0));

    let limit = Spread::of(&single_echoes).median + Spread::of(&syncs).median;
    let dispatch = client.block_on(latency::at_rate(&bailiwick, 200, plan.latency));
    println!(
        "dispatch at 200/s        p50 {:.2} ms = {}, p99 {:.2} ms = {}  (L = one echo + one fdatasync = {:.3} ms; {} \
         tasks)",
        dispatch.p50 * 1e3,
        ratio(dispatch.p50, limit),
        dispatch.p99 * 1e3,
        ratio(dispatch.p99, limit),
        limit * 1e3,
        dispatch.count
    );
    client.block_on(bailiwick.stop());
    if std::fs::remove_dir_all(&folder).is_err() {
        eprintln!("the bench's data stays in {}", folder.display());
    }
}

/// A folder on the disk that the build is on: a temporary folder in memory would make fsync free.
fn data_folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("cycle-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the target folder is writable");
    folder
}
