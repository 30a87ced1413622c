//! What must hold after every commit and every answer, held against the committed events alone: a shadow of every task is
//! rebuilt from them, audited, and counted once more by other means than the engine's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bailiwick::{
    engine::{
        command::Assignment,
        event::{AttemptEnd, EscalationEnd, Event, Record},
        family::Used,
        task::Task,
        view::{EscalationView, TaskView},
    },
    store::record::{Append, StoredEvent},
    types::{
        envelope::Answer,
        ids::{AgentName, Lease, TaskId, WorkerId},
        usage::Usage,
    },
};

use crate::{
    brakes::Brakes,
    letters::{Links, Settled},
    silence::Ears,
    time::now,
};

/// Every task, as the commits tell it.
#[derive(Default)]
pub(crate) struct Laws {
    pub(crate) cases: BTreeMap<TaskId, Case>,
    pub(crate) commits: u64,
    /// Events by kind, outcomes by cause.
    pub(crate) seen: BTreeMap<String, u64>,
    secrets: BTreeSet<u64>,
    pub(crate) brakes: Brakes,
    pub(crate) ears: Ears,
}

/// One task.
pub(crate) struct Case {
    pub(crate) task: Task,
    pub(crate) parent: Option<TaskId>,
    /// The dead letter that it was made of.
    pub(crate) redrives: Option<TaskId>,
    /// What was done with it, where it is a dead letter.
    pub(crate) settled: Option<Settled>,
    /// When its beginning was committed.
    pub(crate) began: Duration,
    /// Whether each turn is open; turn n stands at n - 1.
    open: Vec<bool>,
    /// Whose each turn is.
    pub(crate) agents: Vec<AgentName>,
    pub(crate) attempts: BTreeMap<(u32, u32), Attempt>,
    /// By number: who, and what it used as far as it has been heard of.
    pub(crate) children: BTreeMap<u32, (TaskId, Option<Used>)>,
    /// By number: how it ended and by whom.
    pub(crate) questions: BTreeMap<u32, Option<(EscalationEnd, String)>>,
    /// When the end was committed.
    pub(crate) ended: Option<Duration>,
    at: u64,
}

/// One attempt.
pub(crate) struct Attempt {
    pub(crate) lease: Lease,
    pub(crate) worker: WorkerId,
    pub(crate) since: Duration,
    pub(crate) allowances: Vec<u64>,
    pub(crate) standing: Standing,
    pub(crate) usage: Usage,
    pub(crate) steps: Vec<String>,
    /// Whether it has been heard of since it ended.
    is_settled: bool,
}

/// How an attempt stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    Live,
    Answered(Arc<Answer>),
    Ended(AttemptEnd),
}

pub(crate) fn record(stored: &StoredEvent) -> Record {
    let event = serde_json::from_str(&stored.body).expect("an event decodes");
    Record { seq: stored.seq, at: stored.at, event }
}

impl Laws {
    pub(crate) fn case(&self, task: TaskId) -> &Case {
        self.cases.get(&task).unwrap_or_else(|| panic!("task {task} is spoken of before it is durable"))
    }

    /// Events have become durable.
    pub(crate) fn commit(&mut self, appends: &[Append]) {
        self.commits += 1;
        Links::of(appends).hold();
        for append in appends {
            for event in &append.events {
                let record = record(event);
                self.see(&record.event);
                self.event(append.task, &record);
            }
            self.step(append);
        }
    }

    /// Something was met that is no event.
    pub(crate) fn met(&mut self, what: &str) {
        *self.seen.entry(format!("met {what}")).or_default() += 1;
    }

    fn see(&mut self, event: &Event) {
        *self.seen.entry(event.kind().to_owned()).or_default() += 1;
        let more = match event {
            Event::Ended { outcome, .. } => {
                format!("end {:?} by {:?} for {:?}", outcome.state, outcome.ended_by, outcome.cause)
            }
            Event::AttemptEnded { end, .. } => format!("attempt {end:?}"),
            Event::EscalationEnded { end, .. } => format!("question {end:?}"),
            _ => return,
        };
        *self.seen.entry(more).or_default() += 1;
    }

