//! The three commands that are more than a client: where the command line meets the server, the demo and the conformance
//! run. Only arguments are translated here.

use super::{Exit, Failure, conformance::ConformanceArgs, demo::DemoArgs, terminal::Terminal};
use crate::config::Settings;

fn not_linked(what: &str) -> Failure {
    Failure::new(Exit::Error, format!("`bailiwick {what}` is not linked into this build yet"))
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// When it cannot start, or had to be cut off.
#[allow(clippy::unused_async)]
pub async fn serve(settings: Settings) -> Result<(), Failure> {
    let _ = settings;
    Err(not_linked("serve"))
}

/// Runs the demo.
///
/// # Errors
/// When it could not be run; what its tasks came to is no error.
#[allow(clippy::unused_async)]
pub async fn demo(args: DemoArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let DemoArgs { dir, audit_only, json } = args;
    let _ = (dir, audit_only, json, terminal);
    Err(not_linked("demo"))
}

/// Drives a worker through the cases of the protocol.
///
/// # Errors
/// When it could not be run, or a case failed.
#[allow(clippy::unused_async)]
pub async fn conformance(args: ConformanceArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let ConformanceArgs { json, list, only, command } = args;
    let _ = (json, list, only, command, terminal);
    Err(not_linked("conformance"))
}
