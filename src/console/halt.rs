//! Halts, for people: who stopped what, since when and why; and what a halt or a cancel of many did.

use prost_types::Timestamp;

use crate::pb::{self, halt_selector::Scope};

use super::{
    Look, Tone,
    tables::table,
    text::{between, clean, clip, date, duration, number, plural},
};

/// What a halt stops, in words.
#[must_use]
pub fn scope(selector: Option<&pb::HaltSelector>) -> String {
    match selector.and_then(|selector| selector.scope.as_ref()) {
        Some(Scope::All(_)) => "everything".to_owned(),
        Some(Scope::Agent(agent)) => format!("agent {}", clean(agent)),
        Some(Scope::Label(label)) => format!("label {}={}", clean(&label.key), clean(&label.value)),
        None => "something".to_owned(),
    }
}

/// "everything is halted by ann since 2026-11-20 02:47:00 UTC: the price list is wrong".
#[must_use]
pub fn sentence(halt: &pb::Halt) -> String {
    let what = scope(halt.selector.as_ref());
    let since = date(halt.halted_at.as_ref());
    with_reason(format!("{what} is halted by {} since {since} UTC", clean(&halt.halted_by)), &halt.reason)
}

/// The line of an event.
#[must_use]
pub fn halted(it: &pb::Halted) -> String {
    let what = scope(it.selector.as_ref());
    with_reason(format!("halted by {} ({what}, halt {})", clean(&it.halted_by), it.number), &it.reason)
}

fn with_reason(text: String, reason: &str) -> String {
    if reason.is_empty() { text } else { format!("{text}: {}", clip(reason, 300)) }
}

/// What a halt did, in lines.
#[must_use]
pub fn done(look: Look, answer: &pb::HaltResponse) -> Vec<String> {
    let halt = answer.halt.clone().unwrap_or_default();
    let known = if answer.existing { " (it was already)" } else { "" };
    let mut lines = vec![format!("{}{known}", look.paint(Tone::Bad, &sentence(&halt)))];
    if answer.attempts_told > 0 || halt.cancel {
        let told = plural(i64::from(answer.attempts_told), "attempt");
        let mut line = format!("told {told} to stop in {}", millis(answer.told_within.as_ref()));
        if answer.attempts_handed > 0 {
            let last = millis(answer.handed_within.as_ref());
            line.push_str(&format!(
                "; {} on their workers' streams, the last after {last}",
                number(i64::from(answer.attempts_handed))
            ));
        }
        lines.push(line);
        let ended = plural(halt.tasks_ended, "task");
        let more = if halt.sweeping { ", and goes on: `bailiwick halts` says how far it is" } else { "" };
        lines.push(format!("ended {ended}{more}"));
    }
    lines
}

/// A short time with its fraction: "1.842ms".
fn millis(time: Option<&prost_types::Duration>) -> String {
    match time {
        Some(time) if time.seconds > 0 => duration(Some(time)),
        Some(time) => format!("{:.3}ms", f64::from(time.nanos) / 1e6),
        None => "no time at all".to_owned(),
    }
}

/// Halts, a row each.
#[must_use]
pub fn halts(look: Look, halts: &[pb::Halt], now: &Timestamp) -> String {
    let rows = halts.iter().map(|halt| row(halt, now)).collect();
    table(look, &["halt", "what", "by", "since (UTC)", "for", "why", "tasks ended", "state"], rows)
}

fn row(halt: &pb::Halt, now: &Timestamp) -> Vec<String> {
    let until = halt.resumed_at.as_ref().unwrap_or(now);
    let state = match &halt.resumed_at {
        None if halt.sweeping => "in force, ending tasks".to_owned(),
        None => "in force".to_owned(),
        Some(at) => {
            let by = format!("lifted by {} {}", clean(&halt.resumed_by), date(Some(at)));
            with_reason(by, &halt.resume_reason)
        }
    };
    vec![
        halt.number.to_string(),
        scope(halt.selector.as_ref()),
        clip(&halt.halted_by, 40),
        date(halt.halted_at.as_ref()),
        between(halt.halted_at.as_ref(), Some(until)),
        clip(&halt.reason, 200),
        if halt.cancel { number(halt.tasks_ended) } else { String::new() },
        state,
    ]
}

/// What a cancel of many has done so far.
#[must_use]
pub fn cancelled(so_far: &pb::CancelTasksResponse, dry_run: bool) -> String {
    let by_state: Vec<String> =
        so_far.by_state.iter().map(|(state, count)| format!("{} {}", number(*count), clean(state))).collect();
    let found = if by_state.is_empty() { String::new() } else { format!(" ({})", by_state.join(", ")) };
    let matched = plural(so_far.matched, "open task");
    if dry_run {
        return format!("{matched} would be cancelled{found}");
    }
    let mut parts = vec![format!("{} of {matched} cancelled{found}", number(so_far.cancelled))];
    if so_far.already_ended > 0 {
        parts.push(format!("{} had just ended", number(so_far.already_ended)));
    }
    if so_far.failed > 0 {
        let why = clip(&so_far.first_failure, 200);
        parts.push(format!("{} could not be cancelled: {why}", number(so_far.failed)));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_says_what_it_did_and_how_fast() {
        let halt = pb::Halt {
            selector: Some(pb::HaltSelector { scope: Some(Scope::All(true)) }),
            halted_by: "ann".to_owned(),
            reason: "the bill\u{1b}[31m".to_owned(),
            cancel: true,
            tasks_ended: 1_000,
            ..Default::default()
        };
        let nanos = |nanos| Some(prost_types::Duration { seconds: 0, nanos });
        let answer = pb::HaltResponse {
            halt: Some(halt),
            attempts_told: 1_200,
            told_within: nanos(842_000),
            attempts_handed: 1_200,
            handed_within: nanos(4_107_000),
            ..Default::default()
        };
        let lines = done(Look { color: false, width: None }, &answer);
        assert!(lines[0].starts_with("everything is halted by ann since"), "{lines:?}");
        assert!(lines[0].ends_with(": the bill [31m"), "{lines:?}");
        let told =
            "told 1,200 attempts to stop in 0.842ms; 1,200 on their workers' streams, the last after 4.107ms";
        assert_eq!(lines[1..], [told.to_owned(), "ended 1,000 tasks".to_owned()]);
    }
}
