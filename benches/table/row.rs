//! The rows of the table, and how they are printed: for people, or as JSON.

use serde_json::{Value, json};

use crate::stats::Spread;

/// Whether more is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// What a row's figure is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aim {
    pub(crate) floor: f64,
    pub(crate) wanted: f64,
    pub(crate) better: Better,
}

impl Aim {
    pub(crate) const fn at_least(floor: f64, wanted: f64) -> Self {
        Self { floor, wanted, better: Better::More }
    }

    pub(crate) const fn at_most(floor: f64, wanted: f64) -> Self {
        Self { floor, wanted, better: Better::Less }
    }

    fn verdict(self, figure: f64) -> &'static str {
        let reaches = |aim: f64| match self.better {
            Better::More => figure >= aim,
            Better::Less => figure <= aim,
        };
        match (reaches(self.wanted), reaches(self.floor)) {
            (true, _) => "as wanted",
            (false, true) => "passes",
            (false, false) => "FALLS SHORT",
        }
    }
}

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// What `--rows` calls it.
    pub(crate) key: &'static str,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    /// `None`: a figure for information.
    pub(crate) aim: Option<Aim>,
    /// One a run.
    pub(crate) figures: Vec<f64>,
    /// How many of the runs were quiet.
    pub(crate) quiet: usize,
    /// In plain numbers, what the figure was made of.
    pub(crate) note: String,
}

impl Row {
    pub(crate) fn new(key: &'static str, what: &str, unit: &'static str, aim: Option<Aim>) -> Self {
        let what = what.to_owned();
        Self { key, what, unit, aim, figures: Vec::new(), quiet: 0, note: String::new() }
    }

    /// With the runs that count: the quiet ones, or all of them where none was quiet.
    pub(crate) fn with(mut self, runs: &[(f64, bool)]) -> Self {
        self.quiet = runs.iter().filter(|(_, quiet)| *quiet).count();
        let counts = |quiet: bool| quiet || self.quiet == 0;
        self.figures = runs.iter().filter(|(_, quiet)| counts(*quiet)).map(|(figure, _)| *figure).collect();
        self
    }

    pub(crate) fn note(mut self, note: String) -> Self {
        self.note = note;
        self
    }

    fn verdict(&self) -> &'static str {
        match (Spread::of(&self.figures), self.aim) {
            (Some(spread), Some(aim)) => aim.verdict(spread.median),
            _ => "",
        }
    }

    fn cells(&self) -> [String; 7] {
        let show = |figure: f64| format!("{}{}", short(figure), self.unit);
        let aim = |of: fn(Aim) -> f64| self.aim.map_or_else(String::new, |aim| show(of(aim)));
        let spread = Spread::of(&self.figures);
        let range = |spread: Spread| format!("{} to {}", short(spread.least), short(spread.greatest));
        let mut note = self.note.clone();
        if spread.is_some() && self.quiet == 0 {
            note = format!("NOT QUIET. {note}");
        }
        [
            self.what.clone(),
            aim(|aim| aim.floor),
            aim(|aim| aim.wanted),
            spread.map_or_else(|| "not measured".to_owned(), |spread| show(spread.median)),
            spread.filter(|_| self.figures.len() > 1).map_or_else(String::new, range),
            self.verdict().to_owned(),
            note,
        ]
    }

    fn json(&self) -> Value {
        let spread = Spread::of(&self.figures);
        json!({
            "row": self.key,
            "what": self.what,
            "unit": self.unit.trim(),
            "floor": self.aim.map(|aim| aim.floor),
            "wanted": self.aim.map(|aim| aim.wanted),
            "median": spread.map(|spread| spread.median),
            "least": spread.map(|spread| spread.least),
            "greatest": spread.map(|spread| spread.greatest),
            "runs": self.figures,
            "quiet_runs": self.quiet,
            "verdict": self.verdict(),
            "note": self.note,
        })
    }
}

/// Three figures that count.
fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// The table as Markdown, which reads well as it is.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = ["what", "floor", "wanted", "measured", "spread", "verdict", "of"].map(str::to_owned);
    let cells: Vec<_> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..7).map(width).collect();
    let line = |row: &[String; 7]| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("| {} |", padded.collect::<Vec<_>>().join(" | "))
    };
    let rule =
        format!("|{}|", widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|"));
    let mut lines = vec![line(&cells[0]), rule];
    lines.extend(cells[1..].iter().map(line));
    lines.join("\n")
}

/// The rows as one JSON object.
pub(crate) fn json(rows: &[Row]) -> String {
    json!({ "version": env!("CARGO_PKG_VERSION"), "rows": rows.iter().map(Row::json).collect::<Vec<_>>() })
        .to_string()
}
