//! `bailiwick inbox`, `approve`, `abort`: the questions that wait for a person, and the answers.

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use prost_types::Timestamp;

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    terminal::Terminal,
};
use crate::{
    console::{operator, words},
    pb,
};

const PAGE: i32 = 1_000;

/// What `inbox` can be told.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct InboxArgs {
    /// Only questions of this task.
    #[arg(long, value_name = "TASK", default_value = "", hide_default_value = true)]
    pub task: String,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
    /// What to do with one of them.
    #[command(subcommand)]
    pub action: Option<InboxAction>,
}

/// An answer.
#[derive(Debug, Subcommand)]
pub enum InboxAction {
    /// Accept the candidate: the task SUCCEEDED. Without a candidate: the task goes on.
    Approve(AnswerArgs),
    /// End the task FAILED; its best result so far stays attached.
    Abort(AnswerArgs),
}

/// What an answer can be told.
#[derive(Args, Debug)]
pub struct AnswerArgs {
    /// The question, or the task, where it has only one open.
    #[arg(value_name = "QUESTION|TASK")]
    pub id: String,
    /// Who answers; it is recorded.
    #[arg(long = "as", value_name = "NAME", env = "USER", hide_env_values = true)]
    pub answered_by: Option<String>,
    /// A note; where the task goes on, the agent reads it.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub note: String,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

impl InboxArgs {
    /// Whether a script reads along.
    #[must_use]
    pub fn json(&self) -> bool {
        match &self.action {
            Some(InboxAction::Approve(args) | InboxAction::Abort(args)) => args.remote.json,
            None => self.remote.json,
        }
    }
}

/// Runs `inbox`.
///
/// # Errors
/// When the server cannot be asked, or refuses the answer.
pub async fn run(args: InboxArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let InboxArgs { task, remote, action } = args;
    match action {
        Some(InboxAction::Approve(args)) => return approve(args, terminal).await,
        Some(InboxAction::Abort(args)) => return abort(args, terminal).await,
        None => {}
    }
    let client = Client::connect(&remote, terminal).await?;
    let open = open(&client, terminal, &task).await?;
    if remote.json {
        open.iter().try_for_each(|question| terminal.line(json::line("Escalation", question)?))?;
    } else if open.is_empty() {
        terminal.note("nobody waits for an answer");
    } else {
        terminal.lines(operator::questions(terminal.look(), &open, &now()))?;
    }
    Ok(Exit::Ok)
}

/// Runs `approve`.
///
/// # Errors
/// As [`run`].
pub async fn approve(args: AnswerArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    answer(args, pb::Answer::Approve, terminal).await
}

/// Runs `abort`.
///
/// # Errors
/// As [`run`].
pub async fn abort(args: AnswerArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    answer(args, pb::Answer::Abort, terminal).await
}

/// Who this is where USER does not say, as in containers and in cron.
fn login() -> String {
    let name = std::env::var("LOGNAME").ok().filter(|name| !name.is_empty());
    name.unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()))
}

async fn answer(args: AnswerArgs, answer: pb::Answer, terminal: &Terminal) -> Result<Exit, Failure> {
    let AnswerArgs { id, answered_by, note, remote } = args;
    let answered_by = answered_by.filter(|name| !name.is_empty()).unwrap_or_else(login);
    let client = Client::connect(&remote, terminal).await?;
    let escalation_id = question_id(&client, terminal, id).await?;
    let request = pb::AnswerEscalationRequest { escalation_id, answer: answer as i32, answered_by, note };
    let reply = client.ask(terminal, client.operator.clone().answer_escalation(request)).await?;
    let question = reply.escalation.unwrap_or_default();
    if remote.json {
        terminal.line(json::line("Escalation", &question)?)?;
    } else {
        terminal.line(format!(
            "{} {} as {}",
            question.escalation_id,
            words::small(&words::escalation(question.state)),
            crate::console::text::clean(&question.answered_by)
        ))?;
        terminal.note(format!("see what comes of it: bailiwick watch {}", question.task_id));
    }
    Ok(Exit::Ok)
}

/// A question's id is a task's with a number; the bare task stands for its only open question.
async fn question_id(client: &Client, terminal: &Terminal, id: String) -> Result<String, Failure> {
    if id.contains('.') {
        return Ok(id);
    }
    let open = open(client, terminal, &id).await?;
    match open.as_slice() {
        [only] => Ok(only.escalation_id.clone()),
        [] => Err(Failure::new(Exit::NotFound, format!("task {id} asks nothing now"))),
        several => {
            let ids: Vec<&str> = several.iter().map(|question| question.escalation_id.as_str()).collect();
            Err(Failure::new(
                Exit::Usage,
                format!("task {id} asks several things. Write one of {}", ids.join(", ")),
            ))
        }
    }
}

/// Every open question, of one task or of all.
async fn open(client: &Client, terminal: &Terminal, task: &str) -> Result<Vec<pb::Escalation>, Failure> {
    let mut found = Vec::new();
    let mut request = pb::ListEscalationsRequest {
        states: vec![pb::EscalationState::Open as i32],
        page_size: PAGE,
        page_token: String::new(),
        task_id: task.to_owned(),
    };
    loop {
        let answer = client.ask(terminal, client.operator.clone().list_escalations(request.clone())).await?;
        found.extend(answer.escalations);
        if answer.next_page_token.is_empty() || answer.next_page_token == request.page_token {
            return Ok(found);
        }
        request.page_token = answer.next_page_token;
    }
}

/// The time on this machine, to say how long ago something was.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "only to show ages to a person; no decision hangs on it")]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp {
        seconds: i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since_epoch.subsec_nanos()).unwrap_or(0),
    }
}
