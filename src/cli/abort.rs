//! `bailiwick abort`: end the task that asks.

use super::{
    Exit, Failure,
    question::{AnswerArgs, answer},
    terminal::Terminal,
};
use crate::pb::{self, answer_escalation_request::What};

/// Runs `abort`.
///
/// # Errors
/// As [`answer`].
pub async fn run(args: AnswerArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    answer(args, What::Abort(pb::Abort {}), terminal).await
}
