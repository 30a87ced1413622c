//! All breakers: one an agent, one a worker, kept only for those that have failed. Pure.
//!
//! A failure is the worker's first. The agent's breaker opens where the failures are not one worker's alone, or where no
//! worker of it is left whose own breaker is closed. Never here: who serves whom, which comes in; anything durable: after a
//! restart every breaker is closed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::breaker::{Breaker, BreakerInfo, BreakerTerms, Probe, Verdict, WINDOW};
use crate::types::{
    ids::{AgentName, WorkerId},
    time::{Span, Timestamp},
};

/// Breakers of workers that are kept. Over it, the one that was quiet for the longest is forgotten.
const MAX_WORKERS: usize = 16_384;
/// A worker's breaker is forgotten when nothing has been heard of it for this long beyond the time it may stay open.
const FORGET_AFTER: Span = Span::from_secs(600);
/// Where other workers serve an agent, one worker's part of its failures, in percent, above which they are its own.
const ONE_WORKERS_PART: usize = 75;

/// When breakers open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Breaking {
    /// Those of agents.
    pub agents: BreakerTerms,
    /// Those of workers.
    pub workers: BreakerTerms,
}

/// Whose breaker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    Agent(AgentName),
    Worker(WorkerId),
}

/// A breaker that stands elsewhere than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) whose: Whose,
    pub(super) was: BreakerInfo,
    pub(super) is: BreakerInfo,
}

/// The probes that an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Probes {
    agent: Option<Probe>,
    worker: Option<Probe>,
}

#[derive(Debug, Default)]
struct OfAgent {
    breaker: Breaker,
    /// Who failed, by result, newest last; `None`: it went well. As many as the breaker knows.
    by: VecDeque<Option<WorkerId>>,
}

#[derive(Debug, Default)]
struct OfWorker {
    breaker: Breaker,
    touched: Timestamp,
}

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct Breakers {
    terms: Breaking,
    agents: BTreeMap<AgentName, OfAgent>,
    workers: BTreeMap<WorkerId, OfWorker>,
    /// When each breaker that is not closed is to be looked at.
    due: BTreeSet<(Timestamp, Whose)>,
    /// Every worker's breaker by the time it last had a result.
    quiet: BTreeSet<(Timestamp, WorkerId)>,
    changes: Vec<Change>,
}

impl Breakers {
    pub(super) fn new(terms: Breaking) -> Self {
        Self { terms, ..Self::default() }
    }

    fn breaker(&self, whose: &Whose) -> Option<&Breaker> {
        match whose {
            Whose::Agent(agent) => self.agents.get(agent).map(|of| &of.breaker),
            Whose::Worker(worker) => self.workers.get(worker).map(|of| &of.breaker),
        }
    }

    /// Attempts of the agent that may start now; `None`: any number.
    pub(super) fn room_of_agent(&self, agent: &AgentName) -> Option<u32> {
        self.agents.get(agent)?.breaker.room()
    }

    /// Attempts that the worker may start now; `None`: any number.
    pub(super) fn room_of_worker(&self, worker: &WorkerId) -> Option<u32> {
        self.workers.get(worker)?.breaker.room()
    }

    pub(super) fn info(&self, whose: &Whose) -> BreakerInfo {
        self.breaker(whose).map(Breaker::info).unwrap_or_default()
    }

    /// An attempt starts. The caller has asked for room.
    pub(super) fn start(&mut self, agent: &AgentName, worker: &WorkerId, now: Timestamp) -> Probes {
        let mut probes = Probes::default();
        let Breaking { agents, workers } = self.terms;
        if self.room_of_agent(agent).is_some() {
            self.change(Whose::Agent(agent.clone()), None, |breaker| {
                probes.agent = breaker.start(&agents, now);
                false
            });
        }
        if self.room_of_worker(worker).is_some() {
            self.change(Whose::Worker(worker.clone()), Some(now), |breaker| {
                probes.worker = breaker.start(&workers, now);
                false
            });
        }
        probes
    }

