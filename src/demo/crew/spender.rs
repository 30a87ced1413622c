//! `spender`: reports tokens without looking at its allowance, as a runaway agent does, and measures when it is stopped. It
//! writes one line of JSON to stdout at its end: its own clock, from the report that crossed the line to the cancel.

use std::time::Duration;

use bailiwick_worker::{Answer, Context, HandlerError};
use serde_json::json;
use tokio::time::Instant;

/// Gives up once it has spent this many times its allowance: somebody should have stopped it.
const PATIENCE: i64 = 50;

pub(super) async fn handle(context: Context) -> Result<Answer, HandlerError> {
    let input = context.input();
    let chunk = input["chunk_tokens"].as_i64().unwrap_or(100).max(4);
    let pause = Duration::from_millis(input["pause_ms"].as_u64().unwrap_or(1));
    let draft = json!({"summary": "a draft that was never finished"});
    context.report(Vec::new(), Some(draft.clone())).await;
    let mut line = Line { context: context.clone(), crossed: None };
    while spent(&context) < context.allowance().saturating_mul(PATIENCE) {
        // Reported as input and output, as a model's call would be.
        let crosses = spent(&context) + chunk > context.allowance();
        if crosses && line.crossed.is_none() {
            line.crossed = Some(Instant::now());
        }
        context.usage(chunk - chunk / 4, chunk / 4).await;
        tokio::time::sleep(pause).await;
    }
    line.crossed = None;
    Ok(Answer::success(draft).confidence(0.1).reason("nobody stopped it"))
}

fn spent(context: &Context) -> i64 {
    let used = context.used();
    used.input_tokens.saturating_add(used.output_tokens)
}

/// The allowance's line: when it was crossed. Dropped with the handler, which is how a cancel reaches it.
struct Line {
    context: Context,
    crossed: Option<Instant>,
}

impl Drop for Line {
    fn drop(&mut self) {
        let Some(crossed) = self.crossed else { return };
        let stopped = json!({
            "micros": u64::try_from(crossed.elapsed().as_micros()).unwrap_or(u64::MAX),
            "allowance": self.context.allowance(),
            "spent": spent(&self.context),
        });
        println!("{stopped}");
    }
}
