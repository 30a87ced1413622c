//! `OperatorService`: questions to people, agents, workers.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, codegen::BoxStream};

use crate::{
    engine::{command::Rejection, view::EscalationView},
    pb,
    runtime::{AgentInfo, CommandError, EscalationFilter, EscalationPage, Overloaded, Runtime},
    types::{
        ids::{EscalationId, InvalidName},
        limits::fixed::MAX_TEXT_BYTES,
        time::Span,
    },
};

use super::{
    convert::{
        faults::Faults,
        halt::halt_out,
        question::{answer_in, escalation_out},
        session::{agent_out, worker_out},
    },
    follow::follow,
    halts,
    inbox::{self, Inbox},
    page::{self, Scope},
    status::Fault,
    tasks::task_id,
    webhooks::WebhookBoard,
};

/// How long to wait for a place to watch from.
const WATCH_RETRY: Span = Span::from_secs(5);
/// Questions a page where nothing is asked for.
const ESCALATIONS_PAGE: usize = 50;
/// The longest name of a person, in characters.
pub(super) const MAX_BY_CHARS: usize = 128;

/// The service.
pub(crate) struct Operator {
    runtime: Runtime,
    stop: CancellationToken,
    watches: Arc<Semaphore>,
    webhooks: WebhookBoard,
}

impl Operator {
    /// The service. `max_watches` bounds the streams of `WatchEscalations`.
    pub(crate) fn new(
        runtime: Runtime,
        stop: CancellationToken,
        max_watches: usize,
        webhooks: WebhookBoard,
    ) -> Self {
        Self { runtime, stop, watches: Arc::new(Semaphore::new(max_watches)), webhooks }
    }
}

fn not_found(id: EscalationId) -> Fault {
    Fault::EscalationNotFound(format!("there is no question {id}: `bailiwick inbox` lists the open ones"))
}

fn answer_fault(id: EscalationId, error: CommandError) -> Fault {
    match error {
        CommandError::NotFound { .. } | CommandError::Rejected(Rejection::EscalationUnknown) => not_found(id),
        other => other.into(),
    }
}

/// The id of a question, or the rule it breaks.
fn question_id(text: &str, faults: &mut Faults) -> Option<EscalationId> {
    text.parse().map_err(|error: InvalidName| faults.add("escalation_id", error.to_string())).ok()
}

#[tonic::async_trait]
impl pb::operator_service_server::OperatorService for Operator {
    type WatchEscalationsStream = BoxStream<pb::WatchEscalationsResponse>;

    async fn list_escalations(
        &self,
        request: Request<pb::ListEscalationsRequest>,
    ) -> Result<Response<pb::ListEscalationsResponse>, Status> {
        let wire = request.into_inner();
        let mut faults = Faults::default();
        let filter = inbox::filter(&wire, &mut faults);
        let size = page::size(wire.page_size, ESCALATIONS_PAGE, &mut faults);
        let filter = faults.finish(Some(filter)).map_err(Fault::InvalidMessage)?;
        let task = if wire.task_id.is_empty() { None } else { Some(task_id(&wire.task_id)?) };
        let page_token = wire.page_token.clone();
        let bare = pb::ListEscalationsRequest { page_size: 0, page_token: String::new(), ..wire };
        let scope = Scope::of("escalations", &bare);
        let after = scope.escalation(&page_token)?;
        let filter = EscalationFilter { task, ..filter };
        let found = self.runtime.escalations(filter, after, size + 1).await.map_err(Fault::from)?;
        let EscalationPage { questions, scanned_to } = found;
        let (escalations, mut next_page_token) =
            page::cut(&questions, size, escalation_out, |last: &EscalationView| {
                let id = EscalationId { task: last.task, number: last.asked.number };
                scope.after_escalation(last.asked_at, id)
            });
        if let (Some((at, id)), true) = (scanned_to, next_page_token.is_empty()) {
            next_page_token = scope.after_escalation(at, id);
        }
        Ok(Response::new(pb::ListEscalationsResponse { escalations, next_page_token }))
    }

    async fn get_escalation(
        &self,
        request: Request<pb::GetEscalationRequest>,
    ) -> Result<Response<pb::GetEscalationResponse>, Status> {
        let pb::GetEscalationRequest { escalation_id } = request.into_inner();
        let mut faults = Faults::default();
        let id = question_id(&escalation_id, &mut faults);
        let id = faults.finish(id).map_err(Fault::InvalidMessage)?;
        let found = self.runtime.escalation(id).await.map_err(Fault::from)?;
        let view = found.ok_or_else(|| not_found(id))?;
        Ok(Response::new(pb::GetEscalationResponse { escalation: Some(escalation_out(&view)) }))
    }

