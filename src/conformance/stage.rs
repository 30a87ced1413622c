//! The stage on which a case plays: one worker, its present session, and what the server promises by itself (Registered,
//! acknowledgements, grants) as the case's [`Policy`] says. Everything that comes is first checked against the rules that
//! hold in every case; breaches are kept and fail the case that is playing. Never judges what only one case asks for.

mod check;
mod speak;
mod transcript;

use std::{collections::BTreeMap, time::Duration};

pub(crate) use speak::kind;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use transcript::Transcript;

use super::{
    child::{Exit, WorkerProcess},
    net::Net,
    report,
    server::{Down, FakeServer, Incoming, LineageBook},
    tasks::{ChildBook, Submission},
};
use crate::pb;

/// How long something that must come may take on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a worker may take to come back: the longest backoff, with room.
pub(crate) const RETURN: Duration = Duration::from_secs(15);
/// The lease time the server gives.
pub(crate) const LEASE_TIME: Duration = Duration::from_millis(1_500);
/// The heartbeat interval it asks for.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(300);
/// A session that lasts this long counts as a good one: the worker's backoff starts anew after it.
const GOOD_SESSION: Duration = Duration::from_millis(1_200);
/// Tokens every attempt is allowed at first.
pub(crate) const ALLOWANCE: i64 = 1_000;

/// What a case found wrong, in a sentence.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// What a case saw, in a sentence.
pub(crate) type Verdict = Result<String, Failure>;

/// A failure, unless `holds`.
pub(crate) fn require(holds: bool, what: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure(what())) }
}

/// What the server does by itself.
#[derive(Clone)]
pub(crate) struct Policy {
    /// Answers Register.
    pub(crate) answer_register: bool,
    /// Ends every new session at once as if the server were overloaded.
    pub(crate) refuse_sessions: bool,
    /// Calls held leases live that the server has granted and not settled.
    pub(crate) leases_live: bool,
    /// Acknowledges answers.
    pub(crate) ack_answers: bool,
    /// Grants what is asked for; otherwise denies it.
    pub(crate) grant: bool,
    /// Answers requests for budget at all.
    pub(crate) answer_budget: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            answer_register: true,
            refuse_sessions: false,
            leases_live: true,
            ack_answers: true,
            grant: true,
            answer_budget: true,
        }
    }
}

/// What a worker did.
#[derive(Debug)]
pub(crate) enum Event {
    /// Opened a session.
    Opened,
    /// Registered; answered by now unless the policy says otherwise.
    Register(pb::Register),
    Credit(i32),
    Heartbeat,
    Progress(pb::Progress),
    Usage(pb::UsageReport),
    Budget(pb::BudgetRequest),
    Complete(i64, pb::Complete),
    Drain,
    /// Closed its session, or lost it.
    Ended,
    /// Asked for a page of lineage.
    Lineage {
        lease: String,
        traceparent: String,
    },
    /// Submitted a child.
    Submitted(Box<Submission>),
    /// The process ended.
    Exited(Exit),
}

/// An event and when it came.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) event: Event,
}

/// What the server knows of a lease.
#[derive(Default)]
struct Lease {
    /// Answered, cancelled or given up.
    settled: bool,
    /// Revoked: an answer under it is a breach.
    revoked: bool,
    usage: pb::Usage,
    allowance: i64,
}

struct Session {
    id: u64,
    down: Down,
    registered: bool,
    opened_at: Instant,
    /// The id of its last message.
    last_id: Option<i64>,
    /// Slots asked for and not used.
    credit: i32,
    drained: bool,
}

/// See the head of this file.
pub(crate) struct Stage {
    command: Vec<String>,
    start_limit: Duration,
    server: FakeServer,
    net: Net,
    worker: Option<WorkerProcess>,
    session: Option<Session>,
    leases: BTreeMap<String, Lease>,
    breaches: Vec<String>,
    next_lease: i32,
    /// How the process of this case ended.
    ended: Option<Exit>,
    transcript: Transcript,
    /// Whether a person is told of long waits.
    tells_waits: bool,
    /// Tells of the wait for the first session, until it is aborted.
    waiting: JoinSet<()>,
    pub(crate) policy: Policy,
}

