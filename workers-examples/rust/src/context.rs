//! What a handler meets: its assignment, and the ways to speak about it while it runs. Never decides anything: it tells
//! the worker's engine.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tonic::transport::Channel;

use crate::{
    answer::HandlerError,
    json::{from_json, to_json},
    pb::{self, task_service_client::TaskServiceClient, worker_service_client::WorkerServiceClient},
    trace::child_traceparent,
};

/// Entries asked for in one page of lineage.
const LINEAGE_PAGE: i32 = 100;
/// Tries of a unary call while the server is away, and the wait before the second; it doubles.
const UNARY_TRIES: u32 = 5;
const UNARY_WAIT: Duration = Duration::from_millis(100);
/// The wait between two looks at a task: the first, and the longest; it doubles.
const LOOK_MIN: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(2);

/// What a handler asks of the engine.
pub(crate) enum Command {
    Progress(pb::Progress),
    Usage { lease: String },
    Budget { lease: String, tokens: i64, reason: String, reply: oneshot::Sender<i64> },
}

/// The part of an attempt that the handler and the engine share.
pub(crate) struct Attempt {
    usage: Mutex<pb::Usage>,
    allowance: AtomicI64,
    cancelled: watch::Sender<bool>,
}

impl Attempt {
    pub(crate) fn new(allowance: i64) -> Self {
        let cancelled = watch::Sender::new(false);
        Self { usage: Mutex::default(), allowance: AtomicI64::new(allowance), cancelled }
    }