    async fn watch_escalations(
        &self,
        request: Request<pb::WatchEscalationsRequest>,
    ) -> Result<Response<Self::WatchEscalationsStream>, Status> {
        let pb::WatchEscalationsRequest { causes, labels } = request.into_inner();
        let mut faults = Faults::default();
        let filter = inbox::shared(&causes, &labels, &mut faults);
        let filter = faults.finish(Some(filter)).map_err(Fault::InvalidMessage)?;
        let place = self.watches.clone().try_acquire_owned().map_err(|_| {
            let what = "all places for watching are taken".to_owned();
            Fault::Overloaded(Overloaded { retry_after: WATCH_RETRY, what })
        })?;
        let watch = self.runtime.watch_escalations(filter);
        Ok(Response::new(follow(Inbox::new(watch, self.stop.clone(), place))))
    }

    async fn answer_escalation(
        &self,
        request: Request<pb::AnswerEscalationRequest>,
    ) -> Result<Response<pb::AnswerEscalationResponse>, Status> {
        let pb::AnswerEscalationRequest { escalation_id, answer, answered_by, note, what } =
            request.into_inner();
        let mut faults = Faults::default();
        let id = question_id(&escalation_id, &mut faults);
        let answer = answer_in(answer, what, &mut faults);
        faults.required("answered_by", &answered_by, usize::MAX, "who answers");
        faults.short("answered_by", &answered_by, MAX_BY_CHARS);
        faults.text("note", &note, MAX_TEXT_BYTES);
        let (id, answer) = faults.finish(id.zip(answer)).map_err(Fault::InvalidMessage)?;
        let answered = self.runtime.answer(id, answer, answered_by, note).await;
        let view = answered.map_err(|error| answer_fault(id, error))?;
        Ok(Response::new(pb::AnswerEscalationResponse { escalation: Some(escalation_out(&view)) }))
    }

    async fn list_agents(
        &self,
        request: Request<pb::ListAgentsRequest>,
    ) -> Result<Response<pb::ListAgentsResponse>, Status> {
        let pb::ListAgentsRequest {} = request.into_inner();
        let records = self.runtime.agent_records().await.map_err(Fault::from)?;
        let agents = self.runtime.agents();
        let agent = |info: &AgentInfo| {
            let halt = self.runtime.halt_of(&info.row.name);
            pb::Agent {
                halt: halt.map(|halt| halt_out(&halt)),
                ..agent_out(info, records.get(&info.row.name))
            }
        };
        let agents = agents.iter().map(agent).collect();
        Ok(Response::new(pb::ListAgentsResponse { agents }))
    }

    async fn list_workers(
        &self,
        request: Request<pb::ListWorkersRequest>,
    ) -> Result<Response<pb::ListWorkersResponse>, Status> {
        let pb::ListWorkersRequest {} = request.into_inner();
        let workers = self.runtime.workers().iter().map(worker_out).collect();
        Ok(Response::new(pb::ListWorkersResponse { workers }))
    }

    async fn list_webhooks(
        &self,
        request: Request<pb::ListWebhooksRequest>,
    ) -> Result<Response<pb::ListWebhooksResponse>, Status> {
        let pb::ListWebhooksRequest {} = request.into_inner();
        let log_end = *self.runtime.log_end().borrow();
        Ok(Response::new(pb::ListWebhooksResponse { webhooks: self.webhooks.wire(log_end) }))
    }

    async fn halt(&self, request: Request<pb::HaltRequest>) -> Result<Response<pb::HaltResponse>, Status> {
        Ok(Response::new(halts::halt(&self.runtime, request.into_inner()).await?))
    }

    async fn resume(
        &self,
        request: Request<pb::ResumeRequest>,
    ) -> Result<Response<pb::ResumeResponse>, Status> {
        Ok(Response::new(halts::resume(&self.runtime, request.into_inner()).await?))
    }

    async fn list_halts(
        &self,
        request: Request<pb::ListHaltsRequest>,
    ) -> Result<Response<pb::ListHaltsResponse>, Status> {
        Ok(Response::new(halts::list(&self.runtime, request.into_inner()).await?))
    }
}
