//! A shard: the single writer of its tasks. It takes everything that has arrived, decides it all at one reading of the
//! clock, hands one batch to the journal, and decides the next while that one commits.
//!
//! Never here: an answer or a deed (brakes apart) before the batch it stems from is durable, or a decision of its own.
//! If a commit fails, nothing of it ever happened: its tasks are dropped and rebuilt from the journal.

mod batch;
mod commit;
mod decide;
mod halting;
mod hydrate;
mod mailbox;
mod park;
mod parked;
mod redrive;
mod residents;
mod share;
mod ticket;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

pub(super) use mailbox::{
    Answered, Asked, Inlet, Mailbox, NotSent, Outcome, QUEUE_RETRY, Redrive, Request, Submission, mailbox,
};
pub(super) use ticket::Ticket;

use super::{
    clock::Now,
    courier::Errands,
    dispatch::{Dispatch, FoundLease, Order, Slot},
    entropy::Entropy,
    halts::Halts,
    hands::Hands,
    intake::Intake,
    journal_health::JournalHealth,
    pressure::Pressure,
    questions::Questions,
    recovery::{Found, Recovering},
    registry::Registry,
    watchers::Watchers,
};
use crate::{
    engine::{
        command::{Command, Env, LiveLease},
        task::Task,
    },
    store::{Store, StoreError, writer::WriterHandle},
    types::{ids::TaskId, time::Timestamp},
};
use batch::{Batch, InFlight};
use hydrate::Hydration;
use parked::Parked;
use residents::Residents;
use share::Share;

/// Requests decided in one batch.
const MAX_BATCH: usize = 512;
/// Of them, room that is kept for what is new when what runs would fill the batch.
const MIN_INTAKE: usize = 32;
/// Ticks decided in one batch.
const MAX_TICKS: usize = 256;
/// Events after which a batch is closed.
const MAX_BATCH_EVENTS: usize = 4_096;
/// Batches of one shard that may wait for the disk.
pub(super) const MAX_IN_FLIGHT: usize = 4;

/// How long what is new waits at most while all that is done is what runs.
const WAIT_FOR_SHARE: std::time::Duration = std::time::Duration::from_millis(5);

const _: () = assert!(MIN_INTAKE < MAX_BATCH, "what runs goes first");

/// What a shard shares with the rest of the runtime.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) writer: WriterHandle,
    pub(super) dispatch: Arc<Dispatch>,
    pub(super) registry: Arc<Registry>,
    pub(super) watchers: Arc<Watchers>,
    pub(super) questions: Arc<Questions>,
    pub(super) log_end: watch::Sender<u64>,
    pub(super) intake: Intake,
    pub(super) now: Now,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) errands: Errands,
    pub(super) halts: Arc<Halts>,
    pub(super) hands: Hands,
    pub(super) recovering: Recovering,
    /// The most open tasks that each shard keeps in memory.
    pub(super) max_residents: usize,
    pub(super) health: JournalHealth,
    pub(super) pressure: Pressure,
}

/// A batch's fate.
struct Committed {
    number: u64,
    result: Result<u64, StoreError>,
}

/// See the file's header.
pub(super) struct Shard {
    shared: Shared,
    residents: Residents,
    max_residents: usize,
    parked: Parked,
    /// Whether the start is still reading what is open.
    recovering: bool,
    /// While it is: tasks that came here by another way, so that what the start has read of them is old.
    seen: BTreeSet<TaskId>,
    batch: Batch,
    in_flight: VecDeque<InFlight>,
    fates: mpsc::UnboundedSender<Committed>,
    fated: mpsc::UnboundedReceiver<Committed>,
    /// Tasks of batches that failed; not empty: nothing is decided before every batch in flight has met its fate.
    failed: BTreeSet<TaskId>,
    /// The last batch whose fate is known.
    resolved: u64,
    hydration: Hydration,
    /// What the dispatcher wants, in order. At most one for each slot and lease.
    orders: VecDeque<Order>,
    requests: VecDeque<Request>,
    /// Submissions that wait for their share.
    new: VecDeque<Request>,
    share: Share,
    /// Slots that wait until the journal takes something again: a lease that cannot be written would only come back.
    kept_slots: Vec<Slot>,
    /// Rings when the journal fails, and when it works again.
    journal: Arc<Notify>,
}

