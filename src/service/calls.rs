//! Calls counted: how many of each method are open, how they ended, and how long unary ones took. A board between this layer
//! and whoever shows it. The methods are those of the protos, and one more for all others: nobody can make up a name.

use std::{
    array,
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use prost_reflect::DescriptorPool;
use tokio::time::Instant;
use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
};

use crate::pb;

/// Upper bounds of the buckets, in microseconds.
const BOUNDS: [u64; 12] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];
/// The codes of gRPC, by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
const CANCELLED: usize = 1;
const UNKNOWN: usize = 2;
/// Where every method is counted that is none of the protos': health, reflection, mistakes.
const OTHER: &str = "other";
/// Unary in the protos, and yet as long as its caller likes.
const WAITS: &str = "WorkerService/Poll";

struct Method {
    /// "/bailiwick.v1.TaskService/GetTask".
    path: String,
    /// "TaskService/GetTask".
    name: String,
    /// Whether its time says something.
    timed: bool,
}

/// Sorted by path.
static METHODS: LazyLock<Vec<Method>> = LazyLock::new(|| {
    let Ok(pool) = DescriptorPool::decode(pb::DESCRIPTORS) else { return Vec::new() };
    let services = pool.services().filter(|service| service.package_name() == "bailiwick.v1");
    let mut methods: Vec<Method> = services
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .map(|method| {
            let name = format!("{}/{}", method.parent_service().name(), method.name());
            let streams = method.is_client_streaming() || method.is_server_streaming();
            let path = format!("/bailiwick.v1.{name}");
            Method { path, timed: !streams && name != WAITS, name }
        })
        .collect();
    methods.sort_by(|a, b| a.path.cmp(&b.path));
    methods
});

/// What is known of the calls of one method.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The method, as "TaskService/GetTask"; "other" for all that are none of the protos'.
    pub method: &'static str,
    /// Calls that are open.
    pub open: u64,
    /// Calls that have ended, by code; only codes that occurred.
    pub ended: Vec<(&'static str, u64)>,
    /// Of unary calls: upper bounds in seconds, and how many took at most that long; growing.
    pub buckets: Vec<(f64, u64)>,
    /// How many unary calls have ended.
    pub count: u64,
    /// The time they took together, in seconds.
    pub seconds: f64,
}

struct Counts {
    begun: AtomicU64,
    ended: [AtomicU64; CODES.len()],
    buckets: [AtomicU64; BOUNDS.len()],
    timed: AtomicU64,
    micros: AtomicU64,
}

impl Counts {
    fn new() -> Self {
        let zero = |_| AtomicU64::new(0);
        Self {
            begun: AtomicU64::new(0),
            ended: array::from_fn(zero),
            buckets: array::from_fn(zero),
            timed: AtomicU64::new(0),
            micros: AtomicU64::new(0),
        }
    }

    #[allow(clippy::cast_precision_loss)] // Microseconds of calls: far below 2^53.
    fn read(&self, method: &'static str) -> Call {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let ended: Vec<_> = CODES.iter().zip(&self.ended).map(|(code, count)| (*code, get(count))).collect();
        let done: u64 = ended.iter().map(|(_, count)| count).sum();
        let mut below = 0;
        let buckets = BOUNDS.iter().zip(&self.buckets).map(|(bound, count)| {
            below += get(count);
            (*bound as f64 / 1e6, below)
        });
        let buckets = buckets.collect();
        Call {
            method,
            open: get(&self.begun).saturating_sub(done),
            ended: ended.into_iter().filter(|(_, count)| *count > 0).collect(),
            buckets,
            count: get(&self.timed).max(below),
            seconds: get(&self.micros) as f64 / 1e6,
        }
    }
}

/// The board. Cheap to clone; all clones are the same one. One that is off counts nothing and costs nothing.
#[derive(Clone, Default)]
pub struct CallBoard(Option<Arc<Vec<Counts>>>);

impl std::fmt::Debug for CallBoard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CallBoard").field(&self.0.is_some()).finish()
    }
}

impl CallBoard {
    /// A board that counts.
    #[must_use]
    pub fn counting() -> Self {
        // One more than there are methods: for all others.
        Self(Some(Arc::new((0..=METHODS.len()).map(|_| Counts::new()).collect())))
    }

