//! Cases about the session: registering, credit, heartbeats, backoff, drains.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::{
    conformance::{
        child::CONCURRENCY,
        stage::{Event, Failure, HEARTBEAT, LEASE_TIME, PATIENCE, RETURN, Seen, Stage, Verdict, require},
    },
    pb::{self, session_response::Message as Down},
};

/// How long a worker must stay silent before Registered.
const SILENCE: Duration = Duration::from_millis(400);
/// How long a handler works while its heartbeats are counted.
const WORK: Duration = Duration::from_millis(2_400);
/// How long sessions are refused while the tries are counted.
const REFUSING: Duration = Duration::from_secs(2);
/// The most tries in that time: 0.1 s doubling makes five, full jitter some more; a loop without backoff makes dozens.
const MOST_TRIES: usize = 12;
/// How much longer than the shortest the longest wait must be at least; 0.1 s doubling makes it 8 times.
const GROWTH: u128 = 2;
/// Within this time a worker that begins again at 0.1 s is back, on a slow machine as well.
const SOON: Duration = Duration::from_millis(1_200);

pub(super) async fn register(stage: &mut Stage) -> Verdict {
    stage.policy.answer_register = false;
    let limit = stage.start_limit();
    let waited = stage.register(limit).await;
    let register = waited.map_err(|Failure(what)| Failure(format!("{what}; {}", stage.last_words())))?;
    stage
        .watch(SILENCE, |seen| match &seen.event {
            Event::Opened => None,
            other => Some(format!("before Registered the worker must be silent, and this came: {other:?}")),
        })
        .await?;
    let held = &register.held_leases;
    require(held.is_empty(), || format!("a worker that has just started holds no leases, not {held:?}"))?;
    stage.answer_register(&[]);
    stage.wait("give credit", PATIENCE, |seen| matches!(seen.event, Event::Credit(_)).then_some(())).await?;
    let agents: Vec<&str> = register.agents.iter().map(|a| a.name.as_str()).collect();
    Ok(format!("worker {:?} serves {agents:?}, {} at once", register.worker_id, register.max_concurrency))
}

pub(super) async fn credit(stage: &mut Stage) -> Verdict {
    stage.policy.ack_answers = false;
    let script = json!({"actions": [{"sleep_ms": 300}]});
    let leases: Vec<String> = (0..CONCURRENCY).map(|_| stage.assign(script.clone())).collect();
    let mut answers = Vec::new();
    let mut early = 0;
    stage
        .wait("answer all assignments", PATIENCE, |seen| {
            match &seen.event {
                Event::Credit(slots) => early += slots,
                Event::Complete(id, complete) => answers.push((*id, complete.lease.clone())),
                _ => {}
            }
            leases.iter().all(|lease| answers.iter().any(|(_, l)| l == lease)).then_some(())
        })
        .await?;
    require(early == 0, || format!("{early} slots were given before any answer was acknowledged"))?;
    stage
        .watch(HEARTBEAT, |seen| {
            matches!(seen.event, Event::Credit(_))
                .then(|| "credit was given before the Ack of the answers".into())
        })
        .await?;
    for (id, lease) in answers {
        stage.ack_answer(id, &lease);
    }
    stage.settle().await?;
    Ok(format!(
        "{CONCURRENCY} slots at first, none until the Acks of {CONCURRENCY} answers, {CONCURRENCY} afterwards"
    ))
}

