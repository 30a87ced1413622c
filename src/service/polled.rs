//! Sessions without a stream: what the runtime tells them waits here until they poll. The table is bounded, and a worker
//! that has not polled for the lease time is forgotten: its leases have lapsed by then.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use crate::{
    pb,
    runtime::{Down, Opened, Overloaded, Registration, SessionId},
    types::time::Span,
};

use super::{convert::session::down_out, session::Context, status::Fault};

/// The longest a poll may wait.
pub(crate) const MAX_WAIT: Span = Span::from_secs(30);
/// Messages one poll brings.
const MAX_MESSAGES: usize = 100;

/// What waits for one worker.
struct Mailbox {
    /// Held by the poll that is waiting; a second one of the same session waits for it.
    downs: Arc<tokio::sync::Mutex<mpsc::Receiver<Down>>>,
    lease_time: Span,
    last_heard: Instant,
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
        self.forget_the_silent();
        if self.table().len() >= self.max {
            return Err(full(self.max));
        }
        let (opened, downs) = self.context.runtime.open_session(registration).await?;
        let mailbox = Mailbox {
            downs: Arc::new(tokio::sync::Mutex::new(downs)),
            lease_time: opened.lease_time,
            last_heard: Instant::now(),
        };
        self.table().insert(opened.session, mailbox);
        Ok(opened)
    }

    /// Gives credit, and waits for what there is to tell.
    pub(crate) async fn poll(
        &self,
        session: SessionId,
        credit: u32,
        wait: Span,
    ) -> Result<Vec<pb::SessionResponse>, Fault> {
        self.forget_the_silent();
        let downs = {
            let mut table = self.table();
            let mailbox = table.get_mut(&session).ok_or(Fault::SessionUnknown)?;
            mailbox.last_heard = Instant::now() + wait.as_duration();
            mailbox.downs.clone()
        };
        let heard = self.context.runtime.heartbeat(session);
        let credited = heard.and_then(|()| match credit {
            0 => Ok(()),
            slots => self.context.runtime.credit(session, slots, None),
        });
        if let Err(error) = credited {
            self.table().remove(&session);
            return Err(error.into());
        }
        self.wait(session, &downs, Instant::now() + wait.as_duration()).await
    }

    async fn wait(
        &self,
        session: SessionId,
        downs: &tokio::sync::Mutex<mpsc::Receiver<Down>>,
        until: Instant,
    ) -> Result<Vec<pb::SessionResponse>, Fault> {
        let Ok(mut downs) = timeout_at(until, downs.lock()).await else { return Ok(Vec::new()) };
        // What is there already is taken without a wait, and even when there is none.
        let mut told = Vec::new();
        take(&mut downs, &mut told);
        if told.is_empty() && !downs.is_closed() {
            tokio::select! {
                first = timeout_at(until, downs.recv()) => told.extend(first.ok().flatten()),
                () = self.context.stop.cancelled() => {}
            }
            take(&mut downs, &mut told);
        }
        if told.is_empty() && downs.is_closed() {
            self.table().remove(&session);
            let going = self.context.stop.is_cancelled();
            return Err(if going { Fault::ShuttingDown } else { Fault::SessionUnknown });
        }
        Ok(told.iter().map(|told| down_out(told, self.context.drain_grace)).collect())
    }

    fn table(&self) -> MutexGuard<'_, HashMap<SessionId, Mailbox>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_the_silent(&self) {
        let now = Instant::now();
        self.table().retain(|session, mailbox| {
            let heard = now.saturating_duration_since(mailbox.last_heard) < mailbox.lease_time.as_duration();
            if !heard {
                self.context.runtime.close_session(*session);
            }
            heard
        });
    }
}

fn take(downs: &mut mpsc::Receiver<Down>, told: &mut Vec<Down>) {
    while told.len() < MAX_MESSAGES {
        match downs.try_recv() {
            Ok(down) => told.push(down),
            Err(_) => return, // Empty, or closed: the caller looks.
        }
    }
}

fn full(max: usize) -> Fault {
    Fault::Overloaded(Overloaded {
        retry_after: Span::from_secs(1),
        what: format!("all {max} places for workers without a stream are taken"),
    })
}