    fn event(&mut self, id: TaskId, record: &Record) {
        if let Event::AttemptStarted { lease, .. } = &record.event {
            assert!(self.secrets.insert(lease.secret), "no lease is granted twice");
        }
        match (&record.event, self.cases.get(&id)) {
            (Event::Halted(mark), Some(case)) => self.ended_by(id, case, mark),
            (Event::Ended { outcome, .. }, Some(case)) => self.cancelled_by(id, case, &outcome.reason),
            _ => {}
        }
        match self.cases.get_mut(&id) {
            Some(case) => {
                case.task.follow(record).unwrap_or_else(|error| panic!("{error}"));
                case.event(id, record);
            }
            None => {
                let task = Task::replay(id, [record.clone()]).unwrap_or_else(|error| panic!("{error}"));
                let Event::Submitted { parent, redrives, .. } = &record.event else {
                    panic!("a task begins with its contract")
                };
                let case = Case {
                    task,
                    parent: parent.as_ref().map(|parent| parent.task),
                    redrives: redrives.as_ref().map(|redrives| redrives.task),
                    settled: None,
                    began: now(),
                    open: Vec::new(),
                    agents: Vec::new(),
                    attempts: BTreeMap::new(),
                    children: BTreeMap::new(),
                    questions: BTreeMap::new(),
                    ended: None,
                    at: record.at.0,
                };
                self.cases.insert(id, case);
            }
        }
    }

    /// What must hold of a task after a commit.
    fn step(&self, append: &Append) {
        let case = self.case(append.task);
        case.task.audit();
        let summary = case.task.summary();
        let view = serde_json::to_string(&summary).expect("a summary encodes");
        assert_eq!(view, *append.summary.view, "the row says what the events say");
        assert_eq!(append.summary.seq, case.task.seq());
        for row in &append.escalations {
            let view: EscalationView = serde_json::from_str(&row.view).expect("a question decodes");
            let known = case.questions.get(&row.id.number).expect("a question that was asked");
            assert_eq!(view.end, known.as_ref().map(|(end, _)| *end), "the question's row says how it ended");
        }
        let own: u64 = case.attempts.values().map(|attempt| attempt.usage.tokens()).sum();
        let used = case.children.values().filter_map(|(_, used)| used.as_ref());
        let below: u64 = used.map(|used| used.usage.tokens()).sum();
        let ledger = &summary.ledger;
        assert_eq!(ledger.spent + ledger.overrun, own + below, "the books balance: {ledger:?}");
        assert!(ledger.spent + ledger.reserved <= ledger.granted, "never more than was granted: {ledger:?}");
    }
}

