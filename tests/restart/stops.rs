//! Stopping when asked: what runs may be answered during the drain; a second signal does not wait.

use bailiwick::pb::{
    AgentSpec, Assignment, Complete, Credit, SessionRequest, SessionResponse, TaskState, complete,
    session_request::Message as Up, session_response::Message as Down,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

use crate::hand::{World, contract, register, soon, success};

struct Session {
    up: mpsc::UnboundedSender<SessionRequest>,
    down: Streaming<SessionResponse>,
    said: i64,
}

impl Session {
    async fn open(world: &World) -> Self {
        let (up, requests) = mpsc::unbounded_channel();
        let opening = {
            let mut client = world.workers();
            tokio::spawn(async move { client.session(UnboundedReceiverStream::new(requests)).await })
        };
        let spec = |name: &str| AgentSpec { name: name.to_owned(), ..AgentSpec::default() };
        let first = SessionRequest {
            message_id: 1,
            message: Some(Up::Register(register("w", vec![spec("solo"), spec("boss")], &[]))),
        };
        up.send(first).expect("the call reads");
        let opened = soon("a session", opening).await.expect("no panic").expect("it opens");
        let mut session = Self { up, down: opened.into_inner(), said: 1 };
        session.wait("the registration", |down| matches!(down, Down::Registered(_)).then_some(())).await;
        session
    }

    fn say(&mut self, message: Up) -> i64 {
        self.said += 1;
        let request = SessionRequest { message_id: self.said, message: Some(message) };
        self.up.send(request).expect("the call reads");
        self.said
    }

    async fn wait<T>(&mut self, what: &str, wanted: impl Fn(Down) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let response = self.down.message().await.expect("the stream is whole");
                let response = response.unwrap_or_else(|| panic!("the stream ended before {what}"));
                if let Some(found) = response.message.and_then(&wanted) {
                    return found;
                }
            }
        };
        soon(what, waiting).await
    }

    async fn assignment(&mut self) -> Assignment {
        self.say(Up::Credit(Credit { slots: 1, agent: String::new() }));
        let assignment = |down| if let Down::Assignment(it) = down { Some(*it) } else { None };
        self.wait("an assignment", assignment).await
    }
}

#[tokio::test]
async fn an_answer_during_the_drain_is_acknowledged_and_the_exit_is_clean() {
    let mut world = World::new().await;
    let mut session = Session::open(&world).await;
    let id = world.submit(contract("solo")).await;
    let running = session.assignment().await;
    let server = world.take();
    server.terminate().await;
    session.wait("the word to drain", |down| matches!(down, Down::Drain(_)).then_some(())).await;
    let answer = Some(complete::Answer::Envelope(success(10)));
    let said = session.say(Up::Complete(Complete { lease: running.lease, answer }));
    let ours = |down| match down {
        Down::Ack(ack) => ack.message_ids.contains(&said).then_some(()),
        Down::Refusal(refusal) => panic!("refused: {refusal:?}"),
        _ => None,
    };
    session.wait("the acknowledgement", ours).await;
    drop(session);
    assert_eq!(server.exit_code().await, Some(0));
    world.start().await;
    let state = world.ended(&id).await.summary.map(|summary| summary.state());
    assert_eq!(state, Some(TaskState::Succeeded), "acknowledged is durable");
}

#[tokio::test]
async fn a_second_signal_exits_at_once_and_the_next_start_recovers() {
    let mut world = World::new().await;
    let mut session = Session::open(&world).await;
    let id = world.submit(contract("solo")).await;
    let running = session.assignment().await;
    let server = world.take();
    server.terminate().await;
    session.wait("the word to drain", |down| matches!(down, Down::Drain(_)).then_some(())).await;
    // The session is still open, so the first signal's drain waits.
    server.terminate().await;
    assert_eq!(server.exit_code().await, Some(1), "cut short, and said so");
    world.start().await;
    let (mut hand, live) = world.hand("w", &["solo", "boss"], &[&running.lease]).await;
    assert_eq!(live, [running.lease.as_str()]);
    hand.answer(&running.lease, success(10)).await.expect("acknowledged");
    let state = world.ended(&id).await.summary.map(|summary| summary.state());
    assert_eq!(state, Some(TaskState::Succeeded));
}
