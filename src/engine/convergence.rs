//! Convergence over rounds: whether another delegation still pays. Pure figures over the drafts that came with accepted
//! delegations. Never here: the cap on rounds, which is a counter, and what follows from a verdict.

use super::event::{Pattern, PatternKind, Trip};
use crate::types::{contract::Convergence, ids::TurnNumber, outcome::Cause, payload::Payload};

/// Characters of a draft that evidence shows.
const EXCERPT_CHARS: usize = 120;

/// The drafts of the rounds since the owner or a person last decided.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rounds {
    /// The score that was last progress.
    reference: Option<f64>,
    /// Rounds since then, and the turns they came with.
    stale: Vec<TurnNumber>,
    last: Option<(TurnNumber, Payload)>,
}

/// The best result so far as a delegation carries it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draft<'a> {
    pub(super) turn: TurnNumber,
    pub(super) score: f64,
    pub(super) result: &'a Payload,
}

/// How alike two drafts are, in thousandths, where they are the same in substance.
pub(super) type Sameness<'a> = &'a dyn Fn(&Payload, &Payload) -> Option<u16>;

impl Rounds {
    /// What stands against another round with this draft, every reason apart.
    pub(super) fn verdict(
        &self,
        draft: Draft<'_>,
        terms: Option<&Convergence>,
        same: Sameness<'_>,
    ) -> Vec<Trip> {
        let no_gain = terms.and_then(|terms| self.no_gain(draft, terms));
        self.same_draft(draft, same).into_iter().chain(no_gain).collect()
    }

    fn same_draft(&self, draft: Draft<'_>, same: Sameness<'_>) -> Option<Trip> {
        let (before, last) = self.last.as_ref()?;
        let similarity = same(last, draft.result)?;
        let evidence =
            format!("turns {before} and {} delegated with drafts that are the same in substance", draft.turn);
        Some(trip(PatternKind::SameDraft, evidence, vec![*before, draft.turn], draft.result, similarity))
    }

    fn no_gain(&self, draft: Draft<'_>, terms: &Convergence) -> Option<Trip> {
        let reference = self.reference?;
        let rounds = u32::try_from(self.stale.len()).unwrap_or(u32::MAX).saturating_add(1);
        if is_gain(draft.score, reference, terms) || rounds < terms.patience {
            return None;
        }
        let evidence = format!(
            "{rounds} rounds brought no gain of {}: the score was {reference} and is {}",
            terms.min_gain, draft.score
        );
        let turns = self.stale.iter().copied().chain([draft.turn]).collect();
        Some(trip(PatternKind::NoGain, evidence, turns, draft.result, 1_000))
    }

    /// Another round has begun with this draft.
    pub(super) fn record(&mut self, draft: Draft<'_>, terms: Option<&Convergence>) {
        self.last = Some((draft.turn, draft.result.clone()));
        let Some(terms) = terms else { return };
        match self.reference {
            Some(reference) if !is_gain(draft.score, reference, terms) => self.stale.push(draft.turn),
            Some(_) | None => {
                self.reference = Some(draft.score);
                self.stale.clear();
            }
        }
    }

    /// The owner or a person has decided: only what comes now counts. The score reached stays the one to beat.
    pub(super) fn settle(&mut self) {
        self.stale.clear();
        self.last = None;
    }
}

fn is_gain(score: f64, reference: f64, terms: &Convergence) -> bool {
    // A gain that is exactly min_gain in decimals must not be lost to the last bit.
    score - reference >= terms.min_gain - 1e-9
}

fn trip(
    kind: PatternKind,
    evidence: String,
    turns: Vec<TurnNumber>,
    draft: &Payload,
    similarity_permille: u16,
) -> Trip {
    let times = u32::try_from(turns.len()).unwrap_or(u32::MAX);
    let excerpt = draft.as_str().chars().take(EXCERPT_CHARS).collect();
    let pattern = Some(Pattern { kind, excerpt, times, cycle: 1, similarity_permille });
    Trip { turns, pattern, ..Trip::new(Cause::Converged, evidence) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Convergence = Convergence { min_gain: 0.1, patience: 2 };

    fn exactly(a: &Payload, b: &Payload) -> Option<u16> {
        (a == b).then_some(1_000)
    }

    /// Plays drafts (score, text); the number of the draft that ends it, and how.
    fn check(drafts: &[(f64, u32)], expected: Option<(usize, PatternKind)>) {
        let mut rounds = Rounds::default();
        for (place, (score, text)) in drafts.iter().enumerate() {
            let result = Payload::from_json(&serde_json::json!(text));
            let turn = u32::try_from(place).expect("few") + 1;
            let draft = Draft { turn, score: *score, result: &result };
            if let Some(trip) = rounds.verdict(draft, Some(&TERMS), &exactly).first() {
                let kind = trip.pattern.as_ref().expect("drafts were compared").kind;
                return assert_eq!(Some((place, kind)), expected);
            }
            rounds.record(draft, Some(&TERMS));
        }
        assert_eq!(expected, None);
    }

    #[test]
    fn rounds_end_when_they_no_longer_pay() {
        check(&[(0.5, 1), (0.6, 2), (0.7, 3), (0.8, 4)], None);
        check(&[(0.5, 1), (0.55, 2), (0.6, 3), (0.65, 4), (0.7, 5)], None);
        check(&[(0.5, 1), (0.52, 2), (0.54, 3)], Some((2, PatternKind::NoGain)));
        check(&[(0.5, 1), (0.7, 2), (0.6, 3), (0.7, 4)], Some((3, PatternKind::NoGain)));
        check(&[(0.1, 1), (0.3, 2), (0.9, 2)], Some((2, PatternKind::SameDraft)));
        check(&[(0.1, 1), (0.3, 2), (0.9, 1)], None);
    }

    #[test]
    fn after_a_decision_only_what_comes_counts() {
        let mut rounds = Rounds::default();
        let result = Payload::from_json(&serde_json::json!(1));
        let draft = |turn| Draft { turn, score: 0.5, result: &result };
        rounds.record(draft(1), Some(&TERMS));
        rounds.record(draft(2), Some(&TERMS));
        assert_eq!(rounds.verdict(draft(3), Some(&TERMS), &exactly).len(), 2);
        rounds.settle();
        assert!(rounds.verdict(draft(3), Some(&TERMS), &exactly).is_empty());
    }
}
