//! One task is one trace: what a sink receives of a journal with everything in it, in one go, across restarts, after
//! outages.

#[path = "support/engine.rs"]
mod engine;
#[path = "support/journal.rs"]
mod journal;
#[path = "support/otlp_sink.rs"]
mod otlp_sink;

#[path = "traces/projection.rs"]
mod projection;
#[path = "traces/script.rs"]
mod script;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bailiwick::{
    engine::event::{Event, TraceContext},
    store::{Store, memory::MemoryStore},
    telemetry::{
        exporter::{CURSOR, TraceExporter},
        settings::{Sampler, TraceSettings},
    },
    types::{
        ids::TaskId,
        trace_ids::{self, SpanOf},
    },
};
use journal::{Journal, START, submitted};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use otlp_sink::{OtlpSink, event_names, flag, list, named, number, text, tree};
use script::{Commit, ended, everything, opened};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const SUBMITTER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const LIMIT: Duration = Duration::from_secs(30);

const TREE: &str = "\
invoke_workflow
  invoke_agent planner
    attempt 1
    attempt 2
  invoke_agent reader
    attempt 1
      late_usage
  plan 1
  invoke_agent checker
    attempt 1
  invoke_agent writer
    attempt 1
  invoke_agent planner
    attempt 1
    gate
  invoke_agent planner
    attempt 1
  invoke_agent boss
    decide
    attempt 1
    escalation
";

fn exporter(store: &Arc<dyn Store>, sink: &OtlpSink) -> TraceExporter {
    let sampler = Sampler { follows_parent: true, ratio: 1.0 };
    let settings = TraceSettings { endpoint: sink.endpoint(), sampler };
    TraceExporter::new(Arc::clone(store), &settings).expect("a usable sink")
}

/// Exports what the store holds and stops, as a server does that is shut down.
async fn export_once(store: &Arc<dyn Store>, sink: &OtlpSink) {
    let stop = CancellationToken::new();
    stop.cancel();
    exporter(store, sink).run(watch::channel(0).1, stop, LIMIT).await;
}

fn new_store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

async fn exported() -> (TaskId, OtlpSink) {
    let store = new_store();
    let mut journal = Journal::new(Arc::clone(&store), 1);
    for (millis, events) in everything(journal.task) {
        journal.commit(millis, events);
    }
    let sink = OtlpSink::start().await;
    export_once(&store, &sink).await;
    (journal.task, sink)
}

/// Begin and end, in milliseconds after the start.
fn times(span: &Span) -> (u64, u64) {
    let millis = |nanos: u64| (nanos - START.0 * 1_000) / 1_000_000;
    (millis(span.start_time_unix_nano), millis(span.end_time_unix_nano))
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

fn of(spans: &BTreeMap<Vec<u8>, Span>, task: TaskId, of: SpanOf) -> &Span {
    let id = trace_ids::span_id(task, of).to_be_bytes();
    spans.get(id.as_slice()).unwrap_or_else(|| panic!("no span of {of:?}"))
}

#[tokio::test]
async fn a_task_is_one_trace_under_its_submitter() {
    let (task, sink) = exported().await;
    let spans = sink.spans();
    assert_eq!(tree(&spans), TREE);
    assert_eq!(sink.all_spans().len(), spans.len(), "nothing was sent twice");
    assert!(sink.services().iter().all(|name| name == "bailiwick"), "{:?}", sink.services());
    let submitter = trace_ids::parse_traceparent(SUBMITTER).expect("well formed");
    for span in spans.values() {
        assert_eq!(span.trace_id, submitter.trace_id.to_be_bytes(), "{}", span.name);
        assert_eq!(text(&span.attributes, "bailiwick.task.id"), Some(task.to_string()), "{}", span.name);
        assert_eq!(span.trace_state, "vendor=a");
        let mut keys: Vec<&str> = span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        keys.sort_unstable();
        let all = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), all, "a key twice in {}", span.name);
    }
    assert_eq!(of(&spans, task, SpanOf::Task).parent_span_id, submitter.parent_id.to_be_bytes());
}

#[tokio::test]
async fn a_worker_continues_below_its_attempt() {
    let (task, sink) = exported().await;
    let context = TraceContext { traceparent: Some(SUBMITTER.into()), tracestate: None };
    let carried = trace_ids::attempt_traceparent(task, &context, 1, 2);
    let carried = trace_ids::parse_traceparent(&carried).expect("well formed");
    let spans = sink.spans();
    let attempt = &spans[carried.parent_id.to_be_bytes().as_slice()];
    assert_eq!(attempt.name, "attempt 2");
    assert_eq!(attempt.trace_id, carried.trace_id.to_be_bytes());
    assert_eq!(attempt.kind(), SpanKind::Client);
}

