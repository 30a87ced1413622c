//! `bailiwick crew --guard SCRIPT`: stands between the demo and a worker of another language. It runs the script and ends it
//! when the demo ends, even where the demo was killed and could not: its stdin then ends.

use std::{path::Path, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use super::crew::told_to_end;
use crate::cli::{Exit, Failure};

/// How long the worker may take to end by itself; less than the demo gives the guard.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the script's example agents until it ends or the demo does.
///
/// # Errors
/// When the script cannot be started, or ends by itself with an error.
pub async fn run(script: &Path) -> Result<Exit, Failure> {
    let failed = |error: std::io::Error| Failure::from(format!("{}: {error}", script.display()));
    let mut child = Command::new(script)
        .arg("example")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    tokio::select! {
        ended = child.wait() => {
            let status = ended.map_err(failed)?;
            return if status.success() { Ok(Exit::Ok) } else { Err(Failure::from(format!("ended with {status}"))) };
        }
        () = told_to_end() => {}
    }
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
        // Fails only where the worker has just ended.
        let _ = kill_process(pid, Signal::TERM);
    }
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        child.kill().await.map_err(failed)?;
    }
    Ok(Exit::Ok)
}
