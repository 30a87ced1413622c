//! The bench's workers: a bare session each, so that what is measured is the server. What one does with work depends on the
//! row: answer at once, spend too much, or report and ask for budget without end.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bailiwick::pb::{
    AbortDecision, AgentSpec, Assignment, BudgetRequest, Complete, Credit, Decision, Heartbeat, Register,
    SessionRequest, SessionResponse, Status, StatusEnvelope, TurnKind, Usage, UsageReport, complete,
    decision, session_request::Message as Up, session_response::Message as Down,
    worker_service_client::WorkerServiceClient,
};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use crate::{board::Board, contracts::number_of};

/// How often a reporter asks for budget before it answers: the server allows 200 requests of one attempt.
const REQUESTS: u32 = 150;

/// What a worker does with its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Answers at once.
    Answer,
    /// Reports more than the task has.
    Overspend,
    /// Reports usage and asks for budget in turn, while the board says so.
    Report,
}

/// What a message that is not acknowledged yet was about.
enum Said {
    Answer(u64),
    Usage(String),
}

struct Worker {
    up: mpsc::Sender<SessionRequest>,
    board: Arc<Board>,
    kind: Kind,
    last: i64,
    said: HashMap<i64, Said>,
    /// Live leases, with their task's number and how often each has asked for budget.
    leases: BTreeMap<String, (u64, u32)>,
    /// Leases whose next report waits until reporting goes on.
    parked: Vec<String>,
}

/// A session that is open, and no more. It stays open as long as this lives.
pub(crate) struct Session {
    up: mpsc::Sender<SessionRequest>,
    down: Streaming<SessionResponse>,
}

impl Session {
    /// Opens one for an agent, with credit.
    pub(crate) async fn open(channel: Channel, id: &str, agent: &str, concurrency: i32) -> Self {
        let mut client = WorkerServiceClient::new(channel);
        let (up, requests) = mpsc::channel(1_024);
        let register = Register {
            worker_id: id.to_owned(),
            agents: vec![AgentSpec { name: agent.to_owned(), ..AgentSpec::default() }],
            max_concurrency: concurrency,
            ..Register::default()
        };
        let credit = Credit { slots: concurrency, agent: String::new() };
        for (message_id, message) in [(1, Up::Register(register)), (2, Up::Credit(credit))] {
            let request = SessionRequest { message_id, message: Some(message) };
            up.send(request).await.expect("there is room for two");
        }
        let opened = client.session(ReceiverStream::new(requests)).await;
        let mut down = opened.expect("the session opens").into_inner();
        let first = down.message().await.expect("the session opens").and_then(|first| first.message);
        assert!(matches!(first, Some(Down::Registered(_))), "{first:?}");
        Self { up, down }
    }

    /// The first assignment.
    pub(crate) async fn assignment(&mut self) -> Assignment {
        loop {
            let next = self.down.message().await.expect("the session lives").expect("it goes on");
            if let Some(Down::Assignment(assignment)) = next.message {
                return *assignment;
            }
        }
    }

    /// Works until the server goes away.
    pub(crate) fn work(self, kind: Kind, board: &Arc<Board>) {
        let Self { up, mut down } = self;
        let board = Arc::clone(board);
        let mut reporting = board.reporting.subscribe();
        let mut worker = Worker {
            up,
            board,
            kind,
            last: 2,
            said: HashMap::new(),
            leases: BTreeMap::new(),
            parked: Vec::new(),
        };
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_secs(2));
            loop {
                tokio::select! {
                    biased;
                    message = down.message() => match message {
                        Ok(Some(response)) => worker.on(response.message).await,
                        Ok(None) | Err(_) => return,
                    },
                    Ok(()) = reporting.changed() => worker.go_on().await,
                    _ = beat.tick() => drop(worker.say(Up::Heartbeat(Heartbeat {})).await),
                }
            }
        });
    }

    /// Stays open, heard and idle, until the sender is dropped.
    pub(crate) fn idle(self) -> oneshot::Sender<()> {
        let Self { up, mut down } = self;
        let (alive, mut gone) = oneshot::channel();
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(Duration::from_secs(9));
            let mut message_id = 2;
            loop {
                tokio::select! {
                    _ = &mut gone => return,
                    _ = down.message() => {}
                    _ = beat.tick() => {
                        message_id += 1;
                        let message = Some(Up::Heartbeat(Heartbeat {}));
                        let _ = up.send(SessionRequest { message_id, message }).await;
                    }
                }
            }
        });
        alive
    }
}

impl Worker {
    async fn say(&mut self, message: Up) -> i64 {
        self.last += 1;
        // The server may have gone at the end of the run; then the loop above ends.
        let _ = self.up.send(SessionRequest { message_id: self.last, message: Some(message) }).await;
        self.last
    }