    /// An attempt ended. `others` are the workers beside this one that serve the agent now. Says whether anything changed for
    /// turns that wait.
    pub(super) fn end<'a>(
        &mut self,
        agent: &AgentName,
        worker: &WorkerId,
        probes: Probes,
        verdict: Verdict,
        others: impl Iterator<Item = &'a WorkerId>,
        now: Timestamp,
    ) -> bool {
        let of_worker = self.end_of_worker(worker, probes.worker, verdict, now);
        let of_agent = self.end_of_agent(agent, worker, probes.agent, verdict, others, now);
        of_worker || of_agent
    }

    fn end_of_worker(
        &mut self,
        worker: &WorkerId,
        probe: Option<Probe>,
        verdict: Verdict,
        now: Timestamp,
    ) -> bool {
        if !self.workers.contains_key(worker) {
            // One that never failed needs no breaker.
            if verdict != Verdict::Bad {
                return false;
            }
            self.make_room();
        }
        let terms = self.terms.workers;
        self.change(Whose::Worker(worker.clone()), Some(now), |breaker| {
            breaker.end(&terms, probe, verdict, true, now)
        })
    }

    fn end_of_agent<'a>(
        &mut self,
        agent: &AgentName,
        worker: &WorkerId,
        probe: Option<Probe>,
        verdict: Verdict,
        mut others: impl Iterator<Item = &'a WorkerId>,
        now: Timestamp,
    ) -> bool {
        if !self.agents.contains_key(agent) && verdict != Verdict::Bad {
            return false;
        }
        let is_closed = |other: &WorkerId| self.workers.get(other).is_none_or(|of| of.breaker.is_closed());
        let has_other = others.any(is_closed);
        let terms = self.terms.agents;
        let of = self.agents.entry(agent.clone()).or_default();
        if of.breaker.is_closed() {
            match verdict {
                Verdict::Nothing => {}
                Verdict::Good => of.by.push_back(None),
                Verdict::Bad => of.by.push_back(Some(worker.clone())),
            }
            if of.by.len() > WINDOW as usize {
                of.by.pop_front();
            }
        }
        // The breaker is asked with its newest result in it.
        let mut asked = of.breaker.clone();
        asked.end(&terms, probe, verdict, false, now);
        let is_one_workers =
            has_other && asked.failing_results(&terms).is_some_and(|last| one_worker_failed(&of.by, last));
        let changed = self.change(Whose::Agent(agent.clone()), None, |breaker| {
            breaker.end(&terms, probe, verdict, !is_one_workers, now)
        });
        if changed && let Some(of) = self.agents.get_mut(agent) {
            of.by.clear();
        }
        changed
    }

    /// The last worker of an agent whose breaker was closed is gone or opened its own: nobody is left to ask. The agent's opens
    /// with them, until the first of them may be asked again.
    pub(super) fn nobody_left(&mut self, agent: &AgentName, until: Timestamp, now: Timestamp) {
        self.agents.entry(agent.clone()).or_default();
        self.change(Whose::Agent(agent.clone()), None, |breaker| {
            let closed = breaker.is_closed();
            if closed {
                breaker.open_until(until, now);
            }
            closed
        });
    }

    /// Until when the worker's breaker is open; `None` where it is not.
    pub(super) fn worker_open_until(&self, worker: &WorkerId) -> Option<Timestamp> {
        self.workers.get(worker)?.breaker.until()
    }

    /// When `tick` may change something.
    pub(super) fn next_tick(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Does what is due, and forgets workers that have been quiet. Gives back whose breakers let more through than before.
    pub(super) fn tick(&mut self, now: Timestamp) -> Vec<Whose> {
        let mut wider = Vec::new();
        while let Some((_, whose)) = self.due.first().filter(|(at, _)| *at <= now).cloned() {
            let terms = match whose {
                Whose::Agent(_) => self.terms.agents,
                Whose::Worker(_) => self.terms.workers,
            };
            if self.change(whose.clone(), None, |breaker| breaker.tick(&terms, now)) {
                wider.push(whose);
            }
        }
        let keep = Span(FORGET_AFTER.0.saturating_add(self.terms.workers.open_at_most.0));
        while let Some((_, worker)) = self.quiet.first().filter(|(at, _)| now.since(*at) > keep).cloned() {
            self.forget(Whose::Worker(worker));
        }
        wider
    }

    /// Closes a breaker by hand. `false`: it was closed.
    pub(super) fn reset(&mut self, whose: &Whose) -> bool {
        let is_closed = self.breaker(whose).is_none_or(Breaker::is_closed);
        if !is_closed {
            self.change(whose.clone(), None, |breaker| {
                breaker.reset();
                true
            });
        }
        !is_closed
    }

    /// What has changed since this was asked last.
    pub(super) fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Changes one breaker, keeps the books about it, and forgets it where nothing would be lost.
    /// `touched`: when it had to do with an attempt.
    fn change(
        &mut self,
        whose: Whose,
        touched: Option<Timestamp>,
        change: impl FnOnce(&mut Breaker) -> bool,
    ) -> bool {
        let breaker = match &whose {
            Whose::Agent(agent) => match self.agents.get_mut(agent) {
                Some(of) => &mut of.breaker,
                None => return false,
            },
            Whose::Worker(worker) => {
                let of = self.workers.entry(worker.clone()).or_default();
                if let Some(now) = touched {
                    self.quiet.remove(&(of.touched, worker.clone()));
                    of.touched = now;
                    self.quiet.insert((now, worker.clone()));
                }
                &mut of.breaker
            }
        };
        let (was, due) = (breaker.info(), breaker.next_tick());
        let changed = change(breaker);
        let (is, blank, next) = (breaker.info(), breaker.is_blank(), breaker.next_tick());
        if due != next {
            if let Some(at) = due {
                self.due.remove(&(at, whose.clone()));
            }
            if let Some(at) = next {
                self.due.insert((at, whose.clone()));
            }
        }
        if was.state != is.state || was.openings != is.openings {
            self.changes.push(Change { whose: whose.clone(), was, is });
        }
        // An agent's openings are worth remembering; there are not more agents than the registry has.
        if blank && matches!(whose, Whose::Worker(_)) && is.openings == 0 {
            self.forget(whose);
        }
        changed
    }

    fn make_room(&mut self) {
        while self.workers.len() >= MAX_WORKERS
            && let Some((_, worker)) = self.quiet.first().cloned()
        {
            self.forget(Whose::Worker(worker));
        }
    }

    fn forget(&mut self, whose: Whose) {
        let gone = match &whose {
            Whose::Agent(agent) => self.agents.remove(agent).map(|of| of.breaker),
            Whose::Worker(worker) => self.workers.remove(worker).map(|of| {
                self.quiet.remove(&(of.touched, worker.clone()));
                of.breaker
            }),
        };
        if let Some(at) = gone.and_then(|breaker| breaker.next_tick()) {
            self.due.remove(&(at, whose));
        }
    }
}

