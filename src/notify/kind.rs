//! What a sink can be told of. The names are a promise to configurations and to receivers.

use crate::{
    engine::event::{Event, Outcome},
    types::outcome::TaskState,
};

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeKind {
    /// A person is asked.
    EscalationAsked,
    /// A question was answered, has expired or was withdrawn.
    EscalationEnded,
    /// One guard or several have tripped on a task.
    GuardsTripped,
    /// A task ended DEAD_LETTERED.
    DeadLetter,
    /// A task ended PARTIAL, FAILED or CANCELLED.
    TaskUnsuccessful,
    /// Spending was too fast. No event of a task: see `burn`.
    BurnRate,
}

impl NoticeKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::EscalationAsked,
        Self::EscalationEnded,
        Self::GuardsTripped,
        Self::DeadLetter,
        Self::TaskUnsuccessful,
        Self::BurnRate,
    ];

    /// The name in configurations and bodies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EscalationAsked => "escalation_asked",
            Self::EscalationEnded => "escalation_ended",
            Self::GuardsTripped => "guards_tripped",
            Self::DeadLetter => "dead_letter",
            Self::TaskUnsuccessful => "task_unsuccessful",
            Self::BurnRate => "burn_rate",
        }
    }

    /// The kind of that name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether events that the journal names so may be of this kind: a look that needs no parsing.
    pub fn may_be(self, journal_kind: &str) -> bool {
        match self {
            Self::EscalationAsked => journal_kind == "escalated",
            Self::EscalationEnded => journal_kind == "escalation_ended",
            Self::GuardsTripped => journal_kind == "guards_tripped",
            Self::DeadLetter | Self::TaskUnsuccessful => journal_kind == "ended",
            Self::BurnRate => false,
        }
    }

    /// What an event is told as; `None`: nobody is told of it.
    pub fn of(event: &Event) -> Option<Self> {
        match event {
            Event::Escalated(_) => Some(Self::EscalationAsked),
            Event::EscalationEnded { .. } => Some(Self::EscalationEnded),
            Event::GuardsTripped { .. } => Some(Self::GuardsTripped),
            Event::Ended { outcome, .. } => Self::of_outcome(outcome),
            _ => None,
        }
    }

    fn of_outcome(outcome: &Outcome) -> Option<Self> {
        match outcome.state {
            TaskState::DeadLettered => Some(Self::DeadLetter),
            TaskState::Partial | TaskState::Failed | TaskState::Cancelled => Some(Self::TaskUnsuccessful),
            _ => None,
        }
    }
}
