//! `ping` and `pong`: each finds, in good faith, that the other should do it. What multi-agent systems do by themselves when
//! nobody owns the task; they are in the crew to be stopped.

use bailiwick_worker::{Answer, Context, HandlerError};
use serde_json::json;

use super::chars_of;
use crate::demo::finding::estimate;

/// Passes the text on with one more mark on it. The result so far rides on every answer.
pub(super) async fn handle(context: Context, other: &'static str) -> Result<Answer, HandlerError> {
    let input = context.input();
    let text = input["summary"].as_str().unwrap_or_default();
    let passes = input["passes"].as_i64().unwrap_or(0) + 1;
    let result = json!({"summary": text, "passes": passes});
    context.usage(estimate(chars_of(&input)), estimate(chars_of(&result) * 2)).await;
    let reason = format!("this is better done by {other}");
    Ok(Answer::partial(result.clone(), reason).confidence(0.4).hand_off(other, result))
}
