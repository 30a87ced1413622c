//! The contract of a child: what it leaves open is a part of what its parent has left, and what it asks for beyond that is
//! a fault. Never here: whether the parent may have a child at all.

use std::collections::BTreeMap;

use super::{Violation, complete};
use crate::types::{
    contract::{Contract, ContractDraft},
    ids::{AgentName, Namespace},
    limits::{Ceilings, fixed},
    time::Span,
};

/// What a parent has left for a child.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // Named as the limits they bound.
pub struct Terms {
    pub tokens: u64,
    /// In nano-USD; `None`: the parent's contract does not limit money.
    pub cost: Option<u64>,
    /// Of agents that the parent's contract caps.
    pub by_agent: BTreeMap<AgentName, u64>,
    /// Time until the parent's work must stop.
    pub time: Span,
    pub hops: u32,
    pub turns: u32,
    pub escalations: u32,
    pub max_replans: u32,
    pub max_rounds: u32,
    pub max_attempts: u32,
    pub max_parallel: u32,
    pub max_children: u32,
    /// Levels below the child.
    pub max_depth: u32,
    pub priority: u8,
    /// `None`: any, because the parent is not known yet.
    pub namespace: Option<Namespace>,
}

/// The fields whose bounds are what the parent has left.
const OF_THE_PARENT: [&str; 11] = [
    "budget.max_tokens",
    "escalation.max_escalations",
    "limits.deadline",
    "limits.max_attempts",
    "limits.max_children",
    "limits.max_depth",
    "limits.max_hops",
    "limits.max_parallel",
    "limits.max_replans",
    "limits.max_rounds",
    "limits.max_turns",
];

/// A quarter of what is left, rounded up.
fn part(left: u32) -> u32 {
    left.div_ceil(u32::try_from(fixed::CHILD_PART).unwrap_or(1))
}

