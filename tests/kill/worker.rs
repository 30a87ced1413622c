//! Workers that keep their own books: every lease they were given and what they used under it, answered until acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bailiwick::pb::{
    AgentSpec, AskHuman, Assignment, Complete, CompleteTurnRequest, Credit, HandOff, Heartbeat, Judgement,
    Progress, Register, ReportProgressRequest, SessionRequest, Status, StatusEnvelope, SubmitTaskRequest,
    TurnKind, Usage, Verdict, WorkStep, complete, session_request, session_response,
    status_envelope::Directive, task_service_client::TaskServiceClient,
    worker_service_client::WorkerServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, transport::Channel};

use crate::load::{Kind, child};

/// What a worker takes at once.
const CONCURRENCY: i32 = 16;

/// One lease, as its worker knows it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) task: String,
    /// The turn's number and the attempt's.
    pub(crate) place: (i32, i32),
    pub(crate) tokens: i64,
    /// Whether the server has acknowledged, or refused with the answer, what was used.
    pub(crate) heard: bool,
    /// Whether the answer was accepted; `None` while it is under way.
    pub(crate) accepted: Option<bool>,
    /// Whether a step that was streamed under it was acknowledged.
    pub(crate) streamed: bool,
    /// The child that was acknowledged under it.
    pub(crate) child: Option<String>,
}

/// The books of all workers.
#[derive(Default)]
pub(crate) struct Books {
    leases: Mutex<BTreeMap<String, Entry>>,
    registered: Mutex<BTreeSet<usize>>,
    claimed: Mutex<u32>,
}

impl Books {
    pub(crate) fn entries(&self) -> BTreeMap<String, Entry> {
        self.leases.lock().expect("no worker panics").clone()
    }

    /// Notes a lease that was assigned.
    pub(crate) fn take(&self, assignment: &Assignment, accepted: Option<bool>) {
        let entry = Entry {
            task: assignment.task_id.clone(),
            place: (assignment.turn, assignment.attempt),
            tokens: tokens_of(assignment),
            heard: false,
            accepted,
            streamed: false,
            child: None,
        };
        let before = self.leases.lock().expect("no worker panics").insert(assignment.lease.clone(), entry);
        assert!(before.is_none(), "no lease is assigned twice");
    }

    /// Notes that the server knows what was used under a lease, and whether it took the answer.
    pub(crate) fn heard(&self, lease: &str, accepted: bool) {
        if let Some(entry) = self.leases.lock().expect("no worker panics").get_mut(lease) {
            (entry.heard, entry.accepted) = (true, Some(accepted));
        }
    }

    fn note(&self, lease: &str, change: impl FnOnce(&mut Entry)) {
        self.leases.lock().expect("no worker panics").get_mut(lease).map(change);
    }

    pub(crate) fn claimed(&self) -> u32 {
        *self.claimed.lock().expect("no worker panics")
    }

