//! One attempt at a turn: what a worker reports, asks for and answers, honestly or not.

use std::{sync::Arc, time::Duration};

use bailiwick::{
    engine::{command::Assignment, event::TurnKind},
    runtime::CommandError,
    types::{
        envelope::{
            Answer, Confidence, Decision, Directive, Envelope, HandOff, Judgement, Status, Verdict, WorkStep,
            WorkStepKind,
        },
        ids::{Lease, TaskId},
        usage::Usage,
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    api,
    chance::Chance,
    contracts,
    sim::{Answering, Node, Sim, Up},
    time::sleep,
};

/// Tries of one message.
const TRIES: u32 = 60;
/// How long a probe takes.
const PROBE: Duration = Duration::from_secs(10);

struct Attempt {
    sim: Arc<Sim>,
    node: Node,
    work: Assignment,
    chance: Chance,
    spent: Usage,
    allowance: u64,
}

pub(crate) async fn run(
    sim: Arc<Sim>,
    node: Node,
    work: Assignment,
    mut chance: Chance,
    stop: CancellationToken,
) {
    let faults = sim.faults.clone();
    let tame = sim.is_calm();
    let hangs = chance.happens(faults.hang) && !tame;
    let stubborn = chance.happens(faults.stubborn) && !tame && !hangs;
    let allowance = work.allowance;
    let mut attempt = Attempt { sim, node, work, chance, spent: Usage::default(), allowance };
    let stopped = tokio::select! {
        biased;
        () = stop.cancelled(), if !stubborn => true,
        () = attempt.go(tame, hangs) => false,
    };
    if stopped {
        attempt.report().await;
    }
}

/// An answer to what an earlier process was given.
pub(crate) async fn from_the_dead(sim: Arc<Sim>, node: Node, lease: Lease, mut chance: Chance) {
    sleep(chance.millis(0, 20_000)).await;
    let usage = sim.books().entry(&lease).sent;
    let answer = Answer::Envelope(Envelope { usage: Some(usage), ..success(&mut chance) });
    drop(complete(&sim, node, lease, answer).await);
}

fn success(chance: &mut Chance) -> Envelope {
    let n = chance.below(1_000_000);
    Envelope {
        status: Status::Success,
        result: Some(contracts::json(&serde_json::json!({"n": n}))),
        confidence: Confidence::new(0.9),
        reason: format!("because of {n}"),
        usage: None,
        inputs_used: Vec::new(),
        retryable: false,
        directive: None,
        score: None,
    }
}

/// Calls until there is an answer that a later try would not change.
async fn until<T: Send + 'static>(
    sim: &Arc<Sim>,
    node: Node,
    what: &'static str,
    ask: impl Fn(Arc<Sim>, Up) -> Answering<Result<T, CommandError>> + Clone + Send + Sync + 'static,
) -> Option<Result<T, CommandError>> {
    for _ in 0..TRIES {
        match sim.call(node, what, ask.clone()).await {
            None
            | Some(Err(CommandError::Overloaded(_) | CommandError::Store(_) | CommandError::ShuttingDown)) => {
                sleep(Duration::from_millis(400)).await;
            }
            Some(other) => return Some(other),
        }
        if sim.is_over() {
            return None;
        }
    }
    None
}

/// Reports usage until that is heard.
pub(crate) async fn report(
    sim: &Arc<Sim>,
    node: Node,
    lease: Lease,
    usage: Usage,
) -> Option<Result<u64, CommandError>> {
    {
        let mut books = sim.books();
        let entry = books.entry(&lease);
        entry.sent = entry.sent.max(usage);
    }
    until(sim, node, "usage", move |sim, up| Box::pin(api::usage(sim, up, lease, usage))).await
}

async fn complete(
    sim: &Arc<Sim>,
    node: Node,
    lease: Lease,
    answer: Answer,
) -> Option<Result<bool, CommandError>> {
    sim.books().answers(&lease, &answer);
    let said = answer.clone();
    let told =
        until(sim, node, "complete", move |sim, up| Box::pin(api::complete(sim, up, lease, said.clone())));
    let told = told.await;
    if let Some(Ok(_)) = &told {
        sim.books().entry(&lease).accepted.get_or_insert(answer);
    }
    told
}

