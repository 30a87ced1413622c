//! Cases about messages that are lost, repeated, refused or unknown.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::{
    conformance::stage::{Event, Failure, PATIENCE, RETURN, Seen, Stage, Verdict, kind, require},
    pb::{self, session_response::Message as Down},
};

/// How long something that must not come is watched for.
const WATCH: Duration = Duration::from_millis(900);
/// What a retryable refusal asks the worker to wait.
const RETRY_AFTER: Duration = Duration::from_millis(400);

/// Waits for another Complete under the lease than the one of `before`.
async fn again(stage: &mut Stage, lease: &str, before: &pb::Complete) -> Result<(Instant, i64), Failure> {
    let (at, id, complete) = stage
        .wait("send its answer again", RETURN, |seen| match &seen.event {
            Event::Complete(id, complete) if complete.lease == lease => {
                Some((seen.at, *id, complete.clone()))
            }
            _ => None,
        })
        .await?;
    require(complete == *before, || "the answer that was sent again differs from the first".into())?;
    Ok((at, id))
}

async fn no_more(stage: &mut Stage, lease: &str, why: &str) -> Result<(), Failure> {
    stage
        .watch(WATCH, |seen| {
            matches!(&seen.event, Event::Complete(_, c) if c.lease == lease)
                .then(|| format!("the answer was sent again {why}"))
        })
        .await
}

pub(super) async fn duplicate_assignment(stage: &mut Stage) -> Verdict {
    let script = json!({"actions": [{"progress": {"text": "started"}}, {"sleep_ms": 300}]});
    let assignment = stage.assignment(script);
    let lease = stage.send(assignment.clone());
    stage.progress(&lease, "started").await?;
    stage.say(Down::Assignment(Box::new(assignment.clone())));
    let mut starts = 1;
    stage
        .wait("send Complete", PATIENCE, |seen| match &seen.event {
            Event::Progress(p) if p.lease == lease => {
                starts += 1;
                None
            }
            Event::Complete(_, complete) if complete.lease == lease => Some(()),
            _ => None,
        })
        .await?;
    stage
        .watch(WATCH, |seen| match &seen.event {
            Event::Progress(p) if p.lease == lease => Some("the handler was started a second time".into()),
            Event::Complete(_, c) if c.lease == lease => Some("it was answered a second time".into()),
            _ => None,
        })
        .await?;
    require(starts == 1, || format!("the handler was started {starts} times"))?;
    stage.settle().await?;
    Ok("started once, answered once, no slot lost".into())
}

pub(super) async fn unknown_message(stage: &mut Stage) -> Verdict {
    let lease = || "lease-of-nobody".to_owned();
    // What a message of a later protocol version looks like to a worker that does not know it.
    stage.say_raw(pb::SessionResponse { message: None });
    stage.say(Down::Cancel(pb::Cancel { lease: lease(), ..Default::default() }));
    stage.say(Down::Ack(pb::Ack { message_ids: vec![0, -1, i64::MAX] }));
    stage.say(Down::BudgetGrant(pb::BudgetGrant { lease: lease(), granted_tokens: 5, ..Default::default() }));
    stage.say(Down::Refusal(pb::Refusal {
        message_id: i64::MAX,
        reason: "NEW_REASON".into(),
        ..Default::default()
    }));
    let mut foreign = stage.assignment(json!({"actions": []}));
    foreign.agent = "agent-it-never-registered".into();
    let foreign_lease = foreign.lease.clone();
    stage.send(foreign);
    // Whether it counts as taken is anybody's guess.
    stage.settle_lease(&foreign_lease);
    let assignment = stage.assign(json!({"actions": [], "answer": {"status": "success", "result": 1}}));
    let mut done = false;
    let on_same_session = stage
        .wait("answer on the same session", PATIENCE, |seen| match &seen.event {
            Event::Complete(_, c) if c.lease == assignment => {
                done = true;
                Some(true)
            }
            Event::Opened | Event::Ended | Event::Register(_) => Some(false),
            _ => None,
        })
        .await?;
    require(on_same_session && done, || {
        "the worker left the session over a message it does not know".into()
    })?;
    let mut worked = false;
    stage
        .watch(WATCH, |seen| {
            if let Event::Complete(_, c) = &seen.event
                && c.lease == foreign_lease
                && let Some(pb::complete::Answer::Envelope(e)) = &c.answer
            {
                worked = e.status() == pb::Status::Success;
            }
            None
        })
        .await?;
    require(!worked, || "it worked for an agent that it never registered".into())?;
    // Whether the foreign assignment used up a credit is anybody's guess: begin anew.
    stage.net().cut();
    stage.register(RETURN).await?;
    Ok("an empty message, foreign leases, unknown ids and a foreign agent passed by; the next turn was answered".into())
}

