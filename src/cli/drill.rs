//! `bailiwick drill`: a harmless question to a person, through everything a real one passes. The command is its own worker:
//! it serves the agent that asks, submits the task, and waits for somebody to answer. What the server then knows of it is
//! read from the journal: see `bailiwick check`.

use std::{collections::BTreeMap, time::Duration};

use bailiwick_worker::{AgentSpec, Answer, Context, HandlerError, Worker, pb as pb_worker};
use clap::Args;
use prost_types::Duration as WireDuration;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    terminal::Terminal,
};
use crate::{
    console::{
        text::{between, clean, date},
        words,
    },
    pb::{self, task_event::Event},
    types::drill,
};

/// The question.
const QUESTION: &str =
    "This is a drill: nothing depends on it. Please approve, to show that a person can be reached.";
/// Working time of the task; it stands still while somebody is waited for.
const DEADLINE: i64 = 120;
/// Tokens of the task. It uses next to none.
const TOKENS: i64 = 4_000;
/// How long the task may take to end once its time is over, and a server to come back.
const SLACK: Duration = Duration::from_secs(60);
/// How often what is not there yet is looked for again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long webhooks are waited for before they are shown.
const WEBHOOK_PATIENCE: Duration = Duration::from_secs(3);
/// What the worker may take to say its last word.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// What `drill` can be told.
#[derive(Args, Debug)]
pub struct DrillArgs {
    /// How long to wait for somebody to answer. From 1s.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    pub wait: Duration,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `drill`.
///
/// # Errors
/// When the server cannot be asked, or the drill was called off.
pub async fn run(args: DrillArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let DrillArgs { wait, remote } = args;
    let client = Client::connect(&remote, terminal).await?;
    let (end, ended) = oneshot::channel::<()>();
    let worker_id = format!("{}-{}", drill::AGENT, uuid::Uuid::now_v7().simple());
    let worker = tokio::spawn(worker(&remote.addr, &worker_id).run_until(async { drop(ended.await) }));
    let done = Drill { client: &client, remote: &remote, wait }.run(terminal, &worker_id).await;
    terminal.progress_done();
    drop(end);
    // The task is over, or nobody waits for it: what the worker still has to say is said for its own sake.
    let _ = worker.await;
    done
}

fn worker(addr: &str, worker_id: &str) -> Worker {
    let addr = addr.trim().trim_start_matches("http://").trim_end_matches('/');
    let spec = AgentSpec {
        name: drill::AGENT.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        description: "Asks a person a harmless question: `bailiwick drill`".to_owned(),
        ..AgentSpec::default()
    };
    Worker::new(addr).worker_id(worker_id).drain_limit(DRAIN_LIMIT).agent(spec, ask)
}

/// The agent: asks on its first turn, and is done when it is told to go on.
async fn ask(context: Context) -> Result<Answer, HandlerError> {
    if context.is_decide() {
        let reason = "a drill has nothing to decide".to_owned();
        return Ok(Answer::decide(pb_worker::decision::Decision::Abort(pb_worker::AbortDecision { reason })));
    }
    context.usage(1, 1).await;
    let result = serde_json::json!({"drill": context.assignment().notes});
    let answer = Answer::success(result).confidence(1.0);
    Ok(if context.assignment().notes.is_empty() { answer.ask_human(QUESTION) } else { answer })
}

struct Drill<'a> {
    client: &'a Client,
    remote: &'a Remote,
    wait: Duration,
}

