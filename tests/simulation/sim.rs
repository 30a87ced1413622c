//! The world of one run: the wall clock, the disk, the server's present life, and the network between it and everybody else,
//! which delays, loses, repeats, reorders and cuts.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bailiwick::runtime::Runtime;
use tokio::sync::oneshot;

use crate::{
    books::Books,
    chance::Chance,
    disk::Disk,
    faults::Faults,
    laws::Laws,
    life::{Life, WallClock},
    tape::{Tape, note},
    time::{now, sleep, timeout},
};

/// How long a caller waits for an answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// The server, as it can be reached.
#[derive(Clone)]
pub(crate) struct Up {
    pub(crate) life: Arc<Life>,
    pub(crate) runtime: Runtime,
}

/// Who is at the other end of the network.
pub(crate) type Node = u32;

pub(crate) struct Sim {
    pub(crate) faults: Faults,
    pub(crate) wall: Arc<WallClock>,
    pub(crate) tape: Arc<Tape>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) laws: Arc<Mutex<Laws>>,
    pub(crate) books: Mutex<Books>,
    stage: AtomicU8,
    up: Mutex<Option<Up>>,
    lines: Mutex<Lines>,
}

struct Lines {
    chance: Chance,
    faults: Faults,
    /// Until when a node is cut off.
    cut: BTreeMap<Node, Duration>,
}

/// What becomes of one message.
struct Fate {
    delay: Duration,
    lost: bool,
    twice: Option<Duration>,
}

pub(crate) type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Sim {
    pub(crate) fn new(chance: &mut Chance, faults: Faults, tape: Arc<Tape>) -> Self {
        let laws: Arc<Mutex<Laws>> = Arc::default();
        let disk = Disk::new(Arc::clone(&tape), Arc::clone(&laws), chance.fork(), faults.clone());
        let lines = Lines { chance: chance.fork(), faults: faults.clone(), cut: BTreeMap::new() };
        Self {
            faults,
            wall: Arc::new(WallClock::new()),
            tape,
            disk: Arc::new(disk),
            laws,
            books: Mutex::default(),
            stage: AtomicU8::new(0),
            up: Mutex::default(),
            lines: Mutex::new(lines),
        }
    }

    pub(crate) fn laws(&self) -> MutexGuard<'_, Laws> {
        self.laws.lock().expect("no law is broken")
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("no panic under it")
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().expect("no panic under it")
    }

    /// Nothing fails any more, and everybody is honest.
    pub(crate) fn calm(&self) {
        self.disk.calm();
        let mut lines = self.lines();
        lines.faults = Faults::default();
        lines.cut.clear();
        if let Some(up) = self.up() {
            up.life.live_on();
        }
        self.stage.store(1, Ordering::Relaxed);
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.stage.load(Ordering::Relaxed) > 0
    }

    /// Everybody goes home.
    pub(crate) fn end(&self) {
        self.stage.store(2, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stage.load(Ordering::Relaxed) > 1
    }

    pub(crate) fn set_up(&self, up: Option<Up>) {
        *self.up.lock().expect("no panic under it") = up;
    }

    pub(crate) fn up(&self) -> Option<Up> {
        self.up.lock().expect("no panic under it").clone().filter(|up| up.life.is_alive())
    }

    /// Nothing from or to the node arrives for this long.
    pub(crate) fn partition(&self, node: Node, span: Duration) {
        note!(self, "net {node} is cut off for {span:?}");
        self.lines().cut.insert(node, now() + span);
    }

    fn fate(&self, node: Node) -> Fate {
        let mut lines = self.lines();
        let is_cut = lines.cut.get(&node).is_some_and(|until| now() < *until);
        let Lines { chance, faults, cut: _ } = &mut *lines;
        let mut delay =
            || if chance.happens(faults.slow) { chance.millis(100, 4_000) } else { chance.millis(0, 10) };
        let (delay, again) = (delay(), delay());
        let lost = is_cut || chance.happens(faults.lost);
        Fate { delay, lost, twice: chance.happens(faults.twice).then_some(again) }
    }

    /// The next message of a stream to a node: how long it takes; `None`: the stream is cut, and whether the server is told.
    pub(crate) fn stream_fate(&self, node: Node) -> Result<Duration, bool> {
        let Fate { delay, .. } = self.fate(node);
        let mut lines = self.lines();
        let is_cut = lines.cut.get(&node).is_some_and(|until| now() < *until);
        let rate = lines.faults.cut;
        if is_cut || lines.chance.happens(rate) {
            return Err(lines.chance.happens(500));
        }
        Ok(delay)
    }

    /// Calls the server over the network. `None`: no answer came, and nobody knows what became of it.
    pub(crate) async fn call<T: Send + 'static>(
        self: &Arc<Self>,
        node: Node,
        what: &'static str,
        ask: impl Fn(Arc<Self>, Up) -> Answering<T> + Send + Sync + 'static,
    ) -> Option<T> {
        let ask = Arc::new(ask);
        let Fate { delay, lost, twice } = self.fate(node);
        let (answer, answered) = oneshot::channel();
        let mut waiting = Some(answer);
        // A task's followers are woken in no certain order: two of one client could not be told apart from run to run.
        if let Some(delay) = twice.filter(|_| what != "watch") {
            tokio::spawn(Arc::clone(self).serve(node, what, delay, Arc::clone(&ask), None));
        }
        if !lost {
            tokio::spawn(Arc::clone(self).serve(node, what, delay, ask, waiting.take()));
        }
        let heard = timeout(PATIENCE, answered).await;
        drop(waiting);
        heard?.ok()
    }

    /// One message at the server.
    async fn serve<T: Send + 'static>(
        self: Arc<Self>,
        node: Node,
        what: &'static str,
        delay: Duration,
        ask: Arc<impl Fn(Arc<Self>, Up) -> Answering<T> + Send + Sync + 'static>,
        answer: Option<oneshot::Sender<T>>,
    ) {
        sleep(delay).await;
        let Some(up) = self.up() else { return };
        note!(self, "net {node} {what}");
        let said = tokio::select! {
            biased;
            () = up.life.gone.cancelled() => return,
            said = ask(Arc::clone(&self), up.clone()) => said,
        };
        let Some(answer) = answer.filter(|_| up.life.is_alive()) else { return };
        drop(up);
        let Fate { delay, lost, .. } = self.fate(node);
        if lost {
            // The caller waits in vain.
            sleep(PATIENCE).await;
            return;
        }
        sleep(delay).await;
        let _ = answer.send(said);
    }
}
