//! `TaskService`: submit, look, follow, cancel.

use std::sync::Arc;

use prost::Message as _;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};

use crate::{
    engine::{event::TraceContext, intake::Violation, mast, readiness},
    pb,
    runtime::{Overloaded, PageAfter, Runtime, TaskFilter, acceptance},
    types::{
        contract::Contract,
        ids::{Lease, TaskId},
        limits::fixed::{MAX_PAYLOAD_BYTES, MAX_TEXT_BYTES},
        outcome::{Cause, TaskState},
        time::Span,
    },
};

use super::{
    cancels::{self, Cancelling},
    convert::{
        contract::{child_intake, contract_out, fingerprint, intake},
        enums,
        faults::Faults,
        halt::halt_out,
        task::{mode_out, point_out, summary_out, task_out},
        time::timestamp,
    },
    follow::{Follow, follow},
    page::{self, Scope},
    status::Fault,
    submissions::Submissions,
    submitting::{Submitting, accepted},
    trace,
};

/// Tasks a page where nothing is asked for.
const TASKS_PAGE: usize = 50;
/// Labels in a filter.
pub(super) const MAX_FILTER_LABELS: usize = 8;
/// Contracts larger than this are checked off the threads that serve calls.
const LARGE_CONTRACT_BYTES: usize = MAX_PAYLOAD_BYTES / 32;

/// Contracts whose rules are tried at once: a rule may take its time, and there are other things that block.
const TRIALS: usize = 4;

/// The service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tasks {
    runtime: Runtime,
    stop: Stop,
    watches: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    trials: Arc<Semaphore>,
}

/// When streams end.
#[derive(Clone)]
pub(crate) struct Stop {
    /// Nothing new is taken any more.
    pub(crate) intake: CancellationToken,
    /// Every stream ends.
    pub(crate) streams: CancellationToken,
}

impl Tasks {
    /// The service. `max_watches` bounds the streams of `WatchTask`, `max_streams` those of `StreamTasks`.
    pub(crate) fn new(runtime: Runtime, stop: Stop, max_watches: usize, max_streams: usize) -> Self {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        let (watches, streams) = (semaphore(max_watches), semaphore(max_streams));
        Self { runtime, stop, watches, streams, trials: semaphore(TRIALS) }
    }

    /// Submits a task, or a child. Answered when it is durable.
    pub(super) fn submit(&self, request: pb::SubmitTaskRequest, trace: TraceContext) -> Submitting {
        let pb::SubmitTaskRequest { contract: wire, parent_lease } = request;
        let wire = match contract(wire) {
            Ok(wire) => wire,
            Err(fault) => return Submitting::refused(fault),
        };
        let fingerprint = fingerprint(&wire);
        let tasks = self.clone();
        if !parent_lease.is_empty() {
            return Submitting::longer(
                async move { tasks.submit_child(wire, fingerprint, &parent_lease).await },
            );
        }
        if wire.encoded_len() > LARGE_CONTRACT_BYTES {
            return Submitting::longer(async move {
                let contract = tasks.intake(wire).await;
                tasks.accept(contract, fingerprint, trace).await
            });
        }
        let runtime = &self.runtime;
        let contract = match intake(wire, runtime.ceilings(), &|agent| runtime.is_known(agent)) {
            Ok(contract) => contract,
            Err(violations) => return Submitting::refused(Fault::ContractRefused(violations)),
        };
        if self.is_plain(&contract) {
            return Submitting::asked(runtime.submit(contract, fingerprint, trace));
        }
        Submitting::longer(async move {
            let contract = tasks.tried(contract).await;
            tasks.accept(contract, fingerprint, trace).await
        })
    }

    /// Submits what intake has made of a contract.
    async fn accept(
        &self,
        contract: Result<Contract, Vec<Violation>>,
        fingerprint: u128,
        trace: TraceContext,
    ) -> Result<pb::SubmitTaskResponse, Fault> {
        let contract = contract.map_err(Fault::ContractRefused)?;
        Ok(accepted(self.runtime.submit(contract, fingerprint, trace).await?))
    }

