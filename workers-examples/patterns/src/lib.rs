//! A travel agency of agents without a model: each a few lines of plain logic, so that what you see is the pattern.
//! `crew.py` beside this folder's README is the same agency in Python.
//!
//! A file for each pattern, which is also how a crew of your own would start: copy one, and put a model where the table is.

mod adaptive;
mod hand_off;
mod mixed;
mod orchestrator_worker;

use std::collections::BTreeMap;

use bailiwick_worker::{AgentSpec, Answer, Context, HandlerError, Worker, pb, to_json};
use serde_json::Value;

/// The worker with every agent of the agency.
#[must_use]
pub fn crew(worker: Worker) -> Worker {
    let worker = worker.agent(spec("agency", "Owns every task; decides when a guard trips."), agency);
    let worker = orchestrator_worker::join(worker);
    let worker = hand_off::join(worker);
    let worker = adaptive::join(worker);
    mixed::join(worker)
}

/// The owner is asked only when a guard trips or an agent gives up: it takes what there is, and says so.
async fn agency(ctx: Context) -> Result<Answer, HandlerError> {
    if !ctx.is_decide() {
        return Err(HandlerError::failed("the agency only decides"));
    }
    ctx.usage(40, 10).await;
    let best = ctx.assignment().best_result.is_some();
    Ok(if best {
        Answer::complete_partial(None, "the best so far will do")
    } else {
        Answer::decide(pb::decision::Decision::Abort(pb::AbortDecision {
            reason: "there is nothing to show".into(),
        }))
    })
}

fn spec(name: &str, description: &str) -> AgentSpec {
    AgentSpec {
        name: name.into(),
        version: "1".into(),
        description: description.into(),
        ..Default::default()
    }
}

/// Answers with this, and is charged a token for four characters of it, as a model would be.
async fn answer(ctx: &Context, result: Value) -> Answer {
    let tokens = i64::try_from(result.to_string().len() / 4).unwrap_or(i64::MAX);
    ctx.usage(ctx.input().to_string().len() as i64 / 4, tokens).await;
    Answer::success(result).confidence(0.9)
}

/// A step of a plan.
fn step(id: &str, agent: &str, input: &Value, depends_on: &[&str]) -> pb::Step {
    pb::Step {
        id: id.into(),
        agent: agent.into(),
        input: Some(bailiwick_worker::from_json(input.clone())),
        depends_on: depends_on.iter().map(|id| (*id).into()).collect(),
        max_tokens: 2_000,
        ..Default::default()
    }
}

/// The last envelope of every step so far, by the step's id: what an agent of a step, or a planner, goes by.
async fn steps_so_far(ctx: &Context) -> Result<Steps, HandlerError> {
    let mut entries = ctx.lineage().await?;
    entries.sort_by_key(|entry| entry.turn);
    let steps = entries.into_iter().filter(|entry| !entry.step_id.is_empty());
    Ok(Steps(steps.filter_map(|entry| Some((entry.step_id, entry.envelope?))).collect()))
}

/// Envelopes by step.
struct Steps(BTreeMap<String, pb::StatusEnvelope>);

impl Steps {
    /// The result of a step that went well, at least in part.
    fn result(&self, step: &str) -> Option<Value> {
        let envelope = self.0.get(step).filter(|envelope| envelope.status() != pb::Status::Failed)?;
        envelope.result.as_ref().map(to_json)
    }

    /// The first step that failed, and why.
    fn failure(&self) -> Option<String> {
        let failed = |(id, envelope): (&String, &pb::StatusEnvelope)| {
            (envelope.status() == pb::Status::Failed).then(|| format!("{id}: {}", envelope.reason))
        };
        self.0.iter().find_map(failed)
    }
}
