//! `backtest` on recorded runs that are made up here: 35 steps each, tool calls with their results and messages of a few
//! hundred words, never quite the same.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    time::Duration,
};

use bailiwick::backtest::{
    judge::{Heard, Options, judge},
    replay::BacktestTerms,
    run,
};
use serde_json::json;

use crate::{
    Bench,
    quiet::Watch,
    row::{Aim, Row},
    stats::{Spread, now, per_second},
};

const STEPS: u64 = 35;
/// Words of a step's text.
const WORDS: u64 = 180;
const VOCABULARY: [&str; 24] = [
    "order",
    "invoice",
    "shelf",
    "paragraph",
    "station",
    "river",
    "checked",
    "compared",
    "moved",
    "the",
    "a",
    "under",
    "between",
    "result",
    "list",
    "total",
    "page",
    "customer",
    "warehouse",
    "answer",
    "not",
    "found",
    "again",
    "later",
];

pub(crate) fn rows(bench: &Bench) -> Vec<Row> {
    let file = bench.folder("traces").join("runs.jsonl");
    let bytes = write(&file, bench.plan.traces).expect("the folder is writable");
    let files = [file.to_string_lossy().into_owned()];
    let options = Options {
        terms: BacktestTerms::default(),
        contract: None,
        calibrate: None,
        salt: 0,
        alone: false,
        workers: 0,
    };
    let mut runs = Vec::new();
    for _ in 0..bench.plan.latencies.max(1) {
        let watch = Watch::begin(0);
        let start = now();
        let progress = run::look(&files).expect("the file is there");
        let mut judged = 0;
        let report = judge(&files, &progress, &options, |heard| match heard {
            Heard::Runs(runs) => judged = runs,
            Heard::Fault(fault) => panic!("a made-up run cannot be read: {fault}"),
        });
        drop(report);
        assert_eq!(judged, bench.plan.traces, "every run is judged");
        let rate = per_second(judged, start.elapsed().max(Duration::from_nanos(1)));
        runs.push((rate, watch.end().is_quiet()));
    }
    let figures: Vec<_> = runs.iter().map(|(rate, _)| *rate).collect();
    let each = bytes / bench.plan.traces / 1_000;
    bench.say(format!(
        "backtest: {:.0} runs a second",
        Spread::of(&figures).map_or(0.0, |spread| spread.median)
    ));
    vec![
        Row::new(
            "backtest",
            "backtest, runs of 35 steps a second",
            "/s",
            Some(Aim::at_least(2_000.0, 20_000.0)),
        )
        .with(&runs)
        .note(format!("{} runs of {each} kB each", bench.plan.traces)),
    ]
}

/// Numbers that look drawn, and are the same every time.
struct Draw(u64);

impl Draw {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn text(&mut self) -> String {
        let words = WORDS / 2 + self.next() % WORDS;
        let mut text = String::new();
        for _ in 0..words {
            let word = VOCABULARY[usize::try_from(self.next()).unwrap_or(0) % VOCABULARY.len()];
            text.push_str(word);
            text.push(if self.next().is_multiple_of(9) { '.' } else { ' ' });
        }
        text
    }
}

/// Writes so many runs; the bytes of them all.
fn write(file: &Path, count: u64) -> std::io::Result<u64> {
    let mut out = BufWriter::new(File::create(file)?);
    let (mut draw, mut bytes) = (Draw(7), 0);
    for number in 0..count {
        let steps: Vec<_> = (0..STEPS).map(|index| step(&mut draw, index)).collect();
        let run = json!({
            "trace_id": format!("made/{number}"), "dataset": "made", "framework": "bench", "task": draw.text(),
            "outcome": if number % 3 == 0 { "failure" } else { "success" }, "failure_modes": [], "first_bad_step": null,
            "meta": {}, "steps": steps,
        });
        let line = run.to_string();
        bytes += line.len() as u64 + 1;
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(bytes)
}

fn step(draw: &mut Draw, index: u64) -> serde_json::Value {
    let text = draw.text();
    match index % 3 {
        0 => {
            json!({"i": index, "agent": "planner", "role": "assistant", "kind": "message", "tool": null, "text": text,
                    "prompt_tokens": 900, "completion_tokens": 200})
        }
        1 => {
            let call = format!("look({{\"page\":{}}})", draw.next() % 1_000);
            json!({"i": index, "agent": "reader", "role": "assistant", "kind": "tool_call", "tool": "look", "text": call,
                   "prompt_tokens": 400, "completion_tokens": 20, "call": call})
        }
        _ => {
            json!({"i": index, "agent": "shop", "role": "tool", "kind": "tool_result", "tool": "look", "text": text,
                    "prompt_tokens": null, "completion_tokens": null})
        }
    }
}
