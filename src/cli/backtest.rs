//! `bailiwick backtest`: recorded runs through the guards of live tasks. Its arguments, its progress, where its report goes.
//! What it finds is not decided here.

use std::{fs, path::PathBuf};

use clap::Args;

use super::{Exit, Failure, failure::Violation, submit::read_contract, terminal::Terminal};
use crate::{
    backtest::{
        html,
        judge::{self, Heard, Options},
        markdown,
        replay::BacktestTerms,
        report::{Report, Skipped},
        run, text, words,
    },
    console::text::{clean, clip, plural},
    engine::intake,
    pb,
    service::convert::contract,
};

/// Faults that are shown; the rest is counted.
const FAULTS_SHOWN: u64 = 20;
/// Characters of one that are shown.
const MOST_FAULT: usize = 500;
/// Runs between two looks of the progress.
const STEP: u64 = 50;

/// What `backtest` can be told.
#[derive(Args, Debug)]
pub struct BacktestArgs {
    /// Files of recorded runs: JSON lines, or OTLP/JSON spans with GenAI attributes; plain or gzip. `-` reads stdin.
    #[arg(value_name = "TRACES", required = true)]
    pub traces: Vec<String>,
    /// Judge by the guards and limits that this contract states; a part of one will do. Default: the default guards.
    #[arg(long, value_name = "FILE")]
    pub contract: Option<String>,
    /// Fit the guards on one half of the runs, report on the other, and print what to paste into a contract.
    #[arg(long)]
    pub calibrate: bool,
    /// The most harmful stops, as a share of the successes, that may come of fitted guards.
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = share, requires = "calibrate")]
    pub max_harm: f64,
    /// Another number, another split into halves: for a look at how much depends on it.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "calibrate")]
    pub salt: u64,
    /// Write JSON: one object with everything, schema `bailiwick.backtest/1`.
    #[arg(long)]
    pub json: bool,
    /// Also write the report as one HTML file with plots.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Also write the report as Markdown, with what each guard does alone: how docs/guards.md is made.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Threads that work; 0: one a core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub jobs: usize,
}

/// A share as "1%" or "0.5 %". A bare number could be meant either way.
fn share(text: &str) -> Result<f64, String> {
    let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match percent {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("write a share from 0% to 100%, with its sign: 1%".to_owned()),
    }
}

/// Runs `backtest`.
///
/// # Errors
/// When a file is not there, the contract is refused, or a report cannot be written. A broken line is no error but an exit
/// code.
pub fn run(args: BacktestArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let BacktestArgs {
        traces,
        contract,
        calibrate,
        max_harm,
        salt,
        json,
        html: html_file,
        markdown: markdown_file,
        jobs,
    } = args;
    let terms = contract.as_deref().map_or_else(|| Ok(BacktestTerms::default()), terms_of)?;
    let options = Options {
        terms,
        contract,
        calibrate: calibrate.then_some(max_harm),
        salt,
        alone: markdown_file.is_some(),
        workers: jobs,
    };
    let report = judged(&traces, &options, json, terminal)?;
    if json {
        let text = serde_json::to_string(&report)
            .map_err(|error| Failure::from(format!("the report is no JSON: {error}")))?;
        terminal.line(text)?;
    } else {
        terminal.lines(text::lines(terminal.look(), &report))?;
    }
    write(html_file, || html::page(&report))?;
    write(markdown_file, || markdown::page(&report))?;
    Ok(ended(&report.skipped, json, terminal))
}

/// Says something on stderr: in words, or as one object a line where scripts read.
fn tell(terminal: &Terminal, json: bool, kind: &str, text: &str) {
    if json { terminal.note(serde_json::json!({ kind: text })) } else { terminal.note(text) }
}