impl Case {
    fn event(&mut self, id: TaskId, Record { seq: _, at, event }: &Record) {
        assert!(at.0 >= self.at, "time never goes backwards within a task");
        self.at = at.0;
        if self.ended.is_some() {
            self.follows(event);
        }
        match event {
            Event::TurnOpened { turn, agent, .. } => {
                self.open.push(true);
                self.agents.push(agent.clone());
                assert_eq!(*turn as usize, self.open.len(), "turns are numbered on");
            }
            Event::AttemptStarted { turn, attempt, lease, worker, allowance, .. } => {
                self.start(id, (*turn, *attempt), *lease, worker, *allowance);
            }
            Event::Progressed { turn, attempt, steps, .. } => {
                let live = self.live((*turn, *attempt));
                live.steps.extend(steps.iter().map(|step| step.content.clone()));
            }
            Event::UsageRecorded { turn, attempt, usage } => self.live((*turn, *attempt)).used(*usage),
            Event::BudgetAnswered { turn, attempt, allowance, .. } => {
                self.live((*turn, *attempt)).allowances.push(*allowance);
            }
            Event::TurnAnswered { turn, attempt, answer, charged, .. } => {
                let live = self.live((*turn, *attempt));
                live.used(*charged);
                live.standing = Standing::Answered(Arc::clone(answer));
                self.close(*turn);
            }
            Event::AttemptEnded { turn, attempt, end, usage, .. } => {
                let live = self.live((*turn, *attempt));
                live.used(usage.unwrap_or_default());
                live.standing = Standing::Ended(*end);
                live.is_settled = usage.is_some();
            }
            Event::TurnClosed { turn, .. } => self.close(*turn),
            Event::LateUsage { turn, attempt, usage, child: None } => self.late((*turn, *attempt), *usage),
            Event::LateUsage { child: Some(report), .. } => self.hear(report.number, &report.used),
            Event::ChildStarted(started) => {
                self.children.insert(started.number, (started.child, None));
                assert_eq!(started.number as usize, self.children.len(), "children are numbered on");
            }
            Event::ChildEnded(ended) => {
                if let Some(used) = &ended.used {
                    self.hear(ended.number, used);
                }
            }
            Event::Escalated(asked) => {
                self.questions.insert(asked.number, None);
                assert_eq!(asked.number as usize, self.questions.len(), "questions are numbered on");
            }
            Event::EscalationEnded { number, end, by, .. } => {
                let question = self.questions.get_mut(number).expect("a question that was asked");
                assert!(question.is_none(), "a question ends once");
                *question = Some((*end, by.clone()));
            }
            Event::Ended { .. } => {
                let live = self.attempts.values().any(|attempt| attempt.standing == Standing::Live);
                assert!(!live, "no lease outlives its task");
                self.ended = Some(now());
            }
            _ => {}
        }
    }

    fn start(&mut self, id: TaskId, key: (u32, u32), lease: Lease, worker: &WorkerId, allowance: u64) {
        let (turn, attempt) = key;
        assert!(self.is_open(turn), "work is given for turns that are open");
        assert_eq!((lease.task, lease.turn, lease.attempt), (id, turn, attempt), "a lease names its attempt");
        let earlier: Vec<_> = self.attempts.range((turn, 0)..=(turn, u32::MAX)).collect();
        assert_eq!(attempt as usize, earlier.len() + 1, "attempts are numbered on");
        let live = earlier.iter().filter(|(_, attempt)| attempt.standing == Standing::Live).count();
        assert_eq!(live, 0, "one live lease a turn");
        let started = Attempt {
            lease,
            worker: worker.clone(),
            since: now(),
            allowances: vec![allowance],
            standing: Standing::Live,
            usage: Usage::default(),
            steps: Vec::new(),
            is_settled: false,
        };
        self.attempts.insert(key, started);
    }

    pub(crate) fn agent_of(&self, turn: u32) -> Option<&AgentName> {
        self.agents.get((turn - 1) as usize)
    }

    fn is_open(&self, turn: u32) -> bool {
        self.open.get((turn - 1) as usize).copied().unwrap_or(false)
    }

    fn live(&mut self, key: (u32, u32)) -> &mut Attempt {
        assert!(self.is_open(key.0), "nothing happens in a turn that is over");
        let attempt = self.attempts.get_mut(&key).expect("an attempt that was started");
        assert_eq!(attempt.standing, Standing::Live, "nothing is taken under a lease that is over");
        attempt
    }

    fn late(&mut self, key: (u32, u32), usage: Usage) {
        let attempt = self.attempts.get_mut(&key).expect("an attempt that was started");
        assert_ne!(attempt.standing, Standing::Live, "what is late comes under a lease that is over");
        attempt.used(usage);
        attempt.is_settled = true;
    }

    fn close(&mut self, turn: u32) {
        assert!(self.is_open(turn), "a turn ends once");
        let mut attempts = self.attempts.range((turn, 0)..=(turn, u32::MAX));
        assert!(
            attempts.all(|(_, attempt)| attempt.standing != Standing::Live),
            "no lease outlives its turn"
        );
        self.open[(turn - 1) as usize] = false;
    }

