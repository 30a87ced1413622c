//! A way past the router for the call that comes most often: to find one of a handful of services by its path, the router
//! allocates and wraps more than the call itself does. Never here: a call that the router would treat in another way.

use std::convert::Infallible;

use futures_util::future::Either;
use tonic::{
    body::Body,
    codegen::{BoxFuture, Context, Poll, Service, http},
};

use crate::pb::task_service_server::TaskServiceServer;

use super::{shed::SUBMIT, tasks::Tasks};

/// The layer.
#[derive(Clone)]
pub(crate) struct Direct(pub(crate) TaskServiceServer<Tasks>);

impl<S> tower::Layer<S> for Direct {
    type Service = Past<S>;

    fn layer(&self, router: S) -> Past<S> {
        Past { router, tasks: self.0.clone() }
    }
}

/// The router, and the way past it.
#[derive(Clone)]
pub(crate) struct Past<S> {
    router: S,
    tasks: TaskServiceServer<Tasks>,
}

impl<S> Service<http::Request<Body>> for Past<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Either<BoxFuture<http::Response<Body>, Infallible>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.router.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() == SUBMIT {
            Either::Left(self.tasks.call(request))
        } else {
            Either::Right(self.router.call(request))
        }
    }
}
