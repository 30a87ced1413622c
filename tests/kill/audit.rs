//! The audit: the server's journal against the clients' and the workers' books.

use std::{collections::BTreeMap, sync::Arc};

use bailiwick::pb::{
    GetTaskRequest, Task, TaskState, TurnKind, WatchTaskRequest, task_event::Event,
    task_service_client::TaskServiceClient,
};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::{
    load::{Submitted, client, submit},
    person::Answered,
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
    /// Turns of validators.
    pub(crate) judged: usize,
    /// Questions that people answered.
    pub(crate) answered: usize,
    /// Steps that were streamed and acknowledged.
    pub(crate) streamed: usize,
    /// Children, and of them those that their parents stopped.
    pub(crate) children: usize,
    pub(crate) stopped: usize,
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
    answered: &Arc<Answered>,
) -> Found {
    let mut by_task: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in entries.values() {
        by_task.entry(entry.task.clone()).or_default().push(entry.clone());
    }
    let by_task = Arc::new(by_task);
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let (submitted, by_task, mut client) = (submitted.clone(), by_task.clone(), client(uri));
        let answered = answered.clone();
        lanes.spawn(async move {
            let mut found = Found::default();
            for one in submitted.iter().skip(lane).step_by(LANES) {
                audit_one(&mut client, one, &by_task, &answered, &mut found).await;
            }
            found
        });
    }
    let add = |a: Found, b: Found| Found {
        attempts: a.attempts + b.attempts,
        vanished: a.vanished + b.vanished,
        refused: a.refused + b.refused,
        late: a.late + b.late,
        judged: a.judged + b.judged,
        answered: a.answered + b.answered,
        streamed: a.streamed + b.streamed,
        children: a.children + b.children,
        stopped: a.stopped + b.stopped,
    };
    lanes.join_all().await.into_iter().fold(Found::default(), add)
}

async fn audit_one(
    client: &mut TaskServiceClient<Channel>,
    one: &Submitted,
    by_task: &BTreeMap<String, Vec<Entry>>,
    answered: &Answered,
    found: &mut Found,
) {
    let (task, existing) = submit(client, &one.key).await;
    assert!(existing && task == one.task, "the key {} still names its task", one.key);
    let (task, journal) = audit_task(client, &one.task, by_task, found).await;
    let summary = task.summary.as_ref().expect("a task has a line");
    assert_eq!(summary.state(), TaskState::Succeeded, "{:?}", task.outcome);
    check_questions(&journal, answered, found);
    for child in &task.children {
        let (child, _) = audit_task(client, &child.task_id, by_task, found).await;
        let state = child.summary.as_ref().expect("a task has a line").state();
        assert!(matches!(state, TaskState::Succeeded | TaskState::Cancelled), "{:?}", child.outcome);
        found.children += 1;
        found.stopped += usize::from(state == TaskState::Cancelled);
    }
}

/// What holds of every task. Waits until it has heard of its children.
async fn audit_task(
    client: &mut TaskServiceClient<Channel>,
    id: &str,
    by_task: &BTreeMap<String, Vec<Entry>>,
    found: &mut Found,
) -> (Task, Vec<Event>) {
    let mine = by_task.get(id).map(Vec::as_slice).unwrap_or_default();
    let settled = tokio::time::timeout(PATIENCE, settled(client, id)).await;
    let (task, below) = settled.unwrap_or_else(|_| panic!("{id} does not hear of its children"));
    let journal = journal(client, id).await;
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
        check_entry(entry, &task, &journal);
    }
    let is_heard = |place: &(i32, i32)| mine.iter().any(|entry| entry.heard && entry.place == *place);
    let vanished: Vec<i64> = attempts.iter().filter(|(at, _)| !is_heard(at)).map(|(_, held)| *held).collect();
    check_ledger(&task, mine, vanished.iter().sum(), &below);
    found.attempts += attempts.len();
    found.vanished += vanished.len();
    found.refused += mine.iter().filter(|entry| entry.heard && entry.accepted == Some(false)).count();
    found.streamed += mine.iter().filter(|entry| entry.streamed).count();
    let is_verdict =
        |event: &&Event| matches!(event, Event::TurnOpened(it) if it.kind() == TurnKind::Validate);
    found.judged += journal.iter().filter(is_verdict).count();
    found.late += journal
        .iter()
        .skip_while(|event| !matches!(event, Event::Ended(_)))
        .filter(|event| matches!(event, Event::LateUsage(_)))
        .count();
    (task, journal)
}

