//! A worker made by hand that does a turn rightly but for one fault.

use std::time::Duration;

use bailiwick::pb::{
    self, session_request::Message as Up, session_response::Message as Down,
    worker_service_client::WorkerServiceClient,
};
use bailiwick_worker::to_json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// What is wrong with it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    IgnoresCancel,
    NoHeartbeats,
    TooMuchCredit,
}

/// Sends what comes in, numbered.
async fn number(mut messages: mpsc::Receiver<Up>, up: mpsc::Sender<pb::SessionRequest>) {
    let mut message_id = 0;
    while let Some(message) = messages.recv().await {
        message_id += 1;
        if up.send(pb::SessionRequest { message_id, message: Some(message) }).await.is_err() {
            return;
        }
    }
}

/// One session, until its end.
pub(crate) async fn work(fault: Fault) -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::var("BAILIWICK_ADDR")?;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let mut client = WorkerServiceClient::new(channel);
    let (say, messages) = mpsc::channel(64);
    let (up, requests) = mpsc::channel(64);
    tokio::spawn(number(messages, up));
    let agents = vec![pb::AgentSpec { name: "conformance".into(), ..Default::default() }];
    let worker_id = std::env::var("BAILIWICK_WORKER_ID")?;
    let register = pb::Register { worker_id, agents, max_concurrency: 3, ..Default::default() };
    say.send(Up::Register(register)).await?;
    let mut down = client.session(ReceiverStream::new(requests)).await?.into_inner();
    while let Some(response) = down.message().await? {
        match response.message {
            Some(Down::Registered(_)) => {
                let slots = if fault == Fault::TooMuchCredit { 4 } else { 3 };
                say.send(Up::Credit(pb::Credit { slots, agent: String::new() })).await?;
                if fault != Fault::NoHeartbeats {
                    tokio::spawn(beat(say.clone()));
                }
            }
            Some(Down::Assignment(assignment)) => {
                tokio::spawn(turn(*assignment, say.clone()));
            }
            // A Cancel comes this way as well: no worker here honours it.
            _ => {}
        }
    }
    Ok(())
}

async fn beat(say: mpsc::Sender<Up>) {
    while say.send(Up::Heartbeat(pb::Heartbeat {})).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn turn(assignment: pb::Assignment, say: mpsc::Sender<Up>) {
    let lease = assignment.lease;
    let input = assignment.input.as_ref().map(to_json).unwrap_or_default();
    let mut usage = pb::Usage::default();
    for action in input["actions"].as_array().into_iter().flatten() {
        let lease = lease.clone();
        let message = if let Some(ms) = action["sleep_ms"].as_u64() {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            continue;
        } else if let Some(text) = action["progress"]["text"].as_str() {
            let steps = vec![pb::WorkStep { content: text.into(), ..Default::default() }];
            let partial = action["progress"].get("partial").cloned().map(bailiwick_worker::from_json);
            Up::Progress(pb::Progress { lease, steps, partial_result: partial })
        } else {
            usage.input_tokens += action["usage"]["input_tokens"].as_i64().unwrap_or(0);
            usage.output_tokens += action["usage"]["output_tokens"].as_i64().unwrap_or(0);
            Up::Usage(pb::UsageReport { lease, usage: Some(usage.clone()) })
        };
        if say.send(message).await.is_err() {
            return;
        }
    }
    let envelope =
        pb::StatusEnvelope { status: pb::Status::Success.into(), usage: Some(usage), ..Default::default() };
    let answer = Some(pb::complete::Answer::Envelope(envelope));
    for message in [
        Up::Complete(pb::Complete { lease, answer }),
        Up::Credit(pb::Credit { slots: 1, agent: String::new() }),
    ] {
        // The session may have ended; so has this worker then.
        let _ = say.send(message).await;
    }
}
