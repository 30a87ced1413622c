//! The group commit against the store in memory, which can be made to fail and counts its commits.

use std::sync::{
    Barrier,
    mpsc::{self, Receiver},
};

use super::*;
use crate::{
    store::{
        memory::MemoryStore,
        record::{StoredEvent, SummaryRow},
    },
    types::{outcome::TaskState, time::Timestamp},
};
use uuid::Uuid;

/// One event for task `n` after `expected_seq`.
fn append(n: u128, expected_seq: u64) -> Append {
    let task = TaskId::from(Uuid::from_u128(n));
    let at = Timestamp(1);
    let event =
        StoredEvent { seq: expected_seq + 1, at, kind: "e".into(), version: 1, body: "{}".to_owned() };
    let summary = SummaryRow {
        task,
        state: TaskState::Running,
        ended_by: None,
        cause: None,
        owner: "owner".parse().expect("a name"),
        agents: [].into(),
        labels: Vec::new(),
        created_at: at,
        updated_at: at,
        seq: expected_seq + 1,
        parked: None,
        view: "{}".into(),
    };
    Append { task, expected_seq, events: vec![event], summary, escalations: Vec::new(), sums: Vec::new() }
}

/// A writer whose thread is held in a callback until `gate` is passed, so that a test decides what arrives together.
struct Held {
    store: Arc<MemoryStore>,
    handle: WriterHandle,
    thread: JoinHandle<()>,
    gate: Arc<Barrier>,
}

fn held(bound: usize) -> Held {
    let store = Arc::new(MemoryStore::new());
    let bound = NonZeroUsize::new(bound).expect("not zero");
    let (handle, thread) = Writer::start(Arc::clone(&store) as Arc<dyn Store>, bound).expect("a thread");
    let gate = Arc::new(Barrier::new(2));
    let (reached, wait) = mpsc::channel();
    let held = Arc::clone(&gate);
    let hold = move |_| {
        reached.send(()).expect("the test waits");
        held.wait();
    };
    handle.submit(Vec::new(), Box::new(hold)).expect("room for one");
    wait.recv().expect("the thread is in the callback");
    Held { store, handle, thread, gate }
}

impl Held {
    fn submit(&self, appends: Vec<Append>) -> Receiver<Result<u64, StoreError>> {
        let (send, receive) = mpsc::channel();
        let on_done = Box::new(move |result| send.send(result).expect("the test waits"));
        self.handle.submit(appends, on_done).expect("there is room");
        receive
    }

    /// Lets the thread go, waits for its end, and gives back the store.
    fn finish(self) -> Arc<MemoryStore> {
        self.handle.stop();
        self.gate.wait();
        self.thread.join().expect("no panic");
        self.store
    }
}

fn answer(receive: &Receiver<Result<u64, StoreError>>) -> Result<u64, StoreError> {
    receive.try_recv().expect("an answer, as the thread has ended")
}

#[test]
fn what_arrives_together_is_one_commit() {
    let held = held(100);
    let answers: Vec<_> = (1..=50).map(|n| held.submit(vec![append(n, 0)])).collect();
    let store = held.finish();
    assert!(answers.iter().all(|receive| answer(receive) == Ok(50)));
    assert_eq!(store.commits(), 2, "the one that held the thread, and one for all");
}

#[test]
fn a_batch_has_a_bound() {
    let held = held(100);
    let big = |from: u128| (from..from + 1_500).map(|n| append(n, 0)).collect();
    let answers = [held.submit(big(1)), held.submit(big(10_000)), held.submit(vec![append(90_000, 0)])];
    let store = held.finish();
    assert_eq!(answers.each_ref().map(answer), [Ok(1_500), Ok(3_001), Ok(3_001)]);
    assert_eq!(store.commits(), 3);
}

#[test]
fn only_the_guilty_fails() {
    let held = held(100);
    let good = held.submit(vec![append(1, 0), append(1, 1)]);
    let guilty = held.submit(vec![append(2, 0), append(3, 7)]);
    let other = held.submit(vec![append(4, 0)]);
    let store = held.finish();
    assert_eq!((answer(&good), answer(&other)), (Ok(2), Ok(3)));
    let task = append(3, 0).task;
    assert_eq!(answer(&guilty), Err(StoreError::Conflict { task, expected: 7, found: 0 }));
    assert_eq!(store.summary(append(2, 0).task), Ok(None), "nothing of it was kept");
}