fn signed(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Completes a child's draft under its parent's terms, or names every fault in it, sorted by field.
pub fn complete_child(
    draft: &ContractDraft,
    terms: &Terms,
    ceilings: &Ceilings,
    is_known: &dyn Fn(&AgentName) -> bool,
) -> Result<Contract, Vec<Violation>> {
    let filled = fill(draft, terms);
    let beyond = beyond(draft, terms);
    match complete(&filled, &lower(ceilings, terms), is_known) {
        Ok(mut contract) if beyond.is_empty() => {
            inherit(&mut contract, terms);
            Ok(contract)
        }
        Ok(_) => Err(beyond),
        Err(mut faults) => {
            for fault in &mut faults {
                if OF_THE_PARENT.contains(&fault.field.as_str()) {
                    fault.description.push_str(", which is what the parent has left");
                }
            }
            faults.extend(beyond);
            faults.sort_by(|a, b| a.field.cmp(&b.field));
            Err(faults)
        }
    }
}

/// Completes a child's draft as if its parent had everything there can be: what is wrong with it whatever the parent has
/// left. The contract is good for trying its rules, and for nothing else.
pub fn complete_any_child(
    draft: &ContractDraft,
    ceilings: &Ceilings,
    is_known: &dyn Fn(&AgentName) -> bool,
) -> Result<Contract, Vec<Violation>> {
    let everything = Terms {
        tokens: ceilings.max_tokens,
        cost: None,
        by_agent: BTreeMap::new(),
        time: ceilings.deadline,
        hops: ceilings.max_hops,
        turns: ceilings.max_turns,
        escalations: fixed::MAX_ESCALATIONS,
        max_replans: ceilings.max_replans,
        max_rounds: ceilings.max_rounds,
        max_attempts: ceilings.max_attempts,
        max_parallel: ceilings.max_parallel,
        max_children: ceilings.max_children,
        max_depth: ceilings.max_depth,
        priority: fixed::MAX_PRIORITY,
        namespace: None,
    };
    complete(&fill(draft, &everything), ceilings, is_known)
}

/// The draft with its parent's defaults.
fn fill(draft: &ContractDraft, terms: &Terms) -> ContractDraft {
    let mut filled = draft.clone();
    let budget = filled.budget.get_or_insert_default();
    if budget.max_tokens == 0 {
        let tokens = (terms.tokens / fixed::CHILD_PART).max(fixed::MIN_TOKENS).min(terms.tokens);
        budget.max_tokens = i64::try_from(tokens).unwrap_or(i64::MAX);
    }
    if let (0, Some(left)) = (budget.max_cost_nano_usd, terms.cost) {
        budget.max_cost_nano_usd = i64::try_from(left.max(1)).unwrap_or(i64::MAX);
    }
    let limits = filled.limits.get_or_insert_default();
    limits.deadline.get_or_insert_with(|| i64::try_from(terms.time.0).unwrap_or(i64::MAX));
    limits.max_hops.get_or_insert_with(|| signed(part(terms.hops)));
    if limits.max_turns == 0 {
        limits.max_turns = signed(part(terms.turns));
    }
    filled.escalation.max_escalations.get_or_insert_with(|| signed(part(terms.escalations)));
    if filled.priority == 0 {
        filled.priority = i32::from(terms.priority);
    }
    if let (true, Some(namespace)) = (filled.namespace.is_empty(), &terms.namespace) {
        namespace.as_str().clone_into(&mut filled.namespace);
    }
    filled
}

/// The server's ceilings, where the parent's are not lower.
fn lower(ceilings: &Ceilings, terms: &Terms) -> Ceilings {
    Ceilings {
        max_tokens: ceilings.max_tokens.min(terms.tokens),
        deadline: ceilings.deadline.min(terms.time),
        max_hops: ceilings.max_hops.min(terms.hops),
        max_turns: ceilings.max_turns.min(terms.turns),
        max_replans: ceilings.max_replans.min(terms.max_replans),
        max_rounds: ceilings.max_rounds.min(terms.max_rounds),
        max_attempts: ceilings.max_attempts.min(terms.max_attempts),
        max_parallel: ceilings.max_parallel.min(terms.max_parallel),
        max_children: ceilings.max_children.min(terms.max_children),
        max_depth: ceilings.max_depth.min(terms.max_depth),
        ..*ceilings
    }
}

/// What the ceilings do not bound.
fn beyond(draft: &ContractDraft, terms: &Terms) -> Vec<Violation> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, description: String| {
        faults.push(Violation { field: field.to_owned(), description });
    };
    let asked =
        draft.budget.as_ref().map_or(0, |budget| u64::try_from(budget.max_cost_nano_usd).unwrap_or(0));
    if let Some(left) = terms.cost
        && asked > left
    {
        fault(
            "budget.max_cost_nano_usd",
            format!("is {asked}: write at most {left}, which is what the parent has left"),
        );
    }
    let asked = draft.escalation.max_escalations.unwrap_or(0);
    if asked > signed(terms.escalations) {
        let left = terms.escalations;
        fault(
            "escalation.max_escalations",
            format!("is {asked}: write at most {left}, which is what the parent has left"),
        );
    }
    if draft.priority > i32::from(terms.priority) {
        fault(
            "priority",
            format!("is {}: write at most {}, which is the parent's", draft.priority, terms.priority),
        );
    }
    if let Some(namespace) = &terms.namespace
        && !draft.namespace.is_empty()
        && draft.namespace != namespace.as_str()
    {
        let text = format!(
            "is {:?}: leave it out, a child is in its parent's namespace, {namespace}",
            draft.namespace
        );
        fault("namespace", text);
    }
    let by_agent = draft.budget.iter().flat_map(|budget| &budget.max_tokens_by_agent);
    for (agent, &asked) in by_agent {
        let left = agent.parse().ok().and_then(|agent: AgentName| terms.by_agent.get(&agent).copied());
        if let (Some(left), Ok(asked)) = (left, u64::try_from(asked))
            && asked > left
        {
            let text = format!("is {asked}: write at most {left}, which is what the parent has left for it");
            fault(&format!("budget.max_tokens_by_agent.{agent}"), text);
        }
    }
    faults
}

/// An agent that the parent's contract caps is capped in the child, whether its contract says so or not.
fn inherit(contract: &mut Contract, terms: &Terms) {
    let most = contract.budget.max_tokens;
    for (agent, &left) in &terms.by_agent {
        let cap = contract.budget.max_tokens_by_agent.entry(agent.clone()).or_insert(left);
        *cap = (*cap).min(left).min(most);
    }
}
