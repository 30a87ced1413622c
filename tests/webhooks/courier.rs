//! When a notice is tried, tried again, passed over: without a network, on a clock that jumps to whatever is waited for.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bailiwick::{
    notify::{
        Notifier, Notifying,
        http::{Parcel, Post, PostError, Reply, RetryAfter},
        place::Place,
        schedule::{REFUSALS, Schedule},
        settings::{self, Sink},
    },
    runtime::Clock,
    service::webhooks::WebhookBoard,
    store::{Store, memory::MemoryStore},
    types::time::Timestamp,
};
use tokio::sync::watch;

use crate::{
    asked, dead_lettered,
    journal::{Journal, START, submitted},
};

/// A clock on which every wait is over at once, and has taken as long as it was to.
#[derive(Clone)]
struct JumpingClock(Arc<AtomicU64>);

impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn wait(&self, until: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.0.fetch_max(until.0, Ordering::SeqCst);
        })
    }
}

/// One try, as the sinks saw it.
#[derive(Debug, Clone, PartialEq)]
struct Try {
    at: Timestamp,
    place: String,
    event: String,
    body: String,
    status: u16,
}

/// Sinks that answer what the test says, by place; 200 where it says nothing.
#[derive(Clone)]
struct Sinks {
    clock: JumpingClock,
    answers: Arc<Mutex<HashMap<String, VecDeque<Reply>>>>,
    tries: watch::Sender<Vec<Try>>,
}

impl Sinks {
    fn new() -> Self {
        let clock = JumpingClock(Arc::new(AtomicU64::new(START.0)));
        Self { clock, answers: Arc::default(), tries: watch::Sender::new(Vec::new()) }
    }

    fn answer(&self, place: &str, replies: impl IntoIterator<Item = Reply>) {
        self.answers.lock().expect("no panic").entry(place.to_owned()).or_default().extend(replies);
    }

    fn tries(&self, place: &str) -> Vec<Try> {
        self.tries.borrow().iter().filter(|one| one.place == place).cloned().collect()
    }

    fn events(&self, place: &str) -> Vec<(String, u16)> {
        self.tries(place).into_iter().map(|one| (one.event, one.status)).collect()
    }

    /// Waits until so many tries of a sink have had this status.
    async fn seen(&self, place: &str, status: u16, count: usize) {
        let mut tries = self.tries.subscribe();
        let fits = |one: &&Try| one.place == place && one.status == status;
        let waiting = tries.wait_for(|tries| tries.iter().filter(fits).count() >= count);
        let there = tokio::time::timeout(Duration::from_secs(30), waiting).await.is_ok();
        assert!(there, "{count} times {status}: {:?}", self.events(place));
    }

    /// Seconds from try to try.
    fn waits(&self, place: &str) -> Vec<u64> {
        let tries = self.tries(place);
        tries.windows(2).map(|two| two[1].at.since(two[0].at).0 / 1_000_000).collect()
    }
}

impl Post for Sinks {
    async fn post(&self, place: &Place, parcel: Parcel<'_>) -> Result<Reply, PostError> {
        let (place, at) = (place.host().to_owned(), self.clock.now());
        let reply = self.answers.lock().expect("no panic").get_mut(&place).and_then(VecDeque::pop_front);
        let reply = reply.unwrap_or_else(|| status(200));
        let (event, body) = (parcel.notice.id.clone(), parcel.notice.body.clone());
        self.tries.send_modify(|tries| tries.push(Try { at, place, event, body, status: reply.status }));
        Ok(reply)
    }
}

fn status(status: u16) -> Reply {
    Reply { status, ..Reply::default() }
}

fn sinks(names: &[&str]) -> Vec<Sink> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("webhooks.toml");
    let text: String = names
        .iter()
        .map(|name| format!("[{name}]\nurl = \"https://{name}.example/\"\nsecret_env = \"S\"\n"))
        .collect();
    std::fs::write(&file, text).expect("written");
    settings::read(Path::new(&file), |_| Some("a-secret-for-the-tests".to_owned())).expect("good sinks")
}

/// What is sent, until it is dropped.
struct Sending {
    sending: Notifying,
    log_end: watch::Sender<u64>,
}

impl Sending {
    async fn start(store: &Arc<dyn Store>, post: &Sinks, names: &[&str]) -> Self {
        let clock = Arc::new(post.clock.clone());
        let (schedule, board) = (Schedule::default(), WebhookBoard::default());
        let notifier =
            Notifier::with_post(sinks(names), schedule, post.clone(), Arc::clone(store), clock, board);
        let notifier = notifier.await.expect("a store of memory");
        let log_end = watch::Sender::new(0);
        Self { sending: notifier.start(&log_end.subscribe()), log_end }
    }

    fn nudge(&self) {
        self.log_end.send_modify(|end| *end += 1);
    }
}

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

/// A task that asks three questions and is a dead letter: four notices, whose ids are returned.
fn eventful(store: &Arc<dyn Store>, number: u128) -> Vec<String> {
    let mut journal = Journal::new(Arc::clone(store), number);
    journal.commit(0, vec![submitted(None), asked(1), asked(2)]);
    journal.commit(10, vec![asked(3), dead_lettered()]);
    (2..=5).map(|seq| format!("{}/{seq}", journal.task)).collect()
}

fn good(ids: &[String]) -> Vec<(String, u16)> {
    ids.iter().map(|id| (id.clone(), 200)).collect()
}

