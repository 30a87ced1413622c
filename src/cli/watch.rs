//! `bailiwick watch`: a line an event, until the task ends. A broken connection is taken up again where it was: the cursor
//! is the number of the last event that was printed.

use std::time::Duration;

use clap::Args;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    terminal::Terminal,
};
use crate::{
    console::{events::Story, task, words},
    pb,
};

/// How long a watch goes on trying while nothing arrives from the server.
const GIVE_UP: Duration = Duration::from_secs(60);
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What `watch` can be told.
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// The task.
    #[arg(value_name = "TASK")]
    pub id: String,
    /// Only events with a greater number.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    pub after: i64,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `watch`.
///
/// # Errors
/// When there is no such task or the server cannot be asked.
pub async fn run(args: WatchArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let WatchArgs { id, after, remote } = args;
    let client = Client::connect(&remote, terminal).await?;
    follow(&client, terminal, &id, after, &remote).await
}

/// Prints the events of a task after number `after` until it ends, then its outcome; the exit code says how it ended.
///
/// # Errors
/// When there is no such task, or nothing has come from the server for a minute.
pub async fn follow(
    client: &Client,
    terminal: &mut Terminal,
    id: &str,
    after: i64,
    remote: &Remote,
) -> Result<Exit, Failure> {
    let mut watcher =
        Watcher { id, json: remote.json, cursor: after, story: Story::default(), heard: Instant::now() };
    terminal.progress(&format!("watching {id}"));
    let mut wait = FIRST_WAIT;
    loop {
        let before = watcher.cursor;
        let broken = watcher.stream(client, terminal).await?;
        if broken.is_none()
            && let Some(exit) = watcher.conclude(client, terminal).await?
        {
            return Ok(exit);
        }
        if watcher.cursor > before {
            wait = FIRST_WAIT;
        }
        if watcher.heard.elapsed() > GIVE_UP {
            terminal.progress_done();
            let status = broken.unwrap_or_else(|| Status::unavailable("the server keeps ending the watch"));
            return Err(Failure::of_status(&status)
                .hint(format!("go on with: bailiwick watch {id} --after {}", watcher.cursor)));
        }
        if wait == FIRST_WAIT {
            terminal.note(format!("the connection was lost after event {}; trying again", watcher.cursor));
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

struct Watcher<'a> {
    id: &'a str,
    json: bool,
    cursor: i64,
    story: Story,
    heard: Instant,
}

impl Watcher<'_> {
    /// Prints what one stream brings. Some: it broke, and may be taken up again.
    async fn stream(&mut self, client: &Client, terminal: &mut Terminal) -> Result<Option<Status>, Failure> {
        let request = pb::WatchTaskRequest { task_id: self.id.to_owned(), after_seq: self.cursor };
        let mut stream = match client.tasks.clone().watch_task(request).await {
            Ok(response) => response.into_inner(),
            Err(status) => return resumable(status).map(Some),
        };
        loop {
            match stream.message().await {
                Ok(None) => return Ok(None),
                Ok(Some(message)) => self.print(terminal, &message)?,
                Err(status) => return resumable(status).map(Some),
            }
        }
    }

    fn print(&mut self, terminal: &mut Terminal, message: &pb::WatchTaskResponse) -> Result<(), Failure> {
        self.heard = Instant::now();
        if let Some(event) = &message.event {
            self.cursor = self.cursor.max(event.seq);
            if !self.json {
                terminal.line(self.story.tell(terminal.look(), event))?;
            }
        }
        if self.json {
            terminal.line(json::line("WatchTaskResponse", message)?)?;
        }
        if let Some(summary) = &message.summary {
            terminal.progress(&task::line(summary));
        }
        Ok(())
    }

    /// The stream has ended: with the task, or only by itself (None).
    async fn conclude(&self, client: &Client, terminal: &mut Terminal) -> Result<Option<Exit>, Failure> {
        let request = pb::GetTaskRequest { task_id: self.id.to_owned() };
        let task = match client.ask(terminal, client.tasks.clone().get_task(request)).await {
            Ok(answer) => answer.task.unwrap_or_default(),
            Err(failure) if failure.exit == Exit::Unavailable => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let state = task.summary.as_ref().map_or(0, |summary| summary.state);
        if !words::has_ended(state) {
            return Ok(None);
        }
        terminal.progress_done();
        if !self.json {
            terminal.line("")?;
            terminal.lines(task::outcome(terminal.look(), &task))?;
        }
        Ok(Some(Exit::of_state(state)))
    }
}

/// A broken connection comes as one of several codes; what the server itself refused does not come back better.
fn resumable(status: Status) -> Result<Status, Failure> {
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::ResourceExhausted | Code::Aborted => {
            Ok(status)
        }
        // HTTP/2 resets reach tonic as Internal; a refusal of the server's own carries details.
        Code::Internal if status.details().is_empty() => Ok(status),
        _ => Err(Failure::of_status(&status)),
    }
}
