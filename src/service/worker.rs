//! `WorkerService`: the session stream and the unary calls beside it.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};

use crate::{
    pb,
    runtime::{Runtime, SessionId},
};

use super::{
    MAX_MESSAGE_BYTES,
    convert::{
        faults::Faults,
        int64,
        session::{grant_out, lineage_page, registered, registered_out},
        time::span,
    },
    frame::{self, Frame},
    page::{self, Scope},
    polled::{MAX_WAIT, Poll, Polled},
    session::{self, Context},
    status::Fault,
    work::{self, Call, Refused, Reply},
};

/// Batches of one stream that wait for the connection. More waits in the session, which bounds it.
const STREAM_BUFFER: usize = 1;
/// Lineage entries a page where nothing is asked for.
const LINEAGE_PAGE: usize = 100;

/// The tasks that drive streams. Whoever ends the server waits for them.
pub(crate) type Streams = Arc<Mutex<JoinSet<()>>>;

/// The service.
pub(crate) struct Worker {
    context: Context,
    streams: Streams,
    polled: Polled,
}

impl Worker {
    /// The service. `max_polled` bounds the sessions without a stream.
    pub(crate) fn new(context: Context, streams: Streams, max_polled: usize) -> Self {
        let polled = Polled::new(context.clone(), max_polled);
        Self { context, streams, polled }
    }

    /// Starts a session stream.
    pub(crate) fn open_stream<S>(&self, frames: S) -> BoxStream<pb::SessionResponse>
    where
        S: Stream<Item = Result<Frame, Status>> + Send + Unpin + 'static,
    {
        let (sender, receiver) = mpsc::channel(STREAM_BUFFER);
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        while streams.try_join_next().is_some() {} // Those that have ended are forgotten.
        streams.spawn(session::drive(self.context.clone(), frames, sender));
        Box::pin(ReceiverStream::new(receiver).flat_map(futures_util::stream::iter))
    }

    const fn runtime(&self) -> &Runtime {
        &self.context.runtime
    }

    async fn run(&self, call: Result<Call, Refused>) -> Result<Reply, Fault> {
        let call = call.map_err(|(_, fault)| fault)?;
        if self.context.edge.is_on() {
            return self.context.edge.up(self.runtime(), call).await.unwrap_or(Err(Fault::Injected));
        }
        call.run(self.runtime()).await
    }
}

/// What a request wraps, or the fault that it is missing.
fn given<T>(wrapped: Option<T>, field: &str) -> Result<T, Fault> {
    wrapped.ok_or_else(|| Fault::field(field, "is required"))
}

fn session_id(text: &str) -> Result<SessionId, Fault> {
    text.parse().map_err(|_| Fault::SessionUnknown)
}

#[tonic::async_trait]
impl pb::worker_service_server::WorkerService for Worker {
    type SessionStream = BoxStream<pb::SessionResponse>;

    async fn session(
        &self,
        request: Request<Streaming<pb::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        Ok(Response::new(self.open_stream(frame::of_messages(request.into_inner()))))
    }

    async fn register(
        &self,
        request: Request<pb::RegisterRequest>,
    ) -> Result<Response<pb::RegisterResponse>, Status> {
        let pb::RegisterRequest { register } = request.into_inner();
        let registration = registered(given(register, "register")?).await.map_err(Fault::InvalidMessage)?;
        let opened = self.polled.open(registration).await?;
        let registered = registered_out(&opened, MAX_MESSAGE_BYTES);
        Ok(Response::new(pb::RegisterResponse { registered: Some(registered) }))
    }

