//! What a person adds to the caps of a task. Caps only rise: there is no value that lowers one.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{ids::AgentName, time::Span};

/// How much is added to each cap; zero adds nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Extension {
    /// Tokens of the whole task. The finalization reserve is refilled from them first.
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub tokens: u64,
    /// Tokens of a turn.
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub tokens_per_turn: u64,
    /// Tokens of single agents that have a cap of their own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens_by_agent: BTreeMap<AgentName, u64>,
    /// Money, in nano-USD.
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub cost_nano_usd: u64,
    /// Time until the deadline.
    #[serde(skip_serializing_if = "is_no_time")]
    pub time: Span,
    /// Hand-offs.
    #[serde(skip_serializing_if = "is_zero")]
    pub hops: u32,
    /// Work turns.
    #[serde(skip_serializing_if = "is_zero")]
    pub turns: u32,
    /// Rounds.
    #[serde(skip_serializing_if = "is_zero")]
    pub rounds: u32,
    /// Re-plans.
    #[serde(skip_serializing_if = "is_zero")]
    pub replans: u32,
    /// Revision turns.
    #[serde(skip_serializing_if = "is_zero")]
    pub revisions: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde wants a reference.
const fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero_u64(value: &u64) -> bool {
    *value == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_no_time(value: &Span) -> bool {
    value.0 == 0
}

impl Extension {
    /// Whether it adds nothing to anything.
    pub fn is_empty(&self) -> bool {
        let Self {
            tokens,
            tokens_per_turn,
            tokens_by_agent,
            cost_nano_usd,
            time,
            hops,
            turns,
            rounds,
            replans,
            revisions,
        } = self;
        let counts = [hops, turns, rounds, replans, revisions];
        *tokens == 0
            && *tokens_per_turn == 0
            && tokens_by_agent.values().all(|tokens| *tokens == 0)
            && *cost_nano_usd == 0
            && *time == Span::ZERO
            && counts.into_iter().all(|count| *count == 0)
    }
}

impl fmt::Display for Extension {
    /// What is added, in words: "5000 tokens, 3 hops, 600s".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (amount, one, many) in [
            (self.tokens, "token", "tokens"),
            (self.tokens_per_turn, "token a turn", "tokens a turn"),
            (self.cost_nano_usd, "nano-USD", "nano-USD"),
            (u64::from(self.hops), "hop", "hops"),
            (u64::from(self.turns), "turn", "turns"),
            (u64::from(self.rounds), "round", "rounds"),
            (u64::from(self.replans), "re-plan", "re-plans"),
            (u64::from(self.revisions), "revision", "revisions"),
        ] {
            if amount > 0 {
                parts.push(format!("{amount} {}", if amount == 1 { one } else { many }));
            }
        }
        if self.time > Span::ZERO {
            parts.push(self.time.to_string());
        }
        parts.extend(
            self.tokens_by_agent.iter().map(|(agent, tokens)| format!("{tokens} tokens for {agent}")),
        );
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_says_what_it_adds_and_nothing_else() {
        assert!(Extension::default().is_empty());
        assert_eq!(Extension::default().to_string(), "");
        let more = Extension { tokens: 5_000, hops: 1, time: Span::from_secs(90), ..Extension::default() };
        assert!(!more.is_empty());
        assert_eq!(more.to_string(), "5000 tokens, 1 hop, 90s");
        let text = serde_json::to_string(&more).expect("encodes");
        assert_eq!(text, r#"{"tokens":5000,"time":90000000,"hops":1}"#);
        assert_eq!(serde_json::from_str::<Extension>(&text).expect("decodes"), more);
    }
}