/// What the children of a task say, in tokens.
struct Below {
    used: i64,
    unheard: i64,
}

/// A task that has heard all that its children used, and how much that is.
async fn settled(client: &mut TaskServiceClient<Channel>, id: &str) -> (Task, Below) {
    loop {
        let request = GetTaskRequest { task_id: id.to_owned() };
        let task = client.get_task(request).await.expect("it is there").into_inner().task.expect("a task");
        let (mut below, mut open) = (Below { used: 0, unheard: 0 }, false);
        for child in &task.children {
            let request = GetTaskRequest { task_id: child.task_id.clone() };
            let child = client.get_task(request).await.expect("every child was made").into_inner().task;
            let summary = child.and_then(|child| child.summary).expect("a task has a line");
            let ledger = summary.ledger.as_ref().expect("a task has a ledger");
            below.used += ledger.spent_tokens + ledger.overrun_tokens;
            below.unheard += ledger.unheard_tokens;
            open |= matches!(summary.state(), TaskState::Queued | TaskState::Running);
        }
        let known =
            task.summary.as_ref().and_then(|it| it.ledger.as_ref()).map_or(0, |it| it.children_tokens);
        if !open && known == below.used && task.children.iter().all(|child| !child.open) {
            return (task, below);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// What was acknowledged under a lease is there.
fn check_entry(entry: &Entry, task: &Task, journal: &[Event]) {
    let is_step =
        |event: &Event| matches!(event, Event::Progressed(it) if (it.turn, it.attempt) == entry.place);
    assert!(!entry.streamed || journal.iter().any(is_step), "a step that was acknowledged is in the journal");
    if let Some(child) = &entry.child {
        assert!(
            task.children.iter().any(|known| known.task_id == *child),
            "its parent knows the child {child}"
        );
    }
}

/// Every question was answered once, by who was told so.
fn check_questions(journal: &[Event], answered: &Answered, found: &mut Found) {
    let asked = journal.iter().filter(|event| matches!(event, Event::Escalated(_))).count();
    let mut ended = BTreeMap::new();
    for event in journal {
        if let Event::EscalationEnded(it) = event {
            let before = ended.insert(it.escalation_id.clone(), it.answered_by.clone());
            assert_eq!(before, None, "a question ends once");
        }
    }
    assert_eq!(asked, ended.len(), "every question has ended");
    for (question, by) in ended {
        assert!(!by.is_empty(), "a person answered {question}");
        // Whoever answered last may not have been told: a kill came between.
        assert!(answered.by(&question).is_none_or(|told| told == by), "{by} answered {question}");
        found.answered += 1;
    }
}

/// `vanished`: the allowances of the attempts that nobody has said anything of, in tokens.
fn check_ledger(task: &Task, mine: &[Entry], vanished: i64, below: &Below) {
    let summary = task.summary.as_ref().expect("a task has a line");
    let ledger = summary.ledger.as_ref().expect("a task has a ledger");
    let used: i64 = mine.iter().filter(|entry| entry.heard).map(|entry| entry.tokens).sum();
    let id = &summary.task_id;
    assert_eq!(ledger.spent_tokens, used + below.used, "spent is what was used, to the token: {id}");
    assert_eq!(ledger.overrun_tokens, 0);
    let unheard = vanished + below.unheard;
    assert_eq!(ledger.unheard_tokens, unheard, "what vanished stays charged in full: {ledger:?} of {id}");
    assert_eq!(ledger.reserved_tokens, unheard, "only what vanished stays reserved: {ledger:?} of {id}");
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