/// What comes in beside requests.
pub(super) struct Wires {
    pub(super) inlet: Inlet,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    /// What the start reads of open tasks; closed when that was all.
    pub(super) found: mpsc::Receiver<Vec<Found>>,
    pub(super) stop: CancellationToken,
}

impl Shard {
    /// A shard with the first of the tasks that were left open: when this returns, their turns are offered and their leases
    /// known. The others follow while it runs.
    pub(super) fn new(shared: Shared, found: Vec<Found>) -> Self {
        let (fates, fated) = mpsc::unbounded_channel();
        let hydration = Hydration::new(&shared);
        let max_residents = shared.max_residents;
        let journal = shared.health.bell();
        let mut shard = Self {
            shared,
            residents: Residents::default(),
            max_residents,
            parked: Parked::default(),
            recovering: true,
            seen: BTreeSet::new(),
            batch: Batch::new(1),
            in_flight: VecDeque::new(),
            fates,
            fated,
            failed: BTreeSet::new(),
            resolved: 0,
            hydration,
            orders: VecDeque::new(),
            requests: VecDeque::new(),
            new: VecDeque::new(),
            share: Share::default(),
            kept_slots: Vec::new(),
            journal,
        };
        let now = shard.shared.now.read();
        shard.take_found(found, now);
        shard
    }

    /// Runs until it is told to stop; then it finishes what it has taken. Returns how many open tasks it leaves.
    pub(super) async fn run(self, mut wires: Wires) -> usize {
        let mut shard = self;
        let mut stopping = false;
        loop {
            let may_take = shard.may_take();
            let wake = if may_take { shard.next_wake() } else { None };
            let may_accept = may_take && shard.room_for_new() > 0;
            let is_idle = shard.orders.is_empty() && shard.requests.is_empty();
            let busy = may_take && !(is_idle && (shard.new.is_empty() || !may_accept));
            tokio::select! {
                biased;
                Some(committed) = shard.fated.recv() => shard.resolve(committed),
                Some(loaded) = shard.hydration.next() => shard.hydration.arrived(loaded),
                Some(order) = wires.orders.recv() => shard.orders.push_back(order),
                found = wires.found.recv(), if shard.recovering && may_take => shard.find(found),
                () = std::future::ready(()), if busy => {}
                Some(request) = wires.inlet.running.recv(), if may_take => shard.requests.push_back(request),
                Some(request) = wires.inlet.intake.recv(), if may_accept => shard.new.push_back(request),
                () = async { tokio::time::sleep(WAIT_FOR_SHARE).await }, if may_take && !may_accept => shard.share.passed(),
                () = shard.journal.notified() => shard.journal_changed(),
                () = wires.stop.cancelled(), if !stopping => {
                    stopping = true;
                    wires.inlet.close();
                }
                () = shard.shared.now.wait(wake), if may_take => {}
            }
            while let Ok(committed) = shard.fated.try_recv() {
                shard.resolve(committed);
            }
            while let Ok(order) = wires.orders.try_recv() {
                shard.orders.push_back(order);
            }
            if shard.may_take() {
                shard.fill(&mut wires.inlet);
                shard.round();
            }
            if stopping && wires.inlet.is_empty() && shard.is_idle() {
                return shard.residents.open() + shard.parked.len();
            }
        }
    }

    /// Whether another batch may be decided now.
    fn may_take(&self) -> bool {
        self.in_flight.len() < MAX_IN_FLIGHT && self.failed.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
            && self.failed.is_empty()
            && self.orders.is_empty()
            && self.requests.is_empty()
            && self.new.is_empty()
            && self.hydration.is_idle()
    }

    fn next_wake(&self) -> Option<Timestamp> {
        let timers = self.residents.next_timer().into_iter().chain(self.hydration.retry_at());
        timers.chain(self.next_wake_of_parked()).min()
    }