#[tokio::test]
async fn spans_have_the_times_of_the_journal() {
    let (task, sink) = exported().await;
    let spans = sink.spans();
    for (what, expected) in [
        (SpanOf::Task, (0, 60_000)),
        (SpanOf::Turn(1), (0, 6_000)),
        (SpanOf::Attempt(1, 1), (10, 5_000)),
        (SpanOf::Attempt(1, 2), (5_200, 6_000)),
        (SpanOf::Plan(1), (6_000, 8_000)),
        (SpanOf::Turn(3), (6_500, 7_000)),
        // It ends with the answer and takes what the journal can tell apart: a microsecond.
        (SpanOf::Gate(5), (8_999, 9_000)),
        (SpanOf::Decide(7), (9_500, 9_900)),
        (SpanOf::Escalation(1), (9_900, 60_000)),
    ] {
        assert_eq!(times(of(&spans, task, what)), expected, "{what:?}");
    }
}

#[tokio::test]
async fn spans_say_what_happened_in_the_conventions_words() {
    let (task, sink) = exported().await;
    let spans = sink.spans();
    let root = of(&spans, task, SpanOf::Task);
    let has = |span: &Span, key: &str, expected: &str| {
        assert_eq!(text(&span.attributes, key).as_deref(), Some(expected), "{key} of {}", span.name);
    };
    let counts = |span: &Span, key: &str, expected: i64| {
        assert_eq!(number(&span.attributes, key), Some(expected), "{key} of {}", span.name);
    };
    has(root, "gen_ai.operation.name", "invoke_workflow");
    has(root, "bailiwick.label.team", "search");
    has(root, "bailiwick.outcome.state", "SUCCEEDED");
    has(root, "bailiwick.outcome.ended_by", "HUMAN");
    has(root, "bailiwick.outcome.cause", "COMPLETED");
    counts(root, "bailiwick.hops", 1);
    counts(root, "bailiwick.turns", 6);
    counts(root, "bailiwick.attempts", 8);
    counts(root, "bailiwick.spent", 724);
    counts(root, "bailiwick.overrun", 3);
    assert!(!is_error(root));

    let planning = of(&spans, task, SpanOf::Turn(1));
    has(planning, "gen_ai.operation.name", "invoke_agent");
    has(planning, "gen_ai.agent.name", "planner");
    has(planning, "bailiwick.answer.directive", "delegate");
    // Both attempts: the lost one with what was heard of it while the turn was open.
    counts(planning, "gen_ai.usage.input_tokens", 400);
    counts(planning, "gen_ai.usage.output_tokens", 50);
    has(of(&spans, task, SpanOf::Turn(3)), "bailiwick.step.id", "read");

    let lost = of(&spans, task, SpanOf::Attempt(1, 1));
    has(lost, "bailiwick.attempt.end", "LEASE_EXPIRED");
    has(lost, "error.type", "LEASE_EXPIRED");
    has(lost, "bailiwick.worker.id", "w1");
    counts(lost, "bailiwick.reserved", 1_000);
    assert!(is_error(lost));
    let second = of(&spans, task, SpanOf::Attempt(1, 2));
    has(second, "bailiwick.attempt.end", "ANSWERED");
    counts(second, "bailiwick.allowance", 1_500);
    counts(second, "bailiwick.spent", 340);

    let gate = named(&spans, "gate");
    assert_eq!(flag(&gate.attributes, "bailiwick.gate.passed"), Some(false));
    assert_eq!(list(&gate.attributes, "bailiwick.findings"), ["confidence 0.4 is below 0.8"]);
    assert!(is_error(gate));
    let decide = named(&spans, "decide");
    has(decide, "bailiwick.decision", "escalate");
    assert_eq!(list(&decide.attributes, "bailiwick.trip.causes"), ["TURNS"]);
    assert_eq!(list(&decide.attributes, "bailiwick.trip.evidence"), ["6 of 6 turns"]);
    has(named(&spans, "escalation"), "bailiwick.escalation.end", "APPROVED");
    has(named(&spans, "escalation"), "bailiwick.escalation.by", "ada");
    counts(named(&spans, "late_usage"), "gen_ai.usage.input_tokens", 55);
}

#[tokio::test]
async fn what_happens_within_a_span_is_an_event_of_it() {
    let (task, sink) = exported().await;
    let spans = sink.spans();
    for (what, expected) in [
        (SpanOf::Task, &["late_usage", "guard_tripped"][..]),
        (SpanOf::Turn(2), &["hand_off"]),
        (SpanOf::Turn(6), &["directive_refused"]),
        (SpanOf::Attempt(1, 2), &["budget_answered"]),
        (SpanOf::Plan(1), &["step_ended", "step_ended"]),
    ] {
        assert_eq!(event_names(of(&spans, task, what)), expected, "{what:?}");
    }
    let hand_off = &of(&spans, task, SpanOf::Turn(2)).events[0];
    assert_eq!(text(&hand_off.attributes, "bailiwick.hand_off.to").as_deref(), Some("checker"));
    assert_eq!(number(&hand_off.attributes, "bailiwick.hops"), Some(1));
    assert_eq!(hand_off.time_unix_nano, (START.0 + 6_500_000) * 1_000);
}