impl Drill<'_> {
    async fn run(&self, terminal: &mut Terminal, worker_id: &str) -> Result<Exit, Failure> {
        self.registered(terminal, worker_id).await?;
        let request = pb::SubmitTaskRequest { contract: Some(self.contract()), ..Default::default() };
        let submitted = self.client.ask(terminal, self.client.tasks.clone().submit_task(request)).await?;
        let id = submitted.task_id;
        tokio::select! {
            followed = self.follow(terminal, &id) => followed?,
            _ = tokio::signal::ctrl_c() => return self.call_off(terminal, id).await,
        }
        self.conclude(terminal, &id).await
    }

    /// Waits until the server knows the worker, and with it the agent.
    async fn registered(&self, terminal: &Terminal, worker_id: &str) -> Result<(), Failure> {
        let until = Instant::now() + self.client.timeout;
        loop {
            let listed = self.client.operator.clone().list_workers(pb::ListWorkersRequest {}).await;
            let workers = listed.map_err(|status| Failure::of_status(&status))?.into_inner().workers;
            if workers.iter().any(|worker| worker.worker_id == worker_id) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(Failure::new(Exit::Unavailable, "the server does not take the drill's worker"));
            }
            terminal.waiting("registering", sleep(AGAIN)).await;
        }
    }

    fn contract(&self) -> pb::Contract {
        let text = |text: &str| prost_types::Value {
            kind: Some(prost_types::value::Kind::StringValue(text.to_owned())),
        };
        let schema = prost_types::Struct { fields: [("type".to_owned(), text("object"))].into() };
        let timeout = WireDuration::try_from(self.wait).unwrap_or_default();
        pb::Contract {
            goal: "Drill: find out whether a person is reached, and how fast somebody answers.".to_owned(),
            start: Some(pb::contract::Start::FirstAgent(drill::AGENT.to_owned())),
            owner: drill::AGENT.to_owned(),
            budget: Some(pb::Budget { max_tokens: TOKENS, ..pb::Budget::default() }),
            limits: Some(pb::Limits {
                deadline: Some(WireDuration { seconds: DEADLINE, nanos: 0 }),
                ..pb::Limits::default()
            }),
            termination: Some(pb::Termination { result_schema: Some(schema), ..pb::Termination::default() }),
            escalation: Some(pb::EscalationPolicy {
                timeout: Some(timeout),
                default_answer: pb::DefaultAnswer::Abort.into(),
                max_escalations: Some(1),
                owner_fallback: pb::OwnerFallback::Finish.into(),
            }),
            labels: BTreeMap::from([(drill::LABEL.to_owned(), drill::LABEL_VALUE.to_owned())]),
            ..pb::Contract::default()
        }
    }

    /// Watches the task to its end, over broken connections; shows the question when it is there.
    async fn follow(&self, terminal: &mut Terminal, id: &str) -> Result<(), Failure> {
        let until = Instant::now() + self.wait + SLACK;
        let mut cursor = 0;
        loop {
            let request = pb::WatchTaskRequest { task_id: id.to_owned(), after_seq: cursor };
            if let Ok(stream) = self.client.tasks.clone().watch_task(request).await {
                let mut stream = stream.into_inner();
                while let Ok(Some(message)) = stream.message().await {
                    let Some(event) = message.event else { continue };
                    cursor = event.seq;
                    match event.event {
                        Some(Event::Escalated(asked)) => {
                            self.show(terminal, &asked.escalation.unwrap_or_default()).await?;
                        }
                        Some(Event::Ended(_)) => return Ok(()),
                        _ => {}
                    }
                }
            }
            if Instant::now() > until {
                let what = format!("the server is away, and the drill {id} with it");
                return Err(Failure::new(Exit::Unavailable, what));
            }
            sleep(AGAIN).await;
        }
    }

    /// Says how to answer, and who was told.
    async fn show(&self, terminal: &mut Terminal, question: &pb::Escalation) -> Result<(), Failure> {
        if self.remote.json {
            return terminal.line(json::line("Escalation", question)?);
        }
        let (id, addr) = (&question.escalation_id, self.remote.flag_elsewhere());
        terminal.line(format!("asked: {id}"))?;
        terminal.line(format!("  {}", clean(&question.question)))?;
        terminal.line("to answer, in another terminal or wherever it has arrived:")?;
        terminal.line(format!("  bailiwick approve {id}{addr}"))?;
        terminal.line(format!("  bailiwick abort {id}{addr}"))?;
        for line in self.told(question).await {
            terminal.line(line)?;
        }
        let wait = humantime::format_duration(self.wait);
        terminal.line(format!("waiting {wait} for somebody to answer; Ctrl-C calls it off"))?;
        terminal.progress("waiting for somebody to answer");
        Ok(())
    }

    /// What has become of the question at the webhooks that hear of questions, a line each.
    async fn told(&self, question: &pb::Escalation) -> Vec<String> {
        let until = Instant::now() + WEBHOOK_PATIENCE;
        let asked = question.asked_at.as_ref();
        loop {
            let listed = self.client.operator.clone().list_webhooks(pb::ListWebhooksRequest {}).await;
            let Ok(listed) = listed else { return Vec::new() };
            let mut webhooks = listed.into_inner().webhooks;
            webhooks.retain(|webhook| webhook.events.iter().any(|event| event == "escalation_asked"));
            if webhooks.is_empty() {
                return vec![
                    "no webhook hears of questions: only `bailiwick inbox` shows this one".to_owned(),
                ];
            }
            let is_told = |webhook: &pb::Webhook| {
                let last = webhook.last_delivered_at.as_ref().map(|at| (at.seconds, at.nanos));
                last >= asked.map(|at| (at.seconds, at.nanos))
            };
            let is_known = |webhook: &pb::Webhook| webhook.failing.is_some() || is_told(webhook);
            if webhooks.iter().all(is_known) || Instant::now() > until {
                return webhooks.iter().map(|webhook| told_line(webhook, is_told(webhook))).collect();
            }
            sleep(AGAIN).await;
        }
    }

    async fn call_off(&self, terminal: &Terminal, task_id: String) -> Result<Exit, Failure> {
        let what = format!("called off; the drill {task_id} does not count");
        let request = pb::CancelTaskRequest { task_id, reason: "the drill was called off".to_owned() };
        self.client.ask(terminal, self.client.tasks.clone().cancel_task(request)).await?;
        Err(Failure::new(Exit::Error, what))
    }

    /// Who answered, and when.
    async fn conclude(&self, terminal: &mut Terminal, id: &str) -> Result<Exit, Failure> {
        terminal.progress_done();
        let states = (1..32).filter(|number| pb::EscalationState::try_from(*number).is_ok()).collect();
        let request = pb::ListEscalationsRequest {
            states,
            task_id: id.to_owned(),
            ..pb::ListEscalationsRequest::default()
        };
        let listed =
            self.client.ask(terminal, self.client.operator.clone().list_escalations(request)).await?;
        let Some(question) = listed.escalations.first() else {
            let what = format!(
                "the drill {id} ended before anybody was asked: see bailiwick get {id}{}",
                self.remote.flag()
            );
            return Err(Failure::new(Exit::Error, what));
        };
        let answered = !question.answered_by.is_empty();
        if self.remote.json {
            terminal.line(json::line("Escalation", question)?)?;
        } else if answered {
            terminal.line(format!(
                "{} by {} after {}, at {} UTC",
                words::small(&words::escalation(question.state)),
                clean(&question.answered_by),
                between(question.asked_at.as_ref(), question.answered_at.as_ref()),
                date(question.answered_at.as_ref()),
            ))?;
            terminal.note("point 8 of `bailiwick check FILE` shows this drill for 90 days");
        } else {
            terminal.line(format!("nobody answered within {}", humantime::format_duration(self.wait)))?;
            let flag = self.remote.flag();
            terminal.note(format!(
                "find out who should have, and whether a webhook tells them: bailiwick webhooks{flag}"
            ));
        }
        Ok(if answered { Exit::Ok } else { Exit::Unanswered })
    }
}

fn told_line(webhook: &pb::Webhook, told: bool) -> String {
    let (name, place) = (clean(&webhook.name), clean(&webhook.place));
    match &webhook.failing {
        _ if told => format!("webhook {name}: {place} has been told"),
        Some(failing) => format!("webhook {name}: {place} FAILS: {}", clean(&failing.error)),
        None => format!("webhook {name}: {place} has not been told yet"),
    }
}
