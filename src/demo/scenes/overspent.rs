//! An agent spends past its allowance: killed; measured is how much later, in milliseconds and in tokens, by the worker's
//! own clock.

use std::time::Duration;

use serde_json::{Value, json};

use super::Scene;
use crate::{
    cli::{Failure, client::Client},
    console::{
        text::{clip, number},
        words,
    },
    demo::{crew::Role, processes::Crew, record::charged, show::Show, stage::Stage, task, task::Done},
    pb,
};

/// Tokens of one report, and the pause between two in milliseconds: 5,000 tokens a second, faster than models write.
const CHUNK: i64 = 100;
const PAUSE: u64 = 20;
/// Tokens the turn may use.
const PER_TURN: i64 = 2_000;
/// How long the worker may take to say what it measured.
const PATIENCE: Duration = Duration::from_secs(5);

pub(in crate::demo) async fn play(
    stage: &Stage,
    client: &Client,
    crew: &mut Crew,
    show: &mut Show<'_>,
    number_of_scene: usize,
) -> Result<Scene, Failure> {
    let mut scene = Scene::begin(
        show,
        number_of_scene,
        "an agent spends past its allowance",
        "killed by the server; the overspend is charged and seen, and the owner concludes",
    )?;
    let spender = crew.start_role(Role::Spender)?;
    stage.wait_for(client, crew, show, std::slice::from_ref(&spender)).await?;
    let input = json!({"chunk_tokens": CHUNK, "pause_ms": PAUSE});
    let mut contract = task::contract("Write for ever.", "spender", &input, PER_TURN * 10);
    if let Some(budget) = &mut contract.budget {
        budget.max_tokens_per_turn = PER_TURN;
    }
    let watched = task::submit(client, show, contract).await?;
    scene.task_id.clone_from(&watched.id);
    let mut done = watched.finish(client, show).await?;
    let measured = crew.line_of(&spender, PATIENCE).await;
    let measured: Value = measured.and_then(|line| serde_json::from_str(&line).ok()).unwrap_or(Value::Null);
    let spent = measured["spent"].as_i64().unwrap_or(0);
    // The worker's last report comes after the cancel, perhaps after the end.
    done.settle(client, show, |record| record.attempts.get(&(1, 1)).is_some_and(|a| a.tokens >= spent))
        .await?;
    conclude(&mut scene, &done, &measured);
    crew.end(Some("spender")).await;
    Ok(scene)
}

/// Judges by what the worker measured and by what the record says.
fn conclude(scene: &mut Scene, done: &Done, measured: &Value) {
    let spent = measured["spent"].as_i64().unwrap_or(0);
    let (outcome, ledger) = (done.outcome(), done.ledger());
    let attempt = done.record.attempts.get(&(1, 1)).cloned().unwrap_or_default();
    if let (Some(micros), Some(allowance)) = (measured["micros"].as_u64(), measured["allowance"].as_i64()) {
        let beyond = spent - allowance;
        scene.tell(format!(
            "allowed {} tokens, spending {CHUNK} every {PAUSE} ms; cancelled {}.{:03} ms after the report that crossed the line, \
             {} tokens beyond it",
            number(allowance),
            micros / 1_000,
            micros % 1_000,
            number(beyond)
        ));
        scene.figure("cancelled_after_us", micros);
        scene.figure("tokens_beyond", beyond);
    }
    if let Some(trip) = done.record.trips.first() {
        scene.tell(format!("guard {}: {}", words::cause(trip.cause), clip(&trip.evidence, 200)));
    }
    scene.tell(format!(
        "{} by {}; {} tokens spent and {} overrun of {}",
        words::state(outcome.state),
        words::small(&words::ended_by(outcome.ended_by)),
        number(ledger.spent_tokens),
        number(ledger.overrun_tokens),
        number(ledger.granted_tokens)
    ));
    scene.check("the worker was cancelled", measured["micros"].is_u64());
    scene.check(
        "the budget guard tripped",
        done.record.trips.first().is_some_and(|trip| trip.cause() == pb::Cause::Budget),
    );
    scene.check(
        "what was spent beyond the allowance is charged",
        attempt.tokens == spent && spent > attempt.allowance,
    );
    scene.check("every attempt is charged once", charged(&ledger) == done.record.tokens());
    scene.check(
        "the owner ended it PARTIAL, cause BUDGET",
        done.state() == pb::TaskState::Partial
            && outcome.ended_by() == pb::EndedBy::Owner
            && outcome.cause() == pb::Cause::Budget,
    );
}
