//! An answer of low confidence waits for a person: the demo says what to type, waits a while where somebody watches, and
//! otherwise approves by itself, over the same call, and says so.

use std::{
    io::{BufRead as _, IsTerminal as _},
    time::Duration,
};

use prost_types::Duration as WireDuration;
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};

use super::Scene;
use crate::{
    cli::{Exit, Failure, client::Client},
    console::{text::clip, words},
    demo::{budget, show::Show, stage::Stage, task},
    pb::{self, task_event::Event},
};

/// More than the agent's honest confidence of 0.9.
const MIN_CONFIDENCE: f64 = 0.95;
/// How long somebody who watches is waited for.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long the question itself stays open, in seconds.
const OPEN: i64 = 600;
/// Who the demo answers as.
const NOBODY: &str = "demo-without-a-person";

/// What the person at the demo's own terminal did.
enum Typed {
    Approve,
    Abort,
}

pub(in crate::demo) async fn play(
    stage: &Stage,
    client: &Client,
    show: &mut Show<'_>,
    number: usize,
) -> Result<Scene, Failure> {
    let mut scene = Scene::begin(
        show,
        number,
        "an answer of low confidence waits for a person",
        "the gate asks for 0.95, the agent honestly says 0.90: nothing ends before a person has answered",
    )?;
    let input = json!({"root": stage.root.to_string_lossy(), "files": stage.listing.files});
    let tokens = budget::per_turn(&stage.listing, 1) * 5;
    let mut contract =
        task::contract("Find unfinished work, and be sure of it.", "unfinished", &input, tokens);
    if let Some(gate) = &mut contract.gate {
        gate.min_confidence = MIN_CONFIDENCE;
    }
    contract.escalation = Some(pb::EscalationPolicy {
        timeout: Some(WireDuration { seconds: OPEN, nanos: 0 }),
        max_escalations: Some(1),
        ..pb::EscalationPolicy::default()
    });
    let mut watched = task::submit(client, show, contract).await?;
    scene.task_id.clone_from(&watched.id);
    let mut question = None;
    while question.is_none() {
        match watched.next(show).await? {
            Some(pb::TaskEvent { event: Some(Event::Escalated(it)), .. }) => question = it.escalation,
            Some(_) => {}
            None => break,
        }
    }
    let Some(question) = question else {
        scene.check("a person was asked", false);
        return Ok(scene);
    };
    let (me, id) = (&stage.me, question.escalation_id.clone());
    watched.pause(show)?;
    show.say(format!("  the question: {}", clip(&question.question, 200)))?;
    show.say(format!("  to answer, in another terminal: {me} approve {id} --addr {}", stage.addr))?;
    show.say(format!("                              or: {me} abort {id} --addr {}", stage.addr))?;
    let asked = Instant::now();
    let waiting = task::get(client, show, &scene.task_id).await?.summary.unwrap_or_default();
    scene.check("the task waits, AWAITING_HUMAN", waiting.state() == pb::TaskState::AwaitingHuman);
    let watches = !stage.yes && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let by = if watches { wait(client, &mut watched, show, &id).await? } else { None };
    if by.is_none() {
        let why = if watches { "nobody has answered" } else { "nobody watches" };
        show.say(format!("  {why}: the demo itself approves now, over the same call, as {NOBODY:?}"))?;
        match answer(client, show, &id, pb::Answer::Approve, NOBODY).await {
            // Somebody was quicker in the last moment.
            Err(failure) if failure.exit == Exit::Conflict => {}
            done => done?,
        }
    }
    let waited = asked.elapsed();
    let done = watched.finish(client, show).await?;
    conclude(&mut scene, &done, &question, waited);
    Ok(scene)
}

fn conclude(scene: &mut Scene, done: &task::Done, question: &pb::Escalation, waited: Duration) {
    let outcome = done.outcome();
    let confidence = question.confidence.unwrap_or_default();
    scene.tell(format!("the answer had confidence {confidence:.2}; it was not let through"));
    scene.tell(format!(
        "{} by {} after {:.1}s of waiting: {}",
        words::state(outcome.state),
        words::small(&words::ended_by(outcome.ended_by)),
        waited.as_secs_f64(),
        clip(&outcome.reason, 200)
    ));
    scene.figure("confidence", confidence);
    scene.figure("escalation_id", question.escalation_id.as_str());
    scene.check("a person was asked, with the answer as the candidate", question.candidate.is_some());
    scene.check("the confidence was below what the gate asks for", confidence < MIN_CONFIDENCE);
    scene.check("only the answer to the question ended it", outcome.ended_by() == pb::EndedBy::Human);
    let by_answer = match done.state() {
        pb::TaskState::Succeeded => outcome.cause() == pb::Cause::Completed,
        pb::TaskState::Failed => outcome.cause() == pb::Cause::GateRejected,
        _ => false,
    };
    scene.check("the outcome is what was answered", by_answer);
}

/// Waits for an answer: typed here, given in another terminal, or none within the patience. Who answered, if anybody.
async fn wait(
    client: &Client,
    watched: &mut task::Watched,
    show: &mut Show<'_>,
    id: &str,
) -> Result<Option<String>, Failure> {
    show.say(format!(
        "  or here: a and Enter approves, x and Enter aborts; waiting {}s",
        PATIENCE.as_secs()
    ))?;
    let mut keys = keys();
    let mut open = true;
    let until = Instant::now() + PATIENCE;
    loop {
        tokio::select! {
            typed = keys.recv(), if open => {
                let choice = match typed {
                    Some(Typed::Approve) => pb::Answer::Approve,
                    Some(Typed::Abort) => pb::Answer::Abort,
                    // Nothing can be typed here any more; in another terminal it still can.
                    None => {
                        open = false;
                        continue;
                    }
                };
                let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
                let user = user.unwrap_or_else(|| "person".to_owned());
                // Somebody else may have been quicker: then the event says so.
                if let Err(failure) = answer(client, show, id, choice, &user).await {
                    show.say(format!("  {}", failure.message))?;
                }
            }
            event = watched.next(show) => match event? {
                Some(pb::TaskEvent { event: Some(Event::EscalationEnded(it)), .. }) => {
                    return Ok(Some(it.answered_by));
                }
                Some(_) => {}
                None => return Ok(Some(String::new())),
            },
            () = tokio::time::sleep_until(until) => return Ok(None),
        }
    }
}

/// What is typed at this terminal. A thread of its own, which ends with the process: a read cannot be called off.
fn keys() -> mpsc::Receiver<Typed> {
    let (send, receive) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            let typed = match line.trim() {
                "a" | "approve" => Typed::Approve,
                "x" | "abort" => Typed::Abort,
                _ => continue,
            };
            if send.blocking_send(typed).is_err() {
                return;
            }
        }
    });
    receive
}

async fn answer(
    client: &Client,
    show: &Show<'_>,
    id: &str,
    answer: pb::Answer,
    by: &str,
) -> Result<(), Failure> {
    let request = pb::AnswerEscalationRequest {
        escalation_id: id.to_owned(),
        answer: answer.into(),
        answered_by: by.to_owned(),
        ..pb::AnswerEscalationRequest::default()
    };
    client.ask(show.terminal(), client.operator.clone().answer_escalation(request)).await.map(|_| ())
}
