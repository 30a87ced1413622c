//! What must be known of an open task that is not in memory: when it is to be looked at, which of its turns wait, which
//! leases live. It is made from the task, never the other way: whoever wants anything of the task replays it. Never here:
//! a decision.

use serde::{Deserialize, Serialize};

use super::{
    command::{Effect, Env},
    decide::look_again,
    effects,
    event::TurnKind,
    task::Task,
    turn::Stage,
};
use crate::types::{
    halt::marks,
    ids::{AgentName, Lease, Namespace, TurnNumber, WorkerId},
    time::{Span, Timestamp},
};

/// The version of this encoding. One that is not read is no harm: the task is replayed.
const VERSION: u16 = 2;

/// Turns that may wait or run. It is written with every commit of the task: with more of them a replay is cheaper.
const MAX_TURNS: usize = 16;

/// How an open task stands after its last event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    version: u16,
    /// The number of its last event.
    pub seq: u64,
    /// The earliest time at which a tick may change something, whichever agents are served.
    pub wake: Timestamp,
    /// The task's owner.
    pub owner: AgentName,
    /// The marks of its labels and of those above it: what a halt of a label knows it by.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub marks: Box<[u64]>,
    /// The task's namespace.
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace: Namespace,
    /// Turns that wait.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ready: Vec<ReadyTurn>,
    /// Leases that are live.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<ParkedLease>,
}

/// A turn that waits for a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyTurn {
    turn: TurnNumber,
    agent: AgentName,
    kind: TurnKind,
    priority: u8,
    not_before: Timestamp,
    /// Since when it waits.
    since: Timestamp,
    /// At least how long it waits while no worker serves its agent. `None`: something else ends its wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait: Option<Span>,
}

/// A lease that is live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedLease {
    /// The lease.
    pub lease: Lease,
    /// Who holds it.
    pub worker: WorkerId,
    /// For which agent.
    pub agent: AgentName,
}

/// Of a parked task, what says when to look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sleep {
    wake: Timestamp,
    waits: Box<[Wait]>,
}

/// How long a turn waits for an agent that is away.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wait {
    agent: AgentName,
    since: Timestamp,
    span: Span,
}

impl Parked {
    /// Reads what was written of a task whose last event has the number `seq`. `None`: it is of no use, replay the task.
    pub fn parse(text: &str, seq: u64) -> Option<Self> {
        let parked: Self = serde_json::from_str(text).ok()?;
        (parked.version == VERSION && parked.seq == seq).then_some(parked)
    }

    /// When to look at it.
    pub fn sleep(&self) -> Sleep {
        let wait = |turn: &ReadyTurn| {
            turn.wait.map(|span| Wait { agent: turn.agent.clone(), since: turn.since, span })
        };
        Sleep { wake: self.wake, waits: self.ready.iter().filter_map(wait).collect() }
    }
}

impl ReadyTurn {
    /// What offers the turn.
    pub fn effect(self, namespace: &Namespace) -> Effect {
        let Self { turn, agent, kind, priority, not_before, since: _, wait: _ } = self;
        Effect::Ready { turn, agent, kind, namespace: namespace.clone(), priority, not_before }
    }
}

fn is_default(namespace: &Namespace) -> bool {
    *namespace == Namespace::default()
}

impl Sleep {
    /// When to look next, after a look at `after`: the earliest time at which a tick may change something, as
    /// `Task::next_timer` says it.
    pub fn next_look(&self, after: Timestamp) -> Timestamp {
        let waits = self.waits.iter().map(|wait| look_again(wait.since.plus(wait.span), wait.span, after));
        waits.fold(self.wake, Timestamp::min)
    }

    /// Whether a tick may change something now. `false` is certain.
    pub fn may_be_due(&self, env: Env<'_>) -> bool {
        let is_over = |wait: &Wait| {
            let away = env.agents.away_since(&wait.agent);
            away.is_some_and(|away| wait.since.max(away).plus(wait.span) <= env.now)
        };
        self.wake <= env.now || self.waits.iter().any(is_over)
    }

    /// The agents in it, to be shared with other tasks' of the same name.
    pub fn share_names(&mut self, mut shared: impl FnMut(&AgentName) -> AgentName) {
        for wait in &mut self.waits {
            wait.agent = shared(&wait.agent);
        }
    }
}

impl Task {
    /// How it stands, for whoever must know without replaying it. `None`: it has ended, it owes a child something that
    /// only the whole task can say, or more of it is open than is worth writing.
    pub fn parked(&self) -> Option<Parked> {
        let owes = self.children.all.iter().any(|child| child.is_open() || child.used.is_none());
        if self.is_ended() || owes || self.open.len() > MAX_TURNS {
            return None;
        }
        let wake = self.next_own_timer()?;
        let ready = self.open.iter().filter_map(|&turn| self.ready_turn(turn)).collect();
        let leases = self.open.iter().filter_map(|&turn| {
            let turn = self.turn(turn)?;
            let live = turn.live()?;
            Some(ParkedLease { lease: live.lease, worker: live.worker.clone(), agent: turn.agent.clone() })
        });
        let namespace = self.contract.namespace.clone();
        let (owner, marks) = (self.contract.owner.clone(), marks(self.labels()));
        let (version, seq, leases) = (VERSION, self.seq, leases.collect());
        Some(Parked { version, seq, wake, owner, marks, namespace, ready, leases })
    }

    /// When to look at it, for a shard that lets go of it. `None`: it has ended.
    pub fn sleep(&self) -> Option<Sleep> {
        let wait = |&turn: &TurnNumber| {
            let ReadyTurn { agent, since, wait, .. } = self.ready_turn(turn)?;
            Some(Wait { agent, since, span: wait? })
        };
        let waits = self.open.iter().filter_map(wait).collect();
        Some(Sleep { wake: self.next_own_timer()?, waits })
    }

    fn ready_turn(&self, number: TurnNumber) -> Option<ReadyTurn> {
        let ready = effects::ready(self, number)?;
        let Effect::Ready { turn, agent, kind, namespace: _, priority, not_before } = ready else {
            return None;
        };
        let state = self.turn(turn)?;
        let Stage::Ready { since, .. } = state.stage else { return None };
        let wait = (kind != TurnKind::Decide).then(|| self.shortest_wait(state));
        Some(ReadyTurn { turn, agent, kind, priority, not_before, since, wait })
    }
}
