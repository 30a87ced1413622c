//! What a worker says under a lease, parsed and carried out: the same for the stream and for the unary calls.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

pub(crate) use crate::runtime::Heard as Reply;
use crate::{
    pb,
    runtime::{CommandError, Runtime, Saying},
    types::{
        envelope::{Answer, WorkStep},
        ids::Lease,
        limits::fixed::MAX_WORK_STEPS,
        payload::Payload,
        usage::{MAX_REPORTED_TOKENS, Usage},
    },
};

use super::{
    convert::{answer, faults::Faults},
    lanes::Absorb,
    status::Fault,
};

/// The longest reason of a request for budget, in bytes.
const MAX_REASON_BYTES: usize = 1 << 10;

/// One thing said under a lease.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The lease.
    pub(crate) lease: Lease,
    job: Job,
}

#[derive(Debug, Clone)]
enum Job {
    Progress { steps: Vec<WorkStep>, partial: Option<Payload> },
    Usage { usage: Usage, model: String },
    Budget { tokens: u64, reason: String },
    Complete { answer: Box<Answer>, model: String },
}

/// A call with the messages that it answers.
#[derive(Debug)]
pub(crate) struct Said {
    /// Their ids, in order.
    pub(crate) ids: Vec<i64>,
    /// The call.
    pub(crate) call: Call,
}

/// Messages that one call may stand for: bounds what a flood can pile up behind a commit.
const MAX_MERGED: usize = 256;

impl Absorb for Said {
    /// Usage is cumulative, so the greater figures stand for both; steps of progress follow each other.
    fn absorb(&mut self, later: Self) -> Result<(), Self> {
        if self.ids.len() >= MAX_MERGED {
            return Err(later);
        }
        let merged = match (&mut self.call.job, &later.call.job) {
            (Job::Usage { usage, model }, Job::Usage { usage: more, model: same }) if model == same => {
                *usage = usage.max(*more);
                true
            }
            (Job::Progress { steps, partial }, Job::Progress { steps: more, partial: newer })
                if steps.len() + more.len() <= MAX_WORK_STEPS =>
            {
                steps.extend_from_slice(more);
                if newer.is_some() {
                    partial.clone_from(newer);
                }
                true
            }
            _ => false,
        };
        if !merged {
            return Err(later);
        }
        self.ids.extend(later.ids);
        Ok(())
    }

    /// Usage and progress say nothing about each other. An answer and a wish for budget keep their place.
    fn may_be_passed_by(&self, later: &Self) -> bool {
        let is_report = |job: &Job| matches!(job, Job::Usage { .. } | Job::Progress { .. });
        is_report(&self.call.job) && is_report(&later.call.job)
    }
}

/// A refusal, and the lease it was about, if one could be read.
pub(crate) type Refused = (Option<Lease>, Fault);

/// The lease of a message. A text that is no lease names none that was ever granted.
pub(crate) fn lease(text: &str) -> Result<Lease, Fault> {
    if text.is_empty() {
        return Err(Fault::field("lease", "is required: the lease of the Assignment, unchanged"));
    }
    text.parse().map_err(|_| Fault::Rejected(crate::engine::command::Rejection::LeaseUnknown))
}

/// Parses a progress report.
pub(crate) fn progress(wire: pb::Progress) -> Result<Call, Refused> {
    let pb::Progress { lease: text, steps, partial_result } = wire;
    let lease = lease(&text).map_err(|fault| (None, fault))?;
    let mut faults = Faults::default();
    let steps = answer::work_steps(steps, &mut faults);
    let partial = faults.payload("progress.partial_result", partial_result.as_ref());
    finish(lease, faults, Job::Progress { steps, partial })
}

/// Parses a usage report.
pub(crate) fn usage(wire: pb::UsageReport) -> Result<Call, Refused> {
    let pb::UsageReport { lease: text, usage } = wire;
    let lease = lease(&text).map_err(|fault| (None, fault))?;
    let mut faults = Faults::default();
    let Some(usage) = usage else {
        return Err((Some(lease), Fault::field("usage", "is required: cumulative for the attempt")));
    };
    let (usage, model) = answer::usage("usage", usage, &mut faults);
    finish(lease, faults, Job::Usage { usage, model })
}

/// Parses a request for budget.
pub(crate) fn budget(wire: pb::BudgetRequest) -> Result<Call, Refused> {
    let pb::BudgetRequest { lease: text, tokens, reason } = wire;
    let lease = lease(&text).map_err(|fault| (None, fault))?;
    let mut faults = Faults::default();
    faults.text("budget_request.reason", &reason, MAX_REASON_BYTES);
    let asked = u64::try_from(tokens).unwrap_or(0);
    if !(1..=MAX_REPORTED_TOKENS).contains(&asked) {
        let bounds = format!("is {tokens}: write a number from 1 to {MAX_REPORTED_TOKENS}");
        faults.add("budget_request.tokens", bounds);
    }
    finish(lease, faults, Job::Budget { tokens: asked, reason })
}

/// Parses an answer.
pub(crate) fn complete(wire: pb::Complete) -> Result<Call, Refused> {
    let pb::Complete { lease: text, answer: wire } = wire;
    let lease = lease(&text).map_err(|fault| (None, fault))?;
    match answer::answer(wire) {
        Ok((answer, model)) => Ok(Call { lease, job: Job::Complete { answer: Box::new(answer), model } }),
        Err(violations) => Err((Some(lease), Fault::InvalidMessage(violations))),
    }
}

fn finish(lease: Lease, faults: Faults, job: Job) -> Result<Call, Refused> {
    let call = faults.finish(Some(Call { lease, job }));
    call.map_err(|violations| (Some(lease), Fault::InvalidMessage(violations)))
}

impl Call {
    /// Begins to carry it out. It comes to an end when it is durable.
    pub(crate) fn run(self, runtime: &Runtime) -> Running {
        let Self { lease, job } = self;
        Running(match job {
            Job::Progress { steps, partial } => runtime.say_progress(lease, steps, partial),
            Job::Usage { usage, model } => runtime.say_usage(lease, usage, &model),
            Job::Budget { tokens, reason } => runtime.say_budget(lease, tokens, reason),
            Job::Complete { answer, model } => runtime.say_complete(lease, *answer, &model),
        })
    }
}

/// A call that has begun.
pub(crate) struct Running(Saying);

impl Future for Running {
    type Output = Result<Reply, Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(under_lease)
    }
}

/// The fault of a call under a lease: a task that is not there means a lease that was never granted.
pub(crate) fn under_lease(error: CommandError) -> Fault {
    match error {
        CommandError::NotFound { .. } => Fault::Rejected(crate::engine::command::Rejection::LeaseUnknown),
        other => other.into(),
    }
}
