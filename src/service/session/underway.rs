//! What a worker has said, until it is durable. A session has hundreds of these, so they are small. Never here: what follows.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::future::BoxFuture;

use crate::{
    service::{
        status::Fault,
        work::{self, Reply},
    },
    types::ids::Lease,
};

/// A job under way: its messages, its lease, and how it goes.
pub(super) struct Underway {
    pub(super) ids: Vec<i64>,
    pub(super) lease: Lease,
    pub(super) how: How,
}

pub(super) enum How {
    Said(work::Running),
    /// Through a chaos run. In a box: every job would be as large as this one.
    Edge(BoxFuture<'static, Option<Result<Reply, Fault>>>),
}

impl Future for Underway {
    type Output = Done;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Done> {
        let came = match &mut self.how {
            How::Said(said) => Some(ready!(Pin::new(said).poll(cx))),
            How::Edge(edge) => ready!(edge.as_mut().poll(cx)),
        };
        Poll::Ready((std::mem::take(&mut self.ids), self.lease, came))
    }
}

/// A job done: its messages, its lease, what came of it; `None`: the session is cut.
pub(super) type Done = (Vec<i64>, Lease, Option<Result<Reply, Fault>>);
