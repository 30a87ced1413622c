//! `cargo bench --bench store [-- TASKS [PAGE_SIZE]]`: what the journal costs without the rest of the server. Tasks are submitted and
//! assigned in one commit and completed in another, 1, 10 and 100 tasks a commit, on one thread. Prints the time of a commit
//! and the processor time of the whole process for each task; what is behind the commits at their end is counted too. Judges
//! nothing.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use bailiwick::{
    store::{
        Store as _,
        record::{Append, StoredEvent, SummaryRow},
        sqlite::SqliteStore,
    },
    types::{
        ids::{AgentName, TaskId},
        outcome::{Cause, EndedBy, TaskState},
        time::Timestamp,
    },
};
use uuid::Uuid;

/// Tasks in one commit.
const BATCHES: [usize; 3] = [1, 10, 100];
/// Tasks of each run, unless told otherwise.
const TASKS: usize = 20_000;
/// How often each is run.
const ROUNDS: usize = 3;

fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse::<usize>().ok());
    let (tasks, page_size) = (numbers.next().unwrap_or(TASKS), numbers.next());
    println!(
        "tasks a commit   tasks/s   p50 commit   p99 commit   longest   processor a task   bytes a task"
    );
    for batch in BATCHES {
        for _ in 0..ROUNDS {
            run(batch, if batch == 1 { tasks / 10 } else { tasks }, page_size);
        }
    }
}

#[allow(clippy::disallowed_methods)] // A benchmark reads the clock.
fn run(batch: usize, tasks: usize, page_size: Option<usize>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bench.db");
    if let Some(bytes) = page_size {
        let empty = rusqlite::Connection::open(&path).expect("a file");
        empty
            .execute_batch(&format!("PRAGMA page_size = {bytes}; PRAGMA journal_mode = WAL"))
            .expect("pages");
    }
    let store = SqliteStore::open(&path).expect("a new database");
    let (before, start) = (processor_time(), Instant::now());
    let mut commits = Vec::new();
    for first in (0..tasks).step_by(batch) {
        let ids: Vec<TaskId> = (first..first + batch).map(id).collect();
        let both: [fn(TaskId) -> Append; 2] = [submitted, completed];
        for step in both {
            let appends: Vec<Append> = ids.iter().map(|id| step(*id)).collect();
            let at = Instant::now();
            store.commit(&appends).expect("there is room");
            commits.push(at.elapsed());
        }
    }
    let took = start.elapsed();
    drop(store);
    let processor = processor_time() - before;
    commits.sort_unstable();
    let at = |share: usize| micros(commits[(commits.len() - 1) * share / 100]);
    println!(
        "{batch:>14}   {:>7.0}   {:>7.0} us   {:>7.0} us   {:>4.0} us   {:>13.1} us   {:>12}",
        tasks as f64 / took.as_secs_f64(),
        at(50),
        at(99),
        at(100),
        micros(processor) / tasks as f64,
        size(folder.path()) / tasks as u64,
    );
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn size(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).expect("the folder").flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

/// What this process has used so far, in steps of the system's clock tick.
fn processor_time() -> Duration {
    let Ok(stat) = fs::read_to_string("/proc/self/stat") else { return Duration::ZERO };
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// As the server makes them: the time in front.
fn id(n: usize) -> TaskId {
    TaskId::from(Uuid::from_u128(
        ((1_770_000_000_000 + n as u128 / 10) << 80) | (7 << 76) | (n as u128 * 0x9e37_79b9) << 16,
    ))
}

fn event(seq: u64, kind: &str, bytes: usize) -> StoredEvent {
    let body = format!(r#"{{"{kind}":{{"text":"{}"}}}}"#, "x".repeat(bytes));
    StoredEvent {
        seq,
        at: Timestamp(1_770_000_000_000_000 + seq),
        kind: kind.to_owned().into(),
        version: 2,
        body,
    }
}

fn summary(task: TaskId, seq: u64) -> SummaryRow {
    let name = |name: &str| name.parse::<AgentName>().expect("a name");
    SummaryRow {
        task,
        state: TaskState::Running,
        ended_by: None,
        cause: None,
        owner: name("worker"),
        agents: [name("worker")].into(),
        labels: vec![("env".to_owned(), "prod".to_owned())],
        created_at: Timestamp(1_770_000_000_000_000),
        updated_at: Timestamp(1_770_000_000_000_000 + seq),
        seq,
        parked: None,
        view: format!(r#"{{"text":"{}"}}"#, "y".repeat(700)).into(),
    }
}

fn submitted(task: TaskId) -> Append {
    let events =
        vec![event(1, "submitted", 1_000), event(2, "turn_opened", 60), event(3, "attempt_started", 110)];
    Append {
        task,
        expected_seq: 0,
        events,
        summary: summary(task, 3),
        escalations: Vec::new(),
        sums: Vec::new(),
    }
}

fn completed(task: TaskId) -> Append {
    let events = vec![event(4, "turn_answered", 250), event(5, "gate_judged", 50), event(6, "ended", 400)];
    let end = SummaryRow {
        state: TaskState::Succeeded,
        ended_by: Some(EndedBy::Gate),
        cause: Some(Cause::Completed),
        ..summary(task, 6)
    };
    let sums = ["judged", "said", "brier", "accepted"].map(|word| (format!("tally.worker.gate.9.{word}"), 1));
    Append { task, expected_seq: 3, events, summary: end, escalations: Vec::new(), sums: sums.to_vec() }
}
