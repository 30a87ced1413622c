//! Four short scenes in which things go wrong, on the same crew. Each says what is expected, does it, and judges by what
//! the events and the ledger say. A scene never prints a figure that was not measured in it.

pub(super) mod hand_offs;
pub(super) mod killed;
pub(super) mod overspent;
pub(super) mod person;

use serde_json::{Value, json};

use super::show::Show;
use crate::{cli::Failure, console::Tone};

/// What a scene showed.
pub(super) struct Scene {
    pub(super) title: &'static str,
    pub(super) expected: &'static str,
    pub(super) task_id: String,
    happened: Vec<String>,
    checks: Vec<(&'static str, bool)>,
    figures: serde_json::Map<String, Value>,
}

impl Scene {
    /// Announces a scene.
    pub(super) fn begin(
        show: &Show<'_>,
        number: usize,
        title: &'static str,
        expected: &'static str,
    ) -> Result<Self, Failure> {
        show.heading(&format!("scene {number} of 4: {title}"))?;
        show.say(format!("  expected: {expected}"))?;
        Ok(Self {
            title,
            expected,
            task_id: String::new(),
            happened: Vec::new(),
            checks: Vec::new(),
            figures: serde_json::Map::new(),
        })
    }

    /// Says what happened.
    fn tell(&mut self, text: String) {
        self.happened.push(text);
    }

    /// Judges one thing that should hold.
    fn check(&mut self, what: &'static str, holds: bool) {
        self.checks.push((what, holds));
    }

    /// Keeps a figure for the report in JSON.
    fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.insert(name.to_owned(), value.into());
    }

    /// Whether it showed what it should.
    pub(super) fn holds(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|(_, holds)| *holds)
    }

    /// Says how it went.
    pub(super) fn end(&self, show: &Show<'_>) -> Result<(), Failure> {
        for (index, text) in self.happened.iter().enumerate() {
            let head = if index == 0 { "happened:" } else { "         " };
            show.say(format!("  {head} {text}"))?;
        }
        let look = show.look();
        for (what, holds) in &self.checks {
            let (tone, word) = if *holds { (Tone::Good, "yes") } else { (Tone::Bad, "NO") };
            show.say(format!("  {} {what}", look.paint(tone, &format!("{word:>9}"))))?;
        }
        Ok(())
    }

    pub(super) fn json(&self) -> Value {
        let checks: Vec<Value> =
            self.checks.iter().map(|(what, holds)| json!({"what": what, "holds": holds})).collect();
        json!({
            "title": self.title, "expected": self.expected, "happened": self.happened, "checks": checks,
            "figures": self.figures, "task_id": self.task_id, "holds": self.holds(),
        })
    }
}