#[test]
fn what_follows_a_refusal_is_refused_even_where_its_number_would_fit() {
    let held = held(100);
    let guilty = held.submit(vec![append(1, 0), append(2, 7)]);
    // Its number fits the store, but it was decided on top of what was refused; and task 3 then falls with it.
    let follows = held.submit(vec![append(1, 0), append(3, 0)]);
    let indirectly = held.submit(vec![append(3, 0)]);
    let bystander = held.submit(vec![append(4, 0)]);
    let store = held.finish();
    assert!(answer(&guilty).is_err() && answer(&follows).is_err() && answer(&indirectly).is_err());
    assert_eq!(answer(&bystander), Ok(1));
    assert_eq!(store.log(0, 10).expect("a read").len(), 1);
}

#[test]
fn after_a_refusal_was_heard_the_task_goes_on() {
    let held = held(100);
    let (send, receive) = mpsc::channel();
    let handle = held.handle.clone();
    let again = Box::new(move |refused: Result<u64, StoreError>| {
        assert!(refused.is_err());
        let on_done = Box::new(move |result| send.send(result).expect("the test waits"));
        handle.submit(vec![append(1, 0)], on_done).expect("there is room");
    });
    held.handle.submit(vec![append(1, 5)], again).expect("there is room");
    let stale = held.submit(vec![append(1, 0)]);
    held.gate.wait();
    assert_eq!(receive.recv().expect("an answer"), Ok(1));
    assert!(stale.recv().expect("an answer").is_err());
    held.handle.stop();
    held.thread.join().expect("no panic");
}

#[test]
fn a_failing_store_fails_the_batch_and_keeps_none_of_it() {
    let held = held(100);
    held.store.fail_next_commits(3);
    let answers = [held.submit(vec![append(1, 0)]), held.submit(vec![append(2, 0)])];
    let store = held.finish();
    for receive in &answers {
        assert!(matches!(answer(receive), Err(StoreError::Unavailable(_))));
    }
    assert_eq!(store.log(0, 10), Ok(Vec::new()));
}

#[test]
fn a_full_queue_and_a_stopped_writer_give_the_submission_back() {
    let held = held(1);
    let waiting = held.submit(vec![append(1, 0)]);
    let refused = held.handle.submit(vec![append(2, 0)], Box::new(|_| {}));
    assert!(matches!(refused, Err(SubmitError::Full(back)) if back.appends == [append(2, 0)]));
    let handle = held.handle.clone();
    held.finish();
    assert_eq!(answer(&waiting), Ok(1), "a stop commits what was queued");
    let refused = handle.submit(vec![append(2, 0)], Box::new(|_| {}));
    assert!(matches!(refused, Err(SubmitError::Stopped(_))));
}

#[test]
fn the_thread_ends_with_its_last_handle() {
    let Held { handle, thread, gate, .. } = held(1);
    drop(handle);
    gate.wait();
    thread.join().expect("no panic");
}

#[test]
fn a_callback_that_panics_leaves_nobody_waiting() {
    let held = held(1);
    let Held { handle, thread, gate, .. } = held;
    let (send, receive) = mpsc::channel();
    let late = handle.clone();
    let panics = Box::new(move |_| {
        // By now the queue has room again; this one is behind the batch whose callback panics.
        let on_done = Box::new(move |result| send.send(result).expect("the test waits"));
        late.submit(vec![append(2, 0)], on_done).expect("there is room");
        panic!("on purpose");
    });
    handle.submit(vec![append(1, 0)], panics).expect("there is room");
    gate.wait();
    assert!(thread.join().is_err());
    assert!(receive.recv().expect("an answer").is_err());
    assert!(matches!(handle.submit(Vec::new(), Box::new(|_| {})), Err(SubmitError::Stopped(_))));
}
