//! The spans of one trace as a run: in order of time, each thing said once, agents from the spans around. Never here: parsing.
//!
//! Every call of a model records the whole conversation before it. A message of an input is a step only where it has not been
//! one: it is counted how often the same text has been seen, so that a person who says the same thing twice is heard twice.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    heard::{Exchange, Heard, Work},
    said::{Call, Said, What},
};
use crate::backtest::trace::{RunOutcome, StepKind, StepRole, Trace, TraceStep};

/// Makes the run of a trace; `None` where no model and no agent was at work in it.
pub(super) fn run(trace_id: String, service: &str, mut spans: Vec<Heard>) -> Option<Trace> {
    spans.sort_by_key(|span| span.start);
    let family = Family::of(&spans);
    let workflow = spans.iter().find_map(|span| span.workflow.clone());
    let outcome = spans.iter().find_map(|span| span.outcome).unwrap_or_else(|| family.outcome(&spans));
    let mut teller = Teller { fallback: service, counted: counted(&spans), ..Teller::default() };
    for Act { span, part } in acts(&spans, &family) {
        teller.agent = family.agent(&spans, span);
        match (&spans[span].work, part) {
            (Work::Model(exchange) | Work::Agent(exchange), _) => teller.exchange(exchange),
            (Work::Tool { call, .. }, Part::Begins) => teller.calls(call),
            (Work::Tool { call, result }, Part::Ends) => {
                if let Some(result) = result {
                    teller.answers(Some(&call.tool), result);
                }
            }
            (Work::Other, _) => {}
        }
    }
    let worked = teller.steps.iter().any(|step| step.role == StepRole::Assistant);
    worked.then(|| Trace {
        trace_id,
        dataset: service.to_owned(),
        topology: workflow.unwrap_or_default(),
        outcome,
        outcome_fixed_at: None,
        steps: teller.steps,
    })
}

fn counted(spans: &[Heard]) -> bool {
    spans.iter().any(|span| match &span.work {
        Work::Model(exchange) | Work::Agent(exchange) => exchange.tokens.is_some(),
        Work::Tool { .. } | Work::Other => false,
    })
}

/// Something that happens at a time.
struct Act {
    span: usize,
    part: Part,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// A result comes before what another span begins at the same time.
    Ends,
    Begins,
}

fn acts(spans: &[Heard], family: &Family) -> Vec<Act> {
    let mut acts = Vec::new();
    for (at, span) in spans.iter().enumerate() {
        match &span.work {
            Work::Model(_) | Work::Agent(_) if family.holds_work[at] => {}
            Work::Agent(exchange) if exchange.is_empty() => {}
            Work::Model(_) | Work::Agent(_) => acts.push((span.start, Part::Begins, at)),
            Work::Tool { .. } => {
                acts.push((span.start, Part::Begins, at));
                // A call without duration must still begin before it ends.
                let end = super::wire::Nanos(span.end.0.max(span.start.0.saturating_add(1)));
                acts.push((end, Part::Ends, at));
            }
            Work::Other => {}
        }
    }
    acts.sort();
    acts.into_iter().map(|(_, part, span)| Act { span, part }).collect()
}

/// Who is inside whom.
struct Family {
    parents: Vec<Option<usize>>,
    /// By span: whether a model is at work inside it, so that its own figures are sums.
    holds_work: Vec<bool>,
}

impl Family {
    fn of(spans: &[Heard]) -> Self {
        let by_id: HashMap<&str, usize> = (0..).zip(spans).map(|(at, span)| (span.id.as_str(), at)).collect();
        let parents: Vec<Option<usize>> =
            spans.iter().map(|span| by_id.get(span.parent.as_str()).copied()).collect();
        let mut holds_work = vec![false; spans.len()];
        for (at, span) in spans.iter().enumerate() {
            if matches!(&span.work, Work::Model(exchange) if !exchange.is_empty()) {
                let mut above = parents[at];
                // A parent that is marked has marked its own parents; that also ends circles.
                while let Some(parent) = above
                    && !holds_work[parent]
                {
                    holds_work[parent] = true;
                    above = parents[parent];
                }
            }
        }
        Self { parents, holds_work }
    }

    /// The nearest agent, from the span outwards.
    fn agent<'a>(&self, spans: &'a [Heard], span: usize) -> Option<&'a str> {
        let mut at = Some(span);
        // As many steps as there are spans: parents may form a circle.
        for _ in 0..spans.len() {
            let here = at?;
            if let Some(agent) = &spans[here].agent {
                return Some(agent);
            }
            at = self.parents[here];
        }
        None
    }

    /// A run whose outermost span failed is a failure; that it did not says nothing of its answer.
    fn outcome(&self, spans: &[Heard]) -> RunOutcome {
        let failed = (0..).zip(spans).any(|(at, span): (usize, _)| self.parents[at].is_none() && span.failed);
        if failed { RunOutcome::Failure } else { RunOutcome::Unknown }
    }
}

