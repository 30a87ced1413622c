//! `bailiwick watch`: a line an event, until the task ends. A broken connection is taken up again where it was: the cursor
//! is the number of the last event that was printed.

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tonic::{Code, Status};

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    terminal::Terminal,
};
use crate::{
    console::{events::Story, halt, task, words},
    pb,
};

/// How long a watch goes on trying once the connection is lost.
const GIVE_UP: Duration = Duration::from_secs(60);
/// How often it is looked whether a halt holds the task back.
const LOOK_EVERY: Duration = Duration::from_secs(2);
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
/// When there is no such task, or the server has been away for a minute.
pub async fn follow(
    client: &Client,
    terminal: &mut Terminal,
    id: &str,
    after: i64,
    remote: &Remote,
) -> Result<Exit, Failure> {
    let mut watcher = Watcher {
        id,
        json: remote.json,
        cursor: after,
        story: Story::beside(remote.flag()),
        outage: Outage::default(),
    };
    terminal.progress(&format!("watching {id}"));
    loop {
        let broken = watcher.stream(client, terminal).await?;
        if broken.is_none()
            && let Some(exit) = watcher.conclude(client, terminal).await?
        {
            return Ok(exit);
        }
        if !watcher.outage.is_known() {
            terminal.note(format!("the connection was lost after event {}; trying again", watcher.cursor));
        }
        let Some(wait) = watcher.outage.lost(Instant::now()) else {
            terminal.progress_done();
            let status = broken.unwrap_or_else(|| Status::unavailable("the server keeps ending the watch"));
            let hint =
                format!("go on with: bailiwick watch {id} --after {}{}", watcher.cursor, remote.flag());
            return Err(Failure::of_status(&status).hint(hint));
        };
        tokio::time::sleep(wait).await;
    }
}

/// How long the server has been away, and how long to wait before the next try.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Instant>,
    tries: u32,
}

impl Outage {
    pub(super) fn is_known(&self) -> bool {
        self.since.is_some()
    }

    /// Something arrived: the outage is over.
    pub(super) fn over(&mut self) {
        *self = Self::default();
    }

    /// Another try has failed at `now`. None: it has been enough.
    pub(super) fn lost(&mut self, now: Instant) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) > GIVE_UP {
            return None;
        }
        let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(self.tries)).min(LONGEST_WAIT);
        self.tries = self.tries.saturating_add(1);
        Some(wait)
    }
}

/// A stream on which nothing comes: then it is looked whether the task is held back.
struct Quiet {
    look: Interval,
    /// The halts that were told of.
    said: Vec<i64>,
}

impl Quiet {
    fn new() -> Self {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { look, said: Vec::new() }
    }

    async fn wait(&mut self) {
        self.look.tick().await;
    }
}

struct Watcher<'a> {
    id: &'a str,
    json: bool,
    cursor: i64,
    story: Story,
    outage: Outage,
}

impl Watcher<'_> {
    /// Prints what one stream brings. Some: it broke, and may be taken up again.
    async fn stream(&mut self, client: &Client, terminal: &mut Terminal) -> Result<Option<Status>, Failure> {
        let request = pb::WatchTaskRequest { task_id: self.id.to_owned(), after_seq: self.cursor };
        let mut tasks = client.tasks.clone();
        let opened = tokio::time::timeout(client.timeout, tasks.watch_task(request));
        let mut stream = match terminal.waiting("waiting for the server", opened).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return resumable(status).map(Some),
            Err(_) => return Ok(Some(Status::unavailable("the server does not answer"))),
        };
        let mut quiet = Quiet::new();
        loop {
            let message = tokio::select! {
                biased;
                message = stream.message() => message,
                () = quiet.wait() => {
                    self.say_why_it_waits(client, terminal, &mut quiet).await;
                    continue;
                }
            };
            match message {
                Ok(None) => return Ok(None),
                Ok(Some(message)) => self.print(terminal, &message)?,
                Err(status) => return resumable(status).map(Some),
            }
        }
    }

    fn print(&mut self, terminal: &mut Terminal, message: &pb::WatchTaskResponse) -> Result<(), Failure> {
        self.outage.over();
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

    /// Says which halts hold the task back, where that is news. Best effort: the watch itself does not depend on it.
    async fn say_why_it_waits(&self, client: &Client, terminal: &Terminal, quiet: &mut Quiet) {
        let request = pb::GetTaskRequest { task_id: self.id.to_owned() };
        let Ok(answer) = client.tasks.clone().get_task(request).await else { return };
        let halts = answer.into_inner().task.unwrap_or_default().halts;
        let numbers: Vec<i64> = halts.iter().map(|halt| halt.number).collect();
        if numbers != quiet.said {
            halts.iter().for_each(|held| terminal.note(format!("it waits: {}", halt::sentence(held))));
            if halts.is_empty() {
                terminal.note("nothing holds it back any more");
            }
            quiet.said = numbers;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_counts_from_its_own_beginning() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut outage = Outage::default();
        // However long it was quiet before: the first loss is no reason to give up.
        assert_eq!(outage.lost(at(1_000)), Some(FIRST_WAIT));
        assert_eq!(outage.lost(at(1_001)), Some(FIRST_WAIT * 2));
        for _ in 0..100 {
            assert!(outage.lost(at(1_060)).is_some_and(|wait| wait <= LONGEST_WAIT));
        }
        assert_eq!(outage.lost(at(1_061)), None);
        outage.over();
        assert!(!outage.is_known());
        assert_eq!(outage.lost(at(2_000)), Some(FIRST_WAIT));
    }

    #[test]
    fn only_a_broken_connection_is_taken_up_again() {
        for code in [Code::Unavailable, Code::Unknown, Code::Internal, Code::ResourceExhausted] {
            assert!(resumable(Status::new(code, "")).is_ok(), "{code:?}");
        }
        for code in [Code::NotFound, Code::InvalidArgument, Code::PermissionDenied, Code::Unimplemented] {
            assert!(resumable(Status::new(code, "")).is_err(), "{code:?}");
        }
        assert!(resumable(Status::with_details(Code::Internal, "", vec![1].into())).is_err());
    }
}
