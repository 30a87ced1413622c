//! The promises that a run holds the server to.

/// A promise that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Every acknowledged task is there and has ended.
    Lost,
    /// Every task has one outcome, after which nothing happens but late usage.
    OneOutcome,
    /// The journal of every task is numbered without a gap and says something everywhere.
    Record,
    /// No budget is exceeded beyond what is recorded as overrun.
    Budget,
    /// No answer counts but that of the live lease.
    Fence,
    /// No turn takes effect twice.
    Effects,
    /// One idempotency key names one task.
    Keys,
    /// Every question ends once.
    Questions,
    /// No child outlives its parent.
    Children,
    /// Every task ends as its shape may.
    Outcomes,
    /// After every outage of the server work goes on.
    Recovery,
    /// What was to be injected was injected.
    Injected,
}

impl Check {
    /// Every check, in the order in which it is shown.
    pub const ALL: [Self; 12] = [
        Self::Lost,
        Self::OneOutcome,
        Self::Budget,
        Self::Effects,
        Self::Fence,
        Self::Keys,
        Self::Questions,
        Self::Children,
        Self::Record,
        Self::Outcomes,
        Self::Recovery,
        Self::Injected,
    ];

    /// Its name: stable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::OneOutcome => "one-outcome",
            Self::Record => "record",
            Self::Budget => "budget",
            Self::Fence => "fence",
            Self::Effects => "effects",
            Self::Keys => "keys",
            Self::Questions => "questions",
            Self::Children => "children",
            Self::Outcomes => "outcomes",
            Self::Recovery => "recovery",
            Self::Injected => "injected",
        }
    }

    /// What it holds, in a sentence.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Lost => "every acknowledged task is there and has ended",
            Self::OneOutcome => "one outcome a task, and nothing after it but late usage",
            Self::Record => "every journal is numbered without a gap",
            Self::Budget => {
                "no budget is exceeded beyond the overrun on record, and the books add up to the token"
            }
            Self::Fence => "no answer counts but that of the live lease",
            Self::Effects => "no turn takes effect twice",
            Self::Keys => "one idempotency key, one task",
            Self::Questions => "every question ends once",
            Self::Children => "no child outlives its parent",
            Self::Outcomes => "every task ends as its shape may",
            Self::Recovery => "after every kill and freeze of the server work goes on",
            Self::Injected => "every kind of failure that was asked for happened",
        }
    }
}
