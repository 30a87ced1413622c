//! Two agents hand the task back and forth: stopped at the hop cap, and the owner concludes with what there is.

use serde_json::json;

use super::Scene;
use crate::{
    cli::{Failure, client::Client},
    console::{
        text::{clip, value},
        words,
    },
    demo::{crew::Role, processes::Crew, show::Show, stage::Stage, task},
    pb,
};

/// The hop cap of the contract.
const HOPS: i32 = 6;

pub(in crate::demo) async fn play(
    stage: &Stage,
    client: &Client,
    crew: &mut Crew,
    show: &mut Show<'_>,
    number: usize,
) -> Result<Scene, Failure> {
    let mut scene = Scene::begin(
        show,
        number,
        "two agents hand the task back and forth",
        "stopped at the cap of 6 hops; the owner concludes with what there is",
    )?;
    let started = [crew.start_role(Role::Ping)?, crew.start_role(Role::Pong)?];
    stage.wait_for(client, crew, show, &started).await?;
    let input = json!({"summary": stage.summary});
    let mut contract = task::contract("Make the audit's summary better.", "ping", &input, 50_000);
    if let Some(limits) = &mut contract.limits {
        limits.max_hops = Some(HOPS);
    }
    let watched = task::submit(client, show, contract).await?;
    scene.task_id.clone_from(&watched.id);
    let done = watched.finish(client, show).await?;
    let outcome = done.outcome();
    let hops = &done.record.hops;
    let trip = done.record.trips.first();
    let way: Vec<&str> = hops.iter().map(|(_, to)| to.as_str()).collect();
    scene.tell(format!("{} hops were made: ping > {}", hops.len(), way.join(" > ")));
    if let Some(trip) = trip {
        scene.tell(format!("guard {}: {}", words::cause(trip.cause), clip(&trip.evidence, 200)));
    }
    scene.tell(format!(
        "{} by {}: {}",
        words::state(outcome.state),
        words::small(&words::ended_by(outcome.ended_by)),
        value(outcome.result.as_ref(), 200)
    ));
    scene.figure("hops", hops.len());
    let cap = usize::try_from(HOPS).unwrap_or(0);
    scene.check("exactly as many hops as the cap allows", hops.len() == cap && done.counters().hops == HOPS);
    scene.check("the hop guard tripped", trip.is_some_and(|trip| trip.cause() == pb::Cause::Hops));
    scene.check(
        "the owner ended it PARTIAL, cause HOPS",
        done.state() == pb::TaskState::Partial
            && outcome.ended_by() == pb::EndedBy::Owner
            && outcome.cause() == pb::Cause::Hops,
    );
    scene.check("what there is was kept", outcome.result.is_some());
    for agent in ["ping", "pong"] {
        crew.end(Some(agent)).await;
    }
    Ok(scene)
}
