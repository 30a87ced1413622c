//! The report as a page of Markdown: how `docs/guards.md` is made. Words about the guards stand here; every figure comes out of
//! the report. Never here: a figure written by hand.

mod about;

use std::fmt::Write;

use super::{
    report::{CalibratedSet, Half, Report, SetReport},
    words,
};
use crate::console::text::clean;

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut out = String::from(
        "# What the guards do, and what they would have done\n\n\
         Made by `bailiwick backtest` from recorded runs of real systems; [the last section](#remake-this-page) says how. Do not\n\
         edit it: every figure is computed.\n\n\
         A guard that trips never fails a task. The work stops, and the owner decides with the last result in hand: most\n\
         repetition means that the work is done. Live tasks and this page run through the same functions.\n\n",
    );
    about::guards(&mut out);
    out.push_str(HOW_IT_IS_SCORED);
    if let Some(contract) = &report.terms.contract {
        let _ =
            writeln!(out, "These figures are of the terms in `{}`, not of the defaults.\n", cell(contract));
    }
    sets(&mut out, report);
    by_guard(&mut out, report);
    runaways(&mut out, report);
    alone(&mut out, report);
    calibrated(&mut out, report);
    across(&mut out, report);
    skipped(&mut out, report);
    about::tuned(&mut out);
    about::sources(&mut out, report);
    remake(&mut out, report);
    out
}

/// Text as it may stand in a cell.
fn cell(text: &str) -> String {
    clean(text).replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('`', "'")
}

