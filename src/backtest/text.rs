//! The report for the terminal. Pure: figures in, lines out. Never here: figures of its own.

use super::{
    report::{Calibration, Figures, Fit, Report, SetReport},
    words,
};
use crate::console::{Look, Tone, tables::table, text::clip};

/// Characters of a name of a set that are shown.
const MOST_NAME: usize = 40;

/// The report, a line each.
#[must_use]
pub fn lines(look: Look, report: &Report) -> Vec<String> {
    let mut out = Vec::new();
    if report.sets.is_empty() {
        out.push("no runs".to_owned());
        return out;
    }
    heading(look, &mut out, "by set and outcome");
    out.push(sets(look, report));
    if report.sets.iter().any(|set| set.all.stopped > 0) {
        heading(look, &mut out, "by guard");
        out.push(guards(look, report));
    }
    if let Some(calibration) = &report.calibration {
        calibrated(look, &mut out, calibration);
    }
    out
}

fn heading(look: Look, out: &mut Vec<String>, text: &str) {
    if !out.is_empty() {
        out.push(String::new());
    }
    out.push(look.paint(Tone::Strong, text));
}

fn sets(look: Look, report: &Report) -> String {
    let row = |set: &str, outcome: &str, figures: &Figures| {
        vec![
            clip(set, MOST_NAME),
            outcome.to_owned(),
            words::count(figures.runs),
            words::count(figures.stopped),
            words::spread(figures.stop_step),
            words::tokens(figures.tokens),
            words::percent(figures.saved_of_all),
            words::percent(figures.saved_of_savable),
            words::harm(figures),
        ]
    };
    let mut rows = Vec::new();
    for SetReport { set, all, outcomes, .. } in &report.sets {
        rows.extend(outcomes.iter().map(|one| row(set, one.outcome, &one.figures)));
        if outcomes.len() > 1 {
            rows.push(row(set, "all", all));
        }
    }
    let header =
        ["SET", "OUTCOME", "RUNS", "STOPPED", "AT STEP", "TOKENS", "SAVED", "OF SAVABLE", "HARMFUL STOPS"];
    table(look, &header, rows)
}

fn guards(look: Look, report: &Report) -> String {
    let mut rows = Vec::new();
    for SetReport { set, all, .. } in &report.sets {
        for guard in &all.guards {
            rows.push(vec![
                clip(set, MOST_NAME),
                guard.guard.clone(),
                words::count(guard.stopped),
                words::spread(guard.stop_step),
                words::percent(words::ratio(guard.saved, all.tokens)),
                words::percent(words::ratio(guard.saved_savable, all.savable)),
                words::part(guard.harmful, all.successes),
            ]);
        }
    }
    let header = ["SET", "GUARD", "STOPPED FIRST", "AT STEP", "SAVED", "OF SAVABLE", "HARMFUL STOPS"];
    table(look, &header, rows)
}

fn calibrated(look: Look, out: &mut Vec<String>, calibration: &Calibration) {
    let allowed = words::percent(Some(calibration.max_harm));
    heading(look, out, &format!("calibrated to at most {allowed} harmful stops: the half that was held out"));
    let row = |fit: &Fit| {
        vec![
            clip(&fit.set, MOST_NAME),
            fit.topology.as_ref().map_or_else(|| "all".to_owned(), |topology| clip(topology, MOST_NAME)),
            words::count(fit.held_out.runs),
            words::count(fit.held_out.stopped),
            words::within(fit.held_out.saved_of_savable, fit.saved_interval),
            words::within(fit.held_out.harm_rate, fit.harm_interval),
        ]
    };
    let header = ["SET", "TOPOLOGY", "RUNS", "STOPPED", "OF SAVABLE [95 %]", "HARMFUL STOPS [95 %]"];
    out.push(table(look, &header, calibration.fits.iter().map(row).collect()));
    for fit in &calibration.fits {
        let of = fit.topology.as_ref().map_or(String::new(), |topology| format!(", {topology}"));
        heading(
            look,
            out,
            &format!("to paste into a contract of {}{}", clip(&fit.set, MOST_NAME), clip(&of, MOST_NAME)),
        );
        out.extend(fit.fragment.lines().map(str::to_owned));
    }
}
