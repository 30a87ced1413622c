//! The machine that the server runs on: it starts the server, kills it, stops it in good order, and sets its clock.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bailiwick::{
    runtime::{Bulkheads, Hands, Runtime, RuntimeOptions, RuntimeTasks, SeededEntropy},
    types::{name_limits::NameLimits, time::Span},
};
use tokio::sync::oneshot;

use crate::{
    chance::Chance,
    disk::Mount,
    life::{Life, LifeClock, LifeEntropy, LifePace},
    silence::LEASE_TIME,
    sim::{Node, Sim, Up},
    tape::note,
    time::{now, sleep, sleep_until},
};

/// What is done to the machine, and when.
pub(crate) enum Deed {
    /// The process is killed, now or at one of its next steps.
    Crash { within: u64 },
    /// The process is asked to stop.
    Stop,
    /// Somebody sets the clock.
    Jump { seconds: i64 },
    /// A node is cut off.
    Partition { node: Node, span: Duration },
}

pub(crate) struct Host {
    sim: Arc<Sim>,
    options: RuntimeOptions,
    chance: Chance,
    lives: u64,
}

/// How a stop in good order went, for whoever asked.
pub(crate) type Stopped = oneshot::Sender<bool>;

/// What the rest of the world asks of the host.
#[derive(Default)]
pub(crate) struct Wishes {
    /// To stop in good order.
    stop: Mutex<Option<Stopped>>,
    pub(crate) rung: tokio::sync::Notify,
}

impl Wishes {
    /// Asks the server to stop; told whether it went well.
    pub(crate) fn stop(&self) -> oneshot::Receiver<bool> {
        let (told, hears) = oneshot::channel();
        *self.stop.lock().expect("no panic under it") = Some(told);
        self.rung.notify_one();
        hears
    }

    fn take(&self) -> Option<Stopped> {
        self.stop.lock().expect("no panic under it").take()
    }
}

pub(crate) fn options(chance: &mut Chance) -> RuntimeOptions {
    let tight = chance.happens(200);
    let agents = if chance.happens(200) { NameLimits::all(1) } else { NameLimits::default() };
    let namespaces = if chance.happens(100) { NameLimits::all(2) } else { NameLimits::default() };
    RuntimeOptions {
        shards: u16::try_from(chance.between(1, 3)).unwrap_or(1),
        lease_time: Span::from_secs(LEASE_TIME),
        bulkheads: Bulkheads { agents, namespaces },
        heartbeat_interval: Span::from_secs(3),
        max_open_tasks: if tight { 4 } else { 1_000 },
        // Some keep nearly nothing in memory.
        max_resident_tasks: if chance.happens(400) {
            usize::try_from(chance.below(4)).unwrap_or(0)
        } else {
            1_000
        },
        max_queue: if tight { 3 } else { 1_024 },
        max_sessions: 16,
        ..RuntimeOptions::default()
    }
}

impl Host {
    pub(crate) const fn new(sim: Arc<Sim>, options: RuntimeOptions, chance: Chance) -> Self {
        Self { sim, options, chance, lives: 0 }
    }

    /// Runs the server, life after life, until the run is over.
    pub(crate) async fn run(mut self, wishes: Arc<Wishes>) {
        while !self.sim.is_over() {
            let Some((up, tasks)) = self.start().await else {
                sleep(self.chance.millis(50, 1_000)).await;
                continue;
            };
            self.sim.laws().ears.trouble();
            self.sim.set_up(Some(up.clone()));
            self.live(up, tasks, &wishes).await;
            self.sim.set_up(None);
            sleep(self.chance.millis(10, 5_000)).await;
        }
    }