    pub(crate) fn usage(&self) -> pb::Usage {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_allowance(&self, tokens: i64) {
        self.allowance.store(tokens, Ordering::Relaxed);
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    fn add(&self, more: &pb::Usage) {
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage.input_tokens = usage.input_tokens.saturating_add(more.input_tokens.max(0));
        usage.output_tokens = usage.output_tokens.saturating_add(more.output_tokens.max(0));
        usage.cached_tokens = usage.cached_tokens.saturating_add(more.cached_tokens.max(0));
        usage.reasoning_tokens = usage.reasoning_tokens.saturating_add(more.reasoning_tokens.max(0));
        if !more.model.is_empty() {
            usage.model.clone_from(&more.model);
        }
    }
}

/// One attempt of one turn, as its handler sees it. Cheap to clone.
///
/// When the attempt is cancelled (by the server, or because its lease has lapsed on the worker's own clock) the handler's
/// future is dropped at its next await. Work on other threads must watch [`Context::is_cancelled`] itself.
#[derive(Clone)]
pub struct Context {
    assignment: Arc<pb::Assignment>,
    attempt: Arc<Attempt>,
    commands: mpsc::Sender<Command>,
    channel: watch::Receiver<Option<Channel>>,
}

impl Context {
    pub(crate) fn new(
        assignment: Arc<pb::Assignment>,
        attempt: Arc<Attempt>,
        commands: mpsc::Sender<Command>,
        channel: watch::Receiver<Option<Channel>>,
    ) -> Self {
        Self { assignment, attempt, commands, channel }
    }

    /// The assignment as it came.
    pub fn assignment(&self) -> &pb::Assignment {
        &self.assignment
    }

    /// The input of the turn; null where there is none.
    pub fn input(&self) -> serde_json::Value {
        self.assignment.input.as_ref().map(to_json).unwrap_or_default()
    }

    /// Whether this is a decide turn, which wants a decision.
    pub fn is_decide(&self) -> bool {
        self.assignment.kind() == pb::TurnKind::Decide
    }

    /// Whether this is a validate turn, which wants a verdict ([`crate::Answer::agree`], [`crate::Answer::disagree`]) on
    /// [`Context::candidate`].
    pub fn is_validate(&self) -> bool {
        self.assignment.kind() == pb::TurnKind::Validate
    }

    /// On a validate turn: the envelope to judge.
    pub fn candidate(&self) -> Option<&pb::StatusEnvelope> {
        self.assignment.candidate.as_ref()
    }

    /// On a validate turn: the agent that wrote the candidate; empty on any other.
    pub fn author(&self) -> &str {
        &self.assignment.author
    }

    /// On a validate turn: what to judge the candidate by, a sentence each.
    pub fn criteria(&self) -> &[String] {
        &self.assignment.criteria
    }

    /// What will count as done, and what is left: rules, convergence, hops, turns, the best score so far. Empty where the
    /// server said nothing.
    pub fn terms(&self) -> pb::TerminationTerms {
        self.assignment.termination.clone().unwrap_or_default()
    }

    /// On a decide turn: what tripped, each with its evidence.
    pub fn trips(&self) -> &[pb::Trip] {
        &self.assignment.trips
    }

    /// On a decide turn: the best result so far.
    pub fn best_result(&self) -> Option<serde_json::Value> {
        self.assignment.best_result.as_ref().map(to_json)
    }

    /// Tokens this attempt may use in all; grows with what [`Context::request_budget`] is granted.
    pub fn allowance(&self) -> i64 {
        self.attempt.allowance.load(Ordering::Relaxed)
    }

    /// Tokens of the allowance that are not used. Below 0 where more was used than allowed.
    pub fn allowance_left(&self) -> i64 {
        let used = self.attempt.usage();
        self.allowance().saturating_sub(used.input_tokens.saturating_add(used.output_tokens))
    }

    /// What the attempt has used so far.
    pub fn used(&self) -> pb::Usage {
        self.attempt.usage()
    }

    /// Adds tokens to what the attempt has used and reports it. Negative numbers count as 0.
    pub async fn usage(&self, input_tokens: i64, output_tokens: i64) {
        self.add_usage(&pb::Usage { input_tokens, output_tokens, ..Default::default() }).await;
    }

    /// Adds to what the attempt has used, subsets and model included, and reports it.
    pub async fn add_usage(&self, more: &pb::Usage) {
        self.attempt.add(more);
        self.tell(Command::Usage { lease: self.assignment.lease.clone() }).await;
    }

    /// Reports a message said inside the turn. Lost when the server is away.
    pub async fn progress(&self, text: impl Into<String>) {
        let step = pb::WorkStep { content: text.into(), ..Default::default() };
        self.report(vec![step], None).await;
    }

    /// Reports steps (at most 100) and the best result so far. Lost when the server is away.
    pub async fn report(&self, steps: Vec<pb::WorkStep>, partial: Option<serde_json::Value>) {
        let lease = self.assignment.lease.clone();
        let progress = pb::Progress { lease, steps, partial_result: partial.map(from_json) };
        self.tell(Command::Progress(progress)).await;
    }

    /// Asks for tokens beyond the allowance and waits for the answer: all of them, or 0.
    pub async fn request_budget(&self, tokens: i64, reason: impl Into<String>) -> i64 {
        let (reply, answer) = oneshot::channel();
        let lease = self.assignment.lease.clone();
        self.tell(Command::Budget { lease, tokens, reason: reason.into(), reply }).await;
        answer.await.unwrap_or(0)
    }

    /// The whole history of the task, oldest first: as assigned where that is all of it, fetched otherwise.
    ///
    /// # Errors
    /// A retryable error when the server cannot be reached or refuses.
    pub async fn lineage(&self) -> Result<Vec<pb::LineageEntry>, HandlerError> {
        let assigned = &self.assignment.lineage;
        if self.assignment.lineage_total <= i32::try_from(assigned.len()).unwrap_or(i32::MAX) {
            return Ok(assigned.clone());
        }
        let mut entries = Vec::new();
        let mut page_token = String::new();
        loop {
            let page = self.lineage_page(page_token).await?;
            entries.extend(page.entries);
            if page.next_page_token.is_empty() {
                return Ok(entries);
            }
            page_token = page.next_page_token;
        }
    }

    async fn lineage_page(&self, page_token: String) -> Result<pb::GetLineageResponse, HandlerError> {
        let request = pb::GetLineageRequest {
            lease: self.assignment.lease.clone(),
            page_size: LINEAGE_PAGE,
            page_token,
        };
        let page = self.call(|channel| {
            let request = self.traced(request.clone());
            async move { WorkerServiceClient::new(channel).get_lineage(request).await }
        });
        page.await.map_err(|status| HandlerError::retryable(format!("lineage: {}", status.message())))
    }

    /// Submits a task under this attempt's lease: a child, paid from what this task has left, and stopped with it. The same
    /// contract and idempotency key under the same attempt give the same child. Wait for it with [`Context::wait_for`].
    ///
    /// # Errors
    /// The server's refusal: its `ErrorInfo.reason` is stable, such as BUDGET_TOO_SMALL. UNAVAILABLE where the server could
    /// not be reached.
    pub async fn submit_child(&self, contract: pb::Contract) -> Result<String, tonic::Status> {
        let parent_lease = self.assignment.lease.clone();
        let request = pb::SubmitTaskRequest { contract: Some(contract), parent_lease };
        let submitted = self.call(|channel| {
            let request = self.traced(request.clone());
            async move { TaskServiceClient::new(channel).submit_task(request).await }
        });
        Ok(submitted.await?.task_id)
    }

    /// Waits until a task, such as a child, has ended, and gives it whole: its `outcome` is there.
    ///
    /// # Errors
    /// NOT_FOUND where there is no such task; UNAVAILABLE where the server could not be reached.
    pub async fn wait_for(&self, task_id: &str) -> Result<pb::Task, tonic::Status> {
        let request = pb::GetTaskRequest { task_id: task_id.to_owned() };
        let mut wait = LOOK_MIN;
        loop {
            let found = self.call(|channel| {
                let request = self.traced(request.clone());
                async move { TaskServiceClient::new(channel).get_task(request).await }
            });
            if let Some(task) = found.await?.task.filter(|task| task.outcome.is_some()) {
                return Ok(task);
            }
            tokio::time::sleep(wait).await;
            wait = LOOK_MAX.min(wait * 2);
        }
    }

    /// A unary call on the session's connection, again a few times while the server is away.
    async fn call<T, F>(&self, call: impl Fn(Channel) -> F) -> Result<T, tonic::Status>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let mut wait = UNARY_WAIT;
        for left in (0..UNARY_TRIES).rev() {
            let outcome = match self.channel() {
                Some(channel) => call(channel).await,
                None => Err(tonic::Status::unavailable("not connected")),
            };
            match outcome {
                Err(status) if status.code() == tonic::Code::Unavailable && left > 0 => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                outcome => return outcome.map(tonic::Response::into_inner),
            }
        }
        Err(tonic::Status::unavailable("the server could not be reached"))
    }

    /// The connection of the session, for calls of the handler's own; `None` while there is none.
    pub fn channel(&self) -> Option<Channel> {
        self.channel.borrow().clone()
    }

    /// The W3C traceparent of this attempt: spans made under it hang below the attempt. Empty where there is none.
    pub fn traceparent(&self) -> &str {
        &self.assignment.traceparent
    }

    /// A traceparent for a span of the handler's own, below the attempt. `None` where the attempt has none.
    pub fn child_traceparent(&self) -> Option<String> {
        child_traceparent(self.traceparent())
    }

    /// Puts the attempt's trace context on a call of the handler's own.
    pub fn traced<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        for (name, value) in
            [("traceparent", &self.assignment.traceparent), ("tracestate", &self.assignment.tracestate)]
        {
            // What is no valid header value is no trace context either: the call goes without.
            if let Ok(value) = value.parse::<tonic::metadata::AsciiMetadataValue>()
                && !value.is_empty()
            {
                request.metadata_mut().insert(name, value);
            }
        }
        request
    }

    /// Whether the attempt is cancelled. For work that never awaits.
    pub fn is_cancelled(&self) -> bool {
        *self.attempt.cancelled.borrow()
    }

    /// Waits until the attempt is cancelled.
    pub async fn cancelled(&self) {
        let mut cancelled = self.attempt.cancelled.subscribe();
        // The sender lives in `self.attempt`, so this only ends with a cancel.
        let _ = cancelled.wait_for(|c| *c).await;
    }

    async fn tell(&self, command: Command) {
        // Fails only when the worker has ended; then this future is about to be dropped.
        let _ = self.commands.send(command).await;
        // So that a handler that only computes and reports still meets its cancel here.
        tokio::task::yield_now().await;
    }
}