impl Stage {
    pub(crate) async fn new(
        command: Vec<String>,
        start_limit: Duration,
        tells_waits: bool,
    ) -> std::io::Result<Self> {
        let server = FakeServer::start().await?;
        let net = Net::start(server.address).await?;
        Ok(Self {
            command,
            start_limit,
            server,
            net,
            worker: None,
            session: None,
            leases: BTreeMap::new(),
            breaches: Vec::new(),
            next_lease: 0,
            ended: None,
            transcript: Transcript::new(),
            tells_waits,
            waiting: JoinSet::new(),
            policy: Policy::default(),
        })
    }

    /// Starts a fresh worker process, ending the one before.
    pub(crate) fn restart(&mut self) -> Result<(), Failure> {
        self.stop();
        self.net.cut();
        let started = WorkerProcess::start(&self.command, self.net.address);
        let failed = |e| Failure(format!("`{}` cannot be started: {e}", self.command.join(" ")));
        self.worker = Some(started.map_err(failed)?);
        if self.tells_waits {
            self.waiting.spawn(report::tell_wait(self.start_limit));
        }
        Ok(())
    }

    /// A case begins: what was said before it is not its matter.
    pub(crate) fn begin(&mut self) {
        self.transcript = Transcript::new();
    }

    /// What was said last in this case.
    pub(crate) fn transcript(&self) -> Vec<String> {
        self.transcript.lines()
    }

    /// Ends the worker process and forgets everything about it.
    pub(crate) fn stop(&mut self) {
        self.worker = None;
        self.ended = None;
        self.waiting.abort_all();
        self.session = None;
        self.leases.clear();
        self.breaches.clear();
        self.policy = Policy::default();
    }

    /// How long a worker may take from its start to its first session.
    pub(crate) fn start_limit(&self) -> Duration {
        self.start_limit
    }

    /// Makes sure that a worker runs, is registered and asks for as much work as it may.
    pub(crate) async fn ready(&mut self) -> Result<(), Failure> {
        self.policy = Policy::default();
        self.breaches.clear();
        if !self.worker.as_mut().is_some_and(WorkerProcess::runs) {
            self.restart()?;
        }
        let deadline = Instant::now() + self.start_limit;
        while !self.session.as_ref().is_some_and(|s| s.registered) {
            if self.next_before(deadline).await?.is_none() {
                let waited = self.start_limit;
                return Err(Failure(format!("no session within {waited:?}; {}", self.last_words())));
            }
        }
        self.settle().await
    }

    /// Waits until no attempt is open and the worker asks for exactly as much work as it may.
    pub(crate) async fn settle(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while self.credit() != self.full_credit() {
            if self.next_before(deadline).await?.is_none() {
                let (credit, full) = (self.credit(), self.full_credit());
                return Err(Failure(format!(
                    "after the work was done the credit stood at {credit} and not at {full} (max_concurrency)"
                )));
            }
        }
        Ok(())
    }

    /// Waits until the present session is old enough that the worker comes back quickly when it ends.
    pub(crate) async fn calm(&mut self) -> Result<(), Failure> {
        let age = self.session.as_ref().map_or(Duration::ZERO, |s| s.opened_at.elapsed());
        self.watch(GOOD_SESSION.saturating_sub(age), |_| None).await
    }

    fn full_credit(&self) -> i32 {
        super::child::CONCURRENCY
    }

    /// Credit given and not used in the present session.
    pub(crate) fn credit(&self) -> i32 {
        self.session.as_ref().map_or(0, |s| s.credit)
    }

    /// Takes the breaches of the rules that hold in every case.
    pub(crate) fn take_breaches(&mut self) -> Vec<String> {
        std::mem::take(&mut self.breaches)
    }

    /// The last lines the worker wrote.
    pub(crate) fn last_words(&self) -> String {
        let words = self.worker.as_ref().map(WorkerProcess::last_words).unwrap_or_default();
        if words.is_empty() {
            "the worker wrote nothing".into()
        } else {
            format!("the worker wrote: {words}")
        }
    }

    pub(crate) fn lineage_book(&self) -> &LineageBook {
        &self.server.lineage
    }

    pub(crate) fn child_book(&self) -> &ChildBook {
        &self.server.children
    }

    pub(crate) fn net(&self) -> &Net {
        &self.net
    }