impl Attempt {
    async fn go(&mut self, tame: bool, hangs: bool) {
        if self.work.goal == contracts::PROBE {
            sleep(PROBE).await;
            return self.finish().await;
        }
        if tame {
            sleep(self.chance.millis(10, 300)).await;
            return self.finish().await;
        }
        let think = if self.chance.happens(900) { (1, 2_500) } else { (2_000, 25_000) };
        sleep(self.chance.millis(think.0, think.1)).await;
        if hangs {
            // One that its worker keeps from the server is told by nobody to stop.
            while !self.sim.is_calm() {
                sleep(Duration::from_secs(1)).await;
            }
            return self.report().await;
        }
        for _ in 0..self.chance.below(3) {
            self.say().await;
            sleep(self.chance.millis(0, 800)).await;
        }
        if self.work.kind == TurnKind::Work && self.chance.happens(80) {
            self.submit_child().await;
        }
        self.answer().await;
    }

    /// Reports what was used so far.
    async fn report(&self) {
        drop(report(&self.sim, self.node, self.work.lease, self.spent).await);
    }

    fn spend(&mut self) {
        let over = self.chance.happens(self.sim.faults.overspend);
        let left = self.allowance.saturating_sub(self.spent.tokens());
        let more = if over { left + self.chance.between(1, 2_000) } else { self.chance.below(left / 2 + 1) };
        self.spent.input += more / 2;
        self.spent.output += more - more / 2;
    }

    /// One thing that is said on the way.
    async fn say(&mut self) {
        let (sim, node, lease) = (Arc::clone(&self.sim), self.node, self.work.lease);
        match self.chance.below(4) {
            0 => {
                let same = self.chance.happens(sim.faults.repeat);
                let content = if same {
                    "I will look at it once more before I answer.".to_owned()
                } else {
                    format!("{:016x}{:016x}", self.chance.bits(), self.chance.bits())
                };
                let step = WorkStep {
                    kind: WorkStepKind::Message,
                    tool: String::new(),
                    content,
                    fingerprint: false,
                };
                let steps = vec![step];
                let said = steps.clone();
                let ask =
                    move |sim, up| -> Answering<_> { Box::pin(api::progress(sim, up, lease, steps.clone())) };
                if let Some(Ok(())) = until(&sim, node, "progress", ask).await {
                    sim.books().entry(&lease).steps.extend(said.into_iter().map(|step| step.content));
                }
            }
            1 => {
                let tokens = self.chance.between(1, 2_000);
                let ask = move |sim, up| -> Answering<_> { Box::pin(api::budget(sim, up, lease, tokens)) };
                if let Some(Ok(grant)) = until(&sim, node, "budget", ask).await {
                    self.allowance = self.allowance.max(grant.allowance);
                }
            }
            _ => {
                let before = self.spent;
                self.spend();
                drop(report(&sim, node, lease, self.spent).await);
                if self.chance.happens(sim.faults.lie) {
                    drop(report(&sim, node, lease, before).await);
                }
            }
        }
    }

    async fn submit_child(&mut self) {
        let (lease, draft) = (self.work.lease, contracts::child(&mut self.chance));
        let ask = move |sim, up| -> Answering<Result<TaskId, CommandError>> {
            Box::pin(api::submit_child(sim, up, lease, draft.clone()))
        };
        if let Some(Ok(child)) = until(&self.sim, self.node, "child", ask).await {
            self.sim.books().children.insert(child, lease);
            // Some wait for it, some do not.
            if self.chance.happens(500) {
                sleep(self.chance.millis(500, 15_000)).await;
            }
        }
    }

    async fn complete(&self, answer: Answer) -> bool {
        let told = complete(&self.sim, self.node, self.work.lease, answer).await;
        matches!(told, Some(Ok(_)))
    }

    /// Answers honestly and well.
    async fn finish(&mut self) {
        self.spend_a_little();
        let usage = Some(self.spent);
        let answer = match self.work.kind {
            TurnKind::Work => Answer::Envelope(Envelope { usage, ..success(&mut self.chance) }),
            TurnKind::Decide => {
                let decision = Decision::CompletePartial { result: None, reason: "time is up".to_owned() };
                Answer::Decision { decision, usage }
            }
            TurnKind::Validate => verdict(true, usage),
        };
        self.complete(answer).await;
    }

