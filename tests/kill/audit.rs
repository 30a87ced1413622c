//! The audit: the server's journal against the clients' and the workers' books.

use std::{collections::BTreeMap, sync::Arc};

use bailiwick::pb::{
    GetTaskRequest, Task, TaskState, WatchTaskRequest, task_event::Event,
    task_service_client::TaskServiceClient,
};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::{
    load::{Submitted, client, submit},
    worker::Entry,
};

/// Tasks looked at side by side.
const LANES: usize = 16;
/// After this a task that has not ended never will.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// What the audit saw on the way.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) attempts: usize,
    /// Attempts nobody has said anything of.
    pub(crate) vanished: usize,
    /// Attempts whose answer was refused or whose usage came under a lease that was over.
    pub(crate) refused: usize,
    /// Usage that was heard of after the outcome.
    pub(crate) late: usize,
}

/// Waits until every task has ended.
pub(crate) async fn wait_until_ended(uri: &str, submitted: &Arc<Vec<Submitted>>) {
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let (submitted, mut client) = (submitted.clone(), client(uri));
        lanes.spawn(async move {
            for one in submitted.iter().skip(lane).step_by(LANES) {
                // The watch ends with the task.
                let journal = tokio::time::timeout(PATIENCE, journal(&mut client, &one.task)).await;
                journal.unwrap_or_else(|_| panic!("{} does not end", one.task));
            }
        });
    }
    lanes.join_all().await;
}

/// Panics where the books differ.
pub(crate) async fn audit(
    uri: &str,
    submitted: &Arc<Vec<Submitted>>,
    entries: Arc<BTreeMap<String, Entry>>,
) -> Found {
    let mut by_task: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in entries.values() {
        by_task.entry(entry.task.clone()).or_default().push(entry.clone());
    }
    let by_task = Arc::new(by_task);
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let (submitted, by_task, mut client) = (submitted.clone(), by_task.clone(), client(uri));
        lanes.spawn(async move {
            let mut found = Found::default();
            for one in submitted.iter().skip(lane).step_by(LANES) {
                let mine = by_task.get(&one.task).map(Vec::as_slice).unwrap_or_default();
                audit_one(&mut client, one, mine, &mut found).await;
            }
            found
        });
    }
    let add = |a: Found, b: Found| Found {
        attempts: a.attempts + b.attempts,
        vanished: a.vanished + b.vanished,
        refused: a.refused + b.refused,
        late: a.late + b.late,
    };
    lanes.join_all().await.into_iter().fold(Found::default(), add)
}

async fn audit_one(
    client: &mut TaskServiceClient<Channel>,
    one: &Submitted,
    mine: &[Entry],
    found: &mut Found,
) {
    let (task, existing) = submit(client, &one.key).await;
    assert!(existing && task == one.task, "the key {} still names its task", one.key);
    let request = GetTaskRequest { task_id: one.task.clone() };
    let task = client.get_task(request).await.expect("it is there").into_inner().task.expect("a task");
    let journal = journal(client, &one.task).await;
    let accepted = mine.iter().filter(|entry| entry.accepted == Some(true)).count();
    let answered = journal.iter().filter(|event| matches!(event, Event::TurnAnswered(_))).count();
    let ends = journal.iter().filter(|event| matches!(event, Event::Ended(_))).count();
    assert_eq!(ends, 1, "exactly one outcome");
    assert_eq!(answered, accepted, "every acknowledged answer is in the journal, and no other");
    let attempts: BTreeMap<(i32, i32), i64> = journal
        .iter()
        .filter_map(|event| match event {
            Event::AttemptStarted(it) => Some(((it.turn, it.attempt), it.allowance_tokens)),
            _ => None,
        })
        .collect();
    for entry in mine {
        assert!(attempts.contains_key(&entry.place), "no attempt without a journal entry");
    }
    let is_heard = |place: &(i32, i32)| mine.iter().any(|entry| entry.heard && entry.place == *place);
    let vanished: Vec<i64> = attempts.iter().filter(|(at, _)| !is_heard(at)).map(|(_, held)| *held).collect();
    check_ledger(&task, mine, vanished.iter().sum());
    found.attempts += attempts.len();
    found.vanished += vanished.len();
    found.refused += mine.iter().filter(|entry| entry.heard && entry.accepted == Some(false)).count();
    found.late += journal
        .iter()
        .skip_while(|event| !matches!(event, Event::Ended(_)))
        .filter(|event| matches!(event, Event::LateUsage(_)))
        .count();
}

/// `vanished`: the allowances of the attempts that nobody has said anything of, in tokens.
fn check_ledger(task: &Task, mine: &[Entry], vanished: i64) {
    let summary = task.summary.as_ref().expect("a task has a line");
    assert_eq!(summary.state(), TaskState::Succeeded, "{:?}", task.outcome);
    let ledger = summary.ledger.as_ref().expect("a task has a ledger");
    let used: i64 = mine.iter().filter(|entry| entry.heard).map(|entry| entry.tokens).sum();
    let id = &summary.task_id;
    assert_eq!(ledger.spent_tokens, used, "spent is what was used, to the token: {id}");
    assert_eq!(ledger.overrun_tokens, 0);
    assert_eq!(ledger.unheard_tokens, vanished, "what vanished stays charged in full: {id}");
    assert_eq!(ledger.reserved_tokens, ledger.unheard_tokens, "only what vanished stays reserved: {id}");
}

/// The whole journal of a task, to its end, numbered without gaps.
async fn journal(client: &mut TaskServiceClient<Channel>, task: &str) -> Vec<Event> {
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
