//! A bench for engine tests: one task, a clock that stands until it is told, and every invariant checked after every step.

#![allow(dead_code, unreachable_pub)] // Each test file uses its own part of this module.

use std::{collections::BTreeSet, sync::Arc};

use bailiwick::{
    engine::{
        command::{Agents, Assignment, Command, Effect, Env, HumanAnswer, Rejection, Reply},
        event::{AttemptEnd, Event, Record, TraceContext},
        family::Birth,
        intake,
        tally::Tally,
        task::Task,
    },
    types::{
        contract::{BudgetDraft, Contract, ContractDraft, LimitsDraft, TerminationDraft},
        envelope::{Answer, Confidence, Decision, Directive, Envelope, HandOff, Judgement, Status, Verdict},
        ids::{AgentName, Lease, TaskId, TurnNumber, WorkerId},
        limits::Ceilings,
        outcome::TaskState,
        payload::Payload,
        plan::{PlanDraft, StepDraft},
        time::{Span, Timestamp},
        usage::Usage,
    },
};

pub const AGENTS: [&str; 6] = ["owner", "planner", "alpha", "beta", "gamma", "judge"];

pub struct Known {
    pub served: bool,
    /// Since when not, where it is not.
    pub since: Timestamp,
}

impl Agents for Known {
    fn is_known(&self, agent: &AgentName) -> bool {
        AGENTS.contains(&agent.as_str())
    }

    fn away_since(&self, agent: &AgentName) -> Option<Timestamp> {
        (!self.served || !self.is_known(agent)).then_some(self.since)
    }
}

pub fn name(text: &str) -> AgentName {
    text.parse().expect("a valid name")
}

pub fn json(text: &str) -> Payload {
    Payload::from_json(&serde_json::from_str(text).expect("valid JSON"))
}

