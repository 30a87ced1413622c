//! The ledger and the counters of a task, for people.

use crate::pb;

use super::text::{clean, number, plural};

/// The account in lines: totals, then what deserves a word (overrun, unheard attempts), then tokens by agent.
#[must_use]
pub fn lines(ledger: &pb::Ledger) -> Vec<String> {
    // Destructured, so that a new account cannot be forgotten here.
    let pb::Ledger {
        granted_tokens,
        reserved_tokens,
        spent_tokens,
        overrun_tokens,
        finalization_tokens,
        finalization_left_tokens,
        unheard_tokens,
        input_tokens,
        output_tokens,
        cached_tokens,
        reasoning_tokens,
        by_agent,
        cost_nano_usd,
    } = ledger;
    let mut lines = vec![
        format!(
            "spent {} of {} tokens ({}), reserved {}",
            number(*spent_tokens),
            number(*granted_tokens),
            percent(*spent_tokens, *granted_tokens),
            number(*reserved_tokens)
        ),
        format!(
            "input {} ({} cached), output {} ({} reasoning); finalization reserve {} of {} left",
            number(*input_tokens),
            number(*cached_tokens),
            number(*output_tokens),
            number(*reasoning_tokens),
            number(*finalization_left_tokens),
            number(*finalization_tokens)
        ),
    ];
    if *overrun_tokens > 0 {
        lines.push(format!("overrun {}: reported beyond the grant", plural(*overrun_tokens, "token")));
    }
    if *unheard_tokens > 0 {
        lines.push(format!("{} held for attempts that vanished", plural(*unheard_tokens, "token")));
    }
    if *cost_nano_usd > 0 {
        lines.push(format!("cost {} nano-USD", number(*cost_nano_usd)));
    }
    if !by_agent.is_empty() {
        let parts: Vec<String> =
            by_agent.iter().map(|(agent, tokens)| format!("{} {}", clean(agent), number(*tokens))).collect();
        lines.push(format!("by agent: {}", parts.join(", ")));
    }
    lines
}

/// The counters in a line, caps included where the contract is at hand.
#[must_use]
pub fn counters(counters: &pb::Counters, limits: Option<&pb::Limits>) -> String {
    let pb::Counters { hops, turns, replans, rounds, attempts, decides, escalations, revisions, steps } =
        counters;
    let cap = |cap: Option<i32>| cap.map(|cap| format!("/{cap}")).unwrap_or_default();
    let positive = |get: fn(&pb::Limits) -> i32| cap(limits.map(get).filter(|cap| *cap > 0));
    // Only crews that stream have any.
    let steps =
        if *steps > 0 { format!(", streamed steps {}", number(i64::from(*steps))) } else { String::new() };
    format!(
        "turns {turns}{}, hops {hops}{}, rounds {rounds}{}, re-plans {replans}{}, decides {decides}{}, attempts {attempts}, \
         revisions {revisions}, escalations {escalations}{steps}",
        positive(|l| l.max_turns),
        cap(limits.and_then(|l| l.max_hops)),
        positive(|l| l.max_rounds),
        cap(limits.and_then(|l| l.max_replans)),
        positive(|l| l.max_decides),
    )
}

/// Spent and granted, for a column.
#[must_use]
pub fn short(ledger: Option<&pb::Ledger>) -> String {
    ledger.map(|l| format!("{}/{}", number(l.spent_tokens), number(l.granted_tokens))).unwrap_or_default()
}

fn percent(part: i64, whole: i64) -> String {
    if whole <= 0 {
        return "0%".to_owned();
    }
    format!("{}%", i128::from(part) * 100 / i128::from(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_said_and_what_did_not_is_not() {
        let mut ledger = pb::Ledger { granted_tokens: 10_000, spent_tokens: 2_500, ..Default::default() };
        assert_eq!(lines(&ledger)[0], "spent 2,500 of 10,000 tokens (25%), reserved 0");
        assert_eq!(lines(&ledger).len(), 2);
        ledger.overrun_tokens = 1;
        ledger.unheard_tokens = 700;
        ledger.by_agent.insert("planner".into(), 2_500);
        assert_eq!(
            lines(&ledger)[2..],
            [
                "overrun 1 token: reported beyond the grant",
                "700 tokens held for attempts that vanished",
                "by agent: planner 2,500",
            ]
        );
    }
}
