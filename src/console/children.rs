//! The children of a task, as a table for people.

use crate::pb;

use super::{
    Look,
    tables::table as draw,
    text::{clean, clip, number},
    words,
};

/// One row a child, in the order of their submission.
#[must_use]
pub fn table(look: Look, children: &[pb::Child]) -> String {
    let row = |child: &pb::Child| {
        let pb::Child { task_id, number: place, turn, goal, tokens, reserved_tokens, spent_tokens, .. } =
            child;
        vec![
            place.to_string(),
            clean(task_id),
            state(child),
            turn.to_string(),
            format!("{}/{}", number(*spent_tokens), number(*tokens)),
            number(*reserved_tokens),
            clip(goal, 60),
        ]
    };
    let header = ["#", "child", "state", "turn", "tokens", "held", "goal"];
    draw(look, &header, children.iter().map(row).collect())
}

fn state(child: &pb::Child) -> String {
    match child {
        pb::Child { open: true, .. } => "open".to_owned(),
        pb::Child { state: 0, .. } => "never started".to_owned(),
        pb::Child { state, .. } => words::state(*state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_says_where_it_is_and_what_it_holds() {
        let open =
            pb::Child { number: 1, open: true, tokens: 9_000, reserved_tokens: 9_000, ..Default::default() };
        let never = pb::Child { number: 2, tokens: 1_000, ..Default::default() };
        let text = table(Look { color: false, width: None }, &[open, never]);
        assert!(
            text.contains("open") && text.contains("0/9,000") && text.contains("never started"),
            "{text}"
        );
    }
}
