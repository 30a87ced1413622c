//! Sessions without a stream: what the runtime tells them waits here until they poll. The table is bounded, and a worker
//! that has not polled for the lease time is forgotten: its leases have lapsed by then.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prost::Message as _;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at},
};

use crate::{
    pb,
    runtime::{Down, Opened, Overloaded, Registration, SessionId},
    types::time::Span,
};

use super::{
    chaos::Heard,
    convert::{int64, session::down_out},
    session::Context,
    status::Fault,
};

/// The longest a poll may wait.
pub(crate) const MAX_WAIT: Span = Span::from_secs(30);
/// Messages one poll brings.
const MAX_MESSAGES: usize = 100;
/// Bytes one poll brings, but for a single message that is larger: gRPC clients receive 4 MiB unless told otherwise.
const MAX_BYTES: usize = 1 << 20;

/// What waits for one worker.
#[derive(Clone)]
struct Mailbox {
    /// Held by the poll that is waiting; a second one of the same session waits for it.
    letters: Arc<tokio::sync::Mutex<Letters>>,
    lease_time: Span,
    heartbeat_interval: Span,
    last_heard: Instant,
}

struct Letters {
    downs: mpsc::Receiver<Down>,
    /// What did not fit into the last response.
    held: Option<Down>,
    /// How many responses carried messages.
    batch: u64,
    /// What the last of them carried, kept until the worker says that it has it.
    last: Vec<Down>,
}

/// What a worker says when it polls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Poll {
    /// The session.
    pub(crate) session: SessionId,
    /// Assignments it asks for.
    pub(crate) credit: u32,
    /// How long it waits.
    pub(crate) wait: Span,
    /// The last batch it has, if it says.
    pub(crate) received: Option<u64>,
}

/// The table.
pub(crate) struct Polled {
    context: Context,
    max: usize,
    mailboxes: Mutex<HashMap<SessionId, Mailbox>>,
}

impl Polled {
    /// An empty table that holds `max` sessions.
    pub(crate) fn new(context: Context, max: usize) -> Self {
        Self { context, max, mailboxes: Mutex::default() }
    }

    /// Opens a session.
    pub(crate) async fn open(&self, registration: Registration) -> Result<Opened, Fault> {
        self.forget_the_gone(Instant::now());
        if self.table().len() >= self.max {
            return Err(full(self.max));
        }
        let (opened, downs) = self.context.runtime.open_session(registration).await?;
        let letters = Letters { downs, held: None, batch: 0, last: Vec::new() };
        let mailbox = Mailbox {
            letters: Arc::new(tokio::sync::Mutex::new(letters)),
            lease_time: opened.lease_time,
            heartbeat_interval: opened.heartbeat_interval,
            last_heard: Instant::now(),
        };
        self.table().insert(opened.session, mailbox);
        Ok(opened)
    }

    /// Gives credit, and waits for what there is to tell.
    pub(crate) async fn poll(&self, poll: Poll) -> Result<pb::PollResponse, Fault> {
        self.forget_the_gone(Instant::now());
        let until = Instant::now() + poll.wait.as_duration();
        let mailbox = {
            let mut table = self.table();
            let mailbox = table.get_mut(&poll.session).ok_or(Fault::SessionUnknown)?;
            mailbox.last_heard = until;
            mailbox.clone()
        };
        self.heard(poll.session)?;
        let Ok(mut letters) = timeout_at(until, mailbox.letters.lock()).await else {
            return Ok(pb::PollResponse::default()); // Another poll of the same session has them.
        };
        if poll.received.is_none_or(|batch| batch >= letters.batch) {
            letters.last.clear();
            if poll.credit > 0 {
                self.context.runtime.credit(poll.session, poll.credit, None)?;
            }
            letters.last = self.next(poll.session, &mut letters, &mailbox, until).await?;
            letters.batch += u64::from(!letters.last.is_empty());
        }
        let out = |told: &Down| down_out(told, self.context.drain_grace);
        let messages = if self.context.edge.is_on() {
            self.on_its_way(&poll, &letters.last).await?.into_iter().map(out).collect()
        } else {
            letters.last.iter().map(out).collect()
        };
        Ok(pb::PollResponse { messages, batch: int64(letters.batch) })
    }

