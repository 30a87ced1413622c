//! Reports under a lease: progress, usage, and the wish for more budget.

use super::Txn;
use crate::{
    engine::{
        command::{Rejection, Reply},
        event::Event,
        ledger::Pot,
        turn::{Said, Turn, progress_bytes},
    },
    types::{
        envelope::WorkStep,
        ids::{Lease, TurnNumber},
        limits::fixed,
        outcome::Cause,
        payload::Payload,
        usage::Usage,
    },
};

impl Txn<'_> {
    /// The turn of a lease that was once granted.
    pub(super) fn leased_turn(&self, lease: Lease) -> Result<&Turn, Rejection> {
        let turn = self.task.turn(lease.turn).ok_or(Rejection::LeaseUnknown)?;
        let index = usize::try_from(lease.attempt).ok().and_then(|a| a.checked_sub(1));
        match index.and_then(|i| turn.attempts.get(i)) {
            Some(attempt) if attempt.lease == lease => Ok(turn),
            Some(_) | None => Err(Rejection::LeaseUnknown),
        }
    }

    /// The turn of a lease that is live.
    pub(super) fn live_turn(&self, lease: Lease) -> Result<&Turn, Rejection> {
        let turn = self.leased_turn(lease)?;
        if turn.live().is_some_and(|live| live.lease == lease) {
            return Ok(turn);
        }
        Err(Rejection::LeaseNotLive(self.why_not_live(turn, lease)))
    }

    fn why_not_live(&self, turn: &Turn, lease: Lease) -> String {
        if let Some(outcome) = &self.task.outcome {
            return format!("the task has ended {:?}: {}", outcome.state, outcome.reason);
        }
        let index = usize::try_from(lease.attempt).unwrap_or(0).saturating_sub(1);
        match turn.attempts.get(index) {
            Some(attempt) if !attempt.ended.is_empty() => attempt.ended.clone(),
            Some(_) | None => "the turn has been answered".to_owned(),
        }
    }

    pub(super) fn progress(
        &mut self,
        lease: Lease,
        steps: Vec<WorkStep>,
        partial: Option<Payload>,
    ) -> Result<Reply, Rejection> {
        let said = self.said(lease)?;
        let bytes = said.bytes.saturating_add(progress_bytes(&steps, partial.as_ref()));
        if said.reports >= fixed::MAX_PROGRESS_REPORTS || bytes > fixed::MAX_PROGRESS_BYTES {
            let most = format!("{} progress reports with {} bytes", said.reports, said.bytes);
            return Err(Rejection::TooManyReports(most));
        }
        if !steps.is_empty() || partial.is_some() {
            self.emit(Event::Progressed { turn: lease.turn, attempt: lease.attempt, steps, partial });
            self.ask_guards(lease.turn);
        }
        Ok(Reply::Done)
    }

    /// What the live attempt of a lease has said.
    fn said(&self, lease: Lease) -> Result<Said, Rejection> {
        let turn = self.live_turn(lease)?;
        Ok(turn.live().map(|live| live.said).unwrap_or_default())
    }

    pub(super) fn usage(&mut self, lease: Lease, usage: Usage, priced: bool) -> Result<Reply, Rejection> {
        let is_live = self.leased_turn(lease)?.live().is_some_and(|live| live.lease == lease);
        if !is_live {
            self.late_usage(lease, usage);
            return Ok(Reply::UsageRecorded { allowance: 0 });
        }
        let key = (lease.turn, lease.attempt);
        if self.task.ledger.is_news(key, usage) {
            self.emit(Event::UsageRecorded { turn: lease.turn, attempt: lease.attempt, usage });
        }
        let allowance = self.task.ledger.allowance(key);
        if let Some(evidence) = self.overspent(lease, priced) {
            self.trip(Cause::Budget, evidence);
            return Ok(Reply::UsageRecorded { allowance: 0 });
        }
        Ok(Reply::UsageRecorded { allowance })
    }

    /// A fence refuses results, never usage. What is heard late and goes beyond the grant stops what works on it now.
    pub(super) fn late_usage(&mut self, lease: Lease, usage: Usage) {
        let key = (lease.turn, lease.attempt);
        if !self.task.ledger.is_news(key, usage) {
            return;
        }
        let overrun_before = self.task.ledger.overrun();
        self.emit(Event::LateUsage { turn: lease.turn, attempt: lease.attempt, usage, child: None });
        let beyond = self.task.ledger.overrun() - overrun_before;
        if beyond > 0 && self.works() {
            let turn = lease.turn;
            self.trip(
                Cause::Budget,
                format!("turn {turn} is heard to have spent {beyond} tokens beyond the grant"),
            );
        }
    }

    /// Whether work goes on, so that there is something to stop: not while the owner or a person decides.
    pub(super) fn works(&self) -> bool {
        !self.task.is_ended() && !self.task.open.is_empty() && self.task.open_decide().is_none()
    }

    /// Why a live attempt must be killed, if it must.
    fn overspent(&self, lease: Lease, priced: bool) -> Option<String> {
        let ledger = &self.task.ledger;
        let key = (lease.turn, lease.attempt);
        let (spent, allowance) = (ledger.spent_by(key), ledger.allowance(key));
        let agent = self.task.turn(lease.turn).map(|t| t.agent.to_string()).unwrap_or_default();
        if spent > allowance {
            return Some(format!(
                "turn {} of {agent} has spent {spent} tokens of an allowance of {allowance}",
                lease.turn
            ));
        }
        if ledger.is_cost_exceeded() {
            return Some("the task has cost more than max_cost_nano_usd".to_owned());
        }
        if !priced && self.task.contract.budget.max_cost_nano_usd.is_some() {
            return Some(format!("turn {} of {agent} used a model without a price", lease.turn));
        }
        None
    }

    /// Why the guard must trip now that an attempt has been settled, if it must. `overrun_before` is the overrun before that.
    pub(super) fn beyond_budget(&self, turn: TurnNumber, overrun_before: u64) -> Option<String> {
        let ledger = &self.task.ledger;
        let overrun = ledger.overrun() - overrun_before;
        if overrun > 0 {
            return Some(format!("turn {turn} was answered {overrun} tokens beyond the grant"));
        }
        ledger.is_cost_exceeded().then(|| "the task has cost more than max_cost_nano_usd".to_owned())
    }

    pub(super) fn request_budget(
        &mut self,
        lease: Lease,
        tokens: u64,
        reason: String,
    ) -> Result<Reply, Rejection> {
        let agent = self.live_turn(lease)?.agent.clone();
        let said = self.said(lease)?;
        if said.budget_requests >= fixed::MAX_BUDGET_REQUESTS {
            return Err(Rejection::TooManyReports(format!("{} requests for budget", said.budget_requests)));
        }
        let key = (lease.turn, lease.attempt);
        let ledger = &self.task.ledger;
        let pot_free = match ledger.pot(key) {
            Some(Pot::Finalization) => self.task.decision_free(),
            Some(Pot::Validation) => ledger.validation_free(),
            Some(Pot::Main | Pot::Plan(_)) | None => ledger.main_free(),
        };
        let left = pot_free.min(ledger.agent_free(&agent));
        let granted = if tokens <= left { tokens } else { 0 };
        let allowance = ledger.allowance(key) + granted;
        let left = left - granted;
        let (turn, attempt) = key;
        self.emit(Event::BudgetAnswered { turn, attempt, asked: tokens, granted, allowance, left, reason });
        Ok(Reply::Budget { granted, allowance, left })
    }
}