    pub(crate) async fn wait_until_registered(&self, workers: usize) {
        while self.registered.lock().expect("no worker panics").len() < workers {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until every lease is accounted for.
    pub(crate) async fn finish(&self) {
        while self.entries().values().any(|entry| entry.accepted.is_none()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Serves for ever, over every restart.
pub(crate) async fn run(uri: String, number: usize, books: Arc<Books>) {
    let endpoint = tonic::transport::Endpoint::from_shared(uri).expect("a URI");
    let channel = endpoint.connect_lazy();
    let held = Arc::new(Mutex::new(BTreeSet::new()));
    // One for all sessions: what was begun in an earlier one makes room in this one.
    let mut done = mpsc::unbounded_channel();
    loop {
        if let Err(status) = session(channel.clone(), number, &books, &held, &mut done).await {
            assert_ne!(status.code(), Code::InvalidArgument, "{status:?}");
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

type Held = Arc<Mutex<BTreeSet<String>>>;

async fn session(
    channel: Channel,
    number: usize,
    books: &Arc<Books>,
    held: &Held,
    (done, finished): &mut (mpsc::UnboundedSender<()>, mpsc::UnboundedReceiver<()>),
) -> Result<(), tonic::Status> {
    let (up, requests) = mpsc::unbounded_channel();
    let mut id = 0;
    let mut say = |message| {
        id += 1;
        let _ = up.send(SessionRequest { message_id: id, message: Some(message) });
    };
    // What ended between the sessions is counted as free below.
    while finished.try_recv().is_ok() {}
    let holds: Vec<_> = held.lock().expect("no worker panics").iter().cloned().collect();
    let agents =
        ["relay", "finish", "judge"].map(|name| AgentSpec { name: name.to_owned(), ..AgentSpec::default() });
    say(session_request::Message::Register(Register {
        worker_id: format!("killer-{number}"),
        agents: agents.to_vec(),
        max_concurrency: CONCURRENCY,
        held_leases: holds.clone(),
        ..Register::default()
    }));
    let free = CONCURRENCY - i32::try_from(holds.len()).unwrap_or(CONCURRENCY);
    if free > 0 {
        say(session_request::Message::Credit(Credit { slots: free, agent: String::new() }));
    }
    let mut client = WorkerServiceClient::new(channel.clone());
    let mut down = client.session(UnboundedReceiverStream::new(requests)).await?.into_inner();
    let mut beat = tokio::time::interval(Duration::from_millis(400));
    loop {
        tokio::select! {
            message = down.message() => match message?.and_then(|response| response.message) {
                None => return Ok(()),
                Some(session_response::Message::Registered(registered)) => {
                    books.registered.lock().expect("no worker panics").insert(number);
                    *books.claimed.lock().expect("no worker panics") +=
                        u32::try_from(registered.live_leases.len()).unwrap_or(0);
                }
                Some(session_response::Message::Assignment(assignment)) => {
                    begin(channel.clone(), *assignment, books, held, done.clone());
                }
                Some(session_response::Message::Refusal(refusal)) => {
                    panic!("refused: {} {}", refusal.reason, refusal.message)
                }
                Some(_) => {}
            },
            Some(()) = finished.recv() => {
                say(session_request::Message::Credit(Credit { slots: 1, agent: String::new() }));
            }
            _ = beat.tick() => say(session_request::Message::Heartbeat(Heartbeat {})),
        }
    }
}

fn begin(
    channel: Channel,
    assignment: Assignment,
    books: &Arc<Books>,
    held: &Held,
    done: mpsc::UnboundedSender<()>,
) {
    let lease = assignment.lease.clone();
    books.take(&assignment, None);
    held.lock().expect("no worker panics").insert(lease.clone());
    let (books, held) = (books.clone(), held.clone());
    tokio::spawn(async move {
        // Most turns are short; some outlive a restart.
        let millis = if assignment.task_id.ends_with('0') { 900 } else { 15 };
        tokio::time::sleep(Duration::from_millis(millis)).await;
        if assignment.kind() == TurnKind::Work {
            stream(channel.clone(), &assignment, &books).await;
        }
        if Kind::of_goal(&assignment.goal) == Kind::HasChild && assignment.agent == "relay" {
            have_child(channel.clone(), &assignment, &books).await;
        }
        let accepted = answer(WorkerServiceClient::new(channel), &assignment, tokens_of(&assignment)).await;
        books.heard(&lease, accepted);
        held.lock().expect("no worker panics").remove(&lease);
        let _ = done.send(());
    });
}

/// What an attempt uses: a figure that tells it from every other of its task.
pub(crate) fn tokens_of(assignment: &Assignment) -> i64 {
    i64::from(assignment.turn) * 100 + i64::from(assignment.attempt)
}

/// Streams a step until it is acknowledged, or refused because the lease is over.
async fn stream(channel: Channel, assignment: &Assignment, books: &Books) {
    let mut client = WorkerServiceClient::new(channel);
    let mut step = 0_u64;
    loop {
        step += 1;
        // No two alike: a step that is sent once more is not to look like an agent that repeats itself.
        let content = format!("{:x}", fnv(&format!("{}{step}", assignment.lease)));
        let steps = vec![WorkStep { content, ..WorkStep::default() }];
        let progress = Progress { lease: assignment.lease.clone(), steps, partial_result: None };
        match client.report_progress(ReportProgressRequest { progress: Some(progress) }).await {
            Ok(_) => return books.note(&assignment.lease, |entry| entry.streamed = true),
            Err(status) if status.code() == Code::FailedPrecondition => return,
            Err(status) => {
                assert_ne!(status.code(), Code::InvalidArgument, "{status:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// The 64-bit FNV-1a hash.
fn fnv(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Submits a child until it is acknowledged, or refused because the lease is over.
async fn have_child(channel: Channel, assignment: &Assignment, books: &Books) {
    let mut client = TaskServiceClient::new(channel);
    loop {
        let parent_lease = assignment.lease.clone();
        match client.submit_task(SubmitTaskRequest { contract: Some(child()), parent_lease }).await {
            Ok(response) => {
                let id = response.into_inner().task_id;
                return books.note(&assignment.lease, |entry| entry.child = Some(id));
            }
            Err(status) if status.code() == Code::FailedPrecondition => return,
            Err(status) => {
                assert_ne!(status.code(), Code::InvalidArgument, "{status:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Answers until the answer is acknowledged (true) or refused for good (false).
pub(crate) async fn answer(
    mut client: WorkerServiceClient<Channel>,
    assignment: &Assignment,
    tokens: i64,
) -> bool {
    loop {
        let complete = Complete {
            lease: assignment.lease.clone(),
            answer: Some(match assignment.kind() {
                TurnKind::Validate => complete::Answer::Verdict(verdict(tokens)),
                _ => complete::Answer::Envelope(envelope(assignment, tokens)),
            }),
        };
        let mut request = tonic::Request::new(CompleteTurnRequest { complete: Some(complete) });
        request.set_timeout(Duration::from_secs(5));
        match client.complete_turn(request).await {
            Ok(_) => return true,
            Err(status) if status.code() == Code::FailedPrecondition => return false,
            Err(status) => {
                assert_ne!(status.code(), Code::NotFound, "a lease that was assigned is known: {status:?}");
                assert_ne!(status.code(), Code::InvalidArgument, "{status:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

fn verdict(tokens: i64) -> Verdict {
    let usage = Some(Usage { input_tokens: tokens, ..Usage::default() });
    Verdict { verdict: Judgement::Agree.into(), usage, ..Verdict::default() }
}

fn envelope(assignment: &Assignment, tokens: i64) -> StatusEnvelope {
    let asks = Kind::of_goal(&assignment.goal) == Kind::Asks && assignment.turn == 1;
    let directive = if asks {
        Some(Directive::AskHuman(AskHuman { question: "Shall it survive?".to_owned() }))
    } else {
        let hand_off = Directive::HandOff(HandOff { agent: "finish".to_owned(), input: None });
        (assignment.agent == "relay").then_some(hand_off)
    };
    let number = prost_types::value::Kind::NumberValue(f64::from(assignment.turn));
    StatusEnvelope {
        status: Status::Success.into(),
        result: Some(prost_types::Value { kind: Some(number) }),
        confidence: Some(1.0),
        usage: Some(Usage { input_tokens: tokens, ..Usage::default() }),
        directive,
        ..StatusEnvelope::default()
    }
}
