//! The processes of the crew: started, killed and ended by their ids, and by nothing broader. Every one of them is ended
//! when the demo ends, in whatever way: those of this binary by their stdin, all of them by signal, and by drop.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
};

use super::crew::Role;
use crate::cli::Failure;

/// How long processes may take to end by themselves.
const GRACE: Duration = Duration::from_secs(3);

/// One worker process.
pub(super) struct Member {
    /// The worker's id, as the server knows it.
    pub(super) id: String,
    /// The agent it serves.
    pub(super) agent: String,
    /// What it is written in.
    pub(super) language: &'static str,
    child: Child,
    stdout: Option<ChildStdout>,
}

/// All worker processes of the demo.
pub(super) struct Crew {
    addr: SocketAddr,
    logs: PathBuf,
    members: Vec<Member>,
}

impl Crew {
    /// A crew for the server at `addr`, whose logs go into the folder `logs`.
    pub(super) const fn new(addr: SocketAddr, logs: PathBuf) -> Self {
        Self { addr, logs, members: Vec::new() }
    }

    /// Starts a process of this binary; gives the worker's id.
    pub(super) fn start_role(&mut self, role: Role) -> Result<String, Failure> {
        let mut command = this_binary()?;
        command.arg(role.agent()).stdout(Stdio::piped());
        self.start(command, role.agent(), "Rust")
    }

    /// Starts a worker of another language by its script; gives the worker's id.
    pub(super) fn start_script(
        &mut self,
        script: &Path,
        agent: &str,
        language: &'static str,
    ) -> Result<String, Failure> {
        let mut command = this_binary()?;
        command.arg("--guard").arg(script).stdout(Stdio::null());
        self.start(command, agent, language)
    }

    fn start(
        &mut self,
        mut command: Command,
        agent: &str,
        language: &'static str,
    ) -> Result<String, Failure> {
        let before = self.members.iter().filter(|member| member.agent == agent).count();
        let id = format!("demo-{agent}-{}", before + 1);
        let failed = |error: std::io::Error| Failure::from(format!("{id} cannot be started: {error}"));
        let log = File::create(self.log_of(&id)).map_err(failed)?;
        // A group of its own: Ctrl-C is the demo's to handle, and what a script starts ends with it.
        let mut child = command
            .env("BAILIWICK_ADDR", self.addr.to_string())
            .env("BAILIWICK_WORKER_ID", &id)
            .env_remove("BAILIWICK_CONCURRENCY")
            .stdin(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stdout = child.stdout.take();
        let agent = agent.to_owned();
        self.members.push(Member { id: id.clone(), agent, language, child, stdout });
        Ok(id)
    }

    fn log_of(&self, id: &str) -> PathBuf {
        self.logs.join(format!("{id}.log"))
    }

    /// The last line a worker wrote to its log; for a worker that did not come up.
    pub(super) fn last_words(&self, id: &str) -> String {
        let log = std::fs::read_to_string(self.log_of(id)).unwrap_or_default();
        log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it wrote nothing").to_owned()
    }

    /// The members that were started, those that have ended included.
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// What an agent is written in; empty where it is not of this crew.
    pub(super) fn language_of(&self, agent: &str) -> &'static str {
        self.members.iter().find(|member| member.agent == agent).map_or("", |member| member.language)
    }

    /// Whether a process has ended by itself.
    pub(super) fn has_ended(&mut self, id: &str) -> bool {
        self.members.iter_mut().any(|m| m.id == id && matches!(m.child.try_wait(), Ok(Some(_)) | Err(_)))
    }

    /// Kills a process at once (SIGKILL), as a crash would; gives its id. None where there is no such process any more.
    pub(super) async fn kill(&mut self, id: &str) -> Option<u32> {
        let member = self.members.iter_mut().find(|member| member.id == id)?;
        let pid = member.child.id()?;
        member.child.kill().await.ok()?;
        Some(pid)
    }

    /// The next line a process writes to stdout within `limit`.
    pub(super) async fn line_of(&mut self, id: &str, limit: Duration) -> Option<String> {
        let stdout = self.members.iter_mut().find(|member| member.id == id)?.stdout.take()?;
        let mut lines = BufReader::new(stdout).lines();
        tokio::time::timeout(limit, lines.next_line()).await.ok()?.ok()?
    }

    /// Ends the processes of one agent, or of all.
    pub(super) async fn end(&mut self, agent: Option<&str>) {
        let chosen = |member: &&mut Member| agent.is_none_or(|agent| member.agent == agent);
        for member in self.members.iter_mut().filter(chosen) {
            drop(member.child.stdin.take());
            if let Some(pid) = pid(&member.child) {
                // Fails only where the process has just ended.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        let waits = self.members.iter_mut().filter(chosen).map(|member| end_one(&mut member.child));
        for wait in waits.collect::<Vec<_>>() {
            wait.await;
        }
    }
}

/// `bailiwick crew`, whatever this binary is called.
fn this_binary() -> Result<Command, Failure> {
    let binary = std::env::current_exe()
        .map_err(|error| Failure::from(format!("this binary cannot be found again: {error}")))?;
    let mut command = Command::new(binary);
    command.arg("crew");
    Ok(command)
}

/// Waits for a process that was told to end, and kills its group when it does not.
async fn end_one(child: &mut Child) {
    if tokio::time::timeout(GRACE, child.wait()).await.is_ok() {
        return;
    }
    kill_group(child);
    let _ = child.wait().await;
}

/// Kills a process that leads a group, with the group.
pub(super) fn kill_group(child: &Child) {
    if let Some(pid) = pid(child) {
        // Fails only where the group has just ended.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// The id of a process that has not been waited for: it cannot have become somebody else's.
fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}