    /// Every method that was ever called, in the order of their names.
    #[must_use]
    pub fn read(&self) -> Vec<Call> {
        let names = METHODS.iter().map(|method| method.name.as_str()).chain([OTHER]);
        let counts = self.0.iter().flat_map(|board| board.iter());
        let calls = names.zip(counts).map(|(name, counts)| counts.read(name));
        calls.filter(|call| call.open > 0 || !call.ended.is_empty()).collect()
    }

    /// The layer, if it counts.
    pub(super) fn layer(&self) -> Option<Counting> {
        self.0.clone().map(Counting)
    }
}

/// The layer.
#[derive(Clone)]
pub(super) struct Counting(Arc<Vec<Counts>>);

impl<S> tower::Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, board: self.0.clone() }
    }
}

/// A service behind the layer.
#[derive(Clone)]
pub(super) struct Counted<S> {
    inner: S,
    board: Arc<Vec<Counts>>,
}

impl<S> Service<http::Request<Body>> for Counted<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
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
        let mut open = Open::begin(self.board.clone(), request.uri().path());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            open.hear(response.headers());
            Ok(response.map(|inner| Body::new(Counter { inner, open })))
        })
    }
}

/// A call that is open. Its end is counted when this is dropped, whatever way.
struct Open {
    board: Arc<Vec<Counts>>,
    method: usize,
    began: Instant,
    code: usize,
}

impl Open {
    fn begin(board: Arc<Vec<Counts>>, path: &str) -> Self {
        let found = METHODS.binary_search_by(|method| method.path.as_str().cmp(path));
        let method = found.unwrap_or(METHODS.len());
        if let Some(counts) = board.get(method) {
            counts.begun.fetch_add(1, Ordering::Relaxed);
        }
        // A caller that goes away before the end has cancelled.
        Self { board, method, began: Instant::now(), code: CANCELLED }
    }

    /// The status, where these say it.
    fn hear(&mut self, headers: &http::HeaderMap) {
        let Some(status) = headers.get("grpc-status") else { return };
        let number = status.to_str().ok().and_then(|text| text.parse::<usize>().ok());
        self.code = number.filter(|number| *number < CODES.len()).unwrap_or(UNKNOWN);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(counts) = self.board.get(self.method) else { return };
        counts.ended[self.code].fetch_add(1, Ordering::Relaxed);
        if !METHODS.get(self.method).is_some_and(|method| method.timed) {
            return;
        }
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = BOUNDS.iter().position(|bound| micros <= *bound) {
            counts.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        }
        counts.timed.fetch_add(1, Ordering::Relaxed);
        counts.micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// The body of an answer: the status comes behind it.
struct Counter {
    inner: Body,
    open: Open,
}

impl HttpBody for Counter {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            self.open.hear(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_protos_has_a_place_and_all_others_share_one() {
        assert!(METHODS.iter().any(|method| method.name == "TaskService/SubmitTask" && method.timed));
        assert!(METHODS.iter().any(|method| method.name == "WorkerService/Session" && !method.timed));
        let board = CallBoard::counting();
        let counts = board.0.clone().expect("it counts");
        for path in ["/bailiwick.v1.TaskService/GetTask", "/grpc.health.v1.Health/Check", "/made/up", ""] {
            drop(Open::begin(counts.clone(), path));
        }
        let open = Open::begin(counts, "/bailiwick.v1.TaskService/GetTask");
        let read = board.read();
        let told: Vec<_> = read.iter().map(|call| (call.method, call.open, call.ended.clone())).collect();
        assert_eq!(
            told,
            [("TaskService/GetTask", 1, vec![("CANCELLED", 1)]), (OTHER, 0, vec![("CANCELLED", 3)])]
        );
        drop(open);
        assert_eq!((board.read()[0].count, board.read()[0].open), (2, 0));
        assert!(CallBoard::default().read().is_empty());
    }

    #[test]
    fn a_status_is_read_where_it_stands_and_one_that_is_none_is_unknown() {
        let board = CallBoard::counting();
        let path = "/bailiwick.v1.TaskService/GetTask";
        for status in ["0", "5", "99", "x"] {
            let mut open = Open::begin(board.0.clone().expect("it counts"), path);
            let mut headers = http::HeaderMap::new();
            headers.insert("grpc-status", status.parse().expect("a value"));
            open.hear(&headers);
        }
        assert_eq!(board.read()[0].ended, [("OK", 1), ("UNKNOWN", 2), ("NOT_FOUND", 1)]);
    }
}
