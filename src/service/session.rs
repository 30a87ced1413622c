//! One session stream, from Register to its end. A task of its own drives it: what comes up is read even while answers
//! wait for the disk, so that heartbeats are heard; everything held is bounded, and when a bound is reached the stream is
//! simply read no further.
//!
//! Never here: what the messages mean. Leases outlive the session; only its credit ends with it.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    pb::{self, session_request::Message as Up, session_response::Message as DownMessage},
    runtime::{Down, Runtime, SessionId},
    types::{
        ids::{AgentName, Lease},
        time::Span,
    },
};

use super::{
    MAX_MESSAGE_BYTES,
    convert::session::{down_out, grant_out, registered, registered_out},
    frame::Frame,
    lanes::Lanes,
    status::Fault,
    work::{self, Refused, Reply, Said},
};

/// Messages of one session that may be under way at once.
const MAX_IN_FLIGHT: usize = 256;
/// Messages down that may wait for the worker to read them.
const MAX_OUTBOX: usize = 256;
/// How long a stream may stay open before it registers.
const REGISTER_WITHIN: Duration = Duration::from_secs(30);

/// What every session needs.
#[derive(Clone)]
pub(crate) struct Context {
    /// The runtime.
    pub(crate) runtime: Runtime,
    /// Cancelled when the streams are to end.
    pub(crate) stop: CancellationToken,
    /// What a drain tells workers about the time they have.
    pub(crate) drain_grace: Span,
}

/// The sender of what goes down.
pub(crate) type Sender = mpsc::Sender<Result<pb::SessionResponse, Status>>;

/// Drives a session stream to its end.
pub(crate) async fn drive<S>(context: Context, mut frames: S, down: Sender)
where
    S: Stream<Item = Result<Frame, Status>> + Send + Unpin,
{
    let opened = tokio::select! {
        opened = open(&context, &mut frames) => opened,
        () = context.stop.cancelled() => Err(Fault::ShuttingDown.to_status()),
        () = down.closed() => return,
    };
    let end = match opened {
        Ok(session) => session.run(frames, &down).await,
        Err(status) => Err(status),
    };
    if let Err(status) = end {
        // A worker that has gone does not hear why.
        let _ = down.send(Err(status)).await;
    }
}

/// Waits for Register and opens the session.
async fn open<S>(context: &Context, frames: &mut S) -> Result<Session, Status>
where
    S: Stream<Item = Result<Frame, Status>> + Send + Unpin,
{
    let first = timeout(REGISTER_WITHIN, frames.next()).await;
    let Ok(Some(first)) = first else { return Err(Fault::RegisterFirst.to_status()) };
    let (message_id, wire) = match first? {
        Frame::Message(message) => {
            let pb::SessionRequest { message_id, message } = *message;
            match message {
                Some(Up::Register(wire)) => (message_id, wire),
                _ => return Err(Fault::RegisterFirst.to_status()), // Whatever else it is, it is too early.
            }
        }
        Frame::Undecodable { message_id: _, what } => return Err(Fault::Undecodable(what).to_status()),
        Frame::TooLarge { .. } => return Err(Fault::TooLarge(MAX_MESSAGE_BYTES).to_status()),
    };
    if message_id <= 0 {
        return Err(Fault::MessageId(0).to_status());
    }
    let registration = registered(wire).await.map_err(|faults| Fault::InvalidMessage(faults).to_status())?;
    let agents = registration.agents.iter().map(|(name, _)| name.clone()).collect();
    let opened = context.runtime.open_session(registration).await;
    let (opened, downs) = opened.map_err(|error| Fault::from(error).to_status())?;
    let registered = DownMessage::Registered(registered_out(&opened, MAX_MESSAGE_BYTES));
    Ok(Session {
        id: opened.session,
        context: context.clone(),
        agents,
        last_message_id: message_id,
        downs: Some(downs),
        lanes: Lanes::new(),
        running: JoinSet::new(),
        acks: Vec::new(),
        outbox: VecDeque::from([registered]),
    })
}

/// A job done: its messages, its lease, what came of it.
type Done = (Vec<i64>, Lease, Result<Reply, Fault>);

