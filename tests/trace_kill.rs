//! One task is one trace, whole over a `kill -9` of the server that exports it: a real server process, an OTLP sink in this
//! one, and a worker that adds a span of its own under what its assignment carries.

#[path = "support/hand.rs"]
mod hand;
#[allow(clippy::duplicate_mod)]
#[path = "support/otlp_sink.rs"]
mod otlp_sink;
#[allow(clippy::duplicate_mod)]
#[path = "support/server.rs"]
mod server;

use std::collections::BTreeMap;

use bailiwick::{
    pb::{
        Answer, AnswerEscalationRequest, Assignment, Contract, Delegate, Gate, HandOff,
        ListEscalationsRequest, Plan, Status, StatusEnvelope, Step, TaskEvent, status_envelope::Directive,
        task_event::Event,
    },
    telemetry::semconv,
};
use hand::{Hand, World, contract, soon, success};
use opentelemetry_proto::tonic::trace::v1::Span;
use otlp_sink::{OtlpSink, flag, number, text};

const AGENTS: [&str; 4] = ["planner", "alpha", "beta", "boss"];
/// What the tasks do; it is their goal.
const STORIES: [&str; 4] = ["retry", "plan", "hand off", "escalation"];
/// Assignments of all the tasks: two attempts; planner, two steps, planner; two turns; one turn.
const ASSIGNMENTS: usize = 9;
const WORKER_SPAN: &str = "chat example-model";

fn story(goal: &str) -> Contract {
    let gate = Gate { min_confidence: 0.8, max_revisions: Some(0), ..Gate::default() };
    Contract { goal: goal.to_owned(), gate: Some(gate), ..contract("planner") }
}

/// What the worker answers, by the task's story.
fn script(assignment: &Assignment) -> StatusEnvelope {
    let directive = |directive| StatusEnvelope { result: None, directive: Some(directive), ..success(20) };
    match (assignment.goal.as_str(), assignment.turn, assignment.attempt) {
        ("retry", 1, 1) => StatusEnvelope {
            status: Status::Failed.into(),
            result: None,
            reason: "rate limit".to_owned(),
            retryable: true,
            ..success(20)
        },
        ("plan", 1, _) => {
            let step = |id: &str, agent: &str, depends_on: &[&str]| Step {
                id: id.to_owned(),
                agent: agent.to_owned(),
                depends_on: depends_on.iter().map(|id| (*id).to_owned()).collect(),
                ..Step::default()
            };
            let steps = vec![step("a", "alpha", &[]), step("b", "beta", &["a"])];
            directive(Directive::Delegate(Delegate { plan: Some(Plan { steps, ..Plan::default() }) }))
        }
        ("hand off", 1, _) => {
            directive(Directive::HandOff(HandOff { agent: "alpha".to_owned(), input: None }))
        }
        ("escalation", 1, _) => StatusEnvelope { confidence: Some(0.3), ..success(20) },
        _ => success(20),
    }
}

/// Takes and answers this many assignments, each with a span of the worker's own.
async fn work(hand: &mut Hand, sink: &OtlpSink, assignments: std::ops::Range<usize>) {
    for place in assignments {
        let assignment = hand.next().await;
        finish(hand, sink, place, &assignment).await;
    }
}

async fn finish(hand: &mut Hand, sink: &OtlpSink, place: usize, assignment: &Assignment) {
    let span_id = 0xc0ff_ee00 + u64::try_from(place).expect("few");
    otlp_sink::send_under(&sink.endpoint(), &assignment.traceparent, span_id, 1_000).await;
    hand.answer(&assignment.lease, script(assignment)).await.expect("acknowledged");
}

