//! The life of a task, written by hand: a lost worker, a plan, a hand-off, a refusal at the gate, a decision, a question,
//! usage after the end.

#![allow(unreachable_pub)] // A part of one test binary.

use std::sync::Arc;

use bailiwick::{
    engine::{
        event::{
            AttemptEnd, Escalated, EscalationEnd, Event, GateCheck, InputFrom, Outcome, PlanKind, StepEnd,
            StepRef, Trip, TurnKind,
        },
        ledger::LedgerView,
    },
    types::{
        envelope::{Answer, Confidence, Decision, Directive, HandOff, Status},
        ids::{Lease, StepId, TaskId, WorkerId},
        outcome::{Cause, EndedBy, TaskState},
        plan::{OnStepFailure, Plan, Step},
    },
};

use crate::{
    SUBMITTER,
    journal::{START, agent, answer, submitted, usage},
};

/// A commit: milliseconds after the start, and its events.
pub type Commit = (u64, Vec<Event>);

/// A work turn is ready, of a step of the plan or of none.
pub fn opened(turn: u32, name: &str, step: Option<usize>) -> Event {
    Event::TurnOpened {
        turn,
        agent: agent(name),
        kind: TurnKind::Work,
        input: InputFrom::Contract,
        step: step.map(|step| StepRef { plan: 1, step }),
        corrections: 0,
        revision: false,
        replan: false,
        fallback: false,
        notes: Vec::new(),
        judges: None,
    }
}

fn started(task: TaskId, turn: u32, attempt: u32, worker: &str) -> Event {
    let lease = Lease { task, turn, attempt, secret: 0x5ec2e7 };
    let worker: WorkerId = worker.parse().expect("a valid worker id");
    Event::AttemptStarted {
        turn,
        attempt,
        lease,
        worker,
        allowance: 1_000,
        hold_raised: 0,
        from_reserve: false,
    }
}

fn answered(turn: u32, attempt: u32, answer: Arc<Answer>, charged: (u64, u64)) -> Event {
    Event::TurnAnswered {
        turn,
        attempt,
        answer,
        charged: usage(charged.0, charged.1),
        findings: Vec::new(),
        output_findings: Vec::new(),
        inputs: None,
    }
}

fn success(confidence: f64) -> Arc<Answer> {
    answer(Status::Success, confidence, None)
}

fn step_ended(step: usize, id: &str) -> Event {
    Event::StepEnded {
        plan: 1,
        step,
        id: id.parse().expect("a name"),
        end: StepEnd::Success,
        reason: String::new(),
        optional: false,
    }
}

fn plan() -> Plan {
    let step = |id: &str, name: &str, depends_on| Step {
        id: id.parse::<StepId>().expect("a name"),
        agent: agent(name),
        input: None,
        depends_on,
        max_tokens: None,
        fallback_agents: Vec::new(),
        optional: false,
    };
    let steps = vec![step("read", "reader", vec![]), step("sum-up", "writer", vec![0])];
    Plan { steps, on_step_failure: OnStepFailure::Wait, result_step: None }
}

/// The planner's turn: its first worker is lost, the second asks for more and delegates.
fn planning(task: TaskId) -> Vec<Commit> {
    let lost = Event::AttemptEnded {
        turn: 1,
        attempt: 1,
        end: AttemptEnd::LeaseExpired,
        reason: "not heard of for 5s".to_owned(),
        cause: None,
        usage: None,
        retry_at: Some(START),
    };
    let budget = Event::BudgetAnswered {
        turn: 1,
        attempt: 2,
        asked: 500,
        granted: 500,
        allowance: 1_500,
        left: 100,
        reason: String::new(),
    };
    let delegates = answer(Status::Partial, 0.5, Some(Directive::Delegate(plan())));
    let plan_started = Event::PlanStarted {
        number: 1,
        planner_turn: 1,
        plan: Arc::new(plan()),
        held: 6_000,
        kind: PlanKind::Round,
    };
    vec![
        (0, vec![submitted(Some(SUBMITTER)), opened(1, "planner", None)]),
        (10, vec![started(task, 1, 1, "w1")]),
        (20, vec![Event::UsageRecorded { turn: 1, attempt: 1, usage: usage(100, 10) }]),
        (5_000, vec![lost]),
        (5_200, vec![started(task, 1, 2, "w2")]),
        (5_300, vec![budget]),
        (6_000, vec![answered(1, 2, delegates, (300, 40)), plan_started, opened(2, "reader", Some(0))]),
    ]
}

