//! One process of a run: it runs, is frozen, or has ended.

use std::{io, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdout};

/// How long a process may take to end by itself.
const GRACE: Duration = Duration::from_secs(6);

/// See the file's header. Killed when it is dropped; should this process be killed, it ends by itself, for its stdin does, or,
/// while it is frozen, because the system hangs up on stopped processes that nobody is left to wake.
pub(super) struct Process {
    child: Child,
    frozen: bool,
}

impl Process {
    /// One that has just been started.
    pub(super) const fn new(child: Child) -> Self {
        Self { child, frozen: false }
    }

    /// What it writes; `None` where that is not piped, or has been taken.
    pub(super) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Whether it has not ended. One that is frozen runs.
    pub(super) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it, frozen or not, and waits until it is gone.
    ///
    /// # Errors
    /// The system's.
    pub(super) async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Freezes it (SIGSTOP). One that has ended stays as it is.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn freeze(&mut self) -> io::Result<()> {
        self.frozen = true;
        self.signal(Signal::STOP)
    }

    /// Wakes it (SIGCONT), where it is frozen.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn thaw(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.frozen) { self.signal(Signal::CONT) } else { Ok(()) }
    }

    /// Tells it to end; wakes it for that.
    pub(super) fn tell(&mut self) {
        drop(self.child.stdin.take());
        // Both fail only where it has just ended.
        let _ = self.signal(Signal::TERM);
        let _ = self.thaw();
    }

    /// Waits until it has ended as it was told to, and kills it when it does not.
    pub(super) async fn wait(&mut self) {
        if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
            // Fails only where it has just ended.
            let _ = self.child.kill().await;
        }
    }

    /// By its id, which is its own until it has been waited for: no other process can have it.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        pid.map_or(Ok(()), |pid| kill_process(pid, signal).map_err(io::Error::from))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Stdio;

    use tokio::process::Command;

    use super::*;

    fn sleeper() -> Process {
        let child = Command::new("sleep").arg("600").stdin(Stdio::piped()).kill_on_drop(true).spawn();
        Process::new(child.expect("it starts"))
    }

    /// The letter that the system has for its state: `T` while it is stopped.
    fn state(process: &Process) -> String {
        let id = process.child.id().expect("it runs");
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("it is there");
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned()
    }

    /// A signal arrives a moment after it is sent.
    async fn becomes(process: &Process, stopped: bool) {
        let arrived = async {
            while (state(process) == "T") != stopped {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), arrived).await.expect("the signal arrives");
    }

    #[tokio::test]
    async fn a_frozen_process_runs_and_can_be_woken_ended_and_killed() {
        let mut process = sleeper();
        process.freeze().expect("it is there");
        becomes(&process, true).await;
        assert!(process.runs(), "one that is frozen runs");
        process.thaw().expect("it is there");
        becomes(&process, false).await;
        assert!(process.runs());
        process.freeze().expect("it is there");
        process.tell();
        process.wait().await;
        assert!(!process.runs(), "it was woken to be ended");
        process.freeze().and_then(|()| process.thaw()).expect("one that has ended is let alone");

        let mut process = sleeper();
        process.freeze().expect("it is there");
        process.kill().await.expect("it is there");
        assert!(!process.runs());
    }
}
