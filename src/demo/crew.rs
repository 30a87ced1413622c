//! The crew's own processes: `bailiwick crew ROLE` is this binary again, as a worker of one role on the Rust worker library.
//! It speaks to the server only by gRPC, like any worker of any language, and ends when the demo that started it ends.

mod lead;
mod planner;
mod reviewer;
mod shuttle;
mod spender;
mod structure;
#[cfg(test)]
mod together;
mod unfinished;

use std::{io::Read as _, path::PathBuf, time::Duration};

use bailiwick_worker::{AgentSpec, Context, HandlerError, Worker};
use clap::ValueEnum;
use serde_json::Value;
use tokio::sync::oneshot;

use super::files;
use crate::cli::{Exit, Failure};

/// How long a process waits for what it still has to say, once it is told to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// What a process of the crew is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Lists the material, delegates, and composes the audit.
    Planner,
    /// Checks every finding against the files.
    Reviewer,
    /// Owns the tasks: decides when a guard has tripped.
    Lead,
    /// Sizes, languages, longest files.
    Structure,
    /// Marks of unfinished work.
    Unfinished,
    /// Hands the task to pong.
    Ping,
    /// Hands the task to ping.
    Pong,
    /// Reports more tokens than it was allowed.
    Spender,
}

impl Role {
    /// The name of the agent.
    pub(super) const fn agent(self) -> &'static str {
        match self {
            Self::Planner => "planner",
            Self::Reviewer => "reviewer",
            Self::Lead => "lead",
            Self::Structure => "structure",
            Self::Unfinished => "unfinished",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Spender => "spender",
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Planner => "Lists a folder's material, delegates the analyses and composes the audit",
            Self::Reviewer => "Checks every finding of the lineage against the files",
            Self::Lead => "Owns the audit and decides how a task ends when a guard has tripped",
            Self::Structure => "Sizes, languages and the longest files among {root, files}",
            Self::Unfinished => "Marks of unfinished work among {root, files}, each with its place",
            Self::Ping => "Hands the task to pong, whatever it is",
            Self::Pong => "Hands the task to ping, whatever it is",
            Self::Spender => "Reports tokens without end, to be stopped",
        }
    }
}

/// Serves one role until the demo ends or a signal comes. The server and the worker's id stand in the environment, as for
/// every worker.
///
/// # Errors
/// When the worker cannot be set up, or could not say all it had to.
pub async fn serve(role: Role) -> Result<Exit, Failure> {
    let spec = AgentSpec {
        name: role.agent().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        description: role.description().to_owned(),
        ..AgentSpec::default()
    };
    let worker = Worker::from_env().drain_limit(DRAIN_LIMIT);
    let worker = match role {
        Role::Planner => worker.agent(spec, planner::handle),
        Role::Reviewer => worker.agent(spec, reviewer::handle),
        Role::Lead => worker.agent(spec, lead::handle),
        Role::Structure => worker.agent(spec, structure::handle),
        Role::Unfinished => worker.agent(spec, unfinished::handle),
        Role::Ping => worker.agent(spec, |context| shuttle::handle(context, "pong")),
        Role::Pong => worker.agent(spec, |context| shuttle::handle(context, "ping")),
        Role::Spender => worker.agent(spec, spender::handle),
    };
    worker.run_until(told_to_end()).await.map_err(|error| Failure::from(error.to_string()))?;
    Ok(Exit::Ok)
}

/// Ends with a signal, or when stdin does: the demo holds its other end, so that nobody outlives it, however it ends.
pub(crate) async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let (gone, parent) = oneshot::channel::<()>();
    // A thread of its own: a read that never ends would hold the runtime's shutdown up.
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut nothing = [0; 64];
        while matches!(stdin.read(&mut nothing), Ok(read) if read > 0) {}
        drop(gone);
    });
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut term), Ok(mut int)) => tokio::select! {
            _ = parent => {}
            _ = term.recv() => {}
            _ = int.recv() => {}
        },
        _ => drop(parent.await),
    }
}

/// What a specialist is given: files below a root.
struct Material {
    root: PathBuf,
    files: Vec<String>,
}

impl Material {
    fn of(input: &Value) -> Result<Self, HandlerError> {
        let root = input["root"].as_str().ok_or_else(|| HandlerError::failed("the input names no root"))?;
        let files = input["files"].as_array().map(Vec::as_slice).unwrap_or_default();
        let files = files.iter().filter_map(|file| file.as_str().map(str::to_owned)).collect();
        Ok(Self { root: PathBuf::from(root).canonicalize()?, files })
    }

    fn read(&self, file: &str) -> Option<String> {
        files::read(&self.root, file)
    }
}

/// Whether `tokens` more can be used, asking for more where the allowance is too small.
async fn afford(context: &Context, tokens: i64) -> bool {
    context.allowance_left() >= tokens || context.request_budget(tokens, "more to read").await >= tokens
}

/// Characters of a JSON value as it goes over the wire, for the estimate of tokens written.
fn chars_of(value: &Value) -> usize {
    value.to_string().chars().count()
}
