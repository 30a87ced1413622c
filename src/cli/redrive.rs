//! `bailiwick redrive`: makes new tasks of dead letters, under their contracts with changed limits. Running it again is
//! harmless: the same redrive is the same successor.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

use super::{
    Exit, Failure,
    client::Client,
    contract_file::{self, Format},
    settle::{PAGE, SettleArgs, Sum},
    strict,
    terminal::Terminal,
};
use crate::pb;

/// How a change is written.
const HINT: &str =
    "like --set limits.max_hops=20 or --set owner=writer; `bailiwick dead-letters TASK` shows the contract";

/// What `redrive` can be told.
#[derive(Args, Debug)]
pub struct RedriveArgs {
    /// Which, who and why.
    #[command(flatten)]
    pub settle: SettleArgs,
    /// Tokens for the whole task.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub max_tokens: Option<i64>,
    /// Tokens that a single turn may use.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub max_tokens_per_turn: Option<i64>,
    /// The wall-clock time of the whole task, like 10m.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub deadline: Option<Duration>,
    /// How long an agent without a worker is waited for.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub worker_wait: Option<Duration>,
    /// Attempts of a turn.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub max_attempts: Option<i32>,
    /// Hand-offs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub max_hops: Option<i32>,
    /// Work turns.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub max_turns: Option<i32>,
    /// Re-plans.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub max_replans: Option<i32>,
    /// Rounds.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub max_rounds: Option<i32>,
    /// Any other field of the contract, as `owner=writer` or `labels={team: a}`; without a value it goes back to its default.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub set: Vec<String>,
}

/// Runs `redrive`.
///
/// # Errors
/// When nothing is meant, a change is none, or the server cannot be asked or refuses.
pub async fn run(args: RedriveArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
    args.settle.check("redrive")?;
    let (changes, paths) = changes(&args)?;
    let settle = args.settle;
    let terms = pb::RedriveTerms {
        change_mask: (!paths.is_empty()).then_some(prost_types::FieldMask { paths }),
        changes: Some(changes),
        by: settle.who(),
        note: settle.note.clone(),
    };
    let client = Client::connect(&settle.remote, terminal).await?;
    let (mut sum, json, dry_run) = (Sum::default(), settle.remote.json, settle.dry_run);
    if let [only] = settle.ids.as_slice() {
        let task_id = only.clone();
        let request = pb::RedriveDeadLetterRequest { task_id, terms: Some(terms), dry_run };
        let answer = client.ask(terminal, client.operator.clone().redrive_dead_letter(request)).await?;
        sum.add(answer.result.as_slice(), json, terminal)?;
        return Ok(sum.finish("redriven", dry_run, terminal));
    }
    for task_id in &settle.ids {
        let request =
            pb::RedriveDeadLetterRequest { task_id: task_id.clone(), terms: Some(terms.clone()), dry_run };
        let result = match client.ask(terminal, client.operator.clone().redrive_dead_letter(request)).await {
            Ok(answer) => answer.result.unwrap_or_default(),
            Err(failure) => super::settle::refused(task_id, failure)?,
        };
        sum.add(&[result], json, terminal)?;
    }
    if settle.ids.is_empty() {
        let mut request = pb::RedriveDeadLettersRequest {
            filter: Some(settle.filter.wire()),
            terms: Some(terms),
            dry_run,
            page_size: PAGE,
            page_token: String::new(),
        };
        loop {
            let mut operator = client.operator.clone();
            let answer = client.ask(terminal, operator.redrive_dead_letters(request.clone())).await?;
            sum.add(&answer.results, json, terminal)?;
            if answer.next_page_token.is_empty() || answer.next_page_token == request.page_token {
                break;
            }
            request.page_token = answer.next_page_token;
        }
    }
    Ok(sum.finish("redriven", dry_run, terminal))
}

/// The changes: values, and the fields that are meant.
fn changes(args: &RedriveArgs) -> Result<(pb::Contract, Vec<String>), Failure> {
    let seconds = |time: Duration| Value::String(format!("{}.{:09}s", time.as_secs(), time.subsec_nanos()));
    let flags = [
        ("budget.max_tokens", args.max_tokens.map(Value::from)),
        ("budget.max_tokens_per_turn", args.max_tokens_per_turn.map(Value::from)),
        ("limits.deadline", args.deadline.map(seconds)),
        ("limits.worker_wait", args.worker_wait.map(seconds)),
        ("limits.max_attempts", args.max_attempts.map(Value::from)),
        ("limits.max_hops", args.max_hops.map(Value::from)),
        ("limits.max_turns", args.max_turns.map(Value::from)),
        ("limits.max_replans", args.max_replans.map(Value::from)),
        ("limits.max_rounds", args.max_rounds.map(Value::from)),
    ];
    let (mut values, mut paths) = (Map::new(), Vec::new());
    for (path, value) in flags {
        if let Some(value) = value {
            paths.push(path.to_owned());
            put(&mut values, path, value).map_err(|what| wrong(path, &what))?;
        }
    }
    for set in &args.set {
        let (path, text) = set.split_once('=').ok_or_else(|| wrong(set, "write FIELD=VALUE"))?;
        paths.push(path.to_owned());
        if !text.is_empty() {
            let value = strict::parse(text, Format::Yaml).map_err(|error| wrong(set, &error.message))?;
            put(&mut values, path, value).map_err(|what| wrong(set, &what))?;
        }
    }
    let json = Value::Object(values).to_string();
    let contract = contract_file::parse("--set", &json).map_err(|faults| {
        let each: Vec<_> = faults.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
        Failure::new(Exit::Usage, each.join("; ")).hint(HINT)
    })?;
    Ok((contract, paths))
}

fn wrong(set: &str, what: &str) -> Failure {
    Failure::new(Exit::Usage, format!("--set {set}: {what}")).hint(HINT)
}

/// Puts a value at its path.
fn put(fields: &mut Map<String, Value>, path: &str, value: Value) -> Result<(), String> {
    let Some((name, rest)) = path.split_once('.') else {
        return match fields.insert(path.to_owned(), value) {
            None => Ok(()),
            Some(_) => Err("the field is given twice".to_owned()),
        };
    };
    let group = fields.entry(name).or_insert_with(|| Value::Object(Map::new()));
    match group.as_object_mut() {
        Some(group) => put(group, rest, value),
        None => Err(format!("{name} is given as a whole already")),
    }
}
