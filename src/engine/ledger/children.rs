//! The accounts of children. A child's whole grant is reserved in the main grant of its parent when it is submitted, and
//! settled with what it says it used once it has ended. Never here: an attempt's account.

use std::collections::BTreeMap;

use super::Ledger;
use crate::{
    engine::family::{Share, Used},
    types::{ids::AgentName, usage::Usage},
};

/// What a parent's ledger has of one child.
#[derive(Debug, Clone)]
struct Account {
    /// Tokens still reserved.
    held: u64,
    /// Whether `held` is for what was not heard of: the child itself, or attempts below it.
    is_unheard: bool,
    usage: Usage,
    /// Of agents that are capped: tokens still reserved.
    held_by_agent: BTreeMap<AgentName, u64>,
    by_agent: BTreeMap<AgentName, u64>,
}

/// The accounts of all children, by their numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct ChildAccounts {
    accounts: BTreeMap<u32, Account>,
    reserved: u64,
    spent: u64,
}

impl ChildAccounts {
    /// Tokens reserved for children, held for the unheard included.
    pub(super) const fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Tokens that children used.
    pub(super) const fn spent(&self) -> u64 {
        self.spent
    }

    /// Tokens of an agent that children have used or may still use.
    pub(super) fn taken_by(&self, agent: &AgentName) -> u64 {
        let taken = |account: &Account| {
            account.by_agent.get(agent).unwrap_or(&0) + account.held_by_agent.get(agent).unwrap_or(&0)
        };
        self.accounts.values().map(taken).sum()
    }

    /// Tokens that children hold without having been heard of.
    pub(super) fn unheard(&self) -> u64 {
        self.accounts.values().filter(|account| account.is_unheard).map(|account| account.held).sum()
    }

    pub(super) fn audit(&self) {
        assert_eq!(self.accounts.values().map(|a| a.held).sum::<u64>(), self.reserved);
        assert_eq!(self.accounts.values().map(|a| a.usage.tokens()).sum::<u64>(), self.spent);
    }
}

impl Ledger {
    /// Reserves a child's share. The caller has asked the main grant for room first.
    pub fn open_child(&mut self, number: u32, share: &Share) {
        self.main_reserved += share.tokens;
        self.children.reserved += share.tokens;
        let account = Account {
            held: share.tokens,
            is_unheard: false,
            usage: Usage::default(),
            held_by_agent: share.by_agent.clone(),
            by_agent: BTreeMap::new(),
        };
        self.children.accounts.insert(number, account);
        self.assert_sound();
    }

    /// A child was stopped: its share stays charged in full until it is heard of.
    pub fn stop_child(&mut self, number: u32) {
        let Some(account) = self.children.accounts.get_mut(&number) else { return };
        if !account.is_unheard {
            account.is_unheard = true;
            self.unheard += account.held;
        }
    }

    /// Charges a child with what it used, and releases the rest but for what is held below it for attempts that were not
    /// heard of. Cumulative and idempotent. What it used beyond its share is debited from the free grant and then overrun.
    pub fn settle_child(&mut self, number: u32, used: &Used) {
        let Some(account) = self.children.accounts.get_mut(&number) else { return };
        let merged = account.usage.max(used.usage);
        let delta = merged.beyond(account.usage);
        let covered = delta.tokens().min(account.held);
        let (held_before, was_unheard) = (account.held, account.is_unheard);
        let held = (account.held - covered).min(used.unheard);
        account.usage = merged;
        account.held = held;
        account.is_unheard = true;
        account.by_agent.clone_from(&used.by_agent);
        for (agent, tokens) in &mut account.held_by_agent {
            let spent = used.by_agent.get(agent).copied().unwrap_or(0);
            *tokens = tokens.saturating_sub(spent).min(held);
        }
        if was_unheard {
            self.unheard -= held_before;
        }
        self.unheard += held;
        self.children.reserved -= held_before - held;
        self.children.spent += delta.tokens();
        self.main_reserved -= held_before - held;
        self.main_spent += covered;
        let excess = delta.tokens() - covered;
        let debited = excess.min(self.main_tokens_free());
        self.main_spent += debited;
        self.overrun += excess - debited;
        self.usage.add(delta);
        self.assert_sound();
    }

    /// Whether an account of a child would change anything.
    pub fn is_child_news(&self, number: u32, used: &Used) -> bool {
        self.children.accounts.get(&number).is_some_and(|account| {
            account.usage.max(used.usage) != account.usage || used.unheard < account.held
        })
    }

    /// Tokens still reserved for a child.
    pub fn reserved_for_child(&self, number: u32) -> u64 {
        self.children.accounts.get(&number).map_or(0, |account| account.held)
    }

    /// Tokens of every agent, those used below children included.
    pub fn by_agent_with_children(&self) -> BTreeMap<AgentName, u64> {
        let mut sums = self.view().by_agent;
        for account in self.children.accounts.values() {
            for (agent, tokens) in &account.by_agent {
                *sums.entry(agent.clone()).or_default() += tokens;
            }
        }
        sums
    }

    /// Money that is neither spent nor promised, in nano-USD; `None`: money is not limited.
    pub fn cost_left(&self) -> Option<u64> {
        let max = self.budget.max_cost_nano_usd?;
        let promised = self.main_reserved + self.plan_free + self.final_free() + self.final_reserved;
        let promised = promised.saturating_mul(self.budget.dearest_nano_usd_per_token);
        Some(max.saturating_sub(self.usage.cost_nano_usd).saturating_sub(promised))
    }
}
