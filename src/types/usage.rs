//! Tokens and money, in integers.

use serde::{Deserialize, Serialize};

/// The largest figure a usage report may carry, in tokens. Keeps every sum far from overflow.
pub const MAX_REPORTED_TOKENS: u64 = 1_000_000_000_000;

/// What an attempt has used so far, cumulative. Charged: input + output; the other two are subsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read by models.
    pub input: u64,
    /// Tokens written by models.
    pub output: u64,
    /// The cached part of `input`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached: u64,
    /// The reasoning part of `output`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reasoning: u64,
    /// Money, in nano-USD, by the server's price table; 0 where there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cost_nano_usd: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde wants a reference.
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Usage {
    /// Tokens charged.
    pub const fn tokens(self) -> u64 {
        self.input + self.output
    }

    /// The greater of both, figure by figure: how cumulative reports merge, whatever their order.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            input: self.input.max(other.input),
            output: self.output.max(other.output),
            cached: self.cached.max(other.cached),
            reasoning: self.reasoning.max(other.reasoning),
            cost_nano_usd: self.cost_nano_usd.max(other.cost_nano_usd),
        }
    }

    /// What `self` has beyond `earlier`, figure by figure.
    #[must_use]
    pub fn beyond(self, earlier: Self) -> Self {
        Self {
            input: self.input.saturating_sub(earlier.input),
            output: self.output.saturating_sub(earlier.output),
            cached: self.cached.saturating_sub(earlier.cached),
            reasoning: self.reasoning.saturating_sub(earlier.reasoning),
            cost_nano_usd: self.cost_nano_usd.saturating_sub(earlier.cost_nano_usd),
        }
    }

    /// Adds another usage, figure by figure.
    pub fn add(&mut self, other: Self) {
        self.input += other.input;
        self.output += other.output;
        self.cached += other.cached;
        self.reasoning += other.reasoning;
        // Tokens are bounded where they come in; what they cost hangs on an operator's prices.
        self.cost_nano_usd = self.cost_nano_usd.saturating_add(other.cost_nano_usd);
    }
}
