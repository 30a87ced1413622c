//! Cases about leases: cancelled, carried over a reconnect, refused after it, lapsed.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::conformance::stage::{Event, Failure, LEASE_TIME, PATIENCE, RETURN, Stage, Verdict, require};

/// How long after a Cancel the worker's last word may come.
const PROMPT: Duration = Duration::from_secs(2);
/// How long an answer that must not come is watched for.
const WATCH: Duration = Duration::from_millis(800);

pub(super) async fn cancel(stage: &mut Stage) -> Verdict {
    let lease = stage.assign(json!({"actions": [
        {"usage": {"input_tokens": 5, "output_tokens": 6}},
        {"progress": {"text": "started"}},
        {"sleep_ms": 30_000},
    ]}));
    stage.progress(&lease, "started").await?;
    let at = Instant::now();
    stage.cancel(&lease);
    let (mut usage, mut credit) = (None, None);
    let told = |u: &crate::pb::UsageReport| u.usage.as_ref().map(|u| (u.input_tokens, u.output_tokens));
    let outcome = stage
        .wait("send its last usage and give its slot back after Cancel", PROMPT, |seen| {
            match &seen.event {
                Event::Usage(report) if report.lease == lease => {
                    usage = usage.or_else(|| Some((seen.at, told(report))));
                }
                Event::Credit(_) => credit = credit.or(Some(seen.at)),
                Event::Complete(_, c) if c.lease == lease => return Some(Err("it answered".to_owned())),
                _ => {}
            }
            usage.zip(credit).map(Ok)
        })
        .await?;
    let ((_, last), slot) =
        outcome.map_err(|what| Failure(format!("{what} although the turn was cancelled")))?;
    require(last == Some((5, 6)), || format!("the last usage is {last:?}, not (5, 6)"))?;
    no_answer(stage, &lease, WATCH).await?;
    let millis = slot.saturating_duration_since(at).as_millis();
    Ok(format!("usage (5, 6) and the slot back {millis} ms after Cancel, no answer"))
}

async fn no_answer(stage: &mut Stage, lease: &str, span: Duration) -> Result<(), Failure> {
    stage
        .watch(span, |seen| {
            matches!(&seen.event, Event::Complete(_, c) if c.lease == lease)
                .then(|| "an answer came under a lease that was gone".into())
        })
        .await
}

/// After a session's end in mid turn: the next Register must claim the lease, and the turn must be finished.
async fn claims_and_finishes(stage: &mut Stage, lease: &str) -> Result<(u128, usize), Failure> {
    let at = Instant::now();
    let mut opened = 0;
    let held = stage
        .wait("register again", RETURN, |seen| match &seen.event {
            Event::Opened => {
                opened += 1;
                None
            }
            Event::Register(register) => Some(register.held_leases.clone()),
            _ => None,
        })
        .await?;
    let millis = at.elapsed().as_millis();
    require(held.iter().any(|l| l == lease), || {
        format!("held_leases {held:?} does not claim the lease of the running turn")
    })?;
    let envelope = stage.envelope(lease).await?;
    let used = envelope.usage.map(|u| u.input_tokens);
    require(used == Some(9), || format!("the usage over both sessions is {used:?}, not 9"))?;
    Ok((millis, opened))
}

fn in_two_halves() -> serde_json::Value {
    json!({"actions": [
        {"usage": {"input_tokens": 4, "output_tokens": 0}},
        {"progress": {"text": "started"}},
        {"sleep_ms": 1_000},
        {"usage": {"input_tokens": 5, "output_tokens": 0}},
    ]})
}

pub(super) async fn reconnect(stage: &mut Stage) -> Verdict {
    stage.calm().await?;
    let lease = stage.assign(in_two_halves());
    stage.progress(&lease, "started").await?;
    stage.net().cut();
    let (millis, _) = claims_and_finishes(stage, &lease).await?;
    stage.settle().await?;
    Ok(format!(
        "back {millis} ms after the cut with the lease in held_leases; the turn was answered once, usage 9"
    ))
}

pub(super) async fn superseded(stage: &mut Stage) -> Verdict {
    stage.calm().await?;
    let lease = stage.assign(in_two_halves());
    stage.progress(&lease, "started").await?;
    stage.end_session(tonic::Status::aborted("another session of the same worker_id superseded this one"));
    let (millis, opened) = claims_and_finishes(stage, &lease).await?;
    require(opened <= 2, || format!("{opened} sessions were opened at once"))?;
    stage.settle().await?;
    Ok(format!("back {millis} ms after ABORTED with the lease in held_leases; the turn was answered"))
}

pub(super) async fn not_live(stage: &mut Stage) -> Verdict {
    stage.calm().await?;
    let lease = stage.assign(json!({"actions": [{"progress": {"text": "started"}}, {"sleep_ms": 2_000}]}));
    stage.progress(&lease, "started").await?;
    stage.policy.leases_live = false;
    stage.revoke(&lease);
    stage.net().cut();
    let at = Instant::now();
    stage.register(RETURN).await?;
    stage.settle().await?;
    let slot = at.elapsed();
    no_answer(stage, &lease, Duration::from_millis(2_800).saturating_sub(slot)).await?;
    Ok(format!("every slot free {} ms after the cut, and no answer came", slot.as_millis()))
}

pub(super) async fn lapsed(stage: &mut Stage) -> Verdict {
    let lease = stage.assign(json!({"actions": [{"progress": {"text": "started"}}, {"sleep_ms": 30_000}]}));
    stage.progress(&lease, "started").await?;
    stage.net().close();
    let outage = LEASE_TIME + Duration::from_millis(1_200);
    stage
        .watch(outage, |seen| match seen.event {
            Event::Exited(code) => {
                Some(format!("the worker ended with exit code {code:?} when it lost the network"))
            }
            _ => None,
        })
        .await?;
    stage.revoke(&lease);
    stage.net().cut();
    let register = stage.register(RETURN).await?;
    let held = register.held_leases;
    require(held.is_empty(), || {
        format!(
            "after {:.1} s without the server (lease time {LEASE_TIME:?}) it still holds {held:?}",
            outage.as_secs_f64()
        )
    })?;
    stage.settle().await?;
    no_answer(stage, &lease, WATCH).await?;
    let limit = PATIENCE.min(WATCH);
    Ok(format!(
        "{:.1} s without the server: the lease was given up by the worker itself, no answer within {limit:?}",
        outage.as_secs_f64()
    ))
}
