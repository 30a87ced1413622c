//! The server under test, in a process of its own: this very program, started again. Its processor time and its memory are
//! then nobody else's. Raw echo runs beside it, on the same threads.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::LazyLock,
};

use bailiwick::app::{AppOptions, StoreChoice};

use crate::{echo, quiet, runtime};

/// The first argument of the process that serves.
const MARK: &str = "serve-for-the-table";
/// Ticks of the clock in which Linux counts a process's time.
const TICKS_PER_SECOND: f64 = 100.0;

/// Serves, if this process was started for that; then does not return before it is told to stop.
pub(crate) fn serve_if_asked() -> bool {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some(MARK) {
        return false;
    }
    let folder = PathBuf::from(args.next().expect("the folder is named"));
    let runtime = runtime();
    runtime.block_on(async {
        let mut options = AppOptions::on_loopback(StoreChoice::Sqlite(folder.join("bench.db")));
        // Everything is as it comes but for what the row is about.
        if let Some(most) = args.next().and_then(|most| most.parse().ok()) {
            options.runtime.max_open_tasks = most;
        }
        let running = bailiwick::app::serve(options).await.expect("the server starts");
        let echo = echo::serve().await;
        println!("ready {} {echo}", running.local_addr());
        std::io::stdout().flush().expect("the parent listens");
        let wait = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let _ = wait.await;
        running.shutdown().await;
    });
    true
}

/// A running server process. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Where Bailiwick listens, as a URI.
    pub(crate) uri: String,
    /// Where echo listens, as a URI.
    pub(crate) echo: String,
}

impl Server {
    /// Starts one on the database in `folder`, and waits until it serves.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, None)
    }

    /// The same, with room for so many open tasks.
    pub(crate) fn start_with(folder: &Path, max_open: Option<u64>) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(program)
            .arg(MARK)
            .arg(folder)
            .args(max_open.map(|most| most.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the server says where it is");
        let words: Vec<_> = line.split_whitespace().collect();
        let ["ready", bailiwick, echo] = words[..] else { panic!("the server did not start: {line:?}") };
        let (uri, echo) = (format!("http://{bailiwick}"), format!("http://{echo}"));
        let stdin = child.stdin.take();
        Self { child, stdin, uri, echo }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processor time used so far, user and system, in seconds.
    pub(crate) fn processor(&self) -> f64 {
        crate::stats::float(quiet::of_process(self.pid())) / TICKS_PER_SECOND
    }

    /// Memory that is resident and its own, in bytes.
    pub(crate) fn memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
        let kib: f64 = line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0.0);
        kib * 1024.0
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it as it should be.
    pub(crate) fn stop(mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether `perf` may count here: many virtual machines have no counters.
static COUNTS: LazyLock<bool> = LazyLock::new(|| {
    let tried = Command::new("perf").args(["stat", "-x,", "-e", "instructions:u", "true"]).output();
    tried.is_ok_and(|tried| {
        tried.status.success() && !String::from_utf8_lossy(&tried.stderr).contains("not supported")
    })
});

/// Instructions in user mode that the server runs while `work` does, where `perf` may count them.
pub(crate) async fn instructions<T>(server: &Server, work: impl Future<Output = T>) -> (T, Option<f64>) {
    if !*COUNTS {
        return (work.await, None);
    }
    let counting = Command::new("perf")
        .args(["stat", "-x,", "-e", "instructions:u", "-p"])
        .arg(server.pid().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let done = work.await;
    let Ok(counting) = counting else { return (done, None) };
    let pid = rustix::process::Pid::from_raw(i32::try_from(counting.id()).unwrap_or(0));
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
    }
    let said = counting.wait_with_output().map(|output| output.stderr).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let line = said.lines().find(|line| line.contains("instructions"));
    let count = line.and_then(|line| line.split(',').next()?.parse().ok());
    (done, count)
}
