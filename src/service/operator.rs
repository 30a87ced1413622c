//! `OperatorService`: questions to people, agents, workers.

use tonic::{Request, Response, Status};

use crate::{
    engine::{command::HumanAnswer, view::EscalationView},
    pb,
    runtime::{CommandError, Runtime},
    types::{
        ids::{EscalationId, InvalidName},
        limits::fixed::MAX_TEXT_BYTES,
    },
};

use super::{
    convert::{
        enums,
        faults::Faults,
        session::{agent_out, worker_out},
        task::escalation_out,
    },
    page::{self, Scope},
    status::Fault,
    tasks::task_id,
};

/// Questions a page where nothing is asked for.
const ESCALATIONS_PAGE: usize = 50;
/// The longest name of a person, in characters.
const MAX_BY_CHARS: usize = 128;
/// States a question can be in.
const STATES: usize = 5;

/// The service.
pub(crate) struct Operator {
    runtime: Runtime,
}

impl Operator {
    /// The service.
    pub(crate) const fn new(runtime: Runtime) -> Self {
        Self { runtime }
    }
}

fn states(numbers: &[i32], faults: &mut Faults) -> Vec<String> {
    faults.list("states", numbers, STATES);
    if numbers.is_empty() {
        return vec!["OPEN".to_owned()];
    }
    let mut state = |(index, number): (usize, &i32)| {
        let names = "one of the names in escalation.proto";
        let found = enums::escalation_state_in(*number);
        faults.one_of(&format!("states[{index}]"), *number, found, names).map(str::to_owned)
    };
    numbers.iter().enumerate().filter_map(&mut state).collect()
}

fn answer(number: i32, faults: &mut Faults) -> Option<HumanAnswer> {
    let found = pb::Answer::try_from(number).ok().and_then(|answer| match answer {
        pb::Answer::Unspecified => None,
        pb::Answer::Approve => Some(HumanAnswer::Approve),
        pb::Answer::Abort => Some(HumanAnswer::Abort),
    });
    faults.one_of("answer", number, found, "ANSWER_APPROVE or ANSWER_ABORT")
}

fn answer_fault(id: EscalationId, error: CommandError) -> Fault {
    match error {
        CommandError::NotFound { .. } => Fault::EscalationNotFound(format!("there is no question {id}")),
        other => other.into(),
    }
}

#[tonic::async_trait]
impl pb::operator_service_server::OperatorService for Operator {
    async fn list_escalations(
        &self,
        request: Request<pb::ListEscalationsRequest>,
    ) -> Result<Response<pb::ListEscalationsResponse>, Status> {
        let wire = request.into_inner();
        let pb::ListEscalationsRequest { states: wanted, page_size, page_token, task_id: of } = &wire;
        let mut faults = Faults::default();
        let wanted = states(wanted, &mut faults);
        let size = page::size(*page_size, ESCALATIONS_PAGE, &mut faults);
        let wanted = faults.finish(Some(wanted)).map_err(Fault::InvalidMessage)?;
        let of = if of.is_empty() { None } else { Some(task_id(of)?) };
        let bare = pb::ListEscalationsRequest { page_size: 0, page_token: String::new(), ..wire.clone() };
        let scope = Scope::of("escalations", &bare);
        let after = scope.escalation(page_token)?;
        let rows = self.runtime.escalations(wanted, of, after, size + 1).await.map_err(Fault::from)?;
        let (escalations, next_page_token) =
            page::cut(&rows, size, escalation_out, |last: &EscalationView| {
                let id = EscalationId { task: last.task, number: last.asked.number };
                scope.after_escalation(last.asked_at, id)
            });
        Ok(Response::new(pb::ListEscalationsResponse { escalations, next_page_token }))
    }

    async fn answer_escalation(
        &self,
        request: Request<pb::AnswerEscalationRequest>,
    ) -> Result<Response<pb::AnswerEscalationResponse>, Status> {
        let pb::AnswerEscalationRequest { escalation_id, answer: wanted, answered_by, note } =
            request.into_inner();
        let mut faults = Faults::default();
        let id = escalation_id.parse::<EscalationId>();
        let id = id.map_err(|error: InvalidName| faults.add("escalation_id", error.to_string())).ok();
        let wanted = answer(wanted, &mut faults);
        faults.required("answered_by", &answered_by, usize::MAX, "who answers");
        faults.short("answered_by", &answered_by, MAX_BY_CHARS);
        faults.text("note", &note, MAX_TEXT_BYTES);
        let (id, wanted) = faults.finish(id.zip(wanted)).map_err(Fault::InvalidMessage)?;
        let answered = self.runtime.answer(id, wanted, answered_by, note).await;
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
        let agents = agents.iter().map(|info| agent_out(info, records.get(&info.row.name))).collect();
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
}
