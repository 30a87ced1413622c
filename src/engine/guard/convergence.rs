//! Convergence over the rounds of a delegating agent: no gain, or two drafts that are the same. Pure functions; the engine
//! keeps the rounds. Never here: what a round is, or who scored it.

use super::{answer::Parts, sketch::Sketch, text};
use crate::types::guards::DraftTerms;

/// Whether the last `patience` rounds brought no gain of at least `min_gain` over the best score before them. Scores are
/// 0 to 1, oldest first; a round without a score counts as one without gain.
pub fn has_stalled(scores: &[Option<f64>], min_gain: f64, patience: u32) -> bool {
    let patience = patience as usize;
    let Some(split) = scores.len().checked_sub(patience).filter(|&split| split > 0 && patience > 0) else {
        return false;
    };
    let best = |scores: &[Option<f64>]| scores.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
    let before = best(&scores[..split]).max(0.0);
    best(&scores[split..]) < before + min_gain.max(f64::MIN_POSITIVE)
}

/// How alike two drafts (results as JSON text) are, in thousandths, where the terms count them as the same.
pub fn same_draft(terms: &DraftTerms, before: &str, now: &str) -> Option<u16> {
    if !terms.on {
        return None;
    }
    if text::dense(before) == text::dense(now) {
        return Some(1_000);
    }
    let sketch = |draft: &str| Sketch::of(draft, &text::words(draft), Parts::of(draft).code_hash);
    let (before, now) = (sketch(before)?, sketch(now)?);
    let similarity = before.similarity_permille(&now);
    (!before.is_of_other_substance(&now) && similarity >= terms.similarity_permille).then_some(similarity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_runs_out_without_a_gain() {
        let check = |scores: &[f64], min_gain: f64, patience: u32, expected: bool| {
            let scores: Vec<_> = scores.iter().copied().map(Some).collect();
            assert_eq!(
                has_stalled(&scores, min_gain, patience),
                expected,
                "{scores:?} {min_gain} {patience}"
            );
        };
        check(&[], 0.1, 2, false);
        check(&[0.5], 0.1, 1, false);
        check(&[0.5, 0.55], 0.1, 1, true);
        check(&[0.5, 0.65], 0.1, 1, false);
        check(&[0.5, 0.55, 0.58], 0.1, 2, true);
        check(&[0.5, 0.55, 0.62], 0.1, 2, false);
        check(&[0.9, 0.1, 0.2], 0.0, 2, true);
        check(&[0.5, 0.5], 0.0, 0, false);
        assert!(has_stalled(&[Some(0.4), None, None], 0.0, 2));
        assert!(!has_stalled(&[None, Some(0.4)], 0.1, 1));
    }

    #[test]
    fn drafts_are_the_same_in_substance_or_not_at_all() {
        let terms = DraftTerms::default();
        let long = |end: &str| {
            let words: String = (0..200).map(|n| format!("word{n} ")).collect();
            serde_json::json!({ "draft": format!("{words}{end}") }).to_string()
        };
        assert_eq!(same_draft(&terms, "{\"a\": 1}", "{\"a\":1}"), Some(1_000));
        assert_eq!(same_draft(&terms, "{\"a\": 1}", "{\"a\":2}"), None);
        assert!(same_draft(&terms, &long("so"), &long("thus")).is_some());
        let grown = long(&(0..40).map(|n| format!("more{n} ")).collect::<String>());
        assert_eq!(same_draft(&terms, &long(""), &grown), None);
        assert_eq!(same_draft(&DraftTerms { on: false, ..terms }, "1", "1"), None);
    }
}