    /// What arrives of a response under a chaos run. One that is lost comes again to a worker that says what it has received;
    /// of any other the session ends with it, so that what was lost is given to somebody else.
    async fn on_its_way<'l>(&self, poll: &Poll, last: &'l [Down]) -> Result<Vec<&'l Down>, Fault> {
        let (mut arrived, mut lost) = (Vec::new(), false);
        for told in last {
            match self.context.edge.down(&self.context.runtime, told).await {
                Heard::Sent(times) => arrived.extend(std::iter::repeat_n(told, times)),
                Heard::Cut => lost = true,
            }
        }
        match (lost, poll.received) {
            (false, _) => Ok(arrived),
            (true, Some(_)) => Err(Fault::Injected),
            (true, None) => {
                self.context.runtime.close_session(poll.session);
                Err(self.gone(poll.session))
            }
        }
    }

    /// What the runtime says next, at once or after a while. A worker that waits is there: it counts as heard.
    async fn next(
        &self,
        session: SessionId,
        letters: &mut Letters,
        mailbox: &Mailbox,
        until: Instant,
    ) -> Result<Vec<Down>, Fault> {
        let mut told = Vec::new();
        letters.take(&mut told, self.context.drain_grace);
        let mut beat = interval(mailbox.heartbeat_interval.as_duration());
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while told.is_empty() {
            tokio::select! {
                biased;
                first = letters.downs.recv() => match first {
                    Some(first) => {
                        told.push(first);
                        letters.take(&mut told, self.context.drain_grace);
                    }
                    None => return Err(self.gone(session)),
                },
                () = self.context.stop.cancelled() => return Err(Fault::ShuttingDown),
                () = sleep_until(until) => break,
                _ = beat.tick() => self.heard(session)?,
            }
        }
        Ok(told)
    }

    fn heard(&self, session: SessionId) -> Result<(), Fault> {
        self.context.runtime.heartbeat(session).map_err(|_| self.gone(session))
    }

    /// The session is over: it is forgotten here too.
    fn gone(&self, session: SessionId) -> Fault {
        self.table().remove(&session);
        if self.context.stop.is_cancelled() { Fault::ShuttingDown } else { Fault::SessionUnknown }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<SessionId, Mailbox>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets who has been silent for the lease time, and who has nothing left to hear.
    fn forget_the_gone(&self, now: Instant) {
        self.table().retain(|session, mailbox| {
            let silence = now.saturating_duration_since(mailbox.last_heard);
            let ended = mailbox.letters.try_lock().is_ok_and(|letters| letters.has_ended());
            let stays = silence < mailbox.lease_time.as_duration() && !ended;
            if !stays {
                self.context.runtime.close_session(*session);
            }
            stays
        });
    }
}

impl Letters {
    fn has_ended(&self) -> bool {
        self.downs.is_closed() && self.downs.is_empty() && self.held.is_none() && self.last.is_empty()
    }

    /// Adds what is there already, as far as it goes into one response.
    fn take(&mut self, told: &mut Vec<Down>, drain_grace: Span) {
        let size = |down: &Down| down_out(down, drain_grace).encoded_len();
        let mut bytes: usize = told.iter().map(size).sum();
        while told.len() < MAX_MESSAGES
            && let Some(next) = self.held.take().or_else(|| self.downs.try_recv().ok())
        {
            bytes += size(&next);
            if bytes > MAX_BYTES && !told.is_empty() {
                self.held = Some(next);
                return;
            }
            told.push(next);
        }
    }
}

fn full(max: usize) -> Fault {
    Fault::Overloaded(Overloaded {
        retry_after: Span::from_secs(1),
        what: format!("all {max} places for workers without a stream are taken"),
    })
}

#[cfg(test)]
mod tests;
