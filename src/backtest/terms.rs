//! The terms of a backtest as a contract writes them: names with values, and the YAML to paste. Never here: their bounds or
//! defaults.

use super::{calibrate::Caps, replay::BacktestTerms};
use crate::types::guards::{DraftTerms, FinishedTerms, GuardTerms, RepetitionTerms};

/// Every term with its value, by its path in a contract. What is switched off has one line that says so.
#[must_use]
pub fn values(terms: &BacktestTerms) -> Vec<(String, String)> {
    let BacktestTerms { guards, max_hops, max_turns, max_tokens } = terms;
    let mut out = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        out.extend(value.map(|value| (name.to_owned(), value)));
    };
    add("budget.max_tokens", max_tokens.map(|most| most.to_string()));
    add("limits.max_hops", max_hops.map(|most| most.to_string()));
    add("limits.max_turns", max_turns.map(|most| most.to_string()));
    let GuardTerms { repetition, finished, drafts, max_steps } = guards;
    let RepetitionTerms { on, times, max_cycle, similarity_permille } = repetition;
    let off = |on: &bool| (!on).then(|| "true".to_owned());
    let if_on = |on: &bool, value: String| on.then_some(value);
    add("guards.repetition.off", off(on));
    add("guards.repetition.times", if_on(on, times.to_string()));
    add("guards.repetition.max_cycle", if_on(on, max_cycle.to_string()));
    add("guards.repetition.similarity", if_on(on, permille(*similarity_permille)));
    let FinishedTerms { on, restated, confirmed, idle } = finished;
    add("guards.finished.off", off(on));
    add("guards.finished.restated", if_on(on, restated.unwrap_or(0).to_string()));
    add("guards.finished.confirmed", if_on(on, confirmed.to_string()));
    add("guards.finished.idle", if_on(on, idle.unwrap_or(0).to_string()));
    let DraftTerms { on, similarity_permille } = drafts;
    add("guards.drafts.off", off(on));
    add("guards.drafts.similarity", if_on(on, permille(*similarity_permille)));
    add("guards.max_steps", max_steps.map(|most| most.to_string()));
    out
}

/// The terms of the guards as YAML, as they stand in a contract.
#[must_use]
pub fn fragment(guards: &GuardTerms) -> String {
    let mut out = String::new();
    let mut above: Vec<String> = Vec::new();
    for (path, value) in values(&BacktestTerms { guards: *guards, ..BacktestTerms::default() }) {
        let mut groups: Vec<String> = path.split('.').map(str::to_owned).collect();
        let name = groups.pop().unwrap_or_default();
        let shared = groups.iter().zip(&above).take_while(|(one, other)| one == other).count();
        for (depth, group) in groups.iter().enumerate().skip(shared) {
            out.push_str(&format!("{}{group}:\n", "  ".repeat(depth)));
        }
        out.push_str(&format!("{}{name}: {value}\n", "  ".repeat(groups.len())));
        above = groups;
    }
    out
}

/// What no success needed more of, as comments below a fragment: the figures of a fit do not hold the runs to it.
#[must_use]
pub fn caps(caps: Caps) -> String {
    let Caps { max_hops, max_turns, max_tokens } = caps;
    if max_tokens == 0 {
        return String::new();
    }
    format!(
        "# With a quarter to spare, no success needed more than limits.max_hops: {max_hops}, limits.max_turns: {max_turns},\n\
         # budget.max_tokens: {max_tokens}\n"
    )
}

/// 900 as "0.9".
fn permille(permille: u16) -> String {
    (f64::from(permille) / 1_000.0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_written_as_a_contract_has_them() {
        let guards = GuardTerms {
            repetition: RepetitionTerms { similarity_permille: 900, ..RepetitionTerms::default() },
            finished: FinishedTerms { restated: None, idle: Some(8), ..FinishedTerms::default() },
            drafts: DraftTerms { on: false, ..DraftTerms::default() },
            max_steps: Some(40),
        };
        let expected = "guards:\n  repetition:\n    times: 3\n    max_cycle: 6\n    similarity: 0.9\n  finished:\n    \
                        restated: 0\n    confirmed: true\n    idle: 8\n  drafts:\n    off: true\n  max_steps: 40\n";
        assert_eq!(fragment(&guards), expected);
        let limits = BacktestTerms { max_hops: Some(12), ..BacktestTerms::default() };
        assert_eq!(values(&limits)[0], ("limits.max_hops".to_owned(), "12".to_owned()));
    }
}