    /// Whether nothing of it must be tried.
    fn is_plain(&self, contract: &Contract) -> bool {
        contract.acceptance.is_empty() && !self.runtime.has_input_schema(contract)
    }

    /// What `CheckContract` says of a contract that would be accepted.
    async fn judged(&self, contract: &Contract) -> pb::CheckContractResponse {
        let facts = self.runtime.server_facts(contract).await;
        pb::CheckContractResponse {
            violations: Vec::new(),
            points: readiness::points(contract, &facts).into_iter().map(point_out).collect(),
            effective: Some(contract_out(contract)),
            modes: mast::modes(contract, &facts).into_iter().map(mode_out).collect(),
        }
    }

    /// Completes a contract, or names every fault in it.
    pub(super) async fn intake(&self, wire: pb::Contract) -> Result<Contract, Vec<Violation>> {
        let runtime = self.runtime.clone();
        let large = wire.encoded_len() > LARGE_CONTRACT_BYTES;
        let complete = move || intake(wire, runtime.ceilings(), &|agent| runtime.is_known(agent));
        let contract = if large { Box::pin(off_thread(complete)).await? } else { complete()? };
        if self.is_plain(&contract) {
            return Ok(contract);
        }
        self.tried(contract).await
    }

    /// Tries what only a try can tell: the acceptance rules on a sample, the first inputs on what their agents take.
    async fn tried(&self, contract: Contract) -> Result<Contract, Vec<Violation>> {
        let mut faults = Faults::default();
        let inputs = self.runtime.check_inputs(&contract).await.map_err(|_| unchecked())?;
        for (field, fault) in inputs {
            faults.add(field, fault);
        }
        if contract.acceptance.is_empty() {
            return faults.finish(Some(contract));
        }
        let turn = Arc::clone(&self.trials).acquire_owned().await;
        let (contract, broken) = off_thread(move || {
            // Held by the work: whoever asked may have gone, and it still runs.
            let _turn = turn;
            let broken = acceptance::tried(&contract);
            Ok((contract, broken))
        })
        .await?;
        for (index, fault) in broken {
            faults.add(format!("termination.acceptance[{index}]"), fault);
        }
        faults.finish(Some(contract))
    }
}

/// Work on a contract that may take long.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Vec<Violation>> + Send + 'static,
) -> Result<T, Vec<Violation>> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(unchecked()))
}

fn unchecked() -> Vec<Violation> {
    vec![Violation { field: "contract".to_owned(), description: "could not be checked".to_owned() }]
}

impl Tasks {
    /// A child: its contract is completed where its parent is, under what the parent has left.
    async fn submit_child(
        &self,
        wire: pb::Contract,
        fingerprint: u128,
        lease: &str,
    ) -> Result<pb::SubmitTaskResponse, Fault> {
        let lease: Lease = lease.parse().map_err(|error: crate::types::ids::InvalidName| {
            Fault::field("parent_lease", error.to_string())
        })?;
        let (runtime, large) = (self.runtime.clone(), wire.encoded_len() > LARGE_CONTRACT_BYTES);
        let check = move || child_intake(wire, runtime.ceilings(), &|agent| runtime.is_known(agent));
        let checked = if large { off_thread(check).await } else { check() };
        let (draft, contract) = checked.map_err(Fault::ContractRefused)?;
        self.tried(contract).await.map_err(Fault::ContractRefused)?;
        Ok(accepted(self.runtime.submit_child(lease, draft, fingerprint).await?))
    }
}

/// The id of a task. A text that is no id names no task.
pub(crate) fn task_id(text: &str) -> Result<TaskId, Fault> {
    if text.is_empty() {
        return Err(Fault::field("task_id", "is required: as SubmitTask returned it"));
    }
    text.parse().map_err(|error: crate::types::ids::InvalidName| Fault::field("task_id", error.to_string()))
}

