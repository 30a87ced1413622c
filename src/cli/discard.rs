//! `bailiwick discard`: says of dead letters that nothing more is to come of them. They stay readable.

use clap::Args;

use super::{
    Exit, Failure,
    client::Client,
    settle::{PAGE, SettleArgs, Sum, refused},
    terminal::Terminal,
};
use crate::pb;

/// What `discard` can be told.
#[derive(Args, Debug)]
pub struct DiscardArgs {
    /// Which, who and why.
    #[command(flatten)]
    pub settle: SettleArgs,
}

/// Runs `discard`.
///
/// # Errors
/// When nothing is meant, or the server cannot be asked or refuses.
pub async fn run(args: DiscardArgs, terminal: &mut Terminal) -> Result<Exit, Failure> {
    let settle = args.settle;
    settle.check("discard")?;
    let client = Client::connect(&settle.remote, terminal).await?;
    let (by, note, json) = (settle.who(), settle.note.clone(), settle.remote.json);
    let (mut sum, dry_run, single) = (Sum::default(), settle.dry_run, settle.ids.len() == 1);
    for task_id in &settle.ids {
        let result = match one(&client, terminal, task_id, &by, &note, dry_run).await {
            Ok(existing) => pb::DeadLetterResult { task_id: task_id.clone(), existing, ..Default::default() },
            Err(failure) if single => return Err(failure),
            Err(failure) => refused(task_id, failure)?,
        };
        sum.add(&[result], json, terminal)?;
    }
    if settle.ids.is_empty() {
        let mut request = pb::DiscardDeadLettersRequest {
            filter: Some(settle.filter.wire()),
            by,
            note,
            dry_run,
            page_size: PAGE,
            page_token: String::new(),
        };
        loop {
            let mut operator = client.operator.clone();
            let answer = client.ask(terminal, operator.discard_dead_letters(request.clone())).await?;
            sum.add(&answer.results, json, terminal)?;
            if answer.next_page_token.is_empty() || answer.next_page_token == request.page_token {
                break;
            }
            request.page_token = answer.next_page_token;
        }
    }
    Ok(sum.finish("discarded", dry_run, terminal))
}

/// Discards one; whether it had been before. Without doing it: whether it is a dead letter at all.
async fn one(
    client: &Client,
    terminal: &Terminal,
    task_id: &str,
    by: &str,
    note: &str,
    dry_run: bool,
) -> Result<bool, Failure> {
    let task_id = task_id.to_owned();
    if dry_run {
        let request = pb::GetDeadLetterRequest { task_id };
        let found = client.ask(terminal, client.operator.clone().get_dead_letter(request)).await?;
        let status = found.dead_letter.and_then(|letter| letter.status).unwrap_or_default();
        return Ok(status.state() == pb::DeadLetterState::Discarded);
    }
    let request = pb::DiscardDeadLetterRequest { task_id, by: by.to_owned(), note: note.to_owned() };
    let answer = client.ask(terminal, client.operator.clone().discard_dead_letter(request)).await?;
    Ok(answer.already_discarded)
}