fn judged(
    files: &[String],
    options: &Options,
    json: bool,
    terminal: &mut Terminal,
) -> Result<Report, Failure> {
    let progress = run::look(files).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let mut faults = 0;
    let report = judge::judge(files, &progress, options, |heard| match heard {
        Heard::Runs(runs) if runs % STEP == 0 => {
            let runs = words::count(runs);
            let read = progress.percent().map_or_else(String::new, |percent| format!(", {percent} % read"));
            terminal.progress(&format!("{runs} runs judged{read}"));
        }
        Heard::Runs(_) => {}
        Heard::Fault(fault) => {
            faults += 1;
            if faults <= FAULTS_SHOWN {
                tell(terminal, json, "fault", &clip(&fault.to_string(), MOST_FAULT));
            }
        }
    });
    terminal.progress_done();
    Ok(report)
}

/// Says what was left out, and ends.
fn ended(skipped: &Skipped, json: bool, terminal: &Terminal) -> Exit {
    let Skipped { faults, listed: _, empty_traces } = skipped;
    let count = |count: u64, one: &str| plural(i64::try_from(count).unwrap_or(i64::MAX), one);
    let note = |text: String| tell(terminal, json, "note", &text);
    if *faults > FAULTS_SHOWN {
        note(format!("... and {} more", words::count(faults - FAULTS_SHOWN)));
    }
    if *empty_traces > 0 {
        note(format!(
            "{} without work of a model or an agent: nothing to judge",
            count(*empty_traces, "trace")
        ));
    }
    if *faults == 0 {
        return Exit::Ok;
    }
    note(format!("{} left out; everything else is in the report", count(*faults, "fault")));
    Exit::Incomplete
}

fn write(file: Option<PathBuf>, page: impl FnOnce() -> String) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    fs::write(&file, page())
        .map_err(|error| Failure::new(Exit::Error, format!("{} cannot be written: {error}", file.display())))
}

/// What a contract, or a part of one, holds a run to. Only what it states counts, but for the guards, which have defaults.
fn terms_of(file: &str) -> Result<BacktestTerms, Failure> {
    let wire = read_contract(file)?;
    let limits = wire.limits.unwrap_or_default();
    let most = |field: &str, given: i64| match u64::try_from(given) {
        Ok(0) => Ok(None),
        Ok(most) => Ok(Some(most)),
        Err(_) => Err(refused(vec![intake::Violation {
            field: field.to_owned(),
            description: format!("is {given}: write a number of at least 1"),
        }])),
    };
    let small = |most: Option<u64>| most.and_then(|most| u32::try_from(most).ok());
    let pb::Limits { max_hops, max_turns, .. } = limits;
    // 0 hops is a limit; 0 of the others is none.
    let max_hops = match max_hops {
        Some(0) => Some(0),
        hops => small(most("limits.max_hops", hops.unwrap_or(0).into())?),
    };
    Ok(BacktestTerms {
        max_hops,
        max_turns: small(most("limits.max_turns", max_turns.into())?),
        max_tokens: most("budget.max_tokens", wire.budget.map_or(0, |budget| budget.max_tokens))?,
        guards: contract::guard_terms(wire.guards.unwrap_or_default()).map_err(refused)?,
    })
}

fn refused(violations: Vec<intake::Violation>) -> Failure {
    let violations = violations
        .into_iter()
        .map(|intake::Violation { field, description }| Violation {
            place: String::new(),
            field: clean(&field),
            description: clean(&description),
        })
        .collect();
    Failure { violations, ..Failure::new(Exit::Refused, "the contract is refused") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backtest::terms, cli::contract_file, types::guards::GuardTerms};

    #[test]
    fn a_share_needs_its_sign() {
        assert_eq!([share("1%"), share(" 0.5 %")], [Ok(0.01), Ok(0.005)]);
        for text in ["1", "0.01", "%", "101%", "-1%", "NaN%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_printed_to_paste_reads_back_as_the_same_terms() {
        let mut guards = GuardTerms { max_steps: Some(41), ..GuardTerms::default() };
        guards.repetition.times = 2;
        guards.finished.idle = None;
        guards.drafts.on = false;
        let read = contract_file::parse("pasted.yaml", &terms::fragment(&guards)).unwrap();
        assert_eq!(contract::guard_terms(read.guards.unwrap()).unwrap(), guards);
    }
}
