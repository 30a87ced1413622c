//! What this server knows of the things that people must have done: read from the journal's own rows, so that nothing can
//! say otherwise. Never here: what follows from it.

use std::sync::Arc;

use super::{Runtime, codec};
use crate::{
    engine::{
        mast::working_agents,
        readiness::{Declares, Fact, ServerFacts},
    },
    store::{
        Store, StoreError,
        record::{SummaryRow, TaskFilter},
    },
    types::{
        contract::Contract,
        drill::{Drill, DrillAnswer, LABEL, LABEL_VALUE},
        ids::EscalationId,
        outcome::TaskState,
    },
};

/// How many of the newest drills are looked at: those that still wait, or were called off, are passed over.
const NEWEST: usize = 20;

impl Runtime {
    /// The facts that judging a contract needs. What cannot be read is unknown.
    pub async fn server_facts(&self, contract: &Contract) -> ServerFacts {
        let store = Arc::clone(&self.0.store);
        let last_drill = match self.0.hands.run(move || last_drill(&*store)).await {
            Ok(Ok(Some(drill))) => Fact::Last(drill),
            Ok(Ok(None)) => Fact::Never,
            Ok(Err(error)) | Err(error) => {
                tracing::warn!(%error, "the last drill cannot be read");
                Fact::Unknown
            }
        };
        let declares = |agent| Declares {
            input_schema: self.0.registry.input_schema(agent).is_some(),
            output_schema: self.0.registry.output_schema(agent).is_some(),
        };
        let agents = working_agents(contract);
        let last_chaos = self.crew_tested(&agents).await;
        let declared = agents.into_iter().map(|agent| (agent.clone(), declares(agent))).collect();
        ServerFacts { now: self.0.now.read(), last_drill, last_chaos, declared }
    }
}

/// The newest drill that is over. Blocks.
fn last_drill(store: &dyn Store) -> Result<Option<Drill>, StoreError> {
    let labels = vec![(LABEL.to_owned(), LABEL_VALUE.to_owned())];
    let rows = store.list(&TaskFilter { labels, ..TaskFilter::default() }, None, NEWEST)?;
    for row in rows.iter().filter(|row| row.state.is_end() && row.state != TaskState::Cancelled) {
        if let Some(drill) = drill(store, row)? {
            return Ok(Some(drill));
        }
    }
    Ok(None)
}

/// A drill of which somebody was asked; `None`: it ended before that, and proves nothing.
fn drill(store: &dyn Store, row: &SummaryRow) -> Result<Option<Drill>, StoreError> {
    let question = store.escalation(EscalationId { task: row.task, number: 1 })?;
    let Some(question) = question.as_ref().map(codec::escalation).transpose()? else { return Ok(None) };
    // Only people answer under a name: what has expired or was withdrawn has none.
    let answered = question.ended_at.filter(|_| !question.by.is_empty());
    let answered = answered.map(|at| DrillAnswer { by: question.by, at });
    Ok(Some(Drill { task: row.task, asked_at: question.asked_at, answered }))
}
