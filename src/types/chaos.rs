//! What is kept of chaos runs: for every agent, when it last stood one and when it last did not.

use super::{
    ids::AgentName,
    time::{Span, Timestamp},
};

/// How long a run counts.
pub const COUNTS_FOR: Span = Span::from_secs(90 * 86_400);

/// What is kept of the runs that an agent took part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChaosRecord {
    /// The end of the last that passed.
    pub passed_at: Option<Timestamp>,
    /// The end of the last that failed.
    pub failed_at: Option<Timestamp>,
}

impl ChaosRecord {
    /// The end of the last run, and whether it passed.
    pub fn last(&self) -> Option<(Timestamp, bool)> {
        let passed = self.passed_at.map(|at| (at, true));
        let failed = self.failed_at.map(|at| (at, false));
        passed.into_iter().chain(failed).max_by_key(|(at, _)| *at)
    }
}

/// What the runs say of a crew: the agents that a contract gives work to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CrewTested {
    /// The oldest of their last runs.
    pub at: Timestamp,
    /// Agents whose last run failed.
    pub failed: Vec<AgentName>,
    /// Agents that were in no run.
    pub untested: Vec<AgentName>,
}

impl CrewTested {
    /// Of these agents with their records. `None`: none of them was ever in a run.
    pub fn of<'a>(crew: impl IntoIterator<Item = (&'a AgentName, Option<ChaosRecord>)>) -> Option<Self> {
        let mut tested = Self { at: Timestamp(u64::MAX), ..Self::default() };
        for (agent, record) in crew {
            match record.and_then(|record| record.last()) {
                None => tested.untested.push(agent.clone()),
                Some((at, passed)) => {
                    tested.at = tested.at.min(at);
                    if !passed {
                        tested.failed.push(agent.clone());
                    }
                }
            }
        }
        (tested.at < Timestamp(u64::MAX)).then_some(tested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crew_is_as_tested_as_its_least_tested_agent() {
        let name = |text: &str| text.parse::<AgentName>().expect("a name");
        let (a, b, c) = (name("a"), name("b"), name("c"));
        let record = |passed: u64, failed: u64| {
            let at = |at: u64| (at > 0).then_some(Timestamp(at));
            Some(ChaosRecord { passed_at: at(passed), failed_at: at(failed) })
        };
        assert_eq!(CrewTested::of([(&a, None), (&b, record(0, 0))]), None);
        let both = CrewTested::of([(&a, record(9, 5)), (&b, record(7, 0))]).expect("both were in a run");
        assert_eq!(both, CrewTested { at: Timestamp(7), failed: vec![], untested: vec![] });
        let some = CrewTested::of([(&a, record(5, 9)), (&b, record(7, 0)), (&c, None)]).expect("two were");
        assert_eq!(some, CrewTested { at: Timestamp(7), failed: vec![a], untested: vec![c] });
    }
}
