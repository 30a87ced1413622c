//! Instructions in user mode of another process, counted by `perf stat` where that is allowed.

use std::process::{Child, Command, Stdio};

/// A count that runs.
pub(crate) struct Counter(Child);

impl Counter {
    /// Counts from now on. `None`: there is no `perf`.
    pub(crate) fn start(process: u32) -> Option<Self> {
        let mut command = Command::new("perf");
        command.args(["stat", "-x", ",", "-e", "instructions:u", "-p", &process.to_string()]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        // It says nothing when it has begun.
        std::thread::sleep(std::time::Duration::from_millis(150));
        Some(Self(child))
    }

    /// The count. `None`: it may not count here.
    pub(crate) fn stop(self) -> Option<f64> {
        Command::new("kill").args(["-INT", &self.0.id().to_string()]).status().ok()?;
        let said = self.0.wait_with_output().ok()?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        said.lines().find(|line| line.contains("instructions"))?.split(',').next()?.parse().ok()
    }
}