    /// Takes what waits: first what runs already, then what is new.
    fn fill(&mut self, inlet: &mut Inlet) {
        while self.requests.len() < MAX_BATCH - MIN_INTAKE {
            let Ok(request) = inlet.running.try_recv() else { break };
            self.requests.push_back(request);
        }
        self.share.ran(self.requests.len());
        while let Ok(request) = inlet.intake.try_recv() {
            self.new.push_back(request);
        }
        let (room, mut taken) = (self.room_for_new(), 0);
        while self.requests.len() < MAX_BATCH
            && taken < room
            && let Some(request) = self.new.pop_front()
        {
            if !request.is_given_up() {
                self.requests.push_back(request);
                taken += 1;
            }
        }
        self.share.took(taken);
        // What nobody waits for has no place any more, and must not pile up behind what does.
        if self.new.len() > 2 * inlet.bound {
            self.new.retain(|request| !request.is_given_up());
        }
    }

    fn room_for_new(&self) -> usize {
        self.share.room(self.shared.pressure.is_high())
    }

    /// Decides everything that is there, at one reading of the clock, and sends it off. What is due goes first: an answer that
    /// comes after a deadline finds it passed, however busy the shard is.
    fn round(&mut self) {
        let now = self.shared.now.read();
        for task in self.residents.due(now, MAX_TICKS) {
            self.tick(task, now);
        }
        self.wake_parked(now);
        self.serve_loaded(now);
        self.serve_orders(now);
        while self.has_room()
            && let Some(request) = self.requests.pop_front()
        {
            self.serve(request, now);
            self.serve_orders(now);
        }
        self.reload_lost(now);
        self.flush();
        self.park(now);
    }

    /// More of what was left open, or the end of it.
    fn find(&mut self, found: Option<Vec<Found>>) {
        match found {
            Some(found) => {
                let now = self.shared.now.read();
                self.take_found(found, now);
            }
            None => self.all_found(),
        }
    }

    fn has_room(&self) -> bool {
        self.batch.len() < MAX_BATCH_EVENTS
    }

    /// Takes over a task that is open: its turns are offered, its leases live for one period more. `is_found`: this is the
    /// first that this server hears of it.
    fn adopt(&mut self, task: Task, now: Timestamp, is_found: bool) {
        let id = task.id();
        let outstanding = task.outstanding();
        let place = (!task.is_ended()).then(|| self.shared.intake.take_expected(&task.contract().namespace));
        self.residents.insert(Box::new(task), place);
        let halting = self.halting(id);
        for live in outstanding.leases {
            let Some(halting) = halting.clone() else { continue };
            if is_found {
                let LiveLease { lease, worker, agent, namespace, .. } = live;
                let found = FoundLease { lease, worker, agent, namespace, halting };
                self.orders.extend(self.shared.dispatch.restore_found(found, now));
            } else {
                self.shared.dispatch.restore(live, halting, now);
            }
        }
        for effect in outstanding.ready.into_iter().chain(outstanding.family) {
            self.perform(id, effect, None, now);
        }
        self.residents.settle(id, now, false);
        self.residents.ended(id, self.resolved);
    }

    /// Runs `work` on a resident task at a given time.
    fn with_task<T>(
        &mut self,
        id: TaskId,
        now: Timestamp,
        work: impl FnOnce(&mut Task, Env<'_>) -> T,
    ) -> Option<T> {
        let env = Env { now, agents: &*self.shared.registry };
        Some(work(&mut self.residents.get_mut(id)?.task, env))
    }

    fn tick(&mut self, id: TaskId, now: Timestamp) {
        match self.with_task(id, now, |task, env| task.decide(Command::Tick, env)) {
            Some(Ok(decided)) => {
                let quiet = decided.records.is_empty();
                self.absorb(id, decided, None, now);
                self.residents.settle(id, now, quiet);
            }
            Some(Err(_)) => self.residents.settle(id, now, true),
            None => {}
        }
    }
}
