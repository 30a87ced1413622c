//! A server that only plays: it answers with what the test gave it, over real gRPC on a loopback port.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bailiwick::pb::{
    self, operator_service_server::OperatorService, operator_service_server::OperatorServiceServer,
    task_event::Event, task_service_server::TaskService, task_service_server::TaskServiceServer,
};
use prost_types::Timestamp;
use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

pub const TASK: &str = "01890000-0000-7000-8000-000000000001";

/// What the fake was asked, and how it is to answer.
#[derive(Default)]
pub struct Script {
    /// The state the task is in; with an outcome, once it has ended.
    pub state: i32,
    /// Streams that break, after how many events each, before one goes through.
    pub breaks: Vec<usize>,
    /// Cursors that watches came with.
    pub cursors: Vec<i64>,
    /// Answers that people gave.
    pub answers: Vec<pb::AnswerEscalationRequest>,
    /// The open questions.
    pub questions: Vec<pb::Escalation>,
    /// Whether a submission has been told to come back.
    pub was_busy: bool,
    /// Filters that lists came with.
    pub lists: Vec<pb::ListTasksRequest>,
    /// Halts that were asked for.
    pub halts: Vec<pb::HaltRequest>,
    /// What was to go on.
    pub resumes: Vec<pb::ResumeRequest>,
    /// Cancels of many.
    pub cancels: Vec<pb::CancelTasksRequest>,
    /// Dead letters there are in all.
    pub letters: usize,
    /// Pages of dead letters that were asked for.
    pub letter_pages: Vec<pb::ListDeadLettersRequest>,
    /// Redrives of one, of many, and discards of many.
    pub redrives: Vec<pb::RedriveDeadLetterRequest>,
    pub redrive_pages: Vec<pb::RedriveDeadLettersRequest>,
    pub discard_pages: Vec<pb::DiscardDeadLettersRequest>,
}

#[derive(Clone, Default)]
pub struct Fake(pub Arc<Mutex<Script>>);

impl Fake {
    pub fn in_state(state: pb::TaskState) -> Self {
        let fake = Self::default();
        fake.0.lock().unwrap().state = state as i32;
        fake.0.lock().unwrap().questions = vec![question(1)];
        fake
    }

