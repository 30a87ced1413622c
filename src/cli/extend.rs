//! `bailiwick extend`: a person raises caps, and the task goes on.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;

use super::{
    Exit, Failure,
    question::{AnswerArgs, answer},
    terminal::Terminal,
};
use crate::pb::{self, answer_escalation_request::What};

/// What `extend` can be told.
#[derive(Args, Debug)]
pub struct ExtendArgs {
    /// Tokens for the whole task; the owner's reserve is refilled from them first.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(i64).range(0..))]
    pub tokens: i64,
    /// Hand-offs.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(i32).range(0..))]
    pub hops: i32,
    /// Time until the deadline, like 10m.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub time: Option<Duration>,
    /// Work turns.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(i32).range(0..))]
    pub turns: i32,
    /// Rounds.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(i32).range(0..))]
    pub rounds: i32,
    /// Re-plans.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(i32).range(0..))]
    pub replans: i32,
    /// Revisions of what the gate refuses.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(i32).range(0..))]
    pub revisions: i32,
    /// Money, in nano-USD.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(i64).range(0..))]
    pub cost_nano_usd: i64,
    /// Tokens that a single turn may use.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(i64).range(0..))]
    pub tokens_per_turn: i64,
    /// Tokens for an agent that has a cap of its own; may be given several times.
    #[arg(long, value_name = "AGENT=N", value_parser = agent_tokens)]
    pub agent_tokens: Vec<(String, i64)>,
    /// Which question, who, and why.
    #[command(flatten)]
    pub answer: AnswerArgs,
}

/// Runs `extend`.
///
/// # Errors
/// When nothing is added; otherwise as [`answer`].
pub async fn run(args: ExtendArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let ExtendArgs {
        tokens,
        hops,
        time,
        turns,
        rounds,
        replans,
        revisions,
        cost_nano_usd,
        tokens_per_turn,
        agent_tokens,
        answer: args,
    } = args;
    let extension = pb::Extension {
        tokens,
        hops,
        time: time.map(wire),
        turns,
        rounds,
        replans,
        revisions,
        cost_nano_usd,
        tokens_per_turn,
        tokens_by_agent: BTreeMap::from_iter(agent_tokens),
    };
    if extension == pb::Extension::default() {
        let what = "say by what: --tokens N, --hops N, --time 10m, --turns N, --rounds N, --replans N, --revisions N";
        return Err(Failure::new(Exit::Usage, what));
    }
    answer(args, What::Extend(extension), terminal).await
}

fn wire(time: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(time.subsec_nanos()).unwrap_or(0),
    }
}

fn agent_tokens(text: &str) -> Result<(String, i64), String> {
    let wrong = || "write AGENT=N, like researcher=5000".to_owned();
    let (agent, tokens) = text.split_once('=').ok_or_else(wrong)?;
    let tokens = tokens.parse().ok().filter(|tokens| *tokens > 0).ok_or_else(wrong)?;
    if agent.is_empty() { Err(wrong()) } else { Ok((agent.to_owned(), tokens)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_an_agent_are_read_as_people_write_them() {
        assert_eq!(agent_tokens("researcher=5000"), Ok(("researcher".to_owned(), 5_000)));
        for bad in ["researcher", "=5", "a=0", "a=-1", "a=many"] {
            assert!(agent_tokens(bad).is_err(), "{bad}");
        }
    }
}
