//! Dead letters: listed, looked at, redriven, discarded.

use std::{collections::BTreeSet, sync::Arc};

use super::{FULL_RETRY, Runtime};
use crate::{
    engine::{
        command::{Command, Reply},
        dead_letter::{Discarded, Redriven},
        event::TraceContext,
    },
    runtime::{
        CommandError, Overloaded, ReadError, Submitted,
        dead_letters::{self, DeadLetterFilter, DeadLetterPage, DeadLetterStory},
        intake::Full,
        shard::{Redrive, Request},
    },
    store::record::PageAfter,
    types::{
        contract::Contract,
        ids::{AgentName, TaskId},
    },
};

/// A redrive, complete: the successor's contract has passed intake.
#[derive(Debug, Clone, PartialEq)]
pub struct RedriveOf {
    /// The dead letter.
    pub task: TaskId,
    /// The successor's contract.
    pub contract: Contract,
    /// Hash of it as it stands.
    pub fingerprint: u128,
    /// Hash of the changes that were asked for: the same again gives the same successor.
    pub asked: u128,
    /// The fields that differ, a line each.
    pub changes: Vec<String>,
    /// Who.
    pub by: String,
    /// What they note.
    pub note: String,
    /// The trace context of the request.
    pub trace: TraceContext,
}

/// A discard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discard {
    /// Who.
    pub by: String,
    /// What they note.
    pub note: String,
}

impl Runtime {
    /// Dead letters that fit, newest first, at most `limit`, each with its story; of the attempts the newest few.
    ///
    /// # Errors
    /// The store failed.
    pub async fn dead_letters(
        &self,
        filter: DeadLetterFilter,
        after: Option<PageAfter>,
        limit: usize,
    ) -> Result<DeadLetterPage, ReadError> {
        let store = Arc::clone(&self.0.store);
        Ok(self.0.hands.run(move || dead_letters::page(&*store, &filter, after, limit)).await??)
    }

    /// The ids of dead letters that fit, newest first, at most `limit`; and where to go on, if there may be more.
    ///
    /// # Errors
    /// The store failed.
    pub async fn dead_letter_ids(
        &self,
        filter: DeadLetterFilter,
        after: Option<PageAfter>,
        limit: usize,
    ) -> Result<(Vec<TaskId>, Option<PageAfter>), ReadError> {
        let store = Arc::clone(&self.0.store);
        Ok(self.0.hands.run(move || dead_letters::ids(&*store, &filter, after, limit)).await??)
    }

    /// Agents that a worker serves now.
    pub fn served(&self) -> BTreeSet<AgentName> {
        self.0.registry.served_now()
    }

    /// One dead letter with its whole story; `None`: there is no such task, or it is no dead letter.
    ///
    /// # Errors
    /// The store failed.
    pub async fn dead_letter(&self, task: TaskId) -> Result<Option<DeadLetterStory>, ReadError> {
        let store = Arc::clone(&self.0.store);
        Ok(self.0.hands.run(move || dead_letters::story(&*store, task, dead_letters::MAX_ATTEMPTS)).await??)
    }

    /// Dead letters that nothing was done with yet.
    ///
    /// # Errors
    /// The store failed.
    pub async fn open_dead_letters(&self) -> Result<u64, ReadError> {
        let store = Arc::clone(&self.0.store);
        Ok(self.0.hands.run(move || dead_letters::open(&*store)).await??)
    }

    /// Makes a successor of a dead letter. Returns when both are durable. The same redrive again gives the same successor.
    ///
    /// # Errors
    /// See [`CommandError`]. After `Store` and `Overloaded` the same may be sent again.
    pub async fn redrive(&self, redrive: RedriveOf) -> Result<Submitted, CommandError> {
        let RedriveOf { task, contract, fingerprint, asked, changes, by, note, trace } = redrive;
        if self.is_closing() {
            return Err(CommandError::ShuttingDown);
        }
        let place = self.0.intake.try_take(&contract.namespace).map_err(|full| match full {
            Full::Server => self.full(),
            Full::Namespace(limit) => {
                let what =
                    format!("namespace {} has {limit} open tasks, the most it may have", contract.namespace);
                Overloaded::new(FULL_RETRY, what)
            }
        })?;
        let contract = Arc::new(contract);
        let redriven = Redriven { successor: task.of_redrive(), fingerprint: asked, changes, by, note };
        let asked = self.ask(task, Err(CommandError::NotFound { task }), |answer| {
            let redrive = Redrive { redriven, task, contract, fingerprint, trace, place, answer };
            Request::Redrive(Box::new(redrive))
        });
        asked.await
    }

    /// Says that nothing more is to come of a dead letter. Durable on return. Whether it had been discarded before.
    ///
    /// # Errors
    /// See [`CommandError`]. After `Store` and `Overloaded` the same may be sent again.
    pub async fn discard(&self, task: TaskId, discard: Discard) -> Result<bool, CommandError> {
        let Discard { by, note } = discard;
        let command = Command::Discard(Box::new(Discarded { by, note }));
        let outcome = self.decide(task, command).await?;
        Ok(matches!(outcome.reply, Reply::Discarded { already: true }))
    }
}
