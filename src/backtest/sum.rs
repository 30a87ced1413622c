//! Adds runs up to figures, by set and by outcome. The order of the runs does not matter. Never here: how a run is judged.

use std::collections::BTreeMap;

use super::{
    replay::Replayed,
    report::{Figures, GuardFigures, OutcomeReport, SetReport, Spread},
    trace::{RunOutcome, Trace},
    words::ratio,
};

/// One run as it was judged, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// How it was graded.
    pub outcome: RunOutcome,
    /// All billed tokens.
    pub tokens: u64,
    /// Those that could have been saved without harm.
    pub savable: u64,
    /// Whether it ran away: in circles, or on and on after it was done.
    pub runaway: bool,
    /// Where it would have been stopped.
    pub stop: Option<Stopped>,
}

impl Judged {
    /// A run that was replayed.
    #[must_use]
    pub fn of(trace: &Trace, replayed: &Replayed) -> Self {
        let Replayed { stop, billed_total, billed_saved, savable, saved_of_savable, harmful, runaway } =
            replayed;
        let stop = stop.as_ref().map(|stop| Stopped {
            guard: stop.by.name(),
            step: trace.steps.get(stop.step_index).map_or(stop.step_index as u64, |step| step.i),
            saved: *billed_saved,
            saved_savable: *saved_of_savable,
            harmful: *harmful,
        });
        Self { outcome: trace.outcome, tokens: *billed_total, savable: *savable, runaway: *runaway, stop }
    }
}

/// Where a run would have been stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// By which guard.
    pub guard: &'static str,
    /// After which step, as the recording counts.
    pub step: u64,
    /// Tokens after it.
    pub saved: u64,
    /// Savable ones among them.
    pub saved_savable: u64,
    /// Whether the run was a success whose result did not stand yet.
    pub harmful: bool,
}

/// Some runs, added up.
#[derive(Debug, Clone, Default)]
pub struct Sum {
    runs: u64,
    successes: u64,
    tokens: u64,
    savable: u64,
    guards: BTreeMap<&'static str, GuardSum>,
}

#[derive(Debug, Clone, Default)]
struct GuardSum {
    harmful: u64,
    saved: u64,
    saved_savable: u64,
    steps: BTreeMap<u64, u64>,
}

impl Sum {
    /// Adds a run.
    pub fn add(&mut self, run: &Judged) {
        let Judged { outcome, tokens, savable, runaway: _, stop } = run;
        self.runs += 1;
        self.successes += u64::from(*outcome == RunOutcome::Success);
        self.tokens = self.tokens.saturating_add(*tokens);
        self.savable = self.savable.saturating_add(*savable);
        let Some(Stopped { guard, step, saved, saved_savable, harmful }) = stop else { return };
        let sum = self.guards.entry(guard).or_default();
        sum.harmful += u64::from(*harmful);
        sum.saved = sum.saved.saturating_add(*saved);
        sum.saved_savable = sum.saved_savable.saturating_add(*saved_savable);
        *sum.steps.entry(*step).or_default() += 1;
    }

    /// What it comes to.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let mut all = GuardSum::default();
        for guard in self.guards.values() {
            all.harmful += guard.harmful;
            all.saved = all.saved.saturating_add(guard.saved);
            all.saved_savable = all.saved_savable.saturating_add(guard.saved_savable);
            for (step, runs) in &guard.steps {
                *all.steps.entry(*step).or_default() += runs;
            }
        }
        let of_guard = |(name, guard): (&&'static str, &GuardSum)| GuardFigures {
            guard: (*name).to_owned(),
            stopped: guard.steps.values().sum(),
            harmful: guard.harmful,
            stop_step: spread(&guard.steps),
            steps: guard.steps.iter().map(|(step, runs)| (*step, *runs)).collect(),
            saved: guard.saved,
            saved_savable: guard.saved_savable,
        };
        Figures {
            runs: self.runs,
            stopped: all.steps.values().sum(),
            harmful: all.harmful,
            successes: self.successes,
            harm_rate: ratio(all.harmful, self.successes),
            stop_step: spread(&all.steps),
            tokens: self.tokens,
            savable: self.savable,
            saved: all.saved,
            saved_savable: all.saved_savable,
            saved_of_all: ratio(all.saved, self.tokens),
            saved_of_savable: ratio(all.saved_savable, self.savable),
            guards: self.guards.iter().map(of_guard).collect(),
        }
    }
}

/// The spread of numbers that are given with how often each occurs.
fn spread(counts: &BTreeMap<u64, u64>) -> Option<Spread> {
    let all: u64 = counts.values().sum();
    let (least, most) = (*counts.first_key_value()?.0, *counts.last_key_value()?.0);
    // The number at a place of the sorted row, from 0.
    let at = |place: u64| {
        let mut passed = 0;
        counts.iter().find_map(|(number, times)| {
            passed += times;
            (passed > place).then_some(*number)
        })
    };
    let quarter = |quarters: u64| at((all - 1) * quarters / 4).unwrap_or(most);
    Some(Spread { least, lower_quartile: quarter(1), median: quarter(2), upper_quartile: quarter(3), most })
}

