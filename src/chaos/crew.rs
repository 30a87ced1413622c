//! The built-in crew: agents that do what their input says, and side effects whose keys are written down for the score.
//! They speak to the server by gRPC alone; nothing here knows which failures are on their way.

mod outer_world;

use std::{path::PathBuf, sync::Arc, time::Duration};

use bailiwick_worker::{AgentSpec, Answer, Context, HandlerError, Worker, pb, to_json};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::shapes::{self, wire};
pub(super) use outer_world::{OuterWorld, read_folder};

/// How long a process waits for what it still has to say, once it is told to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// An agent of the crew. Every worker serves all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agent {
    /// Works for a while and answers.
    Solo,
    /// Hands the task on to the baton until nothing is left.
    Relay,
    /// Hands the task back to the relay.
    Baton,
    /// Delegates a plan, then answers.
    Planner,
    /// Submits children and waits for them.
    Parent,
    /// Asks a person, then answers.
    Asker,
    /// Validates.
    Judge,
    /// Reports tokens without end, to be stopped.
    Spender,
    /// Owns every task.
    Lead,
}

impl Agent {
    /// Every agent.
    pub(super) const ALL: [Self; 9] = [
        Self::Solo,
        Self::Relay,
        Self::Baton,
        Self::Planner,
        Self::Parent,
        Self::Asker,
        Self::Judge,
        Self::Spender,
        Self::Lead,
    ];

    /// Its name.
    #[must_use]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Solo => "chaos-solo",
            Self::Relay => "chaos-relay",
            Self::Baton => "chaos-baton",
            Self::Planner => "chaos-planner",
            Self::Parent => "chaos-parent",
            Self::Asker => "chaos-asker",
            Self::Judge => "chaos-judge",
            Self::Spender => "chaos-spender",
            Self::Lead => "chaos-lead",
        }
    }
}

/// A worker of the whole crew for the server at `addr`. What it does to the outer world stands in the folder `world`.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn worker(addr: &str, id: &str, slots: u16, world: PathBuf) -> std::io::Result<Worker> {
    let world = Arc::new(OuterWorld::open(&world, id)?);
    let worker = Worker::new(addr).worker_id(id).concurrency(slots).drain_limit(DRAIN_LIMIT);
    Ok(Agent::ALL.into_iter().fold(worker, |worker, agent| {
        let world = Arc::clone(&world);
        let spec = AgentSpec {
            name: agent.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: "Of the built-in crew of `bailiwick chaos`".to_owned(),
            ..AgentSpec::default()
        };
        worker.agent(spec, move |context| act(agent, context, Arc::clone(&world)))
    }))
}

async fn act(agent: Agent, context: Context, world: Arc<OuterWorld>) -> Result<Answer, HandlerError> {
    if context.is_decide() {
        return Ok(decide(&context).await);
    }
    if context.is_validate() {
        return Ok(judge(&context).await);
    }
    // Before the work: an attempt that dies in the middle leaves its effect behind, and the next one repeats it.
    let assignment = context.assignment();
    world.effect(&assignment.idempotency_key, &assignment.task_id, assignment.turn)?;
    let answer = match agent {
        Agent::Solo => solo(&context).await,
        Agent::Relay => relay(&context, Agent::Baton).await,
        Agent::Baton => relay(&context, Agent::Relay).await,
        Agent::Planner => planner(&context).await,
        Agent::Parent => parent(&context).await?,
        Agent::Asker => asker(&context).await,
        Agent::Spender => return spender(&context, &world).await,
        Agent::Judge | Agent::Lead => Answer::failed("this agent takes no work"),
    };
    Ok(answer)
}

/// Works for `work_ms`, using `tokens` in a few reports. Gives what could not be afforded.
async fn work(context: &Context, input: &Value) -> i64 {
    let wanted = input["tokens"].as_i64().unwrap_or(50).max(1);
    let left = context.allowance_left();
    let granted = if wanted > left { context.request_budget(wanted - left, "more to do").await } else { 0 };
    let tokens = wanted.min(left.saturating_add(granted));
    let pause = Duration::from_millis(input["work_ms"].as_u64().unwrap_or(5)) / 3;
    for part in 1..=3 {
        sleep(pause).await;
        let share = tokens / 3;
        let share = if part == 3 { tokens - 2 * share } else { share };
        context.usage(share - share / 4, share / 4).await;
    }
    wanted - tokens
}

/// A result that no other turn has.
fn result(context: &Context) -> Value {
    let assignment = context.assignment();
    json!({"done": format!("turn {} of {}", assignment.turn, assignment.task_id), "draft": assignment.notes.len()})
}

async fn solo(context: &Context) -> Answer {
    let input = context.input();
    let short = work(context, &input).await;
    let result = result(context);
    if input["fails"] == json!(true) {
        return Answer::failed("this step was made to fail");
    }
    if short > 0 {
        return Answer::partial(result, format!("{short} tokens more were needed"));
    }
    let mut result = result;
    result["picky"] = input["picky"].clone();
    Answer::success(result).confidence(0.9)
}

