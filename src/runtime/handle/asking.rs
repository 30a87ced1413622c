//! What was asked of a shard, until it answers. Small, since thousands of these wait for a commit at a time; dropping one is
//! going away. Never here: what the question was.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use super::{Refusal, Runtime};
use crate::{
    runtime::shard::{NotSent, Request, Ticket},
    store::StoreError,
    types::ids::TaskId,
};

/// An answer to come. Asked already, whether it is awaited or not.
#[must_use = "whoever drops it hears nothing, and what was not begun is not done"]
pub struct Asking<T, E>(State<T, E>);

enum State<T, E> {
    /// Its place in the queue is kept as long as it waits.
    Waits { answered: oneshot::Receiver<Result<T, E>>, _ticket: Option<Ticket> },
    /// Taken when it is told.
    Known(Option<Box<Result<T, E>>>),
}

impl<T, E> Asking<T, E> {
    /// An answer that is known without a question.
    pub(super) fn known(answer: Result<T, E>) -> Self {
        Self(State::Known(Some(Box::new(answer))))
    }
}

impl<T, E: Refusal> Future for Asking<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        match &mut self.0 {
            State::Waits { answered, .. } => Pin::new(answered).poll(cx).map(|answer| {
                answer.unwrap_or_else(|_| {
                    let unknown =
                        "the server stopped before it knew whether this was kept: ask when it is back";
                    Err(StoreError::Unavailable(unknown.to_owned()).into())
                })
            }),
            State::Known(answer) => match answer.take() {
                Some(answer) => Poll::Ready(*answer),
                None => Poll::Pending,
            },
        }
    }
}

impl<T, E> Unpin for Asking<T, E> {}

impl Runtime {
    /// Asks the task's shard. `absent` is the answer where there is no such shard, and so no such task.
    pub(in crate::runtime) fn ask<T, E: Refusal>(
        &self,
        task: TaskId,
        absent: Result<T, E>,
        request: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Request,
    ) -> Asking<T, E> {
        let Some(mailbox) = self.0.mailboxes.get(usize::from(task.shard())) else {
            return Asking::known(absent);
        };
        let (answer, answered) = oneshot::channel();
        match mailbox.send(request(answer)) {
            Ok(ticket) => Asking(State::Waits { answered, _ticket: ticket }),
            Err(NotSent::Full(overloaded)) => Asking::known(Err(overloaded.into())),
            Err(NotSent::Closed) => Asking::known(Err(E::SHUTTING_DOWN)),
        }
    }
}
