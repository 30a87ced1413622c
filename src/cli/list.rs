//! `bailiwick list`: tasks by filter, newest first, a page or all.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use clap::Args;
use prost_types::Timestamp;

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    terminal::Terminal,
};
use crate::{console::turns, pb};

/// Tasks a page where all are wanted.
const PAGE: i32 = 1_000;

/// What `list` can be told.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only these states, like `running` or `partial,failed`.
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    pub state: Vec<i32>,
    /// Only these causes, like `budget` or `hops,deadline`.
    #[arg(long, value_name = "CAUSE", value_delimiter = ',', value_parser = cause)]
    pub cause: Vec<i32>,
    /// Only tasks whose owner this is, or in which it had a turn.
    #[arg(long, value_name = "AGENT", default_value = "", hide_default_value = true)]
    pub agent: String,
    /// Only tasks with this label; several must all be there.
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// Only tasks submitted since: a time ago, like 2h, or a time, like 2026-11-20T12:00:00Z.
    #[arg(long, value_name = "AGO|TIME", value_parser = since)]
    pub since: Option<Timestamp>,
    /// Only children of this task.
    #[arg(long, value_name = "TASK", default_value = "", hide_default_value = true)]
    pub parent: String,
    /// Only tasks of this namespace.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub namespace: String,
    /// How many at most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub limit: i32,
    /// Where the page before ended, as it was printed.
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    pub page_token: String,
    /// Every page.
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `list`.
///
/// # Errors
/// When the server cannot be asked, or does not know the page token.
pub async fn run(args: ListArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let ListArgs { state, cause, agent, label, since, parent, namespace, limit, page_token, all, remote } =
        args;
    let client = Client::connect(&remote, terminal).await?;
    let mut request = pb::ListTasksRequest {
        states: state,
        causes: cause,
        agent,
        labels: BTreeMap::from_iter(label),
        since,
        page_size: if all { PAGE } else { limit },
        page_token,
        parent_task_id: parent,
        namespace,
    };
    let mut found = Vec::new();
    loop {
        let answer = client.ask(terminal, client.tasks.clone().list_tasks(request.clone())).await?;
        if remote.json {
            answer.tasks.iter().try_for_each(|task| terminal.line(json::line("TaskSummary", task)?))?;
        } else {
            found.extend(answer.tasks);
        }
        // A server that gives the same token again would otherwise keep us here for ever.
        if !all || answer.next_page_token.is_empty() || answer.next_page_token == request.page_token {
            request.page_token = answer.next_page_token;
            break;
        }
        request.page_token = answer.next_page_token;
    }
    print(terminal, &found, remote.json, if all { "" } else { &request.page_token })
}

fn print(terminal: &Terminal, found: &[pb::TaskSummary], json: bool, next: &str) -> Result<Exit, Failure> {
    if !json && found.is_empty() {
        terminal.note("no tasks");
    } else if !json {
        terminal.line(turns::tasks(terminal.look(), found))?;
    }
    if !next.is_empty() {
        terminal.note(format!("there are more: --page-token {next}, or --all"));
    }
    Ok(Exit::Ok)
}

pub(super) fn state(text: &str) -> Result<i32, String> {
    let known = (1..=9).filter_map(|number| pb::TaskState::try_from(number).ok());
    named(text, known.map(|state| (state as i32, state.as_str_name(), "TASK_STATE_")))
}

pub(super) fn cause(text: &str) -> Result<i32, String> {
    let known = (1..=19).filter_map(|number| pb::Cause::try_from(number).ok());
    named(text, known.map(|cause| (cause as i32, cause.as_str_name(), "CAUSE_")))
}

fn named<'a>(text: &str, known: impl Iterator<Item = (i32, &'a str, &'a str)>) -> Result<i32, String> {
    let wanted = text.to_ascii_uppercase().replace('-', "_");
    let mut names = Vec::new();
    for (number, name, prefix) in known {
        let short = name.strip_prefix(prefix).unwrap_or(name);
        if short == wanted || name == wanted {
            return Ok(number);
        }
        names.push(short.to_ascii_lowercase());
    }
    Err(format!("write one of {}", names.join(", ")))
}

pub(super) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

#[expect(clippy::disallowed_methods, reason = "what a person means by 'two hours ago' is their own clock's")]
pub(super) fn since(text: &str) -> Result<Timestamp, String> {
    since_at(text, SystemTime::now())
}

fn since_at(text: &str, now: SystemTime) -> Result<Timestamp, String> {
    let wrong = || "write a time ago, like 90s, 2h or 3days, or a time, like 2026-11-20T12:00:00Z".to_owned();
    let at = match humantime::parse_duration(text) {
        Ok(ago) => now.checked_sub(ago).ok_or_else(wrong)?,
        Err(_) => humantime::parse_rfc3339_weak(text).map_err(|_| wrong())?,
    };
    let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Ok(Timestamp {
        seconds: i64::try_from(since_epoch.as_secs()).map_err(|_| wrong())?,
        nanos: i32::try_from(since_epoch.subsec_nanos()).map_err(|_| wrong())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_as_people_write_them() {
        assert_eq!(state("running"), Ok(pb::TaskState::Running as i32));
        assert_eq!(state("dead-lettered"), Ok(pb::TaskState::DeadLettered as i32));
        assert_eq!(cause("CAUSE_HOPS"), Ok(pb::Cause::Hops as i32));
        assert!(state("runing").unwrap_err().contains("running, awaiting_human"));
        assert_eq!(label("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(label("a").is_err() && label("=a").is_err());
    }

    #[test]
    fn since_is_a_duration_or_a_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        assert_eq!(since_at("1h", now).unwrap().seconds, 6_400);
        assert_eq!(since_at("1970-01-01T00:00:05Z", now).unwrap().seconds, 5);
        assert_eq!(since_at("2days", now).map(|at| at.seconds), Ok(0));
        assert!(since_at("yesterday", now).is_err());
    }
}
