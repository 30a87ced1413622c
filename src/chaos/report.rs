//! The score-board for people and, as JSON, for scripts. Says what was scored, and nothing of its own.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::score::{Board, Brakes, Check, Times, Verdict};
use crate::console::{
    Look, Tone,
    text::{clean, number},
};

/// What a run was, in figures that the score does not know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// The run's name.
    pub run: String,
    /// Its seed.
    pub seed: u64,
    /// How long it took, in seconds, reading back included.
    pub seconds: f64,
    /// Tasks that were not submitted because as many as may be were open.
    pub held_back: u64,
    /// Refused submissions, by what the server said.
    pub refused: BTreeMap<String, u64>,
    /// Questions the simulated person answered.
    pub answered: u64,
    /// Where the record is; empty where it is the server's own.
    pub record: String,
}

/// The lines of the board.
#[must_use]
pub fn lines(board: &Board, about: &About, look: Look) -> Vec<String> {
    let mut lines = vec![look.paint(Tone::Strong, "score")];
    let mut row = |name: &str, text: String| lines.push(format!("  {name:<30} {text}"));
    let children =
        if board.children > 0 { format!(" and {} children", board.children) } else { String::new() };
    row("tasks acknowledged", format!("{}{children}", board.acknowledged));
    row("ended", counts(&board.states));
    if !board.outcomes.is_empty() {
        row("ended otherwise than SUCCEEDED", counts(&board.outcomes));
    }
    for (shape, states) in &board.shapes {
        row(&format!("  {shape}"), counts(states));
    }
    row("attempts", format!("{}; without an answer: {}", board.attempts, counts(&board.lost_attempts)));
    if about.answered > 0 {
        row("questions answered", about.answered.to_string());
    }
    if about.held_back > 0 {
        row("held back at the cap", format!("{} submissions", about.held_back));
    }
    for (reason, times) in &about.refused {
        row("refused submissions", format!("{times}: {}", clean(reason)));
    }
    row("lost", board.broken(Check::Lost).to_string());
    row("double effects", board.broken(Check::Effects).to_string());
    row("budgets exceeded", board.broken(Check::Budget).to_string());
    row("overrun on record", format!("{} tasks, {} tokens", board.overruns.0, number(board.overruns.1)));
    row("side effects", format!("{}, of which {} repeats under their key", board.effects.0, board.effects.1));
    row("over-spend to cancel", times(board.braked.to_cancel));
    row("cancel to fence", times(board.braked.to_fence));
    if board.felt != Brakes::default() {
        row("  as the worker saw it: cancel", times(board.felt.to_cancel));
        row("  as the worker saw it: fence", times(board.felt.to_fence));
    }
    row("server kill to assignment", times(board.recovery));
    row("server thaw to assignment", times(board.thawed));
    row("lost attempt to the next", times(board.retaken));
    let breakers =
        board.breakers.map_or_else(|| "the server does not say".to_owned(), |times| times.to_string());
    row("breaker openings", breakers);
    row("failures injected", counts(&board.injected));
    lines.push(look.paint(Tone::Strong, "checks"));
    for verdict in &board.verdicts {
        verdict_lines(verdict, look, &mut lines);
    }
    let failed = board.verdicts.iter().filter(|verdict| !verdict.passed()).count();
    lines.push(match failed {
        0 => look.paint(Tone::Good, "passed"),
        failed => look.paint(Tone::Bad, &format!("FAILED: {failed} of {} checks", board.verdicts.len())),
    });
    lines
}

fn verdict_lines(verdict: &Verdict, look: Look, lines: &mut Vec<String>) {
    let mark = if verdict.passed() { look.paint(Tone::Good, "pass") } else { look.paint(Tone::Bad, "FAIL") };
    let Verdict { check, broken: _, saw, evidence } = verdict;
    lines.push(format!("  {mark} {:<12} {} ({saw})", check.name(), check.what()));
    lines.extend(evidence.iter().map(|line| format!("         {}", clean(line))));
}

fn counts<K: AsRef<str>, N: std::fmt::Display>(counts: &BTreeMap<K, N>) -> String {
    let parts: Vec<String> =
        counts.iter().map(|(name, count)| format!("{} {count}", name.as_ref())).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn times(times: Times) -> String {
    if times.count == 0 {
        return "not seen".to_owned();
    }
    let Times { count, p50, p99, max } = times;
    let millis = |micros: u64| format!("{:.1} ms", micros as f64 / 1_000.0);
    format!("p50 {}, p99 {}, most {} ({count} times)", millis(p50), millis(p99), millis(max))
}

/// The board as one JSON object.
#[must_use]
pub fn json(board: &Board, about: &About) -> Value {
    let times = |times: Times| {
        let Times { count, p50, p99, max } = times;
        json!({"count": count, "p50_us": p50, "p99_us": p99, "max_us": max})
    };
    let checks: Vec<Value> = board
        .verdicts
        .iter()
        .map(|verdict| {
            json!({
                "name": verdict.check.name(), "what": verdict.check.what(), "passed": verdict.passed(),
                "broken": verdict.broken, "saw": verdict.saw, "evidence": verdict.evidence,
            })
        })
        .collect();
    json!({
        "passed": board.passed(), "run": about.run, "seed": about.seed, "seconds": about.seconds,
        "tasks": {
            "acknowledged": board.acknowledged, "children": board.children, "states": board.states,
            "outcomes": board.outcomes, "shapes": board.shapes, "held_back": about.held_back, "refused": about.refused,
            "questions_answered": about.answered,
        },
        "attempts": {"started": board.attempts, "unanswered": board.lost_attempts},
        "overrun": {"tasks": board.overruns.0, "tokens": board.overruns.1},
        "side_effects": {"count": board.effects.0, "repeats": board.effects.1},
        "overspend_to_cancel": times(board.braked.to_cancel), "cancel_to_fence": times(board.braked.to_fence),
        "as_the_worker_saw_it": {
            "overspend_to_cancel": times(board.felt.to_cancel), "cancel_to_fence": times(board.felt.to_fence),
        },
        "server_kill_to_assignment": times(board.recovery), "server_thaw_to_assignment": times(board.thawed),
        "lost_attempt_to_next": times(board.retaken),
        "breaker_openings": board.breakers, "injected": board.injected, "agents": board.agents,
        "checks": checks, "record": about.record,
    })
}