/// A complete draft: planner first, 100,000 tokens, ten minutes.
pub fn draft() -> ContractDraft {
    ContractDraft {
        goal: "write a report".to_owned(),
        first_agent: Some("planner".to_owned()),
        owner: "owner".to_owned(),
        budget: Some(BudgetDraft { max_tokens: 100_000, ..BudgetDraft::default() }),
        limits: Some(LimitsDraft { deadline: Some(600_000_000), ..LimitsDraft::default() }),
        termination: Some(TerminationDraft {
            result_schema: Some(json(r#"{"type":"object"}"#)),
            ..TerminationDraft::default()
        }),
        ..ContractDraft::default()
    }
}

pub fn contract(draft: &ContractDraft) -> Contract {
    let known = Known { served: true, since: Timestamp(0) };
    // A price of one nano-USD a token: it matters where a contract limits money.
    let ceilings = Ceilings { dearest_nano_usd_per_token: Some(1), ..Ceilings::default() };
    intake::complete(draft, &ceilings, &|a| known.is_known(a)).expect("a valid contract")
}

pub fn usage(tokens: u64) -> Usage {
    Usage { input: tokens, ..Usage::default() }
}

pub fn success(result: &str, tokens: u64) -> Envelope {
    Envelope {
        status: Status::Success,
        result: Some(json(result)),
        confidence: Confidence::new(0.9),
        reason: String::new(),
        usage: Some(usage(tokens)),
        inputs_used: Vec::new(),
        retryable: false,
        directive: None,
        score: None,
    }
}

pub fn failed(reason: &str, tokens: u64) -> Envelope {
    Envelope { status: Status::Failed, result: None, reason: reason.to_owned(), ..success("null", tokens) }
}

pub fn hand_off(to: &str) -> Envelope {
    let directive = Directive::HandOff(HandOff { agent: name(to), input: Some(json("1")) });
    Envelope { result: None, directive: Some(directive), ..success("null", 10) }
}

pub fn ask(question: &str) -> Envelope {
    let directive = Directive::AskHuman(question.to_owned());
    Envelope { result: None, directive: Some(directive), ..success("null", 10) }
}

pub fn step(id: &str, agent: &str, depends_on: &[&str]) -> StepDraft {
    StepDraft {
        id: id.to_owned(),
        agent: agent.to_owned(),
        depends_on: depends_on.iter().map(|s| (*s).to_owned()).collect(),
        max_tokens: 1_000,
        ..StepDraft::default()
    }
}

pub fn plan(steps: Vec<StepDraft>) -> PlanDraft {
    PlanDraft { steps, ..PlanDraft::default() }
}

pub fn delegate(steps: Vec<StepDraft>) -> Envelope {
    let plan = intake::plan(&plan(steps), "plan").expect("a valid plan");
    Envelope { result: None, directive: Some(Directive::Delegate(plan)), ..success("null", 10) }
}

/// A validator's answer: it disagrees where there are reasons.
pub fn verdict(reasons: &[&str], tokens: u64) -> Answer {
    Answer::Verdict(Verdict {
        verdict: if reasons.is_empty() { Judgement::Agree } else { Judgement::Disagree },
        confidence: Confidence::new(0.75),
        reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
        usage: Some(usage(tokens)),
    })
}

/// One task on the bench.
pub struct Bench {
    pub task: Task,
    pub now: Timestamp,
    pub known: Known,
    pub records: Vec<Record>,
    pub effects: Vec<Effect>,
    pub tallies: Vec<Tally>,
    secret: u64,
}

impl Bench {
    pub fn new(draft: &ContractDraft) -> Self {
        let known = Known { served: true, since: Timestamp(0) };
        let now = Timestamp(1_000_000_000);
        let id = TaskId::from_key("test", 1);
        let contract = Arc::new(contract(draft));
        let env = Env { now, agents: &known };
        let (task, decided) = Task::submit(id, contract, 7, TraceContext::default(), env);
        task.audit();
        Self {
            task,
            now,
            known,
            records: decided.records,
            effects: decided.effects,
            tallies: decided.tallies,
            secret: 0,
        }
    }

    /// The bench of a child.
    pub fn of(birth: Birth) -> Self {
        let known = Known { served: true, since: Timestamp(0) };
        let now = Timestamp(1_000_000_000);
        let (task, decided) = Task::submit_child(birth, Env { now, agents: &known });
        task.audit();
        Self {
            task,
            now,
            known,
            records: decided.records,
            effects: decided.effects,
            secret: 0,
            tallies: decided.tallies,
        }
    }

    pub fn send(&mut self, command: Command) -> Result<Reply, Rejection> {
        let env = Env { now: self.now, agents: &self.known };
        let decided = self.task.decide(command, env)?;
        for record in &decided.records {
            assert!(
                !self.records.iter().any(|r| matches!(r.event, Event::Ended { .. }))
                    || record.event.may_follow_the_end(),
                "nothing but late usage and what was done with a dead letter after the outcome"
            );
            self.records.push(record.clone());
        }
        self.effects.extend(decided.effects);
        self.tallies.extend(decided.tallies);
        self.task.audit();
        Ok(decided.reply)
    }

    pub fn ready(&self) -> Vec<TurnNumber> {
        self.task
            .outstanding()
            .ready
            .iter()
            .filter_map(|effect| match effect {
                Effect::Ready { turn, not_before, .. } if *not_before <= self.now => Some(*turn),
                _ => None,
            })
            .collect()
    }

    pub fn leases(&self) -> Vec<Lease> {
        self.task.outstanding().leases.iter().map(|live| live.lease).collect()
    }

    pub fn assign(&mut self, turn: TurnNumber) -> Option<Assignment> {
        self.secret += 1;
        let lease = Lease { task: self.task.id(), turn, attempt: 0, secret: self.secret };
        let worker: WorkerId = "w-1".parse().expect("a valid id");
        match self.send(Command::Assign { lease, worker }) {
            Ok(Reply::Assigned(assignment)) => Some(*assignment),
            Ok(_) | Err(_) => None,
        }
    }

    /// Leases the only ready turn.
    pub fn next(&mut self) -> Assignment {
        let ready = self.ready();
        assert_eq!(ready.len(), 1, "one turn waits, not {ready:?}");
        self.assign(ready[0]).expect("the turn is assigned")
    }

    pub fn answer(&mut self, lease: Lease, envelope: Envelope) -> Reply {
        let answer = Arc::new(Answer::Envelope(envelope));
        self.send(Command::Complete { lease, answer, findings: Vec::new().into() }).expect("accepted")
    }

    /// Leases the only ready turn, a validate turn, and answers it.
    pub fn judge(&mut self, answer: Answer) -> Assignment {
        let assignment = self.next();
        let (lease, answer, findings) = (assignment.lease, Arc::new(answer), Vec::new().into());
        self.send(Command::Complete { lease, answer, findings }).expect("accepted");
        assignment
    }

    pub fn decide(&mut self, lease: Lease, decision: Decision) -> Reply {
        let answer = Arc::new(Answer::Decision { decision, usage: Some(usage(5)) });
        self.send(Command::Complete { lease, answer, findings: Vec::new().into() }).expect("accepted")
    }

    /// Leases the only ready turn and answers it.
    pub fn turn(&mut self, envelope: Envelope) -> Assignment {
        let assignment = self.next();
        self.answer(assignment.lease, envelope);
        assignment
    }

    pub fn lose(&mut self, lease: Lease) {
        let end = AttemptEnd::LeaseExpired;
        self.send(Command::EndLease { lease, end, reason: "lost".to_owned() }).expect("was live");
    }

    pub fn pass(&mut self, span: Span) {
        self.now = self.now.plus(span);
        self.send(Command::Tick).expect("a tick is never rejected");
    }

    pub fn human(&mut self, number: u32, answer: HumanAnswer) -> Result<Reply, Rejection> {
        self.send(Command::AnswerEscalation { number, answer, by: "ada".to_owned(), note: "fine".to_owned() })
    }

    pub fn state(&self) -> TaskState {
        self.task.state()
    }

    /// The outcome as "STATE by WHO for CAUSE".
    pub fn outcome(&self) -> String {
        let view = self.task.view();
        let outcome = view.outcome.expect("the task has ended");
        format!("{:?} by {:?} for {:?}", outcome.state, outcome.ended_by, outcome.cause)
    }

    /// The kinds of all events so far, in order.
    pub fn story(&self) -> Vec<&'static str> {
        self.records.iter().map(|r| r.event.kind()).collect()
    }

    /// Replaying the journal, through its JSON, gives the same task.
    pub fn check_replay(&self) {
        let records = self.records.iter().map(|record| {
            let text = serde_json::to_string(&record.event).expect("an event encodes");
            let event: Event = serde_json::from_str(&text).expect("an event decodes");
            Record { event, ..record.clone() }
        });
        let replayed = Task::replay(self.task.id(), records).expect("the journal replays");
        assert_eq!(replayed.view(), self.task.view());
        assert_eq!(replayed.outstanding().ready, self.task.outstanding().ready);
        assert_eq!(replayed.outstanding().leases, self.task.outstanding().leases);
        assert_eq!(replayed.outstanding().family, self.task.outstanding().family);
        assert_eq!(replayed.next_timer(self.now), self.task.next_timer(self.now));
        // Everything, what the guards have seen included.
        assert_eq!(format!("{replayed:?}"), format!("{:?}", self.task));
    }
}

/// Every agent that took part, for assertions on variety.
pub fn agents_of(bench: &Bench) -> BTreeSet<String> {
    bench.task.summary().agents.iter().map(ToString::to_string).collect()
}