struct Session {
    id: SessionId,
    context: Context,
    agents: HashSet<AgentName>,
    last_message_id: i64,
    /// `None` once the runtime has closed it: superseded, silent for too long, or shut down.
    downs: Option<mpsc::Receiver<Down>>,
    lanes: Lanes<Said>,
    running: JoinSet<Done>,
    acks: Vec<i64>,
    outbox: VecDeque<DownMessage>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.context.runtime.close_session(self.id);
    }
}

/// Why the loop no longer reads what comes up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    /// The worker closed its side, or is gone.
    ByWorker,
    /// The runtime closed the session.
    BySession,
    /// The server is going away.
    ByServer,
}

impl Session {
    /// Runs until one side ends it, then finishes what is under way.
    async fn run<S>(mut self, mut frames: S, down: &Sender) -> Result<(), Status>
    where
        S: Stream<Item = Result<Frame, Status>> + Send + Unpin,
    {
        let stop = self.context.stop.clone();
        let mut closing = Closing::No;
        while closing == Closing::No || !self.is_idle() {
            let reading = closing == Closing::No && self.has_room();
            tokio::select! {
                permit = down.reserve(), if self.has_output() => match permit {
                    Ok(permit) => self.send_next(permit),
                    Err(_) => { // The worker is gone: nobody hears anything any more.
                        self.forget_output();
                        closing = Closing::ByWorker;
                    }
                },
                Some(done) = self.running.join_next(), if !self.running.is_empty() => match done {
                    Ok(done) => self.done(done),
                    Err(_) => return Err(Fault::SessionEnded.to_status()),
                },
                told = next_down(&mut self.downs), if self.outbox.len() < MAX_OUTBOX => match told {
                    Some(told) => self.tell(&told),
                    None => {
                        self.downs = None;
                        if closing == Closing::No { closing = Closing::BySession }
                    }
                },
                frame = frames.next(), if reading => match frame {
                    Some(Ok(frame)) => if self.heard(frame).is_err() { closing = Closing::BySession },
                    Some(Err(_)) | None => {
                        // No more work for it; what is under way is still answered, if it listens.
                        self.context.runtime.close_session(self.id);
                        closing = Closing::ByWorker;
                    }
                },
                () = stop.cancelled(), if closing == Closing::No => {
                    self.tell_the_rest();
                    closing = Closing::ByServer;
                }
            }
        }
        match closing {
            Closing::No | Closing::ByWorker => Ok(()),
            Closing::BySession if !stop.is_cancelled() => Err(Fault::SessionEnded.to_status()),
            Closing::BySession | Closing::ByServer => Err(Fault::ShuttingDown.to_status()),
        }
    }

    fn is_idle(&self) -> bool {
        self.lanes.held() == 0 && !self.has_output()
    }

    fn has_room(&self) -> bool {
        self.lanes.held() < MAX_IN_FLIGHT && self.outbox.len() < MAX_OUTBOX
    }

    fn has_output(&self) -> bool {
        !self.outbox.is_empty() || !self.acks.is_empty()
    }

    fn forget_output(&mut self) {
        self.outbox.clear();
        self.acks.clear();
    }

    fn send_next(&mut self, permit: mpsc::Permit<'_, Result<pb::SessionResponse, Status>>) {
        // What waits keeps its order; acks gather meanwhile and go as one.
        let message = self
            .outbox
            .pop_front()
            .unwrap_or_else(|| DownMessage::Ack(pb::Ack { message_ids: std::mem::take(&mut self.acks) }));
        if let DownMessage::Cancel(cancel) = &message {
            self.context.runtime.cancel_handed(&cancel.lease);
        }
        permit.send(Ok(pb::SessionResponse { message: Some(message) }));
    }

    fn tell(&mut self, told: &Down) {
        self.outbox.extend(down_out(told, self.context.drain_grace).message);
    }

    /// What the runtime has said already, the word that the server is going away above all.
    fn tell_the_rest(&mut self) {
        while let Some(told) = self.downs.as_mut().and_then(|downs| downs.try_recv().ok()) {
            self.tell(&told);
        }
    }

    fn refuse(&mut self, message_id: i64, (lease, fault): Refused) {
        self.outbox.push_back(DownMessage::Refusal(fault.to_refusal(message_id, lease)));
    }