/// Writes steps down, each once.
#[derive(Default)]
struct Teller<'a> {
    fallback: &'a str,
    agent: Option<&'a str>,
    /// Whether tokens are counted at all in this trace.
    counted: bool,
    steps: Vec<TraceStep>,
    /// How often a text, or the result of a tool, has been a step.
    told: HashMap<Arc<What>, u32>,
    /// Calls that a model asked for and whose span has not come yet.
    asked: Vec<Call>,
    /// Calls that were told.
    ids: HashSet<String>,
}

impl<'a> Teller<'a> {
    fn exchange(&mut self, exchange: &'a Exchange) {
        let mut here: HashMap<Arc<What>, u32> = HashMap::new();
        for said in &exchange.input {
            let key = key(&said.what);
            let times = here.entry(Arc::clone(&key)).or_default();
            *times += 1;
            if *times > self.told.get(&key).copied().unwrap_or(0) {
                self.hears(said, key);
            }
        }
        let mut tokens = exchange.tokens;
        for said in &exchange.output {
            *self.told.entry(key(&said.what)).or_default() += 1;
            match &*said.what {
                What::Text(text) => self.says(text, tokens),
                What::Call(call) => {
                    self.asked.push(call.clone());
                    self.called(call, tokens);
                }
                // A tool inside the model.
                What::Response { result, .. } => {
                    self.answered(None, result);
                    continue;
                }
            }
            tokens = tokens.map(|_| (0, 0));
        }
        if exchange.output.is_empty() && tokens.is_some() {
            self.says("", tokens);
        }
    }

    /// A message that was sent to a model and was no step yet.
    fn hears(&mut self, said: &'a Said, key: Arc<What>) {
        *self.told.entry(key).or_default() += 1;
        match &*said.what {
            // What an agent said before this trace began is not this run's.
            What::Text(_) if said.role == StepRole::Assistant => {}
            What::Text(text) => {
                let agent = if said.role == StepRole::System { "system" } else { "user" };
                self.step(agent, said.role, StepKind::Message, text, None);
                self.last(|step| step.templated = said.role == StepRole::System);
            }
            What::Response { result, .. } => self.answered(None, result),
            What::Call(_) => {}
        }
    }

    /// A tool begins: a step unless a model has asked for this very call.
    fn calls(&mut self, call: &Call) {
        if call.id.as_ref().is_some_and(|id| self.ids.contains(id)) {
            self.asked.retain(|asked| asked.id != call.id);
            return;
        }
        let same = |asked: &Call| asked.tool == call.tool && (asked.id.is_none() || call.id.is_none());
        if let Some(at) = self.asked.iter().position(same) {
            self.asked.remove(at);
            return;
        }
        // Its tokens are in the call of the model that wanted it, where those are counted.
        self.called(call, self.counted.then_some((0, 0)));
    }

    fn called(&mut self, call: &Call, tokens: Option<(u64, u64)>) {
        self.ids.extend(call.id.clone());
        let agent = self.agent.unwrap_or(self.fallback);
        self.step(agent, StepRole::Assistant, StepKind::ToolCall, &call.canonical, tokens);
        self.last(|step| {
            step.tool = Some(call.tool.clone());
            step.call = (!call.canonical.is_empty()).then(|| call.canonical.clone());
        });
    }

    /// A tool has ended.
    fn answers(&mut self, tool: Option<&str>, result: &str) {
        *self.told.entry(result_key(result)).or_default() += 1;
        self.answered(tool, result);
    }

    fn answered(&mut self, tool: Option<&str>, result: &str) {
        self.step(tool.unwrap_or("tool"), StepRole::Tool, StepKind::ToolResult, result, None);
        self.last(|step| step.tool = tool.map(str::to_owned));
    }

    fn says(&mut self, text: &str, tokens: Option<(u64, u64)>) {
        let agent = self.agent.unwrap_or(self.fallback);
        self.step(agent, StepRole::Assistant, StepKind::Message, text, tokens);
    }

    fn step(&mut self, agent: &str, role: StepRole, kind: StepKind, text: &str, tokens: Option<(u64, u64)>) {
        self.steps.push(TraceStep {
            i: self.steps.len() as u64,
            agent: agent.to_owned(),
            role,
            kind,
            tool: None,
            text: text.to_owned(),
            call: None,
            templated: false,
            prompt_tokens: tokens.map(|(read, _)| read),
            completion_tokens: tokens.map(|(_, written)| written),
        });
    }

    fn last(&mut self, change: impl FnOnce(&mut TraceStep)) {
        if let Some(step) = self.steps.last_mut() {
            change(step);
        }
    }
}

/// The same text by anybody is the same; ids of calls are left out, as not every recorder writes them.
fn key(what: &Arc<What>) -> Arc<What> {
    match &**what {
        What::Response { id: Some(_), result } => result_key(result),
        _ => Arc::clone(what),
    }
}

fn result_key(result: &str) -> Arc<What> {
    Arc::new(What::Response { id: None, result: result.to_owned() })
}
