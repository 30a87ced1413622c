//! Dead letters for people: why each died, what its attempts died of, what it cost, and what a redrive would do.

use crate::pb;

use super::{
    Look, Tone, ledger,
    tables::table,
    task,
    text::{between, clean, clip, date, number, plural},
    words,
};

/// Characters of a reason in a line.
const REASON: usize = 160;

/// A list, a few lines each. `flag` says where the server is, behind a command that is printed.
#[must_use]
pub fn list(look: Look, letters: &[pb::DeadLetter], flag: &str) -> Vec<String> {
    letters.iter().flat_map(|letter| short(look, letter, flag)).collect()
}

fn short(look: Look, letter: &pb::DeadLetter, flag: &str) -> Vec<String> {
    let (summary, outcome) =
        (letter.summary.clone().unwrap_or_default(), letter.outcome.clone().unwrap_or_default());
    let head = format!(
        "{} {}",
        look.paint(Tone::Bad, &clean(&summary.task_id)),
        look.paint(Tone::Strong, &clip(&summary.goal, 80))
    );
    let mut lines = vec![
        head,
        format!(
            "  {} {}: {}",
            date(summary.ended_at.as_ref()),
            words::cause(outcome.cause),
            clip(&outcome.reason, REASON)
        ),
        format!(
            "  owner {}, {}, {}",
            clean(&summary.owner),
            ledger::short(summary.ledger.as_ref()),
            plural(i64::from(letter.attempts_total), "attempt")
        ),
    ];
    lines.extend(letter.attempts.iter().map(|attempt| format!("  {}", attempt_line(attempt))));
    lines.extend(settled(letter.status.as_ref()).map(|line| format!("  {line}")));
    if is_open(letter) {
        lines.extend(would(letter.redrive.as_ref(), &summary.task_id, flag));
    }
    lines.push(String::new());
    lines
}

fn is_open(letter: &pb::DeadLetter) -> bool {
    letter.status.as_ref().is_none_or(|status| status.state() == pb::DeadLetterState::Open)
}

fn attempt_line(attempt: &pb::AttemptStory) -> String {
    let place = format!("turn {} attempt {}", attempt.turn, attempt.attempt);
    let who = format!("{} on {}", clean(&attempt.agent), clip(&attempt.worker_id, 40));
    format!("{place}, {who}: {} [{}]", end(attempt), plural(attempt.spent_tokens, "token"))
}

fn end(attempt: &pb::AttemptStory) -> String {
    if attempt.answered {
        return "answered".to_owned();
    }
    if attempt.ended_at.is_none() {
        return "never ended".to_owned();
    }
    let how = words::small(&words::attempt_end(attempt.end));
    if attempt.reason.is_empty() { how } else { format!("{how}: {}", clip(&attempt.reason, REASON)) }
}

/// What was done with it; nothing while it is open.
pub(super) fn settled(status: Option<&pb::DeadLetterStatus>) -> Option<String> {
    let status = status?;
    let what = match status.state() {
        pb::DeadLetterState::Redriven => format!("redriven as {}", clean(&status.redriven_as)),
        pb::DeadLetterState::Discarded => "discarded".to_owned(),
        pb::DeadLetterState::Open | pb::DeadLetterState::Unspecified => return None,
    };
    let note =
        if status.note.is_empty() { String::new() } else { format!(": {}", clip(&status.note, REASON)) };
    Some(format!("{what} by {} on {}{note}", clean(&status.by), date(status.at.as_ref())))
}

/// What a redrive would do now.
fn would(plan: Option<&pb::RedrivePlan>, id: &str, flag: &str) -> Vec<String> {
    let Some(plan) = plan else { return Vec::new() };
    if !plan.possible {
        let mut lines = vec![format!("  a redrive is refused: {}", clean(&plan.refusal))];
        lines.extend(violations(&plan.violations));
        return lines;
    }
    let mut lines = vec![format!(
        "  bailiwick redrive {}{flag}: a new task, granted {}",
        clean(id),
        plural(plan.granted_tokens, "token")
    )];
    lines.extend(plan.notes.iter().map(|note| format!("    {}", clean(note))));
    lines
}

