//! A submission from its contract to its acknowledgement. Most contracts are checked where they stand and are then one question to
//! one shard; what takes longer is a future in a box. Never here: what a contract must have.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::future::BoxFuture;

use crate::{
    pb,
    runtime::{Asking, SubmitError, Submitted},
};

use super::status::Fault;

/// What is done when a submission is.
type Submission = Result<pb::SubmitTaskResponse, Fault>;

/// A submission under way. It has begun, whether it is awaited or not.
pub(super) struct Submitting(State);

enum State {
    Asked(Asking<Submitted, SubmitError>),
    Longer(BoxFuture<'static, Submission>),
    /// Taken when it is told.
    Refused(Option<Box<Fault>>),
}

impl Submitting {
    /// It was refused.
    pub(super) fn refused(fault: Fault) -> Self {
        Self(State::Refused(Some(Box::new(fault))))
    }

    /// A shard has it.
    pub(super) const fn asked(asked: Asking<Submitted, SubmitError>) -> Self {
        Self(State::Asked(asked))
    }

    /// It takes longer.
    pub(super) fn longer(work: impl Future<Output = Submission> + Send + 'static) -> Self {
        Self(State::Longer(Box::pin(work)))
    }
}

impl Future for Submitting {
    type Output = Submission;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Submission> {
        match &mut self.0 {
            State::Asked(asked) => Poll::Ready(Ok(accepted(ready!(Pin::new(asked).poll(cx))?))),
            State::Longer(work) => work.as_mut().poll(cx),
            State::Refused(fault) => match fault.take() {
                Some(fault) => Poll::Ready(Err(*fault)),
                None => Poll::Pending,
            },
        }
    }
}

/// The answer to who has submitted.
pub(super) fn accepted(submitted: Submitted) -> pb::SubmitTaskResponse {
    let Submitted { task, existing } = submitted;
    pb::SubmitTaskResponse { task_id: task.to_string(), existing }
}
