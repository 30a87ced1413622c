//! The start: open tasks are rebuilt from the journal, then the shards run, then the handle is given out.

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
    burn::BurnGuard,
    clock::Now,
    codec, courier, dead_letters,
    dispatch::{Dispatch, Terms},
    halter,
    halts::{Halts, Kept},
    handle::Inner,
    hands::{Hands, Work},
    intake::Intake,
    journal_health::JournalHealth,
    keeper,
    registry::Registry,
    shard::{MAX_IN_FLIGHT, Shard, Shared, Wires, mailbox},
    tasks::Journal,
};
use crate::{
    engine::task::Task,
    store::{
        Store, StoreError,
        record::{AgentRow, OpenTask, PageAfter, TaskFilter, own_label},
        writer::{Writer, WriterHandle},
    },
    types::{ids::TaskId, time::Timestamp},
};

/// The number under which a database keeps its count of shards.
const SHARDS: &str = "shards";
/// Tasks after which a long recovery says how far it is.
const REPORT_EVERY: usize = 10_000;
/// Rows read at once while tasks are looked for that ended before their children.
const PAGE: usize = 1_000;

/// What a database holds that matters now.
struct Recovered {
    agents: Vec<AgentRow>,
    /// Open tasks, by shard.
    tasks: Vec<Vec<Task>>,
    count: usize,
    /// The newest time in the journal.
    latest: Timestamp,
    halts: Kept,
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
        let recovered = hands.run(move || recover(&*reader, shards)).await??;
        let now = Now::new(clock);
        now.at_least(recovered.latest);
        tracing::info!(tasks = recovered.count, shards, "open tasks recovered");
        launch(store, options, now, entropy, hands, recovered)
    }
}

/// Reads what the database holds. Blocks.
fn recover(store: &dyn Store, shards: u16) -> Result<Recovered, StartError> {
    match store.number(SHARDS)? {
        None => store.set_number(SHARDS, u64::from(shards))?,
        Some(stored) if stored == u64::from(shards) => {}
        Some(stored) => return Err(StartError::Shards { stored, asked: shards }),
    }
    dead_letters::count_once(store)?;
    let mut tasks: Vec<Vec<Task>> = (0..shards).map(|_| Vec::new()).collect();
    let (mut count, mut latest) = (0, newest(store)?);
    for id in open(store)?.into_iter().chain(unsettled(store)?) {
        let rebuild = |error| StartError::Rebuild { task: id, error };
        let missing = || rebuild(StoreError::Corrupt("it has no events".to_owned()));
        let task = codec::load(store, id).map_err(rebuild)?.ok_or_else(missing)?;
        let shard = tasks.get_mut(usize::from(id.shard()));
        let shard = shard.ok_or_else(|| {
            rebuild(StoreError::Corrupt(format!("its shard is {}, of {shards}", id.shard())))
        })?;
        latest = latest.max(task.summary().updated_at);
        count += usize::from(!task.is_ended());
        shard.push(task);
        if count > 0 && count % REPORT_EVERY == 0 {
            tracing::info!(tasks = count, "recovering");
        }
    }
    Ok(Recovered { agents: store.agents()?, tasks, count, latest, halts: Kept::load(store)? })
}

/// The time of the journal's last event. Time goes on from there even where every task has ended and the clock was set back
/// meanwhile: else the first look at an old task would make it leap, and every lease would lapse.
fn newest(store: &dyn Store) -> Result<Timestamp, StoreError> {
    let last = store.log(store.log_end()?.saturating_sub(1), 1)?;
    Ok(last.last().map_or_else(Timestamp::default, |entry| entry.event.at))
}

/// Tasks that have not ended, oldest first.
fn open(store: &dyn Store) -> Result<Vec<TaskId>, StoreError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.open_tasks(after, PAGE)?;
        after = page.last().map(OpenTask::place);
        found.extend(page.iter().map(|open| open.task));
        if page.len() < PAGE {
            return Ok(found);
        }
    }
}