    async fn poll(&self, request: Request<pb::PollRequest>) -> Result<Response<pb::PollResponse>, Status> {
        let pb::PollRequest { session_id: text, credit, wait, received_batch } = request.into_inner();
        let mut faults = Faults::default();
        let credited = u32::try_from(credit).ok();
        if credited.is_none() {
            faults.add("credit", format!("is {credit}: write 0 or more"));
        }
        let wait = span(&mut faults, "wait", wait).unwrap_or_default();
        if wait > MAX_WAIT {
            faults.add("wait", format!("is {wait}: write at most {MAX_WAIT}"));
        }
        let received = received_batch.and_then(|batch| {
            let fault = |_| faults.add("received_batch", format!("is {batch}: write 0 or more"));
            u64::try_from(batch).map_err(fault).ok()
        });
        let credit = faults.finish(credited).map_err(Fault::InvalidMessage)?;
        let poll = Poll { session: session_id(&text)?, credit, wait, received };
        Ok(Response::new(self.polled.poll(poll).await?))
    }

    async fn report_progress(
        &self,
        request: Request<pb::ReportProgressRequest>,
    ) -> Result<Response<pb::ReportProgressResponse>, Status> {
        let pb::ReportProgressRequest { progress } = request.into_inner();
        self.run(work::progress(given(progress, "progress")?)).await?;
        Ok(Response::new(pb::ReportProgressResponse {}))
    }

    async fn report_usage(
        &self,
        request: Request<pb::ReportUsageRequest>,
    ) -> Result<Response<pb::ReportUsageResponse>, Status> {
        let pb::ReportUsageRequest { usage } = request.into_inner();
        let reply = self.run(work::usage(given(usage, "usage")?)).await?;
        let allowance_tokens = if let Reply::Usage(allowance) = reply { int64(allowance) } else { 0 };
        Ok(Response::new(pb::ReportUsageResponse { allowance_tokens }))
    }

    async fn request_budget(
        &self,
        request: Request<pb::RequestBudgetRequest>,
    ) -> Result<Response<pb::RequestBudgetResponse>, Status> {
        let pb::RequestBudgetRequest { request } = request.into_inner();
        let call = work::budget(given(request, "request")?).map_err(|(_, fault)| fault)?;
        let lease = call.lease;
        let reply = self.run(Ok(call)).await?;
        let grant = if let Reply::Budget(grant) = reply { Some(grant_out(&lease, grant, 0)) } else { None };
        Ok(Response::new(pb::RequestBudgetResponse { grant }))
    }

    async fn complete_turn(
        &self,
        request: Request<pb::CompleteTurnRequest>,
    ) -> Result<Response<pb::CompleteTurnResponse>, Status> {
        let pb::CompleteTurnRequest { complete } = request.into_inner();
        let reply = self.run(work::complete(given(complete, "complete")?)).await?;
        let repeated_answer = matches!(reply, Reply::Completed { repeated: true });
        Ok(Response::new(pb::CompleteTurnResponse { repeated_answer }))
    }

    async fn get_lineage(
        &self,
        request: Request<pb::GetLineageRequest>,
    ) -> Result<Response<pb::GetLineageResponse>, Status> {
        let pb::GetLineageRequest { lease: text, page_size, page_token } = request.into_inner();
        let lease = work::lease(&text)?;
        let mut faults = Faults::default();
        let size = page::size(page_size, LINEAGE_PAGE, &mut faults);
        faults.finish(Some(())).map_err(Fault::InvalidMessage)?;
        // A page of a task may be continued under another lease of it: a worker that took over reads on.
        let filter = pb::GetLineageRequest { lease: lease.task.to_string(), ..Default::default() };
        let scope = Scope::of("lineage", &filter);
        let from = scope.index(&page_token)?;
        let all = self.runtime().lineage(lease).await.map_err(work::under_lease)?;
        let entries = lineage_page(all.get(from..).unwrap_or_default(), size);
        let next = from.saturating_add(entries.len());
        let next_page_token = if next < all.len() { scope.after_index(next) } else { String::new() };
        Ok(Response::new(pb::GetLineageResponse { entries, next_page_token }))
    }

    async fn drain_session(
        &self,
        request: Request<pb::DrainSessionRequest>,
    ) -> Result<Response<pb::DrainSessionResponse>, Status> {
        let pb::DrainSessionRequest { session_id: text, drain: _ } = request.into_inner();
        self.runtime().drain_session(session_id(&text)?).map_err(Fault::from)?;
        Ok(Response::new(pb::DrainSessionResponse {}))
    }
}
