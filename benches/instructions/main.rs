//! `cargo bench --bench instructions`: how many instructions the server needs for a task, held against the number that was
//! committed with the code. Times differ from machine to machine and from minute to minute; this hardly does.
//!
//! A fixed workload (a contract off the wire, submitted, assigned, answered, acknowledged; store in memory, a clock that
//! stands still, one thread) is run by this program, started again under `perf stat` or, where that may not count, under
//! valgrind: once with few tasks and once with many, so that starting costs nothing. Where neither can count, it says so and
//! fails nothing. Exit code 1: dearer than the committed number by more than the tolerance.
//!
//! There is a number for builds with optimisation and one for those without (`cargo test --bench instructions`): what makes a
//! task dearer shows in both, and the second needs no build of its own beside the tests'.

mod workload;

use std::process::{Command, ExitCode, Stdio};

/// Instructions a task in user mode, as they were when this was last looked at: a kind of build and its number a line.
const COMMITTED: &str = include_str!("committed.txt");
/// The kind of this build.
const BUILD: &str = if cfg!(debug_assertions) { "plain" } else { "optimised" };
/// How much dearer a task may be, as a share: hash tables are seeded anew in every run, and compilers differ a little.
const TOLERANCE: f64 = 0.03;
/// The tasks of the two runs.
const FEW: u64 = 200;
const MANY: u64 = 600;
/// The first argument of the process that is counted.
const MARK: &str = "work";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(MARK) {
        let tasks = args.next().and_then(|tasks| tasks.parse().ok()).expect("a number of tasks");
        workload::run(tasks);
        return ExitCode::SUCCESS;
    }
    let Some((counter, few)) = [perf, valgrind].iter().find_map(|count| Some((count, count(FEW)?))) else {
        println!("instructions are not counted: neither perf (may it count?) nor valgrind works here");
        return ExitCode::SUCCESS;
    };
    let Some(many) = counter(MANY) else {
        println!("instructions are not counted: the counter worked once, and then not again");
        return ExitCode::SUCCESS;
    };
    #[allow(clippy::cast_precision_loss)]
    let each = (many - few) / (MANY - FEW) as f64;
    let Some(committed) = committed() else {
        println!(
            "{each:.0} instructions a task; nothing is committed for a build of this kind: add `{BUILD} {each:.0}`"
        );
        return ExitCode::SUCCESS;
    };
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

fn committed() -> Option<f64> {
    let number = COMMITTED.lines().find_map(|line| line.strip_prefix(BUILD))?;
    number.trim().parse().ok()
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

fn valgrind(tasks: u64) -> Option<f64> {
    let tool = ["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"];
    let said = stderr(Command::new("valgrind").args(tool).args(again(tasks)?))?;
    let is_count = |line: &&str| line.contains("refs:") && line.contains(" I ");
    let (_, count) = said.lines().find(is_count)?.split_once("refs:")?;
    count.trim().replace(',', "").parse().ok()
}

/// What a command that went well said on stderr.
fn stderr(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}
