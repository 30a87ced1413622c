//! The whole control plane in one process, on virtual time, from one seed: docs/simulation.md says what is simulated.
//!
//! `cargo test --test simulation` runs a few seeds; `SEEDS=2000 FIRST_SEED=0` others; `SEED=n TRACE=1` prints one's transcript.

mod api;
mod attempt;
mod books;
mod chance;
mod client;
mod contracts;
mod disk;
mod end;
mod faults;
mod host;
mod laws;
mod life;
mod run;
mod sim;
mod tape;
mod time;
mod worker;

use std::{
    io::Write,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
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
    format!("seed {seed} fails: {what}\nrepeat it with: SEED={seed} TRACE=1 cargo test --test simulation -- --nocapture")
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
    let (next, done, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let start = Instant::now();
    let (mut tasks, mut commits, mut events) = (0, 0, 0);
    let found: Vec<(u64, String)> = std::thread::scope(|scope| {
        let work = || {
            let (mut failures, mut sums) = (Vec::new(), (0, 0, 0));
            while !stop.load(Ordering::Relaxed) {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= seeds {
                    break;
                }
                let Ran { tasks, commits, events, failure, .. } = run(first + at, Keep::Hash);
                sums = (sums.0 + tasks, sums.1 + commits, sums.2 + events);
                if let Some(what) = failure {
                    say(&failed(first + at, &what));
                    failures.push((first + at, what));
                    // The first few say enough.
                    stop.store(asked("ALL").is_none(), Ordering::Relaxed);
                }
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                if done.is_multiple_of(SAY_EVERY) {
                    say(&format!("{done} of {seeds} seeds, {} s", start.elapsed().as_secs()));
                }
            }
            (failures, sums)
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        let mut found = Vec::new();
        for thread in threads {
            let (failures, sums) = thread.join().expect("runs keep their panics");
            (tasks, commits, events) = (tasks + sums.0, commits + sums.1, events + sums.2);
            found.extend(failures);
        }
        found
    });
    let (ran, seconds) = (done.load(Ordering::Relaxed), start.elapsed().as_secs_f64());
    say(&format!("{ran} seeds in {seconds:.1} s: {tasks} tasks, {commits} commits, {events} events"));
    if !found.is_empty() {
        let seeds: Vec<u64> = found.iter().map(|(seed, _)| *seed).collect();
        say(&format!("failing seeds: {seeds:?}"));
        panic!("seeds fail");
    }
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