fn contract(wire: Option<pb::Contract>) -> Result<pb::Contract, Fault> {
    wire.ok_or_else(|| Fault::field("contract", "is required"))
}

/// Tells a filter from its wire form; `pb::ListTasksRequest`'s page fields are not looked at.
pub(super) fn filter(wire: &pb::ListTasksRequest, faults: &mut Faults) -> TaskFilter {
    let pb::ListTasksRequest {
        states,
        causes,
        agent,
        labels,
        since,
        page_size: _,
        page_token: _,
        parent_task_id,
        namespace,
    } = wire;
    faults.list("states", states, TaskState::ALL.len());
    faults.list("causes", causes, Cause::ALL.len());
    if labels.len() > MAX_FILTER_LABELS {
        faults.add("labels", format!("has {} entries: write at most {MAX_FILTER_LABELS}", labels.len()));
    }
    TaskFilter {
        states: any_of("states", states, enums::task_state_in, faults),
        causes: any_of("causes", causes, enums::cause_in, faults),
        agent: if agent.is_empty() { None } else { faults.name("agent", agent) },
        labels: labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        since: timestamp(faults, "since", *since),
        parent: if parent_task_id.is_empty() { None } else { faults.name("parent_task_id", parent_task_id) },
        namespace: if namespace.is_empty() { None } else { faults.name("namespace", namespace) },
    }
}

/// The values of a filter; UNSPECIFIED among them means any.
pub(super) fn any_of<T>(
    field: &str,
    numbers: &[i32],
    parse: impl Fn(i32) -> Option<T>,
    faults: &mut Faults,
) -> Vec<T> {
    if numbers.contains(&0) {
        return Vec::new();
    }
    let mut parsed = |(index, number): (usize, &i32)| {
        let names = "one of the names in task.proto";
        faults.one_of(&format!("{field}[{index}]"), *number, parse(*number), names)
    };
    numbers.iter().enumerate().filter_map(&mut parsed).collect()
}

#[tonic::async_trait]
impl pb::task_service_server::TaskService for Tasks {
    type WatchTaskStream = BoxStream<pb::WatchTaskResponse>;
    type CancelTasksStream = BoxStream<pb::CancelTasksResponse>;
    type StreamTasksStream = BoxStream<pb::StreamTasksResponse>;

    async fn submit_task(
        &self,
        request: Request<pb::SubmitTaskRequest>,
    ) -> Result<Response<pb::SubmitTaskResponse>, Status> {
        let trace = trace::context(request.metadata());
        Ok(Response::new(self.submit(request.into_inner(), trace).await?))
    }

    async fn stream_tasks(
        &self,
        request: Request<Streaming<pb::StreamTasksRequest>>,
    ) -> Result<Response<Self::StreamTasksStream>, Status> {
        let place = self.streams.clone().try_acquire_owned().map_err(|_| {
            let what = "all places for streams of submissions are taken".to_owned();
            Fault::Overloaded(Overloaded { retry_after: Span::from_secs(1), what })
        })?;
        let (metadata, _, incoming) = request.into_parts();
        let stop = self.stop.intake.clone();
        let stream = Submissions::new(self.clone(), incoming, &metadata, stop, place);
        Ok(Response::new(Box::pin(stream)))
    }

    async fn check_contract(
        &self,
        request: Request<pb::CheckContractRequest>,
    ) -> Result<Response<pb::CheckContractResponse>, Status> {
        let pb::CheckContractRequest { contract: wire } = request.into_inner();
        let response = match self.intake(contract(wire)?).await {
            Ok(contract) => self.judged(&contract).await,
            Err(violations) => pb::CheckContractResponse {
                violations: violations
                    .into_iter()
                    .map(|Violation { field, description }| pb::ContractViolation { field, description })
                    .collect(),
                points: Vec::new(),
                effective: None,
                modes: Vec::new(),
            },
        };
        Ok(Response::new(response))
    }

