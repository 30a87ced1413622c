//! The report for the terminal. Pure: figures in, lines out. Never here: figures of its own.

use super::{
    report::{CalibratedSet, Calibration, Figures, Half, Report, SetReport},
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
    if !words::runaways(report).is_empty() {
        heading(look, &mut out, "runaways apart: in circles, or on and on after they were done");
        out.push(runaways(look, report));
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
    let row =
        |set: &str, outcome: &str, figures: &Figures| words::set_row(&clip(set, MOST_NAME), outcome, figures);
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

fn runaways(look: Look, report: &Report) -> String {
    let rows = words::runaways(report).into_iter().map(|(set, kind, figures)| {
        vec![
            clip(set, MOST_NAME),
            kind,
            words::count(figures.runs),
            words::count(figures.stopped),
            words::spread(figures.stop_step),
            words::tokens(figures.tokens),
            words::percent(figures.saved_of_all),
        ]
    });
    let header = ["SET", "RUNS THAT", "RUNS", "STOPPED", "AT STEP", "TOKENS", "SAVED"];
    table(look, &header, rows.collect())
}

fn calibrated(look: Look, out: &mut Vec<String>, calibration: &Calibration) {
    let allowed = words::percent(Some(calibration.max_harm));
    heading(look, out, &format!("calibrated to at most {allowed} harmful stops: the half that was held out"));
    let row = |set: &str, topology: &str, half: &Half| {
        vec![
            clip(set, MOST_NAME),
            clip(topology, MOST_NAME),
            words::count(half.runs),
            words::count(half.stopped),
            words::within(half.saved_of_savable, half.saved_interval),
            words::within(half.harm_rate, half.harm_interval),
        ]
    };
    let mut rows = Vec::new();
    for CalibratedSet { set, held_out, groups, .. } in &calibration.sets {
        let apart = groups.iter().filter(|_| groups.len() > 1);
        rows.extend(apart.map(|fit| row(set, fit.name(), &fit.held_out)));
        rows.push(row(set, "all", held_out));
    }
    let header = ["SET", "TOPOLOGY", "RUNS", "STOPPED", "OF SAVABLE [95 %]", "HARMFUL STOPS [95 %]"];
    out.push(table(look, &header, rows));
    for set in &calibration.sets {
        for fit in set.groups.iter().filter(|fit| fit.changed || calibration.sets.len() == 1) {
            let name = clip(&words::crew(set, fit), 2 * MOST_NAME);
            heading(look, out, &format!("to paste into a contract of {name}"));
            out.extend(fit.fragment.lines().map(str::to_owned));
        }
    }
}
