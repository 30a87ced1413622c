//! `cargo bench --bench million`: what a million open tasks cost. Makes two databases, one with a thousand open tasks that
//! wait for a worker and one with a million; starts a server process on each; then both run the same tasks in turns.
//!
//! Prints the memory of each open task, the time from the start to the first assignment and until all is known, and what a
//! task costs with the one and with the other, as a ratio: wall time, and instructions in user mode where `perf` may count
//! them. `--tasks N` sets how many are many, `--quick` takes 20,000. Judges nothing.

#![allow(clippy::disallowed_methods)] // A bench measures real time.

mod database;
mod perf;
mod server;

use std::time::Instant;

use server::{Figures, Process};

/// Open tasks in the small database.
const FEW: usize = 1_000;
/// Tasks that run from their submission to their end, each time.
const CYCLES: usize = 10_000;
/// Tasks that waited when the server started and run now, each time.
const DRAINED: usize = 300;
/// How often each is measured.
const ROUNDS: usize = 3;
/// Tasks submitted to see what those cost that are kept in memory.
const KEPT: usize = 20_000;

fn main() {
    let mut args = std::env::args().skip(1);
    let mut many = 1_000_000;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => many = 20_000,
            "--tasks" => {
                many = args.next().and_then(|text| text.parse().ok()).expect("--tasks takes a number");
            }
            "--server" => {
                let path = args.next().expect("--server takes a path");
                let residents = args.next().and_then(|text| text.parse().ok()).expect("and a number");
                return server::serve(path.as_ref(), residents);
            }
            // What cargo adds.
            _ => {}
        }
    }
    measure(many);
}

/// The median.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn measure(many: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (small, large) = (folder.path().join("few.db"), folder.path().join("many.db"));
    let begun = Instant::now();
    database::make(&small, FEW);
    database::make(&large, many);
    let bytes = std::fs::metadata(&large).map_or(0, |file| file.len());
    println!("{many} open tasks in a database of {} MB, made in {:.0?}", bytes >> 20, begun.elapsed());

    let (mut few, few_ready) = Process::start(&small, 20_000);
    let (mut lots, lots_ready) = Process::start(&large, 20_000);
    let each = (lots_ready.rss - few_ready.rss) / (many - FEW) as f64;
    println!("memory of an open task that waits       {each:.0} bytes (floor 4096, wanted 1536)");
    println!(
        "start to the first assignment           {:.2} s (floor 20, wanted 5); all known after {:.1} s",
        lots_ready.first_assignment, lots_ready.all_known
    );
    compare("a task, submitted to ended", &mut few, &mut lots, "cycle", CYCLES, many);
    compare("a task that waited, to its end", &mut few, &mut lots, "drain", DRAINED, many);
    drop((few, lots));

    let kept = folder.path().join("kept.db");
    database::make(&kept, FEW);
    let (mut all_kept, before) = Process::start(&kept, usize::MAX);
    all_kept.run("fill", KEPT);
    let each = (all_kept.run("rss", 0).rss - before.rss) / KEPT as f64;
    println!("memory of one that is kept in memory    {each:.0} bytes");
}

fn compare(what: &str, few: &mut Process, lots: &mut Process, command: &str, times: usize, many: usize) {
    let (mut walls, mut instructions) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for _ in 0..ROUNDS {
        for (process, walls, counts) in
            [(&mut *few, &mut walls.0, &mut instructions.0), (&mut *lots, &mut walls.1, &mut instructions.1)]
        {
            let counter = perf::Counter::start(process.id());
            let Figures { seconds, .. } = process.run(command, times);
            walls.push(seconds / times as f64);
            counts.extend(counter.and_then(perf::Counter::stop).map(|count| count / times as f64));
        }
    }
    let (a, b) = (median(walls.0), median(walls.1));
    println!(
        "{what:<39} {:.0} us with {FEW} open, {:.0} us with {many}: x{:.2} (floor 1.5)",
        a * 1e6,
        b * 1e6,
        b / a
    );
    if instructions.0.is_empty() || instructions.1.is_empty() {
        return println!("{:<39} not counted here: perf may not", "");
    }
    let (a, b) = (median(instructions.0), median(instructions.1));
    println!("{:<39} {:.0} k and {:.0} k instructions: x{:.2}", "", a / 1e3, b / 1e3, b / a);
}
