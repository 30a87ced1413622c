//! What the page says of the guards and of the sets it is usually made from. Every default comes from the code. Never here: a
//! measured figure.

use super::table;
use crate::{
    backtest::{report::Report, words},
    types::guards::{FinishedTerms, GuardTerms},
};

/// The guards, one a row.
pub(super) fn guards(out: &mut String) {
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

/// Where the sets come from.
pub(super) fn sources(out: &mut String, report: &Report) {
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
