//! OTLP/JSON: spans with GenAI attributes, gathered by trace, as runs. What is held at a time is bounded. Never here: a file.
//!
//! The spans of a trace may stand anywhere in a file, so a trace is a run only at the end of the file, or when so much is held
//! that the trace that has been silent longest is let go.

mod heard;
mod said;
mod steps;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use self::{heard::Heard, said::What};
use super::{
    fault::{Fault, Wrong},
    read::Document,
    record::set_of,
    trace::Trace,
};

/// Bytes of spans that are held before a trace is let go, about.
const MOST_HELD: usize = 512 << 20;

/// Spans of one file, by trace.
pub struct Gatherer {
    traces: HashMap<String, Gathering>,
    /// Traces by when they were last heard of: the first is the one to let go.
    touched: BTreeMap<u64, String>,
    /// Traces that were let go before the end.
    gone: HashSet<String>,
    now: u64,
    held: usize,
    most: usize,
    /// Traces without anything to judge.
    empty: u64,
}

/// A trace so far.
struct Gathering {
    /// When it was first heard of.
    began: u64,
    touched: u64,
    service: String,
    held: usize,
    spans: Vec<Heard>,
    /// Each thing said, once: every call of a model repeats the whole conversation.
    said: HashSet<Arc<What>>,
}

impl Default for Gatherer {
    fn default() -> Self {
        Self {
            traces: HashMap::new(),
            touched: BTreeMap::new(),
            gone: HashSet::new(),
            now: 0,
            held: 0,
            most: MOST_HELD,
            empty: 0,
        }
    }
}

impl Gatherer {
    /// Adds the spans of a document; hands the traces to `run` that it lets go, and what is wrong to `fault`.
    pub fn add(&mut self, document: &Document, mut run: impl FnMut(Trace), mut fault: impl FnMut(Fault)) {
        let place = &document.place;
        let read: wire::Document = match serde_json::from_slice(&document.bytes) {
            Ok(read) => read,
            Err(error) => {
                let what = Wrong::of_json(&error, Wrong::NotSpans);
                return fault(Fault { place: place.within(&error), what });
            }
        };
        let (mut nameless, mut late) = (0, HashSet::new());
        for resource in read.resource_spans {
            let service = resource.resource.attributes.text("service.name").map(str::to_owned);
            let service = service.unwrap_or_else(|| set_of(&place.file));
            for mut span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let trace = std::mem::take(&mut span.trace_id).to_ascii_lowercase();
                if trace.is_empty() || span.span_id.is_empty() {
                    nameless += 1;
                } else if self.gone.contains(&trace) {
                    late.insert(trace);
                } else {
                    self.hear(trace, &service, Heard::of(span));
                }
            }
        }
        if nameless > 0 {
            fault(Fault { place: place.clone(), what: Wrong::SpansWithoutId(nameless) });
        }
        let mut late: Vec<String> = late.into_iter().collect();
        late.sort();
        late.into_iter().for_each(|id| fault(Fault { place: place.clone(), what: Wrong::LateSpan(id) }));
        while self.held > self.most
            && let Some((_, id)) = self.touched.pop_first()
        {
            self.gone.insert(id.clone());
            self.judge(id).map(&mut run);
        }
    }

    fn hear(&mut self, trace: String, service: &str, mut span: Heard) {
        self.now += 1;
        let now = self.now;
        let gathering = self.traces.entry(trace.clone()).or_insert_with(|| Gathering {
            began: now,
            touched: now,
            service: service.to_owned(),
            held: 0,
            spans: Vec::new(),
            said: HashSet::new(),
        });
        let mut size = span.size();
        for said in span.said() {
            if let Some(known) = gathering.said.get(&said.what) {
                said.what = Arc::clone(known);
            } else {
                size += said.what.size();
                gathering.said.insert(Arc::clone(&said.what));
            }
        }
        gathering.held += size;
        self.held += size;
        gathering.spans.push(span);
        self.touched.remove(&std::mem::replace(&mut gathering.touched, now));
        self.touched.insert(now, trace);
    }

    fn judge(&mut self, id: String) -> Option<Trace> {
        let Gathering { service, held, spans, .. } = self.traces.remove(&id)?;
        self.held -= held;
        let run = steps::run(id, &service, spans);
        self.empty += u64::from(run.is_none());
        run
    }

    /// The traces that are left, in the order in which they were first heard of; then how many, over all, had no work of a
    /// model or an agent in them.
    pub fn finish(mut self, mut run: impl FnMut(Trace)) -> u64 {
        let mut ids: Vec<(u64, String)> = self.traces.iter().map(|(id, g)| (g.began, id.clone())).collect();
        ids.sort();
        for (_, id) in ids {
            self.judge(id).map(&mut run);
        }
        self.empty
    }
}
