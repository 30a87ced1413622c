//! Submitting a child under a lease.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Runtime, lease::no_such_lease};
use crate::{
    engine::command::{Command, Rejection, Reply},
    runtime::{CommandError, Submitted, courier::Errand, shard::Outcome},
    store::StoreError,
    types::{
        contract::ContractDraft,
        halt::HaltScope,
        ids::{AgentName, Lease, TaskId},
    },
};

impl Runtime {
    /// Accepts a child of the lease's task. Returns when both the parent's word of it and the child itself are durable. The
    /// same contract under the same lease and key gives the same child.
    ///
    /// # Errors
    /// See [`CommandError`]. After `Store` and `Overloaded` the same may be sent again.
    pub async fn submit_child(
        &self,
        lease: Lease,
        draft: ContractDraft,
        fingerprint: u128,
    ) -> Result<Submitted, CommandError> {
        if self.is_closing() {
            return Err(CommandError::ShuttingDown);
        }
        self.0.dispatch.heard_under(&lease, self.0.now.read());
        self.refuse_halted_child(&lease, &draft)?;
        // A child is a task among the open ones; once its parent has it, it is made whatever the bound says.
        let _place = self.place()?;
        let name = match draft.idempotency_key.as_str() {
            "" => format!("contract {fingerprint:032x}"),
            key => format!("key {key}"),
        };
        let child = TaskId::of_child(&lease, &name, self.0.options.shards);
        let ceilings = Box::new(*self.ceilings());
        let draft = Arc::new(draft);
        let command = Command::StartChild { lease, child, draft, ceilings, fingerprint };
        let Outcome { reply, birth, .. } = self.decide(lease.task, command).await.map_err(no_such_lease)?;
        let Reply::ChildStarted { number: _, existing } = reply else {
            return Err(Rejection::LeaseUnknown.into());
        };
        if let Some(birth) = birth {
            // Behind the errand that the parent's own commit has sent: whatever comes of it is known then.
            let (made, is_made) = oneshot::channel();
            self.0.errands.send(Errand::start(*birth, Some(made)));
            is_made.await.unwrap_or_else(|_| {
                let unknown = "the server stopped before it knew whether the child was made: send it again";
                Err(StoreError::Unavailable(unknown.to_owned()).into())
            })?;
        }
        Ok(Submitted { task: child, existing })
    }

    /// A child is refused where its own contract would be, and where a label of a task above it is halted.
    fn refuse_halted_child(&self, lease: &Lease, draft: &ContractDraft) -> Result<(), CommandError> {
        let set = self.halts();
        if set.is_empty() {
            return Ok(());
        }
        let names = [Some(&draft.owner), draft.first_agent.as_ref(), Some(&draft.gate.validator)];
        let agents: Vec<AgentName> =
            names.into_iter().flatten().filter_map(|name| name.parse().ok()).collect();
        let own = draft.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let above = || {
            let halted = self.0.dispatch.label_halts(lease, &set);
            set.iter().find(|halt| halted && matches!(halt.scope, HaltScope::Label { .. })).cloned()
        };
        match set.on(&agents, own).into_iter().next().or_else(above) {
            Some(halt) => Err(CommandError::Halted(halt)),
            None => Ok(()),
        }
    }
}
