//! Circuit breakers and waiting turns, for people.

use prost_types::Timestamp;

use crate::pb;

use super::{
    Tone,
    events::{Line, line, with},
    text::{between, clean, clip},
};

/// A breaker in a cell: "closed", "OPEN for 4s more, 5 of 5 failed", with how often it has opened.
#[must_use]
pub fn cell(breaker: Option<&pb::Breaker>, now: &Timestamp) -> String {
    let Some(breaker) = breaker else { return String::new() };
    let pb::Breaker { state: _, openings, since: _, open_until, failed, results } = breaker;
    let evidence = format!("{failed} of {results} failed");
    let state = match breaker.state() {
        pb::BreakerState::Open => match between(Some(now), open_until.as_ref()) {
            left if left.is_empty() => format!("OPEN, {evidence}"),
            left => format!("OPEN for {left} more, {evidence}"),
        },
        pb::BreakerState::HalfOpen => format!("HALF OPEN, {evidence}"),
        pb::BreakerState::Closed | pb::BreakerState::Unspecified => "closed".to_owned(),
    };
    match openings {
        0 => state,
        1 => format!("{state} (opened once)"),
        n => format!("{state} (opened {n} times)"),
    }
}

/// Attempts that run, and the most there may be where there is a limit.
#[must_use]
pub fn at_once(agent: &pb::Agent) -> String {
    match agent.max_attempts_at_once {
        0 => agent.leased.to_string(),
        most => format!("{}/{most}", agent.leased),
    }
}

/// Why turns wait, a line each.
#[must_use]
pub fn waiting(turns: &[pb::WaitingTurn]) -> Vec<String> {
    turns.iter().map(|it| format!("turn {} waits: {}", it.turn, clip(&it.detail, 300))).collect()
}

/// A turn that met an open circuit.
pub(super) fn held_up(it: &pb::TurnHeldUp, turn: &str) -> Line {
    let what = match it.passed_to.as_str() {
        "" => format!("{turn} is held up"),
        agent => format!("{turn} is passed on to {}", clean(agent)),
    };
    line(Tone::Warn, with(what, &it.reason))
}
