//! A task in full, for people: outcome, ledger, counters, turns.

use crate::{pb, types::ids::DEFAULT_NAMESPACE};

use super::{
    Look, Tone, children, circuit, dead_letter, halt, ledger,
    text::{between, clean, clip, date, value},
    trips, turns, words,
};

/// Characters of a result that are shown before it is cut; `--json` has the whole.
const RESULT_SHOWN: usize = 600;

/// The outcome in lines; where the task still runs, its state.
#[must_use]
pub fn outcome(look: Look, task: &pb::Task) -> Vec<String> {
    let summary = task.summary.clone().unwrap_or_default();
    let Some(outcome) = &task.outcome else {
        let mut lines = vec![look.paint(words::state_tone(summary.state), &words::state(summary.state))];
        let waits = task.halts.iter().map(halt::sentence);
        lines.extend(waits.map(|why| look.paint(Tone::Bad, &format!("it waits: {why}"))));
        let best = value(task.best_result.as_ref(), RESULT_SHOWN);
        if !best.is_empty() {
            let from = task
                .best
                .as_ref()
                .map_or_else(String::new, |best| format!(" (turn {}, score {:.2})", best.turn, best.score));
            lines.push(format!("best result so far{from}: {best}"));
        }
        return lines;
    };
    let took = between(summary.created_at.as_ref(), summary.ended_at.as_ref());
    let mut lines = vec![format!(
        "{}: {} by {}{}",
        look.paint(words::state_tone(outcome.state), &words::state(outcome.state)),
        words::cause(outcome.cause),
        words::small(&words::ended_by(outcome.ended_by)),
        if took.is_empty() { String::new() } else { format!(" after {took}") }
    )];
    if !outcome.reason.is_empty() {
        lines.push(clean(&outcome.reason));
    }
    lines.extend(outcome.findings.iter().map(|finding| format!("- {}", clean(finding))));
    let result = value(outcome.result.as_ref(), RESULT_SHOWN);
    lines.push(if result.is_empty() { "no result".to_owned() } else { format!("result: {result}") });
    lines
}

/// Everything `get` shows.
#[must_use]
pub fn full(look: Look, task: &pb::Task) -> Vec<String> {
    let summary = task.summary.clone().unwrap_or_default();
    let head = |text: &str| look.paint(Tone::Strong, text);
    let mut lines = vec![
        format!("{} {}", head("task"), clean(&summary.task_id)),
        format!("{} {}", head("goal"), clip(&summary.goal, 200)),
        format!("{} {}{}", head("owner"), clean(&summary.owner), times(&summary, task)),
    ];
    if !summary.labels.is_empty() {
        let labels: Vec<String> =
            summary.labels.iter().map(|(k, v)| format!("{}={}", clean(k), clean(v))).collect();
        lines.push(format!("{} {}", head("labels"), labels.join(" ")));
    }
    let namespace = task.contract.as_ref().map_or("", |contract| &contract.namespace);
    if !namespace.is_empty() && namespace != DEFAULT_NAMESPACE {
        lines.push(format!("{} {}", head("namespace"), clean(namespace)));
    }
    if !task.trace_id.is_empty() {
        lines.push(format!("{} {}", head("trace"), clean(&task.trace_id)));
    }
    if let Some(redrives) = &task.redrives {
        lines.push(format!(
            "{} {} (by {})",
            head("redrive of"),
            clean(&redrives.task_id),
            clean(&redrives.by)
        ));
    }
    if let Some(letter) = task.dead_letter.as_ref().and_then(|status| dead_letter::settled(Some(status))) {
        lines.push(format!("{} {letter}", head("dead letter")));
    }
    if let Some(parent) = &task.parent {
        let pb::Parent { task_id, turn, attempt, depth } = parent;
        let place = format!("turn {turn} attempt {attempt}, {depth} deep");
        lines.push(format!("{} {} ({place})", head("child of"), clean(task_id)));
    }
    lines.push(String::new());
    lines.extend(outcome(look, task));
    lines.push(String::new());
    lines.push(head("ledger"));
    lines.extend(indented(ledger::lines(&summary.ledger.unwrap_or_default())));
    lines.push(head("counters"));
    let limits = task.contract.as_ref().and_then(|contract| contract.limits.as_ref());
    lines.extend(indented(vec![ledger::counters(&summary.counters.unwrap_or_default(), limits)]));
    if !task.children.is_empty() {
        lines.push(head("children"));
        lines.push(children::table(look, &task.children));
    }
    if !task.trips.is_empty() {
        lines.push(head("guards that tripped"));
        lines.extend(indented(trips::lines(&task.trips)));
    }
    if !task.turns.is_empty() {
        lines.push(head("turns"));
        lines.push(turns::turns(look, &task.turns));
    }
    lines.extend(indented(circuit::waiting(&task.waiting)));
    lines
}

fn times(summary: &pb::TaskSummary, task: &pb::Task) -> String {
    let times =
        [("submitted", date(summary.created_at.as_ref())), ("deadline", date(task.deadline.as_ref()))];
    let waits = summary.state() == pb::TaskState::AwaitingHuman;
    let said = times.into_iter().filter(|(_, at)| !at.is_empty());
    said.map(|(what, at)| {
        // The date moves on with the wait: as long as it lasts, it would only mislead.
        if waits && what == "deadline" {
            ", deadline stands still while a person is waited for".to_owned()
        } else {
            format!(", {what} {at} UTC")
        }
    })
    .collect()
}

/// The task in a line, for a progress line: state, turns, hops, tokens.
#[must_use]
pub fn line(summary: &pb::TaskSummary) -> String {
    let counters = summary.counters.unwrap_or_default();
    format!(
        "{} · turns {} · hops {} · tokens {}",
        words::state(summary.state),
        counters.turns,
        counters.hops,
        ledger::short(summary.ledger.as_ref())
    )
}

fn indented(lines: Vec<String>) -> impl Iterator<Item = String> {
    lines.into_iter().map(|line| format!("  {line}"))
}
