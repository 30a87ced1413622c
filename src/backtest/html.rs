//! The report as one HTML file that needs nothing else: no script, no font, no image from anywhere. Every plot stands beside
//! the table of its figures. Never here: text of a trace or a name that is not escaped.

pub mod plot;

use std::fmt::Write;

use self::plot::{Axis, Bar, Point, escape};
use super::{
    report::{CalibratedSet, Figures, Half, Report, SetReport},
    words,
};

const STYLE: &str = include_str!("html/style.css");

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let guards = guard_names(report);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"generator\" content=\"bailiwick {}\">\n<title>Bailiwick backtest</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        escape(report.version)
    );
    head(&mut out, report);
    sets(&mut out, report);
    if !guards.is_empty() {
        savings(&mut out, report);
        harm(&mut out, report, &guards);
        steps(&mut out, report, &guards);
        by_guard(&mut out, report, &guards);
    }
    calibration(&mut out, report);
    terms(&mut out, report);
    skipped(&mut out, report);
    out.push_str("</body>\n</html>\n");
    out
}

/// Every guard that stopped a run, by name: its place is its colour on the whole page.
fn guard_names(report: &Report) -> Vec<String> {
    let mut names: Vec<String> =
        report.sets.iter().flat_map(|set| set.all.guards.iter().map(|guard| guard.guard.clone())).collect();
    names.sort();
    names.dedup();
    names
}

fn head(out: &mut String, report: &Report) {
    let sum = |field: fn(&Figures) -> u64| report.sets.iter().map(|set| field(&set.all)).sum::<u64>();
    let (tokens, savable, successes) = (sum(|f| f.tokens), sum(|f| f.savable), sum(|f| f.successes));
    let facts = [
        ("runs", words::count(sum(|f| f.runs))),
        ("stopped", words::count(sum(|f| f.stopped))),
        ("tokens saved", words::percent(words::ratio(sum(|f| f.saved), tokens))),
        ("of the savable", words::percent(words::ratio(sum(|f| f.saved_savable), savable))),
        ("harmful stops", words::part(sum(|f| f.harmful), successes)),
    ];
    let by = report.terms.contract.as_deref().unwrap_or("the default terms");
    let _ =
        writeln!(out, "<h1>Backtest</h1>\n<p class=\"faint\">Recorded runs, judged by {}.</p>", escape(by));
    out.push_str("<dl class=\"head\">");
    for (name, value) in facts {
        let _ = write!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value));
    }
    out.push_str("</dl>\n");
    out.push_str(
        "<p>A stop is <b>harmful</b> when the run was a success and its result did not stand yet. <b>Savable</b> are all \
         billed tokens of failures, and those of successes after their result stood.</p>\n",
    );
}

