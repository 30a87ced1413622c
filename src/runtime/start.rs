//! The start: the first open tasks are read, then the shards run, then the handle is given out; the other open tasks are
//! read while the server runs.

use std::{
    num::NonZeroUsize,
    sync::{Arc, atomic::AtomicBool, atomic::AtomicUsize},
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    Clock, Entropy, Runtime, RuntimeOptions, RuntimeTasks, StartError,
    answer_check::AnswerCheck,
    clock::Now,
    courier, dead_letters,
    dispatch::{Dispatch, Order, Terms},
    halter,
    halts::{Halts, Kept},
    handle::Inner,
    hands::{Hands, Work},
    intake::Intake,
    journal_health::JournalHealth,
    keeper,
    pressure::Pressure,
    recovery::{self, First, Found, MAX_PAGES, Reader, Recovering, Rest},
    registry::Registry,
    shard::{Inlet, MAX_IN_FLIGHT, Shard, Shared, Wires, mailbox},
    tasks::Journal,
    watchers::Watchers,
};
use crate::store::{
    Store,
    record::AgentRow,
    writer::{Writer, WriterHandle},
};

/// The number under which a database keeps its count of shards.
const SHARDS: &str = "shards";

/// What the server must know before it runs.
struct Looked {
    agents: Vec<AgentRow>,
    halts: Kept,
    first: First,
}

impl Runtime {
    /// Recovers every open task of the store, then starts. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        store: Arc<dyn Store>,
        options: RuntimeOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(Self, RuntimeTasks), StartError> {
        Self::start_with(store, options, clock, entropy, Hands::default()).await
    }

    /// As `start`, with the hands that do what blocks.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start_with(
        store: Arc<dyn Store>,
        options: RuntimeOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        hands: Hands,
    ) -> Result<(Self, RuntimeTasks), StartError> {
        options.check()?;
        let (reader, shards) = (Arc::clone(&store), options.shards);
        let looked = hands.run(move || look(reader, shards)).await??;
        let now = Now::new(clock);
        now.at_least(looked.first.latest);
        tracing::info!(tasks = looked.first.count, shards, "open tasks found");
        launch(store, options, now, entropy, hands, looked)
    }
}

/// Reads what the server must know before it runs. Blocks.
fn look(store: Arc<dyn Store>, shards: u16) -> Result<Looked, StartError> {
    match store.number(SHARDS)? {
        None => store.set_number(SHARDS, u64::from(shards))?,
        Some(stored) if stored == u64::from(shards) => {}
        Some(stored) => return Err(StartError::Shards { stored, asked: shards }),
    }
    dead_letters::count_once(&*store)?;
    let (agents, halts) = (store.agents()?, Kept::load(&*store)?);
    Ok(Looked { agents, halts, first: Reader::first(store, shards)? })
}

