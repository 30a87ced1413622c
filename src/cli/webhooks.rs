//! `bailiwick webhooks`.

use clap::Args;

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    question::now,
    terminal::Terminal,
};
use crate::{console::operator, pb};

/// What `webhooks` can be told.
#[derive(Args, Debug)]
pub struct WebhooksArgs {
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

/// Runs `webhooks`.
///
/// # Errors
/// When the server cannot be asked.
pub async fn run(args: WebhooksArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let WebhooksArgs { remote } = args;
    let client = Client::connect(&remote, terminal).await?;
    let answer =
        client.ask(terminal, client.operator.clone().list_webhooks(pb::ListWebhooksRequest {})).await?;
    if remote.json {
        answer.webhooks.iter().try_for_each(|webhook| terminal.line(json::line("Webhook", webhook)?))?;
    } else if answer.webhooks.is_empty() {
        terminal.note("no webhooks: the setting `webhooks` names the file of them");
    } else {
        terminal.line(operator::webhooks(terminal.look(), &answer.webhooks, &now()))?;
    }
    Ok(Exit::Ok)
}
