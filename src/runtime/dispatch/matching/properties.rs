//! What matching promises whatever happens, over random histories: limits hold, nothing that could be matched is left over,
//! nothing is matched twice, nobody starves.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    runtime::BreakerTerms,
    types::{ids::TurnNumber, time::Span},
};

const AGENTS: [&str; 3] = ["a", "b", "c"];
const SPACES: [&str; 3] = ["default", "m", "n"];
const WORKERS: usize = 4;
const MAX: u32 = 3;

/// What may happen. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Join(usize, u8),
    Leave(usize),
    Drain(usize),
    Credit(usize, u32, Option<usize>),
    Offer {
        task: u128,
        turn: TurnNumber,
        agent: usize,
        space: usize,
        priority: u8,
        decides: bool,
        delay: u64,
    },
    Withdraw(usize),
    End(usize, u8),
    GiveBack(usize),
    Time(u64),
    Reset(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let offer = (0..6_u128, 1..50_u32, 0..3_usize, 0..3_usize, 0..2_u8, 0..12_u8, 0..4_u64).prop_map(
        |(task, turn, agent, space, priority, decides, delay)| Step::Offer {
            task,
            turn,
            agent,
            space,
            priority,
            decides: decides == 0,
            delay: delay.saturating_sub(2),
        },
    );
    prop_oneof![
        2 => (0..WORKERS, 1..8_u8).prop_map(|(worker, agents)| Step::Join(worker, agents)),
        1 => (0..WORKERS).prop_map(Step::Leave),
        1 => (0..WORKERS).prop_map(Step::Drain),
        6 => (0..WORKERS, 1..4_u32, proptest::option::of(0..3_usize)).prop_map(|(w, n, a)| Step::Credit(w, n, a)),
        8 => offer,
        1 => any::<usize>().prop_map(Step::Withdraw),
        6 => (any::<usize>(), 0..4_u8).prop_map(|(at, how)| Step::End(at, how)),
        1 => any::<usize>().prop_map(Step::GiveBack),
        2 => (0..3_000_000_u64).prop_map(Step::Time),
        1 => (0..3_usize).prop_map(Step::Reset),
    ]
}

fn agent(at: usize) -> AgentName {
    AGENTS[at % 3].parse().expect("a valid name")
}

fn worker(at: usize) -> WorkerId {
    format!("w{at}").parse().expect("a valid id")
}

/// The matching, and what is known about it from outside.
struct Bench {
    matching: Matching,
    now: Timestamp,
    sessions: u128,
    running: Vec<Slot>,
    decides: BTreeSet<TurnKey>,
    /// Turns offered and neither withdrawn nor matched.
    waiting: BTreeSet<TurnKey>,
    limit: u32,
}

impl Bench {
    fn new(limit: u32) -> Self {
        let terms = BreakerTerms { consecutive: 3, open_for: Span::from_secs(1), ..BreakerTerms::default() };
        let limits = NameLimits::default().with("a", limit).with("n", limit);
        let bulkheads = Bulkheads { agents: limits.clone(), namespaces: limits };
        Self {
            matching: Matching::new(Breaking { agents: terms, workers: terms }, bulkheads),
            now: Timestamp(1_000_000),
            sessions: 0,
            running: Vec::new(),
            decides: BTreeSet::new(),
            waiting: BTreeSet::new(),
            limit,
        }
    }

    fn took(&mut self, slots: Vec<Slot>) {
        for slot in slots {
            assert!(self.waiting.remove(&slot.key), "only what waits is matched, and once");
            self.running.push(slot);
        }
    }

    fn held(&self, id: &WorkerId) -> u32 {
        u32::try_from(self.running.iter().filter(|slot| slot.worker == *id).count()).expect("few")
    }

