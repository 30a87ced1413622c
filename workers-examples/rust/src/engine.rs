//! The one task that owns everything a worker holds: its session, attempts, letters and timers. Handlers run beside it and
//! speak to it by commands, so that a busy handler never delays a heartbeat. Must never wait for the network: whatever
//! could block is a branch of the one `select!` in [`Engine::run`].

mod attempts;
mod session;

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    io::{self, Write as _},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until},
};
use tonic::transport::Channel;

use crate::{
    answer::{Answer, HandlerError},
    context::{Attempt, Command, Context},
    link::{self, Inbound, Link},
    outbox::Outbox,
    pb,
    worker::RunError,
};

/// Commands of handlers that may wait for the engine; a handler that is faster than this waits.
const COMMANDS: usize = 1_024;
/// How long a session may take from the call to `Registered`.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// How long the server may take to end a session that the worker has closed.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// What the lease time counts as until a server has named one.
const LEASE_TIME: Duration = Duration::from_secs(30);
/// When nothing else is due.
const IDLE: Duration = Duration::from_secs(3_600);

pub(crate) type Outcome = Result<Answer, HandlerError>;
pub(crate) type Handler = Arc<dyn Fn(Context) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

/// What the user has set.
pub(crate) struct Setup {
    pub(crate) address: String,
    pub(crate) worker_id: String,
    pub(crate) concurrency: usize,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) agents: BTreeMap<String, (pb::AgentSpec, Handler)>,
    pub(crate) drain_limit: Duration,
}

/// What the server has set, with what holds before it has.
struct Terms {
    lease_time: Duration,
    heartbeat: Duration,
    slots: usize,
    max_message: usize,
}

struct Running {
    attempt: Arc<Attempt>,
    task: AbortHandle,
}

pub(crate) struct Engine {
    setup: Setup,
    terms: Terms,
    link: Option<Link>,
    channel: watch::Sender<Option<Channel>>,
    running: BTreeMap<String, Running>,
    /// Assignments beyond the slots: a server that sends them has miscounted, yet they are ours.
    waiting: VecDeque<pb::Assignment>,
    /// Leases that are done with, so that a repeated assignment is known for what it is.
    done: VecDeque<String>,
    tasks: JoinSet<(String, Outcome)>,
    outbox: Outbox,
    commands: mpsc::Receiver<Command>,
    speak: mpsc::Sender<Command>,
    /// Credit given in this session and not used.
    credit: usize,
    /// When something last got through to the server or came from it.
    heard: Instant,
    next_heartbeat: Instant,
    retry_at: Instant,
    failures: u32,
    /// While this worker drains: when it gives up.
    drain_until: Option<Instant>,
    server_drains: bool,
}

impl Engine {
    pub(crate) fn new(setup: Setup) -> Self {
        let (speak, commands) = mpsc::channel(COMMANDS);
        let now = Instant::now();
        let terms = Terms {
            lease_time: LEASE_TIME,
            heartbeat: LEASE_TIME / 3,
            slots: setup.concurrency,
            max_message: link::MAX_MESSAGE,
        };
        Self {
            setup,
            terms,
            link: None,
            channel: watch::Sender::new(None),
            running: BTreeMap::new(),
            waiting: VecDeque::new(),
            done: VecDeque::new(),
            tasks: JoinSet::new(),
            outbox: Outbox::default(),
            commands,
            speak,
            credit: 0,
            heard: now,
            next_heartbeat: now,
            retry_at: now,
            failures: 0,
            drain_until: None,
            server_drains: false,
        }
    }

    /// Works until `stop`, then drains.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let mut stop = pin!(stop);
        loop {
            let now = Instant::now();
            self.keep_time(now)?;
            if let Some(until) = self.drain_until {
                if self.is_idle() {
                    return self.leave().await;
                }
                if now >= until {
                    return Err(RunError::DrainTimedOut {
                        unfinished: self.running.len() + self.waiting.len(),
                    });
                }
            }
            let wake = self.next_wake(now);
            let full = self.link.as_ref().filter(|l| l.registered && !l.has_room()).and_then(Link::up);
            tokio::select! {
                () = &mut stop, if self.drain_until.is_none() => self.drain(),
                inbound = next(self.link.as_mut()) => self.on_inbound(inbound),
                Some(joined) = self.tasks.join_next_with_id() => self.on_joined(joined),
                Some(command) = self.commands.recv(), if full.is_none() => self.on_command(command),
                () = room(full.as_ref()) => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Does what is due. Idempotent: called after every event and on every wake.
    fn keep_time(&mut self, now: Instant) -> Result<(), RunError> {
        self.lapse(now);
        match &self.link {
            None if now >= self.retry_at => self.open()?,
            Some(link) if !link.registered && now >= link.opened_at + OPEN_LIMIT => {
                self.link_down("no answer to Register in time");
            }
            _ => {}
        }
        self.heartbeat(now);
        self.flush(now);
        self.give_credit();
        Ok(())
    }

    fn next_wake(&self, now: Instant) -> Instant {
        let holds = !self.running.is_empty() || !self.waiting.is_empty();
        let lapse = holds.then_some(self.heard + self.terms.lease_time);
        let session = match &self.link {
            None => Some(self.retry_at),
            Some(link) if link.registered => Some(self.next_heartbeat),
            Some(link) => Some(link.opened_at + OPEN_LIMIT),
        };
        // Without room a due letter waits for `room`, not for the clock.
        let sends = self.link.as_ref().is_some_and(|l| l.registered && l.has_room());
        let letters = if sends { self.outbox.next_due() } else { None };
        [lapse, session, letters, self.drain_until].into_iter().flatten().min().unwrap_or(now + IDLE)
    }

    fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty() && self.outbox.is_settled()
    }

    fn drain(&mut self) {
        log(format_args!("draining: {} running", self.running.len() + self.waiting.len()));
        self.drain_until = Some(Instant::now() + self.setup.drain_limit);
        self.say_drain();
    }

    async fn leave(self) -> Result<(), RunError> {
        if let Some(link) = self.link {
            link.close(CLOSE_LIMIT).await;
        }
        log(format_args!("drained"));
        Ok(())
    }
}

async fn next(link: Option<&mut Link>) -> Inbound {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}

async fn room(full: Option<&mpsc::Sender<pb::SessionRequest>>) {
    match full {
        Some(up) => Link::room(up).await,
        None => std::future::pending().await,
    }
}

/// One line on stderr. A stderr that nobody reads any more must not end the worker.
pub(crate) fn log(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "bailiwick-worker: {line}");
}