/// Whether the failures among the last results are one worker's, as good as.
fn one_worker_failed(by: &VecDeque<Option<WorkerId>>, last: u32) -> bool {
    let mut counts: BTreeMap<&WorkerId, usize> = BTreeMap::new();
    for worker in by.iter().rev().take(last as usize).flatten() {
        *counts.entry(worker).or_default() += 1;
    }
    let all: usize = counts.values().sum();
    let most = counts.values().max().copied().unwrap_or_default();
    most * 100 > all * ONE_WORKERS_PART
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn agent() -> AgentName {
        "a".parse().expect("a valid name")
    }

    fn worker(id: &str) -> WorkerId {
        id.parse().expect("a valid id")
    }

    fn fail(breakers: &mut Breakers, id: &str, others: &[&str]) {
        let others: Vec<WorkerId> = others.iter().map(|id| worker(id)).collect();
        let (agent, id) = (agent(), worker(id));
        let probes = breakers.start(&agent, &id, NOW);
        breakers.end(&agent, &id, probes, Verdict::Bad, others.iter(), NOW);
    }

    fn stands(breakers: &Breakers, whose: Whose) -> bool {
        breakers.info(&whose) == BreakerInfo { openings: 0, ..breakers.info(&whose) }
    }

    #[test]
    fn one_broken_worker_of_several_does_not_open_the_agent() {
        let mut breakers = Breakers::new(Breaking::default());
        for _ in 0..5 {
            fail(&mut breakers, "w1", &["w2"]);
        }
        assert!(!stands(&breakers, Whose::Worker(worker("w1"))), "its own is open");
        assert!(stands(&breakers, Whose::Agent(agent())));
        // What was under way at the broken one still fails; nobody else does.
        for _ in 0..10 {
            fail(&mut breakers, "w1", &["w2"]);
        }
        assert!(stands(&breakers, Whose::Agent(agent())));
    }

    #[test]
    fn failures_of_several_workers_open_the_agent_before_any_of_theirs() {
        let mut breakers = Breakers::new(Breaking::default());
        for id in ["w1", "w2", "w1", "w2", "w1"] {
            fail(&mut breakers, id, &["w1", "w2"]);
        }
        assert!(!stands(&breakers, Whose::Agent(agent())));
        assert!(stands(&breakers, Whose::Worker(worker("w1"))));
    }

    #[test]
    fn the_only_worker_of_an_agent_opens_both() {
        let mut breakers = Breakers::new(Breaking::default());
        for _ in 0..5 {
            fail(&mut breakers, "w1", &[]);
        }
        assert!(!stands(&breakers, Whose::Agent(agent())) && !stands(&breakers, Whose::Worker(worker("w1"))));
        let whose: Vec<Whose> = breakers.changes().into_iter().map(|change| change.whose).collect();
        assert_eq!(whose, [Whose::Worker(worker("w1")), Whose::Agent(agent())]);
    }

    #[test]
    fn breakers_of_workers_are_bounded_and_forgotten_when_quiet() {
        let mut breakers = Breakers::new(Breaking::default());
        for number in 0..MAX_WORKERS + 10 {
            fail(&mut breakers, &format!("w{number}"), &["other"]);
        }
        assert_eq!(breakers.workers.len(), MAX_WORKERS);
        assert_eq!(breakers.quiet.len(), MAX_WORKERS);
        breakers.tick(NOW.plus(Span::from_secs(3_600)));
        assert!(breakers.workers.is_empty() && breakers.quiet.is_empty());
    }

    #[test]
    fn a_reset_closes_at_once() {
        let mut breakers = Breakers::new(Breaking::default());
        for _ in 0..5 {
            fail(&mut breakers, "w1", &[]);
        }
        assert!(breakers.reset(&Whose::Agent(agent())));
        assert!(!breakers.reset(&Whose::Agent(agent())));
        assert_eq!(breakers.room_of_agent(&agent()), None);
        assert_eq!(breakers.info(&Whose::Agent(agent())).openings, 1);
    }
}
