//! A worker's process: it connects, asks for work, works, is cut off, dies and comes back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bailiwick::{
    engine::command::Assignment,
    runtime::{Down, OpenError, Opened, Registration, SessionError},
    types::ids::{AgentName, Lease, WorkerId},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, Inbox},
    attempt,
    chance::Chance,
    sim::{Answering, Node, Sim, Up},
    tape::note,
    time::{now, sleep, sleep_until},
};

/// Who a worker is.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) node: Node,
    pub(crate) id: WorkerId,
    pub(crate) agents: Vec<AgentName>,
    pub(crate) max: u32,
}

pub(crate) struct Worker {
    sim: Arc<Sim>,
    spec: Spec,
    chance: Chance,
    attempts: JoinSet<Lease>,
    /// What it works on, with the word to stop.
    held: BTreeMap<Lease, CancellationToken>,
}

/// Why a session is over.
enum Over {
    Stream,
    Death,
    Run,
}

impl Worker {
    pub(crate) fn new(sim: Arc<Sim>, spec: Spec, chance: Chance) -> Self {
        Self { sim, spec, chance, attempts: JoinSet::new(), held: BTreeMap::new() }
    }

    pub(crate) async fn live(mut self) {
        while !self.sim.is_over() {
            let Some((opened, inbox)) = self.connect().await else {
                sleep(self.chance.millis(200, 2_000)).await;
                continue;
            };
            let over = self.serve(opened, inbox).await;
            self.note_room(false);
            match over {
                Over::Run => return,
                Over::Stream => sleep(self.chance.millis(10, 3_000)).await,
                Over::Death => self.rise_again().await,
            }
        }
    }

    async fn connect(&mut self) -> Option<(Opened, Inbox)> {
        let lies = self.chance.happens(self.sim.faults.lie) && !self.sim.is_calm();
        let skip = usize::from(lies);
        let held: Vec<Lease> = self.held.keys().skip(skip).copied().collect();
        let (spec, said) = (self.spec.clone(), held.clone());
        let ask = move |sim: Arc<Sim>, up: Up| -> Answering<Result<(Opened, Inbox), OpenError>> {
            let registration = Registration {
                worker: spec.id.clone(),
                agents: spec.agents.iter().map(|agent| (agent.clone(), "{}".to_owned())).collect(),
                max_concurrency: spec.max,
                labels: BTreeMap::new(),
                held: said.clone(),
            };
            Box::pin(api::open(sim, up, spec.node, registration))
        };
        let (opened, inbox) = self.sim.call(self.spec.node, "open", ask).await?.ok()?;
        let live: BTreeSet<Lease> = opened.live.iter().copied().collect();
        for lease in held.iter().filter(|lease| !live.contains(lease)) {
            self.stop(lease);
        }
        Some((opened, inbox))
    }

    fn stop(&self, lease: &Lease) {
        if let Some(stop) = self.held.get(lease) {
            stop.cancel();
        }
    }

    async fn serve(&mut self, opened: Opened, mut inbox: Inbox) -> Over {
        let lost = CancellationToken::new();
        let held = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        self.credit(&opened, self.spec.max.saturating_sub(held), &lost);
        self.note_room(true);
        let every = opened.heartbeat_interval.as_duration();
        let mut beat = now() + every;
        loop {
            tokio::select! {
                biased;
                () = lost.cancelled() => return Over::Stream,
                next = inbox.recv() => match next {
                    None => return Over::Stream,
                    Some(Down::Assignment(work)) => self.begin(*work),
                    Some(Down::Cancel { lease, .. }) => self.stop(&lease),
                    Some(Down::Drain) => {}
                },
                Some(done) = self.attempts.join_next() => {
                    let lease = done.expect("no attempt panics");
                    self.held.remove(&lease);
                    self.note_room(true);
                    if self.chance.happens(self.sim.faults.die) && !self.sim.is_calm() {
                        return Over::Death;
                    }
                    self.credit(&opened, 1, &lost);
                }
                () = sleep_until(beat) => {
                    if self.sim.is_over() {
                        return Over::Run;
                    }
                    beat = now() + every;
                    self.beat(&opened, &lost);
                }
            }
        }
    }

    /// Whether there is a place that is free, in a session.
    fn note_room(&self, session: bool) {
        let room = session && self.held.len() < self.spec.max as usize;
        self.sim.laws().ears.note_room(self.spec.node, room);
    }

    fn begin(&mut self, work: Assignment) {
        let (lease, stop) = (work.lease, CancellationToken::new());
        self.held.insert(lease, stop.clone());
        self.note_room(true);
        self.sim.books().take(self.spec.node, &work);
        let (sim, node, chance) = (Arc::clone(&self.sim), self.spec.node, self.chance.fork());
        self.attempts.spawn(async move {
            attempt::run(sim, node, work, chance, stop).await;
            lease
        });
    }

    /// Asks for work until that is heard, or the session is over.
    fn credit(&self, opened: &Opened, slots: u32, lost: &CancellationToken) {
        let (sim, node, session, lost) =
            (Arc::clone(&self.sim), self.spec.node, opened.session, lost.clone());
        let worker = self.spec.id.clone();
        let ask = async move {
            loop {
                let worker = worker.clone();
                let ask = move |sim: Arc<Sim>, up: Up| -> Answering<Result<(), SessionError>> {
                    let worker = worker.clone();
                    Box::pin(async move { api::credit(&sim, &up, session, &worker, slots) })
                };
                match sim.call(node, "credit", ask).await {
                    Some(Ok(())) => return,
                    Some(Err(SessionError::SessionUnknown)) => return lost.cancel(),
                    None if lost.is_cancelled() || sim.is_over() => return,
                    None => sleep(Duration::from_millis(300)).await,
                }
            }
        };
        tokio::spawn(ask);
    }

    fn beat(&self, opened: &Opened, lost: &CancellationToken) {
        let (sim, node, session, lost) =
            (Arc::clone(&self.sim), self.spec.node, opened.session, lost.clone());
        let worker = self.spec.id.clone();
        tokio::spawn(async move {
            let ask = move |sim: Arc<Sim>, up: Up| -> Answering<Result<(), SessionError>> {
                let worker = worker.clone();
                Box::pin(async move { api::heartbeat(&sim, &up, session, &worker) })
            };
            if let Some(Err(SessionError::SessionUnknown)) = sim.call(node, "heartbeat", ask).await {
                lost.cancel();
            }
        });
    }

    /// The process has died. Later there is another one, which may know more of the past than is good.
    async fn rise_again(&mut self) {
        note!(self.sim, "worker {} dies", self.spec.id);
        self.attempts = JoinSet::new();
        let before: Vec<Lease> = std::mem::take(&mut self.held).into_keys().collect();
        // Some stay away for longer than any lease lasts.
        let most = if self.chance.happens(300) { 120_000 } else { 30_000 };
        sleep(self.chance.millis(100, most)).await;
        note!(self.sim, "worker {} is back", self.spec.id);
        for lease in before {
            if self.chance.happens(500) {
                let (sim, node, chance) = (Arc::clone(&self.sim), self.spec.node, self.chance.fork());
                tokio::spawn(attempt::from_the_dead(sim, node, lease, chance));
            }
        }
    }
}