async fn approve_the_question(world: &World) {
    let asked = soon("a question", async {
        loop {
            let open = world.operator().list_escalations(ListEscalationsRequest::default()).await;
            if let Some(one) = open.expect("a list").into_inner().escalations.pop() {
                return one;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    let request = AnswerEscalationRequest {
        escalation_id: asked.escalation_id,
        answer: Answer::Approve.into(),
        answered_by: "ada".to_owned(),
        ..AnswerEscalationRequest::default()
    };
    world.operator().answer_escalation(request).await.expect("it is approved");
}

#[tokio::test]
async fn every_task_is_one_whole_trace_over_a_kill_and_a_restart() {
    let sink = OtlpSink::start().await;
    let mut world = World::with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.endpoint())]).await;
    let (mut hand, _) = world.hand("w", &AGENTS, &[]).await;
    let mut ids = Vec::new();
    for goal in STORIES {
        ids.push(world.submit(story(goal)).await);
    }
    work(&mut hand, &sink, 0..4).await;
    sink.wait_until("a span from before the kill", |spans| {
        spans.values().any(|span| span.name.starts_with(semconv::ATTEMPT))
    })
    .await;
    let held = hand.next().await;
    world.restart().await;
    let (mut hand, live) = world.hand("w", &AGENTS, &[&held.lease]).await;
    assert_eq!(live, [held.lease.as_str()], "an attempt goes on over the restart");
    finish(&mut hand, &sink, 4, &held).await;
    work(&mut hand, &sink, 5..ASSIGNMENTS).await;
    approve_the_question(&world).await;
    for (id, goal) in ids.iter().zip(STORIES) {
        let events = world.events(id, 0, usize::MAX).await;
        let task = world.task(id).await;
        let trace = |span: &&Span| hex(&span.trace_id) == task.trace_id;
        sink.wait_until("the whole trace", |spans| {
            spans.values().filter(trace).any(|span| span.name == semconv::INVOKE_WORKFLOW)
        })
        .await;
        let spans: BTreeMap<Vec<u8>, Span> = sink
            .spans()
            .into_values()
            .filter(|span| trace(&span))
            .map(|span| (span.span_id.clone(), span))
            .collect();
        check(goal, &spans, &events);
    }
    world.take().stop().await;
    // Once more, after the last of them has been sent: a repeat with other content is a panic here.
    assert_eq!(sink.spans().values().filter(|span| span.name == WORKER_SPAN).count(), ASSIGNMENTS);
}

/// What must hold of the trace of any task, against its journal.
fn check(goal: &str, spans: &BTreeMap<Vec<u8>, Span>, events: &[TaskEvent]) {
    let shown = otlp_sink::tree(spans);
    let kinds: Vec<&Event> = events.iter().filter_map(|event| event.event.as_ref()).collect();
    let count = |wanted: fn(&Event) -> bool| kinds.iter().filter(|event| wanted(event)).count();
    for (name, journalled) in [
        (semconv::INVOKE_WORKFLOW, 1),
        (semconv::INVOKE_AGENT, count(|event| matches!(event, Event::TurnOpened(_)))),
        (semconv::ATTEMPT, count(|event| matches!(event, Event::AttemptStarted(_)))),
        (WORKER_SPAN, count(|event| matches!(event, Event::AttemptStarted(_)))),
        (semconv::PLAN, count(|event| matches!(event, Event::PlanStarted(_)))),
        (semconv::GATE, count(|event| matches!(event, Event::GateJudged(_)))),
        (semconv::ESCALATION, count(|event| matches!(event, Event::Escalated(_)))),
    ] {
        let found = spans.values().filter(|span| kind(span) == name).count();
        assert_eq!(found, journalled, "{name} of {goal}:\n{shown}");
    }
    for span in spans.values() {
        let parent = spans.get(&span.parent_span_id);
        match kind(span) {
            semconv::INVOKE_WORKFLOW => assert!(span.parent_span_id.is_empty(), "{shown}"),
            semconv::ATTEMPT => {
                let turn = parent.unwrap_or_else(|| panic!("an attempt at the margin:\n{shown}"));
                assert_eq!(kind(turn), semconv::INVOKE_AGENT, "{shown}");
                let number_of = |span: &Span| number(&span.attributes, semconv::TURN_NUMBER);
                assert!(number_of(span).is_some() && number_of(span) == number_of(turn));
                assert_eq!(text(&span.attributes, semconv::WORKER_ID).as_deref(), Some("w"));
                assert_eq!(number(&span.attributes, semconv::SPENT), Some(20), "{goal}");
                assert!(number(&span.attributes, semconv::RESERVED).is_some_and(|tokens| tokens > 0));
                assert_eq!(number(&span.attributes, semconv::GEN_AI_USAGE_INPUT_TOKENS), Some(20));
            }
            WORKER_SPAN => assert_eq!(parent.map(kind), Some(semconv::ATTEMPT), "{shown}"),
            semconv::GATE => {
                let passed = flag(&span.attributes, semconv::GATE_PASSED);
                assert_eq!(passed, Some(goal != "escalation"), "{shown}");
                assert!(parent.is_some(), "{shown}");
            }
            _ => assert!(parent.is_some(), "{} at the margin:\n{shown}", span.name),
        }
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
    }
    let root = otlp_sink::named(spans, semconv::INVOKE_WORKFLOW);
    let at = |event: Option<&TaskEvent>| {
        let at = event.and_then(|event| event.at).expect("an event has a time");
        u64::try_from(at.seconds * 1_000_000_000 + i64::from(at.nanos)).expect("after 1970")
    };
    let ended = events.iter().find(|event| matches!(event.event, Some(Event::Ended(_))));
    let journalled = (at(events.first()), at(ended));
    assert_eq!((root.start_time_unix_nano, root.end_time_unix_nano), journalled, "submitted to ended");
    let word = |key| text(&root.attributes, key);
    assert_eq!(word(semconv::TASK_GOAL).as_deref(), Some(goal));
    assert_eq!(word(semconv::OUTCOME_STATE).as_deref(), Some("SUCCEEDED"));
    assert_eq!(word(semconv::GEN_AI_OPERATION_NAME).as_deref(), Some(semconv::INVOKE_WORKFLOW));
    let attempts = count(|event| matches!(event, Event::AttemptStarted(_)));
    let attempts = i64::try_from(attempts).expect("few");
    assert_eq!(number(&root.attributes, semconv::ATTEMPTS), Some(attempts));
    assert_eq!(number(&root.attributes, semconv::SPENT), Some(20 * attempts));
    let hops = i64::from(goal == "hand off");
    assert_eq!(number(&root.attributes, semconv::HOPS), Some(hops));
}

/// The first word of a span's name, where what follows is a name or a number.
fn kind(span: &Span) -> &str {
    if span.name == WORKER_SPAN { WORKER_SPAN } else { span.name.split(' ').next().unwrap_or_default() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
