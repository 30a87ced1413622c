//! A real server process for tests: on loopback, on a port of the system's choice that is kept over restarts.

#![allow(dead_code, unreachable_pub)] // Each test file uses its own part of this module.

use std::{
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// How long a server may take to start or stop before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A free port that stays free while the server is down. Those that the system hands out for port 0 do not: a client that
/// knocks meanwhile may be given that very port for its own end, and then holds it.
fn lasting_port() -> u16 {
    // Tests of one process run side by side: each looks at other ports.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 14_000).unwrap_or(0);
    std::iter::repeat_with(|| NEXT.fetch_add(61, Ordering::Relaxed))
        .take(200)
        .map(|step| 15_000 + first.wrapping_add(step) % 15_000)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of 200 ports is free")
}

pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts `bailiwick serve` on the folder's database and waits until it listens.
    pub async fn start(folder: &Path, port: Option<u16>) -> Self {
        Self::start_with(folder, port, &[]).await
    }

    pub async fn start_with(folder: &Path, port: Option<u16>, environment: &[(&str, &str)]) -> Self {
        let mut child = command(folder, port.unwrap_or_else(lasting_port))
            .envs(environment.iter().copied())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line())
            .await
            .expect("the server starts in time")
            .expect("stdout is text")
            .expect("the server says where it listens");
        let port = line.rsplit(':').next().and_then(|port| port.trim().parse().ok());
        Self { child, port: port.unwrap_or_else(|| panic!("no port in {line:?}")) }
    }

    /// Tries to start one that must refuse: its exit code and what it says.
    pub async fn refused(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = command(folder, 0);
        let child = command.args(arguments).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let output = output.expect("it refuses in time").expect("its output is read");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Starts one that may refuse or not: its exit code, `None` if it serves, and what it says. It is gone afterwards.
    pub async fn tried(folder: &Path) -> (Option<i32>, String) {
        let mut child = command(folder, 0).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let first =
            tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it says something or ends");
        if first.expect("stdout is text").is_some() {
            child.start_kill().expect("it runs");
        }
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let output = output.expect("it ends in time").expect("its output is read");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("the server runs")
    }

    /// SIGKILL, now.
    pub fn kill(&mut self) {
        self.child.start_kill().expect("the server can be killed");
    }

    /// SIGKILL, and waits until the process is gone.
    pub async fn kill_and_wait(mut self) {
        self.kill();
        self.child.wait().await.expect("the server is gone");
    }

    /// SIGTERM, and waits for a clean exit.
    pub async fn stop(self) {
        self.terminate().await;
        assert_eq!(self.exit_code().await, Some(0), "the server stops cleanly");
    }

    /// SIGTERM.
    pub async fn terminate(&self) {
        let term = Command::new("kill").arg(self.id().to_string()).status().await;
        assert!(term.is_ok_and(|status| status.success()), "the server can be told to stop");
    }

    /// Waits until the process has ended by itself; its exit code.
    pub async fn exit_code(mut self) -> Option<i32> {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        status.expect("the server stops in time").expect("its status is known").code()
    }
}

fn command(folder: &Path, port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bailiwick"));
    command
        .arg("serve")
        .arg("--listen")
        .arg(format!("127.0.0.1:{port}"))
        .arg("--data")
        .arg(folder.join("test.db"))
        .args(["--lease-time", "2s", "--log", "warn"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}
