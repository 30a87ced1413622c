//! Adaptive planning: the manager lets a scout improve a draft, round after round, and says each time how good the best one
//! is. It never says "enough": it would always rather refine once more. The server ends it when rounds no longer pay.

use bailiwick_worker::{Answer, Context, HandlerError, Worker, pb};
use serde_json::{Value, json};

use crate::{answer, spec, step, steps_so_far};

/// What there is to see: its name, the hours it takes, and what it is worth.
const SIGHTS: [(&str, i64, i64); 7] = [
    ("walls", 2, 30),
    ("museum", 4, 34),
    ("cathedral", 1, 18),
    ("market", 2, 14),
    ("harbour", 3, 27),
    ("garden", 1, 9),
    ("tower", 2, 24),
];

/// The sum of all values, which no day can hold: a score is a part of it, so that it means the same in every round.
const EVERYTHING: f64 = 156.0;

pub(crate) fn join(worker: Worker) -> Worker {
    worker
        .agent(spec("manager", "Has a day planned, and planned again."), manager)
        .agent(spec("scout", "Makes a day a little better."), scout)
}

async fn manager(ctx: Context) -> Result<Answer, HandlerError> {
    let steps = steps_so_far(&ctx).await?;
    if let Some(failure) = steps.failure() {
        return Ok(Answer::failed(failure));
    }
    let draft = steps.result("draft").unwrap_or_else(|| json!({"sights": [], "worth": 0}));
    let mut wish = ctx.input();
    wish["draft"] = draft.clone();
    ctx.usage(50, 20).await;
    let plan = pb::Plan { steps: vec![step("draft", "scout", &wish, &[])], ..Default::default() };
    let worth = draft["worth"].as_f64().unwrap_or(0.0);
    let best = (worth > 0.0).then_some(draft);
    Ok(Answer::delegate(plan, best).confidence(0.9).score(worth / EVERYTHING))
}

/// Puts in the sight that the draft can best be improved by; where no hours are left, swaps a poor one out.
async fn scout(ctx: Context) -> Result<Answer, HandlerError> {
    let wish = ctx.input();
    let hours = wish["hours"].as_i64().unwrap_or(8);
    let seen = |name: &str| wish["draft"]["sights"].as_array().is_some_and(|all| all.contains(&name.into()));
    let now: Vec<_> = SIGHTS.iter().filter(|sight| seen(sight.0)).collect();
    let mut better = now.clone();
    for out in [None].into_iter().chain(now.iter().map(|sight| Some(sight.0))) {
        for more in SIGHTS.iter().filter(|sight| !seen(sight.0)) {
            let mut tried: Vec<_> = now.iter().copied().filter(|sight| Some(sight.0) != out).collect();
            tried.push(more);
            if tried.iter().map(|sight| sight.1).sum::<i64>() <= hours && worth(&tried) > worth(&better) {
                better = tried;
            }
        }
    }
    let sights: Vec<Value> =
        SIGHTS.iter().filter(|sight| better.contains(sight)).map(|sight| sight.0.into()).collect();
    Ok(answer(&ctx, json!({"sights": sights, "worth": worth(&better)})).await)
}

fn worth(sights: &[&(&str, i64, i64)]) -> i64 {
    sights.iter().map(|sight| sight.2).sum()
}
