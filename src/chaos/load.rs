//! The load: submissions at a rate of their own, whatever the server does, each tried until it is acknowledged and then
//! followed to its end. Never holds a verdict: whether all went well is read from the journal afterwards.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    clients::{AGAIN, CALL, Clients, is_passing},
    log::Log,
    shapes::{self, Shape},
};
use crate::{
    pb::{self, task_event::Event},
    types::dice::Dice,
};

/// The share of submissions that are made twice at once, as a client does whose connection broke.
const TWICE: f64 = 0.05;
/// A task that is to be cut off is cut after this.
const CANCEL_AFTER: Duration = Duration::from_millis(200);
/// The share of the built-in load that its client cancels.
const CANCELLED: f64 = 0.02;

/// What is submitted.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Tasks of all shapes, for the built-in crew.
    BuiltIn,
    /// One contract, again and again.
    File(Box<pb::Contract>),
}

/// The load, and what it needs.
pub(super) struct Load {
    /// Connections.
    pub(super) clients: Arc<Clients>,
    /// Where everything is noted.
    pub(super) log: Arc<Log>,
    /// The run.
    pub(super) run: String,
    /// What is submitted.
    pub(super) source: Source,
    /// Labels of every task, beside the run's.
    pub(super) labels: BTreeMap<String, String>,
    /// Whether a task that waits for a person is waited for.
    pub(super) waits_for_people: bool,
    /// The seed of what is submitted.
    pub(super) seed: u64,
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Tasks a second.
    pub(super) rate: f64,
    /// Tasks that may be open at once.
    pub(super) concurrency: usize,
}

impl Load {
    /// Submits until `enough`, then waits until all that was submitted has ended.
    pub(super) async fn run(self: Arc<Self>, pace: Pace, enough: CancellationToken) {
        let places = Arc::new(Semaphore::new(pace.concurrency.max(1)));
        let mut tick = interval(Duration::from_secs_f64(1.0 / pace.rate.max(0.001)));
        // After a stall what was due comes at once: clients do not slow down because a server does.
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (mut number, mut tasks) = (0_u64, JoinSet::new());
        loop {
            tokio::select! {
                biased;
                () = enough.cancelled() => break,
                _ = tick.tick() => {}
            }
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                self.log.held_back();
                continue;
            };
            number += 1;
            self.log.opened();
            let load = Arc::clone(&self);
            tasks.spawn(async move {
                load.one(number).await;
                load.log.closed();
                drop(place);
            });
            while tasks.try_join_next().is_some() {}
        }
        tasks.join_all().await;
    }

    /// One task, from its contract to its end.
    async fn one(&self, number: u64) {
        let mut dice = Dice::of(self.seed, &format!("task {number}"));
        let key = format!("chaos-{}-{number}", self.run);
        let contract = self.contract(&key, &mut dice);
        let twice = dice.hits(TWICE);
        let submitted = if twice {
            let (one, other) = tokio::join!(self.submit(&contract, &key), self.submit(&contract, &key));
            one.or(other)
        } else {
            self.submit(&contract, &key).await
        };
        let Some(id) = submitted else { return };
        if matches!(self.source, Source::BuiltIn) && dice.hits(CANCELLED) {
            sleep(CANCEL_AFTER).await;
            self.cancel(&id).await;
        }
        self.follow(&id).await;
    }

    fn contract(&self, key: &str, dice: &mut Dice) -> pb::Contract {
        let (mut contract, shape) = match &self.source {
            Source::BuiltIn => {
                let shape = Shape::draw(dice);
                (shape.contract(dice), shape.name())
            }
            Source::File(contract) => (contract.as_ref().clone(), ""),
        };
        contract.labels.extend(shapes::labels(&self.run, shape));
        contract.labels.extend(self.labels.clone());
        key.clone_into(&mut contract.idempotency_key);
        contract
    }

    /// Submits until it is acknowledged. `None`: it was refused for good.
    async fn submit(&self, contract: &pb::Contract, key: &str) -> Option<String> {
        loop {
            let request = pb::SubmitTaskRequest { contract: Some(contract.clone()), ..Default::default() };
            match timeout(CALL, self.clients.tasks().submit_task(request)).await {
                Ok(Ok(answer)) => {
                    let id = answer.into_inner().task_id;
                    self.log.acknowledged(key, &id);
                    return Some(id);
                }
                Ok(Err(status)) if !is_passing(&status) => {
                    self.log.refused(status.message());
                    return None;
                }
                Ok(Err(_)) | Err(_) => sleep(AGAIN).await,
            }
        }
    }

    /// Cancels until it is acknowledged.
    async fn cancel(&self, id: &str) {
        loop {
            let request = pb::CancelTaskRequest { task_id: id.to_owned(), reason: "a chaos run".to_owned() };
            match timeout(CALL, self.clients.tasks().cancel_task(request)).await {
                Ok(Ok(_)) => return,
                Ok(Err(status)) if !is_passing(&status) => return,
                Ok(Err(_)) | Err(_) => sleep(AGAIN).await,
            }
        }
    }

    /// Watches until the task has ended, over every broken connection.
    async fn follow(&self, id: &str) {
        let mut cursor = 0;
        loop {
            let request = pb::WatchTaskRequest { task_id: id.to_owned(), after_seq: cursor };
            if let Ok(stream) = self.clients.tasks().watch_task(request).await {
                let mut stream = stream.into_inner();
                while let Ok(Some(message)) = stream.message().await {
                    let Some(event) = message.event else { continue };
                    cursor = event.seq;
                    match event.event {
                        Some(Event::Ended(ended)) => {
                            let state = ended.outcome.map(|outcome| outcome.state()).unwrap_or_default();
                            return self.log.ended(state);
                        }
                        // Nobody here answers: it may be a day until it ends.
                        Some(Event::Escalated(_)) if !self.waits_for_people => {
                            return self.log.ended(pb::TaskState::AwaitingHuman);
                        }
                        _ => {}
                    }
                }
            }
            sleep(AGAIN).await;
        }
    }
}

/// Waits until every worker that should be there is registered.
pub(super) async fn workers_there(clients: &Clients, wanted: usize, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    while Instant::now() < until {
        let listed = timeout(CALL, clients.operator().list_workers(pb::ListWorkersRequest {})).await;
        if matches!(listed, Ok(Ok(listed)) if listed.get_ref().workers.len() >= wanted) {
            return true;
        }
        sleep(AGAIN).await;
    }
    false
}
