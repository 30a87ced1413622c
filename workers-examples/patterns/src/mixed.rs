//! Patterns mix: the planner delegates; inside a step the travel desk hands off; a step fails and the planner re-plans;
//! then it hands the task off to the writer, which answers. Hops, turns and tokens count over all of it.

use bailiwick_worker::{Answer, Context, HandlerError, Worker, pb};
use serde_json::json;

use crate::{answer, spec, step, steps_so_far};

pub(crate) fn join(worker: Worker) -> Worker {
    worker
        .agent(spec("planner", "Delegates, re-plans, and leaves the letter to the writer."), planner)
        .agent(spec("travel-desk", "Knows who goes today, and hands the step to them."), travel_desk)
        .agent(spec("hostel", "A bed where the hotel has none."), hostel)
        .agent(spec("writer", "Writes the letter."), writer)
}

async fn planner(ctx: Context) -> Result<Answer, HandlerError> {
    let trip = ctx.input();
    ctx.usage(60, 60).await;
    let steps = steps_so_far(&ctx).await?;
    match (steps.result("travel"), steps.result("bed")) {
        (Some(travel), Some(bed)) => {
            let material = json!({"trip": trip, "travel": travel, "bed": bed});
            Ok(Answer::success(material.clone()).confidence(0.6).hand_off("writer", material))
        }
        // The first plan came back without a bed: another plan, for that alone.
        (Some(travel), None) => {
            let steps = vec![step("bed", "hostel", &trip, &[])];
            Ok(Answer::delegate(pb::Plan { steps, ..Default::default() }, Some(travel)))
        }
        (None, _) => {
            let steps = vec![step("travel", "travel-desk", &trip, &[]), step("bed", "hotel", &trip, &[])];
            Ok(Answer::delegate(pb::Plan { steps, ..Default::default() }, None))
        }
    }
}

async fn travel_desk(ctx: Context) -> Result<Answer, HandlerError> {
    let trip = ctx.input();
    let to = if trip["strike"] == true { "railway" } else { "airline" };
    ctx.usage(30, 10).await;
    Ok(Answer::success(json!({"goes": to})).hand_off(to, trip.clone()))
}

async fn hostel(ctx: Context) -> Result<Answer, HandlerError> {
    let nights = ctx.input()["nights"].as_i64().unwrap_or(1);
    Ok(answer(&ctx, json!({"bed": "Ostello della Stazione", "price": 35 * nights})).await)
}

async fn writer(ctx: Context) -> Result<Answer, HandlerError> {
    let material = ctx.input();
    let (travel, bed) = (&material["travel"], &material["bed"]);
    let price = travel["price"].as_i64().unwrap_or(0) + bed["price"].as_i64().unwrap_or(0);
    let letter = format!(
        "You go to {} by {} and sleep at {}, for {price} euros.",
        material["trip"]["to"].as_str().unwrap_or("nowhere"),
        travel["by"].as_str().unwrap_or("foot"),
        bed["bed"].as_str().unwrap_or("home"),
    );
    Ok(answer(&ctx, json!({"letter": letter, "price": price})).await)
}
