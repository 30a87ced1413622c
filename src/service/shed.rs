//! The layer around every call: sheds what is too much, and gives the errors that the transport makes by itself (a
//! message too large, bytes that are no message) the same typed form as all others.
//!
//! Workers and clients have places apart: a flood of submissions never keeps an answer from coming in. Streams and
//! polls are bounded where they are served.

use std::{future::poll_fn, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{
    Code, Status,
    body::Body,
    codegen::{BoxFuture, Context, Poll, Service, http},
};

use crate::{runtime::Overloaded, types::time::Span};

use super::{MAX_MESSAGE_BYTES, status::Fault};

/// How long a shed call waits before the next try.
const RETRY_AFTER: Span = Span::from_millis(500);
const DETAILS: &str = "grpc-status-details-bin";

/// Unary submissions that are read and decided at once, several commits' worth. Others wait before anything of them is read:
/// under overload most clients give up, and what they sent must have cost little by then.
const MAX_SUBMISSIONS: usize = 256;
/// The path of the call that comes most often.
pub(super) const SUBMIT: &str = "/bailiwick.v1.TaskService/SubmitTask";

/// The layer.
#[derive(Clone)]
pub(crate) struct Shed {
    workers: Arc<Semaphore>,
    clients: Arc<Semaphore>,
    submissions: Arc<Semaphore>,
    places: usize,
}

impl Shed {
    /// `places` calls at once for workers, and as many for clients.
    pub(crate) fn new(places: usize) -> Self {
        let semaphore = || Arc::new(Semaphore::new(places));
        let submissions = Arc::new(Semaphore::new(MAX_SUBMISSIONS));
        Self { workers: semaphore(), clients: semaphore(), submissions, places }
    }

    /// A place for a call; `Ok(None)` for one that needs none.
    fn place(&self, path: &str) -> Result<Option<OwnedSemaphorePermit>, Fault> {
        let semaphore = match path.strip_prefix("/bailiwick.v1.") {
            None
            | Some(
                "WorkerService/Session"
                | "WorkerService/Poll"
                | "TaskService/StreamTasks"
                | "TaskService/WatchTask"
                | "OperatorService/WatchEscalations",
            ) => {
                return Ok(None);
            }
            Some(method) if method.starts_with("WorkerService/") => &self.workers,
            Some(_) => &self.clients,
        };
        let place = semaphore.clone().try_acquire_owned();
        place.map(Some).map_err(|_| {
            let what =
                format!("{} calls are being served, as many as this server takes at once", self.places);
            Fault::Overloaded(Overloaded { retry_after: RETRY_AFTER, what })
        })
    }
}

impl<S> tower::Layer<S> for Shed {
    type Service = Shedding<S>;

    fn layer(&self, inner: S) -> Shedding<S> {
        Shedding { inner, shed: self.clone() }
    }
}

/// A service behind the layer.
#[derive(Clone)]
pub(crate) struct Shedding<S> {
    inner: S,
    shed: Shed,
}

impl<S> Service<http::Request<Body>> for Shedding<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Self::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let place = match self.shed.place(request.uri().path()) {
            Ok(place) => place,
            Err(fault) => {
                let refusal = fault.to_status().into_http();
                return Box::pin(async move { Ok(refusal) });
            }
        };
        if request.uri().path() == SUBMIT {
            return self.submit(request, place);
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            drop(place);
            Ok(typed(response))
        })
    }
}

impl<S> Shedding<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    /// A submission, in its turn. One whose client gives up before that leaves the line, and nothing of it was read.
    fn submit(
        &self,
        request: http::Request<Body>,
        place: Option<OwnedSemaphorePermit>,
    ) -> BoxFuture<http::Response<Body>, S::Error> {
        let (mut inner, turns) = (self.inner.clone(), self.shed.submissions.clone());
        Box::pin(async move {
            // The semaphore is never closed.
            let turn = turns.acquire_owned().await.ok();
            let response = match poll_fn(|cx| inner.poll_ready(cx)).await {
                Ok(()) => inner.call(request).await?,
                Err(error) => return Err(error),
            };
            drop((turn, place));
            Ok(typed(response))
        })
    }
}

/// The response, with a typed error in place of one that the transport made.
fn typed(response: http::Response<Body>) -> http::Response<Body> {
    if response.headers().contains_key(DETAILS) {
        return response;
    }
    let fault = Status::from_header_map(response.headers()).and_then(|status| transport_fault(&status));
    fault.map_or(response, |fault| fault.to_status().into_http())
}

/// What the transport's own errors mean here. All errors of the services carry details, so these are its own.
pub(super) fn transport_fault(status: &Status) -> Option<Fault> {
    match status.code() {
        Code::OutOfRange => Some(Fault::TooLarge(MAX_MESSAGE_BYTES)),
        Code::Internal => Some(Fault::Undecodable(status.message().to_owned())),
        Code::Unimplemented => Some(Fault::UnknownMethod),
        _ => None, // A deadline of the client's own, above all: the code says it.
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    fn reason(response: &http::Response<Body>) -> Option<(Code, String)> {
        let status = Status::from_header_map(response.headers())?;
        Some((status.code(), status.get_details_error_info()?.reason))
    }

    #[test]
    fn transport_errors_become_typed_and_others_pass() {
        let check = |status: Status, expected: Option<(Code, &str)>| {
            let found = reason(&typed(status.into_http()));
            assert_eq!(found.as_ref().map(|(code, reason)| (*code, reason.as_str())), expected);
        };
        check(Status::out_of_range("too long"), Some((Code::ResourceExhausted, "MESSAGE_TOO_LARGE")));
        check(Status::internal("bad wire type"), Some((Code::InvalidArgument, "UNDECODABLE_MESSAGE")));
        check(Fault::RegisterFirst.to_status(), Some((Code::FailedPrecondition, "REGISTER_FIRST")));
        check(Status::unimplemented(""), Some((Code::Unimplemented, "UNKNOWN_METHOD")));
        check(Status::cancelled("timeout expired"), None);
        assert_eq!(reason(&typed(http::Response::new(Body::empty()))), None);
    }

    #[test]
    fn workers_and_clients_have_places_apart_and_streams_need_none() {
        let shed = Shed::new(1);
        let first = shed.place("/bailiwick.v1.TaskService/SubmitTask");
        assert!(matches!(first, Ok(Some(_))));
        let second = shed.place("/bailiwick.v1.OperatorService/ListAgents");
        assert!(matches!(second, Err(Fault::Overloaded(_))));
        assert!(matches!(shed.place("/bailiwick.v1.WorkerService/CompleteTurn"), Ok(Some(_))));
        for path in ["/bailiwick.v1.WorkerService/Session", "/grpc.health.v1.Health/Check"] {
            assert!(matches!(shed.place(path), Ok(None)), "{path}");
        }
        drop(first);
        assert!(matches!(shed.place("/bailiwick.v1.TaskService/SubmitTask"), Ok(Some(_))));
    }
}
