//! The audit: the server's journal against the clients' and the workers' books.

use std::{collections::BTreeMap, time::Duration};

use bailiwick::pb::{GetTaskRequest, Task, TaskState, WatchTaskRequest, task_event::Event};

use crate::{
    load::{Submitted, client, submit},
    worker::Books,
};

/// What the audit saw on the way.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) attempts: usize,
    pub(crate) vanished: usize,
}

/// Waits until every task has ended; the tasks by id.
pub(crate) async fn wait_until_ended(uri: &str, submitted: &[Submitted]) -> BTreeMap<String, Task> {
    let mut client = client(uri);
    let mut ended = BTreeMap::new();
    let end = tokio::time::Instant::now() + Duration::from_secs(120);
    for one in submitted {
        loop {
            let request = GetTaskRequest { task_id: one.task.clone() };
            let task = client.get_task(request).await.expect("an acknowledged task is there").into_inner();
            let task = task.task.expect("the answer has the task");
            if task.outcome.is_some() {
                ended.insert(one.task.clone(), task);
                break;
            }
            assert!(tokio::time::Instant::now() < end, "{} does not end: {task:?}", one.task);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    ended
}

/// Panics where the books differ.
pub(crate) async fn audit(
    uri: &str,
    submitted: &[Submitted],
    ended: &BTreeMap<String, Task>,
    books: &Books,
) -> Found {
    let mut client = client(uri);
    let entries = books.entries();
    let mut found = Found::default();
    for one in submitted {
        let (task, existing) = submit(&mut client, &one.key).await;
        assert!(existing && task == one.task, "the key {} still names its task", one.key);
        let state = ended[&one.task].summary.as_ref().map(|summary| summary.state());
        assert_eq!(state, Some(TaskState::Succeeded), "{:?}", ended[&one.task].outcome);
        let mine: Vec<_> = entries.values().filter(|entry| entry.task == one.task).collect();
        let used: i64 = mine.iter().map(|entry| entry.tokens).sum();
        let accepted = mine.iter().filter(|entry| entry.accepted == Some(true)).count();

        // Read again: late usage may have come after the end was first seen.
        let request = GetTaskRequest { task_id: one.task.clone() };
        let task = client.get_task(request).await.expect("it is there").into_inner().task.expect("a task");
        let ledger = task.summary.and_then(|summary| summary.ledger).expect("a task has a ledger");
        assert_eq!(ledger.spent_tokens, used, "spent is what was used, to the token: {}", one.task);
        assert_eq!(ledger.overrun_tokens, 0);
        assert_eq!(ledger.reserved_tokens, ledger.unheard_tokens, "only what vanished stays reserved");

        let journal = journal(&mut client, &one.task).await;
        let answered = journal.iter().filter(|event| matches!(event, Event::TurnAnswered(_))).count();
        let attempts = journal.iter().filter(|event| matches!(event, Event::AttemptStarted(_))).count();
        let ends = journal.iter().filter(|event| matches!(event, Event::Ended(_))).count();
        assert_eq!(ends, 1, "exactly one outcome");
        assert_eq!(answered, accepted, "every acknowledged answer is in the journal, and no other");
        assert!(attempts >= mine.len(), "no attempt without a journal entry");
        let vanished = attempts - mine.len();
        assert_eq!(ledger.unheard_tokens > 0, vanished > 0, "a vanished attempt stays charged");
        found.attempts += attempts;
        found.vanished += vanished;
    }
    found
}

/// The whole journal of an ended task, numbered without gaps.
async fn journal(
    client: &mut bailiwick::pb::task_service_client::TaskServiceClient<tonic::transport::Channel>,
    task: &str,
) -> Vec<Event> {
    let request = WatchTaskRequest { task_id: task.to_owned(), after_seq: 0 };
    let mut stream = client.watch_task(request).await.expect("it can be watched").into_inner();
    let mut events = Vec::new();
    while let Some(response) = stream.message().await.expect("the watch goes on to the end") {
        let event = response.event.expect("a response has an event");
        assert_eq!(event.seq, i64::try_from(events.len()).unwrap_or(0) + 1, "no gap");
        events.extend(event.event);
    }
    events
}
