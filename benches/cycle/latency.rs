//! Dispatch latency: from the moment a submit is sent to the moment a worker has its assignment, at a steady rate, open loop:
//! a late answer does not delay the next submit.

use std::time::Duration;

use crate::{cycle::Bailiwick, echo::now, stats::percentile};

pub(crate) struct Dispatch {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) count: usize,
}

pub(crate) async fn at_rate(bailiwick: &Bailiwick, per_second: u32, time: Duration) -> Dispatch {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    let end = now() + time;
    let mut running = Vec::new();
    let mut lane = 0;
    while now() < end {
        ticks.tick().await;
        lane += 1;
        let task = bailiwick.task(lane);
        running.push(tokio::spawn(async move { task.run().await.dispatch.as_secs_f64() }));
    }
    let mut figures = Vec::with_capacity(running.len());
    for task in running {
        figures.push(task.await.expect("every task ends"));
    }
    // The first second warms caches and connections.
    let warm = usize::try_from(per_second).unwrap_or(0).min(figures.len() / 2);
    let mut figures = figures.split_off(warm);
    figures.sort_by(f64::total_cmp);
    Dispatch { p50: percentile(&figures, 0.5), p99: percentile(&figures, 0.99), count: figures.len() }
}
