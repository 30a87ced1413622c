//! `bailiwick inbox`: the questions that wait for a person, and with `--watch` those that come.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    list::{cause, label},
    question::{self, now},
    terminal::Terminal,
    watch::Outage,
};
use crate::{console::question as shown, pb};

/// What `inbox` can be told.
#[derive(Args, Debug)]
pub struct InboxArgs {
    /// Only questions of this task.
    #[arg(long, value_name = "TASK", default_value = "", hide_default_value = true)]
    pub task: String,
    /// Only questions of tasks with this label; several must all be there.
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// Only questions for these causes, like `budget` or `hops,deadline`; `none` is an agent's own question.
    #[arg(long, value_name = "CAUSE", value_delimiter = ',', value_parser = cause_or_none)]
    pub cause: Vec<i32>,
    /// Those that have been answered, have expired or were withdrawn, too.
    #[arg(long, conflicts_with = "watch")]
    pub all: bool,
    /// Go on: show every question that is asked, and what becomes of it.
    #[arg(long, conflicts_with = "task")]
    pub watch: bool,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `inbox`.
///
/// # Errors
/// When the server cannot be asked.
pub async fn run(args: InboxArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let InboxArgs { task, label, cause, all, watch, remote } = args;
    let client = Client::connect(&remote, terminal).await?;
    let labels = BTreeMap::from_iter(label);
    if watch {
        let request = pb::WatchEscalationsRequest { causes: cause, labels };
        let (json, flag) = (remote.json, remote.flag());
        return Inbox { request, json, flag, open: BTreeSet::new() }.follow(&client, terminal).await;
    }
    let request = pb::ListEscalationsRequest {
        task_id: task,
        causes: cause,
        labels,
        all_states: all,
        ..pb::ListEscalationsRequest::default()
    };
    let found = question::list(&client, terminal, request).await?;
    if remote.json {
        found.iter().try_for_each(|question| terminal.line(json::line("Escalation", question)?))?;
    } else if found.is_empty() {
        terminal.note(if all { "nothing has been asked" } else { "nobody waits for an answer" });
    } else {
        terminal.lines(shown::list(terminal.look(), &found, &now(), &remote.flag()))?;
    }
    Ok(Exit::Ok)
}

fn cause_or_none(text: &str) -> Result<i32, String> {
    if text.eq_ignore_ascii_case("none") { Ok(pb::Cause::Unspecified as i32) } else { cause(text) }
}

/// An inbox that is watched.
struct Inbox {
    request: pb::WatchEscalationsRequest,
    json: bool,
    /// What a printed command needs after it.
    flag: String,
    /// Open questions that have been shown: after a broken connection they come again.
    open: BTreeSet<String>,
}

impl Inbox {
    async fn follow(mut self, client: &Client, terminal: &mut Terminal) -> Result<Exit, Failure> {
        terminal.progress("waiting for questions");
        let mut outage = Outage::default();
        loop {
            let broken = self.stream(client, terminal, &mut outage).await?;
            if !outage.is_known() {
                terminal.note("the connection was lost; trying again");
            }
            let Some(wait) = outage.lost(Instant::now()) else {
                terminal.progress_done();
                return Err(Failure::of_status(&broken));
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Shows what one stream brings, until it breaks in a way that another may mend.
    async fn stream(
        &mut self,
        client: &Client,
        terminal: &mut Terminal,
        outage: &mut Outage,
    ) -> Result<Status, Failure> {
        let mut operator = client.operator.clone();
        let opened = tokio::time::timeout(client.timeout, operator.watch_escalations(self.request.clone()));
        let mut stream = match terminal.waiting("waiting for the server", opened).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return resumable(status),
            Err(_) => return Ok(Status::unavailable("the server does not answer")),
        };
        loop {
            match stream.message().await {
                Ok(Some(news)) => {
                    outage.over();
                    self.show(terminal, news)?;
                }
                Ok(None) => return Ok(Status::unavailable("the server keeps ending the watch")),
                Err(status) => return resumable(status),
            }
        }
    }

    fn show(&mut self, terminal: &Terminal, news: pb::WatchEscalationsResponse) -> Result<(), Failure> {
        let Some(question) = news.escalation else { return Ok(()) };
        let is_open = question.state == pb::EscalationState::Open as i32;
        let id = question.escalation_id.clone();
        let is_news = if is_open { self.open.insert(id) } else { self.open.remove(&id) || !is_open };
        if !is_news {
            return Ok(());
        }
        if self.json {
            return terminal.line(json::line("Escalation", &question)?);
        }
        terminal.lines(shown::list(terminal.look(), std::slice::from_ref(&question), &now(), &self.flag))
    }
}

/// Whether another stream may go on where one broke.
fn resumable(status: Status) -> Result<Status, Failure> {
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted | Code::Cancelled | Code::Unknown => Ok(status),
        _ => Err(Failure::of_status(&status)),
    }
}