    fn hear(&mut self, number: u32, used: &Used) {
        let (_, known) = self.children.get_mut(&number).expect("a child that was started");
        *known = Some(known.as_ref().map_or_else(|| used.clone(), |known| known.merge(used)));
    }

    fn attempt(&self, lease: &Lease) -> &Attempt {
        let attempt = self.attempts.get(&(lease.turn, lease.attempt)).expect("an attempt that was started");
        assert_eq!(attempt.lease, *lease, "a lease that was made up");
        attempt
    }
}

impl Attempt {
    fn used(&mut self, usage: Usage) {
        self.usage = self.usage.max(usage);
    }

    /// What stays reserved because nobody has said what was used.
    pub(crate) fn unheard(&self) -> u64 {
        let allowance = self.allowances.last().copied().unwrap_or(0);
        match &self.standing {
            Standing::Ended(end) if !self.is_settled && *end != AttemptEnd::Undelivered => {
                allowance.saturating_sub(self.usage.tokens())
            }
            Standing::Ended(_) | Standing::Answered(_) | Standing::Live => 0,
        }
    }
}

/// What an answer of the server says is durable, and so.
impl Laws {
    pub(crate) fn completed(&self, lease: &Lease, answer: &Answer) {
        let attempt = self.case(lease.task).attempt(lease);
        match &attempt.standing {
            Standing::Answered(accepted) => {
                assert_eq!(**accepted, *answer, "the answer that was acknowledged is the one in the journal");
            }
            Standing::Ended(AttemptEnd::Retryable) => {}
            other => panic!("an answer was acknowledged under a lease that is {other:?}"),
        }
    }

    pub(crate) fn used(&self, lease: &Lease, usage: Usage) {
        let known = self.case(lease.task).attempt(lease).usage;
        assert_eq!(known.max(usage), known, "usage that was acknowledged is in the journal");
    }

    pub(crate) fn progressed(&self, lease: &Lease, said: &[String]) {
        let known = &self.case(lease.task).attempt(lease).steps;
        assert!(
            said.iter().all(|step| known.contains(step)),
            "steps that were acknowledged are in the journal"
        );
    }

    pub(crate) fn granted(&self, lease: &Lease, allowance: u64) {
        let known = &self.case(lease.task).attempt(lease).allowances;
        assert!(known.contains(&allowance), "an allowance that was granted is in the journal");
    }

    pub(crate) fn child(&self, parent: &Lease, child: TaskId) {
        let children = &self.case(parent.task).children;
        assert!(children.values().any(|(known, _)| *known == child), "a parent knows its child");
        self.case(child);
    }

    pub(crate) fn ended(&self, task: TaskId) {
        assert!(self.case(task).ended.is_some(), "an end that was acknowledged is in the journal");
    }

    pub(crate) fn answered(&self, view: &EscalationView) {
        let known =
            self.case(view.task).questions.get(&view.asked.number).expect("a question that was asked");
        let said = view.end.map(|end| (end, view.by.clone()));
        assert_eq!(*known, said, "a person's answer that was acknowledged is in the journal");
    }

    pub(crate) fn seen(&self, view: &TaskView) {
        let case = self.case(view.summary.task);
        assert!(view.summary.seq <= case.task.seq(), "nothing is shown before it is durable");
        if view.summary.seq == case.task.seq() {
            assert_eq!(view.summary, case.task.summary(), "what is shown is what the journal says");
        }
    }

    /// Work is on its way to a worker.
    pub(crate) fn assigned(&self, work: &Assignment, worker: &WorkerId) {
        let case = self.case(work.lease.task);
        let attempt = case.attempt(&work.lease);
        assert_eq!((&attempt.worker, &work.worker), (worker, worker), "work goes to whom it was leased");
        let before = case.ended.is_some_and(|ended| ended < now());
        assert!(!before, "no work for a task that has ended");
        self.unhalted(work);
        assert!(work.lineage.iter().all(|entry| entry.turn != work.lease.turn));
    }
}
