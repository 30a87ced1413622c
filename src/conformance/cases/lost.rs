//! Cases about what is lost or crosses on the way: a budget request, the answer to Register, an assignment and a Drain.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::turns::{result, same};
use crate::{
    conformance::stage::{ALLOWANCE, Event, Failure, PATIENCE, RETURN, Stage, Verdict, kind, require},
    pb::{self, complete::Answer},
};

/// How long a worker waits for Registered at least, and at most with its backoff and on a slow machine; 5 s are due.
const WAITS: std::ops::RangeInclusive<Duration> = Duration::from_secs(3)..=Duration::from_secs(9);

async fn asked(stage: &mut Stage, lease: &str) -> Result<i64, Failure> {
    stage
        .wait("send BudgetRequest", RETURN, |seen| match &seen.event {
            Event::Budget(request) if request.lease == lease => Some(request.tokens),
            _ => None,
        })
        .await
}

pub(super) async fn budget(stage: &mut Stage) -> Verdict {
    stage.calm().await?;
    stage.policy.answer_budget = false;
    let lease = stage.assign(json!({"actions": [{"request_budget": 500}]}));
    asked(stage, &lease).await?;
    stage.policy.answer_budget = true;
    stage.net().cut();
    let held = stage.register(RETURN).await?.held_leases;
    require(held.contains(&lease), || {
        format!("held_leases {held:?} does not claim the lease of the attempt that waits")
    })?;
    let again = asked(stage, &lease).await?;
    require(again == 500, || format!("asked for {again} the second time, not for 500"))?;
    let seen = result(&stage.envelope(&lease).await?);
    same("granted", &seen["granted"], &json!([500]))?;
    same("allowance", &seen["allowance"], &json!(ALLOWANCE + 500))?;
    stage.settle().await?;
    Ok("asked again on the next session, granted 500 once".into())
}

pub(super) async fn registered(stage: &mut Stage) -> Verdict {
    stage.calm().await?;
    stage.policy.answer_register = false;
    stage.end_session(tonic::Status::unavailable("the server restarts"));
    stage.register(RETURN).await?;
    let since = Instant::now();
    stage.policy.answer_register = true;
    stage.register(RETURN).await.map_err(|Failure(what)| {
        Failure(format!("Register was never answered; the session must be given up after 5 s: {what}"))
    })?;
    let waited = since.elapsed();
    require(WAITS.contains(&waited), || {
        format!("it gave up after {:.1} s without Registered; 5 s are due", waited.as_secs_f64())
    })?;
    stage.settle().await?;
    Ok(format!("given up after {:.1} s without Registered, then a session", waited.as_secs_f64()))
}

pub(super) async fn crossing(stage: &mut Stage) -> Verdict {
    let lease = stage.assign(json!({"actions": [{"progress": {"text": "started"}}, {"sleep_ms": 500}]}));
    stage.progress(&lease, "started").await?;
    stage.terminate()?;
    stage
        .wait("send Drain on SIGTERM", PATIENCE, |seen| matches!(seen.event, Event::Drain).then_some(()))
        .await?;
    let crossing = stage.assign(json!({"actions": []}));
    let mut decide = stage.assignment(json!({"actions": []}));
    decide.kind = pb::TurnKind::Decide.into();
    let decide = stage.send(decide);
    let mut answers = std::collections::BTreeMap::new();
    let exit = stage
        .wait("exit", PATIENCE, |seen| match &seen.event {
            Event::Complete(_, complete) => {
                answers.insert(complete.lease.clone(), complete.answer.clone());
                None
            }
            Event::Exited(exit) => Some(*exit),
            _ => None,
        })
        .await?;
    require(exit.is_clean(), || format!("it ended with {exit}, not with exit code 0"))?;
    require(answers.contains_key(&lease), || "the turn it had was not answered".into())?;
    match answers.get(&crossing) {
        Some(Some(Answer::Envelope(e))) if e.retryable => {}
        Some(Some(Answer::Envelope(_))) => {
            return Err(Failure("an assignment that crosses Drain is answered FAILED and retryable".into()));
        }
        other => {
            let what = kind(other.and_then(Option::as_ref));
            return Err(Failure(format!("the assignment that crossed Drain was met with {what}")));
        }
    }
    match answers.get(&decide) {
        None => Ok("the WORK turn turned away for a retry, the DECIDE turn left alone, exit code 0".into()),
        Some(Some(Answer::Decision(_))) => {
            Ok("the WORK turn turned away for a retry, the DECIDE turn decided, exit code 0".into())
        }
        Some(other) => {
            let what = kind(other.as_ref());
            Err(Failure(format!(
                "a decide turn that crosses Drain is decided or left alone; this was {what}"
            )))
        }
    }
}
