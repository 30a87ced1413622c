//! `bailiwick demo`: its arguments. What it does is not here.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::demo::{Language, crew::Role};

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
    /// Ask nobody: the demo answers its own question, and says so.
    #[arg(long)]
    pub yes: bool,
    /// Leave the server running at the end, until Ctrl-C.
    #[arg(long)]
    pub keep: bool,
    /// The languages of the crew. Rust always takes part; one whose toolchain is missing is skipped and named.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "LANGUAGE",
        default_value = "rust,python,typescript,go,java"
    )]
    pub languages: Vec<Language>,
    /// The folder with the workers of other languages. Default: `workers-examples`, here or above.
    #[arg(long, value_name = "FOLDER")]
    pub workers: Option<PathBuf>,
    /// How long the set-up of one of them may take; it is only long the first time.
    #[arg(long, value_name = "DURATION", default_value = "120s", value_parser = humantime::parse_duration)]
    pub setup_limit: Duration,
}

/// A process of the demo's crew; started by the demo, not by people.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct CrewArgs {
    /// Which.
    #[arg(value_enum)]
    pub role: Option<Role>,
    /// Run this script of a worker in another language, and end it when stdin ends.
    #[arg(long, value_name = "SCRIPT")]
    pub guard: Option<PathBuf>,
}
