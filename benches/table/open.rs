//! Many open tasks: what one of them takes of the server's memory, whether they make the others dearer, and how long a server
//! that crashed under them takes until it gives the first of them to a worker.

use tokio::runtime::Runtime;

use crate::{
    Bench,
    child::Server,
    contracts::ABSENT,
    echo::connect,
    load::Load,
    overload::thousands,
    quiet::Watch,
    rounds::costs,
    row::{Aim, Row},
    stats::{float, now},
    worker::Session,
};

const KIB: f64 = 1024.0;
/// Open tasks at first.
const FEW: u64 = 1_000;

pub(crate) fn rows(client: &Runtime, bench: &Bench) -> Vec<Row> {
    let (folder, many) = (bench.folder("open"), bench.plan.open);
    let server = Server::start_with(&folder, Some(2 * many));
    let load = client.block_on(async {
        // An agent must have been seen to be submitted to.
        drop(Session::open(connect(&server.uri).await, "once", ABSENT, 1).await);
        Load::start(&server.uri).await
    });
    let watch = Watch::begin(server.pid());
    client.block_on(load.streamed(bench.plan.round / 2));
    client.block_on(load.fill(ABSENT, FEW));
    let few = cost(client, bench, &server, &load, "few");
    let before = server.memory();
    let start = now();
    client.block_on(load.fill(ABSENT, many - FEW));
    bench.say(format!("{} tasks opened in {:.0} s", thousands(many), start.elapsed().as_secs_f64()));
    let memory = (server.memory() - before) / float(many - FEW) / KIB;
    let growth = cost(client, bench, &server, &load, "many") / few;
    let quiet = watch.end().is_quiet();
    server.kill();
    let (restart, assigned) = restarted(client, &folder, many);
    bench.say(format!(
        "restart with {} open: ready after {restart:.1} s, first assignment after {assigned:.1} s",
        thousands(many)
    ));
    let of = format!("{} open tasks", thousands(many));
    vec![
        Row::new("memory", "an open task that waits", " KiB", Some(Aim::at_most(4.0, 1.5)))
            .with(&[(memory, true)])
            .note(format!("of {of}")),
        Row::new("restart", "restart until the first assignment", " s", Some(Aim::at_most(20.0, 5.0)))
            .with(&[(assigned, quiet)])
            .note(format!("{of}; it listens after {restart:.1} s")),
        Row::new(
            "growth",
            "processor time a task, from 1 thousand open tasks to all",
            "x",
            Some(Aim::at_most(1.5, 1.1)),
        )
        .with(&[(growth, quiet)])
        .note(format!("{of}; {few:.0} us a task at 1 thousand")),
    ]
}

/// Processor time a task, in microseconds: less noisy than rates.
fn cost(client: &Runtime, bench: &Bench, server: &Server, load: &Load, name: &str) -> f64 {
    let (rate, processor, _) = client.block_on(costs(server, load, load.streamed(bench.plan.round * 2)));
    bench.say(format!("{name} open tasks: {rate:.0}/s, {processor:.0} us of server processor a task"));
    processor
}

/// Starts a server on a database that another left behind: seconds until it serves, and until a worker has work.
fn restarted(client: &Runtime, folder: &std::path::Path, many: u64) -> (f64, f64) {
    let start = now();
    let server = Server::start_with(folder, Some(2 * many));
    let ready = start.elapsed().as_secs_f64();
    client.block_on(async {
        let mut session = Session::open(connect(&server.uri).await, "after", ABSENT, 1).await;
        session.assignment().await;
    });
    let assigned = start.elapsed().as_secs_f64();
    server.kill();
    (ready, assigned)
}
