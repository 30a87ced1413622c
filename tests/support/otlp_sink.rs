//! An OTLP sink in this process: a gRPC TraceService on a free loopback port that keeps what it is sent and can be told
//! to refuse.
#![allow(dead_code, unreachable_pub)] // Every test that includes this file uses its own part of it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bailiwick::{
    engine::event::TraceContext,
    types::{ids::TaskId, trace_ids},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_client::TraceServiceClient,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, span::Event},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// How long a test waits for spans before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A sink that listens until it is dropped.
pub struct OtlpSink {
    address: SocketAddr,
    inbox: Inbox,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Inbox {
    state: Arc<Mutex<State>>,
    /// Counts requests, refused ones included.
    requests: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    refuses: bool,
    services: Vec<String>,
    spans: Vec<Span>,
}

impl Inbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl TraceService for Inbox {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let refuses = {
            let mut state = self.state();
            if !state.refuses {
                for resource in request.into_inner().resource_spans {
                    let attributes =
                        resource.resource.map(|resource| resource.attributes).unwrap_or_default();
                    state.services.extend(text(&attributes, "service.name"));
                    state.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
                }
            }
            state.refuses
        };
        self.requests.send_modify(|count| *count += 1);
        if refuses {
            Err(Status::unavailable("told to refuse"))
        } else {
            Ok(Response::new(ExportTraceServiceResponse::default()))
        }
    }
}

impl OtlpSink {
    /// Listens on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("a bound address");
        let inbox = Inbox { state: Arc::default(), requests: watch::Sender::new(0) };
        let service = TraceServiceServer::new(inbox.clone());
        let server = tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .expect("the sink serves");
        });
        Self { address, inbox, server }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` must be for this sink.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on answers UNAVAILABLE and keeps nothing, or not any more.
    pub fn refuse(&self, refuses: bool) {
        self.inbox.state().refuses = refuses;
    }

    /// The names of the services that sent something.
    pub fn services(&self) -> Vec<String> {
        self.inbox.state().services.clone()
    }

    /// Every span that came, repeats included.
    pub fn all_spans(&self) -> Vec<Span> {
        self.inbox.state().spans.clone()
    }

    /// Every span that came, by id; a repeat must be the same in every part.
    pub fn spans(&self) -> BTreeMap<Vec<u8>, Span> {
        let mut spans = BTreeMap::new();
        for span in self.all_spans() {
            if let Some(earlier) = spans.insert(span.span_id.clone(), span.clone()) {
                assert_eq!(earlier, span, "a repeat with other content");
            }
        }
        spans
    }

    /// Waits until `done` says so of the spans that came.
    pub async fn wait_until(&self, what: &str, done: impl Fn(&BTreeMap<Vec<u8>, Span>) -> bool) {
        let mut requests = self.inbox.requests.subscribe();
        let waiting = async {
            while !done(&self.spans()) {
                requests.changed().await.expect("the sink is alive");
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
    }

    /// Waits until a request has come after this call, refused or not.
    pub async fn wait_for_a_request(&self) {
        let mut requests = self.inbox.requests.subscribe();
        let waiting = tokio::time::timeout(PATIENCE, requests.changed());
        waiting.await.expect("waited in vain for a request").expect("the sink is alive");
    }
}

impl Drop for OtlpSink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Sends one span, as a worker that continues the trace of this attempt would, to this sink. `attempt`: the turn's number and the
/// attempt's.
pub async fn send_as_worker(endpoint: &str, task: TaskId, attempt: (u32, u32), start_nanos: u64) {
    let carried = trace_ids::attempt_traceparent(task, &TraceContext::default(), attempt.0, attempt.1);
    send_under(endpoint, &carried, 0x00c0_ffee, start_nanos).await;
}

/// Sends one span of a worker, below what this traceparent names.
pub async fn send_under(endpoint: &str, traceparent: &str, span_id: u64, start_nanos: u64) {
    let carried = trace_ids::parse_traceparent(traceparent).expect("well formed");
    let span = Span {
        trace_id: carried.trace_id.to_be_bytes().to_vec(),
        span_id: span_id.to_be_bytes().to_vec(),
        parent_span_id: carried.parent_id.to_be_bytes().to_vec(),
        name: "chat example-model".to_owned(),
        start_time_unix_nano: start_nanos,
        end_time_unix_nano: start_nanos + 500_000_000,
        ..Span::default()
    };
    let name = AnyValue { value: Some(Value::StringValue("example-worker".to_owned())) };
    let name = KeyValue { key: "service.name".to_owned(), value: Some(name), ..KeyValue::default() };
    let resource = Some(Resource { attributes: vec![name], ..Resource::default() });
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    let mut client = TraceServiceClient::connect(endpoint.to_owned()).await.expect("the sink listens");
    client.export(ExportTraceServiceRequest { resource_spans }).await.expect("the sink takes it");
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    attribute.value.as_ref()?.value.as_ref()
}

/// A text attribute.
pub fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match value(attributes, key) {
        Some(Value::StringValue(text)) => Some(text.clone()),
        _ => None,
    }
}

/// A whole-number attribute.
pub fn number(attributes: &[KeyValue], key: &str) -> Option<i64> {
    match value(attributes, key) {
        Some(Value::IntValue(number)) => Some(*number),
        _ => None,
    }
}

/// A yes-or-no attribute.
pub fn flag(attributes: &[KeyValue], key: &str) -> Option<bool> {
    match value(attributes, key) {
        Some(Value::BoolValue(flag)) => Some(*flag),
        _ => None,
    }
}

/// A list-of-texts attribute; empty where there is none.
pub fn list(attributes: &[KeyValue], key: &str) -> Vec<String> {
    let Some(Value::ArrayValue(array)) = value(attributes, key) else { return Vec::new() };
    let texts = array.values.iter().map(|value| match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{key} holds {other:?}"),
    });
    texts.collect()
}

/// The span of this name; the first to begin, where there are several.
pub fn named<'a>(spans: &'a BTreeMap<Vec<u8>, Span>, name: &str) -> &'a Span {
    let found = spans.values().filter(|span| span.name == name).min_by_key(|span| span.start_time_unix_nano);
    found.unwrap_or_else(|| panic!("no span {name}"))
}

/// The events of a span, by name.
pub fn event_names(span: &Span) -> Vec<&str> {
    span.events.iter().map(|event: &Event| event.name.as_str()).collect()
}

/// The spans as an indented tree, siblings by begin: a line for each name. A span whose parent did not come stands at the
/// margin.
pub fn tree(spans: &BTreeMap<Vec<u8>, Span>) -> String {
    fn below(spans: &BTreeMap<Vec<u8>, Span>, parent: Option<&[u8]>, depth: usize, out: &mut String) {
        let is_child = |span: &&Span| match parent {
            Some(parent) => span.parent_span_id == parent,
            None => !spans.contains_key(&span.parent_span_id),
        };
        let mut children: Vec<&Span> = spans.values().filter(is_child).collect();
        children.sort_by_key(|span| (span.start_time_unix_nano, span.end_time_unix_nano, span.name.clone()));
        for child in children {
            out.push_str(&"  ".repeat(depth));
            out.push_str(&child.name);
            out.push('\n');
            below(spans, Some(&child.span_id), depth + 1, out);
        }
    }
    let mut out = String::new();
    below(spans, None, 0, &mut out);
    out
}
