//! `bailiwick cancel`: ends a task at once, or every open task that fits a filter.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, IsTerminal, Write},
};

use clap::Args;
use prost_types::Timestamp;

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json, list,
    question::who,
    terminal::Terminal,
};
use crate::{
    console::{halt, words},
    pb,
};

/// What `cancel` can be told.
#[derive(Args, Debug)]
pub struct CancelArgs {
    /// The task. Without it, a filter or --all says which.
    #[arg(value_name = "TASK", conflicts_with_all = ["all", "state", "agent", "label", "since", "parent", "namespace"])]
    pub id: Option<String>,
    /// Every open task that fits the filter; without a filter: every open task.
    #[arg(long)]
    pub all: bool,
    /// Only these states, like `running` or `queued,running`.
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = list::state)]
    pub state: Vec<i32>,
    /// Only tasks whose owner this is, or in which it had a turn.
    #[arg(long, value_name = "AGENT", default_value = "", hide_default_value = true)]
    pub agent: String,
    /// Only tasks with this label; several must all be there.
    #[arg(long, value_name = "KEY=VALUE", value_parser = list::label)]
    pub label: Vec<(String, String)>,
    /// Only tasks submitted since: a time ago, like 2h, or a time, like 2026-11-20T12:00:00Z.
    #[arg(long, value_name = "AGO|TIME", value_parser = list::since)]
    pub since: Option<Timestamp>,
    /// Only children of this task.
    #[arg(long, value_name = "TASK", default_value = "", hide_default_value = true)]
    pub parent: String,
    /// Only tasks of this namespace.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub namespace: String,
    /// Count only: nothing is cancelled.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask whether it is meant. Needed where nobody can be asked.
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Why, in a sentence; it is recorded.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reason: String,
    /// Who cancels many; it is recorded. Default: your login.
    #[arg(long = "by", alias = "as", value_name = "NAME", env = "USER", hide_env_values = true)]
    pub by: Option<String>,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `cancel`. A task that had ended already is no error.
///
/// # Errors
/// When there is no such task, nothing was named, some could not be cancelled, or the server cannot be asked.
pub async fn run(args: CancelArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let CancelArgs {
        id,
        all,
        state,
        agent,
        label,
        since,
        parent,
        namespace,
        dry_run,
        yes,
        reason,
        by,
        remote,
    } = args;
    let client = Client::connect(&remote, terminal).await?;
    if let Some(id) = id {
        return one(&client, terminal, id, reason, remote.json).await;
    }
    let labels = BTreeMap::from_iter(label);
    let filter = pb::ListTasksRequest {
        states: state,
        agent,
        labels,
        since,
        parent_task_id: parent,
        namespace,
        ..Default::default()
    };
    if !all && filter == pb::ListTasksRequest::default() {
        let hint =
            "name a task, a filter (--label, --agent, --state, --since, --parent, --namespace), or --all";
        return Err(Failure::new(Exit::Usage, "nothing was named to cancel").hint(hint));
    }
    let request = pb::CancelTasksRequest {
        filter: Some(filter),
        // States alone are as good as everything to the server; who named them has said so.
        all: true,
        dry_run,
        reason,
        cancelled_by: who(by),
    };
    if !dry_run && !yes && !is_meant(&client, terminal, &request).await? {
        terminal.note("nothing was cancelled");
        return Ok(Exit::Ok);
    }
    let done = many(&client, terminal, request).await?;
    terminal.progress_done();
    if remote.json {
        terminal.line(json::line("CancelTasksResponse", &done)?)?;
    } else {
        terminal.line(halt::cancelled(&done, dry_run))?;
    }
    if done.failed > 0 {
        return Err(Failure::new(Exit::Unavailable, "some could not be cancelled").hint("run it again"));
    }
    Ok(Exit::Ok)
}

async fn one(
    client: &Client,
    terminal: &Terminal,
    id: String,
    reason: String,
    json: bool,
) -> Result<Exit, Failure> {
    let request = pb::CancelTaskRequest { task_id: id.clone(), reason };
    let answer = client.ask(terminal, client.tasks.clone().cancel_task(request)).await?;
    if json {
        terminal.line(json::line("CancelTaskResponse", &answer)?)?;
    } else {
        let state = words::state(answer.summary.as_ref().map_or(0, |summary| summary.state));
        let had = if answer.already_ended { "had already ended" } else { "is" };
        terminal.line(format!("{id} {had} {state}"))?;
    }
    Ok(Exit::Ok)
}

/// Cancels, showing how far it is; returns the final counts.
async fn many(
    client: &Client,
    terminal: &mut Terminal,
    request: pb::CancelTasksRequest,
) -> Result<pb::CancelTasksResponse, Failure> {
    let dry_run = request.dry_run;
    let mut stream = client.ask(terminal, client.tasks.clone().cancel_tasks(request)).await?;
    let mut last = pb::CancelTasksResponse::default();
    loop {
        match tokio::time::timeout(client.timeout, stream.message()).await {
            Ok(Ok(Some(so_far))) => {
                terminal.progress(&halt::cancelled(&so_far, dry_run));
                last = so_far;
            }
            Ok(Ok(None)) if last.done => return Ok(last),
            Ok(Ok(None)) => return Err(broken_off(&last, "the server ended the stream too early")),
            Ok(Err(status)) => {
                let failure = Failure::of_status(&status);
                return Err(
                    failure.hint(format!("until then: {}; run it again", halt::cancelled(&last, dry_run)))
                );
            }
            Err(_) => return Err(broken_off(&last, "the server is silent")),
        }
    }
}

fn broken_off(last: &pb::CancelTasksResponse, why: &str) -> Failure {
    let hint = format!("until then: {}; run it again", halt::cancelled(last, false));
    Failure::new(Exit::Unavailable, why).hint(hint)
}

/// Counts, and asks the person at the terminal.
async fn is_meant(
    client: &Client,
    terminal: &mut Terminal,
    request: &pb::CancelTasksRequest,
) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        let hint = "write --yes, or --dry-run to count first";
        return Err(Failure::new(Exit::Usage, "nobody can be asked whether this is meant").hint(hint));
    }
    let count = many(client, terminal, pb::CancelTasksRequest { dry_run: true, ..request.clone() }).await?;
    terminal.progress_done();
    if count.matched == 0 {
        terminal.note("no open task fits");
        return Ok(false);
    }
    terminal.note(halt::cancelled(&count, true));
    let answer = tokio::task::spawn_blocking(|| {
        // Whether the question is seen does not matter: without a yes nothing happens.
        let _ = write!(io::stderr(), "cancel them? [y/N] ");
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let answer = answer.await.map_err(|error| Failure::from(error.to_string()))?;
    let answer = answer.map_err(|error| Failure::from(format!("the answer cannot be read: {error}")))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
