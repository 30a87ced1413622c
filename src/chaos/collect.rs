//! Reads back what the server knows of every acknowledged task and of their children, and judges it task by task, so that
//! a long run needs no memory for its journals.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tonic::Code;

use super::{
    clients::{AGAIN, CALL, Clients},
    story::{Judged, Story, judge},
};
use crate::{
    cli::{Exit, Failure},
    pb,
};

/// Tasks read side by side.
const LANES: usize = 16;
/// How long the server may be away while it is read.
const PATIENCE: Duration = Duration::from_secs(30);

/// Judges every task that can be found. What is not there is left out: the score sees that.
///
/// # Errors
/// When the server cannot be asked.
pub(super) async fn judge_all(
    clients: Arc<Clients>,
    tasks: BTreeSet<String>,
) -> Result<Vec<Judged>, Failure> {
    let mut seen = tasks.clone();
    let mut waiting: Vec<String> = tasks.into_iter().collect();
    let (mut lanes, mut judged) = (JoinSet::new(), Vec::new());
    loop {
        while lanes.len() < LANES
            && let Some(id) = waiting.pop()
        {
            let clients = Arc::clone(&clients);
            lanes.spawn(async move {
                let story = read(&clients, &id).await?;
                Ok::<_, Failure>(story.map(|story| {
                    let children = story.task.children.iter().map(|child| child.task_id.clone());
                    (judge(&story), children.collect::<Vec<_>>())
                }))
            });
        }
        let Some(done) = lanes.join_next().await else { return Ok(judged) };
        let done = done.map_err(|error| Failure::from(format!("a task cannot be judged: {error}")))??;
        if let Some((one, children)) = done {
            judged.push(one);
            waiting.extend(children.into_iter().filter(|child| seen.insert(child.clone())));
        }
    }
}

/// A task with its journal. `None`: the server has no such task.
async fn read(clients: &Clients, id: &str) -> Result<Option<Story>, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        match try_read(clients, id).await {
            Ok(Some(story)) => return Ok(Some(story)),
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            // The view and the journal differ in length: something was written in between.
            Ok(None) if Instant::now() < until => sleep(AGAIN).await,
            Err(_) if Instant::now() < until => sleep(AGAIN).await,
            Ok(None) => {
                return Err(Failure::from(format!("the journal of {id} and its view do not come together")));
            }
            Err(status) => {
                let what = format!("{id} cannot be read back: {}", status.message());
                return Err(Failure::new(Exit::Unavailable, what));
            }
        }
    }
}

async fn try_read(clients: &Clients, id: &str) -> Result<Option<Story>, tonic::Status> {
    let late = |_| tonic::Status::deadline_exceeded("no answer in time");
    let mut client = clients.tasks();
    let request = pb::GetTaskRequest { task_id: id.to_owned() };
    let task =
        timeout(CALL, client.get_task(request)).await.map_err(late)??.into_inner().task.unwrap_or_default();
    let seq = task.summary.as_ref().map_or(0, |summary| summary.seq);
    let mut events = Vec::new();
    let request = pb::WatchTaskRequest { task_id: id.to_owned(), after_seq: 0 };
    let mut stream = timeout(CALL, client.watch_task(request)).await.map_err(late)??.into_inner();
    // The stream of an open task goes on for ever: its view says how far it goes by now.
    while i64::try_from(events.len()).unwrap_or(i64::MAX) < seq {
        match timeout(CALL, stream.message()).await.map_err(late)?? {
            Some(message) => events.extend(message.event),
            None => break,
        }
    }
    let whole = i64::try_from(events.len()).unwrap_or(i64::MAX) == seq;
    Ok(whole.then_some(Story { task, events }))
}
