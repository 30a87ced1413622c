//! The driver of a stream against peers that misbehave. What well-behaved ones see is tested end to end.

use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::*;
use crate::service::rig::Rig;

type Frames = mpsc::Sender<Result<Frame, Status>>;
type Said = Pin<Box<dyn Stream<Item = Result<pb::SessionResponse, Status>> + Send>>;

fn message(message_id: i64, message: Option<Up>) -> Frame {
    Frame::Message(Box::new(pb::SessionRequest { message_id, message }))
}

fn register() -> Frame {
    let spec = pb::AgentSpec { name: "solver".into(), ..Default::default() };
    let register = pb::Register { worker_id: "w1".into(), agents: vec![spec], ..Default::default() };
    message(1, Some(Up::Register(register)))
}

/// A driver at work, with a channel of one place each way.
fn driven(rig: &Rig) -> (Frames, Said, tokio::task::JoinHandle<()>) {
    let (frames, up) = mpsc::channel(1);
    let (down, said) = mpsc::channel(1);
    let driver = tokio::spawn(drive(rig.context.clone(), ReceiverStream::new(up), down));
    let said = futures_util::StreamExt::flat_map(ReceiverStream::new(said), futures_util::stream::iter);
    (frames, Box::pin(said), driver)
}

/// Lets the driver do all it can: everything here runs on one thread.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_worker_that_does_not_read_is_not_read_either_and_nothing_grows_or_is_lost() {
    let rig = Rig::new().await;
    let (frames, mut said, driver) = driven(&rig);
    frames.send(Ok(register())).await.expect("open");
    assert!(said.next().await.is_some_and(|registered| registered.is_ok()));
    let mut sent = 0;
    loop {
        settle().await;
        let id = 2 + i64::try_from(sent).expect("small");
        if frames.try_send(Ok(message(id, None))).is_err() {
            break; // Full, however long one waits.
        }
        sent += 1;
        assert!(sent <= MAX_OUTBOX + 8, "it is read on and on");
    }
    assert!(sent >= MAX_OUTBOX, "only {sent} were read");
    drop(frames);
    let mut refused = 0;
    while let Some(Ok(pb::SessionResponse { message })) = said.next().await {
        refused += usize::from(matches!(message, Some(DownMessage::Refusal(_))));
    }
    assert_eq!(refused, sent, "every message got its answer");
    driver.await.expect("it ends without a panic");
}

#[tokio::test]
async fn a_worker_that_vanishes_leaves_no_session_behind() {
    let rig = Rig::new().await;
    for registered in [true, false] {
        let (frames, mut said, driver) = driven(&rig);
        if registered {
            frames.send(Ok(register())).await.expect("open");
            assert!(said.next().await.is_some_and(|registered| registered.is_ok()));
            assert_eq!(rig.runtime.workers().len(), 1);
            frames.send(Err(Status::unknown("connection reset"))).await.expect("open");
        }
        drop(said);
        driver.await.expect("it ends without a panic");
        assert_eq!(rig.runtime.workers().len(), 0);
    }
}

#[tokio::test]
async fn the_end_of_the_server_ends_streams_that_have_not_registered_too() {
    let rig = Rig::new().await;
    let (_frames, mut said, driver) = driven(&rig);
    rig.context.stop.cancel();
    let end = said.next().await.expect("a word").expect_err("the end");
    assert_eq!(end.code(), Code::Unavailable);
    driver.await.expect("it ends without a panic");
}
