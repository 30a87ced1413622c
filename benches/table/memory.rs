//! What an idle worker on a connection of its own takes of the server's memory, beyond an open stream of raw tonic's; and the
//! server under ten thousand workers.

use std::time::Duration;

use tokio::runtime::Runtime;

use crate::{
    Bench,
    child::Server,
    contracts::ANSWERS,
    echo::{OpenStream, connect},
    load::Load,
    quiet::Watch,
    row::{Aim, Row},
    stats::float,
    worker::{Kind, Session},
};

const KIB: f64 = 1024.0;
/// How long memory may settle before it is looked at.
const SETTLE: Duration = Duration::from_millis(500);
/// Connections that are opened at once.
const AT_ONCE: usize = 64;

/// The memory of an idle worker.
pub(crate) fn idle(client: &Runtime, bench: &Bench) -> Vec<Row> {
    let count = bench.plan.idle;
    let watch = Watch::begin(0);
    let raw = each(client, bench, "raw", count, |server| {
        let uri = server.echo.clone();
        move |_| {
            let uri = uri.clone();
            async move { OpenStream::open(&uri).await }
        }
    });
    let worker = each(client, bench, "idle", count, |server| {
        let uri = server.uri.clone();
        move |index| {
            let uri = uri.clone();
            async move { Session::open(connect(&uri).await, &format!("idle-{index}"), ANSWERS, 8).await.idle() }
        }
    });
    watch.end();
    let note =
        format!("{worker:.1} KiB against {raw:.1} KiB of an open stream of raw tonic's; {count} of each");
    bench.say(format!("idle worker: {note}"));
    // Memory is what it is, whoever else is busy.
    let row = Row::new(
        "memory",
        "idle worker on its own connection, over raw tonic's",
        " KiB",
        Some(Aim::at_most(16.0, 4.0)),
    );
    vec![row.with(&[(worker - raw, true)]).note(note)]
}

/// What one of `count` things takes of a fresh server, in KiB.
fn each<T: Send + 'static, F: Future<Output = T> + Send + 'static, O: Fn(usize) -> F>(
    client: &Runtime,
    bench: &Bench,
    name: &str,
    count: usize,
    opener: impl FnOnce(&Server) -> O,
) -> f64 {
    let server = Server::start(&bench.folder(name));
    let open = opener(&server);
    let figure = client.block_on(async {
        // The first few warm what all share.
        let mut kept = opened(0..AT_ONCE, &open).await;
        tokio::time::sleep(SETTLE).await;
        let before = server.memory();
        kept.extend(opened(AT_ONCE..AT_ONCE + count, &open).await);
        tokio::time::sleep(SETTLE).await;
        (server.memory() - before) / float(count as u64) / KIB
    });
    server.kill();
    figure
}

/// Opens them, some at a time.
async fn opened<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    range: std::ops::Range<usize>,
    open: &impl Fn(usize) -> F,
) -> Vec<T> {
    let mut kept = Vec::new();
    let all: Vec<_> = range.collect();
    for some in all.chunks(AT_ONCE) {
        let opening: Vec<_> = some.iter().map(|index| tokio::spawn(open(*index))).collect();
        for one in opening {
            kept.push(one.await.expect("it opens"));
        }
    }
    kept
}

/// Ten thousand workers, all with credit, on as many connections as files may be open; then load.
pub(crate) fn crowd(client: &Runtime, bench: &Bench) -> Vec<Row> {
    let count = bench.plan.crowd;
    let server = Server::start(&bench.folder("crowd"));
    // Some files are for everything else.
    let own = count.min(usize::try_from(crate::files().saturating_sub(1_000)).unwrap_or(0));
    let watch = Watch::begin(server.pid());
    let (rate, memory) = client.block_on(async {
        let load = Load::start(&server.uri).await;
        let alone = load.unary(256, bench.plan.round).await;
        let uri = server.uri.clone();
        let shared = connect(&uri).await;
        let board = load.board.clone();
        opened(0..count, &|index| {
            let (uri, shared, board) = (uri.clone(), shared.clone(), board.clone());
            async move {
                let channel = if index < own { connect(&uri).await } else { shared };
                let session = Session::open(channel, &format!("crowd-{index}"), ANSWERS, 4).await;
                session.work(Kind::Answer, &board);
            }
        })
        .await;
        let crowded = load.unary(256, bench.plan.round * 2).await;
        bench.say(format!("{count} workers: {crowded:.0}/s, with two {alone:.0}/s"));
        (crowded / alone, server.memory() / KIB / KIB)
    });
    let quiet = watch.end().is_quiet();
    server.kill();
    let note = format!("{own} on connections of their own; the server then has {memory:.0} MiB");
    vec![
        Row::new("crowd", &format!("{count} workers: cycles over those with two workers"), "", None)
            .with(&[(rate, quiet)])
            .note(note),
    ]
}
