//! The laws of halts (docs/halt.md). What is held here is what somebody was told: a halt that was acknowledged is in force, in
//! this life of the server and in the next, until a resume that names it has begun; whether it is after that, only an
//! acknowledgement says.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bailiwick::{
    engine::command::Assignment,
    runtime::{HaltOrder, SessionId, TaskFilter},
    types::{
        contract::{Contract, Start},
        halt::{Halt, HaltMark, HaltScope, HaltSet},
        ids::{AgentName, Lease, TaskId},
    },
};

use crate::{
    laws::{Case, Laws, Standing},
    time::now,
};

/// What is known of halts and of what went to workers.
#[derive(Default)]
pub(crate) struct Brakes {
    /// Every order there ever was, by its reason, which is its own.
    ordered: BTreeMap<String, HaltOrder>,
    /// Those certainly in force.
    sure: BTreeMap<HaltScope, Sure>,
    /// Those certainly lifted, by number.
    gone: BTreeSet<u64>,
    /// By life and number: the last moment at which somebody was lifting it; none: somebody is.
    lifting: BTreeMap<(u64, u64), Option<u64>>,
    moment: u64,
    /// The session that has a lease's work.
    given: BTreeMap<Lease, SessionId>,
    told: BTreeSet<Lease>,
    /// Sessions whose stream is gone.
    closed: BTreeSet<SessionId>,
    /// Cancels by filter that are meant, by their reason, which is their own; none: only to be counted.
    sweeps: BTreeMap<String, Option<TaskFilter>>,
}

/// A halt that is certainly in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sure {
    number: u64,
    reason: String,
    since: Duration,
    /// Since when everything under it is to end.
    cancels: Option<Duration>,
}

/// Whoever halts, or lifts.
pub(crate) struct Doing {
    life: u64,
    began: u64,
    numbers: Vec<u64>,
}

impl Brakes {
    fn tick(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// Somebody is about to halt.
    pub(crate) fn halting(&mut self, order: &HaltOrder, life: u64) -> Doing {
        self.ordered.insert(order.reason.clone(), order.clone());
        Doing { life, began: self.tick(), numbers: Vec::new() }
    }

    /// A halt was acknowledged.
    pub(crate) fn halted(&mut self, doing: &Doing, order: &HaltOrder, halt: &Halt, set: &HaltSet) {
        assert_eq!(halt.scope, order.scope, "what was to be halted is halted");
        let first = self.ordered.get(&halt.reason).expect("a halt that was ordered");
        assert_eq!((&first.scope, &first.by), (&halt.scope, &halt.by), "the first one's name stays");
        let lifted = self.lifting.get(&(doing.life, halt.number));
        if lifted.is_some_and(|at| at.is_none_or(|at| at > doing.began)) {
            // Somebody lifted it while this was being kept.
            return;
        }
        assert!(!self.gone.contains(&halt.number), "a halt that was lifted is no answer to a new one");
        let found = set.get(&halt.scope).expect("a halt that was acknowledged is in force");
        assert_eq!(found.number, halt.number, "one halt a scope");
        let known = self.sure.get(&halt.scope).cloned();
        let known = known.filter(|known| known.number == halt.number);
        let sure = known.unwrap_or_else(|| Sure {
            number: halt.number,
            reason: halt.reason.clone(),
            since: now(),
            cancels: None,
        });
        let cancels = if order.cancel { Some(now()) } else { sure.cancels };
        self.sure.insert(halt.scope.clone(), Sure { cancels, ..sure });
    }

    /// Somebody is about to lift these: from now on nobody knows whether they hold.
    pub(crate) fn lifting<'a>(&mut self, life: u64, meant: impl Iterator<Item = &'a Halt>) -> Doing {
        let mut numbers = Vec::new();
        for halt in meant {
            self.sure.remove(&halt.scope);
            self.lifting.insert((life, halt.number), None);
            numbers.push(halt.number);
        }
        Doing { life, began: self.tick(), numbers }
    }

    /// A resume has come to its end; what it lifted, if it is known.
    pub(crate) fn lifted(&mut self, doing: &Doing, lifted: Option<&[Halt]>, set: &HaltSet) {
        let moment = self.tick();
        for number in &doing.numbers {
            self.lifting.insert((doing.life, *number), Some(moment));
        }
        let Some(lifted) = lifted else { return };
        for halt in lifted {
            assert!(doing.numbers.contains(&halt.number), "a resume lifts what it names: {halt}");
            assert!(halt.lifted.is_some(), "what was lifted says so");
            self.gone.insert(halt.number);
        }
        let left: Vec<u64> = set.iter().map(|halt| halt.number).collect();
        assert!(
            !doing.numbers.iter().any(|number| left.contains(number)),
            "a resume lifts all that it names"
        );
        self.all_in_force(set);
    }