/// Runs that were graded alike, those that ran away apart.
#[derive(Debug, Clone, Default)]
struct Graded {
    runaway: Sum,
    orderly: Sum,
}

/// Every set, by name.
#[derive(Debug, Clone, Default)]
pub struct Sets(BTreeMap<String, BTreeMap<RunOutcome, Graded>>);

impl Sets {
    /// Adds a run of a set.
    pub fn add(&mut self, set: &str, run: &Judged) {
        if !self.0.contains_key(set) {
            self.0.insert(set.to_owned(), BTreeMap::new());
        }
        let graded = self.0.get_mut(set).map(|set| set.entry(run.outcome).or_default());
        if let Some(Graded { runaway, orderly }) = graded {
            if run.runaway { runaway } else { orderly }.add(run);
        }
    }

    /// What they come to.
    #[must_use]
    pub fn report(&self) -> Vec<SetReport> {
        let graded = |(outcome, Graded { runaway, orderly }): (&RunOutcome, &Graded)| OutcomeReport {
            outcome: name(*outcome),
            figures: whole([runaway, orderly].into_iter()).figures(),
            runaway: runaway.figures(),
            orderly: orderly.figures(),
        };
        let of = |(set, outcomes): (&String, &BTreeMap<RunOutcome, Graded>)| SetReport {
            set: set.clone(),
            all: whole(outcomes.values().flat_map(|graded| [&graded.runaway, &graded.orderly])).figures(),
            outcomes: outcomes.iter().map(graded).collect(),
        };
        self.0.iter().map(of).collect()
    }
}

fn whole<'a>(parts: impl Iterator<Item = &'a Sum>) -> Sum {
    let mut whole = Sum::default();
    for Sum { runs, successes, tokens, savable, guards } in parts {
        whole.runs += runs;
        whole.successes += successes;
        whole.tokens = whole.tokens.saturating_add(*tokens);
        whole.savable = whole.savable.saturating_add(*savable);
        for (name, part) in guards {
            let sum = whole.guards.entry(name).or_default();
            sum.harmful += part.harmful;
            sum.saved = sum.saved.saturating_add(part.saved);
            sum.saved_savable = sum.saved_savable.saturating_add(part.saved_savable);
            for (step, runs) in &part.steps {
                *sum.steps.entry(*step).or_default() += runs;
            }
        }
    }
    whole
}

fn name(outcome: RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Success => "success",
        RunOutcome::Failure => "failure",
        RunOutcome::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(outcome: RunOutcome, stop: Option<(&'static str, u64, bool)>) -> Judged {
        let stop = stop.map(|(guard, step, harmful)| Stopped {
            guard,
            step,
            saved: 40,
            saved_savable: if harmful { 0 } else { 30 },
            harmful,
        });
        Judged { outcome, tokens: 100, savable: 50, runaway: stop.is_some(), stop }
    }

    #[test]
    fn runs_add_up_by_set_outcome_and_guard() {
        let mut sets = Sets::default();
        for step in [9, 3, 5, 5] {
            sets.add("b", &run(RunOutcome::Failure, Some(("repetition", step, false))));
        }
        sets.add("b", &run(RunOutcome::Success, Some(("finished", 7, true))));
        sets.add("b", &run(RunOutcome::Success, None));
        sets.add("a", &run(RunOutcome::Unknown, None));
        let report = sets.report();
        assert_eq!([&report[0].set, &report[1].set], ["a", "b"]);
        assert_eq!((report[0].all.harm_rate, report[0].all.stop_step), (None, None));

        let all = &report[1].all;
        assert_eq!((all.runs, all.stopped, all.harmful, all.successes), (6, 5, 1, 2));
        assert_eq!((all.saved, all.saved_savable, all.harm_rate), (200, 120, Some(0.5)));
        assert_eq!((all.saved_of_all, all.saved_of_savable), (Some(200.0 / 600.0), Some(0.4)));
        let names: Vec<_> = all.guards.iter().map(|guard| (guard.guard.as_str(), guard.stopped)).collect();
        assert_eq!(names, [("finished", 1), ("repetition", 4)]);
        let spread = Spread { least: 3, lower_quartile: 3, median: 5, upper_quartile: 5, most: 9 };
        assert_eq!(all.guards[1].stop_step, Some(spread));
        let outcomes: Vec<_> = report[1].outcomes.iter().map(|one| (one.outcome, one.figures.runs)).collect();
        assert_eq!(outcomes, [("success", 2), ("failure", 4)]);
        let success = &report[1].outcomes[0];
        assert_eq!((success.runaway.runs, success.orderly.runs, success.orderly.stopped), (1, 1, 0));
    }

    #[test]
    fn absurd_figures_stay_figures() {
        let mut sum = Sum::default();
        for _ in 0..3 {
            sum.add(&Judged { tokens: u64::MAX, savable: u64::MAX, ..run(RunOutcome::Failure, None) });
        }
        assert_eq!(sum.figures().tokens, u64::MAX);
    }
}
