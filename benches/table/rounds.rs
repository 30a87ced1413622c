//! The rows that are shares of E, raw echo, measured in the same rounds: the cycle, the streamed cycle, reports; and the
//! server's processor time a task. Then the rows in L, one echo and one fdatasync: latencies, and the hard kill.

use tokio::runtime::Runtime;

use crate::{
    Bench,
    child::{Server, instructions},
    contracts::{ANSWERS, REPORTS, SPENDS},
    echo::Echo,
    load::Load,
    quiet::Watch,
    row::{Aim, Row},
    stats::{Spread, fdatasync, percentile},
};

/// Tasks at once in the unary cycle, and echoes at once.
const IN_FLIGHT: usize = 256;
const ECHOES: usize = 64;
/// Tasks that report.
const REPORTERS: u32 = 256;
/// Tasks that report, added before each round.
const REFILL: u64 = 2_000;
/// Dispatch and over-spending are measured at this rate.
const STEADY: f64 = 200.0;

/// One round of shares.
struct Round {
    quiet: bool,
    echo: f64,
    unary: f64,
    streamed: f64,
    reports: f64,
    unary_processor: f64,
    streamed_processor: f64,
    unary_instructions: Option<f64>,
    streamed_instructions: Option<f64>,
}

/// The rates of a server, for what is measured after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maximum {
    /// Unary cycles a second.
    pub(crate) unary: f64,
    /// Cycles a second with streamed submissions.
    pub(crate) streamed: f64,
}

/// What the rounds share.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) load: Load,
    pub(crate) echo: Echo,
}

impl Stage {
    pub(crate) fn start(client: &Runtime, bench: &Bench, name: &str) -> Self {
        let server = Server::start(&bench.folder(name));
        let (load, echo) =
            client.block_on(async { (Load::start(&server.uri).await, Echo::connect(&server.echo).await) });
        Self { server, load, echo }
    }

    /// L, in seconds: one echo and one fdatasync.
    fn limit(&self, client: &Runtime, bench: &Bench) -> f64 {
        client.block_on(self.echo.one(200)) + fdatasync(&bench.folder("probe"), 60)
    }
}

/// Measures `work` again while it is not quiet, at most `bench.plan.repeats` times more than `count`.
fn runs<T>(count: usize, bench: &Bench, server: u32, mut work: impl FnMut() -> T) -> Vec<(T, bool)> {
    let (mut runs, mut quiet) = (Vec::new(), 0);
    while quiet < count && runs.len() < count + bench.plan.repeats {
        let watch = Watch::begin(server);
        let figure = work();
        let is_quiet = watch.end().is_quiet();
        quiet += usize::from(is_quiet);
        runs.push((figure, is_quiet));
    }
    runs
}

/// The shares of E.
pub(crate) fn shares(client: &Runtime, bench: &Bench, stage: &Stage) -> (Vec<Row>, Maximum) {
    client.block_on(stage.load.with_reporters(&stage.server.uri, REPORTERS));
    // Connections, caches and the first page splits are not the cycle.
    client.block_on(async {
        stage.load.unary(IN_FLIGHT, bench.plan.round / 4).await;
        stage.load.streamed(bench.plan.round / 4).await;
    });
    let rounds: Vec<Round> =
        runs(bench.plan.rounds, bench, stage.server.pid(), || one_round(client, bench, stage))
            .into_iter()
            .map(|(round, quiet)| Round { quiet, ..round })
            .collect();
    let maximum = Maximum {
        unary: median(&rounds, |round| round.unary),
        streamed: median(&rounds, |round| round.streamed),
    };
    (share_rows(&rounds), maximum)
}

fn one_round(client: &Runtime, bench: &Bench, stage: &Stage) -> Round {
    let Stage { server, load, echo } = stage;
    let time = bench.plan.round;
    client.block_on(async {
        let before = echo.rate(ECHOES, time / 4).await;
        let (unary, unary_processor, unary_instructions) = costs(server, load, load.unary(IN_FLIGHT, time)).await;
        let (streamed, streamed_processor, streamed_instructions) = costs(server, load, load.streamed(time)).await;
        // Each attempt reports some hundred times: there must be enough of them, however fast the server is.
        load.fill(REPORTS, REFILL).await;
        let reports = load.reports(time).await;
        // E on both sides of what it divides.
        let after = echo.rate(ECHOES, time / 4).await;
        let round = Round {
            quiet: false,
            echo: f64::midpoint(before, after),
            unary,
            streamed,
            reports,
            unary_processor,
            streamed_processor,
            unary_instructions,
            streamed_instructions,
        };
        bench.say(format!(
            "echo {:.0}/s, cycle {unary:.0}/s ({unary_processor:.0} us of server processor), streamed {streamed:.0}/s \
             ({streamed_processor:.0} us), reports {reports:.0}/s",
            round.echo
        ));
        round
    })
}

/// A rate, and what each task cost the server: microseconds of processor, instructions in user mode.
pub(crate) async fn costs(
    server: &Server,
    load: &Load,
    work: impl Future<Output = f64>,
) -> (f64, f64, Option<f64>) {
    let done = || load.board.done.load(std::sync::atomic::Ordering::Relaxed);
    let (processor, before) = (server.processor(), done());
    let (rate, instructions) = instructions(server, work).await;
    let tasks = crate::stats::float((done() - before).max(1));
    let processor = (server.processor() - processor) * 1e6 / tasks;
    (rate, processor, instructions.map(|count| count / tasks))
}

fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    let figures: Vec<_> = rounds.iter().map(of).collect();
    Spread::of(&figures).map_or(0.0, |spread| spread.median)
}

fn share_rows(rounds: &[Round]) -> Vec<Row> {
    let figures =
        |of: &dyn Fn(&Round) -> f64| -> Vec<_> { rounds.iter().map(|r| (of(r), r.quiet)).collect() };
    let share = |key, what: &str, aim, rate: &dyn Fn(&Round) -> f64| {
        let note = format!("{:.0}/s of E {:.0}/s", median(rounds, rate), median(rounds, |r| r.echo));
        Row::new(key, what, " E", Some(aim)).with(&figures(&|r| rate(r) / r.echo)).note(note)
    };
    let counted = |of: &dyn Fn(&Round) -> Option<f64>| {
        let figures: Vec<_> = rounds.iter().filter_map(of).collect();
        Spread::of(&figures).map_or_else(
            || "instructions cannot be counted here".to_owned(),
            |spread| format!("{:.0} thousand instructions in user mode", spread.median / 1e3),
        )
    };
    let processor = Aim::at_most(60.0, 30.0);
    vec![
        share("cycle", "full durable cycle, unary, 256 in flight", Aim::at_least(0.25, 0.5), &|r| r.unary),
        share("streamed", "the same, streamed submit", Aim::at_least(0.5, 2.0), &|r| r.streamed),
        share("reports", "budget requests and usage reports, durable", Aim::at_least(0.5, 0.8), &|r| {
            r.reports
        }),
        Row::new("cpu", "server processor time a task, streamed", " us", Some(processor))
            .with(&figures(&|r| r.streamed_processor))
            .note(counted(&|r| r.streamed_instructions)),
        Row::new("cpu", "the same, unary", " us", Some(processor))
            .with(&figures(&|r| r.unary_processor))
            .note(counted(&|r| r.unary_instructions)),
    ]
}

/// Two percentiles of a run, and L in the same run.
struct Latency {
    quiet: bool,
    p50: f64,
    p99: f64,
    limit: f64,
}

/// The rows in L.
pub(crate) fn latencies(client: &Runtime, bench: &Bench, stage: &Stage, maximum: Maximum) -> Vec<Row> {
    let mut rows = Vec::new();
    let at_200 = latency(client, bench, stage, ANSWERS, STEADY);
    rows.push(in_limits("dispatch", "dispatch latency, 200 tasks/s, p50", (4.0, 2.0), &at_200, |l| l.p50));
    rows.push(in_limits("dispatch", "dispatch latency, 200 tasks/s, p99", (10.0, 4.0), &at_200, |l| l.p99));
    let half = latency(client, bench, stage, ANSWERS, maximum.unary / 2.0);
    rows.push(
        in_limits("half", "the same at half of maximum load, p99", (40.0, 12.0), &half, |l| l.p99)
            .with_more(&format!("{:.0} tasks/s", maximum.unary / 2.0)),
    );
    let kills = latency(client, bench, stage, SPENDS, STEADY);
    rows.push(in_limits(
        "kill",
        "over-spend report -> cancel on the wire, 200/s, p99",
        (12.0, 5.0),
        &kills,
        |l| l.p99,
    ));
    rows
}

fn latency(client: &Runtime, bench: &Bench, stage: &Stage, agent: &'static str, rate: f64) -> Vec<Latency> {
    let once = || {
        let before = stage.limit(client, bench);
        let figures = client.block_on(stage.load.at_rate(agent, rate, bench.plan.latency));
        let limit = f64::midpoint(before, stage.limit(client, bench));
        (percentile(&figures, 0.5), percentile(&figures, 0.99), limit)
    };
    let measured = runs(bench.plan.latencies, bench, stage.server.pid(), once);
    let of = |((p50, p99, limit), quiet)| Latency { quiet, p50, p99, limit };
    let all: Vec<_> = measured.into_iter().map(of).collect();
    for Latency { quiet, p50, p99, limit } in &all {
        let (p50, p99, limit) = (p50 * 1e3, p99 * 1e3, limit * 1e3);
        bench.say(format!(
            "{agent} at {rate:.0}/s: p50 {p50:.2} ms, p99 {p99:.2} ms, L {limit:.3} ms, quiet: {quiet}"
        ));
    }
    all
}

fn in_limits(
    key: &'static str,
    what: &str,
    (floor, wanted): (f64, f64),
    runs: &[Latency],
    of: impl Fn(&Latency) -> f64,
) -> Row {
    let figures: Vec<_> = runs.iter().map(|run| (of(run) / run.limit, run.quiet)).collect();
    let middle = |figures: Vec<f64>| Spread::of(&figures).map_or(0.0, |spread| spread.median * 1e3);
    let note = format!(
        "{:.2} ms; L {:.3} ms",
        middle(runs.iter().map(&of).collect()),
        middle(runs.iter().map(|run| run.limit).collect())
    );
    Row::new(key, what, " L", Some(Aim::at_most(floor, wanted))).with(&figures).note(note)
}

impl Row {
    fn with_more(self, more: &str) -> Self {
        let note = format!("{}; {more}", self.note);
        self.note(note)
    }
}
