//! The story so far, for the person who is asked: a bounded list of lines out of the journalled history, and what has been
//! used of every cap. Never read back by a decision.

use super::{
    event::{EscalationEnd, Room, Used},
    task::{Question, Task},
    turn::{Stage, Turn},
};
use crate::types::{
    envelope::{Answer, Decision, Directive, Envelope, Judgement, Status, Verdict},
    time::Timestamp,
};

/// Lines of turns that are told: the first ones and the newest.
const FIRST: usize = 2;
const NEWEST: usize = 8;
/// Earlier questions and trips that are told.
const MAX_OTHERS: usize = 4;
/// The longest line, in characters.
const MAX_CHARS: usize = 240;

impl Task {
    /// What has happened, a line each: turns in their order, what tripped last, earlier answers of people, what was spent.
    pub(super) fn story(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let between = self.turns.len().saturating_sub(FIRST + NEWEST);
        for (index, turn) in self.turns.iter().enumerate() {
            if between > 0 && index == FIRST {
                lines.push(format!("... {between} more turns ..."));
            }
            if between == 0 || index < FIRST || index >= FIRST + between {
                lines.push(self.turn_line(turn));
            }
        }
        let trips = self.trips.iter().take(MAX_OTHERS);
        lines.extend(trips.map(|trip| format!("guard tripped: {}: {}", word(&trip.cause), trip.evidence)));
        let answered = self.questions.iter().rev().take(MAX_OTHERS).rev();
        lines.extend(answered.map(question_line));
        lines.push(self.spending_line());
        lines.iter().map(|line| clipped(line)).collect()
    }

    fn turn_line(&self, turn: &Turn) -> String {
        let step = turn.step_id.as_ref().map(|step| format!(" (step {step})")).unwrap_or_default();
        let spent: u64 = (1..turn.next_attempt()).map(|n| self.ledger.spent_by((turn.number, n))).sum();
        let how = match &turn.stage {
            Stage::Ready { .. } => "waits for a worker".to_owned(),
            Stage::Leased => "is running".to_owned(),
            Stage::Closed { reason } => format!("closed: {reason}"),
            Stage::Answered { answer, .. } => answer_words(answer),
        };
        let tries = match turn.attempts.len() {
            0 | 1 => String::new(),
            tries => format!(", {tries} attempts"),
        };
        format!("turn {} {}{step} {how} [{spent} tokens{tries}]", turn.number, turn.agent)
    }

    fn spending_line(&self) -> String {
        let ledger = self.ledger.view();
        let over =
            if ledger.overrun > 0 { format!(", {} beyond the grant", ledger.overrun) } else { String::new() };
        let agents: Vec<_> = ledger
            .by_agent
            .iter()
            .map(|(agent, tokens)| format!("{agent} {tokens}"))
            .take(MAX_OTHERS)
            .collect();
        let by = if agents.is_empty() { String::new() } else { format!(" ({})", agents.join(", ")) };
        format!("spent {} of {} tokens{over}{by}", ledger.spent, ledger.granted)
    }

    /// What has been used of every cap at a given time.
    pub(super) fn room(&self, now: Timestamp) -> Room {
        let (limits, counters, ledger) = (&self.contract.limits, &self.counters, self.ledger.view());
        let used = |used: u32, cap: u32| Used { used: u64::from(used), cap: u64::from(cap) };
        let cost = |cap| Used { used: ledger.usage.cost_nano_usd, cap };
        Room {
            tokens: Used { used: ledger.spent + ledger.reserved, cap: ledger.granted },
            cost_nano_usd: self.contract.budget.max_cost_nano_usd.map(cost),
            hops: used(counters.hops, limits.max_hops),
            turns: used(counters.turns, limits.max_turns),
            rounds: used(counters.rounds, limits.max_rounds),
            replans: used(counters.replans, limits.max_replans),
            revisions: used(counters.revisions, self.contract.gate.max_revisions),
            decides: used(counters.decides, limits.max_decides),
            time_left: self.deadline_at(now).since(now),
        }
    }
}

fn question_line(question: &Question) -> String {
    let asked = &question.asked;
    let Some(end) = &question.end else {
        return format!("question {} is open: {}", asked.number, asked.question);
    };
    let how = match end.end {
        EscalationEnd::Approved => "approved by",
        EscalationEnd::Amended => "amended by",
        EscalationEnd::Extended => "extended by",
        EscalationEnd::Aborted => "aborted by",
        EscalationEnd::Expired => "expired",
        EscalationEnd::Withdrawn => "withdrawn",
    };
    let added = end.extended.as_ref().map(|extended| format!(" ({})", extended.added)).unwrap_or_default();
    let note = if end.note.is_empty() { String::new() } else { format!(": {}", end.note) };
    format!("question {} {how} {}{added}{note}", asked.number, end.by).trim_end().to_owned()
}

fn answer_words(answer: &Answer) -> String {
    match answer {
        Answer::Envelope(envelope) => envelope_words(envelope),
        Answer::Decision { decision, .. } => decision_words(decision),
        Answer::Verdict(Verdict { verdict: Judgement::Agree, .. }) => "agreed with the result".to_owned(),
        Answer::Verdict(verdict) => format!("disagreed with the result: {}", verdict.reasons.join("; ")),
    }
}

fn envelope_words(envelope: &Envelope) -> String {
    let mut words = match envelope.status {
        Status::Success => "answered SUCCESS",
        Status::Partial => "answered PARTIAL",
        Status::Failed => "answered FAILED",
    }
    .to_owned();
    if let Some(confidence) = envelope.confidence {
        words.push_str(&format!(", confidence {}", confidence.get()));
    }
    let next = match &envelope.directive {
        None => None,
        Some(Directive::HandOff(to)) => Some(format!("hands off to {}", to.agent)),
        Some(Directive::Delegate(plan)) => Some(format!("delegates {} steps", plan.steps.len())),
        Some(Directive::InvalidPlan(_)) => Some("delegates a plan that is none".to_owned()),
        Some(Directive::AskHuman(_)) => Some("asks a person".to_owned()),
    };
    if let Some(next) = next {
        words.push_str(&format!(", {next}"));
    }
    if envelope.reason.is_empty() { words } else { format!("{words}: {}", envelope.reason) }
}

fn decision_words(decision: &Decision) -> String {
    match decision {
        Decision::ReplanWith(plan) => format!("decided to re-plan with {} steps", plan.steps.len()),
        Decision::InvalidReplan(_) => "decided on a plan that is none".to_owned(),
        Decision::ReplanTo(to) => format!("decided to go on with {}", to.agent),
        Decision::CompletePartial { reason, .. } => format!("decided to complete partially: {reason}"),
        Decision::Escalate(_) => "decided to ask a person".to_owned(),
        Decision::Abort(reason) => format!("decided to abort: {reason}"),
    }
}

/// The name that the journal uses.
fn word(cause: &crate::types::outcome::Cause) -> String {
    serde_json::to_value(cause).ok().and_then(|name| name.as_str().map(ToOwned::to_owned)).unwrap_or_default()
}

/// On one line and not longer than it may be.
fn clipped(line: &str) -> String {
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MAX_CHARS {
        return line;
    }
    let mut short: String = line.chars().take(MAX_CHARS - 3).collect();
    short.push_str("...");
    short
}
