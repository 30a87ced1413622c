//! The way down of one session under a chaos run: messages of one lease keep their order, and none waits for another lease's.
//! Empty, and never touched, while no run is on.

use std::task::{Context, Poll};

use tokio::task::{JoinError, JoinSet};

use super::{Edge, Heard};
use crate::{
    runtime::{Down, Runtime},
    service::lanes::{Absorb, Lanes},
    types::ids::Lease,
};

/// A message on its way. Messages down are never merged, and never pass each other.
struct Message(Down);

impl Absorb for Message {
    fn absorb(&mut self, later: Self) -> Result<(), Self> {
        Err(later)
    }

    fn may_be_passed_by(&self, _: &Self) -> bool {
        false
    }
}

/// See the file's header.
pub(crate) struct WayDown {
    edge: Edge,
    runtime: Runtime,
    lanes: Lanes<Message>,
    running: JoinSet<(Lease, Down, Heard)>,
}

/// What has come to the end of its way.
pub(crate) enum Arrived {
    /// This is sent, so many times.
    Here(Down, usize),
    /// The session ends.
    Cut,
}

impl WayDown {
    /// An empty way.
    pub(crate) fn new(edge: Edge, runtime: Runtime) -> Self {
        Self { edge, runtime, lanes: Lanes::new(), running: JoinSet::new() }
    }

    /// Whether messages have to go this way: a run may be on, or something is still under way.
    pub(crate) fn is_open(&self) -> bool {
        self.edge.is_on() || !self.running.is_empty()
    }

    /// Sends a message on its way; gives back one that no failure is for.
    pub(crate) fn send(&mut self, down: Down) -> Option<Down> {
        let lease = match &down {
            Down::Assignment(assignment) => assignment.lease,
            Down::Cancel { lease, .. } => *lease,
            Down::Drain => return Some(down),
        };
        if let Some(message) = self.lanes.enter(lease, Message(down)) {
            self.start(lease, message);
        }
        None
    }

    fn start(&mut self, lease: Lease, Message(down): Message) {
        let (edge, runtime) = (self.edge.clone(), self.runtime.clone());
        self.running.spawn(async move {
            let heard = edge.down(&runtime, &down).await;
            (lease, down, heard)
        });
    }

    /// The next message at its end. `None`: nothing is under way.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arrived>> {
        if self.running.is_empty() {
            return Poll::Ready(None);
        }
        self.running.poll_join_next(cx).map(|arrived| arrived.map(|arrived| self.arrived(arrived)))
    }

    fn arrived(&mut self, arrived: Result<(Lease, Down, Heard), JoinError>) -> Arrived {
        // A way that breaks off loses what was on it: as any network does, with the session.
        let Ok((lease, down, heard)) = arrived else { return Arrived::Cut };
        if let Some(next) = self.lanes.leave(lease) {
            self.start(lease, next);
        }
        match heard {
            Heard::Sent(times) => Arrived::Here(down, times),
            Heard::Cut => Arrived::Cut,
        }
    }
}
