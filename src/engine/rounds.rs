//! The rounds of a delegating agent since the owner or a person last decided: each with the score of the draft it came with.
//! Whether they still pay is `guard::convergence`'s to say. Never here: the cap on rounds, which is a counter, and what
//! follows from a verdict. A re-plan is no round: that a plan failed says nothing of the draft.

use super::{
    event::Trip,
    guard::{
        GuardKind, GuardTrip,
        convergence::{has_stalled, same_draft},
    },
};
use crate::types::{contract::Convergence, guards::DraftTerms, ids::TurnNumber, payload::Payload};

/// Characters of a draft that evidence shows.
const EXCERPT_CHARS: usize = 120;

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(super) struct Rounds {
    /// The score of each, oldest first; the first may be the best that was reached before a decision.
    scores: Vec<Option<f64>>,
    turns: Vec<TurnNumber>,
    last: Option<(TurnNumber, Payload)>,
}

/// A delegation with the draft of the task's result that it carries, if any.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draft<'a> {
    pub(super) turn: TurnNumber,
    pub(super) score: Option<f64>,
    pub(super) result: Option<&'a Payload>,
}

impl Rounds {
    /// What stands against another round with this draft, every reason apart.
    pub(super) fn verdict(
        &self,
        draft: Draft<'_>,
        terms: Option<&Convergence>,
        drafts: &DraftTerms,
    ) -> Vec<Trip> {
        let no_gain = terms.and_then(|terms| self.no_gain(draft, terms));
        self.same_draft(draft, drafts).into_iter().chain(no_gain).collect()
    }

    fn same_draft(&self, draft: Draft<'_>, terms: &DraftTerms) -> Option<Trip> {
        let (before, last) = self.last.as_ref()?;
        let result = draft.result?;
        let similarity_permille = same_draft(terms, last.as_str(), result.as_str())?;
        Some(Trip::of_guard(GuardTrip {
            guard: GuardKind::Drafts,
            turns: vec![*before, draft.turn],
            agent: None,
            repeated: result.as_str().chars().take(EXCERPT_CHARS).collect(),
            times: 2,
            cycle: 1,
            similarity_permille,
            in_turn: None,
        }))
    }

    fn no_gain(&self, draft: Draft<'_>, terms: &Convergence) -> Option<Trip> {
        let scores: Vec<_> = self.scores.iter().copied().chain([draft.score]).collect();
        if !has_stalled(&scores, terms.min_gain, terms.patience) {
            return None;
        }
        let recent = usize::try_from(terms.patience).unwrap_or(usize::MAX).saturating_sub(1);
        let from = self.turns.len().saturating_sub(recent);
        let best = scores.iter().flatten().copied().fold(0.0, f64::max);
        Some(Trip::of_guard(GuardTrip {
            guard: GuardKind::NoGain,
            turns: self.turns[from..].iter().copied().chain([draft.turn]).collect(),
            agent: None,
            repeated: format!("best score {best}, less than {} gained", terms.min_gain),
            times: terms.patience,
            cycle: 1,
            similarity_permille: 1_000,
            in_turn: None,
        }))
    }

    /// Another round has begun with this draft.
    pub(super) fn record(&mut self, draft: Draft<'_>) {
        self.scores.push(draft.score);
        self.turns.push(draft.turn);
        if let Some(result) = draft.result {
            self.last = Some((draft.turn, result.clone()));
        }
    }

    /// The owner or a person has decided: only rounds that come now count. The score reached stays the one to beat.
    pub(super) fn settle(&mut self) {
        let best = self.scores.iter().flatten().copied().reduce(f64::max);
        *self = Self { scores: best.into_iter().map(Some).collect(), ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Convergence = Convergence { min_gain: 0.1, patience: 2 };

    fn verdict(rounds: &Rounds, draft: Draft<'_>) -> Vec<GuardKind> {
        let trips = rounds.verdict(draft, Some(&TERMS), &DraftTerms::default());
        trips.iter().filter_map(|trip| trip.pattern.as_ref()).map(|pattern| pattern.guard).collect()
    }

    /// Plays drafts (score, text); the place of the one that ends it, and why.
    fn check(drafts: &[(f64, u32)], expected: Option<(usize, GuardKind)>) {
        let mut rounds = Rounds::default();
        for (place, (score, text)) in drafts.iter().enumerate() {
            let result = Payload::from_json(&serde_json::json!(text));
            let turn = u32::try_from(place).expect("few") + 1;
            let draft = Draft { turn, score: Some(*score), result: Some(&result) };
            if let Some(guard) = verdict(&rounds, draft).first() {
                return assert_eq!(Some((place, *guard)), expected);
            }
            rounds.record(draft);
        }
        assert_eq!(expected, None);
    }

    #[test]
    fn rounds_end_when_they_no_longer_pay() {
        check(&[(0.5, 1), (0.6, 2), (0.7, 3), (0.8, 4)], None);
        check(&[(0.5, 1), (0.52, 2), (0.54, 3)], Some((2, GuardKind::NoGain)));
        check(&[(0.5, 1), (0.7, 2), (0.6, 3), (0.7, 4)], Some((3, GuardKind::NoGain)));
        check(&[(0.1, 1), (0.3, 2), (0.9, 2)], Some((2, GuardKind::Drafts)));
        check(&[(0.1, 1), (0.3, 2), (0.9, 1)], None);
    }

    #[test]
    fn after_a_decision_only_what_comes_counts_and_the_score_stays_the_one_to_beat() {
        let mut rounds = Rounds::default();
        let result = Payload::from_json(&serde_json::json!(1));
        let draft = |turn, score| Draft { turn, score: Some(score), result: Some(&result) };
        rounds.record(draft(1, 0.5));
        rounds.record(draft(2, 0.5));
        assert_eq!(verdict(&rounds, draft(3, 0.5)), [GuardKind::Drafts, GuardKind::NoGain]);
        rounds.settle();
        assert!(verdict(&rounds, draft(3, 0.5)).is_empty());
        rounds.record(Draft { turn: 3, score: None, result: None });
        assert_eq!(verdict(&rounds, draft(4, 0.55)), [GuardKind::NoGain]);
        assert!(verdict(&rounds, draft(4, 0.65)).is_empty());
    }
}
