//! What becomes of one message: drawn from the rates, nothing else. Pure.

use crate::types::{dice::Dice, time::Span};

/// How often each kind of failure is made: shares of messages, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Faults {
    /// Held up.
    pub(crate) delay: f64,
    /// For this long at most.
    pub(crate) delay_up_to: Span,
    /// Lost.
    pub(crate) drop: f64,
    /// Delivered twice.
    pub(crate) duplicate: f64,
    /// Assignments whose lease is ended.
    pub(crate) lose_lease: f64,
    /// The session is ended.
    pub(crate) kill_session: f64,
}

/// What happens on the way of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It arrives.
    Through,
    /// It arrives twice.
    Twice,
    /// It is lost before it arrives.
    Lost,
    /// It arrives, but what comes back is lost. Of messages down: as `Lost`.
    AnswerLost,
    /// The session ends instead.
    Cut,
}

/// What becomes of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fate {
    /// It is held up for so long first.
    pub(crate) delay: Option<Span>,
    /// Then this.
    pub(crate) way: Way,
    /// Of an assignment: its lease is ended so long after.
    pub(crate) lease_lost_after: Option<Span>,
}

impl Fate {
    /// Nothing out of the ordinary.
    pub(crate) const ORDINARY: Self = Self { delay: None, way: Way::Through, lease_lost_after: None };
}

impl Faults {
    /// Draws for one message. Every message takes the same number of draws, so that rates do not shift each other.
    pub(crate) fn draw(&self, dice: &mut Dice, is_assignment: bool) -> Fate {
        let Self { delay, delay_up_to, drop, duplicate, lose_lease, kill_session } = *self;
        let span = |dice: &mut Dice| Span(dice.between(0, delay_up_to.0));
        let (late, held) = (dice.hits(delay), span(dice));
        let (lost, before) = (dice.hits(drop), dice.hits(0.5));
        let (twice, cut) = (dice.hits(duplicate), dice.hits(kill_session));
        let (lapses, after) = (dice.hits(lose_lease), span(dice));
        let way = match (lost, cut, twice) {
            (true, _, _) if before => Way::Lost,
            (true, _, _) => Way::AnswerLost,
            (false, true, _) => Way::Cut,
            (false, false, true) => Way::Twice,
            (false, false, false) => Way::Through,
        };
        Fate {
            delay: late.then_some(held),
            way,
            lease_lost_after: (lapses && is_assignment).then_some(after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(faults: Faults) -> Vec<Fate> {
        let mut dice = Dice::new(5);
        (0..4_000).map(|n| faults.draw(&mut dice, n % 2 == 0)).collect()
    }

    #[test]
    fn rates_of_nothing_leave_everything_as_it_is() {
        assert!(ways(Faults::default()).iter().all(|fate| *fate == Fate::ORDINARY));
    }

    #[test]
    fn each_rate_makes_its_own_kind_of_failure_and_no_other() {
        let count = |fates: &[Fate], is: fn(&Fate) -> bool| fates.iter().filter(|fate| is(fate)).count();
        let lost = ways(Faults { drop: 0.5, ..Faults::default() });
        let (before, after) =
            (count(&lost, |f| f.way == Way::Lost), count(&lost, |f| f.way == Way::AnswerLost));
        assert!((800..1_200).contains(&before) && (800..1_200).contains(&after), "{before} {after}");
        assert_eq!(before + after + count(&lost, |f| *f == Fate::ORDINARY), 4_000);
        let twice = ways(Faults { duplicate: 1.0, ..Faults::default() });
        assert_eq!(count(&twice, |f| f.way == Way::Twice && f.delay.is_none()), 4_000);
        let cut = ways(Faults { kill_session: 1.0, ..Faults::default() });
        assert_eq!(count(&cut, |f| f.way == Way::Cut), 4_000);
        let late = ways(Faults { delay: 1.0, delay_up_to: Span::from_millis(9), ..Faults::default() });
        assert!(late.iter().all(|f| f.delay.is_some_and(|delay| delay <= Span::from_millis(9))));
        let lapsed = ways(Faults { lose_lease: 1.0, ..Faults::default() });
        assert_eq!(count(&lapsed, |f| f.lease_lost_after.is_some()), 2_000, "of assignments only");
    }

    #[test]
    fn the_same_seed_draws_the_same_fates() {
        let faults = Faults {
            delay: 0.3,
            delay_up_to: Span::from_secs(1),
            drop: 0.1,
            duplicate: 0.2,
            ..Faults::default()
        };
        assert_eq!(ways(faults), ways(faults));
    }
}
