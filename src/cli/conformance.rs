//! `bailiwick conformance`: its arguments. What it does is not here.

use clap::Args;

/// What `conformance` can be told.
#[derive(Args, Debug)]
pub struct ConformanceArgs {
    /// Write JSON: one object a case.
    #[arg(long)]
    pub json: bool,
    /// List the cases; then stop.
    #[arg(long)]
    pub list: bool,
    /// Only this case; may be written several times.
    #[arg(long, value_name = "CASE")]
    pub only: Vec<String>,
    /// The worker's command, behind `--`. It is told where to connect by BAILIWICK_ADDR.
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "list")]
    pub command: Vec<String>,
}
