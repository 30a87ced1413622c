//! What models cost: integer arithmetic over a table that the operator writes.

use std::collections::BTreeMap;

use crate::types::usage::Usage;

/// Prices of one model, in nano-USD a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// A token read.
    pub input_nano_usd: u64,
    /// A token written.
    pub output_nano_usd: u64,
    /// A token read from a cache.
    pub cached_input_nano_usd: u64,
}

/// Prices by model name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PriceTable(pub BTreeMap<String, Price>);

impl PriceTable {
    /// What the usage costs at the model's prices, in nano-USD; `None` for a model that has none.
    pub fn cost(&self, model: &str, usage: &Usage) -> Option<u64> {
        let price = self.0.get(model)?;
        let cached = usage.cached.min(usage.input);
        let sum = product(usage.input - cached, price.input_nano_usd)
            + product(cached, price.cached_input_nano_usd)
            + product(usage.output, price.output_nano_usd);
        Some(u64::try_from(sum).unwrap_or(u64::MAX))
    }

    /// The dearest price of a token in the table; `None` where there is no table.
    pub fn dearest(&self) -> Option<u64> {
        self.0.values().map(|p| p.input_nano_usd.max(p.output_nano_usd).max(p.cached_input_nano_usd)).max()
    }

    /// Whether there is no table.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

const fn product(tokens: u64, price: u64) -> u128 {
    tokens as u128 * price as u128
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> PriceTable {
        let price = Price { input_nano_usd: 3_000, output_nano_usd: 15_000, cached_input_nano_usd: 300 };
        PriceTable(BTreeMap::from([("big".to_owned(), price)]))
    }

    #[test]
    fn cached_tokens_are_a_part_of_input_and_cost_their_own_price() {
        let usage = Usage { input: 1_000, output: 10, cached: 400, reasoning: 5, cost_nano_usd: 0 };
        assert_eq!(table().cost("big", &usage), Some(600 * 3_000 + 400 * 300 + 10 * 15_000));
    }

    #[test]
    fn a_model_without_a_price_has_no_cost_and_a_huge_one_does_not_overflow() {
        assert_eq!(table().cost("other", &Usage::default()), None);
        let usage = Usage { input: u64::MAX, ..Usage::default() };
        assert_eq!(table().cost("big", &usage), Some(u64::MAX));
    }

    #[test]
    fn the_dearest_price_bounds_every_token() {
        assert_eq!(table().dearest(), Some(15_000));
        assert_eq!(PriceTable::default().dearest(), None);
    }
}
