//! The two streams up, by frames made up and twisted: whatever comes, each frame is answered or the stream ends with a typed
//! word, and the next stream is served.

use bailiwick::pb;
use prost::{Message as _, bytes::Bytes};
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _, Value};

use crate::{
    cases, corpus,
    dice::Dice,
    harness::{Stage, contract, register, soon, success},
    panics, raw, seed,
    shape::{self, Known},
};

/// Frames on one stream.
const FRAMES: i64 = 60;

fn message(name: &str) -> MessageDescriptor {
    shape::pool().get_message_by_name(&format!("bailiwick.v1.{name}")).expect("it is in the protos")
}

/// A frame: made up, or kept and nudged; numbered, so that it is not refused for that alone; perhaps twisted.
fn frame(dice: &mut Dice, method: &str, of: &MessageDescriptor, number: i64, known: &Known) -> Bytes {
    let kept = corpus::messages(method, of);
    let mut message = if dice.one_in(3) { shape::shaped(dice, of, known) } else { dice.pick(&kept).clone() };
    shape::nudge(dice, &mut message, known);
    number_in(&mut message, number);
    let mut bytes = message.encode_to_vec();
    if dice.one_in(2) {
        shape::twist(dice, &mut bytes);
    }
    bytes.into()
}

fn number_in(message: &mut DynamicMessage, number: i64) {
    if message.descriptor().get_field_by_name("message_id").is_some() {
        message.set_field_by_name("message_id", Value::I64(number));
    }
}

/// Plays one stream and reads it to its end: messages of their kind, then nothing or a typed status.
async fn play(stage: &Stage, method: &str, of: &MessageDescriptor, frames: Vec<Bytes>, what: &str) -> usize {
    let opened = raw::streaming(&stage.channel, method, tokio_stream::iter(frames)).await;
    let mut down = match opened {
        Ok(down) => down,
        Err(status) => {
            assert_eq!(raw::untyped(&status), None, "{what}");
            return 0;
        }
    };
    let mut heard = 0;
    loop {
        match soon(what, down.message()).await {
            Ok(Some(bytes)) => {
                heard += 1;
                assert_eq!(raw::fault(of, &Ok(bytes)), None, "{what}");
            }
            Ok(None) => return heard,
            Err(status) => {
                assert_eq!(raw::untyped(&status), None, "{what}");
                return heard;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_answers_whatever_comes() {
    panics::watch();
    let stage = Stage::new().await;
    let mut honest = stage.worker("honest", &["quiet"]).await;
    honest.credit(1).await;
    let (up, down) = (message("SessionRequest"), message("SessionResponse"));
    let known = Known(vec![("agent", "solver".into()), ("worker_id", "w7".into())]);
    let mut heard = 0;
    for number in 0..cases() {
        let mut dice = Dice::new(seed(), "session", number);
        let first = pb::session_request::Message::Register(register("w7", &["solver"], Vec::new()));
        let first = pb::SessionRequest { message_id: 1, message: Some(first) }.encode_to_vec();
        let skip_register = dice.one_in(5);
        let mut frames: Vec<Bytes> = if skip_register { Vec::new() } else { vec![first.into()] };
        frames.extend((2..FRAMES).map(|id| frame(&mut dice, "Session", &up, id, &known)));
        let what = format!("HOSTILE_SEED={} session {number}", seed());
        heard += play(&stage, "bailiwick.v1.WorkerService/Session", &down, frames, &what).await;
    }
    assert!(heard > 0, "sessions are registered and answered");
    // The other worker never noticed.
    let task_id = stage.submit(contract("quiet")).await;
    let work = honest.assignment().await;
    honest.complete(&work.lease, success("42")).await;
    assert_eq!(stage.outcome(&task_id).await.state, pb::TaskState::Succeeded as i32);
    panics::none();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_submissions_answers_whatever_comes() {
    panics::watch();
    let stage = Stage::new().await;
    let (up, down) = (message("StreamTasksRequest"), message("StreamTasksResponse"));
    let known = Known(vec![("agent", "solver".into()), ("owner", "solver".into())]);
    for number in 0..cases() {
        let mut dice = Dice::new(seed(), "submissions", number);
        let frames = (0..FRAMES).map(|id| frame(&mut dice, "StreamTasks", &up, id, &known)).collect();
        let what = format!("HOSTILE_SEED={} submissions {number}", seed());
        play(&stage, "bailiwick.v1.TaskService/StreamTasks", &down, frames, &what).await;
    }
    panics::none();
}
