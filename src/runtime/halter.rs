//! The halter: writes halts down, ends the tasks of those that cancel, and lifts them. Whoever asked may have gone: what was
//! begun is finished all the same, after a restart too. Never here: the first stop, which does not wait for anything.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    BURN_NOTES, BurnAction, Burned, CommandError, HaltOrder, HaltProgress, Runtime,
    halts::{all, note},
};
use crate::{
    engine::command::{Command, Reply},
    store::{
        StoreError,
        record::{PageAfter, TaskFilter},
    },
    types::{
        halt::{GUARD, Halt, HaltMark, HaltScope, Lifted},
        ids::TaskId,
        outcome::TaskState,
        time::Span,
    },
};

/// How long to wait before the next try.
const AGAIN: Span = Span::from_millis(200);
/// Tasks that are being ended at once.
const AT_ONCE: usize = 256;
/// Tasks read at once.
const PAGE: usize = 512;
/// Halts that were lifted and are kept.
const MAX_LIFTED: usize = 1_000;

/// What the halter is asked.
pub(super) enum Job {
    /// Write the halt down as it stands now; then say so.
    Keep(Arc<Halt>, oneshot::Sender<Result<(), StoreError>>),
    /// End the tasks under the halt, those first whose attempts have been told to stop.
    Sweep(Arc<Halt>, Vec<TaskId>, watch::Sender<HaltProgress>),
    /// Write down that these are lifted, then lift them; then say which were.
    Lift(Vec<Arc<Halt>>, Lifted, oneshot::Sender<Result<Vec<Halt>, StoreError>>),
    /// A limit of the burn-rate guard was passed: do what it says.
    Burned(Burned),
}

/// Runs until it is told to stop. It leaves no tasks.
pub(super) async fn run(
    runtime: Runtime,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    stop: CancellationToken,
) -> usize {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return 0,
            Some(job) = jobs.recv() => {
                let runtime = runtime.clone();
                running.spawn(async move {
                    match job {
                        // Whoever waits may have gone.
                        Job::Keep(halt, answer) => drop(answer.send(keep(&runtime, &halt).await)),
                        Job::Lift(halts, lifted, answer) => drop(answer.send(lift(&runtime, halts, &lifted).await)),
                        Job::Sweep(halt, told, progress) => sweep(&runtime, &halt, told, &progress).await,
                        Job::Burned(burned) => burn(&runtime, burned).await,
                    }
                });
            }
            Some(_) = running.join_next() => {}
        }
    }
}

/// Writes a halt down as it stands now; one that was lifted meanwhile is not touched.
async fn keep(runtime: &Runtime, halt: &Halt) -> Result<(), StoreError> {
    let _one_after_the_other = runtime.0.halts.writing.lock().await;
    match runtime.0.halts.note(halt, |_| {}) {
        Some(now) => write(runtime, &now).await,
        None => Ok(()),
    }
}

async fn write(runtime: &Runtime, halt: &Halt) -> Result<(), StoreError> {
    let (store, name) = (Arc::clone(&runtime.0.store), note(halt.number));
    let text = serde_json::to_string(halt)
        .map_err(|error| StoreError::Corrupt(format!("halt {} cannot be written: {error}", halt.number)))?;
    runtime.0.hands.run(move || store.set_text(&name, Some(&text))).await?
}

async fn lift(runtime: &Runtime, halts: Vec<Arc<Halt>>, lifted: &Lifted) -> Result<Vec<Halt>, StoreError> {
    let inner = &runtime.0;
    let _one_after_the_other = inner.halts.writing.lock().await;
    let mut gone = Vec::new();
    for halt in halts {
        let Some(now) = inner.halts.note(&halt, |_| {}) else { continue };
        let ended = Halt { lifted: Some(lifted.clone()), ..Halt::clone(&now) };
        write(runtime, &ended).await?;
        inner.halts.burn.afresh(&halt.scope);
        inner.halts.lift(&halt, |set| inner.dispatch.set_halted(Arc::clone(set), inner.now.read()));
        tracing::warn!(halt = halt.number, scope = %halt.scope, by = lifted.by, reason = lifted.reason, "a halt is lifted");
        gone.push(ended);
    }
    if let Err(error) = forget_oldest(runtime).await {
        tracing::warn!(%error, "old notes of halts could not be removed");
    }
    Ok(gone)
}

/// Does what a limit that was passed asks for, and writes it down for those who are to be told. What is halted already has
/// been told of.
async fn burn(runtime: &Runtime, burned: Burned) {
    let known = runtime.0.halts.now().on_scope(&burned.scope).is_some();
    if known && burned.action != BurnAction::HaltAndCancel {
        return;
    }
    tracing::warn!(scope = %burned.scope, %burned, action = ?burned.action, "too fast");
    let mut halt = None;
    if burned.action != BurnAction::Warn {
        let order = HaltOrder {
            scope: burned.scope.clone(),
            by: GUARD.to_owned(),
            reason: burned.to_string(),
            cancel: burned.action == BurnAction::HaltAndCancel,
            burn: Some(burned.burn.clone()),
        };
        match runtime.halt(order).await {
            Ok(halted) if halted.existing => return,
            Ok(halted) => halt = Some(halted.halt.number),
            Err(error) => tracing::error!(%error, "the burn-rate guard could not halt as it should"),
        }
    }
    if let Err(error) = note_burn(runtime, Burned { halt, ..burned }).await {
        tracing::error!(%error, "that a burn-rate limit was passed could not be kept: no webhook is told of it");
    }
    // Whoever follows the log looks for these notes too.
    runtime.0.log_end.send_modify(|_| {});
}