    /// Serves until the test's runtime is gone.
    pub async fn serve(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(TaskServiceServer::new(self.clone()))
            .add_service(OperatorServiceServer::new(self.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        addr
    }

    fn task(&self) -> pb::Task {
        let state = self.0.lock().unwrap().state;
        let ended = state >= pb::TaskState::Succeeded as i32;
        let summary = pb::TaskSummary {
            task_id: TASK.into(),
            state,
            goal: "say \u{1b}[31mhello".into(),
            owner: "greeter".into(),
            created_at: Some(at(0)),
            ended_at: ended.then(|| at(2)),
            counters: Some(pb::Counters { hops: 1, turns: 2, ..Default::default() }),
            ledger: Some(pb::Ledger { granted_tokens: 10_000, spent_tokens: 1_234, ..Default::default() }),
            ..Default::default()
        };
        let outcome = pb::Outcome {
            state,
            ended_by: pb::EndedBy::Gate as i32,
            cause: pb::Cause::Completed as i32,
            reason: "all is said".into(),
            ..Default::default()
        };
        let turn = pb::Turn {
            turn: 1,
            agent: "greeter".into(),
            state: pb::TurnState::Answered as i32,
            attempts: 1,
            worker_id: "w1".into(),
            spent_tokens: 1_234,
            started_at: Some(at(0)),
            ended_at: Some(at(1)),
            envelope: Some(pb::StatusEnvelope {
                status: pb::Status::Success as i32,
                confidence: Some(0.75),
                ..Default::default()
            }),
            ..Default::default()
        };
        pb::Task {
            summary: Some(summary),
            turns: vec![turn],
            outcome: ended.then_some(outcome),
            deadline: Some(at(60)),
            ..Default::default()
        }
    }

    fn events(&self) -> Vec<pb::TaskEvent> {
        let submitted = Event::Submitted(pb::Submitted::default());
        let opened =
            Event::TurnOpened(pb::TurnOpened { turn: 1, agent: "greeter".into(), ..Default::default() });
        let ended = Event::Ended(pb::Ended { outcome: self.task().outcome, ledger: None });
        (1..)
            .zip([submitted, opened, ended])
            .map(|(seq, event)| pb::TaskEvent {
                task_id: TASK.into(),
                seq,
                at: Some(at(seq)),
                event: Some(event),
            })
            .collect()
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds: 1_795_179_439 + seconds, nanos: 0 }
}

fn known(id: &str) -> Result<(), Status> {
    if id == TASK {
        return Ok(());
    }
    let mut details = ErrorDetails::with_error_info("TASK_NOT_FOUND", "bailiwick.v1", HashMap::new());
    details.set_resource_info("task", id, "", "");
    Err(Status::with_error_details(Code::NotFound, format!("there is no task {id}"), details))
}

/// An answer of `submit_task`, as a stream gives it.
fn outcome(answer: Result<Response<pb::SubmitTaskResponse>, Status>) -> pb::submission_result::Result {
    match answer {
        Ok(accepted) => pb::submission_result::Result::Accepted(accepted.into_inner()),
        Err(status) if status.details().is_empty() => {
            let (code, message) = (status.code() as i32, status.message().to_owned());
            pb::submission_result::Result::Refused(pb::SubmissionRefusal {
                code,
                message,
                details: Vec::new(),
            })
        }
        Err(status) => pb::submission_result::Result::Refused(
            prost::Message::decode(status.details()).expect("the layout of google.rpc.Status"),
        ),
    }
}

/// An open question of the task.
pub fn question(number: u32) -> pb::Escalation {
    let used = |used, cap| Some(pb::Use { used, cap });
    pb::Escalation {
        escalation_id: format!("{TASK}.{number}"),
        task_id: TASK.into(),
        goal: "say hello".into(),
        question: "Is it good\u{1b}[2J enough?".into(),
        cause: pb::Cause::GateRejected as i32,
        candidate: Some(prost_types::Value {
            kind: Some(prost_types::value::Kind::StringValue("hello".into())),
        }),
        confidence: Some(0.5),
        findings: vec!["confidence 0.5 is below min_confidence 0.8".into()],
        state: pb::EscalationState::Open as i32,
        asked_at: Some(at(0)),
        expires_at: Some(at(60)),
        story: vec!["turn 1 greeter answered SUCCESS, confidence 0.5 [1234 tokens]".into()],
        room: Some(pb::Room { tokens: used(1_234, 10_000), hops: used(1, 12), ..Default::default() }),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl TaskService for Fake {
    type CancelTasksStream = tokio_stream::Iter<std::vec::IntoIter<Result<pb::CancelTasksResponse, Status>>>;
    async fn submit_task(
        &self,
        request: Request<pb::SubmitTaskRequest>,
    ) -> Result<Response<pb::SubmitTaskResponse>, Status> {
        let contract = request.into_inner().contract.unwrap_or_default();
        match contract.goal.as_str() {
            "refuse" => {
                let violations = vec![
                    FieldViolation::new("limits.deadline", "is missing. Write a duration, like \"90s\""),
                    FieldViolation::new("owner", "is missing. Name an agent"),
                ];
                let details = ErrorDetails::with_bad_request(violations);
                Err(Status::with_error_details(Code::InvalidArgument, "the contract is refused", details))
            }
            "full" => {
                let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(2)));
                Err(Status::with_error_details(Code::ResourceExhausted, "too many open tasks", details))
            }
            "busy" if !std::mem::replace(&mut self.0.lock().unwrap().was_busy, true) => {
                let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(1)));
                Err(Status::with_error_details(Code::ResourceExhausted, "for a moment", details))
            }
            "taken" => Err(Status::already_exists("the key names another contract")),
            _ => Ok(Response::new(pb::SubmitTaskResponse { task_id: TASK.into(), existing: false })),
        }
    }

    async fn check_contract(
        &self,
        request: Request<pb::CheckContractRequest>,
    ) -> Result<Response<pb::CheckContractResponse>, Status> {
        let contract = request.into_inner().contract.unwrap_or_default();
        let mut answer = pb::CheckContractResponse::default();
        if contract.owner.is_empty() {
            let description = "is missing. Name an agent".into();
            answer.violations.push(pb::ContractViolation { field: "owner".into(), description });
        } else {
            answer.effective = Some(pb::Contract { priority: 3, ..contract });
            let readiness = pb::Readiness::Weak as i32;
            let (title, advice) = ("explicit owner".into(), "name one".into());
            answer.points.push(pb::ReadinessPoint { number: 4, title, readiness, advice });
            let mode = |code: &str, title: &str, readiness, advice: &str| pb::FailureMode {
                code: code.into(),
                title: title.into(),
                readiness: readiness as i32,
                advice: advice.into(),
            };
            answer.modes = vec![
                mode("1.3", "step repetition", pb::Readiness::Enforced, "3 times in a row"),
                mode("2.2", "fail to ask for clarification", pb::Readiness::Absent, "set max_escalations"),
                mode("3.2", "no verification", pb::Readiness::Absent, "add \u{1b}[2Jrules"),
            ];
        }
        Ok(Response::new(answer))
    }

