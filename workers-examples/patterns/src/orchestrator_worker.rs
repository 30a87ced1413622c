//! Orchestrator-worker: the organiser delegates a plan, specialists take its steps in parallel, the organiser has control
//! back with every envelope. One specialist fails and its fallback takes over; another fails and the plan can do without it.

use bailiwick_worker::{Answer, Context, HandlerError, Worker, pb};
use serde_json::{Value, json};

use crate::{answer, spec, step, steps_so_far};

pub(crate) fn join(worker: Worker) -> Worker {
    worker
        .agent(spec("organiser", "Plans a trip: delegates, then answers with the total."), organiser)
        .agent(spec("airline", "Flies, unless there is a strike."), airline)
        .agent(spec("railway", "Takes longer, and always goes."), railway)
        .agent(spec("hotel", "A bed, unless it is full."), hotel)
        .agent(spec("guide", "Tips for the towns it knows."), guide)
        .agent(spec("accountant", "Adds up the prices of what it depends on."), accountant)
}

async fn organiser(ctx: Context) -> Result<Answer, HandlerError> {
    let steps = steps_so_far(&ctx).await?;
    if let Some(total) = steps.result("total") {
        return Ok(answer(&ctx, total).await.inputs_used(["total"]));
    }
    if let Some(failure) = steps.failure() {
        return Ok(Answer::failed(failure));
    }
    let trip = ctx.input();
    let travel =
        pb::Step { fallback_agents: vec!["railway".into()], ..step("travel", "airline", &trip, &[]) };
    let tips = pb::Step { optional: true, ..step("tips", "guide", &trip, &[]) };
    let total = step("total", "accountant", &trip, &["travel", "bed", "tips"]);
    let steps = vec![travel, step("bed", "hotel", &trip, &[]), tips, total];
    ctx.usage(60, 120).await;
    Ok(Answer::delegate(pb::Plan { steps, ..Default::default() }, None))
}

async fn airline(ctx: Context) -> Result<Answer, HandlerError> {
    if ctx.input()["strike"] == true {
        return Ok(Answer::failed("no flights: there is a strike"));
    }
    Ok(answer(&ctx, json!({"by": "air", "hours": 3, "price": 240})).await)
}

async fn railway(ctx: Context) -> Result<Answer, HandlerError> {
    Ok(answer(&ctx, json!({"by": "rail", "hours": 31, "price": 190})).await)
}

async fn hotel(ctx: Context) -> Result<Answer, HandlerError> {
    let trip = ctx.input();
    if trip["full"] == true {
        return Ok(Answer::failed("no room is left"));
    }
    let nights = trip["nights"].as_i64().unwrap_or(1);
    Ok(answer(&ctx, json!({"bed": "Hotel Centrale", "price": 95 * nights})).await)
}

async fn guide(ctx: Context) -> Result<Answer, HandlerError> {
    match ctx.input()["to"].as_str() {
        Some("Rome") => Ok(answer(&ctx, json!({"tip": "go to the Aventine for the keyhole"})).await),
        town => Ok(Answer::failed(format!("nobody here knows {}", town.unwrap_or("that town")))),
    }
}

async fn accountant(ctx: Context) -> Result<Answer, HandlerError> {
    let (mut price, mut lines, mut without) = (0, serde_json::Map::new(), Vec::<Value>::new());
    let steps = steps_so_far(&ctx).await?;
    for id in steps.0.keys() {
        match steps.result(id) {
            Some(line) => {
                price += line["price"].as_i64().unwrap_or(0);
                lines.insert(id.clone(), line);
            }
            None => without.push(id.as_str().into()),
        }
    }
    let total = json!({"price": price, "lines": lines, "without": without});
    Ok(answer(&ctx, total).await.inputs_used(steps.0.into_keys()))
}