fn violations(violations: &[pb::ContractViolation]) -> impl Iterator<Item = String> + '_ {
    violations.iter().map(|it| format!("    {}: {}", clean(&it.field), clean(&it.description)))
}

/// The full story: outcome, ledger, lineage, every attempt, the contract (as it is given, in lines), and what a redrive would
/// do.
#[must_use]
pub fn full(look: Look, letter: &pb::DeadLetter, contract: &str, flag: &str) -> Vec<String> {
    let head = |text: &str| look.paint(Tone::Strong, text);
    let found = letter.task.clone().unwrap_or_default();
    let mut lines = task::full(look, &found);
    lines.push(head("attempts"));
    lines.push(attempts(look, letter));
    lines.push(head("contract"));
    lines.extend(contract.lines().map(|line| format!("  {}", unclipped(line))));
    lines.push(head("dead letter"));
    match settled(letter.status.as_ref()) {
        Some(line) => {
            lines.push(format!("  {line}"));
            let changes = letter.status.iter().flat_map(|status| &status.changes);
            lines.extend(changes.map(|change| format!("    {}", clean(change))));
        }
        None => {
            let id = found.summary.map(|summary| summary.task_id).unwrap_or_default();
            lines.push("  open: nothing has been done with it".to_owned());
            lines.extend(would(letter.redrive.as_ref(), &id, flag));
        }
    }
    lines
}

/// A line of a document, its indentation kept.
fn unclipped(line: &str) -> String {
    let text = line.trim_start();
    format!("{}{}", " ".repeat(line.len() - text.len()), clean(text))
}

/// A redrive, as an event.
#[must_use]
pub fn redriven(it: &pb::Redriven) -> String {
    let said = it.changes.iter().chain(Some(&it.note)).filter(|part| !part.is_empty());
    let said: Vec<_> = said.map(|part| clip(part, REASON)).collect();
    let text = format!("redriven as {} by {}", clean(&it.successor_task_id), clean(&it.by));
    if said.is_empty() { text } else { format!("{text}: {}", said.join("; ")) }
}

fn attempts(look: Look, letter: &pb::DeadLetter) -> String {
    let row = |attempt: &pb::AttemptStory| {
        vec![
            format!("{}.{}", attempt.turn, attempt.attempt),
            clean(&attempt.agent),
            clip(&attempt.worker_id, 40),
            between(attempt.started_at.as_ref(), attempt.ended_at.as_ref()),
            number(attempt.allowance_tokens),
            number(attempt.spent_tokens),
            end(attempt),
        ]
    };
    let rows = letter.attempts.iter().map(row).collect();
    table(look, &["attempt", "agent", "worker", "time", "allowed", "spent", "end"], rows)
}

/// What became of one dead letter among many, or would become.
#[must_use]
pub fn result(look: Look, result: &pb::DeadLetterResult) -> Vec<String> {
    let id = clean(&result.task_id);
    if let Some(refusal) = &result.refusal {
        let mut lines = vec![look.paint(Tone::Bad, &format!("{id} refused: {}", clean(&refusal.message)))];
        lines.extend(violations(&refusal.violations));
        return lines;
    }
    if let Some(plan) = &result.plan {
        let granted = plural(plan.granted_tokens, "token");
        let mut lines = vec![format!(
            "{id} would be redriven as {}, granted {granted}",
            clean(&result.successor_task_id)
        )];
        lines.extend(plan.changes.iter().chain(&plan.notes).map(|line| format!("    {}", clean(line))));
        return lines;
    }
    let before = if result.existing { " (done before)" } else { "" };
    vec![match result.successor_task_id.as_str() {
        "" => format!("{id} discarded{before}"),
        successor => format!("{id} redriven as {}{before}", clean(successor)),
    }]
}