#[tokio::test]
async fn no_lease_leaves_the_server() {
    let (_, sink) = exported().await;
    assert!(!format!("{:?}", sink.all_spans()).contains("5ec2e7"));
}

#[tokio::test]
async fn a_restart_at_any_record_yields_the_same_trace() {
    let (_, whole) = exported().await;
    let sink = OtlpSink::start().await;
    let commits = everything(Journal::new(new_store(), 1).task);
    let single: Vec<(u64, Event)> = commits
        .into_iter()
        .flat_map(|(at, events)| events.into_iter().map(move |event| (at, event)))
        .collect();
    for cut in 0..=single.len() {
        let store = new_store();
        let mut journal = Journal::new(Arc::clone(&store), 1);
        for (at, event) in &single[..cut] {
            journal.commit(*at, vec![event.clone()]);
        }
        export_once(&store, &sink).await;
        for (at, event) in &single[cut..] {
            journal.commit(*at, vec![event.clone()]);
        }
        export_once(&store, &sink).await;
        // Every further round repeats the same ids; `spans` asserts that it repeats the content too.
        assert_eq!(sink.spans(), whole.spans(), "cut after {cut} records");
        assert_eq!(
            sink.all_spans().len(),
            (cut + 1) * whole.spans().len(),
            "cut after {cut}: a span twice or never"
        );
    }
}

#[tokio::test]
async fn a_crash_before_the_cursor_is_saved_repeats_and_loses_nothing() {
    let store = new_store();
    let mut journal = Journal::new(Arc::clone(&store), 1);
    let sink = OtlpSink::start().await;
    for (millis, events) in everything(journal.task) {
        journal.commit(millis, events);
        export_once(&store, &sink).await;
        store.set_number(CURSOR, 0).expect("the store takes it");
    }
    assert_eq!(tree(&sink.spans()), TREE);
    assert!(sink.all_spans().len() > sink.spans().len(), "nothing was repeated");
}

#[tokio::test]
async fn an_outage_of_the_sink_delays_spans_and_keeps_the_cursor() {
    let store = new_store();
    let mut journal = Journal::new(Arc::clone(&store), 1);
    let sink = OtlpSink::start().await;
    sink.refuse(true);
    let (nudge, log_end) = watch::channel(0);
    let stop = CancellationToken::new();
    let running = tokio::spawn(exporter(&store, &sink).run(log_end, stop.clone(), LIMIT));
    for (millis, events) in everything(journal.task) {
        journal.commit(millis, events);
    }
    nudge.send_replace(1);
    sink.wait_for_a_request().await;
    assert_eq!(store.number(CURSOR), Ok(None), "nothing was taken, so nothing is confirmed");
    sink.refuse(false);
    sink.wait_until("the whole trace", |spans| spans.values().any(|span| span.name == "late_usage")).await;
    stop.cancel();
    running.await.expect("the exporter ends");
    assert_eq!(tree(&sink.spans()), TREE);
    let end = store.log(0, 1_000).expect("the log").last().map(|entry| entry.position);
    assert_eq!(store.number(CURSOR), Ok(end));
}

/// A sink that takes a request and never answers.
#[derive(Debug)]
struct BlackHole;

