//! `cargo bench --bench instructions`: how many instructions the server needs for a task, held against the number that was
//! committed with the code. Times differ from machine to machine and from minute to minute; this hardly does.
//!
//! A fixed workload (a contract off the wire, submitted, assigned, answered, acknowledged; store in memory, a clock that
//! stands still, one thread) is run by this program, started again under `perf stat` or, where that may not count, under
//! callgrind: once with few tasks and once with many, so that starting costs nothing. Where neither can count, it says so and
//! fails nothing. Exit code 1: dearer than the committed number by more than the tolerance.

mod workload;

use std::process::{Command, ExitCode, Stdio};

/// Instructions a task in user mode, as it was when this was last looked at.
const COMMITTED: &str = include_str!("committed.txt");
/// How much dearer a task may be, as a share: batches are cut where threads meet, and compilers differ a little.
const TOLERANCE: f64 = 0.05;
/// The tasks of the two runs.
const FEW: u64 = 2_000;
const MANY: u64 = 6_000;
/// The first argument of the process that is counted.
const MARK: &str = "work";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(MARK) {
        let tasks = args.next().and_then(|tasks| tasks.parse().ok()).expect("a number of tasks");
        workload::run(tasks);
        return ExitCode::SUCCESS;
    }
    let Some((counter, few)) = [perf, callgrind].iter().find_map(|count| Some((count, count(FEW)?))) else {
        println!("instructions are not counted: neither perf (may it count?) nor valgrind works here");
        return ExitCode::SUCCESS;
    };
    let Some(many) = counter(MANY) else {
        println!("instructions are not counted: the counter worked once, and then not again");
        return ExitCode::SUCCESS;
    };
    #[allow(clippy::cast_precision_loss)]
    let each = (many - few) / (MANY - FEW) as f64;
    let committed: f64 = COMMITTED.trim().parse().expect("benches/instructions/committed.txt holds a number");
    let change = each / committed - 1.0;
    println!("{each:.0} instructions a task; committed: {committed:.0} ({:+.1} %)", change * 100.0);
    if change > TOLERANCE {
        println!("a task has become dearer: find out why, or commit the new number and say why");
        return ExitCode::FAILURE;
    }
    if change < -TOLERANCE {
        println!("a task has become cheaper: commit the new number, so that it stays so");
    }
    ExitCode::SUCCESS
}

/// This program, to be started again with so many tasks.
fn again(tasks: u64) -> Option<[String; 3]> {
    let program = std::env::current_exe().ok()?;
    Some([program.to_str()?.to_owned(), MARK.to_owned(), tasks.to_string()])
}

fn perf(tasks: u64) -> Option<f64> {
    let said =
        stderr(Command::new("perf").args(["stat", "-x,", "-e", "instructions:u"]).args(again(tasks)?))?;
    let line = said.lines().find(|line| line.contains("instructions"))?;
    line.split(',').next()?.parse().ok()
}

fn callgrind(tasks: u64) -> Option<f64> {
    let tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let said = stderr(Command::new("valgrind").args(tool).args(again(tasks)?))?;
    let line = said.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

/// What a command that went well said on stderr.
fn stderr(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}
