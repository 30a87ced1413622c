//! A server process on one of the databases, without a network: it says when it is ready and then does what it is told, line
//! by line.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick::{
    engine::event::TraceContext,
    runtime::{Down, Runtime, RuntimeOptions, SessionId, SystemClock, SystemEntropy},
    store::sqlite::SqliteStore,
    types::{
        envelope::{Answer, Confidence, Envelope, Status},
        payload::Payload,
        usage::Usage,
    },
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

use crate::database::{BUSY, WAITED_FOR, contract, registration};

/// Tasks in flight at once.
const IN_FLIGHT: u32 = 256;

/// What a process says of itself.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// From the opening of the database, in seconds.
    pub(crate) first_assignment: f64,
    /// The same, until every open task was known.
    pub(crate) all_known: f64,
    /// How long the last command took.
    pub(crate) seconds: f64,
    /// Memory in use, in bytes.
    pub(crate) rss: f64,
}

/// A process that runs.
pub(crate) struct Process {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Process {
    /// Starts a server on the database and waits until it knows every open task.
    pub(crate) fn start(path: &Path, residents: usize) -> (Self, Figures) {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("--server").arg(path).arg(residents.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let (to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut process = Self { child, to, from: BufReader::new(from) };
        let ready = process.read();
        (process, ready)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Has it do something so many times.
    pub(crate) fn run(&mut self, command: &str, times: usize) -> Figures {
        writeln!(self.to, "{command} {times}").expect("it listens");
        self.read()
    }

    fn read(&mut self) -> Figures {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).expect("figures")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = writeln!(self.to, "stop 0");
        let _ = self.child.wait();
    }
}

/// Serves, in the process that was started for it.
pub(crate) fn serve(path: &Path, residents: usize) {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    threads.expect("threads can be started").block_on(async {
        let begun = Instant::now();
        let options = RuntimeOptions {
            max_open_tasks: 10_000_000,
            max_resident_tasks: residents,
            max_queue: 4_096,
            lease_time: bailiwick::types::time::Span::from_secs(600),
            ..RuntimeOptions::default()
        };
        let store =
            Arc::new(SqliteStore::folding(path, Arc::new(bailiwick::runtime::TaskRows)).expect("it opens"));
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let (runtime, tasks) = Runtime::start(store, options, clock, entropy).await.expect("it starts");
        let mut waiting = Crew::connect(&runtime, WAITED_FOR).await;
        waiting.credit(1);
        waiting.answer_one().await;
        let mut figures = Figures { first_assignment: begun.elapsed().as_secs_f64(), ..Figures::default() };
        while !runtime.is_recovered() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        figures.all_known = begun.elapsed().as_secs_f64();
        let mut busy = Crew::connect(&runtime, BUSY).await;
        let lines = std::io::stdin().lines().map_while(Result::ok);
        say(&mut figures);
        for line in lines {
            let (command, times) = line.split_once(' ').expect("a command and a number");
            let times = times.parse().expect("a number");
            let begun = Instant::now();
            match command {
                "cycle" => cycle(&runtime, &mut busy, times).await,
                "drain" => drain(&mut waiting, times).await,
                "fill" => fill(&runtime, times).await,
                "rss" => {}
                _ => break,
            }
            figures.seconds = begun.elapsed().as_secs_f64();
            say(&mut figures);
        }
        tasks.shutdown(Duration::from_secs(10)).await;
    });
}

fn say(figures: &mut Figures) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    figures.rss = kib.unwrap_or(f64::NAN) * 1024.0;
    println!("{}", serde_json::to_string(figures).expect("numbers"));
}

/// A worker.
struct Crew {
    runtime: Runtime,
    session: SessionId,
    down: mpsc::Receiver<Down>,
}

impl Crew {
    async fn connect(runtime: &Runtime, agent: &str) -> Self {
        let (opened, down) = runtime.open_session(registration(agent, 1_000)).await.expect("a session");
        Self { runtime: runtime.clone(), session: opened.session, down }
    }

    fn credit(&self, slots: u32) {
        self.runtime.credit(self.session, slots, None).expect("the session is open");
    }

    async fn lease(&mut self) -> bailiwick::types::ids::Lease {
        loop {
            if let Down::Assignment(assignment) = self.down.recv().await.expect("the session is open") {
                return assignment.lease;
            }
        }
    }

    async fn answer_one(&mut self) {
        let lease = self.lease().await;
        self.runtime.complete(lease, success(), String::new()).await.expect("accepted");
    }

    /// Answers so many, as they come.
    async fn answer(&mut self, times: usize, done: Arc<Semaphore>) {
        for _ in 0..times {
            let (lease, runtime, done) = (self.lease().await, self.runtime.clone(), Arc::clone(&done));
            let session = self.session;
            tokio::spawn(async move {
                runtime.complete(lease, success(), String::new()).await.expect("accepted");
                let _ = runtime.credit(session, 1, None);
                done.add_permits(1);
            });
        }
    }
}

fn success() -> Answer {
    Answer::Envelope(Envelope {
        status: Status::Success,
        result: Some(Payload::from_json(&serde_json::json!({"text": "Nothing has changed."}))),
        confidence: Confidence::new(0.9),
        reason: String::new(),
        usage: Some(Usage { input: 700, output: 60, ..Usage::default() }),
        inputs_used: Vec::new(),
        retryable: false,
        directive: None,
        score: None,
    })
}

/// Runs tasks from their submission to their acknowledged end.
async fn cycle(runtime: &Runtime, crew: &mut Crew, times: usize) {
    crew.credit(IN_FLIGHT);
    let room = Arc::new(Semaphore::new(IN_FLIGHT as usize));
    let submissions = {
        let (runtime, room) = (runtime.clone(), Arc::clone(&room));
        tokio::spawn(async move {
            let contract = contract(BUSY);
            for _ in 0..times {
                room.acquire().await.expect("never closed").forget();
                let (runtime, contract) = (runtime.clone(), contract.clone());
                tokio::spawn(async move {
                    runtime.submit(contract, 1, TraceContext::default()).await.expect("accepted");
                });
            }
        })
    };
    crew.answer(times, Arc::clone(&room)).await;
    submissions.await.expect("no panic");
    // All ended when all room is back.
    drop(room.acquire_many(IN_FLIGHT).await.expect("never closed"));
}

/// Runs tasks to their end that have waited all the time.
async fn drain(crew: &mut Crew, times: usize) {
    let done = Arc::new(Semaphore::new(0));
    let at_once = u32::try_from(times).unwrap_or(u32::MAX).min(IN_FLIGHT);
    crew.credit(at_once);
    for n in 0..times {
        let lease = crew.lease().await;
        let (runtime, done, session) = (crew.runtime.clone(), Arc::clone(&done), crew.session);
        let more = n + (at_once as usize) < times;
        tokio::spawn(async move {
            runtime.complete(lease, success(), String::new()).await.expect("accepted");
            if more {
                let _ = runtime.credit(session, 1, None);
            }
            done.add_permits(1);
        });
    }
    drop(done.acquire_many(u32::try_from(times).unwrap_or(u32::MAX)).await.expect("never closed"));
}

/// Submits tasks that wait.
async fn fill(runtime: &Runtime, times: usize) {
    let contract = contract(WAITED_FOR);
    for _ in 0..times / 100 {
        let submit = (0..100).map(|_| {
            let (runtime, contract) = (runtime.clone(), contract.clone());
            tokio::spawn(async move { runtime.submit(contract, 1, TraceContext::default()).await })
        });
        for submitted in submit.collect::<Vec<_>>() {
            submitted.await.expect("no panic").expect("accepted");
        }
    }
}
