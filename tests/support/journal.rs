//! A journal written by hand: the records of a task, committed to a store one after the other.
#![allow(dead_code, unreachable_pub)] // Every test that includes this file uses its own part of it.

use std::{collections::BTreeMap, sync::Arc};

use bailiwick::{
    engine::event::{self, Event, TraceContext},
    store::{
        Store,
        record::{Append, StoredEvent, SummaryRow},
    },
    types::{
        contract::{Budget, Contract, DefaultAnswer, Escalation, Gate, Limits, OwnerFallback, Retry, Start},
        envelope::{Answer, Confidence, Directive, Envelope, Status},
        guards::GuardTerms,
        ids::{AgentName, TaskId},
        outcome::TaskState,
        time::{Span, Timestamp},
        usage::Usage,
    },
};
use uuid::Uuid;

/// When every task of these journals begins, in microseconds.
pub const START: Timestamp = Timestamp(1_790_000_000_000_000);

/// The journal of one task.
pub struct Journal {
    store: Arc<dyn Store>,
    /// The task.
    pub task: TaskId,
    seq: u64,
}

impl Journal {
    /// A task with no records yet.
    pub fn new(store: Arc<dyn Store>, number: u128) -> Self {
        Self { store, task: TaskId::with_shard(Uuid::from_u128(number << 64), 1), seq: 0 }
    }

    /// Commits these events together, decided `millis` after the start.
    pub fn commit(&mut self, millis: u64, events: Vec<Event>) {
        let body = |event: &Event| serde_json::to_string(event).expect("an event encodes");
        let events = events.iter().map(|event| (event.kind().to_owned(), event::VERSION, body(event)));
        self.commit_raw(millis, events.collect());
    }

    /// Commits events as kind, version and body, whatever they are.
    pub fn commit_raw(&mut self, millis: u64, events: Vec<(String, u16, String)>) {
        let at = START.plus(Span::from_millis(millis));
        let stored: Vec<StoredEvent> = events
            .into_iter()
            .zip(self.seq + 1..)
            .map(|((kind, version, body), seq)| StoredEvent { seq, at, kind: kind.into(), version, body })
            .collect();
        let last = self.seq + stored.len() as u64;
        let append = Append {
            task: self.task,
            expected_seq: self.seq,
            events: stored,
            summary: self.summary(at, last),
            escalations: Vec::new(),
            sums: Vec::new(),
        };
        self.store.commit(&[append]).expect("the store takes it");
        self.seq = last;
    }

    fn summary(&self, at: Timestamp, seq: u64) -> SummaryRow {
        SummaryRow {
            task: self.task,
            state: TaskState::Running,
            ended_by: None,
            cause: None,
            owner: agent("boss"),
            agents: [].into(),
            labels: Vec::new(),
            created_at: START,
            updated_at: at,
            seq,
            parked: None,
            view: "{}".into(),
        }
    }
}

/// An agent's name.
pub fn agent(name: &str) -> AgentName {
    name.parse().expect("a valid name")
}

/// Usage without subsets and money.
pub fn usage(input: u64, output: u64) -> Usage {
    Usage { input, output, ..Usage::default() }
}

/// The first record of a task.
pub fn submitted(traceparent: Option<&str>) -> Event {
    let trace =
        TraceContext { traceparent: traceparent.map(str::to_owned), tracestate: Some("vendor=a".to_owned()) };
    Event::Submitted { contract: Arc::new(contract()), fingerprint: 7, trace, parent: None, redrives: None }
}

/// An answer to a work turn.
pub fn answer(status: Status, confidence: f64, directive: Option<Directive>) -> Arc<Answer> {
    Arc::new(Answer::Envelope(Envelope {
        status,
        result: None,
        confidence: Confidence::new(confidence),
        reason: "because".to_owned(),
        usage: None,
        inputs_used: Vec::new(),
        retryable: false,
        directive,
        score: None,
    }))
}

fn contract() -> Contract {
    Contract {
        goal: "Audit the tree".to_owned(),
        input: None,
        namespace: bailiwick::types::ids::Namespace::default(),
        start: Start::FirstAgent(agent("planner")),
        owner: agent("boss"),
        budget: Budget {
            max_tokens: 10_000,
            max_cost_nano_usd: None,
            dearest_nano_usd_per_token: 0,
            max_tokens_per_turn: 2_000,
            min_tokens_per_turn: 1,
            finalization_reserve: 1_000,
            max_tokens_by_agent: BTreeMap::new(),
        },
        limits: limits(),
        result_schema: None,
        acceptance: Vec::new(),
        convergence: None,
        guards: GuardTerms::default(),
        gate: Gate {
            min_confidence: Confidence::new(0.8).expect("within bounds"),
            max_revisions: 2,
            validator: None,
            spot_check_rate: 0.0,
        },
        escalation: Escalation {
            timeout: Span::from_secs(3_600),
            default_answer: DefaultAnswer::Partial,
            max_escalations: 3,
            owner_fallback: OwnerFallback::Escalate,
        },
        retry: Retry { initial_backoff: Span::from_millis(200), max_backoff: Span::from_secs(10) },
        allowed_hand_offs: BTreeMap::new(),
        labels: BTreeMap::from([("team".to_owned(), "search".to_owned())]),
        priority: 3,
        idempotency_key: None,
    }
}

fn limits() -> Limits {
    Limits {
        deadline: Span::from_secs(600),
        finalization_reserve: Span::from_secs(60),
        max_hops: 12,
        max_turns: 50,
        max_replans: 3,
        max_rounds: 5,
        max_attempts: 3,
        max_parallel: 8,
        max_corrections: 2,
        decide_timeout: Span::from_secs(60),
        max_decides: 3,
        worker_wait: Span::from_secs(300),
        max_lifetime: Span::from_secs(86_400),
        max_children: 8,
        max_depth: 3,
    }
}
