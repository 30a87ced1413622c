//! Tasks that are not in memory: loaded from the journal off the shard, while what is asked of them waits. Never here: a
//! shard that blocks on the store.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use tokio::task::{Id, JoinSet};

use super::{
    Request, Shard, Shared,
    mailbox::{GivenUp, QUEUE_RETRY},
};
use crate::{
    engine::{command::Env, task::Task},
    runtime::{Overloaded, codec, dispatch::Ending, hands::Hands},
    store::{Store, StoreError},
    types::{
        ids::TaskId,
        time::{Span, Timestamp},
    },
};

/// Requests that may wait for tasks to be loaded.
const MAX_WAITING: usize = 1_024;
/// Loads that run at once, and the most tasks that one of them takes.
const MAX_LOADS: usize = 8;
const MAX_TAKEN: usize = 32;
/// Tasks that wait to be loaded before parked ones are no longer woken by their timers.
const BUSY: usize = 512;
/// How soon tasks of a failed commit are loaded again, and again after a failure.
pub(super) const RELOAD_AFTER: Span = Span::from_millis(200);

type Loaded = Result<Option<Task>, StoreError>;

/// See the file's header.
pub(super) struct Hydration {
    store: Arc<dyn Store>,
    hands: Hands,
    loads: JoinSet<Vec<(TaskId, Loaded)>>,
    loading: HashMap<Id, Vec<TaskId>>,
    /// Tasks that wait for their turn to be loaded.
    queue: VecDeque<TaskId>,
    /// By task that is loading or about to be: what waits for it.
    waiting: HashMap<TaskId, VecDeque<Request>>,
    waiting_count: usize,
    arrived: VecDeque<(TaskId, Loaded)>,
    /// Open tasks that a failed commit threw out.
    lost: BTreeSet<TaskId>,
    /// Tasks that are being loaded and that a start has found open meanwhile: they must not be forgotten if that fails.
    found: BTreeSet<TaskId>,
    retry_at: Option<Timestamp>,
    /// Leases to be ended as soon as their tasks are back.
    follow_ups: HashMap<TaskId, Vec<Ending>>,
}

impl Hydration {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            store: Arc::clone(&shared.store),
            hands: shared.hands.clone(),
            loads: JoinSet::new(),
            loading: HashMap::new(),
            queue: VecDeque::new(),
            waiting: HashMap::new(),
            waiting_count: 0,
            arrived: VecDeque::new(),
            lost: BTreeSet::new(),
            found: BTreeSet::new(),
            retry_at: None,
            follow_ups: HashMap::new(),
        }
    }

    /// The next tasks that have been loaded; none while none is loading.
    pub(super) async fn next(&mut self) -> Option<Vec<(TaskId, Loaded)>> {
        match self.loads.join_next_with_id().await? {
            Ok((id, loaded)) => {
                self.loading.remove(&id);
                Some(loaded)
            }
            Err(error) => {
                let broken =
                    StoreError::Corrupt(format!("the task's journal could not be replayed: {error}"));
                let tasks = self.loading.remove(&error.id())?;
                Some(tasks.into_iter().map(|task| (task, Err(broken.clone()))).collect())
            }
        }
    }

    pub(super) fn arrived(&mut self, loaded: Vec<(TaskId, Loaded)>) {
        self.arrived.extend(loaded);
    }

    /// Whether more wait to be loaded than should be added to without need.
    pub(super) fn is_busy(&self) -> bool {
        self.queue.len() >= BUSY
    }

    /// Whether the task, which a start has found open, is being loaded or is to be. Then it will come from here.
    pub(super) fn has_in_hand(&mut self, task: TaskId) -> bool {
        if self.waiting.contains_key(&task) {
            self.found.insert(task);
            return true;
        }
        self.lost.contains(&task)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.arrived.is_empty()
    }

    pub(super) fn retry_at(&self) -> Option<Timestamp> {
        self.retry_at.filter(|_| !self.lost.is_empty())
    }

    /// A task's state is void: it is to be loaded again soon.
    pub(super) fn lose(&mut self, task: TaskId, again_in: Span, now: Timestamp) {
        self.lost.insert(task);
        self.retry_at = Some(now.plus(again_in));
    }

    /// A lease to be ended once its task is back.
    pub(super) fn follow_up(&mut self, ending: Ending) {
        self.follow_ups.entry(ending.lease.task).or_default().push(ending);
    }

    /// The journal does not have the task.
    fn forget(&mut self, task: TaskId) {
        self.lost.remove(&task);
        self.found.remove(&task);
        self.follow_ups.remove(&task);
    }

    /// Makes sure that the task is loaded or about to be.
    pub(super) fn want(&mut self, task: TaskId) -> &mut VecDeque<Request> {
        if !self.waiting.contains_key(&task) {
            self.queue.push_back(task);
        }
        self.waiting.entry(task).or_default();
        self.start();
        self.waiting.entry(task).or_default()
    }

    fn start(&mut self) {
        while self.loads.len() < MAX_LOADS && !self.queue.is_empty() {
            // One alone goes at once; many share the way there and back.
            let taken = (self.queue.len() / MAX_LOADS).clamp(1, MAX_TAKEN).min(self.queue.len());
            let tasks: Vec<TaskId> = self.queue.drain(..taken).collect();
            let (store, wanted) = (Arc::clone(&self.store), tasks.clone());
            let load = move || wanted.into_iter().map(|task| (task, codec::load(&*store, task))).collect();
            let handle = self.hands.spawn(&mut self.loads, load);
            self.loading.insert(handle.id(), tasks);
        }
    }
}

