//! `bailiwick demo`: a crew of separate worker processes audits a folder under one contract, over real gRPC; then four
//! scenes show what happens when agents misbehave. Nothing here decides about a task, and no figure is printed that was not
//! measured: expectations are fixed, results come from the journal.
//!
//! `crew` is the worker side (`bailiwick crew ROLE`), `guard` ends other languages' workers, everything else is the client's: `processes` starts and ends them,
//! `languages` finds those of other languages, `task` submits and watches, `record` sums events up by itself, `show`
//! speaks, `audit` and `scenes` are what is shown.

mod audit;
mod budget;
pub mod crew;
mod files;
mod finding;
pub mod guard;
mod ignored;
mod languages;
mod processes;
mod record;
mod scenes;
mod server;
mod show;
mod stage;
mod task;

use std::{path::PathBuf, time::Duration};

use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use self::{
    audit::Report,
    crew::Role,
    languages::{Ready, Skipped},
    processes::Crew,
    scenes::Scene,
    server::Place,
    show::Show,
    stage::Stage,
    task::Done,
};
use crate::{
    app::Running,
    cli::{
        Exit, Failure,
        client::{Client, Remote},
        terminal::Terminal,
    },
    console::{Tone, text},
    pb,
};

pub use self::languages::Language;

/// How long one call of the demo's own client may take.
const CALL: Duration = Duration::from_secs(30);
/// Where traces go, if anywhere.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// What to run.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// The folder to audit.
    pub dir: PathBuf,
    /// Whether the four scenes are played after the audit.
    pub scenes: bool,
    /// Whether the report is JSON on stdout.
    pub json: bool,
    /// Whether nobody is to be asked: the demo answers its own question.
    pub yes: bool,
    /// Whether the server stays, for the user to look around, until Ctrl-C.
    pub keep: bool,
    /// The languages of the crew; Rust always takes part.
    pub languages: Vec<Language>,
    /// Where the workers of other languages are; looked for where it is not said.
    pub workers: Option<PathBuf>,
    /// How long the set-up of one of them may take.
    pub setup_limit: Duration,
}

/// Runs the demo. `Exit::Ok` only where the audit SUCCEEDED and every scene showed what it should.
///
/// # Errors
/// When it could not be run, or was interrupted.
pub async fn run(options: DemoOptions, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let usage = |text: String| Failure::new(Exit::Usage, text);
    let root = options.dir.canonicalize().ok().filter(|dir| dir.is_dir());
    let root = root.ok_or_else(|| usage(format!("{} is no folder", options.dir.display())))?;
    let folder = root.clone();
    let listing = tokio::task::spawn_blocking(move || files::list(&folder)).await;
    let listing = listing.map_err(|error| Failure::from(error.to_string()))?;
    if listing.files.is_empty() {
        return Err(usage(format!("{} holds no text file: name a folder that does", root.display())));
    }
    let place = Place::new()?;
    let server = server::start(&place.data).await?;
    let addr = server.local_addr();
    let mut crew = Crew::new(addr, place.logs.clone());
    let stage = Stage {
        root,
        listing,
        addr,
        summary: String::new(),
        task: String::new(),
        yes: options.yes,
        me: stage::called(),
    };
    let mut show = Show::new(terminal, options.json);
    let ended = tokio::select! {
        ended = play(&options, stage, &place, &mut crew, &mut show) => ended,
        () = interrupted() => Err(Failure::new(Exit::Error, "interrupted; everything the demo started was ended")),
    };
    if options.keep && ended.is_ok() {
        show.progress("waiting for Ctrl-C");
        interrupted().await;
    }
    show.progress_done();
    take_down(crew, server).await;
    ended
}

/// Ends every process, then the server.
async fn take_down(mut crew: Crew, server: Running) {
    crew.end(None).await;
    server.shutdown().await;
}

