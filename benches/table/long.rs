//! Does a long task cost more for each turn than a short one? A task of hand-offs and a plan in parallel chains, in the pure
//! engine: decided turn by turn, and replayed from its events. The row is the time for each turn of 1,000 over that of 100.

use std::{hint::black_box, sync::Arc, time::Duration};

use bailiwick::{
    engine::{
        command::{Agents, Command, Effect, Env, Reply},
        event::{Record, TraceContext},
        intake,
        task::Task,
    },
    types::{
        contract::{BudgetDraft, Contract, ContractDraft, LimitsDraft, TerminationDraft},
        envelope::{Answer, Confidence, Directive, Envelope, HandOff, Status},
        ids::{AgentName, Lease, TaskId, TurnNumber},
        limits::Ceilings,
        payload::Payload,
        plan::{PlanDraft, StepDraft},
        time::Timestamp,
        usage::Usage,
    },
};

use crate::{
    Bench,
    row::{Aim, Row},
    stats::now,
};

/// The sizes that are compared.
const SIZES: [i32; 2] = [100, 1_000];
/// How often each is measured; the least time counts, because nothing but the machine makes it longer.
const TIMES: usize = 15;
/// Chains of steps that run side by side.
const CHAINS: i32 = 8;

/// Every agent is known and served.
struct Anyone;

impl Agents for Anyone {
    fn is_known(&self, _: &AgentName) -> bool {
        true
    }

    fn away_since(&self, _: &AgentName) -> Option<Timestamp> {
        None
    }
}

/// A way to fill a task with `n` turns.
struct Shape {
    name: &'static str,
    contract: fn(i32) -> Contract,
    /// The answer to a turn, given its number and `n`.
    answer: fn(TurnNumber, i32) -> Envelope,
}

const SHAPES: [Shape; 2] = [
    Shape { name: "task of 1,000 turns", contract: hand_offs, answer: hand_on },
    Shape { name: "plan of 1,000 steps", contract: plan, answer: |_, _| success() },
];

pub(crate) fn rows(bench: &Bench) -> Vec<Row> {
    let linear = |what: String, [few, many]: [Duration; 2]| {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let note = format!("{:.2} us a turn of 1,000, {:.2} us of 100", micros(many), micros(few));
        bench.say(format!("{what}: {note}"));
        // The least of many short times: whoever else is busy, some of them are undisturbed.
        Row::new("long", &what, "x", Some(Aim::at_most(1.5, 1.15)))
            .with(&[(many.as_secs_f64() / few.as_secs_f64(), true)])
            .note(note)
    };
    let mut rows = Vec::new();
    for shape in SHAPES {
        let decided = SIZES.map(|n| least(n, || drop(black_box(run(&shape, n)))));
        rows.push(linear(format!("{}: a turn's cost, decided", shape.name), decided));
        let replayed = SIZES.map(|n| {
            let (id, records) = run(&shape, n);
            least(n, || drop(black_box(Task::replay(id, records.iter().cloned()))))
        });
        rows.push(linear(format!("{}: a turn's cost, replayed", shape.name), replayed));
    }
    rows
}

/// The least time for each of `n` turns.
fn least(n: i32, work: impl Fn()) -> Duration {
    let once = || {
        let start = now();
        work();
        start.elapsed() / n.unsigned_abs()
    };
    (0..TIMES).map(|_| once()).min().unwrap_or_default()
}

/// Runs a task to its end; its events.
fn run(shape: &Shape, n: i32) -> (TaskId, Vec<Record>) {
    let id = TaskId::from_key("bench", 1);
    let env = Env { now: Timestamp(1_000_000_000), agents: &Anyone };
    let contract = Arc::new((shape.contract)(n));
    let (mut task, first) = Task::submit(id, contract, 7, TraceContext::default(), env);
    let mut records = first.records;
    let mut ready = turns(&first.effects);
    let mut secret = 0;
    while let Some(turn) = ready.pop() {
        secret += 1;
        let lease = Lease { task: id, turn, attempt: 0, secret };
        let worker = "w-1".parse().expect("a valid id");
        let decided = task.decide(Command::Assign { lease, worker }, env).expect("the turn is ready");
        records.extend(decided.records);
        let Reply::Assigned(assignment) = decided.reply else { panic!("the turn can be funded") };
        let answer = Arc::new(Answer::Envelope((shape.answer)(turn, n)));
        let command = Command::Complete { lease: assignment.lease, answer, findings: Vec::new().into() };
        let decided = task.decide(command, env).expect("the lease is live");
        ready.extend(turns(&decided.effects));
        records.extend(decided.records);
        // As the shard does after every decision.
        black_box((task.next_timer(env.now), task.summary()));
    }
    assert!(
        task.is_ended() && task.summary().counters.turns == n.unsigned_abs(),
        "{:?}",
        task.view().outcome
    );
    (id, records)
}

fn turns(effects: &[Effect]) -> Vec<TurnNumber> {
    let ready = |effect: &Effect| if let Effect::Ready { turn, .. } = effect { Some(*turn) } else { None };
    effects.iter().filter_map(ready).collect()
}

fn hand_offs(n: i32) -> Contract {
    complete(n, Some("ping".to_owned()), None)
}

fn hand_on(turn: TurnNumber, n: i32) -> Envelope {
    if turn == n.unsigned_abs() {
        return success();
    }
    let to = if turn.is_multiple_of(2) { "ping" } else { "pong" };
    let hand_off = HandOff { agent: to.parse().expect("a valid name"), input: Some(payload("1")) };
    Envelope { result: None, directive: Some(Directive::HandOff(hand_off)), ..success() }
}

fn plan(n: i32) -> Contract {
    let step = |i: i32| StepDraft {
        id: format!("step-{i}"),
        agent: "worker".to_owned(),
        depends_on: (i >= CHAINS).then(|| format!("step-{}", i - CHAINS)).into_iter().collect(),
        max_tokens: 1_000,
        ..StepDraft::default()
    };
    let plan = PlanDraft {
        steps: (0..n).map(step).collect(),
        result_step: format!("step-{}", n - 1),
        ..PlanDraft::default()
    };
    complete(n, None, Some(plan))
}

fn complete(n: i32, first_agent: Option<String>, plan: Option<PlanDraft>) -> Contract {
    let limits = LimitsDraft {
        deadline: Some(600_000_000),
        max_hops: Some(n),
        max_turns: n,
        max_parallel: CHAINS,
        ..LimitsDraft::default()
    };
    let draft = ContractDraft {
        goal: "go on".to_owned(),
        first_agent,
        plan,
        owner: "ping".to_owned(),
        budget: Some(BudgetDraft {
            max_tokens: 10_000_000,
            max_tokens_per_turn: 1_000,
            ..BudgetDraft::default()
        }),
        limits: Some(limits),
        termination: Some(TerminationDraft {
            result_schema: Some(payload(r#"{"type":"number"}"#)),
            ..TerminationDraft::default()
        }),
        ..ContractDraft::default()
    };
    let ceilings = Ceilings { max_hops: u32::MAX, ..Ceilings::default() };
    intake::complete(&draft, &ceilings, &|_| true).expect("a valid contract")
}

fn success() -> Envelope {
    Envelope {
        status: Status::Success,
        result: Some(payload("1")),
        confidence: Confidence::new(0.9),
        reason: String::new(),
        usage: Some(Usage { input: 10, ..Usage::default() }),
        inputs_used: Vec::new(),
        retryable: false,
        directive: None,
        score: None,
    }
}

fn payload(text: &str) -> Payload {
    Payload::from_json(&serde_json::from_str(text).expect("valid JSON"))
}
