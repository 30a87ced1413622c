//! What `redrive` and `discard` share: which dead letters are meant, who does it, and what became of each. Many are done page
//! by page, so that it can be broken off and begun again at any time: what is done is done.

use clap::Args;

use super::{
    Exit, Failure, client::Remote, dead_letters::LetterFilter, json, question::login, terminal::Terminal,
};
use crate::{
    console::{dead_letter, text::plural},
    pb,
};

/// Dead letters a call where many are meant.
pub(super) const PAGE: i32 = 50;

/// Which, who and why.
#[derive(Args, Debug)]
pub struct SettleArgs {
    /// The dead letters, by their ids.
    #[arg(value_name = "TASK", conflicts_with_all = ["agent", "label", "cause", "since", "namespace", "every"])]
    pub ids: Vec<String>,
    /// Which, where no ids are given.
    #[command(flatten)]
    pub filter: LetterFilter,
    /// Every open dead letter there is.
    #[arg(long = "all", id = "every", conflicts_with_all = ["agent", "label", "cause", "since", "namespace"])]
    pub all: bool,
    /// Only say what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// Who does it; it is recorded. Default: your login.
    #[arg(long = "by", alias = "as", value_name = "NAME", env = "USER", hide_env_values = true)]
    pub by: Option<String>,
    /// A note; it is recorded.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub note: String,
    /// The server.
    #[command(flatten)]
    pub remote: Remote,
}

impl SettleArgs {
    /// Refuses a command that names nothing: all of them must be meant in so many words.
    ///
    /// # Errors
    /// It names nothing.
    pub(super) fn check(&self, command: &str) -> Result<(), Failure> {
        if self.ids.is_empty() && self.filter.is_empty() && !self.all {
            let what = "which dead letters? Name them, or write a filter like --agent A, or --all";
            return Err(Failure::new(Exit::Usage, what).hint(format!(
                "`bailiwick dead-letters` lists them; `bailiwick {command} --dry-run` says what it would do"
            )));
        }
        Ok(())
    }

    /// Who does it.
    pub(super) fn who(&self) -> String {
        self.by.clone().filter(|name| !name.is_empty()).unwrap_or_else(login)
    }
}

/// What has been done so far.
#[derive(Debug, Default)]
pub(super) struct Sum {
    done: i64,
    before: i64,
    refused: i64,
}

impl Sum {
    /// Shows what became of these, and counts it.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(super) fn add(
        &mut self,
        results: &[pb::DeadLetterResult],
        json_wanted: bool,
        terminal: &mut Terminal,
    ) -> Result<(), Failure> {
        for result in results {
            match (&result.refusal, result.existing) {
                (Some(_), _) => self.refused += 1,
                (None, true) => self.before += 1,
                (None, false) => self.done += 1,
            }
            if json_wanted {
                terminal.line(json::line("DeadLetterResult", result)?)?;
            } else {
                terminal.lines(dead_letter::result(terminal.look(), result))?;
            }
        }
        terminal.progress(&self.words("so far"));
        Ok(())
    }

    fn words(&self, when: &str) -> String {
        let mut words = format!("{} {when}", plural(self.done, "dead letter"));
        for (count, what) in [(self.before, "done before"), (self.refused, "refused")] {
            if count > 0 {
                words.push_str(&format!(", {count} {what}"));
            }
        }
        words
    }

    /// Says what was done in all.
    pub(super) fn finish(&self, verb: &str, dry_run: bool, terminal: &mut Terminal) -> Exit {
        terminal.progress_done();
        let verb = if dry_run { format!("would be {verb}") } else { verb.to_owned() };
        terminal.note(self.words(&verb));
        if self.refused > 0 { Exit::Conflict } else { Exit::Ok }
    }
}

/// A refusal of one among several, so that the others go on; anything that would meet the next one too is an error.
///
/// # Errors
/// The server cannot be asked.
pub(super) fn refused(task_id: &str, failure: Failure) -> Result<pb::DeadLetterResult, Failure> {
    match failure.exit {
        Exit::Refused | Exit::NotFound | Exit::Conflict | Exit::Usage => {
            let refusal = pb::DeadLetterRefusal { message: failure.message, ..Default::default() };
            let task_id = task_id.to_owned();
            Ok(pb::DeadLetterResult { task_id, refusal: Some(refusal), ..Default::default() })
        }
        _ => Err(failure),
    }
}