/// Waits for a signal that asks the demo to stop.
async fn interrupted() {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

async fn play(
    options: &DemoOptions,
    mut stage: Stage,
    place: &Place,
    crew: &mut Crew,
    show: &mut Show<'_>,
) -> Result<Exit, Failure> {
    let started = Instant::now();
    let remote = Remote { addr: stage.addr.to_string(), timeout: CALL, json: options.json };
    let client = Client::connect(&remote, show.terminal()).await?;
    show.say(format!("bailiwick demo: an audit of {}", stage.root.display()))?;
    show.say(format!(
        "  server      {} (real, on loopback; its record is {})",
        stage.addr,
        place.data.display()
    ))?;
    let (specialists, skipped) = gather(options, &stage, &client, crew, show).await?;

    show.heading("the audit")?;
    let done = audit::run(&client, show, &stage.root, &stage.listing, &specialists).await?;
    let report = Report::of(&done);
    stage.summary.clone_from(&report.summary);
    done.id().clone_into(&mut stage.task);
    conclude(&report, &done, crew, show)?;
    where_to_look(&stage, &done, show)?;

    let played = if options.scenes { play_scenes(&stage, &client, crew, show).await? } else { Vec::new() };
    let succeeded = done.state() == pb::TaskState::Succeeded;
    let holds = succeeded && played.iter().all(Scene::holds);
    verdict(options, succeeded, &played, &skipped, started, show)?;
    if options.json {
        let scenes: Vec<Value> = played.iter().map(Scene::json).collect();
        let skipped: Vec<Value> = skipped
            .iter()
            .map(|one| json!({"language": one.language.title(), "reason": one.reason}))
            .collect();
        let report = json!({
            "ok": holds, "dir": stage.root, "addr": stage.addr.to_string(), "database": place.data,
            "seconds": started.elapsed().as_secs_f64(), "skipped": skipped,
            "audit": audit::json_of(&done, crew), "scenes": scenes,
        });
        show.terminal().line(report)?;
    }
    afterwards(options, &stage, place, show)?;
    Ok(if holds { Exit::Ok } else { Exit::Error })
}

/// Starts the crew: the roles of this binary, and the specialists of other languages that can be set up. Gives the names of
/// the specialists that are there.
async fn gather(
    options: &DemoOptions,
    stage: &Stage,
    client: &Client,
    crew: &mut Crew,
    show: &mut Show<'_>,
) -> Result<(Vec<String>, Vec<Skipped>), Failure> {
    let own = [Role::Planner, Role::Reviewer, Role::Lead, Role::Structure, Role::Unfinished];
    let ids = own.iter().map(|role| crew.start_role(*role)).collect::<Result<Vec<_>, _>>()?;
    show.say("  Rust        built in: planner, reviewer, lead, structure, unfinished")?;
    let workers = options.workers.as_deref();
    let (ready, mut skipped) =
        languages::set_up(&options.languages, workers, options.setup_limit, show).await?;
    stage.wait_for(client, crew, show, &ids).await?;
    let mut specialists = vec![Role::Structure.agent().to_owned(), Role::Unfinished.agent().to_owned()];
    let mut started = Vec::new();
    for Ready { language, script } in ready {
        match crew.start_script(&script, language.agent(), language.title()) {
            Ok(id) => started.push((id, language)),
            Err(failure) => skipped.push(Skipped { language, reason: failure.message }),
        }
    }
    let ids: Vec<String> = started.iter().map(|(id, _)| id.clone()).collect();
    let missing = stage::missing(client, crew, show, &ids).await?;
    for (id, language) in started {
        if missing.contains(&id) {
            let reason = format!("its worker did not come up: {}", text::clip(&crew.last_words(&id), 200));
            show.say(format!("  {:<11} skipped: {reason}", language.title()))?;
            crew.end(Some(language.agent())).await;
            skipped.push(Skipped { language, reason });
        } else {
            specialists.push(language.agent().to_owned());
        }
    }
    let (members, material) = (crew.members().len(), &stage.listing);
    show.say(format!(
        "  {members} worker processes; {} text files of {} bytes{}",
        text::number(i64::try_from(material.files.len()).unwrap_or(i64::MAX)),
        text::number(i64::try_from(material.bytes).unwrap_or(i64::MAX)),
        if material.cut { ", the first of more: name a smaller folder for the rest" } else { "" }
    ))?;
    Ok((specialists, skipped))
}

/// What the audit came to.
fn conclude(report: &Report, done: &Done, crew: &Crew, show: &Show<'_>) -> Result<(), Failure> {
    show.heading("findings (path:line; look for yourself)")?;
    let look = show.look();
    report.lines(look, crew).into_iter().try_for_each(|line| show.say(format!("  {line}")))?;
    show.say(format!("  {}", text::clip(&report.summary, 300)))?;
    show.heading("outcome")?;
    audit::account(look, done, crew).into_iter().try_for_each(|line| show.say(line))
}

fn where_to_look(stage: &Stage, done: &Done, show: &Show<'_>) -> Result<(), Failure> {
    let (me, addr, id) = (&stage.me, stage.addr, done.id());
    show.heading("where to look next (while the demo runs, in another terminal)")?;
    show.say(format!("  {me} get {id} --addr {addr}"))?;
    show.say(format!("  {me} watch {id} --addr {addr}"))?;
    show.say(format!("  {me} inbox --addr {addr}"))?;
    let trace = text::clean(&done.task.trace_id);
    if std::env::var_os(ENDPOINT).is_some_and(|set| !set.is_empty()) {
        return show
            .say(format!("  Jaeger: http://127.0.0.1:16686/trace/{trace} (if that is where its page is)"));
    }
    show.say(format!(
        "  Jaeger: run it, then the demo with {ENDPOINT}=http://127.0.0.1:4317: a task is one trace"
    ))
}

async fn play_scenes(
    stage: &Stage,
    client: &Client,
    crew: &mut Crew,
    show: &mut Show<'_>,
) -> Result<Vec<Scene>, Failure> {
    let mut played = Vec::new();
    played.push(told(scenes::killed::play(stage, client, crew, show, 1).await?, show)?);
    played.push(told(scenes::hand_offs::play(stage, client, crew, show, 2).await?, show)?);
    played.push(told(scenes::overspent::play(stage, client, crew, show, 3).await?, show)?);
    played.push(told(scenes::person::play(stage, client, show, 4).await?, show)?);
    Ok(played)
}

fn told(scene: Scene, show: &Show<'_>) -> Result<Scene, Failure> {
    scene.end(show)?;
    Ok(scene)
}

/// The last word: what held and what did not.
fn verdict(
    options: &DemoOptions,
    succeeded: bool,
    played: &[Scene],
    skipped: &[Skipped],
    started: Instant,
    show: &Show<'_>,
) -> Result<(), Failure> {
    let look = show.look();
    let word = |holds: bool| if holds { look.paint(Tone::Good, "yes") } else { look.paint(Tone::Bad, "NO ") };
    show.heading("in short")?;
    show.say(format!("  {} the audit succeeded", word(succeeded)))?;
    for scene in played {
        show.say(format!("  {} {}", word(scene.holds()), scene.title))?;
    }
    if !options.scenes {
        show.say("      the scenes were not played")?;
    }
    for Skipped { language, reason } in skipped {
        show.say(format!("      without {}: {}", language.title(), text::clip(reason, 200)))?;
    }
    let millis = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
    show.say(format!("      {} in all", text::span(millis)))
}

/// Where the record is, and where the server, if it stays.
fn afterwards(options: &DemoOptions, stage: &Stage, place: &Place, show: &Show<'_>) -> Result<(), Failure> {
    let (me, data) = (&stage.me, place.data.display());
    if options.keep {
        show.heading("the server stays until Ctrl-C")?;
        show.say(format!("  {me} list --addr {}", stage.addr))?;
        return Ok(());
    }
    show.heading("afterwards")?;
    show.say(format!("  the record stays: {me} serve --data {data}"))?;
    show.say(format!("                    and then: {me} list, {me} get {}", stage.task))?;
    show.say(format!("  the workers' logs: {}", place.logs.display()))
}
