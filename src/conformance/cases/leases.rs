//! Cases about leases: cancelled, carried over a reconnect, refused after it, lapsed.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::{
    conformance::stage::{
        Event, Failure, HEARTBEAT, LEASE_TIME, PATIENCE, RETURN, Stage, Verdict, kind, require,
    },
    pb::{Cause, complete::Answer},
};

/// How long after a Cancel the worker's last word may come.
const PROMPT: Duration = Duration::from_secs(2);
/// Milliseconds within which a worker that comes back still finds its handler in the first half of its turn.
const IN_FIRST_HALF: u128 = 600;
/// How long an answer that must not come is watched for.
const WATCH: Duration = Duration::from_millis(800);

pub(super) async fn cancel(stage: &mut Stage) -> Verdict {
    let lease = stage.assign(json!({"actions": [
        {"usage": {"input_tokens": 5, "output_tokens": 6}},
        {"progress": {"text": "started"}},
        {"sleep_ms": 30_000},
    ]}));
    stage.progress(&lease, "started").await?;
    stops(stage, &lease, Cause::Cancelled).await
}

/// Streams the same step for ever, as a model that has lost its way does: the guard's Cancel must end it.
pub(super) async fn repetition(stage: &mut Stage) -> Verdict {
    let step = json!({"progress": {"text": "Let me check that again."}});
    let steps = (0..200).flat_map(|_| [step.clone(), json!({"sleep_ms": 20})]);
    let usage = json!({"usage": {"input_tokens": 5, "output_tokens": 6}});
    let actions: Vec<_> = std::iter::once(usage).chain(steps).collect();
    let lease = stage.assign(json!({ "actions": actions }));
    for _ in 0..3 {
        stage.progress(&lease, "Let me check that again.").await?;
    }
    let saw = stops(stage, &lease, Cause::Repetition).await?;
    stage
        .watch(2 * HEARTBEAT, |seen| {
            matches!(&seen.event, Event::Progress(p) if p.lease == lease)
                .then(|| "steps are still streamed under the lease that was cancelled".into())
        })
        .await?;
    Ok(format!("three equal steps, Cancel with REPETITION, then no step more; {saw}"))
}

/// Cancels the lease: its last usage (5, 6) and the slot must come at once, and no answer.
async fn stops(stage: &mut Stage, lease: &str, cause: Cause) -> Verdict {
    let at = Instant::now();
    stage.cancel(lease, cause);
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
        .await
        .map_err(|Failure(what)| {
            let missing = match (usage, credit) {
                (None, None) => "neither the usage nor the slot (a Credit) came",
                (None, Some(_)) => "the slot came back, the last usage (a UsageReport) did not come",
                (Some(_), _) => "the last usage came, the slot (a Credit) did not come back",
            };
            Failure(format!("{what}: {missing}"))
        })?;
    let ((_, last), slot) =
        outcome.map_err(|what| Failure(format!("{what} although the turn was cancelled")))?;
    require(last == Some((5, 6)), || format!("the last usage is {last:?}, not (5, 6)"))?;
    no_answer(stage, lease, WATCH).await?;
    let millis = slot.saturating_duration_since(at).as_millis();
    Ok(format!("usage (5, 6) and the slot back {millis} ms after Cancel, no answer"))
}

/// The usage of a turn that was stopped without a Cancel must come in the next session.
async fn last_usage(stage: &mut Stage, lease: &str) -> Result<(), Failure> {
    let input = stage
        .wait("send the last usage of the turn it had to stop", PATIENCE, |seen| match &seen.event {
            Event::Usage(report) if report.lease == lease => {
                Some(report.usage.as_ref().map(|u| u.input_tokens))
            }
            _ => None,
        })
        .await?;
    require(input == Some(3), || format!("the last usage is {input:?}, not 3"))
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
    let mut reports = Vec::new();
    let complete = stage
        .wait("send Complete", PATIENCE, |seen| match &seen.event {
            Event::Usage(report) if report.lease == lease => {
                reports.extend(report.usage.as_ref().map(|u| u.input_tokens));
                None
            }
            Event::Complete(_, complete) if complete.lease == lease => Some(complete.clone()),
            _ => None,
        })
        .await?;
    let used = match complete.answer {
        Some(Answer::Envelope(envelope)) => envelope.usage.map(|u| u.input_tokens),
        other => return Err(Failure(format!("a work turn wants an envelope, not {}", kind(other.as_ref())))),
    };
    require(used == Some(9), || format!("the usage over both sessions is {used:?}, not 9"))?;
    // A worker that was back late has used more by then.
    require(millis > IN_FIRST_HALF || reports.contains(&4), || {
        format!("after Registered it reported the usage {reports:?}: that so far (4) must be sent again")
    })?;
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

fn stopped_after(sleep_ms: u32) -> serde_json::Value {
    json!({"actions": [
        {"usage": {"input_tokens": 3, "output_tokens": 0}},
        {"progress": {"text": "started"}},
        {"sleep_ms": sleep_ms},
    ]})
}

pub(super) async fn not_live(stage: &mut Stage) -> Verdict {
    stage.calm().await?;
    let lease = stage.assign(stopped_after(2_000));
    stage.progress(&lease, "started").await?;
    stage.policy.leases_live = false;
    stage.revoke(&lease);
    stage.net().cut();
    let at = Instant::now();
    stage.register(RETURN).await?;
    last_usage(stage, &lease).await?;
    stage.settle().await?;
    let slot = at.elapsed();
    no_answer(stage, &lease, Duration::from_millis(2_800).saturating_sub(slot)).await?;
    Ok(format!("last usage sent, every slot free {} ms after the cut, and no answer came", slot.as_millis()))
}

pub(super) async fn lapsed(stage: &mut Stage) -> Verdict {
    let lease = stage.assign(stopped_after(30_000));
    stage.progress(&lease, "started").await?;
    stage.net().close();
    let outage = LEASE_TIME + Duration::from_millis(1_200);
    stage
        .watch(outage, |seen| match seen.event {
            Event::Exited(exit) => Some(format!("the worker ended with {exit} when it lost the network")),
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
    last_usage(stage, &lease).await?;
    stage.settle().await?;
    no_answer(stage, &lease, WATCH).await?;
    let limit = PATIENCE.min(WATCH);
    Ok(format!(
        "{:.1} s without the server: the lease was given up by the worker itself, no answer within {limit:?}",
        outage.as_secs_f64()
    ))
}
