//! What somebody is told who comes too late. To a dead letter: what was done with it. To a question: who was first, when and how, or what the default answer did.

use crate::engine::{
    command::{ClosedQuestion, SettledLetter},
    dead_letter::{Discarded, Redriven},
    view::Settled,
};

use super::super::convert::{enums, time::wire};

/// In a sentence, with the time.
pub(super) fn message(closed: &ClosedQuestion) -> String {
    let note = if closed.note.is_empty() { String::new() } else { format!(": {}", closed.note) };
    format!("the question is no longer open: {closed} ({}){note}", wire(closed.at))
}

/// For clients that act on it.
pub(super) fn facts(closed: &ClosedQuestion) -> impl Iterator<Item = (String, String)> {
    let ClosedQuestion { end, by, note: _, at, outcome } = closed;
    let name = |full: &str, prefix: &str| full.strip_prefix(prefix).unwrap_or(full).to_owned();
    let state = enums::escalation_state(Some(*end)).as_str_name();
    let ended = outcome
        .map(|(state, cause)| (enums::task_state(state).as_str_name(), enums::cause(cause).as_str_name()));
    [
        ("state", Some(name(state, "ESCALATION_STATE_"))),
        ("answered_by", Some(by.clone()).filter(|by| !by.is_empty())),
        ("answered_at", Some(wire(*at).to_string())),
        ("task_state", ended.map(|(state, _)| name(state, "TASK_STATE_"))),
        ("task_cause", ended.map(|(_, cause)| name(cause, "CAUSE_"))),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value?)))
}

/// What was done with a dead letter, for a program.
pub(super) fn settled(letter: &SettledLetter) -> Vec<(String, String)> {
    let SettledLetter { what, at: _ } = letter;
    let pair = |key: &str, value: String| (key.to_owned(), value);
    match what {
        Settled::Redriven(Redriven { successor, by, .. }) => {
            vec![pair("task_id", successor.to_string()), pair("by", by.clone())]
        }
        Settled::Discarded(Discarded { by, .. }) => vec![pair("by", by.clone())],
    }
}
