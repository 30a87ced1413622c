//! `bailiwick dead-letters`: what died for technical reasons, what each attempt died of, and what a redrive would do; with an
//! id the full story.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use prost_types::Timestamp;

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    list::{cause, label, since},
    terminal::Terminal,
};
use crate::{console::dead_letter, pb};

/// Dead letters a page where all are wanted.
const PAGE: i32 = 100;

/// Which dead letters are meant.
#[derive(Args, Debug, Clone, Default)]
pub struct LetterFilter {
    /// Only those whose owner this is, or in which it had a turn.
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// Only those with this label; several must all be there.
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// Only these causes, like `no-worker` or `attempts-exhausted`.
    #[arg(long, value_name = "CAUSE", value_delimiter = ',', value_parser = cause)]
    pub cause: Vec<i32>,
    /// Only those submitted since: a time ago, like 2h, or a time, like 2026-11-20T12:00:00Z.
    #[arg(long, value_name = "AGO|TIME", value_parser = since)]
    pub since: Option<Timestamp>,
    /// Only those of this namespace.
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
}

impl LetterFilter {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { agent, label, cause, since, namespace } = self;
        agent.is_none() && label.is_empty() && cause.is_empty() && since.is_none() && namespace.is_none()
    }

    /// For the wire.
    #[must_use]
    pub fn wire(self) -> pb::DeadLetterFilter {
        let Self { agent, label, cause, since, namespace } = self;
        let labels = BTreeMap::from_iter(label);
        let (agent, namespace) = (agent.unwrap_or_default(), namespace.unwrap_or_default());
        pb::DeadLetterFilter { agent, labels, causes: cause, since, namespace }
    }
}

/// Where a dead letter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LetterState {
    /// Nothing was done with it yet.
    Open,
    /// A successor was made of it.
    Redriven,
    /// Nothing more is to come of it.
    Discarded,
    /// Any of these.
    Any,
}

/// What `dead-letters` can be told.
#[derive(Args, Debug)]
pub struct DeadLettersArgs {
    /// One dead letter: its full story.
    #[arg(value_name = "TASK", conflicts_with_all = ["agent", "label", "cause", "since", "namespace", "state", "limit", "page_token", "all"])]
    pub id: Option<String>,
    /// Which.
    #[command(flatten)]
    pub filter: LetterFilter,
    /// Where they are: open, redriven, discarded or any.
    #[arg(long, value_enum, value_name = "STATE", default_value = "open", hide_possible_values = true)]
    pub state: LetterState,
    /// How many at most.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(i32).range(1..=100))]
    pub limit: i32,
    /// Where the page before ended, as it was printed.
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    pub page_token: String,
    /// Every page.
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `dead-letters`.
///
/// # Errors
/// When the server cannot be asked, or there is no such dead letter.
pub async fn run(args: DeadLettersArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let client = Client::connect(&args.remote, terminal).await?;
    match args.id.clone() {
        Some(id) => show(id, &args.remote, &client, terminal).await,
        None => list(args, &client, terminal).await,
    }
}

async fn show(
    task_id: String,
    remote: &Remote,
    client: &Client,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let request = pb::GetDeadLetterRequest { task_id };
    let answer = client.ask(terminal, client.operator.clone().get_dead_letter(request)).await?;
    let found = answer.dead_letter.unwrap_or_default();
    if remote.json {
        terminal.line(json::line("DeadLetter", &found)?)?;
    } else {
        let contract = found.task.as_ref().and_then(|task| task.contract.as_ref());
        let contract =
            contract.map(|contract| json::yaml("Contract", contract)).transpose()?.unwrap_or_default();
        terminal.lines(dead_letter::full(terminal.look(), &found, &contract, &remote.flag()))?;
    }
    Ok(Exit::Ok)
}

async fn list(args: DeadLettersArgs, client: &Client, terminal: &Terminal) -> Result<Exit, Failure> {
    let DeadLettersArgs { id: _, filter, state, limit, page_token, all, remote } = args;
    let state = match state {
        LetterState::Open => Some(pb::DeadLetterState::Open),
        LetterState::Redriven => Some(pb::DeadLetterState::Redriven),
        LetterState::Discarded => Some(pb::DeadLetterState::Discarded),
        LetterState::Any => None,
    };
    let mut request = pb::ListDeadLettersRequest {
        filter: Some(filter.wire()),
        states: state.into_iter().map(|state| state as i32).collect(),
        all_states: state.is_none(),
        page_size: if all { PAGE } else { limit },
        page_token,
    };
    let (mut found, wanted) = (0, usize::try_from(limit).unwrap_or(usize::MAX));
    let next = loop {
        let answer = client.ask(terminal, client.operator.clone().list_dead_letters(request.clone())).await?;
        found += answer.dead_letters.len();
        if remote.json {
            let mut letters = answer.dead_letters.iter();
            letters.try_for_each(|letter| terminal.line(json::line("DeadLetter", letter)?))?;
        } else {
            terminal.lines(dead_letter::list(terminal.look(), &answer.dead_letters, &remote.flag()))?;
        }
        // A server that gives the same token again would otherwise keep us here for ever.
        let is_last = answer.next_page_token.is_empty() || answer.next_page_token == request.page_token;
        if is_last || (!all && found >= wanted) {
            break answer.next_page_token;
        }
        request.page_token = answer.next_page_token;
        if !all {
            request.page_size = i32::try_from(wanted - found).unwrap_or(limit);
        }
    };
    if found == 0 {
        terminal.note("no dead letters");
    }
    if !all && !next.is_empty() {
        terminal.note(format!("there are more: --page-token {next}, or --all"));
    }
    Ok(Exit::Ok)
}