/// A table; the first `texts` columns hold words, the others figures.
fn table(out: &mut String, header: &[&str], texts: usize, rows: &[(bool, Vec<String>)]) {
    let class = |at: usize| if at < texts { " class=\"t\"" } else { "" };
    out.push_str("<div class=\"wide\"><table>\n<tr>");
    for (at, name) in header.iter().enumerate() {
        let _ = write!(out, "<th{}>{}</th>", class(at), escape(name));
    }
    out.push_str("</tr>\n");
    for (sum, cells) in rows {
        out.push_str(if *sum { "<tr class=\"sum\">" } else { "<tr>" });
        for (at, cell) in cells.iter().enumerate() {
            let _ = write!(out, "<td{}>{}</td>", class(at), escape(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

fn sets(out: &mut String, report: &Report) {
    out.push_str("<h2>By set and outcome</h2>\n");
    let mut rows = Vec::new();
    for SetReport { set, all, outcomes, .. } in &report.sets {
        rows.push((true, words::set_row(set, "all", all)));
        rows.extend(outcomes.iter().map(|one| (false, words::set_row("", one.outcome, &one.figures))));
    }
    let header = [
        "set",
        "outcome",
        "runs",
        "stopped",
        "at step",
        "tokens",
        "saved of all",
        "of the savable",
        "harmful",
    ];
    table(out, &header, 2, &rows);
    runaways(out, report);
    out.push_str("<p class=\"faint\">At step: the median, and the middle half of the stops.</p>\n");
}

/// Runs that ran away, apart from those that only came to a wrong answer: no guard can see the latter.
fn runaways(out: &mut String, report: &Report) {
    out.push_str(
        "<h3>Runaways apart</h3>\n<p>A runaway went six times round the same circle, or said twelve messages in a row that add nothing. Whatever else failed \
         came to a wrong answer in good order, which is for the gate to find, not for a guard.</p>\n",
    );
    let mut rows = Vec::new();
    for (set, kind, figures) in words::runaways(report) {
        rows.push((
            false,
            vec![
                set.to_owned(),
                kind,
                words::count(figures.runs),
                words::count(figures.stopped),
                words::spread(figures.stop_step),
                words::tokens(figures.tokens),
                words::percent(figures.saved_of_all),
            ],
        ));
    }
    table(out, &["set", "runs that", "runs", "stopped", "at step", "tokens", "saved of all"], 2, &rows);
}

fn savings(out: &mut String, report: &Report) {
    out.push_str("<h2>What would have been saved</h2>\n");
    out.push_str(&plot::legend(&["of all tokens".to_owned(), "of the savable".to_owned()]));
    let bar = |series, share: Option<f64>| {
        share.map(|share| Bar { series, share, label: words::percent(Some(share)) })
    };
    let groups: Vec<_> = report
        .sets
        .iter()
        .map(|set| {
            let bars = [bar(0, set.all.saved_of_all), bar(1, set.all.saved_of_savable)];
            (set.set.clone(), bars.into_iter().flatten().collect())
        })
        .collect();
    out.push_str(&plot::bars("Tokens saved by set", &groups));
}

fn harm(out: &mut String, report: &Report, guards: &[String]) {
    let mut points = Vec::new();
    for set in report.sets.iter().filter(|set| set.all.successes > 0) {
        for guard in &set.all.guards {
            let share = |part, whole| words::ratio(part, whole).unwrap_or(0.0) * 100.0;
            points.push(Point {
                series: guards.iter().position(|name| *name == guard.guard).unwrap_or(0),
                x: share(guard.harmful, set.all.successes),
                y: share(guard.saved_savable, set.all.savable),
                label: set.set.clone(),
            });
        }
    }
    if points.is_empty() {
        return;
    }
    out.push_str("<h2>What is saved against what is harmed</h2>\n");
    out.push_str(&plot::legend(guards));
    let x = Axis { name: "harmful stops, % of the successes", reach: 1.5 };
    let y = Axis { name: "saved, % of the savable", reach: 10.0 };
    out.push_str(&plot::points("Saved against harmed, by guard and set", x, y, Some(1.0), &points));
}

/// Columns of the plot of steps, at most.
const COLUMNS: u64 = 30;

fn steps(out: &mut String, report: &Report, guards: &[String]) {
    out.push_str("<h2>At which step runs are stopped</h2>\n");
    out.push_str(&plot::legend(guards));
    for set in report.sets.iter().filter(|set| set.all.stopped > 0) {
        let all = set.all.guards.iter().flat_map(|guard| &guard.steps);
        let most = all.map(|(step, _)| *step).max().unwrap_or(0);
        let width = (most / COLUMNS) + 1;
        let name = |at: u64| match width {
            1 => at.to_string(),
            _ => format!("{}-{}", at * width, (at + 1) * width - 1),
        };
        let mut columns: Vec<_> =
            (0..=most / width).map(|at| (name(at), vec![0_u64; guards.len()])).collect();
        for guard in &set.all.guards {
            let Some(series) = guards.iter().position(|name| *name == guard.guard) else { continue };
            for (step, runs) in &guard.steps {
                let column = usize::try_from(step / width).ok().and_then(|at| columns.get_mut(at));
                column.into_iter().for_each(|(_, counts)| counts[series] += runs);
            }
        }
        let _ = writeln!(out, "<h3>{}</h3>", escape(&set.set));
        out.push_str(&plot::columns(&format!("Steps of stops in {}", set.set), "step", &columns));
    }
}

fn by_guard(out: &mut String, report: &Report, guards: &[String]) {
    out.push_str("<h2>By guard</h2>\n");
    let mut rows = Vec::new();
    for name in guards {
        for set in &report.sets {
            let Some(guard) = set.all.guards.iter().find(|guard| guard.guard == *name) else { continue };
            rows.push((
                false,
                vec![
                    name.clone(),
                    set.set.clone(),
                    words::count(guard.stopped),
                    words::spread(guard.stop_step),
                    words::percent(words::ratio(guard.saved, set.all.tokens)),
                    words::percent(words::ratio(guard.saved_savable, set.all.savable)),
                    words::part(guard.harmful, set.all.successes),
                ],
            ));
        }
    }
    let header = ["guard", "set", "stopped first", "at step", "saved of all", "of the savable", "harmful"];
    table(out, &header, 2, &rows);
}

fn terms(out: &mut String, report: &Report) {
    out.push_str("<h2>Terms</h2>\n");
    let rows: Vec<_> =
        report.terms.values.iter().map(|(name, value)| (false, vec![name.clone(), value.clone()])).collect();
    table(out, &["term", "value"], 2, &rows);
}

fn skipped(out: &mut String, report: &Report) {
    let skipped = &report.skipped;
    if skipped.faults == 0 {
        return;
    }
    let _ = write!(
        out,
        "<h2>What could not be read</h2>\n<p class=\"bad\">{} left out of every figure above.</p>\n<pre>",
        words::count(skipped.faults)
    );
    for fault in &skipped.listed {
        let _ = writeln!(out, "{}", escape(fault));
    }
    out.push_str("</pre>\n");
}

fn calibration(out: &mut String, report: &Report) {
    let Some(calibration) = &report.calibration else { return };
    let _ = writeln!(
        out,
        "<h2>Calibrated</h2>\n<p>Fitted on one half of the runs to at most {} harmful stops, judged on the other half; \
         in brackets the 95 % confidence interval.</p>",
        escape(&words::percent(Some(calibration.max_harm)))
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
        rows.push((true, row(set, "all", fitted, held_out)));
        let apart = groups.iter().filter(|_| groups.len() > 1);
        rows.extend(apart.map(|fit| (false, row("", fit.name(), &fit.fitted, &fit.held_out))));
    }
    let header = [
        "set",
        "topology",
        "held out",
        "stopped",
        "saved of the savable",
        "harmful",
        "saved when fitted",
        "harmful when fitted",
    ];
    table(out, &header, 2, &rows);
    for set in &calibration.sets {
        for fit in &set.groups {
            let name = words::crew(set, fit);
            let _ = writeln!(out, "<h3>{}</h3>\n<pre>{}</pre>", escape(&name), escape(&fit.fragment));
        }
    }
}