impl Shard {
    /// Loads the request's task, and serves the request then.
    pub(super) fn load_for(&mut self, request: Request) {
        // The runtime's own requests are bounded by the leases there are, and nobody would send them again.
        let own = matches!(request, Request::End(_) | Request::Assign(_));
        if self.hydration.waiting_count >= MAX_WAITING && !own {
            let what = format!("{MAX_WAITING} requests wait for tasks to be read from the journal");
            return request.give_up(GivenUp::Overloaded(Overloaded::new(QUEUE_RETRY, what)));
        }
        self.hydration.waiting_count += 1;
        self.hydration.want(request.task()).push_back(request);
    }

    /// Loads what failed commits threw out, when it is time.
    pub(super) fn reload_lost(&mut self, now: Timestamp) {
        if self.hydration.retry_at.is_none_or(|at| now < at) {
            return;
        }
        self.hydration.retry_at = None;
        for task in self.hydration.lost.clone() {
            self.hydration.want(task);
        }
    }

    /// Takes in what has been loaded and serves what waited for it.
    pub(super) fn serve_loaded(&mut self, now: Timestamp) {
        while let Some((task, loaded)) = self.hydration.arrived.pop_front() {
            let waiting = self.hydration.waiting.remove(&task).unwrap_or_default();
            self.hydration.waiting_count = self.hydration.waiting_count.saturating_sub(waiting.len());
            match loaded {
                Ok(Some(loaded)) => self.take_in(loaded, now),
                Ok(None) => {
                    self.lose_parked(task, now);
                    self.hydration.forget(task);
                }
                Err(error) => {
                    self.could_not_load(task, &error, waiting, now);
                    continue;
                }
            }
            for request in waiting {
                if self.residents.contains(task) {
                    self.serve_resident(request, now);
                } else {
                    self.serve_absent(request, now);
                }
                self.serve_orders(now);
            }
        }
        self.hydration.start();
    }

    fn take_in(&mut self, task: Task, now: Timestamp) {
        let id = task.id();
        self.shared.now.at_least(task.updated_at());
        let env = Env { now, agents: &*self.shared.registry };
        if let Some((place, may_be_due)) = self.parked.remove(id, env) {
            // All that is outstanding of it is known: it had only left memory.
            self.residents.insert(Box::new(task), Some(place));
            self.residents.settle(id, now, false);
            // What is due goes before what is asked, as it would have gone had the task been in memory.
            if may_be_due {
                self.tick(id, now);
            }
        } else {
            let is_found = self.recovering && !self.hydration.lost.contains(&id);
            self.adopt(task, now, is_found);
        }
        self.note_seen(id);
        self.hydration.lost.remove(&id);
        self.hydration.found.remove(&id);
        if self.residents.timer_of(id).is_some_and(|at| at <= now) {
            self.tick(id, now);
        }
        for ending in self.hydration.follow_ups.remove(&id).unwrap_or_default() {
            self.serve_resident(Request::End(ending), now);
        }
    }

    fn could_not_load(
        &mut self,
        task: TaskId,
        error: &StoreError,
        waiting: VecDeque<Request>,
        now: Timestamp,
    ) {
        tracing::error!(%task, %error, "a task could not be read from the journal");
        self.lose_parked(task, now);
        if self.hydration.found.remove(&task) {
            self.hydration.lose(task, RELOAD_AFTER, now);
        }
        for request in waiting {
            match request {
                Request::Assign(slot) => self.shared.dispatch.unused(slot, now),
                Request::End(ending) => {
                    self.hydration.lost.insert(task);
                    self.hydration.follow_up(ending);
                }
                request => request.give_up(GivenUp::Store(error.clone())),
            }
        }
        if self.hydration.lost.contains(&task) {
            self.hydration.retry_at = Some(now.plus(RELOAD_AFTER.times(5)));
        }
    }
}
