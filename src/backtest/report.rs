//! What a backtest found, as it is shown: text, JSON, HTML and Markdown are all made from this one value, so that they cannot
//! disagree. Never here: a judgement, or formatting.

use serde::Serialize;

/// The name and version of the JSON that `--json` writes. Fields are added to it, never renamed or removed.
pub const SCHEMA: &str = "bailiwick.backtest/1";

/// Faults that are listed; beyond them they are only counted.
pub const MOST_FAULTS: usize = 1_000;

/// Everything a backtest found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The version of this program.
    pub version: &'static str,
    /// What the runs were judged by.
    pub terms: Terms,
    /// Set by set, by name.
    pub sets: Vec<SetReport>,
    /// What could not be read.
    pub skipped: Skipped,
    /// Each guard by itself under the default terms, where that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alone: Vec<Alone>,
    /// What was fitted, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

/// What the runs were judged by.
#[derive(Debug, Clone, Serialize)]
pub struct Terms {
    /// The contract's file; absent: the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    /// Each term with its value, as a contract names it.
    pub values: Vec<(String, String)>,
}

/// What a guard does when it is the only one.
#[derive(Debug, Clone, Serialize)]
pub struct Alone {
    /// The guard, by its path below `guards` in a contract.
    pub guard: String,
    /// Set by set, by name.
    pub sets: Vec<SetReport>,
}

/// One set of runs.
#[derive(Debug, Clone, Serialize)]
pub struct SetReport {
    /// Its name.
    pub set: String,
    /// All of its runs.
    pub all: Figures,
    /// The same by how runs were graded: success, failure, unknown; only those there are.
    pub outcomes: Vec<OutcomeReport>,
}

/// The runs of a set that were graded alike.
#[derive(Debug, Clone, Serialize)]
pub struct OutcomeReport {
    /// How: `success`, `failure` or `unknown`.
    pub outcome: &'static str,
    /// Their figures.
    #[serde(flatten)]
    pub figures: Figures,
    /// Those among them that went round in circles, or on and on after they were done.
    pub runaway: Figures,
    /// Those that did not: of failures, the wrong answers that came in good order.
    pub orderly: Figures,
}

/// Figures of some runs. Tokens are billed tokens of models, as recorded or estimated.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Runs.
    pub runs: u64,
    /// Runs that a guard would have stopped.
    pub stopped: u64,
    /// Successes among them that were stopped before their result stood.
    pub harmful: u64,
    /// Successes.
    pub successes: u64,
    /// Harmful stops by success; absent without successes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harm_rate: Option<f64>,
    /// At which step runs were stopped; absent where none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_step: Option<Spread>,
    /// All tokens.
    pub tokens: u64,
    /// Tokens of failures, and of successes after their result stood.
    pub savable: u64,
    /// Tokens after the stops.
    pub saved: u64,
    /// Savable tokens after the stops.
    pub saved_savable: u64,
    /// `saved / tokens`; absent without tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_of_all: Option<f64>,
    /// `saved_savable / savable`; absent without savable tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_of_savable: Option<f64>,
    /// Guard by guard, those that stopped a run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<GuardFigures>,
}

/// What one guard did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct GuardFigures {
    /// Which.
    pub guard: String,
    /// Runs it stopped first.
    pub stopped: u64,
    /// Harmful ones among them.
    pub harmful: u64,
    /// At which step.
    pub stop_step: Option<Spread>,
    /// How many runs it stopped at each step.
    pub steps: Vec<(u64, u64)>,
    /// Tokens after its stops.
    pub saved: u64,
    /// Savable ones among them.
    pub saved_savable: u64,
}

/// Where the middle of some numbers is, and how wide they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// The least.
    pub least: u64,
    /// A quarter lies below.
    pub lower_quartile: u64,
    /// Half lies below.
    pub median: u64,
    /// A quarter lies above.
    pub upper_quartile: u64,
    /// The most.
    pub most: u64,
}

/// What could not be read.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Skipped {
    /// How many lines, documents or spans.
    pub faults: u64,
    /// The first of them, with file, line and column.
    pub listed: Vec<String>,
    /// Traces of OTLP files without work of a model or an agent in them: no fault, but nothing to judge.
    pub empty_traces: u64,
}

/// Terms fitted on one half of the runs and judged on the other.
#[derive(Debug, Clone, Serialize)]
pub struct Calibration {
    /// Harmful stops that were allowed, by success.
    pub max_harm: f64,
    /// What, with a run's id, decides which half it is in.
    pub salt: u64,
    /// Set by set, by name.
    pub sets: Vec<CalibratedSet>,
    /// Guards fitted to all of one set, on all of another, where both have successes enough.
    pub across: Vec<Across>,
}

/// Guards fitted to one set, on another.
#[derive(Debug, Clone, Serialize)]
pub struct Across {
    /// The set that was fitted to.
    pub from: String,
    /// The set that was judged.
    pub to: String,
    /// What came of it.
    pub judged: Half,
}

/// What was fitted to one set.
#[derive(Debug, Clone, Serialize)]
pub struct CalibratedSet {
    /// Its name.
    pub set: String,
    /// The half that was fitted on, every run under the terms of its topology.
    pub fitted: Half,
    /// The half that was held out.
    pub held_out: Half,
    /// Crew by crew, those that do better under terms of their own; all others are in one without a topology.
    pub groups: Vec<Fit>,
}

/// What was fitted to one crew.
#[derive(Debug, Clone, Serialize)]
pub struct Fit {
    /// The topology as recorded, else the names of the agents; empty: all that have no terms of their own.
    pub topology: String,
    /// Whether the terms are others than the defaults.
    pub changed: bool,
    /// The terms, as they stand in a contract: YAML.
    pub fragment: String,
    /// The half that was fitted on.
    pub fitted: Half,
    /// The half that was held out.
    pub held_out: Half,
}

impl Fit {
    /// What the crew is called where it stands beside others.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.topology.is_empty() { "others" } else { &self.topology }
    }
}

/// Figures of one half. Intervals are of 95 % confidence.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Half {
    /// Runs.
    pub runs: u64,
    /// Runs that were stopped.
    pub stopped: u64,
    /// Harmful stops.
    pub harmful: u64,
    /// Successes.
    pub successes: u64,
    /// Harmful stops by success; absent without successes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harm_rate: Option<f64>,
    /// Where that rate lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harm_interval: Option<[f64; 2]>,
    /// Savable tokens.
    pub savable: u64,
    /// Savable tokens that are saved.
    pub saved_savable: u64,
    /// `saved_savable / savable`; absent without savable tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_of_savable: Option<f64>,
    /// Where that share lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_interval: Option<[f64; 2]>,
}
