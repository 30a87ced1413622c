//! What the commands of a person share: which question is meant, who answers, and how the answer goes in. Never here: what an
//! answer means; the server says that.

use std::time::{Duration, SystemTime};

use clap::Args;
use prost_types::Timestamp;

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    terminal::Terminal,
};
use crate::{
    console::{
        question::short,
        text::{clean, clip},
        words,
    },
    pb::{self, answer_escalation_request::What},
};

/// Questions asked for at once.
const PAGE: i32 = 1_000;
/// Questions named where it is not clear which is meant.
const MAX_NAMED: usize = 5;
/// Length of a task's id.
const TASK_ID_CHARS: usize = 36;

/// Which question, who, and why.
#[derive(Args, Debug)]
pub struct AnswerArgs {
    /// The question, or the beginning of its id or of its task's; may be left out where only one is open.
    #[arg(value_name = "ID", default_value = "", hide_default_value = true)]
    pub id: String,
    /// Who answers; it is recorded. Default: your login.
    #[arg(long = "by", alias = "as", value_name = "NAME", env = "USER", hide_env_values = true)]
    pub by: Option<String>,
    /// A note; it is recorded, and where the task goes on the agent reads it.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub note: String,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Who this is where USER does not say, as in containers and in cron.
pub(super) fn login() -> String {
    let name = std::env::var("LOGNAME").ok().filter(|name| !name.is_empty());
    name.unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()))
}

/// Who it is that acts: the name that was given, or the login.
pub(super) fn who(by: Option<String>) -> String {
    by.filter(|name| !name.is_empty()).unwrap_or_else(login)
}

/// Answers a question, and says what became of it.
///
/// # Errors
/// When no question is meant, or several could be; when the server cannot be asked, or refuses the answer.
pub async fn answer(args: AnswerArgs, what: What, terminal: &Terminal) -> Result<Exit, Failure> {
    let AnswerArgs { id, by, note, remote } = args;
    let answered_by = who(by);
    let client = Client::connect(&remote, terminal).await?;
    let escalation_id = resolve(&client, terminal, &id, false).await?;
    let request = pb::AnswerEscalationRequest {
        escalation_id,
        answered_by,
        note,
        what: Some(what),
        ..pb::AnswerEscalationRequest::default()
    };
    let reply = client.ask(terminal, client.operator.clone().answer_escalation(request)).await?;
    let question = reply.escalation.unwrap_or_default();
    if remote.json {
        terminal.line(json::line("Escalation", &question)?)?;
    } else {
        terminal.line(format!(
            "{} {} by {}",
            question.escalation_id,
            words::small(&words::escalation(question.state)),
            clean(&question.answered_by)
        ))?;
        terminal.note(format!(
            "see what comes of it: bailiwick watch {}{}",
            clean(&question.task_id),
            remote.flag()
        ));
    }
    Ok(Exit::Ok)
}

/// The id of the question that is meant. A whole id is taken as it is; the beginning of one must fit one question only, the
/// open ones first; nothing means the only one that is open, and then it is said which. With `closed`, one that has ended
/// may be meant as well as another.
///
/// # Errors
/// When none or several could be meant, or the server cannot be asked.
pub async fn resolve(
    client: &Client,
    terminal: &Terminal,
    text: &str,
    closed: bool,
) -> Result<String, Failure> {
    let text = text.trim().to_ascii_lowercase();
    if text.len() > TASK_ID_CHARS && text.contains('.') {
        return Ok(text);
    }
    let open = matching(client, terminal, &text, false).await?;
    match open.as_slice() {
        [only] => {
            if text.is_empty() {
                terminal.note(format!("the only open question: {}", short(only)));
            }
            return Ok(only.escalation_id.clone());
        }
        [] if text.is_empty() => return Err(Failure::new(Exit::NotFound, "nobody waits for an answer")),
        [] => {}
        several => return Err(ambiguous(&text, several)),
    }
    // None is open: one that has ended is shown, or the server says who was quicker.
    let mut ended = matching(client, terminal, &text, true).await?;
    let tasks: std::collections::BTreeSet<_> = ended.iter().map(|question| &question.task_id).collect();
    if tasks.len() > 1 || (closed && ended.len() > 1) {
        return Err(ambiguous(&text, &ended));
    }
    match ended.pop() {
        Some(newest) => Ok(newest.escalation_id),
        None => Err(Failure::new(
            Exit::NotFound,
            format!("no question, and no task that asks one, begins with {text}"),
        )
        .hint("`bailiwick inbox` lists what is open, `bailiwick inbox --all` everything")),
    }
}

fn ambiguous(text: &str, several: &[pb::Escalation]) -> Failure {
    let which = if text.is_empty() {
        format!("{} questions are open: say which", several.len())
    } else {
        format!("{} questions begin with {text}: write more of the id", several.len())
    };
    let named = several.iter().take(MAX_NAMED);
    named.fold(Failure::new(Exit::Usage, which), |failure, question| failure.hint(short(question)))
}

/// Questions whose id begins with this; of all states or the open ones.
async fn matching(
    client: &Client,
    terminal: &Terminal,
    text: &str,
    all_states: bool,
) -> Result<Vec<pb::Escalation>, Failure> {
    let filter = pb::ListEscalationsRequest {
        id_prefix: clip(text, 64),
        all_states,
        ..pb::ListEscalationsRequest::default()
    };
    list(client, terminal, filter).await
}

/// Every question that fits.
///
/// # Errors
/// When the server cannot be asked.
pub async fn list(
    client: &Client,
    terminal: &Terminal,
    mut request: pb::ListEscalationsRequest,
) -> Result<Vec<pb::Escalation>, Failure> {
    let mut found = Vec::new();
    request.page_size = PAGE;
    loop {
        let answer = client.ask(terminal, client.operator.clone().list_escalations(request.clone())).await?;
        found.extend(answer.escalations);
        // A server that gives the same token again would otherwise keep us here for ever.
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