#[tokio::test]
async fn a_failing_sink_is_tried_with_growing_waits_and_the_order_is_kept() {
    let (store, post) = (store(), Sinks::new());
    let sending = Sending::start(&store, &post, &["a"]).await;
    post.answer("a.example", [500, 503, 302, 404].map(status));
    let ids = eventful(&store, 1);
    sending.nudge();
    post.seen("a.example", 200, 4).await;
    assert_eq!(post.waits("a.example")[..4], [1, 2, 4, 8], "seconds, doubled each time");
    let tries = post.tries("a.example");
    assert!(tries[..5].iter().all(|one| one.event == ids[0]), "nothing passes what waits");
    assert!(tries[..5].iter().all(|one| one.body == tries[0].body), "and it stays the same, to the byte");
    assert_eq!(post.events("a.example")[4..], good(&ids));
}

#[tokio::test]
async fn a_sink_may_ask_for_time() {
    let (store, post) = (store(), Sinks::new());
    let sending = Sending::start(&store, &post, &["a"]).await;
    let busy = |retry_after| Reply { status: 429, retry_after: Some(retry_after), ..Reply::default() };
    let at = START.0 / 1_000_000 + 120;
    post.answer("a.example", [busy(RetryAfter::In(Duration::from_secs(30))), busy(RetryAfter::At(at))]);
    eventful(&store, 1);
    sending.nudge();
    post.seen("a.example", 200, 1).await;
    assert_eq!(post.waits("a.example")[..2], [30, 90]);
}

#[tokio::test]
async fn a_sink_that_is_down_holds_no_other() {
    let (store, post) = (store(), Sinks::new());
    let sending = Sending::start(&store, &post, &["up", "down"]).await;
    post.answer("down.example", vec![status(502); 1_000]);
    let ids = eventful(&store, 1);
    sending.nudge();
    post.seen("up.example", 200, 4).await;
    assert_eq!(post.events("up.example"), good(&ids));
    post.seen("down.example", 200, 4).await;
    assert_eq!(post.events("down.example")[1_000..], good(&ids), "and it hears of everything in the end");
    assert!(post.waits("down.example")[10..999].iter().all(|wait| *wait == 300), "it is never given up");
}

#[tokio::test]
async fn after_a_restart_what_was_accepted_is_not_sent_again_and_what_was_not_is() {
    let (store, post) = (store(), Sinks::new());
    let first = Sending::start(&store, &post, &["a"]).await;
    post.answer("a.example", [status(200), status(200)]);
    post.answer("a.example", vec![status(500); 1_000_000]);
    let ids = eventful(&store, 1);
    first.nudge();
    post.seen("a.example", 500, 3).await;
    first.sending.finish().await;
    let before = post.tries("a.example");
    post.answers.lock().expect("no panic").clear();
    let _second = Sending::start(&store, &post, &["a"]).await;
    post.seen("a.example", 200, 4).await;
    let after = &post.tries("a.example")[before.len()..];
    assert_eq!(post.events("a.example")[before.len()..], good(&ids[2..]));
    assert_eq!(after[0].body, before[2].body, "the same notice under the same id");
}

#[tokio::test]
async fn a_new_sink_begins_where_the_log_ends() {
    let (store, post) = (store(), Sinks::new());
    eventful(&store, 1);
    Sending::start(&store, &post, &["old"]).await.sending.finish().await;
    let ids = eventful(&store, 2);
    let sending = Sending::start(&store, &post, &["new", "old"]).await;
    let more = eventful(&store, 3);
    sending.nudge();
    post.seen("new.example", 200, 4).await;
    assert_eq!(post.events("new.example"), good(&more));
    post.seen("old.example", 200, 8).await;
    let all: Vec<String> = ids.into_iter().chain(more).collect();
    assert_eq!(post.events("old.example"), good(&all), "what happened while the server was down is not lost");
}

#[tokio::test]
async fn a_notice_that_is_refused_by_itself_is_set_aside_but_never_two_in_a_row() {
    let (store, post) = (store(), Sinks::new());
    let first = Sending::start(&store, &post, &["a"]).await;
    let refusals = usize::try_from(REFUSALS).expect("few");
    // The first is accepted; the second refused for good; the third refused, too: then the sink is what is wrong.
    post.answer("a.example", [status(200)]);
    post.answer("a.example", vec![status(422); 1_000_000]);
    let ids = eventful(&store, 1);
    first.nudge();
    post.seen("a.example", 422, refusals * 4).await;
    // A restart forgets neither.
    first.sending.finish().await;
    let second = Sending::start(&store, &post, &["a"]).await;
    second.nudge();
    let before = post.tries("a.example").len();
    post.seen("a.example", 422, before + refusals * 4).await;
    post.answers.lock().expect("no panic").clear();
    post.seen("a.example", 200, 3).await;

    let mut expected = good(&ids[..1]);
    expected.extend(vec![(ids[1].clone(), 422); refusals]);
    let held = post.events("a.example").len() - expected.len() - 2;
    expected.extend(vec![(ids[2].clone(), 422); held]);
    expected.extend(good(&ids[2..]));
    assert_eq!(post.events("a.example"), expected, "once the sink is put right, only one is missing");
    assert_eq!(store.number("webhook_set_aside.a"), Ok(Some(1)));
}

#[tokio::test]
async fn a_sink_that_has_never_accepted_anything_sets_nothing_aside() {
    let (store, post) = (store(), Sinks::new());
    let sending = Sending::start(&store, &post, &["a"]).await;
    post.answer("a.example", vec![status(400); 100]);
    let ids = eventful(&store, 1);
    sending.nudge();
    post.seen("a.example", 200, 4).await;
    assert_eq!(post.events("a.example")[100..], good(&ids));
    assert_eq!(store.number("webhook_set_aside.a"), Ok(None));
}
