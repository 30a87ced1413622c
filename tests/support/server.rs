//! A real server process for tests: on loopback, on a port of the system's choice that is kept over restarts.

#![allow(dead_code, unreachable_pub)] // Each test file uses its own part of this module.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// How long a server may take to start or stop before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

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
        let mut child = Command::new(env!("CARGO_BIN_EXE_bailiwick"))
            .arg("serve")
            .arg("--listen")
            .arg(format!("127.0.0.1:{}", port.unwrap_or(0)))
            .arg("--data")
            .arg(folder.join("test.db"))
            .args(["--lease-time", "2s", "--log", "warn"])
            .envs(environment.iter().copied())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
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
    pub async fn stop(mut self) {
        let term = Command::new("kill").arg(self.id().to_string()).status().await;
        assert!(term.is_ok_and(|status| status.success()), "the server can be told to stop");
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.expect("the server stops in time").expect("its status is known");
        assert!(status.success(), "the server stops cleanly: {status}");
    }
}