    async fn get_task(
        &self,
        request: Request<pb::GetTaskRequest>,
    ) -> Result<Response<pb::GetTaskResponse>, Status> {
        known(&request.get_ref().task_id)?;
        Ok(Response::new(pb::GetTaskResponse { task: Some(self.task()) }))
    }

    async fn list_tasks(
        &self,
        request: Request<pb::ListTasksRequest>,
    ) -> Result<Response<pb::ListTasksResponse>, Status> {
        let request = request.into_inner();
        let next_page_token = if request.page_token.is_empty() { "two".to_owned() } else { String::new() };
        self.0.lock().unwrap().lists.push(request);
        Ok(Response::new(pb::ListTasksResponse {
            tasks: self.task().summary.into_iter().collect(),
            next_page_token,
        }))
    }

    type StreamTasksStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<pb::StreamTasksResponse, Status>> + Send>>;

    /// Each as `submit_task` would, the last of a message first; one that is "busy" is taken the second time.
    async fn stream_tasks(
        &self,
        request: Request<Streaming<pb::StreamTasksRequest>>,
    ) -> Result<Response<Self::StreamTasksStream>, Status> {
        let fake = self.clone();
        let answers = request.into_inner().then(move |message| {
            let fake = fake.clone();
            async move {
                let mut results = Vec::new();
                for pb::Submission { number, request, .. } in message?.submissions.into_iter().rev() {
                    let answer = fake.submit_task(Request::new(*request.unwrap_or_default())).await;
                    results.push(pb::SubmissionResult { number, result: Some(outcome(answer)) });
                }
                Ok(pb::StreamTasksResponse { results })
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    type WatchTaskStream = tokio_stream::Iter<std::vec::IntoIter<Result<pb::WatchTaskResponse, Status>>>;

    async fn watch_task(
        &self,
        request: Request<pb::WatchTaskRequest>,
    ) -> Result<Response<Self::WatchTaskStream>, Status> {
        let pb::WatchTaskRequest { task_id, after_seq } = request.into_inner();
        known(&task_id)?;
        let events = self.events();
        let mut script = self.0.lock().unwrap();
        script.cursors.push(after_seq);
        let rest = events.into_iter().filter(|event| event.seq > after_seq);
        let mut messages: Vec<_> =
            rest.map(|event| Ok(pb::WatchTaskResponse { event: Some(event), summary: None })).collect();
        if !script.breaks.is_empty() {
            messages.truncate(script.breaks.remove(0));
            messages.push(Err(Status::unavailable("going away")));
        }
        Ok(Response::new(tokio_stream::iter(messages)))
    }

    async fn cancel_task(
        &self,
        request: Request<pb::CancelTaskRequest>,
    ) -> Result<Response<pb::CancelTaskResponse>, Status> {
        known(&request.get_ref().task_id)?;
        Ok(Response::new(pb::CancelTaskResponse { summary: self.task().summary, already_ended: true }))
    }

    async fn cancel_tasks(
        &self,
        request: Request<pb::CancelTasksRequest>,
    ) -> Result<Response<Self::CancelTasksStream>, Status> {
        let request = request.into_inner();
        let by_state = [("RUNNING".to_owned(), 2), ("QUEUED".to_owned(), 1)].into();
        let page = pb::CancelTasksResponse { matched: 3, by_state, ..Default::default() };
        let (cancelled, failed) =
            if request.dry_run { (0, 0) } else { (2, i64::from(request.reason == "fail")) };
        let first_failure = if failed > 0 { "the store failed".into() } else { String::new() };
        let done = pb::CancelTasksResponse { cancelled, failed, first_failure, done: true, ..page.clone() };
        self.0.lock().unwrap().cancels.push(request);
        Ok(Response::new(tokio_stream::iter(vec![Ok(page), Ok(done)])))
    }
}

/// Chaos is tested against servers of its own.
fn no_chaos() -> Status {
    Status::unimplemented("the fake has no edge to make failures at")
}

#[tonic::async_trait]
impl OperatorService for Fake {
    async fn list_escalations(
        &self,
        request: Request<pb::ListEscalationsRequest>,
    ) -> Result<Response<pb::ListEscalationsResponse>, Status> {
        let pb::ListEscalationsRequest { id_prefix, task_id, .. } = request.into_inner();
        let fits = |asked: &pb::Escalation| {
            asked.escalation_id.starts_with(&id_prefix) && (task_id.is_empty() || task_id == asked.task_id)
        };
        let escalations =
            self.0.lock().unwrap().questions.iter().filter(|asked| fits(asked)).cloned().collect();
        Ok(Response::new(pb::ListEscalationsResponse { escalations, next_page_token: String::new() }))
    }

    async fn get_escalation(
        &self,
        request: Request<pb::GetEscalationRequest>,
    ) -> Result<Response<pb::GetEscalationResponse>, Status> {
        let pb::GetEscalationRequest { escalation_id } = request.into_inner();
        let found =
            self.0.lock().unwrap().questions.iter().find(|q| q.escalation_id == escalation_id).cloned();
        match found {
            Some(found) => Ok(Response::new(pb::GetEscalationResponse { escalation: Some(found) })),
            None => Err(Status::not_found("there is no such question")),
        }
    }

    type WatchEscalationsStream =
        tokio_stream::Iter<std::vec::IntoIter<Result<pb::WatchEscalationsResponse, Status>>>;

    async fn watch_escalations(
        &self,
        _: Request<pb::WatchEscalationsRequest>,
    ) -> Result<Response<Self::WatchEscalationsStream>, Status> {
        let mut script = self.0.lock().unwrap();
        let open = script.questions.iter().cloned().map(Some).chain([None]);
        let mut news: Vec<_> =
            open.map(|escalation| Ok(pb::WatchEscalationsResponse { escalation })).collect();
        if script.breaks.is_empty() {
            // Enough: what the client cannot mend ends it.
            news.push(Err(Status::data_loss("the fake ends here")));
        } else {
            script.breaks.remove(0);
            script.questions[0].state = pb::EscalationState::Approved as i32;
            script.questions[0].answered_by = "ada".into();
            news.push(Err(Status::unavailable("going away")));
        }
        Ok(Response::new(tokio_stream::iter(news)))
    }

    async fn answer_escalation(
        &self,
        request: Request<pb::AnswerEscalationRequest>,
    ) -> Result<Response<pb::AnswerEscalationResponse>, Status> {
        use pb::answer_escalation_request::What;
        let request = request.into_inner();
        let mut answered = question(1);
        if request.escalation_id != answered.escalation_id {
            return Err(Status::failed_precondition("it has been answered already"));
        }
        answered.answered_by.clone_from(&request.answered_by);
        answered.state = match request.what {
            Some(What::Approve(_)) => pb::EscalationState::Approved,
            Some(What::Amend(_)) => pb::EscalationState::Amended,
            Some(What::Extend(_)) => pb::EscalationState::Extended,
            Some(What::Abort(_)) | None => pb::EscalationState::Aborted,
        } as i32;
        self.0.lock().unwrap().answers.push(request);
        Ok(Response::new(pb::AnswerEscalationResponse { escalation: Some(answered) }))
    }

    async fn list_agents(
        &self,
        _: Request<pb::ListAgentsRequest>,
    ) -> Result<Response<pb::ListAgentsResponse>, Status> {
        let spec = pb::AgentSpec { name: "greeter".into(), ..Default::default() };
        let agents = vec![pb::Agent { spec: Some(spec), workers: 1, ..Default::default() }];
        Ok(Response::new(pb::ListAgentsResponse { agents }))
    }

    async fn list_webhooks(
        &self,
        _: Request<pb::ListWebhooksRequest>,
    ) -> Result<Response<pb::ListWebhooksResponse>, Status> {
        let failing = pb::WebhookFailing { tries: 3, error: "status 503".into(), ..Default::default() };
        let (name, place) = ("pager".into(), "https://pager.example".into());
        let webhook = pb::Webhook { name, place, failing: Some(failing), ..Default::default() };
        Ok(Response::new(pb::ListWebhooksResponse { webhooks: vec![webhook] }))
    }

    async fn halt(&self, request: Request<pb::HaltRequest>) -> Result<Response<pb::HaltResponse>, Status> {
        let request = request.into_inner();
        let halt = pb::Halt {
            number: 3,
            selector: request.selector.clone(),
            halted_by: request.halted_by.clone(),
            reason: request.reason.clone(),
            halted_at: Some(at(0)),
            cancel: request.cancel,
            tasks_ended: 7,
            ..Default::default()
        };
        self.0.lock().unwrap().halts.push(request);
        let nanos = |nanos| Some(prost_types::Duration { seconds: 0, nanos });
        Ok(Response::new(pb::HaltResponse {
            halt: Some(halt),
            attempts_told: 12,
            told_within: nanos(1_500_000),
            attempts_handed: 12,
            handed_within: nanos(2_000_000),
            ..Default::default()
        }))
    }

    async fn resume(
        &self,
        request: Request<pb::ResumeRequest>,
    ) -> Result<Response<pb::ResumeResponse>, Status> {
        self.0.lock().unwrap().resumes.push(request.into_inner());
        Ok(Response::new(pb::ResumeResponse { halts: vec![halt()] }))
    }

    async fn list_halts(
        &self,
        _: Request<pb::ListHaltsRequest>,
    ) -> Result<Response<pb::ListHaltsResponse>, Status> {
        Ok(Response::new(pb::ListHaltsResponse { halts: vec![halt()], ..Default::default() }))
    }

    async fn reset_breaker(
        &self,
        request: Request<pb::ResetBreakerRequest>,
    ) -> Result<Response<pb::ResetBreakerResponse>, Status> {
        let of_agent = pb::reset_breaker_request::Whose::Agent("researcher".into());
        let was_open = request.into_inner().whose == Some(of_agent);
        Ok(Response::new(pb::ResetBreakerResponse { was_open }))
    }

    async fn list_workers(
        &self,
        _: Request<pb::ListWorkersRequest>,
    ) -> Result<Response<pb::ListWorkersResponse>, Status> {
        let worker =
            pb::Worker { worker_id: "w1".into(), agents: vec!["greeter".into()], ..Default::default() };
        Ok(Response::new(pb::ListWorkersResponse { workers: vec![worker] }))
    }

    async fn start_chaos(
        &self,
        _: Request<pb::StartChaosRequest>,
    ) -> Result<Response<pb::StartChaosResponse>, Status> {
        Err(no_chaos())
    }

    async fn renew_chaos(
        &self,
        _: Request<pb::RenewChaosRequest>,
    ) -> Result<Response<pb::RenewChaosResponse>, Status> {
        Err(no_chaos())
    }

    async fn stop_chaos(
        &self,
        _: Request<pb::StopChaosRequest>,
    ) -> Result<Response<pb::StopChaosResponse>, Status> {
        Err(no_chaos())
    }

    async fn record_chaos(
        &self,
        _: Request<pb::RecordChaosRequest>,
    ) -> Result<Response<pb::RecordChaosResponse>, Status> {
        Err(no_chaos())
    }

    async fn get_chaos(
        &self,
        _: Request<pb::GetChaosRequest>,
    ) -> Result<Response<pb::GetChaosResponse>, Status> {
        Err(no_chaos())
    }

    async fn list_dead_letters(
        &self,
        request: Request<pb::ListDeadLettersRequest>,
    ) -> Result<Response<pb::ListDeadLettersResponse>, Status> {
        let request = request.into_inner();
        let mut script = self.0.lock().unwrap();
        let (from, to, next_page_token) = page(&request.page_token, request.page_size, script.letters);
        let dead_letters = (from..to).map(letter).collect();
        script.letter_pages.push(request);
        Ok(Response::new(pb::ListDeadLettersResponse { dead_letters, next_page_token }))
    }

    async fn get_dead_letter(
        &self,
        request: Request<pb::GetDeadLetterRequest>,
    ) -> Result<Response<pb::GetDeadLetterResponse>, Status> {
        known(&request.get_ref().task_id)?;
        let mut task = self.task();
        task.contract =
            Some(pb::Contract { goal: "say hello".into(), owner: "greeter".into(), ..Default::default() });
        let dead_letter = Some(pb::DeadLetter { task: Some(task), ..letter(1) });
        Ok(Response::new(pb::GetDeadLetterResponse { dead_letter }))
    }

    async fn redrive_dead_letter(
        &self,
        request: Request<pb::RedriveDeadLetterRequest>,
    ) -> Result<Response<pb::RedriveDeadLetterResponse>, Status> {
        let request = request.into_inner();
        known(&request.task_id)?;
        let result = Some(redriven(&request.task_id));
        self.0.lock().unwrap().redrives.push(request);
        Ok(Response::new(pb::RedriveDeadLetterResponse { result }))
    }

    async fn redrive_dead_letters(
        &self,
        request: Request<pb::RedriveDeadLettersRequest>,
    ) -> Result<Response<pb::RedriveDeadLettersResponse>, Status> {
        let request = request.into_inner();
        let mut script = self.0.lock().unwrap();
        let (from, to, next_page_token) = page(&request.page_token, request.page_size, script.letters);
        let result = |n: usize| match n {
            1 => pb::DeadLetterResult {
                task_id: letter_id(n),
                refusal: Some(pb::DeadLetterRefusal {
                    message: "the owner is unknown".into(),
                    ..Default::default()
                }),
                ..Default::default()
            },
            n => redriven(&letter_id(n)),
        };
        let results = (from..to).map(result).collect();
        script.redrive_pages.push(request);
        Ok(Response::new(pb::RedriveDeadLettersResponse { results, next_page_token }))
    }

    async fn discard_dead_letter(
        &self,
        request: Request<pb::DiscardDeadLetterRequest>,
    ) -> Result<Response<pb::DiscardDeadLetterResponse>, Status> {
        known(&request.get_ref().task_id)?;
        Ok(Response::new(pb::DiscardDeadLetterResponse { already_discarded: true }))
    }

    async fn discard_dead_letters(
        &self,
        request: Request<pb::DiscardDeadLettersRequest>,
    ) -> Result<Response<pb::DiscardDeadLettersResponse>, Status> {
        let request = request.into_inner();
        let mut script = self.0.lock().unwrap();
        let (from, to, next_page_token) = page(&request.page_token, request.page_size, script.letters);
        let result = |n| pb::DeadLetterResult { task_id: letter_id(n), ..Default::default() };
        let results = (from..to).map(result).collect();
        script.discard_pages.push(request);
        Ok(Response::new(pb::DiscardDeadLettersResponse { results, next_page_token }))
    }
}

/// Which of `all` a page has, and the token of the next.
fn page(token: &str, size: i32, all: usize) -> (usize, usize, String) {
    let from = token.parse().unwrap_or(0);
    let to = (from + usize::try_from(size).unwrap()).min(all);
    (from, to, if to < all { to.to_string() } else { String::new() })
}

pub fn letter_id(n: usize) -> String {
    format!("01890000-0000-7000-8000-0000000001{n:02}")
}

fn redriven(task_id: &str) -> pb::DeadLetterResult {
    let successor_task_id = format!("9{}", &task_id[1..]);
    pb::DeadLetterResult { task_id: task_id.into(), successor_task_id, ..Default::default() }
}

fn letter(n: usize) -> pb::DeadLetter {
    let summary = pb::TaskSummary { task_id: letter_id(n), goal: "say hello".into(), ..Default::default() };
    let outcome = pb::Outcome {
        cause: pb::Cause::AttemptsExhausted as i32,
        reason: "turn 1 used up its 3 attempts".into(),
        ..Default::default()
    };
    let attempt = pb::AttemptStory {
        turn: 1,
        attempt: 3,
        agent: "greeter".into(),
        worker_id: "w7".into(),
        started_at: Some(at(1)),
        ended_at: Some(at(2)),
        end: pb::AttemptEnd::LeaseExpired as i32,
        reason: "not heard for 30s".into(),
        spent_tokens: 1_200,
        ..Default::default()
    };
    pb::DeadLetter {
        summary: Some(summary),
        outcome: Some(outcome),
        attempts: vec![attempt],
        attempts_total: 3,
        redrive: Some(pb::RedrivePlan { possible: true, granted_tokens: 5_000, ..Default::default() }),
        ..Default::default()
    }
}

fn halt() -> pb::Halt {
    let scope = Some(pb::halt_selector::Scope::Agent("greeter".into()));
    pb::Halt {
        number: 3,
        selector: Some(pb::HaltSelector { scope }),
        halted_by: "ann".into(),
        reason: "it repeats itself".into(),
        halted_at: Some(at(0)),
        ..Default::default()
    }
}