/// A table; the first `texts` columns hold words, the others figures.
fn table(out: &mut String, header: &[&str], texts: usize, rows: &[Vec<String>]) {
    let _ = writeln!(out, "| {} |", header.join(" | "));
    let rule: Vec<_> = (0..header.len()).map(|at| if at < texts { "---" } else { "---:" }).collect();
    let _ = writeln!(out, "|{}|", rule.join("|"));
    for row in rows {
        let cells: Vec<_> = row.iter().map(|text| cell(text)).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.push('\n');
}

const HOW_IT_IS_SCORED: &str = "## How it is scored\n\n\
    *Billed* are the tokens that a model read and wrote at each of its steps, as recorded; where they were not, a quarter of the\n\
    characters of everything before the step and of the step itself. A stop is *harmful* when the run was a success and the stop\n\
    comes before the step after which nothing could change its graded result, or when that step is not known. *Savable* are all\n\
    tokens of failures, and those of successes after that step. Tokens of a harmful stop count as saved of all, never of the\n\
    savable. A *runaway* went six times round the same circle, twice what trips, or said twelve messages in a row that add\n\
    nothing; a run that says its result again and then ends is none. Steps count from 0; where a column says \"at step\", it\n\
    gives the median and the middle half.\n\n";

fn sets(out: &mut String, report: &Report) {
    out.push_str("## With the defaults, by set and outcome\n\n");
    let mut rows = Vec::new();
    for SetReport { set, all, outcomes } in &report.sets {
        rows.extend(outcomes.iter().map(|one| words::set_row(set, one.outcome, &one.figures)));
        if outcomes.len() > 1 {
            rows.push(words::set_row(set, "all", all));
        }
    }
    let header = [
        "set",
        "outcome",
        "runs",
        "stopped",
        "at step",
        "tokens",
        "saved of all",
        "saved of the savable",
        "harmful stops",
    ];
    table(out, &header, 2, &rows);
}

fn by_guard(out: &mut String, report: &Report) {
    out.push_str(
        "### Which guard stopped them\n\nOf several at the same step, the first in the order above.\n\n",
    );
    guard_table(out, &report.sets);
}

fn guard_table(out: &mut String, sets: &[SetReport]) {
    let mut rows = Vec::new();
    for SetReport { set, all, .. } in sets {
        for guard in &all.guards {
            rows.push(vec![
                set.clone(),
                guard.guard.clone(),
                words::count(guard.stopped),
                words::spread(guard.stop_step),
                words::percent(words::ratio(guard.saved, all.tokens)),
                words::percent(words::ratio(guard.saved_savable, all.savable)),
                words::part(guard.harmful, all.successes),
            ]);
        }
    }
    let header =
        ["set", "guard", "stopped", "at step", "saved of all", "saved of the savable", "harmful stops"];
    table(out, &header, 2, &rows);
}

fn runaways(out: &mut String, report: &Report) {
    out.push_str(
        "### Runaways apart from wrong answers\n\n\
         A wrong answer in good order is for the gate to find: no guard can see it, and its tokens are savable all the same.\n\n",
    );
    let rows: Vec<_> = words::runaways(report)
        .into_iter()
        .map(|(set, kind, figures)| {
            vec![
                set.to_owned(),
                kind,
                words::count(figures.runs),
                words::count(figures.stopped),
                words::spread(figures.stop_step),
                words::tokens(figures.tokens),
                words::percent(figures.saved_of_all),
                words::percent(figures.saved_of_savable),
            ]
        })
        .collect();
    let header =
        ["set", "runs that", "runs", "stopped", "at step", "tokens", "saved of all", "saved of the savable"];
    table(out, &header, 2, &rows);
}

fn alone(out: &mut String, report: &Report) {
    if report.alone.is_empty() {
        return;
    }
    out.push_str("## Each guard alone\n\nThe default of one guard, with the others switched off.\n\n");
    let mut rows = Vec::new();
    for guard in &report.alone {
        for SetReport { set, all, .. } in guard.sets.iter().filter(|set| set.all.stopped > 0) {
            rows.push(vec![
                guard.guard.clone(),
                set.clone(),
                words::part(all.stopped, all.runs),
                words::spread(all.stop_step),
                words::percent(all.saved_of_all),
                words::percent(all.saved_of_savable),
                words::harm(all),
            ]);
        }
    }
    let header =
        ["guard", "set", "stopped", "at step", "saved of all", "saved of the savable", "harmful stops"];
    table(out, &header, 2, &rows);
}

fn calibrated(out: &mut String, report: &Report) {
    let Some(calibration) = &report.calibration else { return };
    let _ = writeln!(
        out,
        "## Calibrated\n\n\
         `--calibrate --max-harm {}` fits the guards and the cap on steps to one half of the runs of each set, by topology where\n\
         the data shows that crews differ, and judges them on the other half. Which half a run is in depends on its id alone. In\n\
         brackets: the 95 % confidence interval.\n",
        words::argument(calibration.max_harm)
    );
    let row = |set: &str, topology: &str, fitted: &Half, held_out: &Half| {
        vec![
            set.to_owned(),
            topology.to_owned(),
            words::count(held_out.runs),
            words::count(held_out.stopped),
            words::within(held_out.saved_of_savable, held_out.saved_interval),
            words::within(held_out.harm_rate, held_out.harm_interval),
            words::percent(fitted.saved_of_savable),
            words::percent(fitted.harm_rate),
        ]
    };
    let mut rows = Vec::new();
    for CalibratedSet { set, fitted, held_out, groups } in &calibration.sets {
        let apart = groups.iter().filter(|_| groups.len() > 1);
        rows.extend(apart.map(|fit| row(set, fit.name(), &fit.fitted, &fit.held_out)));
        rows.push(row(set, "all", fitted, held_out));
    }
    let header = [
        "set",
        "topology",
        "runs held out",
        "stopped",
        "saved of the savable, held out",
        "harmful stops, held out",
        "saved, fitted half",
        "harmful, fitted half",
    ];
    table(out, &header, 2, &rows);
    out.push_str(
        "What was fitted, to paste into a contract. A crew that is not listed keeps the defaults.\n\n",
    );
    for set in &calibration.sets {
        for fit in set.groups.iter().filter(|fit| fit.changed) {
            let name = cell(&words::crew(set, fit));
            let _ = writeln!(out, "`{}`\n\n```yaml\n{}```\n", name, fit.fragment);
        }
    }
}

fn across(out: &mut String, report: &Report) {
    let rows = report.calibration.iter().flat_map(|calibration| &calibration.across).map(|one| {
        let judged = &one.judged;
        vec![
            one.from.clone(),
            one.to.clone(),
            words::count(judged.runs),
            words::count(judged.stopped),
            words::within(judged.saved_of_savable, judged.saved_interval),
            words::within(judged.harm_rate, judged.harm_interval),
        ]
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return;
    }
    out.push_str(
        "### Fitted to one system, tried on another\n\n\
         Terms fitted to all runs of one set, judged on all runs of another system that the fit has not seen. The cap on steps\n\
         is left out: it is a crew's own. Compare the rows with the defaults above.\n\n",
    );
    let header = ["fitted to", "judged on", "runs", "stopped", "saved of the savable", "harmful stops"];
    table(out, &header, 2, &rows);
}

fn skipped(out: &mut String, report: &Report) {
    let skipped = &report.skipped;
    if skipped.faults > 0 {
        let _ =
            writeln!(out, "Left out of every figure, because it could not be read: {}.\n", skipped.faults);
    }
}

fn remake(out: &mut String, report: &Report) {
    let calibrate = report.calibration.as_ref().map_or_else(String::new, |calibration| {
        format!(" --calibrate --max-harm {}", words::argument(calibration.max_harm))
    });
    let _ = write!(
        out,
        "## Remake this page\n\n```sh\ncargo run --release -- backtest{calibrate} --markdown docs/guards.md TRACES/*.jsonl*\n```\n\n\
         `TRACES` is the folder with the files of the sets above. The same files give the same page, on any machine.\n"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_break_no_table() {
        assert_eq!(cell("a|b\n<c>`\\"), "a\\|b &lt;c>'\\\\");
        let mut out = String::new();
        table(&mut out, &["x", "y"], 1, &[vec!["a|b".into(), "1".into()]]);
        assert_eq!(out, "| x | y |\n|---|---:|\n| a\\|b | 1 |\n\n");
    }
}