    async fn get_task(
        &self,
        request: Request<pb::GetTaskRequest>,
    ) -> Result<Response<pb::GetTaskResponse>, Status> {
        let pb::GetTaskRequest { task_id: text } = request.into_inner();
        let view = self.runtime.get(task_id(&text)?).await.map_err(Fault::from)?;
        let waits = self.runtime.waits(&view);
        let halts = self.runtime.halts_on(&view).iter().map(|halt| halt_out(halt)).collect();
        let task = pb::Task { halts, ..task_out(&view, &waits) };
        Ok(Response::new(pb::GetTaskResponse { task: Some(task) }))
    }

    async fn list_tasks(
        &self,
        request: Request<pb::ListTasksRequest>,
    ) -> Result<Response<pb::ListTasksResponse>, Status> {
        let wire = request.into_inner();
        let mut faults = Faults::default();
        let filter = filter(&wire, &mut faults);
        let size = page::size(wire.page_size, TASKS_PAGE, &mut faults);
        let filter = faults.finish(Some(filter)).map_err(Fault::InvalidMessage)?;
        let page_token = wire.page_token.clone();
        let bare = pb::ListTasksRequest { page_size: 0, page_token: String::new(), ..wire };
        let scope = Scope::of("tasks", &bare);
        let after = scope.task(&page_token)?;
        let rows = self.runtime.list(filter, after, size + 1).await.map_err(Fault::from)?;
        let (tasks, next_page_token) = page::cut(&rows, size, summary_out, |last| {
            scope.after_task(PageAfter { created_at: last.created_at, task: last.task })
        });
        Ok(Response::new(pb::ListTasksResponse { tasks, next_page_token }))
    }

    async fn watch_task(
        &self,
        request: Request<pb::WatchTaskRequest>,
    ) -> Result<Response<Self::WatchTaskStream>, Status> {
        let pb::WatchTaskRequest { task_id: text, after_seq } = request.into_inner();
        let task = task_id(&text)?;
        let after = u64::try_from(after_seq)
            .map_err(|_| Fault::field("after_seq", format!("is {after_seq}: write 0 or more")))?;
        let place = self.watches.clone().try_acquire_owned().map_err(|_| {
            let what = "all places for watching are taken".to_owned();
            Fault::Overloaded(Overloaded { retry_after: Span::from_secs(5), what })
        })?;
        // From the first: records refer to earlier ones, and those are read without being sent.
        let watch = self.runtime.watch(task, 0).await.map_err(Fault::from)?;
        Ok(Response::new(follow(Follow::new(task, after, watch, self.stop.streams.clone(), place))))
    }

    async fn cancel_task(
        &self,
        request: Request<pb::CancelTaskRequest>,
    ) -> Result<Response<pb::CancelTaskResponse>, Status> {
        let pb::CancelTaskRequest { task_id: text, reason } = request.into_inner();
        let task = task_id(&text)?;
        let mut faults = Faults::default();
        faults.text("reason", &reason, MAX_TEXT_BYTES);
        let reason = faults.finish(Some(reason)).map_err(Fault::InvalidMessage)?;
        let cancelled = self.runtime.cancel(task, reason).await.map_err(Fault::from)?;
        let crate::runtime::Cancelled { summary, already_ended } = cancelled;
        let summary = Some(summary_out(&summary));
        Ok(Response::new(pb::CancelTaskResponse { summary, already_ended }))
    }

    async fn cancel_tasks(
        &self,
        request: Request<pb::CancelTasksRequest>,
    ) -> Result<Response<Self::CancelTasksStream>, Status> {
        let many = cancels::understood(request.into_inner())?;
        let place = self.watches.clone().try_acquire_owned().map_err(|_| {
            let what = "all places for streams are taken".to_owned();
            Fault::Overloaded(Overloaded { retry_after: Span::from_secs(5), what })
        })?;
        let stop = self.stop.intake.clone();
        Ok(Response::new(follow(Cancelling::new(self.runtime.clone(), many, stop, place))))
    }
}
