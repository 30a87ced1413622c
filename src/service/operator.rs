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
        ids::{AgentName, EscalationId, InvalidName, WorkerId},
        limits::fixed::MAX_TEXT_BYTES,
        time::Span,
    },
};

use super::{
    chaos::Edge,
    convert::{
        chaos::{self, brakes_out, records_out, run_out},
        faults::Faults,
        halt::halt_out,
        question::{answer_in, escalation_out},
        session::{agent_out, worker_out},
        time::wire,
    },
    dead_letters::{self, DeadLetters},
    follow::follow,
    halts,
    inbox::{self, Inbox},
    page::{self, Scope},
    status::Fault,
    tasks::{Stop, Tasks, task_id},
    trace,
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
    letters: DeadLetters,
    edge: Edge,
}

impl Operator {
    /// The service. `max_watches` bounds the streams of `WatchEscalations`.
    pub(crate) fn new(
        runtime: Runtime,
        stop: CancellationToken,
        max_watches: usize,
        webhooks: WebhookBoard,
        edge: Edge,
    ) -> Self {
        // For its intake alone: it serves no streams.
        let no_streams = Stop { intake: stop.clone(), streams: stop.clone() };
        let tasks = Arc::new(Tasks::new(runtime.clone(), no_streams, 0, 0));
        let letters = DeadLetters::new(runtime.clone(), tasks);
        Self { runtime, stop, watches: Arc::new(Semaphore::new(max_watches)), webhooks, letters, edge }
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

    async fn reset_breaker(
        &self,
        request: Request<pb::ResetBreakerRequest>,
    ) -> Result<Response<pb::ResetBreakerResponse>, Status> {
        let pb::ResetBreakerRequest { whose } = request.into_inner();
        let mut faults = Faults::default();
        let was_open = match whose {
            None => {
                faults.add("whose", "is required: name an agent or a worker_id");
                None
            }
            Some(pb::reset_breaker_request::Whose::Agent(name)) => {
                let agent: Option<AgentName> = faults.name("agent", &name);
                if let Some(agent) = agent.as_ref().filter(|agent| !self.runtime.is_known(agent)) {
                    return Err(Fault::AgentNotFound(agent.clone()).into());
                }
                agent.map(|agent| self.runtime.reset_agent(&agent))
            }
            Some(pb::reset_breaker_request::Whose::WorkerId(id)) => {
                let worker: Option<WorkerId> = faults.name("worker_id", &id);
                worker.map(|worker| self.runtime.reset_worker(&worker))
            }
        };
        let was_open = faults.finish(was_open).map_err(Fault::InvalidMessage)?;
        Ok(Response::new(pb::ResetBreakerResponse { was_open }))
    }

    async fn list_dead_letters(
        &self,
        request: Request<pb::ListDeadLettersRequest>,
    ) -> Result<Response<pb::ListDeadLettersResponse>, Status> {
        Ok(Response::new(self.letters.list(request.into_inner()).await?))
    }

    async fn get_dead_letter(
        &self,
        request: Request<pb::GetDeadLetterRequest>,
    ) -> Result<Response<pb::GetDeadLetterResponse>, Status> {
        let pb::GetDeadLetterRequest { task_id: text } = request.into_inner();
        let dead_letter = Some(self.letters.get(task_id(&text)?).await?);
        Ok(Response::new(pb::GetDeadLetterResponse { dead_letter }))
    }

    async fn redrive_dead_letter(
        &self,
        request: Request<pb::RedriveDeadLetterRequest>,
    ) -> Result<Response<pb::RedriveDeadLetterResponse>, Status> {
        let trace = trace::context(request.metadata());
        let pb::RedriveDeadLetterRequest { task_id: text, terms, dry_run } = request.into_inner();
        let task = task_id(&text)?;
        let mut faults = Faults::default();
        let terms = dead_letters::terms(terms, dry_run, trace, &mut faults);
        let terms = faults.finish(Some(terms)).map_err(Fault::InvalidMessage)?;
        let result = Some(self.letters.redrive(task, &terms).await?);
        Ok(Response::new(pb::RedriveDeadLetterResponse { result }))
    }

    async fn redrive_dead_letters(
        &self,
        request: Request<pb::RedriveDeadLettersRequest>,
    ) -> Result<Response<pb::RedriveDeadLettersResponse>, Status> {
        let trace = trace::context(request.metadata());
        Ok(Response::new(self.letters.redrive_page(request.into_inner(), trace).await?))
    }

    async fn discard_dead_letter(
        &self,
        request: Request<pb::DiscardDeadLetterRequest>,
    ) -> Result<Response<pb::DiscardDeadLetterResponse>, Status> {
        let pb::DiscardDeadLetterRequest { task_id: text, by, note } = request.into_inner();
        let task = task_id(&text)?;
        let mut faults = Faults::default();
        dead_letters::signed(&by, &note, "", &mut faults);
        faults.finish(Some(())).map_err(Fault::InvalidMessage)?;
        let already_discarded = self.letters.discard(task, by, note).await?;
        Ok(Response::new(pb::DiscardDeadLetterResponse { already_discarded }))
    }

    async fn discard_dead_letters(
        &self,
        request: Request<pb::DiscardDeadLettersRequest>,
    ) -> Result<Response<pb::DiscardDeadLettersResponse>, Status> {
        Ok(Response::new(self.letters.discard_page(request.into_inner()).await?))
    }

    async fn start_chaos(
        &self,
        request: Request<pb::StartChaosRequest>,
    ) -> Result<Response<pb::StartChaosResponse>, Status> {
        let mut faults = Faults::default();
        let asked = chaos::start(request.into_inner(), &mut faults);
        let asked = faults.finish(asked).map_err(Fault::InvalidMessage)?;
        let run = self.edge.start(&self.runtime, asked)?;
        Ok(Response::new(pb::StartChaosResponse { run: Some(run_out(run)) }))
    }

    async fn renew_chaos(
        &self,
        request: Request<pb::RenewChaosRequest>,
    ) -> Result<Response<pb::RenewChaosResponse>, Status> {
        let pb::RenewChaosRequest { run_id, ttl, brakes_received } = request.into_inner();
        let mut faults = Faults::default();
        let ttl = chaos::ttl_in(ttl, &mut faults);
        let received = chaos::received(brakes_received, &mut faults);
        let (ttl, received) = faults.finish(Some((ttl, received))).map_err(Fault::InvalidMessage)?;
        let (run, brakes) = self.edge.renew(&self.runtime, &run_id, ttl, received)?;
        Ok(Response::new(pb::RenewChaosResponse { run: Some(run_out(run)), brakes: brakes_out(&brakes) }))
    }

    async fn stop_chaos(
        &self,
        request: Request<pb::StopChaosRequest>,
    ) -> Result<Response<pb::StopChaosResponse>, Status> {
        let pb::StopChaosRequest { run_id, brakes_received } = request.into_inner();
        let mut faults = Faults::default();
        let received = chaos::received(brakes_received, &mut faults);
        let received = faults.finish(Some(received)).map_err(Fault::InvalidMessage)?;
        let (run, brakes) = self.edge.stop(&run_id, received)?;
        Ok(Response::new(pb::StopChaosResponse { run: Some(run_out(run)), brakes: brakes_out(&brakes) }))
    }

    async fn record_chaos(
        &self,
        request: Request<pb::RecordChaosRequest>,
    ) -> Result<Response<pb::RecordChaosResponse>, Status> {
        let pb::RecordChaosRequest { recorded_by, agents, passed, run_id } = request.into_inner();
        let mut faults = Faults::default();
        let is_known = |agent: &AgentName| self.runtime.is_known(agent);
        let agents = chaos::recorded(&recorded_by, &agents, &run_id, is_known, &mut faults);
        let agents = faults.finish(Some(agents)).map_err(Fault::InvalidMessage)?;
        tracing::warn!(run = run_id, by = recorded_by, passed, ?agents, "the verdict of a chaos run is kept");
        let at = self.runtime.record_chaos(agents, passed).await.map_err(Fault::from)?;
        Ok(Response::new(pb::RecordChaosResponse { recorded_at: Some(wire(at)) }))
    }

    async fn get_chaos(
        &self,
        request: Request<pb::GetChaosRequest>,
    ) -> Result<Response<pb::GetChaosResponse>, Status> {
        let pb::GetChaosRequest {} = request.into_inner();
        let records = self.runtime.chaos_records().await.map_err(Fault::from)?;
        Ok(Response::new(pb::GetChaosResponse {
            run: self.edge.shown().map(run_out),
            records: records_out(&records),
            forbidden: self.edge.is_forbidden(),
        }))
    }
}
