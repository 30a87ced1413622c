//! A worker is killed in the middle of its turn: another one of the same agent takes over, and nothing is charged twice.

use serde_json::json;
use tokio::time::Instant;

use super::Scene;
use crate::{
    cli::{Failure, client::Client},
    console::text::{number, plural, span},
    demo::{crew::Role, processes::Crew, record::charged, show::Show, stage::Stage, task, task::Done},
    pb::{self, task_event::Event},
};

/// How long the turn is made to take, in milliseconds.
const TURN: usize = 1_500;
/// Files it is given.
const FILES: usize = 30;

pub(in crate::demo) async fn play(
    stage: &Stage,
    client: &Client,
    crew: &mut Crew,
    show: &mut Show<'_>,
    number_of_scene: usize,
) -> Result<Scene, Failure> {
    let mut scene = Scene::begin(
        show,
        number_of_scene,
        "a worker is killed in the middle of its turn",
        "another worker takes the turn over once the lease has lapsed; no token is charged twice",
    )?;
    let second = crew.start_role(Role::Structure)?;
    stage.wait_for(client, crew, show, &[second]).await?;
    let files: Vec<&String> = stage.listing.files.iter().take(FILES).collect();
    let pace = TURN / files.len().max(1);
    let input = json!({"root": stage.root.to_string_lossy(), "files": files, "pace_ms": pace});
    // Two attempts must fit: the one that vanishes stays charged until it is heard of.
    let tokens = crate::demo::budget::per_turn(&stage.listing, 1) * 8;
    let contract = task::contract("Measure some files while a worker dies.", "structure", &input, tokens);
    let mut watched = task::submit(client, show, contract).await?;
    scene.task_id.clone_from(&watched.id);
    let (mut victim, mut killed_at, mut taken_over) = (String::new(), None, None);
    while let Some(event) = watched.next(show).await? {
        match event.event {
            Some(Event::AttemptStarted(it)) if it.attempt == 1 => victim = it.worker_id,
            Some(Event::AttemptStarted(_)) if taken_over.is_none() => taken_over = Some(Instant::now()),
            Some(Event::UsageRecorded(it)) if it.attempt == 1 && killed_at.is_none() => {
                let pid = crew.kill(&victim).await;
                killed_at = Some(Instant::now());
                let pid = pid.map_or_else(|| "no process".to_owned(), |pid| format!("process {pid}"));
                scene.tell(format!("{victim} ({pid}) was killed (SIGKILL) in its turn"));
            }
            _ => {}
        }
    }
    let done = watched.finish(client, show).await?;
    if let (Some(killed), Some(taken)) = (killed_at, taken_over) {
        let millis = i64::try_from((taken - killed).as_millis()).unwrap_or(i64::MAX);
        let successor = done.record.attempts.values().last().map(|attempt| attempt.worker.as_str());
        let successor = successor.unwrap_or_default();
        scene.tell(format!("{successor} had the turn {} after the kill and answered it", span(millis)));
        scene.figure("takeover_ms", millis);
    }
    scene.check("the worker was killed while it had the turn", killed_at.is_some());
    conclude(&mut scene, &done);
    Ok(scene)
}

/// Judges by what the record says.
fn conclude(scene: &mut Scene, done: &Done) {
    let attempts: Vec<_> = done.record.attempts.values().collect();
    let (spent, ledger) = (charged(&done.ledger()), done.ledger());
    let parts: Vec<String> = attempts.iter().map(|attempt| number(attempt.tokens)).collect();
    scene.tell(format!(
        "tokens (est.) by attempt: {}; charged in all: {}; still held for the attempt that vanished: {}",
        parts.join(" + "),
        plural(spent, "token"),
        number(ledger.unheard_tokens)
    ));
    scene.figure("charged_tokens", spent);
    let lapsed = pb::AttemptEnd::LeaseExpired as i32;
    scene.check("its lease lapsed", attempts.first().is_some_and(|attempt| attempt.ended == Some(lapsed)));
    scene.check(
        "another worker answered the same turn",
        matches!(&attempts[..], [first, .., last] if last.answered && first.worker != last.worker),
    );
    scene.check("the task SUCCEEDED", done.state() == pb::TaskState::Succeeded);
    scene.check("every attempt is charged once", spent == done.record.tokens());
}