    async fn on(&mut self, message: Option<Down>) {
        match message {
            Some(Down::Assignment(assignment)) => self.assigned(*assignment).await,
            Some(Down::Ack(ack)) => {
                let mut slots = 0;
                for id in ack.message_ids {
                    match self.said.remove(&id) {
                        Some(Said::Answer(number)) => {
                            // One that overspent was over when it was cancelled.
                            if self.kind != Kind::Overspend {
                                self.board.over(number);
                            }
                            slots += 1;
                        }
                        Some(Said::Usage(lease)) => self.usage_known(lease).await,
                        None => {}
                    }
                }
                self.welcome(slots).await;
            }
            Some(Down::BudgetGrant(grant)) => {
                self.board.reports.fetch_add(1, Ordering::Relaxed);
                self.report(grant.lease).await;
            }
            Some(Down::Cancel(cancel)) => {
                if let Some((number, _)) = self.leases.remove(&cancel.lease) {
                    self.board.over(number);
                    self.welcome(1).await;
                }
            }
            // An answer that crosses a cancel on its way is refused; no other is.
            Some(Down::Refusal(refusal)) if self.kind == Kind::Answer => {
                panic!("refused: {} {}", refusal.reason, refusal.message)
            }
            Some(Down::Registered(_) | Down::Refusal(_) | Down::Drain(_)) | None => {}
        }
    }

    async fn welcome(&mut self, slots: i32) {
        if slots > 0 {
            self.say(Up::Credit(Credit { slots, agent: String::new() })).await;
        }
    }

    async fn assigned(&mut self, assignment: Assignment) {
        let number = number_of(assignment.input.as_ref());
        if assignment.kind == TurnKind::Decide as i32 {
            let id = self.say(abort(assignment.lease)).await;
            self.said.insert(id, Said::Answer(number));
            return;
        }
        match self.kind {
            Kind::Answer => {
                self.board.begun(number);
                let id = self.say(answer(assignment.lease, number)).await;
                self.said.insert(id, Said::Answer(number));
            }
            Kind::Overspend => {
                self.leases.insert(assignment.lease.clone(), (number, 0));
                self.board.begun(number);
                self.say(usage(assignment.lease, 1_000_000)).await;
            }
            Kind::Report => {
                self.leases.insert(assignment.lease.clone(), (number, 0));
                self.report(assignment.lease).await;
            }
        }
    }

    /// Reports a little more than before; or answers, when that was often enough.
    async fn report(&mut self, lease: String) {
        if !*self.board.reporting.borrow() {
            return self.parked.push(lease);
        }
        let Some((number, requests)) = self.leases.get_mut(&lease) else { return };
        *requests += 1;
        let (number, requests) = (*number, *requests);
        if requests > REQUESTS {
            self.leases.remove(&lease);
            let id = self.say(answer(lease, number)).await;
            self.said.insert(id, Said::Answer(number));
            return;
        }
        let id = self.say(usage(lease.clone(), i64::from(requests))).await;
        self.said.insert(id, Said::Usage(lease));
    }

    async fn usage_known(&mut self, lease: String) {
        self.board.reports.fetch_add(1, Ordering::Relaxed);
        self.say(Up::BudgetRequest(BudgetRequest { lease, tokens: 1, reason: String::new() })).await;
    }

    async fn go_on(&mut self) {
        if *self.board.reporting.borrow() {
            for lease in std::mem::take(&mut self.parked) {
                self.report(lease).await;
            }
        }
    }
}

fn answer(lease: String, number: u64) -> Up {
    #[allow(clippy::cast_precision_loss)]
    let result = prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(number as f64)) };
    let envelope = StatusEnvelope {
        status: Status::Success.into(),
        result: Some(result),
        confidence: Some(1.0),
        usage: Some(Usage { input_tokens: 1_000, output_tokens: 5, ..Usage::default() }),
        ..StatusEnvelope::default()
    };
    Up::Complete(Complete { lease, answer: Some(complete::Answer::Envelope(envelope)) })
}

fn usage(lease: String, input_tokens: i64) -> Up {
    Up::Usage(UsageReport { lease, usage: Some(Usage { input_tokens, ..Usage::default() }) })
}

fn abort(lease: String) -> Up {
    let abort = AbortDecision { reason: "it spent too much".to_owned() };
    let usage = Some(Usage { input_tokens: 1, ..Usage::default() });
    let decision = Decision { usage, decision: Some(decision::Decision::Abort(abort)) };
    Up::Complete(Complete { lease, answer: Some(complete::Answer::Decision(decision)) })
}