    const fn spend_a_little(&mut self) {
        let left = self.allowance.saturating_sub(self.spent.input + self.spent.output);
        self.spent.input += if left < 10 { left } else { 10 };
    }

    async fn answer(&mut self) {
        if self.chance.happens(self.sim.faults.garbage) {
            let garbage = self.garbage();
            if self.complete(garbage).await {
                return;
            }
        }
        self.spend();
        let unsaid = self.chance.happens(self.sim.faults.lie / 2);
        let usage = (!unsaid).then_some(self.spent);
        let answer = match self.work.kind {
            TurnKind::Work => self.envelope(usage),
            TurnKind::Decide => Answer::Decision { decision: self.decision(), usage },
            TurnKind::Validate => verdict(self.chance.happens(700), usage),
        };
        self.complete(answer.clone()).await;
        if self.chance.happens(self.sim.faults.repeat) {
            self.complete(answer).await;
        }
        if self.chance.happens(self.sim.faults.lie) {
            let other = Envelope { usage: Some(self.spent), ..success(&mut self.chance) };
            self.complete(Answer::Envelope(other)).await;
        }
    }

    fn envelope(&mut self, usage: Option<Usage>) -> Answer {
        let base = Envelope { usage, ..success(&mut self.chance) };
        let directed = |directive| Envelope { result: None, directive: Some(directive), ..base.clone() };
        let agent = contracts::worker_agent(&mut self.chance);
        let envelope = match self.chance.below(100) {
            0..50 => base,
            50..64 => {
                let agent = agent.parse().expect("a name");
                directed(Directive::HandOff(HandOff { agent, input: None }))
            }
            64..76 => {
                let score =
                    Confidence::new(0.1 * f64::from(u32::try_from(self.chance.below(10)).unwrap_or(0)));
                let plan = Directive::Delegate(contracts::plan(&mut self.chance));
                Envelope { directive: Some(plan), score, ..base }
            }
            76..81 => directed(Directive::AskHuman("Shall it go on?".to_owned())),
            81..86 => Envelope { status: Status::Partial, ..base },
            86..92 => Envelope { status: Status::Failed, result: None, ..base },
            _ => Envelope { status: Status::Failed, result: None, retryable: true, ..base },
        };
        Answer::Envelope(envelope)
    }

    fn decision(&mut self) -> Decision {
        let agent = contracts::worker_agent(&mut self.chance).parse().expect("a name");
        match self.chance.below(10) {
            0..4 => Decision::CompletePartial { result: None, reason: "it is enough".to_owned() },
            4 => Decision::Abort("there is no use".to_owned()),
            5..7 => Decision::Escalate("What now?".to_owned()),
            7 => Decision::ReplanTo(HandOff { agent, input: None }),
            8 => Decision::ReplanWith(contracts::plan(&mut self.chance)),
            _ => Decision::InvalidReplan(vec!["steps is empty".to_owned()]),
        }
    }

    /// What no honest worker would answer.
    fn garbage(&mut self) -> Answer {
        let base = Envelope { usage: Some(self.spent), ..success(&mut self.chance) };
        let nobody = || HandOff { agent: "nobody".parse().expect("a name"), input: None };
        let envelope = match self.chance.below(6) {
            0 => return verdict(false, Some(self.spent)),
            1 => {
                return Answer::Decision {
                    decision: Decision::Abort("no".to_owned()),
                    usage: Some(self.spent),
                };
            }
            2 => Envelope { result: Some(contracts::json(&serde_json::json!("nonsense"))), ..base },
            3 => Envelope { directive: Some(Directive::HandOff(nobody())), ..base },
            4 => Envelope { directive: Some(Directive::InvalidPlan(vec!["no plan".to_owned()])), ..base },
            _ => Envelope { inputs_used: vec!["turn-99".to_owned()], confidence: None, ..base },
        };
        Answer::Envelope(envelope)
    }
}

fn verdict(agrees: bool, usage: Option<Usage>) -> Answer {
    Answer::Verdict(Verdict {
        verdict: if agrees { Judgement::Agree } else { Judgement::Disagree },
        confidence: Confidence::new(0.8),
        reasons: if agrees { Vec::new() } else { vec!["off the goal".to_owned()] },
        usage,
    })
}