    async fn start(&mut self) -> Option<(Up, RuntimeTasks)> {
        self.sim.disk.reopen();
        self.lives += 1;
        // Some die while they start.
        let short = self.sim.faults.crashes > 0 && !self.sim.is_calm() && self.chance.happens(100);
        let fuse = if short { i64::try_from(self.chance.between(1, 60)).unwrap_or(1) } else { -1 };
        let life = Life::new(self.lives, fuse);
        note!(self.sim, "server life {} begins", life.number);
        let clock = Arc::new(LifeClock { wall: Arc::clone(&self.sim.wall), life: Arc::clone(&life) });
        let bits = SeededEntropy::new(self.chance.bits());
        let entropy = Arc::new(LifeEntropy { bits, life: Arc::clone(&life) });
        let store = Arc::new(Mount { disk: Arc::clone(&self.sim.disk), life: Arc::clone(&life) });
        let slow = if self.sim.is_calm() { 0 } else { self.sim.faults.slow_disk };
        let pace = LifePace { chance: Mutex::new(self.chance.fork()), slow };
        let hands = Hands::InPlace(Arc::new(pace));
        match Runtime::start_with(store, self.options.clone(), clock, entropy, hands).await {
            Ok((runtime, tasks)) => {
                self.sim.laws().brakes.all_in_force(&runtime.halts());
                Some((Up { life, runtime }, tasks))
            }
            Err(error) => {
                note!(self.sim, "server life {} fails: {error}", life.number);
                life.die();
                None
            }
        }
    }

    async fn live(&self, up: Up, mut tasks: RuntimeTasks, wishes: &Wishes) {
        tokio::select! {
            biased;
            () = up.life.gone.cancelled() => {
                note!(self.sim, "server life {} ends", up.life.number);
            }
            () = wishes.rung.notified() => {
                up.life.stop();
                let report = tasks.shutdown(Duration::from_secs(60)).await;
                note!(self.sim, "server life {} stops: {report:?}", up.life.number);
                up.life.die();
                if let Some(told) = wishes.take() {
                    let _ = told.send(report.clean);
                }
            }
            failed = tasks.failed() => panic!("a part of the server ended by itself: {failed}"),
        }
    }
}

/// What will be done to the machine, in order.
pub(crate) fn deeds(sim: &Sim, chance: &mut Chance, nodes: u64, span: u64) -> Vec<(Duration, Deed)> {
    let faults = &sim.faults;
    let mut deeds = Vec::new();
    for _ in 0..faults.crashes {
        let within = if chance.happens(300) { 0 } else { chance.between(1, 300) };
        deeds.push((chance.millis(1_000, span), Deed::Crash { within }));
    }
    for _ in 0..faults.stops {
        deeds.push((chance.millis(1_000, span), Deed::Stop));
    }
    for _ in 0..faults.jumps {
        let seconds = i64::try_from(chance.between(1, 600)).unwrap_or(1);
        let seconds = if chance.happens(500) { seconds } else { -seconds };
        let at = chance.millis(1_000, span);
        deeds.push((at, Deed::Jump { seconds }));
        // Who is forgiven for an absence of the server's, and then goes, is still to be missed in time.
        if chance.happens(400) {
            let node = u32::try_from(chance.below(nodes)).unwrap_or(0);
            let after = chance.millis(500, 8_000);
            deeds.push((at + after, Deed::Partition { node, span: chance.millis(40_000, 90_000) }));
        }
    }
    for _ in 0..faults.partitions {
        let node = u32::try_from(chance.below(nodes)).unwrap_or(0);
        let most = if chance.happens(300) { 70_000 } else { 20_000 };
        let span_of_it = chance.millis(500, most);
        deeds.push((chance.millis(1_000, span), Deed::Partition { node, span: span_of_it }));
    }
    deeds.sort_by_key(|(at, _)| *at);
    deeds
}

/// Does what is to be done, each at its time.
pub(crate) async fn mischief(sim: Arc<Sim>, wishes: Arc<Wishes>, deeds: Vec<(Duration, Deed)>) {
    let start = now();
    for (at, deed) in deeds {
        sleep_until(start + at).await;
        if sim.is_calm() {
            return;
        }
        match deed {
            Deed::Crash { within } => {
                if let Some(up) = sim.up() {
                    note!(sim, "host kills life {} within {within} steps", up.life.number);
                    if within == 0 { up.life.die() } else { up.life.light(within) }
                }
            }
            Deed::Stop => drop(wishes.stop()),
            Deed::Jump { seconds } => {
                note!(sim, "host sets the clock by {seconds} s");
                sim.wall.jump(seconds);
            }
            Deed::Partition { node, span } => sim.partition(node, span),
        }
    }
}
