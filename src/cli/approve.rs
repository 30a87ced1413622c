//! `bailiwick approve`: accept what a question offers.

use super::{
    Exit, Failure,
    question::{AnswerArgs, answer},
    terminal::Terminal,
};
use crate::pb::{self, answer_escalation_request::What};

/// Runs `approve`.
///
/// # Errors
/// As [`answer`].
pub async fn run(args: AnswerArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    answer(args, What::Approve(pb::Approve {}), terminal).await
}
