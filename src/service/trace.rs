//! W3C trace context from a call's metadata. What is malformed is ignored, as the recommendation asks: a trace is never
//! a reason to refuse work.

use tonic::metadata::MetadataMap;

use crate::{engine::event::TraceContext, types::trace_ids::parse_traceparent};

/// The longest `tracestate` that is passed on, in bytes. The recommendation's own figure.
const MAX_TRACESTATE_BYTES: usize = 512;

/// The trace context of a call.
pub(crate) fn context(metadata: &MetadataMap) -> TraceContext {
    let mut parents = metadata.get_all("traceparent").iter();
    let traceparent = match (parents.next(), parents.next()) {
        (Some(only), None) => only.to_str().ok().filter(|text| parse_traceparent(text).is_some()),
        _ => None,
    };
    // Without a parent the state of its vendors means nothing.
    let tracestate = traceparent.and_then(|_| tracestate(metadata));
    TraceContext { traceparent: traceparent.map(str::to_owned), tracestate }
}

/// The trace context in two texts; empty: none.
pub(crate) fn of_texts(traceparent: String, tracestate: String) -> TraceContext {
    let traceparent = Some(traceparent).filter(|text| parse_traceparent(text).is_some());
    let tracestate = traceparent.as_ref().and_then(|_| usable(tracestate));
    TraceContext { traceparent, tracestate }
}

fn tracestate(metadata: &MetadataMap) -> Option<String> {
    let parts: Vec<_> =
        metadata.get_all("tracestate").iter().map(|part| part.to_str().ok()).collect::<Option<_>>()?;
    usable(parts.join(","))
}

fn usable(state: String) -> Option<String> {
    let pairs = state.split(',').all(|pair| pair.trim().is_empty() || pair.contains('='));
    (!state.is_empty() && state.len() <= MAX_TRACESTATE_BYTES && pairs).then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn check(pairs: &[(&'static str, &str)], parent: Option<&str>, state: Option<&str>) {
        let mut metadata = MetadataMap::new();
        for (key, value) in pairs {
            metadata.append(*key, value.parse().expect("ASCII"));
        }
        let found = context(&metadata);
        assert_eq!((found.traceparent.as_deref(), found.tracestate.as_deref()), (parent, state), "{pairs:?}");
    }

    #[test]
    fn a_well_formed_context_is_kept_and_any_other_ignored() {
        check(&[], None, None);
        check(&[("traceparent", PARENT)], Some(PARENT), None);
        check(&[("traceparent", PARENT), ("tracestate", "a=1")], Some(PARENT), Some("a=1"));
        check(
            &[("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")],
            Some(PARENT),
            Some("a=1,b=2"),
        );
        check(&[("traceparent", PARENT), ("traceparent", PARENT)], None, None);
        check(&[("traceparent", "00-zz-00-01"), ("tracestate", "a=1")], None, None);
        check(&[("traceparent", PARENT), ("tracestate", "nonsense")], Some(PARENT), None);
        check(&[("traceparent", PARENT), ("tracestate", &"a=1,".repeat(200))], Some(PARENT), None);
        check(&[("tracestate", "a=1")], None, None);
    }
}