/// The plan's steps, the first with a hand-off inside, while the lost worker reports at last.
fn working(task: TaskId) -> Vec<Commit> {
    let hands_off = Directive::HandOff(HandOff { agent: agent("checker"), input: None });
    let handed_off = Event::HandedOff { turn: 2, from: agent("reader"), to: agent("checker"), hop: 1 };
    let hands_off = answer(Status::Partial, 0.5, Some(hands_off));
    vec![
        (6_010, vec![started(task, 2, 1, "w1")]),
        (6_500, vec![answered(2, 1, hands_off, (50, 5)), handed_off, opened(3, "checker", Some(0))]),
        (6_510, vec![Event::LateUsage { turn: 1, attempt: 1, usage: usage(120, 15) }]),
        (6_520, vec![started(task, 3, 1, "w2")]),
        (
            7_000,
            vec![answered(3, 1, success(0.9), (60, 6)), step_ended(0, "read"), opened(4, "writer", Some(1))],
        ),
        (7_010, vec![started(task, 4, 1, "w1")]),
        (
            8_000,
            vec![
                answered(4, 1, success(0.9), (70, 7)),
                step_ended(1, "sum-up"),
                Event::PlanEnded { number: 1, succeeded: true, released: 5_000 },
                opened(5, "planner", None),
            ],
        ),
    ]
}

/// The result is refused, the revision wants too much, the owner asks a person, who approves; usage comes after the end.
fn concluding(task: TaskId) -> Vec<Commit> {
    let refusal = Event::GateJudged {
        turn: 5,
        passed: false,
        findings: vec!["confidence 0.4 is below 0.8".to_owned()],
        check: GateCheck::Rules,
        validate_turn: None,
    };
    let refused =
        Event::DirectiveRefused { turn: 6, reasons: vec!["no agent \"nobody\" is known".to_owned()] };
    let trip = Trip::new(Cause::Turns, "6 of 6 turns".to_owned());
    let decide = Event::TurnOpened {
        turn: 7,
        agent: agent("boss"),
        kind: TurnKind::Decide,
        input: InputFrom::Contract,
        step: None,
        corrections: 0,
        revision: false,
        replan: false,
        fallback: false,
        notes: Vec::new(),
        judges: None,
    };
    let asks = Answer::Decision { decision: Decision::Escalate("Good enough?".to_owned()), usage: None };
    let question = Escalated {
        number: 1,
        turn: 7,
        question: "Good enough?".to_owned(),
        cause: Some(Cause::Turns),
        candidate: None,
        confidence: Confidence::new(0.4),
        findings: Vec::new(),
        expires_at: START,
        story: Vec::new(),
        room: None,
    };
    let approved = Event::EscalationEnded {
        number: 1,
        end: EscalationEnd::Approved,
        by: "ada".to_owned(),
        note: "fine".to_owned(),
        result: None,
    };
    vec![
        (8_010, vec![started(task, 5, 1, "w1")]),
        (9_000, vec![answered(5, 1, success(0.4), (80, 8)), refusal, opened(6, "planner", None)]),
        (9_010, vec![started(task, 6, 1, "w1")]),
        (
            9_500,
            vec![
                answered(6, 1, success(0.9), (10, 1)),
                refused,
                Event::GuardsTripped { trips: vec![trip] },
                decide,
            ],
        ),
        (9_510, vec![started(task, 7, 1, "w3")]),
        (9_900, vec![answered(7, 1, Arc::new(asks), (20, 2)), Event::Escalated(Box::new(question))]),
        (60_000, vec![approved, ended()]),
        (61_000, vec![Event::LateUsage { turn: 2, attempt: 1, usage: usage(55, 5) }]),
    ]
}

/// The end: approved by a person.
pub fn ended() -> Event {
    let outcome = Outcome {
        state: TaskState::Succeeded,
        ended_by: EndedBy::Human,
        cause: Cause::Completed,
        result: None,
        reason: "ada approved it".to_owned(),
        findings: Vec::new(),
    };
    let ledger = LedgerView {
        granted: 10_000,
        spent: 724,
        overrun: 3,
        usage: usage(640, 84),
        ..LedgerView::default()
    };
    Event::Ended { outcome: Box::new(outcome), ledger: Box::new(ledger) }
}

/// A task with everything in it.
pub fn everything(task: TaskId) -> Vec<Commit> {
    [planning(task), working(task), concluding(task)].concat()
}
