//! Overload: submissions at twice the maximum, open loop, whatever comes of them. What counts is what gets done, and what it
//! does to the server's memory. Once by unary calls, each of which costs both sides whether it is accepted or not, and once
//! over streams, where the server reads no more than it can answer and the client gives up what waits for too long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::runtime::Runtime;
use tonic::Code;

use crate::{
    Bench,
    contracts::{self, ANSWERS},
    quiet::Watch,
    rounds::{Maximum, Stage},
    row::{Aim, Row},
    stats::{float, now, per_second},
};

/// How long a client waits for its submission.
const PATIENCE: Duration = Duration::from_secs(1);
/// The part of the time after which memory is looked at first: buffers and caches are full then.
const WARM: u32 = 4;
const MIB: f64 = 1_048_576.0;

#[derive(Default)]
struct Fates {
    accepted: AtomicU64,
    refused: AtomicU64,
    late: AtomicU64,
}

pub(crate) fn rows(client: &Runtime, bench: &Bench, stage: &Stage, maximum: Maximum) -> Vec<Row> {
    let watch = Watch::begin(stage.server.pid());
    let (goodput, growth, fates) = client.block_on(run(bench, stage, maximum.unary * 2.0));
    let quiet = watch.end().is_quiet();
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let note = format!(
        "{goodput:.0}/s done of {:.0}/s offered; {} accepted, {} refused, {} not answered within 1 s",
        maximum.unary * 2.0,
        count(&fates.accepted),
        count(&fates.refused),
        count(&fates.late)
    );
    bench.say(format!("overload: {note}; memory grew by {growth:.0} MiB"));
    let goodput = [(goodput / maximum.unary, quiet)];
    let watch = Watch::begin(stage.server.pid());
    let rate = maximum.streamed * 2.0;
    let time = bench.plan.overload / 2;
    let (streamed, late, refused) = client.block_on(stage.load.streamed_at(rate, time, PATIENCE));
    let streamed_quiet = watch.end().is_quiet();
    let over_streams = format!(
        "{streamed:.0}/s done of {rate:.0}/s offered; {} given up unsent after 1 s, {refused} refused",
        thousands(late)
    );
    bench.say(format!("overload over streams: {over_streams}"));
    vec![
        Row::new(
            "overload",
            "overload at twice the maximum: goodput over the maximum",
            "",
            Some(Aim::at_least(0.9, 1.0)),
        )
        .with(&goodput)
        .note(note),
        Row::new(
            "overload",
            "the same: what the server's memory grew by",
            " MiB",
            Some(Aim::at_most(512.0, 32.0)),
        )
        .with(&[(growth, quiet)])
        .note("from a quarter of the time on; floor: bounded".to_owned()),
        Row::new(
            "overload",
            "overload over streams: goodput over their maximum",
            "",
            Some(Aim::at_least(0.9, 1.0)),
        )
        .with(&[(streamed / maximum.streamed, streamed_quiet)])
        .note(over_streams),
    ]
}

async fn run(bench: &Bench, stage: &Stage, rate: f64) -> (f64, f64, Arc<Fates>) {
    let (time, fates) = (bench.plan.overload, Arc::new(Fates::default()));
    let (start, mut sent) = (now(), 0_u32);
    let done = || stage.load.board.done.load(Ordering::Relaxed);
    let mut warm = None;
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    while start.elapsed() < time {
        ticks.tick().await;
        if warm.is_none() && start.elapsed() > time / WARM {
            warm = Some((stage.server.memory(), done(), now()));
        }
        while f64::from(sent) < start.elapsed().as_secs_f64() * rate {
            sent += 1;
            tokio::spawn(offer(
                stage.load.client(sent as usize),
                stage.load.board.number(),
                Arc::clone(&fates),
            ));
        }
    }
    let (memory, before, since) = warm.unwrap_or((0.0, 0, start));
    let goodput = per_second(done() - before, since.elapsed());
    let growth = (stage.server.memory() - memory) / MIB;
    // Those that are on their way have their fate too.
    tokio::time::sleep(PATIENCE * 2).await;
    (goodput, growth, fates)
}

async fn offer(
    mut client: bailiwick::pb::task_service_client::TaskServiceClient<tonic::transport::Channel>,
    number: u64,
    fates: Arc<Fates>,
) {
    let call = client.submit_task(contracts::request(ANSWERS, number));
    let fate = match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(_)) => &fates.accepted,
        Ok(Err(status)) if status.code() == Code::ResourceExhausted => &fates.refused,
        // The run is over, and so is the server; or the client's own HTTP/2 has ended the connection for its late answers.
        Ok(Err(status)) if matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Unknown) => {
            &fates.late
        }
        Ok(Err(status)) => panic!("overload is told as such: {status:?}"),
        Err(_) => &fates.late,
    };
    fate.fetch_add(1, Ordering::Relaxed);
}

/// So many, as a figure in a note.
pub(crate) fn thousands(count: u64) -> String {
    if count >= 1_000_000 {
        return format!("{:.1} million", float(count) / 1e6);
    }
    format!("{} thousand", count / 1_000)
}
