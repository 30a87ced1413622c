//! What a worker says under a lease, until it is durable. Most of it is one question to one shard; an answer to a turn that
//! takes a longer check is a future in a box.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::future::BoxFuture;

use super::{Runtime, asking::Asking, lease::no_such_lease};
use crate::{
    engine::{
        answer_checks::AnswerChecks,
        command::{Command, Findings, Rejection, Reply},
    },
    runtime::{CommandError, Grant, Overloaded, shard::Answered, shard::QUEUE_RETRY},
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

/// What came of what was said. Durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Recorded.
    Progressed,
    /// Recorded; the allowance now, in tokens. 0: the lease is not live.
    Usage(u64),
    /// What was granted.
    Budget(Grant),
    /// Answered; whether this very answer had been accepted before.
    Completed {
        /// Whether it had.
        repeated: bool,
    },
}

/// What was said, on its way to the journal.
#[must_use = "whoever drops it hears nothing"]
pub struct Saying(State);

enum State {
    Asked(Asking<Answered, CommandError>, Kind),
    Checked(BoxFuture<'static, Result<Heard, CommandError>>),
}

enum Kind {
    Progress,
    Usage,
    Budget,
    Complete(Runtime, Lease, Arc<Answer>),
}

impl Kind {
    /// A lease that is not live any more has room for nothing.
    fn heard(&self, reply: &Reply) -> Heard {
        match (self, reply) {
            (Self::Progress, _) => Heard::Progressed,
            (Self::Usage, Reply::UsageRecorded { allowance }) => Heard::Usage(*allowance),
            (Self::Usage, _) => Heard::Usage(0),
            (Self::Budget, Reply::Budget { granted, allowance, left }) => {
                Heard::Budget(Grant { granted: *granted, allowance: *allowance, left: *left })
            }
            (Self::Budget, _) => Heard::Budget(Grant { granted: 0, allowance: 0, left: 0 }),
            (Self::Complete(..), reply) => completed(reply),
        }
    }
}

const fn completed(reply: &Reply) -> Heard {
    Heard::Completed { repeated: matches!(reply, Reply::Completed { repeated: true }) }
}

impl Future for Saying {
    type Output = Result<Heard, CommandError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Asked(asked, kind) = &mut self.0 {
            let answered = ready!(Pin::new(asked).poll(cx)).map_err(no_such_lease)?;
            let wanted = match answered {
                Answered::Decided(outcome) => return Poll::Ready(Ok(kind.heard(&outcome.reply))),
                Answered::Check(wanted) => wanted,
            };
            let Kind::Complete(runtime, lease, answer) = kind else {
                // Only answers to turns are checked.
                return Poll::Ready(Err(CommandError::Rejected(Rejection::LeaseUnknown)));
            };
            let (runtime, lease, answer) = (runtime.clone(), *lease, Arc::clone(answer));
            self.0 = State::Checked(Box::pin(runtime.put_checked(lease, answer, Some(*wanted))));
        }
        match &mut self.0 {
            State::Checked(checked) => checked.as_mut().poll(cx),
            State::Asked(..) => Poll::Pending,
        }
    }
}

impl Runtime {
    fn say(&self, lease: Lease, command: Command, kind: Kind) -> Saying {
        self.0.dispatch.heard_under(&lease, self.0.now.read());
        Saying(State::Asked(self.command(lease.task, command, None), kind))
    }

    /// Says steps and a partial result. The answer comes when they are durable.
    pub fn say_progress(&self, lease: Lease, steps: Vec<WorkStep>, partial: Option<Payload>) -> Saying {
        self.say(lease, Command::Progress { lease, steps, partial }, Kind::Progress)
    }

    /// Says cumulative usage, priced by the model's name.
    pub fn say_usage(&self, lease: Lease, usage: Usage, model: &str) -> Saying {
        let (usage, priced) = self.priced(usage, model);
        self.say(lease, Command::Usage { lease, usage, priced }, Kind::Usage)
    }

    /// Asks for a greater allowance, in tokens, and says what for (may be empty).
    pub fn say_budget(&self, lease: Lease, tokens: u64, reason: String) -> Saying {
        self.say(lease, Command::RequestBudget { lease, tokens, reason }, Kind::Budget)
    }

    /// Answers the turn.
    pub fn say_complete(&self, lease: Lease, mut answer: Answer, model: &str) -> Saying {
        self.0.dispatch.heard_under(&lease, self.0.now.read());
        let mut first = None;
        if let Some(usage) = usage_of(&mut answer) {
            let (priced_usage, priced) = self.priced(*usage, model);
            *usage = priced_usage;
            // Under a budget of money, a model without a price must not slip in with the answer: it is reported first.
            if !priced && !self.0.options.prices.is_empty() {
                first = Some(Command::Usage { lease, usage: priced_usage, priced });
            }
        }
        let (answer, checks, runtime) = (Arc::new(answer), self.0.dispatch.checks_of(&lease), self.clone());
        if let Some(first) = first {
            return Saying(State::Checked(Box::pin(async move {
                runtime.decide(lease.task, first).await.map_err(no_such_lease)?;
                runtime.put_checked(lease, answer, checks).await
            })));
        }
        let Some(findings) = self.found_at_once(checks.as_ref(), &answer) else {
            return Saying(State::Checked(Box::pin(runtime.put_checked(lease, answer, checks))));
        };
        let command = Command::Complete { lease, answer: Arc::clone(&answer), findings };
        let asked = self.command(lease.task, command, checks);
        Saying(State::Asked(asked, Kind::Complete(runtime, lease, answer)))
    }

    /// What is found against an answer without a wait; `None`: that takes one. Nothing, where it is not known what to hold it
    /// against.
    fn found_at_once(&self, checks: Option<&AnswerChecks>, answer: &Answer) -> Option<Findings> {
        match checks {
            Some(checks) => self.0.answer_check.at_once(checks, answer),
            None => Some(Findings::default()),
        }
    }

    /// Checks an answer and puts it to its task, until it was held against what the task wants.
    async fn put_checked(
        self,
        lease: Lease,
        answer: Arc<Answer>,
        mut checks: Option<AnswerChecks>,
    ) -> Result<Heard, CommandError> {
        for _ in 0..MAX_CHECKS {
            let findings = match (self.found_at_once(checks.as_ref(), &answer), &checks) {
                (None, Some(checks)) => self.0.answer_check.findings(checks, &answer).await?,
                (found, _) => found.unwrap_or_default(),
            };
            let command = Command::Complete { lease, answer: Arc::clone(&answer), findings };
            match self.command(lease.task, command, checks).await.map_err(no_such_lease)? {
                Answered::Decided(outcome) => return Ok(completed(&outcome.reply)),
                Answered::Check(wanted) => checks = Some(*wanted),
            }
        }
        Err(Overloaded::new(QUEUE_RETRY, "the answer could not be checked in time").into())
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