    /// Whether the worker's process is gone.
    pub(crate) fn has_ended(&self) -> bool {
        self.worker.is_none()
    }

    /// SIGTERM to the worker.
    pub(crate) fn terminate(&mut self) -> Result<(), Failure> {
        self.transcript.happened("SIGTERM is sent to the worker");
        match &self.worker {
            Some(worker) => Ok(worker.terminate()?),
            None => Err(Failure("there is no worker process".into())),
        }
    }

    /// The next event before `deadline`; `None` when there is none. The end of the process is an event once.
    pub(crate) async fn next_before(&mut self, deadline: Instant) -> Result<Option<Seen>, Failure> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(worker) = self.worker.as_mut() else {
                let how = self.ended.map_or_else(String::new, |exit| format!(" with {exit}"));
                return Err(Failure(format!("the worker has ended{how}")));
            };
            let incoming = &mut self.server.incoming;
            // What came before the end of the process is looked at before it.
            let step = async {
                tokio::select! {
                    biased;
                    Some(incoming) = incoming.recv() => Ok(incoming),
                    status = worker.exited() => Err(status),
                }
            };
            let event = match timeout(left, step).await {
                Err(_) => return Ok(None),
                Ok(Ok(incoming)) => self.digest(incoming),
                Ok(Err(status)) => {
                    let exit = status?;
                    // Its connection may end a moment later than it does; what it sent is still on its way.
                    if let Ok(Some(incoming)) = timeout(HEARTBEAT, self.server.incoming.recv()).await {
                        self.digest(incoming)
                    } else {
                        let words = self.last_words();
                        self.worker = None;
                        self.ended = Some(exit);
                        self.waiting.abort_all();
                        self.transcript.happened(&format!("the worker ended with {exit}"));
                        self.breaches.extend((!exit.is_clean()).then_some(words));
                        Some(Event::Exited(exit))
                    }
                }
            };
            if let Some(event) = event {
                return Ok(Some(Seen { at: Instant::now(), event }));
            }
        }
    }

    /// Waits for the first event that `pick` takes. `what` completes "the worker did not ...".
    pub(crate) async fn wait<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut pick: impl FnMut(&Seen) -> Option<T>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + limit;
        while let Some(seen) = self.next_before(deadline).await? {
            if let Some(found) = pick(&seen) {
                return Ok(found);
            }
            if let Event::Exited(exit) = seen.event {
                return Err(Failure(format!("the worker did not {what}: it ended with {exit}")));
            }
        }
        Err(Failure(format!("the worker did not {what} within {:.1} s", limit.as_secs_f64())))
    }

    /// Watches for a while; `wrong` says what must not happen.
    pub(crate) async fn watch(
        &mut self,
        span: Duration,
        mut wrong: impl FnMut(&Seen) -> Option<String>,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + span;
        while let Some(seen) = self.next_before(deadline).await? {
            if let Some(what) = wrong(&seen) {
                return Err(Failure(what));
            }
        }
        Ok(())
    }

    fn digest(&mut self, incoming: Incoming) -> Option<Event> {
        match incoming {
            Incoming::Opened { session, down } => {
                self.waiting.abort_all();
                self.transcript.happened("a session was opened");
                if self.policy.refuse_sessions {
                    // The worker may be gone again already.
                    let _ = down.try_send(Err(tonic::Status::unavailable("the server is starting")));
                } else {
                    self.session = Some(Session {
                        id: session,
                        down,
                        registered: false,
                        opened_at: Instant::now(),
                        last_id: None,
                        credit: 0,
                        drained: false,
                    });
                }
                Some(Event::Opened)
            }
            // What an older session still says is not looked at: the worker has left it.
            Incoming::Message { session, .. } | Incoming::Ended { session }
                if self.session.as_ref().is_none_or(|s| s.id != session) =>
            {
                None
            }
            Incoming::Message { request, .. } => {
                self.transcript.up(&request);
                self.on_message(*request)
            }
            Incoming::Ended { .. } => {
                self.transcript.happened("the session ended");
                self.session = None;
                Some(Event::Ended)
            }
            Incoming::Lineage { lease, traceparent } => Some(Event::Lineage { lease, traceparent }),
            Incoming::Submitted(submission) => Some(Event::Submitted(submission)),
        }
    }
}
