//! What adds up, out of the journal's events. An event counts once, when it is read; what a task used counts when it ends.
//! Never here: a name that comes from outside without a bound on how many there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    names::{self, Family},
    text::Page,
};
use crate::{
    engine::event::{AttemptEnd, EscalationEnd, Event, TurnKind},
    types::{ids::AgentName, outcome::Cause},
};

/// Agents that have a name of their own in labels; what comes after them is "other".
pub(super) const MAX_AGENTS: usize = 100;
/// What agents beyond the bound are called.
pub(super) const OTHER: &str = "other";

/// The counters. Cheap to clone; all clones are the same ones.
#[derive(Clone, Default)]
pub(super) struct Counters(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// By family and label values.
    counts: BTreeMap<(&'static str, Vec<String>), u64>,
    agents: Named,
    position: u64,
}

/// The agents that are named. First come, first named.
#[derive(Debug, Default)]
pub(super) struct Named(BTreeSet<String>);

impl Named {
    /// The agent's name, or "other" where too many are named already.
    pub(super) fn name(&mut self, agent: &str) -> String {
        if self.0.contains(agent) || self.0.len() < MAX_AGENTS {
            self.0.insert(agent.to_owned());
            return agent.to_owned();
        }
        OTHER.to_owned()
    }
}

impl Inner {
    fn add(&mut self, family: &'static Family, labels: Vec<String>, by: u64) {
        let count = self.counts.entry((family.name, labels)).or_default();
        *count = count.saturating_add(by);
    }

    fn one(&mut self, family: &'static Family, labels: Vec<String>) {
        self.add(family, labels, 1);
    }

    fn agent(&mut self, agent: &AgentName) -> String {
        self.agents.name(agent.as_str())
    }
}

impl Counters {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change under this lock is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to here everything has been counted.
    pub(super) fn reached(&self, position: u64) {
        self.inner().position = position;
    }

    /// An event that cannot be read.
    pub(super) fn unreadable(&self) {
        self.inner().one(&names::UNREADABLE, Vec::new());
    }

    /// Counts an event. `owner` is known of tasks that end.
    pub(super) fn take(&self, event: &Event, owner: Option<&AgentName>) {
        let mut inner = self.inner();
        match event {
            Event::Submitted { .. } => inner.one(&names::SUBMITTED, vec![]),
            Event::TurnOpened { agent, kind, .. } => {
                let agent = inner.agent(agent);
                inner.one(&names::TURNS, vec![agent, kind_word(*kind).to_owned()]);
            }
            Event::AttemptStarted { .. } => inner.one(&names::ATTEMPTS, vec![]),
            Event::TurnAnswered { .. } => inner.one(&names::ATTEMPTS_ENDED, vec!["answered".to_owned()]),
            Event::AttemptEnded { end, .. } => {
                inner.one(&names::ATTEMPTS_ENDED, vec![attempt_word(*end).to_owned()]);
            }
            Event::HandedOff { .. } => inner.one(&names::HAND_OFFS, vec![]),
            Event::DirectiveRefused { .. } => inner.one(&names::REFUSED, vec![]),
            Event::GateJudged { passed, .. } => inner.one(&names::GATE, vec![passed.to_string()]),
            Event::GuardsTripped { trips } => {
                for trip in trips {
                    inner.one(&names::TRIPS, vec![cause_word(trip.cause)]);
                }
            }
            Event::Escalated(_) => inner.one(&names::ESCALATIONS, vec![]),
            Event::EscalationEnded { end, .. } => {
                inner.one(&names::ESCALATIONS_ENDED, vec![question_word(*end).to_owned()]);
            }
            Event::Ended { outcome, ledger } => {
                let owner = owner.map_or_else(|| OTHER.to_owned(), |owner| inner.agent(owner));
                let state = word(&outcome.state);
                inner.one(&names::ENDED, vec![owner.clone(), state, cause_word(outcome.cause)]);
                for (agent, tokens) in &ledger.by_agent {
                    let agent = inner.agent(agent);
                    inner.add(&names::TOKENS, vec![agent], *tokens);
                }
                inner.add(&names::OVERRUN, vec![owner.clone()], ledger.overrun);
                inner.add(&names::COST, vec![owner], ledger.usage.cost_nano_usd);
            }
            Event::LateUsage { .. } => inner.one(&names::LATE_USAGE, vec![]),
            Event::ChildStarted(_) => inner.one(&names::CHILDREN, vec![]),
            Event::Redriven(_) => inner.one(&names::REDRIVEN, vec![]),
            Event::Discarded(_) => inner.one(&names::DISCARDED, vec![]),
            _ => {} // Nothing that is counted.
        }
    }

    /// Writes every counter, those that are zero and have no labels included.
    pub(super) fn write(&self, page: &mut Page) {
        let inner = self.inner();
        for family in names::ALL.iter().filter(|family| IN_LOG.contains(&family.name)) {
            page.begin(family);
            let from = (family.name, Vec::new());
            let mut samples =
                inner.counts.range(from..).take_while(|((name, _), _)| *name == family.name).peekable();
            if samples.peek().is_none() && family.labels.is_empty() {
                page.sample(family, &[], 0);
            }
            for ((_, labels), count) in samples {
                let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                page.sample(family, &labels, count);
            }
        }
        page.single(&names::FOLLOWED, inner.position);
    }
}

/// The families that are counted here.
const IN_LOG: [&str; 19] = [
    names::SUBMITTED.name,
    names::ENDED.name,
    names::TOKENS.name,
    names::OVERRUN.name,
    names::COST.name,
    names::TURNS.name,
    names::ATTEMPTS.name,
    names::ATTEMPTS_ENDED.name,
    names::HAND_OFFS.name,
    names::REFUSED.name,
    names::TRIPS.name,
    names::GATE.name,
    names::ESCALATIONS.name,
    names::ESCALATIONS_ENDED.name,
    names::LATE_USAGE.name,
    names::CHILDREN.name,
    names::REDRIVEN.name,
    names::DISCARDED.name,
    names::UNREADABLE.name,
];

/// The journal's word for a state or a cause.
fn word(value: &impl serde::Serialize) -> String {
    let word = serde_json::to_value(value).ok();
    word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn cause_word(cause: Cause) -> String {
    word(&cause)
}

const fn kind_word(kind: TurnKind) -> &'static str {
    match kind {
        TurnKind::Work => "WORK",
        TurnKind::Decide => "DECIDE",
        TurnKind::Validate => "VALIDATE",
    }
}

const fn attempt_word(end: AttemptEnd) -> &'static str {
    match end {
        AttemptEnd::LeaseExpired => "lease_expired",
        AttemptEnd::Released => "released",
        AttemptEnd::Retryable => "retryable",
        AttemptEnd::Revoked => "revoked",
        AttemptEnd::Undelivered => "undelivered",
    }
}