pub(super) async fn concurrency(stage: &mut Stage) -> Verdict {
    let count = 2 * CONCURRENCY;
    let script = json!({"actions": [{"progress": {"text": "started"}}, {"sleep_ms": 300}]});
    let leases: Vec<String> = (0..count).map(|_| stage.assign(script.clone())).collect();
    let (mut running, mut most, mut answered) = (0, 0, 0);
    stage
        .wait("answer every assignment, those it was not asked for included", PATIENCE, |seen| {
            match &seen.event {
                Event::Progress(p) if leases.contains(&p.lease) => running += 1,
                Event::Complete(_, complete) if leases.contains(&complete.lease) => {
                    answered += 1;
                    // One that was turned away (FAILED, retryable) never started.
                    running -= i32::from(!turned_away(complete));
                }
                _ => {}
            }
            most = most.max(running);
            (answered == count).then_some(())
        })
        .await?;
    require(most <= CONCURRENCY, || format!("{most} attempts ran at once, {CONCURRENCY} are allowed"))?;
    // No honest server sends more than it was asked for; what the credit is now worth is anybody's guess.
    stage.net().cut();
    stage.register(RETURN).await?;
    Ok(format!("of {count} assignments sent at once at most {most} ran together, and all were answered"))
}

fn turned_away(complete: &pb::Complete) -> bool {
    matches!(&complete.answer, Some(pb::complete::Answer::Envelope(e)) if e.retryable)
}

pub(super) async fn heartbeat(stage: &mut Stage) -> Verdict {
    let lease = stage.assign(json!({"actions": [{"sleep_ms": WORK.as_millis() as u64}]}));
    let (mut last, mut longest, mut beats) = (Instant::now(), Duration::ZERO, 0_u32);
    let began = last;
    let answered = stage
        .wait("send Complete", PATIENCE, |seen| {
            longest = longest.max(seen.at - last);
            last = seen.at;
            match &seen.event {
                Event::Heartbeat => beats += 1,
                Event::Complete(_, complete) if complete.lease == lease => return Some(()),
                _ => {}
            }
            None
        })
        .await;
    if stage.has_ended() {
        answered?;
        return Err(Failure("the worker ended".into()));
    }
    // Silence comes first: a worker without heartbeats loses its lease, and an answer is not to be had from it either.
    let longest = longest.max(last.elapsed());
    let so = |what: String| match &answered {
        Ok(()) => what,
        Err(Failure(missing)) => format!("{what}; also: {missing}"),
    };
    let due = WORK.as_millis() / HEARTBEAT.as_millis();
    require(u128::from(beats) >= due / 2, || {
        let span = began.elapsed().as_secs_f64();
        so(format!(
            "{beats} heartbeats in {span:.1} s, about {due} were due in {:.1} s of work",
            WORK.as_secs_f64()
        ))
    })?;
    require(longest < LEASE_TIME, || {
        so(format!(
            "nothing came for {:.1} s: longer than the lease time ({LEASE_TIME:?})",
            longest.as_secs_f64()
        ))
    })?;
    answered?;
    Ok(format!(
        "{beats} heartbeats in {:.1} s of work (every {HEARTBEAT:?} was asked), longest silence {} ms",
        WORK.as_secs_f64(),
        longest.as_millis()
    ))
}

pub(super) async fn backoff(stage: &mut Stage) -> Verdict {
    stage.calm().await?;
    stage.policy.refuse_sessions = true;
    stage.end_session(tonic::Status::unavailable("the server restarts"));
    let ended = Instant::now();
    let mut tries = Vec::new();
    let opened = |seen: &Seen| {
        if matches!(seen.event, Event::Opened) {
            tries.push(seen.at);
        }
        None
    };
    stage.watch(REFUSING, opened).await?;
    require(tries.len() >= 2, || format!("only {} tries within {REFUSING:?}", tries.len()))?;
    require(tries.len() <= MOST_TRIES, || {
        format!("{} tries within {REFUSING:?}: that is no exponential backoff from 0.1 s", tries.len())
    })?;
    // The first wait is short, the later ones double: the longest is a multiple of the shortest, however they are spread.
    let points: Vec<Instant> = std::iter::once(ended).chain(tries.iter().copied()).collect();
    let waits: Vec<u128> = points.windows(2).map(|w| (w[1] - w[0]).as_millis()).collect();
    let under_way = points.last().map_or(0, |last| last.elapsed().as_millis());
    let shortest = waits.iter().copied().min().unwrap_or(0);
    let longest = waits.iter().copied().max().unwrap_or(0).max(under_way);
    require(longest >= GROWTH * shortest, || {
        format!("waits of {waits:?} ms, and then {under_way} ms: they do not grow")
    })?;
    stage.policy.refuse_sessions = false;
    stage.register(RETURN).await?;
    Ok(format!("{} refused tries with waits of {waits:?} ms, then a session", tries.len()))
}

