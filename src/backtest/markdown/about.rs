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
            "The same content in a row or in a cycle: inside a turn, by one agent, or regardless of agent; equal but for the \
             ends of lines, or nearly equal prose. A tool call counts only with its result. Prose that is only alike, and \
             long text said again in spite of news, count half; messages of a word or two count by the eighth.",
            "Twice is often a correction. A call without its result would stop healthy paging.",
        ),
        row(
            "finished.restated",
            or_off(restated),
            "answer restated",
            "One agent states the same answer again; others have spoken in between, and said nothing new against it.",
            "The commonest way in which finished work goes on.",
        ),
        row(
            "finished.confirmed",
            confirmed.to_string(),
            "answer confirmed",
            "The tool result right after a message gives the figure that the message answered, without having been given it.",
            "Whatever comes after it rarely changes the answer.",
        ),
        row(
            "finished.idle",
            or_off(idle),
            "nothing added",
            "So many messages in a row add no figure, no code and together at most eight new words to an answer that stands.",
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

/// What the defaults were chosen on, and what that means for the figures.
pub(super) fn tuned(out: &mut String) {
    out.push_str(TUNED);
}

const TUNED: &str = "## What was tuned on what\n\n\
    The rules, their defaults and the weights of the calibration were chosen by people who had looked at all the sets below.\n\
    So every figure with the defaults is in-sample. The held-out half tests the choice of terms, not the choice of rules, and\n\
    so does the fit of one system on another. Terms are fitted among the defaults and what is laxer; where the fit came out at\n\
    the defaults, its row is theirs. `src/backtest/strangers.rs` holds made-up crews of other kinds, healthy ones that must\n\
    run to their end and sick ones that must be stopped; the rules were mended until they did. Before trusting the savings\n\
    elsewhere:\n\n\
    - Most of what is saved comes from two rules. *Answer restated* suits crews that go on after their result stands, as\n\
    ChatDev does by design; *answer confirmed* suits solvers that answer and compute in one breath, as those of AG2 do. A\n\
    crew that does neither saves little: the sets whose rows show nothing saved are such crews.\n\
    - That code which still prints is a trial, and must be stated once more and to the letter, was learnt from ChatDev, and\n\
    is told by how common languages print. Where no such call can be seen, programs that are still moving count as done, and\n\
    the bound on harm does not hold: calibrate, or wait for a third statement.\n\
    - Recordings that cut every message off after some characters make different messages equal; the bound on harm does not\n\
    hold for them either. Feed whole messages, or fingerprints of them.\n\n\
    Likeness of prose has stopped none of these runs by itself; it is there for loops that vary their words, and counts half.\n\
    A crew that does new things for ever, for want of an agreed end, is for the limits of a contract: no guard looks for it.\n\n";

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
