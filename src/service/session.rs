//! One session stream, from Register to its end. A task of its own drives it: what comes up is read even while answers
//! wait for the disk, so that heartbeats are heard; everything held is bounded, and when a bound is reached the stream is
//! simply read no further.
//!
//! Never here: what the messages mean. Leases outlive the session; only its credit ends with it.

mod underway;

use std::{
    collections::{BTreeSet, VecDeque},
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use futures_util::stream::FuturesUnordered;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::{CancellationToken, PollSender};
use tonic::Status;

use crate::{
    pb::{self, session_request::Message as Up, session_response::Message as DownMessage},
    runtime::{Down, Runtime, SessionId},
    types::{
        ids::{AgentName, Lease},
        time::Span,
    },
};

use underway::{How, Underway};

use super::{
    MAX_MESSAGE_BYTES,
    chaos::{Arrived, Edge, WayDown},
    convert::session::{down_out, grant_out, registered, registered_out},
    frame::Frame,
    lanes::Lanes,
    shed::transport_fault,
    status::Fault,
    work::{self, Refused, Reply, Said},
};

/// Messages of one session that may be under way at once.
const MAX_IN_FLIGHT: usize = 256;
/// Messages down that may wait for the worker to read them.
const MAX_OUTBOX: usize = 256;
/// Of them, those that go down in one write.
const MAX_BATCH: usize = 64;
/// Messages up that are taken in one turn of the task.
const MAX_FRAMES: usize = 64;
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
    /// Where a chaos run makes messages fail.
    pub(crate) edge: Edge,
}

/// What goes down together: one write, where it fits into one.
pub(crate) type Batch = Vec<Result<pb::SessionResponse, Status>>;

/// The sender of what goes down.
pub(crate) type Sender = mpsc::Sender<Batch>;

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
        Ok(session) => session.run(frames, down.clone()).await,
        Err(status) => Err(status),
    };
    if let Err(status) = end {
        // A worker that has gone does not hear why.
        let _ = down.send(vec![Err(status)]).await;
    }
}

/// Waits for Register and opens the session.
async fn open<S>(context: &Context, frames: &mut S) -> Result<Session, Status>
where
    S: Stream<Item = Result<Frame, Status>> + Send + Unpin,
{
    let first = timeout(REGISTER_WITHIN, frames.next()).await;
    let Ok(Some(first)) = first else { return Err(Fault::RegisterFirst.to_status()) };
    let first = first.map_err(|status| transport_fault(&status).map_or(status, |fault| fault.to_status()))?;
    let (message_id, wire) = match first {
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
        way_down: WayDown::new(context.edge.clone(), context.runtime.clone()),
        lanes: Lanes::new(),
        running: FuturesUnordered::new(),
        acks: Vec::new(),
        outbox: VecDeque::from([registered]),
        broken: None,
    })
}

struct Session {
    id: SessionId,
    context: Context,
    agents: BTreeSet<AgentName>,
    last_message_id: i64,
    /// `None` once the runtime has closed it: superseded, silent for too long, or shut down.
    downs: Option<mpsc::Receiver<Down>>,
    way_down: WayDown,
    lanes: Lanes<Said>,
    running: FuturesUnordered<Underway>,
    acks: Vec<i64>,
    outbox: VecDeque<DownMessage>,
    /// Why the worker's side ended, where the transport could not read what came.
    broken: Option<Fault>,
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
    /// A chaos run has cut it: what is under way is not finished.
    ByChaos,
}

impl Session {
    /// Runs until one side ends it, then finishes what is under way.
    async fn run<S>(mut self, mut frames: S, down: Sender) -> Result<(), Status>
    where
        S: Stream<Item = Result<Frame, Status>> + Send + Unpin,
    {
        let stop = self.context.stop.clone();
        let mut stopped = pin!(stop.cancelled());
        let mut down = PollSender::new(down);
        let mut closing = Closing::No;
        poll_fn(|cx| {
            loop {
                let mut moved = self.take_done(cx, &mut closing) | self.take_told(cx, &mut closing);
                moved |= self.take_arrived(cx, &mut closing);
                if closing == Closing::ByChaos {
                    return Poll::Ready(());
                }
                moved |= self.take_frames(cx, &mut frames, &mut closing);
                if closing == Closing::No && stopped.as_mut().poll(cx).is_ready() {
                    self.tell_the_rest();
                    closing = Closing::ByServer;
                    moved = true;
                }
                // Last, so that all that was there goes down together.
                moved |= self.write(cx, &mut down, &mut closing);
                if closing != Closing::No && self.is_idle() {
                    return Poll::Ready(());
                }
                if !moved {
                    return Poll::Pending;
                }
            }
        })
        .await;
        let broken = self.broken.take();
        let end = match closing {
            Closing::No | Closing::ByWorker => return broken.map_or(Ok(()), |fault| Err(fault.to_status())),
            Closing::ByChaos => Fault::SessionEnded,
            Closing::BySession if !stop.is_cancelled() => Fault::SessionEnded,
            Closing::BySession | Closing::ByServer => Fault::ShuttingDown,
        };
        Err(end.to_status())
    }