fn launch(
    store: Arc<dyn Store>,
    options: RuntimeOptions,
    now: Now,
    entropy: Arc<dyn Entropy>,
    hands: Hands,
    looked: Looked,
) -> Result<(Runtime, RuntimeTasks), StartError> {
    let Looked { agents, halts, first: First { found, count, latest: _, reader } } = looked;
    let (writer, journal) = journal(&store, &options, &hands)?;
    let registry = Arc::new(Registry::new(agents, now.clone()));
    let (to_shards, orders): (Vec<_>, Vec<_>) = found.iter().map(|_| mpsc::unbounded_channel()).unzip();
    let (mailboxes, inlets): (Vec<_>, Vec<_>) = found.iter().map(|_| mailbox(options.max_queue)).unzip();
    let (halts, to_do) = Halts::new(halts, options.burn_rate.clone());
    let dispatch = Arc::new(Dispatch::new(Arc::clone(&registry), to_shards, terms(&options, &now, &halts)));
    let stop = CancellationToken::new();
    let (errands, to_carry) = courier::Errands::new();
    let shared = Shared {
        store: Arc::clone(&store),
        writer: writer.clone(),
        dispatch: Arc::clone(&dispatch),
        registry: Arc::clone(&registry),
        watchers: Arc::new(Watchers::new(options.max_watch_bytes)),
        questions: Arc::default(),
        log_end: watch::channel(0).0,
        intake: Intake::new(options.max_open_tasks, options.max_open_by_namespace.clone()),
        now: now.clone(),
        entropy: Arc::clone(&entropy),
        errands: errands.clone(),
        halts: Arc::clone(&halts),
        hands: hands.clone(),
        recovering: Recovering::new(found.len()),
        max_residents: options.max_resident_tasks.div_ceil(found.len()),
        health: JournalHealth::default(),
        pressure: Pressure::default(),
    };
    shared.intake.expect(count);
    let runtime = Runtime(Arc::new(Inner {
        options,
        store,
        mailboxes,
        dispatch: Arc::clone(&dispatch),
        answer_check: AnswerCheck::new(Arc::clone(&registry), hands.clone()),
        registry,
        watchers: Arc::clone(&shared.watchers),
        questions: Arc::clone(&shared.questions),
        log_end: shared.log_end.clone(),
        intake: shared.intake.clone(),
        now: now.clone(),
        entropy,
        closing: AtomicBool::new(false),
        next_shard: AtomicUsize::new(0),
        errands,
        halts,
        hands: hands.clone(),
        recovering: shared.recovering.clone(),
        health: shared.health.clone(),
        backlog: shared.writer.backlog(),
    }));
    let mut background = RuntimeTasks::new(runtime.clone(), stop.clone(), writer, journal);
    background.spawn("keeper".to_owned(), keeper::keep(dispatch, now.clone(), stop.clone()));
    look_after(&mut background, &shared, &stop);
    background.spawn("courier".to_owned(), courier::carry(runtime.clone(), to_carry, stop.clone()));
    background.spawn("halter".to_owned(), halter::run(runtime.clone(), to_do, stop.clone()));
    let shards = spawn_shards(&mut background, &shared, found, inlets.into_iter().zip(orders), &stop);
    let rest = Rest { reader, shards, hands, intake: shared.intake, now, stop };
    background.spawn("recovery".to_owned(), recovery::recover(rest));
    Ok((runtime, background))
}

/// Starts those who watch the server itself: whether it has more to do than it can, and whether its journal works.
fn look_after(background: &mut RuntimeTasks, shared: &Shared, stop: &CancellationToken) {
    let Shared { store, health, hands, now, pressure, .. } = shared;
    // Where everything is done in place, nothing is ever late.
    if !hands.are_in_place() {
        background.spawn("pressure".to_owned(), pressure.clone().measure(stop.clone()));
    }
    let trying = health.clone().keep_trying(store.clone(), hands.clone(), now.clone(), stop.clone());
    background.spawn("journal's health".to_owned(), trying);
}

fn terms(options: &RuntimeOptions, now: &Now, halts: &Halts) -> Terms {
    Terms {
        lease_time: options.lease_time,
        breaking: options.breaking,
        bulkheads: options.bulkheads.clone(),
        forgives_absence: now.jumps_are_absences(),
        halted: halts.now(),
    }
}

/// Starts the shards, each with the first of what was left open. Returns the ways in for the rest.
fn spawn_shards(
    background: &mut RuntimeTasks,
    shared: &Shared,
    found: Vec<Vec<Found>>,
    ways: impl Iterator<Item = (Inlet, mpsc::UnboundedReceiver<Order>)>,
    stop: &CancellationToken,
) -> Vec<mpsc::Sender<Vec<Found>>> {
    let mut to_find = Vec::new();
    for (number, (first, (inlet, orders))) in (0_u32..).zip(found.into_iter().zip(ways)) {
        let (sender, found) = mpsc::channel(MAX_PAGES);
        to_find.push(sender);
        let wires = Wires { inlet, orders, found, stop: stop.clone() };
        background.spawn(format!("shard {number}"), Shard::new(shared.clone(), first).run(wires));
    }
    to_find
}

/// Starts what makes things durable.
fn journal(
    store: &Arc<dyn Store>,
    options: &RuntimeOptions,
    hands: &Hands,
) -> Result<(WriterHandle, Journal), StartError> {
    let bound = NonZeroUsize::MIN.saturating_add(usize::from(options.shards) * MAX_IN_FLIGHT);
    let Hands::InPlace(pace) = hands else {
        let (writer, thread) = Writer::start(Arc::clone(store), bound)?;
        return Ok((writer, Journal::Thread(thread)));
    };
    let pace = Arc::clone(pace);
    let (writer, commits) = Writer::in_place(Arc::clone(store), bound, move || pace.before(Work::Commit));
    let mut task = JoinSet::new();
    task.spawn(commits);
    Ok((writer, Journal::Task(task)))
}