    fn step(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Join(at, agents) => {
                let id = worker(at);
                self.sessions += 1;
                let agents: Vec<_> = (0..3).filter(|bit| agents >> bit & 1 == 1).map(agent).collect();
                let held = self.held(&id);
                self.matching.join(&id, SessionId(Uuid::from_u128(self.sessions)), &agents, MAX, held, now);
            }
            Step::Leave(at) => self.matching.leave(&worker(at), now),
            Step::Drain(at) => self.matching.drain(&worker(at)),
            Step::Credit(at, slots, of) => {
                let of = of.map(agent);
                let slots = self.matching.credit(&worker(at), slots, of.as_ref(), now);
                self.took(slots);
            }
            Step::Offer { task, turn, agent: of, space, priority, decides, delay } => {
                let key = TurnKey { task: TaskId::from(Uuid::from_u128(task)), turn };
                if self.running.iter().any(|slot| slot.key == key) || self.waiting.contains(&key) {
                    return;
                }
                if decides {
                    self.decides.insert(key);
                } else {
                    self.decides.remove(&key);
                }
                let namespace = SPACES[space].parse().expect("a valid name");
                let not_before = now.plus(Span::from_secs(delay));
                self.waiting.insert(key);
                let (agent, marks) = (agent(of), Box::default());
                let offer = Offer { key, agent, namespace, priority, decides, not_before, marks };
                let slots = self.matching.offer(offer, now);
                self.took(slots);
            }
            Step::Withdraw(at) => {
                let Some(key) = self.waiting.iter().nth(at % self.waiting.len().max(1)).copied() else {
                    return;
                };
                self.matching.withdraw(key);
                self.waiting.remove(&key);
            }
            Step::End(at, how) => {
                if self.running.is_empty() {
                    return;
                }
                let slot = self.running.remove(at % self.running.len());
                let verdict = [Verdict::Good, Verdict::Bad, Verdict::Bad, Verdict::Nothing][usize::from(how)];
                let slots = self.matching.release(slot.permit, verdict, now);
                self.took(slots);
            }
            Step::GiveBack(at) => {
                if self.running.is_empty() {
                    return;
                }
                let slot = self.running.remove(at % self.running.len());
                let slots = self.matching.give_back(slot.permit, slot.session, slot.earmarked, now);
                self.took(slots);
            }
            Step::Time(micros) => {
                self.now = now.plus(Span(micros));
                let slots = self.matching.due(self.now);
                self.took(slots);
            }
            Step::Reset(at) => {
                let slots = self.matching.reset(&Whose::Agent(agent(at)), now).unwrap_or_default();
                self.took(slots);
            }
        }
    }

    /// No limit is passed but by decide turns.
    fn check_limits(&self) {
        let mut agents: BTreeMap<&str, u32> = BTreeMap::new();
        let mut spaces: BTreeMap<&str, u32> = BTreeMap::new();
        let mut workers: BTreeMap<&WorkerId, u32> = BTreeMap::new();
        for slot in &self.running {
            *workers.entry(&slot.worker).or_default() += 1;
            if !self.decides.contains(&slot.key) {
                *agents.entry(slot.permit.agent.as_str()).or_default() += 1;
                *spaces.entry(slot.permit.namespace.as_str()).or_default() += 1;
            }
        }
        assert!(workers.values().all(|held| *held <= MAX), "{workers:?}");
        assert!(agents.get("a").is_none_or(|running| *running <= self.limit), "{agents:?}");
        assert!(spaces.get("n").is_none_or(|running| *running <= self.limit), "{spaces:?}");
    }

    /// Every turn that waits has a reason to: said from the parts themselves, not from the lists that matching keeps of them.
    fn check_nothing_is_left(&self) {
        for key in &self.waiting {
            let why = self.matching.why(*key, self.now).expect("what waits is known to wait");
            assert!(!why.detail.ends_with("it is about to start"), "{key:?} could start: {why:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn limits_hold_and_nothing_that_could_be_matched_is_left(
        limit in 1..4_u32,
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let mut bench = Bench::new(limit);
        for step in steps {
            bench.step(step);
            bench.check_limits();
            bench.check_nothing_is_left();
        }
        // Everything that runs ends well, and time passes: nothing stays that has a worker.
        for at in 0..WORKERS {
            bench.step(Step::Join(at, 7));
        }
        for _ in 0..2_000 {
            if bench.waiting.is_empty() && bench.running.is_empty() {
                break;
            }
            for at in 0..WORKERS {
                bench.step(Step::Credit(at, MAX, None));
            }
            bench.step(Step::End(0, 0));
            bench.step(Step::Time(50_000));
        }
        prop_assert!(bench.waiting.is_empty() && bench.running.is_empty(), "{:?}", bench.waiting);
        prop_assert!(bench.matching.queues.is_empty() && bench.matching.waiting.is_empty());
        prop_assert_eq!(bench.matching.namespaces.all().count() + bench.matching.agents.all().count(), 0);
    }

    /// With N namespaces and T tasks in each, all of one priority, a task that has a turn waiting is served at least once in
    /// any N * T services of its agent, however many turns the others have.
    #[test]
    fn no_task_waits_for_more_than_a_round(
        spaces in 1..4_usize,
        tasks in 1..6_usize,
        load in proptest::collection::vec(1..30_u32, 18),
    ) {
        let mut bench = Bench::new(1_000);
        let of = |space: usize, task: usize| TaskId::from(Uuid::from_u128((space * 100 + task) as u128));
        for (space, task) in (0..spaces).flat_map(|space| (0..tasks).map(move |task| (space, task))) {
            for turn in 1..=load[space * 6 + task] {
                let key = TurnKey { task: of(space, task), turn };
                let namespace = SPACES[space].parse().expect("a valid name");
                let offer = Offer { key, agent: agent(1), namespace, priority: 0, decides: false, not_before: bench.now, marks: Box::default() };
                bench.waiting.insert(key);
                bench.matching.offer(offer, bench.now);
            }
        }
        bench.step(Step::Join(0, 7));
        let round = spaces * tasks;
        let mut since: BTreeMap<TaskId, usize> = BTreeMap::new();
        for service in 1.. {
            if bench.waiting.is_empty() {
                break;
            }
            bench.step(Step::Credit(0, 1, None));
            let served = bench.running.last().expect("one is served").key.task;
            let waited = service - since.insert(served, service).unwrap_or_default();
            prop_assert!(waited <= round, "{served} waited for {waited} services, a round is {round}");
            bench.step(Step::End(0, 0));
        }
    }
}
