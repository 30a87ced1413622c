//! The scripted WorkerService: hands everything a worker says to the stage and says what the stage tells it to. Never
//! decides anything, except for the pages of a lineage.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

use super::tasks::{ChildBook, Submission, Tasks};
use crate::pb::{
    self,
    task_service_server::TaskServiceServer,
    worker_service_server::{WorkerService, WorkerServiceServer},
};

/// Messages in flight each way; far more than any case needs.
const QUEUE: usize = 4_096;
/// Entries in a page, however many were asked for: a server may always give fewer.
const PAGE: usize = 2;

pub(crate) type Down = mpsc::Sender<Result<pb::SessionResponse, Status>>;

/// What comes from workers.
pub(crate) enum Incoming {
    /// A session was opened.
    Opened { session: u64, down: Down },
    /// A message came up it.
    Message { session: u64, request: Box<pb::SessionRequest> },
    /// It ended.
    Ended { session: u64 },
    /// A page of lineage was asked for.
    Lineage { lease: String, traceparent: String },
    /// A child was submitted.
    Submitted(Box<Submission>),
}

/// The lineages that `GetLineage` serves, by lease.
#[derive(Clone, Default)]
pub(crate) struct LineageBook(Arc<Mutex<BTreeMap<String, Vec<pb::LineageEntry>>>>);

impl LineageBook {
    pub(crate) fn write(&self, lease: &str, entries: Vec<pb::LineageEntry>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(lease.to_owned(), entries);
    }

    fn page(&self, request: &pb::GetLineageRequest) -> Result<pb::GetLineageResponse, Status> {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = book.get(&request.lease).ok_or_else(|| Status::not_found("no such lease"))?;
        let start = match request.page_token.as_str() {
            "" => 0,
            token => token
                .strip_prefix("from-")
                .and_then(|n| n.parse::<usize>().ok())
                .filter(|n| *n < entries.len())
                .ok_or_else(|| Status::invalid_argument("page_token: none of ours"))?,
        };
        let asked = usize::try_from(request.page_size).ok().filter(|n| *n > 0).unwrap_or(PAGE);
        let end = entries.len().min(start + asked.min(PAGE));
        let next_page_token = if end < entries.len() { format!("from-{end}") } else { String::new() };
        Ok(pb::GetLineageResponse { entries: entries[start..end].to_vec(), next_page_token })
    }
}

/// The running server. Dropping it ends it.
pub(crate) struct FakeServer {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) incoming: mpsc::Receiver<Incoming>,
    pub(crate) lineage: LineageBook,
    pub(crate) children: ChildBook,
    task: JoinHandle<()>,
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeServer {
    pub(crate) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (events, incoming) = mpsc::channel(QUEUE);
        let lineage = LineageBook::default();
        let children = ChildBook::default();
        let tasks = Tasks::new(events.clone(), children.clone());
        let service = Service { events, lineage: lineage.clone(), sessions: AtomicU64::new(0) };
        let router = Server::builder()
            .add_service(WorkerServiceServer::new(service))
            .add_service(TaskServiceServer::new(tasks));
        let incoming_connections = TcpIncoming::from(listener).with_nodelay(Some(true));
        let task = tokio::spawn(async move {
            // It only ends with the listener; a worker then finds nobody, which every case reports.
            let _ = router.serve_with_incoming(incoming_connections).await;
        });
        Ok(Self { address, incoming, lineage, children, task })
    }
}

struct Service {
    events: mpsc::Sender<Incoming>,
    lineage: LineageBook,
    sessions: AtomicU64,
}

/// The trace context that a call carries; empty where it carries none.
pub(super) fn traceparent<T>(request: &Request<T>) -> String {
    request.metadata().get("traceparent").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

fn only_the_stream() -> Status {
    Status::unimplemented(
        "the conformance server drives workers over Session; of the unary calls it serves GetLineage, SubmitTask and GetTask",
    )
}

#[tonic::async_trait]
impl WorkerService for Service {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<pb::SessionResponse, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<pb::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        let (down, out) = mpsc::channel(QUEUE);
        let events = self.events.clone();
        let gone = || Status::unavailable("the conformance run is over");
        events.send(Incoming::Opened { session, down }).await.map_err(|_| gone())?;
        let mut up = request.into_inner();
        // Ends with the stream it reads, at the latest when the server is dropped.
        tokio::spawn(async move {
            while let Ok(Some(request)) = up.message().await {
                let request = Box::new(request);
                if events.send(Incoming::Message { session, request }).await.is_err() {
                    return;
                }
            }
            // Nobody listens any more when the run is over.
            let _ = events.send(Incoming::Ended { session }).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(out))))
    }

    async fn get_lineage(
        &self,
        request: Request<pb::GetLineageRequest>,
    ) -> Result<Response<pb::GetLineageResponse>, Status> {
        let traceparent = traceparent(&request);
        let request = request.into_inner();
        let lease = request.lease.clone();
        // Nobody listens any more when the run is over.
        let _ = self.events.send(Incoming::Lineage { lease, traceparent }).await;
        self.lineage.page(&request).map(Response::new)
    }

    async fn register(
        &self,
        _: Request<pb::RegisterRequest>,
    ) -> Result<Response<pb::RegisterResponse>, Status> {
        Err(only_the_stream())
    }

    async fn poll(&self, _: Request<pb::PollRequest>) -> Result<Response<pb::PollResponse>, Status> {
        Err(only_the_stream())
    }

    async fn report_progress(
        &self,
        _: Request<pb::ReportProgressRequest>,
    ) -> Result<Response<pb::ReportProgressResponse>, Status> {
        Err(only_the_stream())
    }

    async fn report_usage(
        &self,
        _: Request<pb::ReportUsageRequest>,
    ) -> Result<Response<pb::ReportUsageResponse>, Status> {
        Err(only_the_stream())
    }

    async fn request_budget(
        &self,
        _: Request<pb::RequestBudgetRequest>,
    ) -> Result<Response<pb::RequestBudgetResponse>, Status> {
        Err(only_the_stream())
    }

    async fn complete_turn(
        &self,
        _: Request<pb::CompleteTurnRequest>,
    ) -> Result<Response<pb::CompleteTurnResponse>, Status> {
        Err(only_the_stream())
    }

    async fn drain_session(
        &self,
        _: Request<pb::DrainSessionRequest>,
    ) -> Result<Response<pb::DrainSessionResponse>, Status> {
        Err(only_the_stream())
    }
}