const fn question_word(end: EscalationEnd) -> &'static str {
    match end {
        EscalationEnd::Approved => "approved",
        EscalationEnd::Aborted => "aborted",
        EscalationEnd::Expired => "expired",
        EscalationEnd::Withdrawn => "withdrawn",
        EscalationEnd::Amended => "amended",
        EscalationEnd::Extended => "extended",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_agents_have_names_and_all_others_share_one() {
        let mut named = Named::default();
        for n in 0..MAX_AGENTS {
            assert_eq!(named.name(&format!("a{n}")), format!("a{n}"));
        }
        assert_eq!(named.name("late"), OTHER);
        assert_eq!(named.name("a7"), "a7");
    }

    #[test]
    fn events_are_counted_and_nothing_is_missing_from_the_page() {
        let counters = Counters::default();
        let opened = |agent: &str| Event::TurnOpened {
            turn: 1,
            agent: agent.parse().expect("a name"),
            kind: TurnKind::Work,
            input: crate::engine::event::InputFrom::Contract,
            step: None,
            corrections: 0,
            revision: false,
            replan: false,
            fallback: false,
            notes: Vec::new(),
            judges: None,
        };
        counters.take(&opened("writer"), None);
        counters.take(&opened("writer"), None);
        counters.reached(7);
        let mut page = Page::default();
        counters.write(&mut page);
        let text = page.finish();
        for line in [
            "bailiwick_turns_opened_total{agent=\"writer\",kind=\"WORK\"} 2",
            "bailiwick_tasks_submitted_total 0",
            "bailiwick_metrics_log_position 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
