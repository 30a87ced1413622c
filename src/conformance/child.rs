//! The worker under test, as a child process in a process group of its own. Never leaves one behind.

use std::{
    collections::VecDeque,
    fmt,
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    task::JoinSet,
};

/// Lines of output kept for the report.
const LINES: usize = 5;
/// Characters of a line kept.
const LINE: usize = 200;

/// What a worker is told by its environment.
pub(crate) const WORKER_ID: &str = "conformance-worker";
/// See [`WORKER_ID`].
pub(crate) const CONCURRENCY: i32 = 3;

/// How a worker's process ended. Reads as the end of "it ended with ...".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(ExitStatus);

impl Exit {
    /// Whether it exited with code 0.
    pub(crate) fn is_clean(self) -> bool {
        self.0.success()
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = self.0.code() {
            return write!(f, "exit code {code}");
        }
        let signal = self.0.signal().unwrap_or_default();
        match Signal::from_named_raw(signal) {
            Some(Signal::TERM) => f.write_str(
                "SIGTERM: it does not handle it, or COMMAND is a shell script that starts the worker without `exec`",
            ),
            Some(Signal::ABORT) => f.write_str("signal 6 (SIGABRT)"),
            Some(Signal::KILL) => f.write_str("signal 9 (SIGKILL)"),
            Some(Signal::SEGV) => f.write_str("signal 11 (SIGSEGV)"),
            _ => write!(f, "signal {signal}"),
        }
    }
}

/// A running worker. Dropping it kills its process group.
pub(crate) struct WorkerProcess {
    child: Child,
    group: Option<Pid>,
    output: Arc<Mutex<VecDeque<String>>>,
    /// Readers of its output; aborted with it.
    _readers: JoinSet<()>,
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // No such group means that everything in it has ended.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl WorkerProcess {
    pub(crate) fn start(command: &[String], address: SocketAddr) -> std::io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program)
            .args(arguments)
            .env("BAILIWICK_ADDR", address.to_string())
            .env("BAILIWICK_WORKER_ID", WORKER_ID)
            .env("BAILIWICK_CONCURRENCY", CONCURRENCY.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let output = Arc::new(Mutex::new(VecDeque::new()));
        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(keep(stdout, Arc::clone(&output)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(keep(stderr, Arc::clone(&output)));
        }
        Ok(Self { child, group, output, _readers: readers })
    }

    /// Sends SIGTERM to the process that was started, as a supervisor would: not to its whole group.
    pub(crate) fn terminate(&self) -> std::io::Result<()> {
        let pid = self.group.ok_or(std::io::ErrorKind::NotFound)?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    pub(crate) async fn exited(&mut self) -> std::io::Result<Exit> {
        self.child.wait().await.map(Exit)
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The last lines it wrote.
    pub(crate) fn last_words(&self) -> String {
        let lines = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }
}

async fn keep(stream: impl AsyncRead + Unpin, output: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(stream).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line: String = String::from_utf8_lossy(&line).trim().chars().take(LINE).collect();
        if line.is_empty() {
            continue;
        }
        let mut kept = output.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(line);
        if kept.len() > LINES {
            kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_words() {
        let told = |raw| Exit(ExitStatus::from_raw(raw)).to_string();
        assert_eq!(told(3 << 8), "exit code 3");
        assert_eq!(told(6), "signal 6 (SIGABRT)");
        assert!(told(15).contains("without `exec`"));
        assert!(Exit(ExitStatus::from_raw(0)).is_clean());
    }
}
