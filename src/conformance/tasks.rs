//! The scripted TaskService: takes what is submitted under a lease and says how it goes on, as the case wants it. Must never
//! run anything: a child here is a number of looks at it, then its outcome.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use bailiwick_worker::from_json;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::server::{Incoming, traceparent};
use crate::pb::{self, task_service_server::TaskService};

/// Looks at a child (GetTask) that find it running still.
const LOOKS: u32 = 2;

/// What a worker submitted.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) lease: String,
    pub(crate) traceparent: String,
    pub(crate) contract: pb::Contract,
}

/// How children are treated.
#[derive(Clone, Copy, Default)]
pub(crate) enum Welcome {
    /// Taken.
    #[default]
    Taken,
    /// Told to come again, once, though the server has it: its answer is lost.
    LostOnce,
    /// Taken, and never over.
    Endless,
    /// Refused for good.
    Refused,
}

#[derive(Default)]
struct Children {
    welcome: Welcome,
    /// Of each child's id: how often it was looked at; `None` where it never ends.
    looks: BTreeMap<String, Option<u32>>,
}

/// The children there are.
#[derive(Clone, Default)]
pub(crate) struct ChildBook(Arc<Mutex<Children>>);

impl ChildBook {
    /// From now on children are met like this.
    pub(crate) fn set(&self, welcome: Welcome) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).welcome = welcome;
    }

    fn submit(&self) -> Result<String, Status> {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match book.welcome {
            Welcome::Refused => Err(Status::failed_precondition("this task may have no more children")),
            Welcome::LostOnce => {
                book.welcome = Welcome::Taken;
                Err(Status::unavailable("the answer is lost"))
            }
            Welcome::Taken | Welcome::Endless => {
                let id = format!("00000000-0000-7000-9000-{:012x}", book.looks.len() + 1);
                let endless = matches!(book.welcome, Welcome::Endless);
                book.looks.insert(id.clone(), (!endless).then_some(0));
                Ok(id)
            }
        }
    }

    fn look(&self, id: &str) -> Result<pb::Task, Status> {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = book.looks.get_mut(id).ok_or_else(|| Status::not_found("no such task"))?;
        *looks = looks.map(|n| n.saturating_add(1));
        let ended = looks.is_some_and(|n| n > LOOKS);
        let state = if ended { pb::TaskState::Succeeded } else { pb::TaskState::Running };
        let outcome = pb::Outcome {
            state: state.into(),
            ended_by: pb::EndedBy::Gate.into(),
            cause: pb::Cause::Completed.into(),
            result: Some(from_json(json!({"of": "the child"}))),
            ..Default::default()
        };
        let summary = pb::TaskSummary { task_id: id.to_owned(), state: state.into(), ..Default::default() };
        Ok(pb::Task { summary: Some(summary), outcome: ended.then_some(outcome), ..Default::default() })
    }
}

/// See the head of this file.
pub(super) struct Tasks {
    events: mpsc::Sender<Incoming>,
    children: ChildBook,
}

impl Tasks {
    pub(super) fn new(events: mpsc::Sender<Incoming>, children: ChildBook) -> Self {
        Self { events, children }
    }
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("of TaskService the conformance server serves SubmitTask and GetTask"))
}

#[tonic::async_trait]
impl TaskService for Tasks {
    type StreamTasksStream = Pin<Box<dyn Stream<Item = Result<pb::StreamTasksResponse, Status>> + Send>>;
    type WatchTaskStream = Pin<Box<dyn Stream<Item = Result<pb::WatchTaskResponse, Status>> + Send>>;
    type CancelTasksStream = Pin<Box<dyn Stream<Item = Result<pb::CancelTasksResponse, Status>> + Send>>;

    async fn submit_task(
        &self,
        request: Request<pb::SubmitTaskRequest>,
    ) -> Result<Response<pb::SubmitTaskResponse>, Status> {
        let traceparent = traceparent(&request);
        let pb::SubmitTaskRequest { contract, parent_lease: lease } = request.into_inner();
        let submission = Submission { lease, traceparent, contract: contract.unwrap_or_default() };
        // Nobody listens any more when the run is over.
        let _ = self.events.send(Incoming::Submitted(Box::new(submission))).await;
        let task_id = self.children.submit()?;
        Ok(Response::new(pb::SubmitTaskResponse { task_id, existing: false }))
    }

    async fn stream_tasks(
        &self,
        _: Request<Streaming<pb::StreamTasksRequest>>,
    ) -> Result<Response<Self::StreamTasksStream>, Status> {
        not_here()
    }

    async fn get_task(
        &self,
        request: Request<pb::GetTaskRequest>,
    ) -> Result<Response<pb::GetTaskResponse>, Status> {
        let task = self.children.look(&request.into_inner().task_id)?;
        Ok(Response::new(pb::GetTaskResponse { task: Some(task) }))
    }

    async fn check_contract(
        &self,
        _: Request<pb::CheckContractRequest>,
    ) -> Result<Response<pb::CheckContractResponse>, Status> {
        not_here()
    }

    async fn list_tasks(
        &self,
        _: Request<pb::ListTasksRequest>,
    ) -> Result<Response<pb::ListTasksResponse>, Status> {
        not_here()
    }

    async fn watch_task(
        &self,
        _: Request<pb::WatchTaskRequest>,
    ) -> Result<Response<Self::WatchTaskStream>, Status> {
        not_here()
    }

    async fn cancel_task(
        &self,
        _: Request<pb::CancelTaskRequest>,
    ) -> Result<Response<pb::CancelTaskResponse>, Status> {
        not_here()
    }

    async fn cancel_tasks(
        &self,
        _: Request<pb::CancelTasksRequest>,
    ) -> Result<Response<Self::CancelTasksStream>, Status> {
        not_here()
    }
}
