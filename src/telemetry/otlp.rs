//! From our spans to the exporter's, and the sink itself. The only place that names the OpenTelemetry crates' types.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Array, InstrumentationScope, Key, KeyValue, StringValue, Value as OtelValue,
    trace::{Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{ExporterBuildError, RetryPolicy, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks},
};

use super::{
    semconv,
    settings::TraceSettings,
    span::{Attributes, Events, Span, Value},
};
use crate::types::{time::Timestamp, trace_ids::TraceParent};

/// What made the spans.
static SCOPE: LazyLock<InstrumentationScope> = LazyLock::new(|| {
    InstrumentationScope::builder("bailiwick").with_version(env!("CARGO_PKG_VERSION")).build()
});

/// The sink that the settings name. It connects when it is first used; must be called within a tokio runtime.
pub(super) fn sink(settings: &TraceSettings) -> Result<SpanExporter, ExporterBuildError> {
    let mut sink = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&settings.endpoint)
        // Our own loop retries, for as long as it takes.
        .with_retry_policy(RetryPolicy::disabled())
        .build()?;
    sink.set_resource(&resource());
    Ok(sink)
}

/// What the server is called: as the environment says, and for what it does not say, by itself.
fn resource() -> Resource {
    let detected = Resource::builder().build();
    let said = |key: &'static str| detected.get(&Key::new(key)).map(|value| value.to_string());
    let mut resource = Resource::builder();
    // The crate makes up a name that begins like this where none is set.
    if said(semconv::SERVICE_NAME).is_none_or(|name| name.starts_with("unknown_service")) {
        resource = resource.with_service_name("bailiwick");
    }
    if said(semconv::SERVICE_VERSION).is_none() {
        resource =
            resource.with_attribute(KeyValue::new(semconv::SERVICE_VERSION, env!("CARGO_PKG_VERSION")));
    }
    // With it a viewer knows that these spans share a clock, and does not look for skew among them.
    if let (None, Some(host)) = (said(semconv::HOST_NAME), host_name()) {
        resource = resource.with_attribute(KeyValue::new(semconv::HOST_NAME, host));
    }
    resource.build()
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::env::var("HOSTNAME"))
        .or_else(|_| std::env::var("COMPUTERNAME"));
    name.ok().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// A span as the exporter wants it.
pub(super) fn span_data(span: Span) -> SpanData {
    let context = |id: u64| {
        let state = span.trace_state.as_deref().and_then(|state| state.parse::<TraceState>().ok());
        SpanContext::new(
            TraceId::from(span.trace_id),
            SpanId::from(id),
            TraceFlags::SAMPLED,
            false,
            state.unwrap_or_default(),
        )
    };
    SpanData {
        span_context: context(span.span_id),
        parent_span_id: span.parent_id.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: span.parent_is_remote,
        span_kind: if span.is_client { SpanKind::Client } else { SpanKind::Internal },
        name: span.name.into(),
        start_time: system_time(span.start),
        end_time: system_time(span.end),
        attributes: key_values(span.attributes),
        dropped_attributes_count: 0,
        events: events(span.events),
        links: span.link.map(links).unwrap_or_default(),
        status: span.error.map_or(Status::Unset, Status::error),
        instrumentation_scope: SCOPE.clone(),
    }
}

fn links(link: TraceParent) -> SpanLinks {
    let flags = if link.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace, span) = (TraceId::from(link.trace_id), SpanId::from(link.parent_id));
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    let mut out = SpanLinks::default();
    out.links = vec![Link::with_context(context)];
    out
}

fn events(events: Events) -> SpanEvents {
    let mut out = SpanEvents::default();
    out.dropped_count = events.dropped;
    let event = |event: super::span::Event| {
        Event::new(event.name, system_time(event.at), key_values(event.attributes), 0)
    };
    out.events = events.kept.into_iter().map(event).collect();
    out
}

fn key_values(attributes: Attributes) -> Vec<KeyValue> {
    attributes.0.into_iter().map(|(key, value)| KeyValue::new(key, otel_value(value))).collect()
}

fn otel_value(value: Value) -> OtelValue {
    match value {
        Value::Text(text) => text.into(),
        Value::Number(number) => number.into(),
        Value::Real(number) => number.into(),
        Value::Flag(flag) => flag.into(),
        Value::List(texts) => {
            OtelValue::Array(Array::String(texts.into_iter().map(StringValue::from).collect()))
        }
    }
}

fn system_time(at: Timestamp) -> SystemTime {
    // A time that the platform cannot express is outside of any journal; the epoch stands for it.
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(at.0)).unwrap_or(SystemTime::UNIX_EPOCH)
}