async fn note_burn(runtime: &Runtime, burned: Burned) -> Result<(), StoreError> {
    let _one_after_the_other = runtime.0.halts.writing.lock().await;
    let store = Arc::clone(&runtime.0.store);
    let keep = move || {
        let known = store.texts(BURN_NOTES)?;
        let last = known.last().and_then(|(name, _)| name.strip_prefix(BURN_NOTES)?.parse::<u64>().ok());
        let burned = Burned { number: last.unwrap_or(0) + 1, ..burned };
        let text = serde_json::to_string(&burned).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        store.set_text(&format!("{BURN_NOTES}{:020}", burned.number), Some(&text))?;
        let spare = known.len().saturating_sub(MAX_LIFTED);
        known.iter().take(spare).try_for_each(|(name, _)| store.set_text(name, None))
    };
    runtime.0.hands.run(keep).await?
}

/// Keeps what is kept of lifted halts bounded.
async fn forget_oldest(runtime: &Runtime) -> Result<(), StoreError> {
    let store = Arc::clone(&runtime.0.store);
    let forget = move || {
        let lifted: Vec<Halt> = all(&*store)?.into_iter().filter(|halt| halt.lifted.is_some()).collect();
        let spare = lifted.len().saturating_sub(MAX_LIFTED);
        lifted.iter().take(spare).try_for_each(|halt| store.set_text(&note(halt.number), None))
    };
    runtime.0.hands.run(forget).await?
}

/// Ends every task under the halt. Returns early only when the server stops or the halt is lifted.
async fn sweep(runtime: &Runtime, halt: &Halt, told: Vec<TaskId>, progress: &watch::Sender<HaltProgress>) {
    end(runtime, halt, told, true).await;
    // What was accepted before the halt is in the store by then, and nothing is accepted after it.
    runtime.0.dispatch.settled().await;
    let (filter, mut after) = (under(&halt.scope), None);
    while let Some(page) = next_page(runtime, &filter, after).await {
        let is_last = page.len() < PAGE;
        after = page.last().copied();
        end(runtime, halt, page.into_iter().map(|place| place.task).collect(), false).await;
        if runtime.0.halts.note(halt, |_| {}).is_none() {
            return;
        }
        if is_last {
            if runtime.0.halts.note(halt, |halt| halt.swept = true).is_some()
                && let Err(error) = keep(runtime, halt).await
            {
                tracing::warn!(%error, "that a halt has ended its tasks could not be kept: the next start looks again");
            }
            progress.send_modify(|progress| progress.swept = true);
            return;
        }
    }
}

/// Open tasks that a halt may cover: more than it does, where only the task itself can tell.
fn under(scope: &HaltScope) -> TaskFilter {
    let states = TaskState::ALL.into_iter().filter(|state| !state.is_end()).collect();
    let filter = TaskFilter { states, ..TaskFilter::default() };
    match scope {
        HaltScope::All => filter,
        HaltScope::Agent(agent) => TaskFilter { agent: Some(agent.clone()), ..filter },
        HaltScope::Label { key, value } => {
            TaskFilter { labels: vec![(key.clone(), value.clone())], ..filter }
        }
    }
}

/// The places of the next page of tasks; tries until it can be read.
async fn next_page(
    runtime: &Runtime,
    filter: &TaskFilter,
    after: Option<PageAfter>,
) -> Option<Vec<PageAfter>> {
    loop {
        let (store, filter) = (Arc::clone(&runtime.0.store), filter.clone());
        let page = runtime.0.hands.run(move || {
            let rows = store.list(&filter, after, PAGE)?;
            Ok(rows.into_iter().map(|row| PageAfter { created_at: row.created_at, task: row.task }).collect())
        });
        match page.await.and_then(|page: Result<Vec<_>, StoreError>| page) {
            Ok(page) => return Some(page),
            Err(error) => tracing::warn!(%error, "tasks under a halt cannot be listed: trying again"),
        }
        runtime.0.now.wait(Some(runtime.0.now.read().plus(AGAIN))).await;
    }
}

/// Ends these tasks, many at once, and counts those that ended by it.
async fn end(runtime: &Runtime, halt: &Halt, tasks: Vec<TaskId>, told: bool) {
    let mut running = JoinSet::new();
    let mut tasks = tasks.into_iter();
    loop {
        while running.len() < AT_ONCE
            && let Some(task) = tasks.next()
        {
            let (runtime, halt) = (runtime.clone(), HaltMark::from(halt));
            running.spawn(async move { end_one(&runtime, task, halt, told).await });
        }
        match running.join_next().await {
            Some(Ok(true)) => drop(runtime.0.halts.note(halt, |halt| halt.ended += 1)),
            Some(_) => {}
            None => return,
        }
    }
}

/// Ends one task; tries until it is decided, or cannot be. Says whether it ended by this.
async fn end_one(runtime: &Runtime, task: TaskId, halt: HaltMark, told: bool) -> bool {
    loop {
        let command = Command::Halt { halt: halt.clone(), told };
        match runtime.decide(task, command).await {
            Ok(outcome) => return outcome.reply == Reply::Cancelled { already_ended: false },
            Err(CommandError::Overloaded(_) | CommandError::Store(_)) => {}
            Err(
                CommandError::NotFound { .. }
                | CommandError::Rejected(_)
                | CommandError::Halted(_)
                | CommandError::ShuttingDown,
            ) => return false,
        }
        runtime.0.now.wait(Some(runtime.0.now.read().plus(AGAIN))).await;
    }
}