    /// What is in force, in a life that has just begun too.
    pub(crate) fn all_in_force(&self, set: &HaltSet) {
        for (scope, sure) in &self.sure {
            let found = set.get(scope).unwrap_or_else(|| panic!("the halt of {scope} is forgotten"));
            assert_eq!(
                (found.number, &found.reason),
                (sure.number, &sure.reason),
                "the same halt of {scope}"
            );
            assert!(found.cancel || sure.cancels.is_none(), "that the halt of {scope} cancels is forgotten");
        }
        for halt in set.iter() {
            assert!(!self.gone.contains(&halt.number), "a halt that was lifted is back: {halt}");
        }
    }

    /// Those certainly in force, and certainly lifted.
    pub(crate) fn known(&self) -> (BTreeMap<HaltScope, u64>, BTreeSet<u64>) {
        let sure = self.sure.iter().map(|(scope, sure)| (scope.clone(), sure.number));
        (sure.collect(), self.gone.clone())
    }

    /// The list of all halts.
    pub(crate) fn listed(&self, before: &(BTreeMap<HaltScope, u64>, BTreeSet<u64>), all: &[Halt]) {
        let found = |number: u64| all.iter().find(|halt| halt.number == number);
        let still = |(scope, number): &(&HaltScope, &u64)| {
            self.sure.get(scope).is_some_and(|sure| sure.number == **number)
        };
        for (scope, number) in before.0.iter().filter(still) {
            let listed = found(*number).is_some_and(|halt| halt.lifted.is_none());
            assert!(listed, "the halt of {scope} is in force and not in the list");
        }
        for number in &before.1 {
            let listed = found(*number).is_some_and(|halt| halt.lifted.is_some());
            assert!(listed, "halt {number} was lifted, and the list does not say so");
        }
    }

    /// The halts that certainly keep a contract, and a child under these labels, out: scope and number.
    pub(crate) fn keep_out(&self, contract: &Contract, above: &[(String, String)]) -> Vec<(HaltScope, u64)> {
        let needs = |scope: &HaltScope| match scope {
            HaltScope::All => true,
            HaltScope::Agent(agent) => needs(contract, agent),
            HaltScope::Label { key, value } => {
                contract.labels.get(key) == Some(value) || above.iter().any(|(k, v)| (k, v) == (key, value))
            }
        };
        let kept = self.sure.iter().filter(|(scope, _)| needs(scope));
        kept.map(|(scope, sure)| (scope.clone(), sure.number)).collect()
    }

    /// Something new was accepted that these kept out when it came.
    pub(crate) fn let_in(&self, kept_out: &[(HaltScope, u64)]) {
        for (scope, number) in kept_out {
            let still = self.sure.get(scope).is_some_and(|sure| sure.number == *number);
            assert!(!still, "something new was accepted although {scope} is halted");
        }
    }

    /// Somebody is about to cancel what fits.
    pub(crate) fn sweeping(&mut self, reason: &str, filter: &TaskFilter, dry_run: bool) {
        self.sweeps.insert(reason.to_owned(), (!dry_run).then(|| filter.clone()));
    }

    /// Work has gone to a session.
    pub(crate) fn gives(&mut self, lease: Lease, session: SessionId) {
        self.given.insert(lease, session);
    }

    /// A worker has been told to stop.
    pub(crate) fn tells(&mut self, lease: Lease) {
        self.told.insert(lease);
    }

    pub(crate) fn closes(&mut self, session: SessionId) {
        self.closed.insert(session);
    }
}

/// Whether a contract cannot do without an agent.
fn needs(contract: &Contract, agent: &AgentName) -> bool {
    let starts = match &contract.start {
        Start::FirstAgent(first) => first == agent,
        Start::Plan(plan) => plan.steps.iter().any(|step| step.agent == *agent),
    };
    starts || contract.owner == *agent || contract.gate.validator.as_ref() == Some(agent)
}

/// Whether a task fits a filter, its state apart: of agents, those that own it or had a turn in it.
fn fits(case: &Case, TaskFilter { agent, labels, .. }: &TaskFilter) -> bool {
    let contract = case.task.contract();
    let concerns = |agent: &AgentName| contract.owner == *agent || case.agents.contains(agent);
    agent.as_ref().is_none_or(concerns)
        && labels.iter().all(|(key, value)| contract.labels.get(key) == Some(value))
}

impl Laws {
    /// The tasks above one.
    fn above<'a>(&'a self, case: &'a Case) -> impl Iterator<Item = &'a Case> {
        let parent = |case: &&'a Case| case.parent.and_then(|parent| self.cases.get(&parent));
        std::iter::successors(parent(&case), parent)
    }

    /// The labels of a task and of those above it.
    pub(crate) fn labels(&self, task: TaskId) -> Vec<(String, String)> {
        let case = self.case(task);
        let all = std::iter::once(case).chain(self.above(case));
        all.flat_map(|case| case.task.contract().labels.clone()).collect()
    }