impl opentelemetry_sdk::trace::SpanExporter for BlackHole {
    async fn export(
        &self,
        _: Vec<opentelemetry_sdk::trace::SpanData>,
    ) -> opentelemetry_sdk::error::OTelSdkResult {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_sink_that_never_answers_does_not_hold_up_the_shutdown() {
    let store = new_store();
    Journal::new(Arc::clone(&store), 1).commit(0, vec![submitted(None), ended()]);
    let stop = CancellationToken::new();
    stop.cancel();
    let exporter = TraceExporter::with_sink(Arc::clone(&store), BlackHole, Sampler::ALWAYS);
    // Would wait for ever if the limit were not one.
    exporter.run(watch::channel(0).1, stop, Duration::from_millis(1)).await;
    assert_eq!(store.number(CURSOR), Ok(None));
}

#[tokio::test]
async fn a_sink_that_cannot_be_used_is_refused_at_the_start() {
    for endpoint in ["https://127.0.0.1:4317", "http://", "not an address"] {
        let settings = TraceSettings { endpoint: endpoint.to_owned(), sampler: Sampler::ALWAYS };
        let refused = TraceExporter::new(new_store(), &settings).err().expect("must be refused").to_string();
        assert!(refused.contains("the sink for traces"), "{refused}");
    }
}

#[tokio::test]
async fn a_submitter_that_does_not_record_is_obeyed() {
    let store = new_store();
    for (number, parent) in [(1, Some(SUBMITTER.replace("-01", "-00"))), (2, None)] {
        let mut journal = Journal::new(Arc::clone(&store), number);
        journal.commit(0, vec![submitted(parent.as_deref()), ended()]);
    }
    let sink = OtlpSink::start().await;
    export_once(&store, &sink).await;
    let own = Journal::new(store, 2).task;
    let traces: Vec<Vec<u8>> = sink.all_spans().into_iter().map(|span| span.trace_id).collect();
    assert_eq!(traces, [own.uuid().as_bytes().to_vec()], "the trace without a submitter is the task's own");
}

#[tokio::test]
async fn tasks_that_are_not_kept_in_memory_are_traced_whole() {
    let store = new_store();
    let mut journals: Vec<Journal> = (1..=8).map(|number| Journal::new(Arc::clone(&store), number)).collect();
    let commits: Vec<Vec<Commit>> = journals.iter().map(|journal| everything(journal.task)).collect();
    for place in 0..commits[0].len() {
        for (journal, commits) in journals.iter_mut().zip(&commits) {
            let (millis, events) = &commits[place];
            journal.commit(*millis, events.clone());
        }
    }
    let sink = OtlpSink::start().await;
    let stop = CancellationToken::new();
    stop.cancel();
    exporter(&store, &sink).keeping(1).run(watch::channel(0).1, stop, LIMIT).await;
    let spans = sink.spans();
    assert_eq!(spans.len(), 8 * TREE.lines().count());
    assert_eq!(sink.all_spans().len(), spans.len(), "nothing was sent twice");
    for journal in &journals {
        assert_eq!(times(of(&spans, journal.task, SpanOf::Turn(1))), (0, 6_000));
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_read_costs_its_own_trace_a_span() {
    let store = new_store();
    let mut broken = Journal::new(Arc::clone(&store), 1);
    broken.commit(0, vec![submitted(None), opened(1, "planner", None)]);
    broken.commit_raw(
        1,
        vec![("turn_answered".into(), 1, "{".into()), ("of_tomorrow".into(), 99, "{}".into())],
    );
    let mut sound = Journal::new(Arc::clone(&store), 2);
    sound.commit(2, vec![submitted(None), ended()]);
    broken.commit(3, vec![ended()]);
    let sink = OtlpSink::start().await;
    export_once(&store, &sink).await;
    let spans = sink.spans();
    assert_eq!(times(of(&spans, sound.task, SpanOf::Task)), (2, 2));
    assert_eq!(times(of(&spans, broken.task, SpanOf::Turn(1))), (0, 3), "closed by the task's end");
}

/// Sends a sample to the sink that the environment names, or to one in this process where it names none, with a worker's
/// span below an attempt, and prints the trace's id:
/// `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 cargo test --test traces sample -- --nocapture`.
#[tokio::test]
async fn a_sample_for_the_sink_of_the_environment() {
    let own = OtlpSink::start().await;
    let lookup = |name: &str| {
        let fallback = || (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| own.endpoint());
        std::env::var(name).ok().or_else(fallback)
    };
    let settings = TraceSettings::read(lookup).expect("usable settings").expect("an endpoint is set");
    let store = new_store();
    let number = std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970").as_nanos();
    let mut journal = Journal::new(Arc::clone(&store), number);
    for (millis, mut events) in everything(journal.task) {
        if let Some(Event::Submitted { trace, .. }) = events.first_mut() {
            *trace = TraceContext::default();
        }
        journal.commit(millis, events);
    }
    let end = store.log(0, 1_000).expect("the log").last().map(|entry| entry.position);
    // Twice, as after a crash that lost the cursor: a viewer should show everything once.
    for _ in 0..2 {
        store.set_number(CURSOR, 0).expect("the store takes it");
        let stop = CancellationToken::new();
        stop.cancel();
        let exporter = TraceExporter::new(Arc::clone(&store), &settings).expect("a usable sink");
        exporter.run(watch::channel(0).1, stop, LIMIT).await;
        assert_eq!(store.number(CURSOR), Ok(end), "the sink did not take it");
    }
    let start_nanos = (START.0 + 5_250_000) * 1_000;
    otlp_sink::send_as_worker(&settings.endpoint, journal.task, (1, 2), start_nanos).await;
    println!("trace {}", journal.task.uuid().simple());
    if settings.endpoint == own.endpoint() {
        let beneath = "    attempt 2\n      chat example-model\n";
        assert_eq!(tree(&own.spans()), TREE.replacen("    attempt 2\n", beneath, 1));
    }
}
