//! Starting, renewing and stopping a run: who asked is logged, whatever came of it.

use std::collections::BTreeMap;

use tokio::time::Instant;
use uuid::Uuid;

use super::{Brake, Edge, Faults, Run, Tally};
use crate::{
    runtime::Runtime,
    service::status::Fault,
    types::{
        dice::Dice,
        time::{Span, Timestamp},
    },
};

/// Brakes in one answer.
const MAX_SENT: usize = 1_000;

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StartChaos {
    /// Who asks.
    pub(crate) by: String,
    /// The labels of the tasks it is about.
    pub(crate) labels: BTreeMap<String, String>,
    /// What fails.
    pub(crate) faults: Faults,
    /// The seed.
    pub(crate) seed: u64,
    /// How long it goes on by itself.
    pub(crate) ttl: Span,
}

/// A run, as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunView {
    pub(crate) id: String,
    pub(crate) started_by: String,
    pub(crate) started_at: Timestamp,
    pub(crate) lapses_at: Timestamp,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) faults: Faults,
    pub(crate) tally: Tally,
}

impl Edge {
    /// Whether runs are forbidden here.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.0.forbidden
    }

    /// Starts a run.
    ///
    /// # Errors
    /// They are forbidden, or another one is on.
    pub(crate) fn start(&self, runtime: &Runtime, asked: StartChaos) -> Result<RunView, Fault> {
        let StartChaos { by, labels, faults, seed, ttl } = asked;
        if self.is_forbidden() {
            tracing::warn!(by, "a chaos run was asked for, and is forbidden here");
            return Err(Fault::ChaosForbidden);
        }
        let mut live = self.live();
        if let Some(run) = live.0.as_ref() {
            return Err(Fault::ChaosRunning(run.started_by.clone()));
        }
        let started_at = runtime.now();
        let run = Run {
            id: Uuid::now_v7().simple().to_string(),
            started_by: by,
            started_at,
            lapses_at: started_at.plus(ttl),
            lapses: Instant::now() + ttl.as_duration(),
            labels,
            faults,
            dice: Dice::new(seed),
            tally: Tally::default(),
            brakes: Vec::new(),
            tasks: BTreeMap::new(),
            marks: BTreeMap::new(),
        };
        tracing::warn!(run = run.id, by = run.started_by, labels = ?run.labels, faults = ?run.faults, "a chaos run starts");
        let view = run.view();
        *live.0 = Some(run);
        self.0.on.store(true, std::sync::atomic::Ordering::Relaxed);
        Ok(view)
    }

    /// Renews a run; gives it, and its brakes after the first `received`.
    ///
    /// # Errors
    /// It is not on.
    pub(crate) fn renew(
        &self,
        runtime: &Runtime,
        id: &str,
        ttl: Span,
        received: usize,
    ) -> Result<(RunView, Vec<Brake>), Fault> {
        let mut live = self.live();
        let run = live.0.as_mut().filter(|run| run.id == id).ok_or(Fault::ChaosNotRunning)?;
        run.lapses_at = runtime.now().plus(ttl);
        run.lapses = Instant::now() + ttl.as_duration();
        Ok((run.view(), run.brakes_after(received)))
    }

    /// Stops a run; gives it as it was.
    ///
    /// # Errors
    /// It is not on.
    pub(crate) fn stop(&self, id: &str, received: usize) -> Result<(RunView, Vec<Brake>), Fault> {
        let mut live = self.live();
        let run = live.0.take_if(|run| run.id == id).ok_or(Fault::ChaosNotRunning)?;
        self.0.on.store(false, std::sync::atomic::Ordering::Relaxed);
        tracing::warn!(run = run.id, by = run.started_by, tally = ?run.tally, "the chaos run was stopped");
        Ok((run.view(), run.brakes_after(received)))
    }

    /// The run that is on.
    pub(crate) fn shown(&self) -> Option<RunView> {
        self.live().0.as_ref().map(Run::view)
    }
}

impl Run {
    fn view(&self) -> RunView {
        RunView {
            id: self.id.clone(),
            started_by: self.started_by.clone(),
            started_at: self.started_at,
            lapses_at: self.lapses_at,
            labels: self.labels.clone(),
            faults: self.faults,
            tally: self.tally,
        }
    }

    fn brakes_after(&self, received: usize) -> Vec<Brake> {
        self.brakes.iter().skip(received).take(MAX_SENT).copied().collect()
    }
}
