//! What a guard reports when it trips: the evidence. Never here: what follows.

use serde::{Deserialize, Serialize};

use super::{Observation, text};

/// Which guard. The order is the order of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum GuardKind {
    /// The same content in a row.
    Repetition,
    /// The same contents in a cycle.
    Cycle,
    /// Nearly the same content in a row or in a cycle.
    NearRepetition,
    /// An answer stated again by its author, with nothing new said against it.
    Restated,
    /// A tool said what was already answered.
    Confirmed,
    /// Talk that adds nothing to a result that stands.
    Idle,
    /// Two drafts that are the same.
    Drafts,
    /// Rounds without a gain.
    NoGain,
    /// The cap on steps.
    Steps,
}

impl GuardKind {
    /// Every guard, in the order of a report.
    pub const ALL: [Self; 9] = [
        Self::Repetition,
        Self::Cycle,
        Self::NearRepetition,
        Self::Restated,
        Self::Confirmed,
        Self::Idle,
        Self::Drafts,
        Self::NoGain,
        Self::Steps,
    ];

    /// As people read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Repetition => "repetition",
            Self::Cycle => "cycle",
            Self::NearRepetition => "near repetition",
            Self::Restated => "answer restated",
            Self::Confirmed => "answer confirmed",
            Self::Idle => "nothing added",
            Self::Drafts => "same drafts",
            Self::NoGain => "no gain",
            Self::Steps => "steps",
        }
    }

    /// Whether it says that the work is done rather than that it loops.
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Restated | Self::Confirmed | Self::Idle | Self::Drafts | Self::NoGain)
    }

    /// Whether it says that the work loops.
    pub const fn is_loop(self) -> bool {
        matches!(self, Self::Repetition | Self::Cycle | Self::NearRepetition)
    }

    pub(super) const fn of_repetition(cycle: u32, is_equal: bool) -> Self {
        match (is_equal, cycle) {
            (true, 1) => Self::Repetition,
            (true, _) => Self::Cycle,
            (false, _) => Self::NearRepetition,
        }
    }
}

/// A guard that tripped, with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardTrip {
    /// Which guard.
    pub guard: GuardKind,
    /// The turns it looked at, ascending.
    pub turns: Vec<u32>,
    /// The agent, where one alone is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// How the content begins, or its fingerprint.
    pub repeated: String,
    /// How many times.
    pub times: u32,
    /// Length of the cycle; 1: in a row.
    pub cycle: u32,
    /// How alike, in thousandths.
    pub similarity_permille: u16,
    /// The turn in which it happened, where the steps of one turn alone are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_turn: Option<u32>,
}

impl GuardTrip {
    pub(super) fn finished(guard: GuardKind, o: &Observation<'_>, turns: Vec<u32>, times: u32) -> Self {
        Self {
            guard,
            turns,
            agent: Some(o.agent.to_owned()),
            repeated: text::excerpt(o.content),
            times,
            cycle: 1,
            similarity_permille: 1_000,
            in_turn: None,
        }
    }

    /// The evidence, as one sentence with figures.
    pub fn evidence(&self) -> String {
        let who = self.agent.as_deref().unwrap_or("several agents");
        let place = match self.in_turn {
            Some(turn) => format!("inside turn {turn}"),
            None => turns(&self.turns),
        };
        let (times, cycle, repeated) = (self.times, self.cycle, &self.repeated);
        match self.guard {
            GuardKind::Repetition => {
                format!("{who} gave the same content {times} times in a row ({place}): {repeated:?}")
            }
            GuardKind::Cycle => {
                format!(
                    "{who} went {times} times through the same {cycle} steps ({place}), last: {repeated:?}"
                )
            }
            GuardKind::NearRepetition => format!(
                "{who} gave nearly the same content {times} times, {}.{} % alike ({place}), last: {repeated:?}",
                self.similarity_permille / 10,
                self.similarity_permille % 10,
            ),
            GuardKind::Restated => {
                format!(
                    "{who} stated the same answer again with nothing new said against it ({place}): {repeated:?}"
                )
            }
            GuardKind::Confirmed => format!("a tool gave what was already answered ({place}): {repeated:?}"),
            GuardKind::Idle => format!(
                "{times} messages in a row added no new figure, code or thought to the result that stands ({place}), last: \
                 {repeated:?}"
            ),
            GuardKind::Drafts => format!(
                "two drafts in a row are the same, {}.{} % alike ({place})",
                self.similarity_permille / 10,
                self.similarity_permille % 10,
            ),
            GuardKind::NoGain => format!("the last {times} rounds brought no gain ({place})"),
            GuardKind::Steps => format!("{times} steps were observed, the most that the contract allows"),
        }
    }
}

fn turns(turns: &[u32]) -> String {
    let list = |turns: &[u32]| turns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match turns {
        [] => "no turn".to_owned(),
        [one] => format!("turn {one}"),
        _ if turns.len() <= 8 => format!("turns {}", list(turns)),
        _ => format!("{} turns, the last {}", turns.len(), list(&turns[turns.len() - 3..])),
    }
}
