//! What a worker says under a lease, over any session or none. All of it may be sent again without harm.

use std::sync::Arc;

use super::Runtime;
use crate::{
    engine::command::{Command, Findings, LineageEntry, Rejection, Reply},
    runtime::{
        CommandError, Grant, Overloaded,
        shard::{Answered, QUEUE_RETRY, Request},
    },
    types::{
        envelope::{Answer, WorkStep},
        ids::Lease,
        payload::Payload,
        usage::Usage,
    },
};

/// How often an answer is put to its task: what it must be checked against may not be known at first, and has changed at
/// most once.
const MAX_CHECKS: usize = 3;

impl Runtime {
    /// Puts a command under a lease to its task.
    async fn under(&self, lease: Lease, command: Command) -> Result<Reply, CommandError> {
        self.0.dispatch.heard_under(&lease, self.0.now.read());
        self.decide(lease.task, command).await.map(|outcome| outcome.reply).map_err(no_such_lease)
    }

    /// Records steps and a partial result. Returns when durable.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn progress(
        &self,
        lease: Lease,
        steps: Vec<WorkStep>,
        partial: Option<Payload>,
    ) -> Result<(), CommandError> {
        self.under(lease, Command::Progress { lease, steps, partial }).await.map(drop)
    }

    /// Records cumulative usage, priced by the model's name. Returns the allowance now, in tokens; 0 when the lease is not
    /// live.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn usage(&self, lease: Lease, usage: Usage, model: String) -> Result<u64, CommandError> {
        let (usage, priced) = self.priced(usage, &model);
        match self.under(lease, Command::Usage { lease, usage, priced }).await? {
            Reply::UsageRecorded { allowance } => Ok(allowance),
            _ => Ok(0),
        }
    }

    /// Asks for a greater allowance, in tokens, and says what for (may be empty).
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn request_budget(
        &self,
        lease: Lease,
        tokens: u64,
        reason: String,
    ) -> Result<Grant, CommandError> {
        match self.under(lease, Command::RequestBudget { lease, tokens, reason }).await? {
            Reply::Budget { granted, allowance, left } => Ok(Grant { granted, allowance, left }),
            _ => Ok(Grant { granted: 0, allowance: 0, left: 0 }),
        }
    }

    /// Answers the turn. Returns when durable: whether this very answer had been accepted before.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn complete(
        &self,
        lease: Lease,
        mut answer: Answer,
        model: String,
    ) -> Result<bool, CommandError> {
        self.0.dispatch.heard_under(&lease, self.0.now.read());
        if let Some(usage) = usage_of(&mut answer) {
            let (priced_usage, priced) = self.priced(*usage, &model);
            *usage = priced_usage;
            // Under a budget of money, a model without a price must not slip in with the answer: it is reported first.
            if !priced && !self.0.options.prices.is_empty() {
                Box::pin(self.under(lease, Command::Usage { lease, usage: priced_usage, priced })).await?;
            }
        }
        let answer = Arc::new(answer);
        let mut checks = self.0.dispatch.checks_of(&lease);
        for _ in 0..MAX_CHECKS {
            let findings = match &checks {
                Some(checks) => match self.0.answer_check.at_once(checks, &answer) {
                    Some(findings) => findings,
                    None => Box::pin(self.0.answer_check.findings(checks, &answer)).await?,
                },
                None => Findings::default(),
            };
            let command = Command::Complete { lease, answer: Arc::clone(&answer), findings };
            match self.command(lease.task, command, checks).await.map_err(no_such_lease)? {
                Answered::Decided(outcome) => {
                    return Ok(matches!(outcome.reply, Reply::Completed { repeated: true }));
                }
                Answered::Check(wanted) => checks = Some(*wanted),
            }
        }
        Err(Overloaded::new(QUEUE_RETRY, "the answer could not be checked in time").into())
    }

    /// The whole lineage that a live lease may read: dependencies first, then all others, oldest first within each.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn lineage(&self, lease: Lease) -> Result<Vec<LineageEntry>, CommandError> {
        self.0.dispatch.heard_under(&lease, self.0.now.read());
        let asked = self.ask(lease.task, |answer| Request::Lineage(lease, answer)).await;
        asked.unwrap_or(Err(CommandError::NotFound { task: lease.task })).map_err(no_such_lease)
    }

    /// The usage with its cost by the server's table, and whether the model has a price there.
    fn priced(&self, usage: Usage, model: &str) -> (Usage, bool) {
        let cost = self.0.options.prices.cost(model, &usage);
        (Usage { cost_nano_usd: cost.unwrap_or(0), ..usage }, cost.is_some())
    }
}

const fn usage_of(answer: &mut Answer) -> Option<&mut Usage> {
    match answer {
        Answer::Envelope(envelope) => envelope.usage.as_mut(),
        Answer::Decision { usage, .. } => usage.as_mut(),
        Answer::Verdict(verdict) => verdict.usage.as_mut(),
    }
}

/// A lease of a task that never was is no lease.
pub(super) fn no_such_lease(error: CommandError) -> CommandError {
    match error {
        CommandError::NotFound { .. } => CommandError::Rejected(Rejection::LeaseUnknown),
        other => other,
    }
}
