//! The gate in words: who judged a result and how, what an answer said of its inputs, how far agents can be trusted.

use crate::pb;

use super::text::{clean, clip, confidence};

/// A verdict in a word.
#[must_use]
pub fn verdict_word(verdict: &pb::Verdict) -> &'static str {
    match verdict.verdict() {
        pb::Judgement::Agree => "agrees",
        pb::Judgement::Disagree => "disagrees",
        pb::Judgement::Unspecified => "says nothing",
    }
}

/// A verdict with its confidence: "agrees, confidence 0.90".
#[must_use]
pub fn verdict(verdict: &pb::Verdict) -> String {
    let parts = [verdict_word(verdict).to_owned(), confidence(verdict.confidence)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Who judged, where it was not the contract's own rules.
#[must_use]
pub fn judge(it: &pb::GateJudged) -> String {
    match it.check() {
        pb::GateCheck::Validator => format!(", by {} on turn {}", clean(&it.validator), it.validate_turn),
        pb::GateCheck::OutputSchema => format!(", by the output_schema of {}", clean(&it.agent)),
        pb::GateCheck::Rules | pb::GateCheck::Unspecified => String::new(),
    }
}

/// What an answer said of its inputs; empty where there is nothing to say.
#[must_use]
pub fn inputs(check: Option<&pb::InputsCheck>) -> String {
    let Some(check) = check else { return String::new() };
    let mut parts = Vec::new();
    if !check.ignored.is_empty() {
        parts.push(format!("left out {}", clip(&check.ignored.join(", "), 200)));
    }
    if !check.unknown.is_empty() {
        parts.push(format!("names inputs that do not exist: {}", clip(&check.unknown.join(", "), 200)));
    }
    if check.not_said {
        parts.push("does not say which inputs it used".to_owned());
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_and_inputs_have_their_words() {
        let by = |check: pb::GateCheck| {
            judge(&pb::GateJudged {
                check: check.into(),
                agent: "writer".into(),
                validator: "judge".into(),
                validate_turn: 4,
                ..Default::default()
            })
        };
        assert_eq!(by(pb::GateCheck::Rules), "");
        assert_eq!(by(pb::GateCheck::Validator), ", by judge on turn 4");
        assert_eq!(by(pb::GateCheck::OutputSchema), ", by the output_schema of writer");
        assert_eq!(inputs(None), "");
        let check = pb::InputsCheck {
            ignored: vec!["a".into(), "b".into()],
            unknown: vec!["x".into()],
            not_said: false,
        };
        assert_eq!(inputs(Some(&check)), "left out a, b; names inputs that do not exist: x");
        let verdict = pb::Verdict {
            verdict: pb::Judgement::Disagree.into(),
            confidence: Some(0.5),
            ..Default::default()
        };
        assert_eq!(super::verdict(&verdict), "disagrees, confidence 0.50");
    }
}