pub(super) async fn refusal_retryable(stage: &mut Stage) -> Verdict {
    stage.policy.ack_answers = false;
    let lease =
        stage.assign(json!({"actions": [], "answer": {"status": "success", "result": {"kept": true}}}));
    let (id, first) = stage.answer(&lease).await?;
    let at = Instant::now();
    stage.refuse(id, &lease, "OVERLOADED", Some(RETRY_AFTER));
    let (came, second) = again(stage, &lease, &first).await?;
    let waited = came - at;
    // Clocks of two processes: a hair early is on time.
    require(waited >= RETRY_AFTER.mul_f64(0.9), || {
        format!("sent again after {waited:?}, retry_after was {RETRY_AFTER:?}")
    })?;
    require(second > id, || format!("sent again under message id {second}, after {id}"))?;
    stage.ack_answer(second, &lease);
    no_more(stage, &lease, "after its Ack").await?;
    Ok(format!(
        "the same answer {} ms later (retry_after {RETRY_AFTER:?}), and not after its Ack",
        waited.as_millis()
    ))
}

pub(super) async fn refusal_final(stage: &mut Stage) -> Verdict {
    stage.policy.ack_answers = false;
    let script = json!({"actions": [], "answer": {"status": "success", "result": 1}});
    let mut leases = Vec::new();
    // One after the other: two at once may be answered in either order.
    for reason in ["LEASE_NOT_LIVE", "ALREADY_ANSWERED"] {
        let lease = stage.assign(script.clone());
        let (id, _) = stage.answer(&lease).await?;
        stage.settle_lease(&lease);
        stage.refuse(id, &lease, reason, None);
        leases.push(lease);
    }
    let again = |seen: &Seen| {
        matches!(&seen.event, Event::Complete(_, c) if leases.contains(&c.lease))
            .then(|| "an answer came although it was refused for good".into())
    };
    stage.watch(WATCH, again).await?;
    stage.net().cut();
    let held = stage.register(RETURN).await?.held_leases;
    require(held.is_empty(), || format!("after the refusals it still holds {held:?}"))?;
    stage.watch(WATCH, again).await?;
    stage.settle().await?;
    Ok("two dropped: not sent again, not even after a reconnect, and their slots are free".into())
}

/// The lease lives on, and heartbeats would keep it alive for ever: the worker must answer something else, but not for ever.
pub(super) async fn refusal_invalid(stage: &mut Stage) -> Verdict {
    stage.policy.ack_answers = false;
    let script = json!({"actions": [{"usage": {"input_tokens": 6, "output_tokens": 1}}],
                        "answer": {"status": "success", "result": {"too": "much"}}});
    let lease = stage.assign(script.clone());
    let id = replaced(stage, &lease).await?;
    stage.ack_answer(id, &lease);
    no_more(stage, &lease, "after the Ack of the one in its place").await?;
    stage.settle().await?;
    let lease = stage.assign(script);
    let id = replaced(stage, &lease).await?;
    stage.settle_lease(&lease);
    stage.refuse(id, &lease, "INVALID_MESSAGE", None);
    no_more(stage, &lease, "although the one in its place was refused as well").await?;
    stage.settle().await?;
    Ok("FAILED with the reason and the usage in its place; that one refused as well: given up, the slot is free".into())
}

/// Refuses the answer under the lease as invalid and waits for the one in its place; gives that one's message id.
async fn replaced(stage: &mut Stage, lease: &str) -> Result<i64, Failure> {
    let (first, _) = stage.answer(lease).await?;
    stage.refuse(first, lease, "INVALID_MESSAGE", None);
    let (id, complete) = stage.answer(lease).await?;
    let Some(pb::complete::Answer::Envelope(envelope)) = complete.answer else {
        return Err(Failure(format!("in its place came {}", kind(complete.answer.as_ref()))));
    };
    let reason = &envelope.reason;
    require(envelope.status() == pb::Status::Failed && !envelope.retryable, || {
        format!("in its place came {:?}, retryable {}", envelope.status(), envelope.retryable)
    })?;
    require(
        reason.starts_with("the server refused the answer: ") && reason.contains("INVALID_MESSAGE"),
        || format!("the reason in its place is {reason:?}"),
    )?;
    let used = envelope.usage.as_ref().map(|u| (u.input_tokens, u.output_tokens));
    require(used == Some((6, 1)), || format!("the usage in its place is {used:?}, not (6, 1)"))?;
    Ok(id)
}

pub(super) async fn resend(stage: &mut Stage) -> Verdict {
    stage.calm().await?;
    stage.policy.ack_answers = false;
    let script = json!({"actions": [{"usage": {"input_tokens": 8, "output_tokens": 2}}],
                        "answer": {"status": "success", "result": {"precious": [1, 2, 3]}}});
    let lease = stage.assign(script);
    let (_, first) = stage.answer(&lease).await?;
    stage.net().cut();
    let held = stage.register(RETURN).await?.held_leases;
    require(held.contains(&lease), || {
        format!("held_leases {held:?} does not claim the unacknowledged answer")
    })?;
    let (_, id) = again(stage, &lease, &first).await?;
    stage.ack_answer(id, &lease);
    no_more(stage, &lease, "after its Ack").await?;
    stage.net().cut();
    let held = stage.register(RETURN).await?.held_leases;
    require(held.is_empty(), || format!("after the Ack it still holds {held:?}"))?;
    no_more(stage, &lease, "after its Ack and a reconnect").await?;
    stage.settle().await?;
    Ok("claimed and sent again, the same, after a cut before its Ack; forgotten after it".into())
}
