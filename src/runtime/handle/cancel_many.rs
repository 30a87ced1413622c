//! Cancelling many tasks: a page at a time, many at once within it.

use std::{collections::BTreeMap, sync::Arc};

use tokio::task::JoinSet;

use super::Runtime;
use crate::{
    runtime::{CommandError, ReadError},
    store::record::{PageAfter, TaskFilter},
    types::{ids::TaskId, outcome::TaskState, time::Span},
};

/// Tasks a page.
const PAGE: usize = 512;
/// Of them, cancelled at once.
const AT_ONCE: usize = 256;
/// How often one is put to a shard that is full.
const TRIES: u32 = 50;
/// How long to wait before the next try.
const AGAIN: Span = Span::from_millis(100);

/// What came of a page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CancelPage {
    /// Tasks that fitted, by the state in which they were found.
    pub found: BTreeMap<TaskState, u64>,
    /// Of them: ended by this.
    pub cancelled: u64,
    /// Ended by themselves just before.
    pub already_ended: u64,
    /// Could not be ended.
    pub failed: u64,
    /// Why the first of those could not.
    pub first_failure: Option<String>,
    /// Where to go on; `None`: it was the last page.
    pub next: Option<PageAfter>,
}

impl Runtime {
    /// Cancels the tasks of the next page that fit, each as `cancel` does, or only counts them.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn cancel_page(
        &self,
        filter: &TaskFilter,
        after: Option<PageAfter>,
        reason: &str,
        dry_run: bool,
    ) -> Result<CancelPage, ReadError> {
        let (store, filter) = (Arc::clone(&self.0.store), filter.clone());
        let list = move || {
            let rows = store.list(&filter, after, PAGE)?;
            Ok::<_, ReadError>(
                rows.iter().map(|row| (row.created_at, row.task, row.state)).collect::<Vec<_>>(),
            )
        };
        let rows = self.0.hands.run(list).await??;
        let last =
            rows.last().map(|(created_at, task, _)| PageAfter { created_at: *created_at, task: *task });
        let mut page = CancelPage { next: last.filter(|_| rows.len() == PAGE), ..CancelPage::default() };
        for (_, _, state) in &rows {
            *page.found.entry(*state).or_default() += 1;
        }
        if !dry_run {
            self.cancel_these(rows.iter().map(|(_, task, _)| *task), reason, &mut page).await;
        }
        Ok(page)
    }

    async fn cancel_these(&self, tasks: impl Iterator<Item = TaskId>, reason: &str, page: &mut CancelPage) {
        let mut tasks = tasks;
        let mut running = JoinSet::new();
        loop {
            while running.len() < AT_ONCE
                && let Some(task) = tasks.next()
            {
                let (runtime, reason) = (self.clone(), reason.to_owned());
                running.spawn(async move { runtime.cancel_patiently(task, &reason).await });
            }
            let Some(done) = running.join_next().await else { return };
            match done {
                Ok(Ok(true)) => page.already_ended += 1,
                Ok(Ok(false)) => page.cancelled += 1,
                Ok(Err(error)) => page.fails(error.to_string()),
                Err(error) => page.fails(error.to_string()),
            }
        }
    }

    async fn cancel_patiently(&self, task: TaskId, reason: &str) -> Result<bool, CommandError> {
        for _ in 1..TRIES {
            match self.cancel(task, reason.to_owned()).await {
                Err(CommandError::Overloaded(_)) => {}
                done => return done.map(|cancelled| cancelled.already_ended),
            }
            self.0.now.wait(Some(self.0.now.read().plus(AGAIN))).await;
        }
        self.cancel(task, reason.to_owned()).await.map(|cancelled| cancelled.already_ended)
    }
}

impl CancelPage {
    fn fails(&mut self, why: String) {
        self.failed += 1;
        self.first_failure.get_or_insert(why);
    }
}
