//! `bailiwick demo`: its arguments. What it does is not here.

use std::path::PathBuf;

use clap::Args;

/// What `demo` can be told.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// The folder to audit: a source tree or documents.
    #[arg(value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// Only the audit, without the four scenes in which things go wrong.
    #[arg(long)]
    pub audit_only: bool,
    /// Write the outcome as JSON.
    #[arg(long)]
    pub json: bool,
}
