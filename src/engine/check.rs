//! Invariants, added up afresh. Constant-time ones are asserted by `apply` and the ledger after every event, in production
//! too; this is the slow look over everything, for tests and simulations.

use std::collections::BTreeSet;

use super::{event::TurnKind, task::Task};

impl Task {
    /// Panics where an invariant does not hold. Linear in the task's history.
    pub fn audit(&self) {
        self.ledger.audit();
        let open: BTreeSet<_> = self.turns.iter().filter(|t| t.is_open()).map(|t| t.number).collect();
        assert_eq!(open, self.open, "the open turns are those that wait or are leased");
        let decides = self.turns.iter().filter(|t| t.is_open() && t.kind == TurnKind::Decide).count();
        assert!(decides == 0 || open.len() == 1, "a decide turn is the only open turn");
        let judged: BTreeSet<_> = self.turns.iter().filter_map(|t| t.judges).collect();
        let validates = self.turns.iter().filter(|t| t.kind == TurnKind::Validate).count();
        assert_eq!(validates, judged.len(), "a result is judged once");
        assert_eq!(u32::try_from(validates), Ok(self.validates));
        assert!(self.open_validate().is_none() || open.len() == 1, "a validate turn is the only open turn");
        for turn in &self.turns {
            if let Some(judged) = turn.judges.and_then(|judged| self.turn(judged)) {
                assert!(judged.agent != turn.agent, "nobody judges its own answer");
            }
            let attempts = u32::try_from(turn.tries()).unwrap_or(u32::MAX);
            assert!(attempts <= self.contract.limits.max_attempts, "attempts never over their cap");
            let ended = turn.attempts.iter().filter(|a| !a.ended.is_empty()).count();
            let live = usize::from(turn.live().is_some());
            assert!(ended + live <= turn.attempts.len(), "one live lease a turn");
        }
        for &turn in self.open.iter().filter(|_| self.outcome.is_none()) {
            let is_work = self.turn(turn).is_some_and(|t| t.kind == TurnKind::Work);
            let seen = if is_work { self.guard_trips(turn) } else { Vec::new() };
            assert!(seen.is_empty(), "work goes on only where every trip has been answered: {seen:?}");
        }
        if let Some(plan) = self.running_plan() {
            let parallel = u32::try_from(plan.running().len()).unwrap_or(u32::MAX);
            assert!(parallel <= self.contract.limits.max_parallel, "steps never over max_parallel");
            let (held, promised) = (self.ledger.plan_free(), self.plan_promises(plan, None));
            assert!(held >= promised, "a plan holds what it promised: {held} < {promised}");
        }
        let work = self.turns.iter().filter(|t| t.kind == TurnKind::Work).count();
        assert_eq!(u32::try_from(work), Ok(self.counters.turns - self.turns_of_children()));
        self.audit_children();
        assert!(
            self.settled.is_none() || self.is_dead_letter(),
            "only a dead letter is redriven or discarded"
        );
        assert!(self.redrives.is_none() || self.parent.is_none(), "a successor is nobody's child");
        if self.outcome.is_none() {
            let goes_on = !self.open.is_empty() || !self.open_questions.is_empty();
            assert!(goes_on, "a task that has not ended always has something to wait for");
            assert!(self.next_timer(self.updated_at).is_some(), "and always a time at which it ends");
        } else {
            assert!(self.open_questions.is_empty(), "no question outlives its task");
            assert!(self.running_plan().is_none(), "no plan outlives its task");
        }
    }
}