    /// Takes what has come of what was said. This and its like say whether anything has moved; if not, they will wake the
    /// task when something does.
    fn take_done(&mut self, cx: &mut TaskContext<'_>, closing: &mut Closing) -> bool {
        let mut moved = false;
        while let Poll::Ready(Some((ids, lease, result))) = Pin::new(&mut self.running).poll_next(cx) {
            match result {
                Some(result) => self.done(ids, lease, result),
                None => *closing = Closing::ByChaos,
            }
            moved = true;
        }
        moved
    }

    /// Takes what has come to the end of its way through a chaos run.
    fn take_arrived(&mut self, cx: &mut TaskContext<'_>, closing: &mut Closing) -> bool {
        let mut moved = false;
        while let Poll::Ready(Some(arrived)) = self.way_down.poll_next(cx) {
            match arrived {
                Arrived::Here(told, times) => (0..times).for_each(|_| self.tell(&told)),
                Arrived::Cut => *closing = Closing::ByChaos,
            }
            moved = true;
        }
        moved
    }

    /// Takes what the runtime says.
    fn take_told(&mut self, cx: &mut TaskContext<'_>, closing: &mut Closing) -> bool {
        let mut moved = false;
        while self.outbox.len() < MAX_OUTBOX
            && let Some(Poll::Ready(told)) = self.downs.as_mut().map(|downs| downs.poll_recv(cx))
        {
            moved = true;
            match told {
                Some(told) => self.pass_on(told),
                None => {
                    self.downs = None;
                    if *closing == Closing::No {
                        *closing = Closing::BySession;
                    }
                }
            }
        }
        moved
    }

    /// Takes what comes up, as long as there is room; some of it, so that a worker that never stops does not keep others from
    /// their turn.
    fn take_frames<S>(&mut self, cx: &mut TaskContext<'_>, frames: &mut S, closing: &mut Closing) -> bool
    where
        S: Stream<Item = Result<Frame, Status>> + Send + Unpin,
    {
        for taken in 0..MAX_FRAMES {
            if *closing != Closing::No || !self.has_room() {
                return taken > 0;
            }
            match Pin::new(&mut *frames).poll_next(cx) {
                Poll::Pending => return taken > 0,
                Poll::Ready(Some(Ok(frame))) => {
                    if self.heard(frame).is_err() {
                        *closing = Closing::BySession;
                    }
                }
                Poll::Ready(ended) => {
                    // No more work for it; what is under way is still answered, if it listens.
                    self.context.runtime.close_session(self.id);
                    self.broken = ended.and_then(Result::err).and_then(|status| transport_fault(&status));
                    *closing = Closing::ByWorker;
                }
            }
        }
        // There may be more, but first the others.
        cx.waker().wake_by_ref();
        false
    }

    /// Sends what there is, as far as the worker reads.
    fn write(
        &mut self,
        cx: &mut TaskContext<'_>,
        down: &mut PollSender<Batch>,
        closing: &mut Closing,
    ) -> bool {
        if !self.has_output() {
            return false;
        }
        let sent = match down.poll_reserve(cx) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) => down.send_item(self.next_batch()),
            Poll::Ready(Err(gone)) => Err(gone),
        };
        if sent.is_err() {
            // The worker is gone: nobody hears anything any more.
            self.forget_output();
            *closing = Closing::ByWorker;
        }
        true
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

    /// What goes down together. What waits keeps its order; acks gather meanwhile and go as one.
    fn next_batch(&mut self) -> Batch {
        let most = self.outbox.len().min(MAX_BATCH);
        let mut batch: Vec<_> = self.outbox.drain(..most).collect();
        if self.outbox.is_empty() && !self.acks.is_empty() {
            batch.push(DownMessage::Ack(pb::Ack { message_ids: std::mem::take(&mut self.acks) }));
        }
        for message in &batch {
            if let DownMessage::Cancel(cancel) = message {
                self.context.runtime.cancel_handed(&cancel.lease);
            }
        }
        batch.into_iter().map(|message| Ok(pb::SessionResponse { message: Some(message) })).collect()
    }

    /// What the runtime says goes down at once, unless a chaos run is in its way.
    fn pass_on(&mut self, told: Down) {
        let told = if self.way_down.is_open() { self.way_down.send(told) } else { Some(told) };
        if let Some(told) = told {
            self.tell(&told);
        }
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
        let Context { runtime, edge, .. } = &self.context;
        let Said { ids, call } = said;
        let lease = call.lease;
        let how = if edge.is_on() {
            let (runtime, edge) = (runtime.clone(), edge.clone());
            How::Edge(Box::pin(async move { edge.up(&runtime, call).await }))
        } else {
            How::Said(call.run(runtime))
        };
        self.running.push(Underway { ids, lease, how });
    }

    fn done(&mut self, ids: Vec<i64>, lease: Lease, result: Result<Reply, Fault>) {
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

#[cfg(test)]
mod tests;
