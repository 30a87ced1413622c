//! `bailiwick conformance`: its arguments. What it does is not here.

use std::path::PathBuf;

use clap::Args;

/// What `conformance` can be told.
#[derive(Args, Debug)]
pub struct ConformanceArgs {
    /// Write JSON: one object with every case.
    #[arg(long)]
    pub json: bool,
    /// Also write a JUnit file.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// List the cases; then stop.
    #[arg(long)]
    pub list: bool,
    /// Only this case; may be written several times.
    #[arg(long, value_name = "CASE")]
    pub only: Vec<String>,
    /// Only print a table of reports that --json wrote, a column each; an empty file is a worker that was not run.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["json", "junit", "list", "only", "command"])]
    pub table: Vec<PathBuf>,
    /// The worker's command, behind `--`. It is told where to connect by BAILIWICK_ADDR.
    #[arg(last = true, value_name = "COMMAND", required_unless_present_any = ["list", "table"])]
    pub command: Vec<String>,
}