/// Lets the waits grow, gives one session that lasts, and looks at how soon the worker is back after it.
pub(super) async fn backoff_restart(stage: &mut Stage) -> Verdict {
    stage.calm().await?;
    stage.policy.refuse_sessions = true;
    stage.end_session(tonic::Status::unavailable("the server restarts"));
    stage.watch(REFUSING, |_| None).await?;
    stage.policy.refuse_sessions = false;
    stage.register(RETURN).await?;
    let mut waits = Vec::new();
    for _ in 0..2 {
        stage.calm().await?;
        stage.end_session(tonic::Status::unavailable("the server restarts"));
        let ended = Instant::now();
        let back = stage
            .wait("come back", RETURN, |seen| matches!(seen.event, Event::Opened).then_some(seen.at))
            .await?;
        waits.push((back - ended).as_millis());
        stage.register(RETURN).await?;
    }
    require(waits.iter().all(|w| *w <= SOON.as_millis()), || {
        format!(
            "after sessions that lasted it came back after {waits:?} ms: the waits did not begin again at 0.1 s"
        )
    })?;
    stage.settle().await?;
    Ok(format!("back {waits:?} ms after the ends of two sessions that lasted"))
}

pub(super) async fn server_drain(stage: &mut Stage) -> Verdict {
    let lease = stage.assign(json!({"actions": [{"progress": {"text": "started"}}, {"sleep_ms": 500}]}));
    stage.progress(&lease, "started").await?;
    stage.say(Down::Drain(pb::Drain::default()));
    stage
        .wait("finish its turn", PATIENCE, |seen| {
            matches!(&seen.event, Event::Complete(_, c) if c.lease == lease).then_some(())
        })
        .await?;
    stage
        .watch(2 * HEARTBEAT, |seen| {
            matches!(seen.event, Event::Credit(_))
                .then(|| "credit was given although the server drains".into())
        })
        .await?;
    stage.end_session(tonic::Status::unavailable("the server shuts down"));
    stage.register(RETURN).await?;
    stage.settle().await?;
    Ok("the turn was finished, no credit followed; back with full credit after the session had ended".into())
}

pub(super) async fn sigterm(stage: &mut Stage) -> Verdict {
    stage.policy.ack_answers = false;
    let lease = stage.assign(json!({"actions": [{"progress": {"text": "started"}}, {"sleep_ms": 700}]}));
    stage.progress(&lease, "started").await?;
    stage.terminate()?;
    let mut drained = false;
    let id = stage
        .wait("finish its turn after SIGTERM", PATIENCE, |seen| match &seen.event {
            Event::Drain => {
                drained = true;
                None
            }
            Event::Complete(id, complete) if complete.lease == lease => Some(*id),
            _ => None,
        })
        .await?;
    require(drained, || "no Drain was sent on SIGTERM".into())?;
    stage
        .watch(Duration::from_millis(600), |seen| {
            matches!(seen.event, Event::Exited(_) | Event::Ended)
                .then(|| "the worker left before its answer was acknowledged".into())
        })
        .await?;
    stage.ack_answer(id, &lease);
    let exit = stage
        .wait("exit", PATIENCE, |seen| match seen.event {
            Event::Exited(exit) => Some(exit),
            _ => None,
        })
        .await?;
    require(exit.is_clean(), || format!("it ended with {exit}, not with exit code 0"))?;
    Ok("Drain at once, the turn finished, still there until the Ack, then exit code 0".into())
}