/// Tasks that have ended with a child that was not heard of: what it used is still to come.
fn unsettled(store: &dyn Store) -> Result<Vec<TaskId>, StoreError> {
    let label = (own_label::UNSETTLED.to_owned(), own_label::YES.to_owned());
    let filter = TaskFilter { labels: vec![label], ..TaskFilter::default() };
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let rows = store.list(&filter, after, PAGE)?;
        after = rows.last().map(|row| PageAfter { created_at: row.created_at, task: row.task });
        let is_last = rows.len() < PAGE;
        found.extend(rows.into_iter().filter(|row| row.state.is_end()).map(|row| row.task));
        if is_last {
            return Ok(found);
        }
    }
}

fn launch(
    store: Arc<dyn Store>,
    options: RuntimeOptions,
    now: Now,
    entropy: Arc<dyn Entropy>,
    hands: Hands,
    recovered: Recovered,
) -> Result<(Runtime, RuntimeTasks), StartError> {
    let Recovered { agents, tasks, count: _, latest: _, halts } = recovered;
    let bound = NonZeroUsize::MIN.saturating_add(usize::from(options.shards) * MAX_IN_FLIGHT);
    let (writer, journal) = journal(&store, bound, &hands)?;
    let registry = Arc::new(Registry::new(agents, now.clone()));
    let (to_shards, orders): (Vec<_>, Vec<_>) = tasks.iter().map(|_| mpsc::unbounded_channel()).unzip();
    let (mailboxes, inlets): (Vec<_>, Vec<_>) = tasks.iter().map(|_| mailbox(options.max_queue)).unzip();
    let (jobs, to_do) = mpsc::unbounded_channel();
    let halts = Arc::new(Halts::new(halts, jobs));
    let burn = Arc::new(BurnGuard::new(options.burn_rate.clone()));
    let terms = Terms {
        lease_time: options.lease_time,
        breaking: options.breaking,
        bulkheads: options.bulkheads.clone(),
        forgives_absence: now.jumps_are_absences(),
        halted: halts.now(),
    };
    let dispatch = Arc::new(Dispatch::new(Arc::clone(&registry), to_shards, terms));
    let stop = CancellationToken::new();
    let (errands, to_carry) = courier::Errands::new();
    let shared = Shared {
        store: Arc::clone(&store),
        writer: writer.clone(),
        dispatch: Arc::clone(&dispatch),
        registry: Arc::clone(&registry),
        watchers: Arc::default(),
        questions: Arc::default(),
        log_end: watch::channel(0).0,
        intake: Intake::new(options.max_open_tasks, options.max_open_by_namespace.clone()),
        now: now.clone(),
        entropy: Arc::clone(&entropy),
        errands: errands.clone(),
        halts: Arc::clone(&halts),
        burn: Arc::clone(&burn),
        hands: hands.clone(),
        health: JournalHealth::default(),
    };
    let inner = Arc::new(Inner {
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
        halts: Arc::clone(&halts),
        burn: Arc::clone(&burn),
        hands: hands.clone(),
        health: shared.health.clone(),
    });
    let mut background = RuntimeTasks::new(Runtime(Arc::clone(&inner)), stop.clone(), writer, journal);
    background.spawn("keeper".to_owned(), keeper::keep(dispatch, now.clone(), stop.clone()));
    let trying = shared.health.clone().keep_trying(shared.store.clone(), hands, now.clone(), stop.clone());
    background.spawn("journal's health".to_owned(), trying);
    let carry = courier::carry(Runtime(Arc::clone(&inner)), to_carry, stop.clone());
    background.spawn("courier".to_owned(), carry);
    background.spawn("halter".to_owned(), halter::run(Runtime(Arc::clone(&inner)), to_do, stop.clone()));
    halts.go_on();
    for (number, ((tasks, inlet), orders)) in (0_u32..).zip(tasks.into_iter().zip(inlets).zip(orders)) {
        let wires = Wires { inlet, orders, stop: stop.clone() };
        background.spawn(format!("shard {number}"), Shard::new(shared.clone(), tasks).run(wires));
    }
    Ok((Runtime(inner), background))
}

/// Starts what makes things durable.
fn journal(
    store: &Arc<dyn Store>,
    bound: NonZeroUsize,
    hands: &Hands,
) -> Result<(WriterHandle, Journal), StartError> {
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