async fn relay(context: &Context, to: Agent) -> Answer {
    let input = context.input();
    work(context, &input).await;
    let left = input["left"].as_u64().unwrap_or(0);
    let answer = Answer::success(result(context)).confidence(0.9);
    match left.checked_sub(1) {
        Some(left) => answer.hand_off(to.name(), json!({"left": left, "work_ms": input["work_ms"]})),
        None => answer,
    }
}

async fn planner(context: &Context) -> Answer {
    let input = context.input();
    work(context, &input).await;
    let lineage = context.lineage().await.unwrap_or_default();
    let step_of = |entry: &&pb::LineageEntry| !entry.step_id.is_empty();
    let failed = lineage
        .iter()
        .filter(step_of)
        .any(|entry| entry.envelope.as_ref().is_none_or(|envelope| envelope.status() == pb::Status::Failed));
    let again = lineage.iter().any(|entry| entry.step_id.starts_with("again"));
    let planned = lineage.iter().any(|entry| !entry.step_id.is_empty());
    if !planned {
        return Answer::delegate(plan("step", &input, input["fails"] == json!(true)), None);
    }
    if failed && !again {
        return Answer::delegate(plan("again", &input, false), Some(result(context)));
    }
    Answer::success(result(context)).confidence(0.9)
}

/// A plan whose first two steps run side by side and whose others each need the one before.
fn plan(name: &str, input: &Value, fails: bool) -> pb::Plan {
    let steps = input["steps"].as_u64().unwrap_or(3).clamp(1, 20);
    let id = |number: u64| format!("{name}-{number}");
    let step = |number: u64| pb::Step {
        id: id(number),
        agent: Agent::Solo.name().to_owned(),
        input: Some(wire(&json!({
            "work_ms": input["work_ms"], "tokens": 40 + number, "step": id(number), "fails": fails && number == 2,
        }))),
        depends_on: if number > 2 { vec![id(number - 1)] } else { Vec::new() },
        max_tokens: 1_000,
        ..pb::Step::default()
    };
    pb::Plan { steps: (1..=steps).map(step).collect(), ..pb::Plan::default() }
}

async fn parent(context: &Context) -> Result<Answer, HandlerError> {
    let input = context.input();
    work(context, &input).await;
    let mut children = Vec::new();
    for number in 1..=input["children"].as_u64().unwrap_or(1) {
        let contract = shapes::child(3_000, &json!({"work_ms": 10, "tokens": 100, "number": number}));
        match context.submit_child(recoded(&contract)?).await {
            Ok(child) => children.push(child),
            // The lease is gone, or nothing is left to give: what there is must do.
            Err(status) => {
                let reason = format!("child {number}: {}", status.message());
                return Ok(Answer::partial(result(context), reason));
            }
        }
    }
    for child in &children {
        context.wait_for(child).await.map_err(|status| HandlerError::retryable(status.message()))?;
    }
    Ok(Answer::success(result(context)).confidence(0.9))
}

/// The worker library has wire types of its own: the same message, by way of its bytes.
fn recoded(contract: &crate::pb::Contract) -> Result<pb::Contract, HandlerError> {
    use prost::Message as _;
    Ok(pb::Contract::decode(contract.encode_to_vec().as_slice())?)
}

async fn asker(context: &Context) -> Answer {
    work(context, &context.input()).await;
    let answer = Answer::success(result(context)).confidence(0.9);
    if context.assignment().notes.is_empty() {
        return answer.ask_human("This is a chaos run: shall the task go on?");
    }
    answer
}

async fn judge(context: &Context) -> Answer {
    context.usage(20, 5).await;
    let candidate = context.candidate().and_then(|it| it.result.as_ref()).map(to_json).unwrap_or_default();
    if candidate["picky"] == json!(true) && candidate["draft"] == json!(0) {
        return Answer::disagree(["a first draft is never good enough: write another"]);
    }
    Answer::agree().confidence(0.9)
}

async fn decide(context: &Context) -> Answer {
    context.usage(20, 5).await;
    if context.best_result().is_none() {
        let reason = "nothing was found that could be kept".to_owned();
        return Answer::decide(pb::decision::Decision::Abort(pb::AbortDecision { reason }));
    }
    Answer::complete_partial(None, "concluded with the best result so far")
}

/// Spends until it is stopped, and writes down how long that took.
async fn spender(context: &Context, world: &Arc<OuterWorld>) -> Result<Answer, HandlerError> {
    /// Gives up after so many times its allowance: somebody should have stopped it.
    const PATIENCE: i64 = 50;
    let chunk = context.input()["chunk"].as_i64().unwrap_or(100).max(4);
    context.report(Vec::new(), Some(result(context))).await;
    let mut brake = outer_world::Brake::new(context, world);
    let mut spent = 0;
    while spent < context.allowance().saturating_mul(PATIENCE) {
        spent += chunk;
        if spent > context.allowance() {
            brake.crossed(Instant::now());
        }
        context.usage(chunk - chunk / 4, chunk / 4).await;
        sleep(Duration::from_millis(5)).await;
    }
    brake.forget();
    Ok(Answer::success(result(context)).confidence(0.1).reason("nobody stopped it"))
}
