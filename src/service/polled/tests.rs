//! The table: who is heard stays, who is silent goes, and nothing that was said is lost on its way.

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::{
    service::rig::{self, LEASE_TIME, START},
    types::time::Span,
};

struct Rig {
    parts: rig::Rig,
    polled: Arc<Polled>,
}

impl Rig {
    async fn new(max: usize) -> Self {
        let parts = rig::Rig::new().await;
        let polled = Arc::new(Polled::new(parts.context.clone(), max));
        Self { parts, polled }
    }

    async fn open(&self, worker: &str) -> Result<SessionId, Fault> {
        let registration = Registration {
            worker: worker.parse().expect("an id"),
            agents: vec![("solver".parse().expect("a name"), "{}".to_owned())],
            max_concurrency: 1,
            labels: Default::default(),
            held: Vec::new(),
        };
        self.polled.open(registration).await.map(|opened| opened.session)
    }

    async fn poll(
        &self,
        session: SessionId,
        wait: u64,
        received: Option<u64>,
    ) -> Result<(usize, i64), Fault> {
        let poll = Poll { session, credit: 0, wait: Span::from_secs(wait), received };
        let pb::PollResponse { messages, batch } = self.polled.poll(poll).await?;
        Ok((messages.len(), batch))
    }
}

#[tokio::test]
async fn a_worker_is_heard_while_its_poll_waits() {
    let rig = Rig::new(1).await;
    let session = rig.open("w1").await.expect("there is room");
    let poll = Poll { session, credit: 0, wait: MAX_WAIT, received: None };
    let waiting = tokio::spawn({
        let polled = rig.polled.clone();
        async move { polled.poll(poll).await }
    });
    for second in 1..4 {
        rig.parts.clock.advance(Span::from_secs(1));
        let heard = async {
            while rig.parts.runtime.workers()[0].last_heard_at < START.plus(Span::from_secs(second)) {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), heard).await.expect("it is heard again");
    }
    rig.parts.runtime.begin_shutdown();
    let told = waiting.await.expect("it does not panic").expect("the word that the server goes");
    assert_eq!(told.messages.len(), 1);
}

#[tokio::test]
async fn a_worker_that_stays_away_gives_up_its_place() {
    let rig = Rig::new(1).await;
    let first = rig.open("w1").await.expect("there is room");
    assert!(matches!(rig.open("w2").await, Err(Fault::Overloaded(_))));
    let before = Instant::now();
    assert_eq!(rig.poll(first, 0, None).await, Ok((0, 0)));
    rig.polled.forget_the_gone(before + LEASE_TIME.as_duration() / 2);
    assert_eq!(rig.poll(first, 0, None).await, Ok((0, 0)));
    rig.polled.forget_the_gone(Instant::now() + LEASE_TIME.as_duration());
    assert_eq!(rig.poll(first, 0, None).await, Err(Fault::SessionUnknown));
    rig.open("w2").await.expect("its place is free");
}

#[tokio::test]
async fn a_session_that_was_superseded_frees_its_place() {
    let rig = Rig::new(2).await;
    let first = rig.open("w1").await.expect("there is room");
    let second = rig.open("w1").await.expect("there is room");
    assert_eq!(rig.poll(first, 0, None).await, Err(Fault::SessionUnknown));
    rig.open("w2").await.expect("the first one's place is free");
    assert_eq!(rig.poll(second, 0, None).await, Ok((0, 0)));
}

#[tokio::test]
async fn a_response_whose_way_back_was_lost_comes_again_until_it_is_received() {
    let rig = Rig::new(1).await;
    let session = rig.open("w1").await.expect("there is room");
    assert_eq!(rig.poll(session, 0, Some(0)).await, Ok((0, 0)));
    rig.parts.runtime.begin_shutdown(); // The one thing that can be said without a task.
    assert_eq!(rig.poll(session, 1, Some(0)).await, Ok((1, 1)));
    assert_eq!(rig.poll(session, 1, Some(0)).await, Ok((1, 1)), "again");
    assert_eq!(rig.poll(session, 1, Some(1)).await, Ok((0, 1)), "it has arrived");
}
