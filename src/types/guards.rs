//! The terms of the guards that read what is said: repetition, "already finished", sameness of drafts. Each is on unless
//! the contract switches it off. Floor 0.
//!
//! Never here: detection (`engine::guard`). Every default says what it was measured on; the figures are remade by
//! `bailiwick backtest`.

use serde::{Deserialize, Serialize};

/// Terms of every guard over content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GuardTerms {
    /// The same content again and again.
    pub repetition: RepetitionTerms,
    /// An answer that stands while the talk goes on.
    pub finished: FinishedTerms,
    /// Two drafts that are the same.
    pub drafts: DraftTerms,
    /// Observed steps (messages, tool calls with their results, answers) over the whole task; `None`: no cap, since no one
    /// number fits two crews.
    pub max_steps: Option<u32>,
}

impl GuardTerms {
    /// Whether a guard over content could trip on the first thing that is said; the cap on steps is another matter.
    pub const fn may_trip_at_first(&self) -> bool {
        const fn is_one(most: Option<u32>) -> bool {
            matches!(most, Some(0 | 1))
        }
        self.repetition.times < 2 || is_one(self.finished.restated) || is_one(self.finished.idle)
    }
}

/// When content counts as repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RepetitionTerms {
    /// Whether the guard is on.
    pub on: bool,
    /// Occurrences in a row, or turns of a cycle, that trip it; what is weak evidence counts half. 2 to `MAX_TIMES`.
    pub times: u32,
    /// The longest cycle. 1 to `MAX_CYCLE`.
    pub max_cycle: u32,
    /// Similarity from which prose counts as the same, in thousandths; 1000: only what is equal. `MIN_SIMILARITY` to 1000.
    pub similarity_permille: u16,
}

/// When an answer counts as standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FinishedTerms {
    /// Whether the guard is on.
    pub on: bool,
    /// Statements of one answer by one agent, others having spoken in between and said nothing new against it, that trip it;
    /// `None`: not looked at.
    /// 2 to `MAX_TIMES`.
    pub restated: Option<u32>,
    /// Whether a tool result that says the figure which the message before it answered trips it.
    pub confirmed: bool,
    /// Messages in a row that add nothing to a result that stands, and trip it; `None`: not looked at. 2 to `MAX_IDLE`.
    pub idle: Option<u32>,
}

/// When two drafts of consecutive rounds count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DraftTerms {
    /// Whether the guard is on.
    pub on: bool,
    /// Similarity from which prose counts as the same, in thousandths. `MIN_SIMILARITY` to 1000.
    pub similarity_permille: u16,
}

/// The longest cycle that is looked for.
pub const MAX_CYCLE: u32 = 6;
/// The most repetitions a contract may wait for.
pub const MAX_TIMES: u32 = 10;
/// The most idle messages a contract may wait for.
pub const MAX_IDLE: u32 = 100;
/// The greatest cap on steps.
pub const MAX_STEPS: u32 = 1_000_000;
/// Below this, in thousandths, texts on one subject look alike.
pub const MIN_SIMILARITY: u16 = 500;

/// Three times, as everybody counts. On 2,106 recorded runs three equal rounds harmed 2 of 1,792 successes (both had agreed
/// and were about to say so). Compared to the letter but for the ends of lines: with white space and case ignored, drafts
/// that are still moving count as equal, and harm triples. Prose that shares 0.7 of its pairs of words and every figure is
/// alike, and counts half: one word in a dozen may be another subject.
impl Default for RepetitionTerms {
    fn default() -> Self {
        Self { on: true, times: 3, max_cycle: MAX_CYCLE, similarity_permille: 700 }
    }
}

/// Most of what can be saved comes after the work is done; `docs/guards.md` has the figures of each guard alone.
/// - An answer stated twice by its author, uncontested, is most of what is saved in a company of role agents that writes
///   programs, and harmed none of its 499 successes.
/// - A tool that gives the figure just answered is most of it in chats on mathematics, and harmed 1 of 1,268.
/// - Twelve messages in a row that add nothing stopped none of the recorded runs: it is there for those that never end.
///
/// None of these stopped any of 45 runs of tool-calling desks with a person at the other end.
impl Default for FinishedTerms {
    fn default() -> Self {
        Self { on: true, restated: Some(2), confirmed: true, idle: Some(12) }
    }
}

/// Stricter than for three in a row: here two drafts are enough to stop, and in two drafts a tenth may be the whole gain.
impl Default for DraftTerms {
    fn default() -> Self {
        Self { on: true, similarity_permille: 950 }
    }
}