    /// Something came up. `Err`: the session is not one any more.
    fn heard(&mut self, frame: Frame) -> Result<(), Fault> {
        self.context.runtime.heartbeat(self.id)?;
        let message = match frame {
            Frame::Message(message) => *message,
            Frame::Undecodable { message_id, what } => {
                self.refuse(message_id, (None, Fault::Undecodable(what)));
                return Ok(());
            }
            Frame::TooLarge { message_id } => {
                self.refuse(message_id, (None, Fault::TooLarge(MAX_MESSAGE_BYTES)));
                return Ok(());
            }
        };
        let pb::SessionRequest { message_id, message } = message;
        if message_id <= self.last_message_id {
            let fault = Fault::MessageId(self.last_message_id);
            self.refuse(message_id.max(0), (None, fault));
            return Ok(());
        }
        self.last_message_id = message_id;
        if let Err(refused) = self.handle(message_id, message) {
            self.refuse(message_id, refused);
        }
        Ok(())
    }

    fn handle(&mut self, message_id: i64, message: Option<Up>) -> Result<(), Refused> {
        let call = match message {
            None => {
                let fault = Fault::field("message", "is required: exactly one kind that this server knows");
                return Err((None, fault));
            }
            Some(Up::Register(_)) => return Err((None, Fault::AlreadyRegistered)),
            Some(Up::Heartbeat(pb::Heartbeat {})) => return Ok(()),
            Some(Up::Credit(wire)) => return self.credit(&wire).map_err(|fault| (None, fault)),
            Some(Up::Drain(pb::Drain { grace: _ })) => {
                // How long the worker takes is its own affair: what it holds lives by its heartbeats.
                self.context.runtime.drain_session(self.id).map_err(|error| (None, error.into()))?;
                self.acks.push(message_id);
                return Ok(());
            }
            Some(Up::Progress(wire)) => work::progress(wire)?,
            Some(Up::Usage(wire)) => work::usage(wire)?,
            Some(Up::BudgetRequest(wire)) => work::budget(wire)?,
            Some(Up::Complete(wire)) => work::complete(wire)?,
        };
        if let Some(said) = self.lanes.enter(call.lease, Said { ids: vec![message_id], call }) {
            self.start(said);
        }
        Ok(())
    }

    fn credit(&self, wire: &pb::Credit) -> Result<(), Fault> {
        let pb::Credit { slots, agent } = wire;
        let slots = u32::try_from(*slots).ok().filter(|slots| *slots > 0);
        let slots = slots.ok_or_else(|| Fault::field("credit.slots", "must be 1 or more"))?;
        let agent = match agent.as_str() {
            "" => None,
            name => {
                Some(name.parse::<AgentName>().ok().filter(|name| self.agents.contains(name)).ok_or_else(
                    || {
                        Fault::field(
                            "credit.agent",
                            "is not an agent this session registered: name one, or none",
                        )
                    },
                )?)
            }
        };
        Ok(self.context.runtime.credit(self.id, slots, agent)?)
    }

    fn start(&mut self, said: Said) {
        let runtime = self.context.runtime.clone();
        let Said { ids, call } = said;
        self.running.spawn(async move {
            let lease = call.lease;
            (ids, lease, call.run(&runtime).await)
        });
    }

    fn done(&mut self, (ids, lease, result): Done) {
        match result {
            Ok(Reply::Progressed | Reply::Usage(_) | Reply::Completed { .. }) => self.acks.extend(ids),
            Ok(Reply::Budget(grant)) => {
                for id in ids {
                    self.outbox.push_back(DownMessage::BudgetGrant(grant_out(&lease, grant, id)));
                }
            }
            Err(fault) => {
                for id in ids {
                    self.refuse(id, (Some(lease), fault.clone()));
                }
            }
        }
        if let Some(said) = self.lanes.leave(lease) {
            self.start(said);
        }
    }
}

/// What the runtime says next; never anything once it has closed the session.
async fn next_down(downs: &mut Option<mpsc::Receiver<Down>>) -> Option<Down> {
    match downs {
        Some(downs) => downs.recv().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