    fn is_labelled(&self, task: TaskId, key: &str, value: &str) -> bool {
        self.labels(task).iter().any(|label| (label.0.as_str(), label.1.as_str()) == (key, value))
    }

    /// No work goes out of what is halted.
    pub(crate) fn unhalted(&self, work: &Assignment) {
        for (scope, sure) in self.brakes.sure.iter().filter(|(_, sure)| sure.since < now()) {
            let halted = match scope {
                HaltScope::All => true,
                HaltScope::Agent(agent) => work.agent == *agent,
                HaltScope::Label { key, value } => self.is_labelled(work.lease.task, key, value),
            };
            assert!(!halted, "work goes out although {scope} is halted (halt {})", sure.number);
        }
    }

    /// A halt has ended a task: one that cancels, and that covers it.
    pub(crate) fn ended_by(&self, id: TaskId, case: &Case, mark: &HaltMark) {
        let brakes = &self.brakes;
        let order = brakes.ordered.get(&mark.reason).expect("a halt that was ordered");
        assert_eq!((&order.scope, &order.by), (&mark.scope, &mark.by), "a task says whose halt ended it");
        let cancels = brakes.ordered.values().any(|order| order.cancel && order.scope == mark.scope);
        assert!(cancels, "a halt of {} that does not cancel has ended {id}", mark.scope);
        let covered = match &mark.scope {
            HaltScope::All => true,
            HaltScope::Agent(agent) => case.task.contract().owner == *agent || case.agents.contains(agent),
            HaltScope::Label { key, value } => self.is_labelled(id, key, value),
        };
        assert!(covered, "a halt of {} has ended {id}, which it does not cover", mark.scope);
    }

    /// A cancel by filter has ended a task: one that fits, or one below.
    pub(crate) fn cancelled_by(&self, id: TaskId, case: &Case, reason: &str) {
        let sweep = self.brakes.sweeps.iter().find(|(sweep, _)| reason.ends_with(sweep.as_str()));
        let Some((_, filter)) = sweep else { return };
        let filter = filter.as_ref().expect("nothing is cancelled that was only to be counted");
        let fitted = fits(case, filter) || self.above(case).any(|above| fits(above, filter));
        assert!(fitted, "a cancel by filter has ended {id}, which does not fit {filter:?}");
    }

    /// Tasks that are open and fit.
    pub(crate) fn fitting(&self, filter: &TaskFilter) -> Vec<TaskId> {
        let open = self.cases.iter().filter(|(_, case)| case.ended.is_none());
        open.filter(|(_, case)| fits(case, filter)).map(|(id, _)| *id).collect()
    }

    /// The attempts that a halt with a cancel has to tell: those that a worker has, over a stream that is open.
    pub(crate) fn to_tell(&self, scope: &HaltScope) -> Vec<(Lease, SessionId)> {
        let live = self.cases.iter().flat_map(|(id, case)| {
            let live = case.attempts.values().filter(|attempt| attempt.standing == Standing::Live);
            live.map(move |attempt| (*id, case, attempt.lease))
        });
        let under = live.filter(|(id, case, lease)| match scope {
            HaltScope::All => true,
            HaltScope::Agent(agent) => {
                case.task.contract().owner == *agent || case.agent_of(lease.turn) == Some(agent)
            }
            HaltScope::Label { key, value } => self.is_labelled(*id, key, value),
        });
        let open = under.filter_map(|(_, _, lease)| Some((lease, *self.brakes.given.get(&lease)?)));
        open.filter(|(_, session)| !self.brakes.closed.contains(session)).collect()
    }

    /// After a while every one of them has been told, if it is still live and its stream is what it was.
    pub(crate) fn told(&self, to_tell: &[(Lease, SessionId)], scope: &HaltScope) {
        for (lease, session) in to_tell {
            let case = self.case(lease.task);
            let live = case.attempts[&(lease.turn, lease.attempt)].standing == Standing::Live;
            let same = self.brakes.given.get(lease) == Some(session);
            let open = same && !self.brakes.closed.contains(session);
            let told = self.brakes.told.contains(lease);
            assert!(
                !(live && open) || told,
                "{scope} is halted with a cancel, and {lease} was not told to stop"
            );
        }
    }

    /// What was under a halt with a cancel when that was acknowledged has ended, when nothing has failed for a while.
    pub(crate) fn swept(&self) {
        for (scope, sure) in &self.brakes.sure {
            let Some(since) = sure.cancels else { continue };
            let open = self.cases.iter().filter(|(_, case)| case.ended.is_none() && case.began < since);
            let mut under = open.filter(|(id, case)| match scope {
                HaltScope::All => true,
                HaltScope::Agent(agent) => case.task.contract().owner == *agent,
                HaltScope::Label { key, value } => self.is_labelled(**id, key, value),
            });
            let left = under.next().map(|(id, _)| *id);
            assert_eq!(left, None, "{scope} was halted with a cancel, and this runs on");
        }
    }
}
