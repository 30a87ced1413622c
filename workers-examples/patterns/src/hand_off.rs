//! Dynamic hand-off: control goes from agent to agent, each of which decides who is next. Every agent does the sensible
//! thing, and it is the server that counts the hops, so that sensible things cannot go on for ever.

use bailiwick_worker::{Answer, Context, HandlerError, Worker};
use serde_json::json;

use crate::{answer, spec};

pub(crate) fn join(worker: Worker) -> Worker {
    worker
        .agent(spec("desk", "Reads a letter and passes it on."), desk)
        .agent(spec("bookings", "Looks up a booking."), bookings)
        .agent(spec("refunds", "Pays back what a booking cost."), refunds)
}

async fn desk(ctx: Context) -> Result<Answer, HandlerError> {
    let letter = ctx.input();
    let text = letter["text"].as_str().unwrap_or_default();
    let to = if text.contains("money back") { "refunds" } else { "bookings" };
    ctx.usage(text.len() as i64 / 4, 10).await;
    Ok(Answer::success(json!({"for": to})).confidence(0.9).hand_off(to, letter.clone()))
}

async fn refunds(ctx: Context) -> Result<Answer, HandlerError> {
    let letter = ctx.input();
    ctx.usage(40, 20).await;
    let Some(price) = letter["booking"]["price"].as_i64() else {
        // It cannot pay what it does not know: the booking first, then back to here.
        let look_up = json!({"text": letter["text"], "then": "refunds"});
        return Ok(Answer::success(json!({"waits_for": "booking"})).hand_off("bookings", look_up));
    };
    Ok(answer(&ctx, json!({"answer": format!("You get {price} euros back."), "refund": price})).await)
}

async fn bookings(ctx: Context) -> Result<Answer, HandlerError> {
    let letter = ctx.input();
    let text = letter["text"].as_str().unwrap_or_default();
    let number: String = text.chars().filter(char::is_ascii_digit).collect();
    if number != "4711" {
        return Ok(Answer::failed(format!("there is no booking {number:?}")));
    }
    let booking = json!({"number": number, "price": 190});
    ctx.usage(text.len() as i64 / 4, 20).await;
    match letter["then"].as_str() {
        Some(then) => {
            let with = json!({"text": text, "booking": booking});
            Ok(Answer::success(booking).hand_off(then, with))
        }
        None => Ok(answer(&ctx, json!({"answer": format!("Booking {number} stands.")})).await),
    }
}
