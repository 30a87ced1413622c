//! The whole control plane in one process, on virtual time, from one seed: docs/simulation.md says what is simulated.
//!
//! `cargo test --test simulation` runs a few seeds; `SEEDS=2000 FIRST_SEED=0` others; `SEED=n TRACE=1` prints one's transcript.

mod api;
mod attempt;
mod books;
mod brakes;
mod chance;
mod client;
mod contracts;
mod disk;
mod end;
mod faults;
mod host;
mod laws;
mod letters;
mod life;
mod operator;
mod orders;
mod run;
mod silence;
mod sim;
mod tape;
mod time;
mod worker;

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use run::{Ran, run};
use tape::Keep;

/// Runs at once.
const THREADS: u64 = 2;
/// Seeds without further notice.
const SEEDS: u64 = 24;
/// How often progress is said, in seeds.
const SAY_EVERY: u64 = 100;

fn asked(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text}: write a number")))
}

/// Says something at once, whatever the test harness keeps back.
fn say(what: &str) {
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "{what}");
}

fn failed(seed: u64, what: &str) -> String {
    format!(
        "seed {seed} fails: {what}\nrepeat it with: SEED={seed} TRACE=1 cargo test --test simulation -- --nocapture"
    )
}

#[test]
fn every_seed_keeps_the_laws() {
    run::hear_panics();
    if let Some(seed) = asked("SEED") {
        let keep = if asked("TRACE").unwrap_or(0) > 0 { Keep::Print } else { Keep::Hash };
        let ran = run(seed, keep);
        say(&format!("seed {seed}: {:?}", ran.sum));
        if let Some(what) = ran.failure {
            say(&failed(seed, &what));
            panic!("seed {seed} fails");
        }
        return;
    }
    let (first, seeds) = (asked("FIRST_SEED").unwrap_or(0), asked("SEEDS").unwrap_or(SEEDS));
    let (done, failures, sum) = run_all(first, seeds);
    let Summary { tasks, commits, seen } = sum;
    let events: u64 = seen.iter().filter(|(what, _)| !what.contains(' ')).map(|(_, count)| count).sum();
    say(&format!("{done} seeds: {tasks} tasks, {commits} commits, {events} events"));
    if asked("SHOW").is_some() {
        seen.iter().for_each(|(what, count)| say(&format!("{count:>9} {what}")));
    }
    if !failures.is_empty() {
        say(&format!("failing seeds: {failures:?}"));
        panic!("seeds fail");
    }
}

/// What all runs came to.
#[derive(Default)]
struct Summary {
    tasks: usize,
    commits: u64,
    seen: BTreeMap<String, u64>,
}

/// Runs seeds side by side. How many were run, which failed, and what they came to.
#[allow(clippy::disallowed_methods)] // Says how long it took; no run sees it.
fn run_all(first: u64, seeds: u64) -> (u64, Vec<u64>, Summary) {
    let (next, done, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let all = Mutex::new((Vec::new(), Summary::default()));
    let start = Instant::now();
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = first + next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return;
            }
            let Ran { tasks, commits, seen, failure, .. } = run(seed, Keep::Hash);
            let mut all = all.lock().expect("no panic under it");
            let (failures, sum) = &mut *all;
            (sum.tasks, sum.commits) = (sum.tasks + tasks, sum.commits + commits);
            for (what, count) in seen {
                *sum.seen.entry(what).or_default() += count;
            }
            if let Some(what) = failure {
                say(&failed(seed, &what));
                failures.push(seed);
                // The first says enough, unless all are wanted.
                stop.store(asked("ALL").is_none(), Ordering::Relaxed);
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(SAY_EVERY) {
                say(&format!("{done} of {seeds} seeds, {} s", start.elapsed().as_secs()));
            }
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
    let (failures, sum) = all.into_inner().expect("no panic under it");
    (done.load(Ordering::Relaxed), failures, sum)
}

/// Without this nothing above can be repeated.
#[test]
fn the_same_seed_gives_the_same_transcript() {
    run::hear_panics();
    let (first, seeds) = (asked("FIRST_SEED").unwrap_or(0), asked("TWICE").unwrap_or(6));
    for seed in first..first + seeds {
        let (once, again) = (run(seed, Keep::Lines(Vec::new())), run(seed, Keep::Lines(Vec::new())));
        let differs = once.lines.iter().zip(&again.lines).position(|(a, b)| a != b);
        if let Some(at) = differs {
            say(&format!("seed {seed} differs at line {at}:\n{}\n{}", once.lines[at], again.lines[at]));
        }
        if once.sum != again.sum {
            say(&format!("seed {seed} gives {:?}, then {:?}", once.sum, again.sum));
            panic!("a seed does not repeat");
        }
    }
}
