//! The report as a page of Markdown: how `docs/guards.md` is made. Words about the guards stand here; every figure comes out of
//! the report. Never here: a figure written by hand.

use std::fmt::Write;

use super::{
    report::{CalibratedSet, Figures, Half, Report, SetReport},
    words,
};
use crate::{
    console::text::clean,
    types::guards::{FinishedTerms, GuardTerms},
};

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
    guards(&mut out);
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
    skipped(&mut out, report);
    sources(&mut out, report);
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

fn guards(out: &mut String) {
    let GuardTerms { repetition, finished, drafts, max_steps } = GuardTerms::default();
    let FinishedTerms { restated, confirmed, idle, .. } = finished;
    let similarity = |permille: u16| f64::from(permille) / 1_000.0;
    let or_off = |count: Option<u32>| count.map_or_else(|| "off".to_owned(), |count| count.to_string());
    let row = |term: &str, default: String, names: &str, what: &str, why: &str| {
        [term, &default, names, what, why].map(str::to_owned).to_vec()
    };
    let rows = [
        row(
            "repetition",
            format!(
                "{} times, cycles up to {}, {} alike",
                repetition.times,
                repetition.max_cycle,
                similarity(repetition.similarity_permille)
            ),
            "repetition, cycle, near repetition",
            "The same content in a row or in a cycle: inside a turn, by one agent, or regardless of agent; equal after \
             normalisation, or nearly equal prose. A tool call counts only with its result.",
            "Twice is often a correction. A call without its result would stop healthy paging.",
        ),
        row(
            "finished.restated",
            or_off(restated),
            "answer restated",
            "One agent states the same answer again, and nothing new was said against it in between.",
            "The commonest way in which finished work goes on.",
        ),
        row(
            "finished.confirmed",
            confirmed.to_string(),
            "answer confirmed",
            "A tool gives back what was already the answer.",
            "Whatever comes after it rarely changes the answer.",
        ),
        row(
            "finished.idle",
            or_off(idle),
            "nothing added",
            "So many messages in a row add no new figure, code or thought to a result that stands.",
            "Thanks, praise and waiting cost as much as work.",
        ),
        row(
            "drafts",
            format!("{} alike", similarity(drafts.similarity_permille)),
            "same drafts",
            "Two drafts in a row of an agent that delegates in rounds are the same in substance.",
            "Recorded runs have no rounds that the server counts, so this page has no figure for it.",
        ),
        row(
            "max_steps",
            or_off(max_steps),
            "steps",
            "Messages, tool calls with their results, and answers over the whole task.",
            "No one number fits two crews: `--calibrate` finds yours.",
        ),
    ];
    out.push_str("## The guards\n\n");
    table(
        out,
        &["in a contract, below `guards`", "default", "reported as", "what trips it", "why so"],
        5,
        &rows,
    );
}

const HOW_IT_IS_SCORED: &str = "## How it is scored\n\n\
    *Billed* are the tokens that a model read and wrote at each of its steps, as recorded; where they were not, a quarter of the\n\
    characters of everything before the step and of the step itself. A stop is *harmful* when the run was a success and the stop\n\
    comes before the step after which nothing could change its graded result, or when that step is not known. *Savable* are all\n\
    tokens of failures, and those of successes after that step. Tokens of a harmful stop count as saved of all, never of the\n\
    savable. A *runaway* went round in circles, or on and on after it was done: a guard against that trips under the default\n\
    terms. Steps count from 0; where a column says \"at step\", it gives the median and the middle half.\n\n";

fn sets(out: &mut String, report: &Report) {
    out.push_str("## With the defaults, by set and outcome\n\n");
    let row = |set: &str, outcome: &str, figures: &Figures| {
        vec![
            set.to_owned(),
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
    for SetReport { set, all, outcomes } in &report.sets {
        rows.extend(outcomes.iter().map(|one| row(set, one.outcome, &one.figures)));
        if outcomes.len() > 1 {
            rows.push(row(set, "all", all));
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
        words::percent(Some(calibration.max_harm)).replace(' ', "")
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
        rows.extend(apart.map(|fit| row(set, &fit.topology, &fit.fitted, &fit.held_out)));
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
    out.push_str("What was fitted, to paste into a contract:\n\n");
    for set in &calibration.sets {
        for fit in &set.groups {
            let name = cell(&[set.set.as_str(), &fit.topology].join(" "));
            let _ = writeln!(out, "`{}`\n\n```yaml\n{}```\n", name.trim(), fit.fragment);
        }
    }
}

fn skipped(out: &mut String, report: &Report) {
    let skipped = &report.skipped;
    if skipped.faults > 0 {
        let _ =
            writeln!(out, "Left out of every figure, because it could not be read: {}.\n", skipped.faults);
    }
}

/// A set that people can look up: its name here, the system, where it comes from, its licence.
struct Source(&'static str, &'static str, &'static str, &'static str);

/// The sets that this page is usually made from.
const SOURCES: [Source; 7] = [
    Source(
        "ag2_mathchat",
        "AG2: chats and teams on mathematics",
        "MAST study, earlier repository (MASFT)",
        "none stated",
    ),
    Source(
        "chatdev_humaneval",
        "ChatDev: a company of role agents, on HumanEval; graded by running the tests",
        "openevolve-mast",
        "none stated",
    ),
    Source("chatdev_warehouse", "ChatDev; not graded", "OpenBMB/ChatDev", "Apache-2.0"),
    Source("tau_airline", "one gpt-4o agent with tools, at an airline's desk", "tau-bench", "MIT"),
    Source("tau_retail", "one agent with tools, at a shop's desk", "AgentRx", "MIT"),
    Source("whowhen_algo", "teams of CaptainAgent; failures only", "Who&When", "MIT"),
    Source("whowhen_hand", "Magentic-One: an orchestrator and specialists; failures only", "Who&When", "MIT"),
];

fn sources(out: &mut String, report: &Report) {
    out.push_str(
        "## Where the runs come from\n\nOther people recorded them; they are not part of this repository. Only figures are shown here.\n\n",
    );
    let rows: Vec<_> = report
        .sets
        .iter()
        .map(|set| {
            let known = SOURCES.iter().find(|source| source.0 == set.set);
            let Source(_, system, source, licence) = known.unwrap_or(&Source("", "", "", ""));
            let runs = words::count(set.all.runs);
            vec![set.set.clone(), (*system).to_owned(), (*source).to_owned(), (*licence).to_owned(), runs]
        })
        .collect();
    table(out, &["set", "system", "source", "licence", "runs"], 4, &rows);
}

fn remake(out: &mut String, report: &Report) {
    let calibrate = report.calibration.as_ref().map_or_else(String::new, |calibration| {
        format!(" --calibrate --max-harm {}", words::percent(Some(calibration.max_harm)).replace(' ', ""))
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
