//! The task's account. Integers only; every figure is in tokens (input + output) unless it says otherwise.
//!
//! Two pots that never mix: the main grant (`granted - finalization`) and the finalization reserve. A running plan has a
//! hold inside the main grant. `spent + reserved <= granted` holds after every call, whatever a worker reports: what it
//! reports beyond that is kept in `overrun`. Never here: rules about who may spend; those are in `decide`.

mod children;

use std::collections::BTreeMap;

use children::ChildAccounts;
use serde::{Deserialize, Serialize};

use super::small_map::SmallMap;
use crate::types::{
    contract::Budget,
    extension::Extension,
    ids::{AgentName, AttemptNumber, TurnNumber},
    usage::Usage,
};

/// The ledger as people see it, in tokens. Explained in proto/bailiwick/v1/task.proto.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LedgerView {
    pub granted: u64,
    pub reserved: u64,
    pub spent: u64,
    pub overrun: u64,
    pub finalization: u64,
    pub finalization_left: u64,
    pub unheard: u64,
    /// Input, output, cached, reasoning, cost: of spent + overrun.
    pub usage: Usage,
    pub by_agent: BTreeMap<AgentName, u64>,
    #[serde(default)]
    pub children: u64,
    #[serde(default)]
    pub children_reserved: u64,
}

/// Where an attempt's allowance is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pot {
    /// The main grant.
    Main,
    /// The hold of the plan with this number.
    Plan(u32),
    /// The finalization reserve: the owner's decision.
    Finalization,
    /// The finalization reserve: the validator's half.
    Validation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Live,
    /// Vanished or revoked, charged in full until it is heard of.
    Unheard,
    Settled,
}

#[derive(Debug, Clone)]
struct Account {
    agent: AgentName,
    pot: Pot,
    allowance: u64,
    usage: Usage,
    standing: Standing,
}

impl Account {
    /// Tokens still reserved for it.
    const fn outstanding(&self) -> u64 {
        match self.standing {
            Standing::Live | Standing::Unheard => self.allowance.saturating_sub(self.usage.tokens()),
            Standing::Settled => 0,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct AgentSum {
    spent: u64,
    reserved: u64,
}

/// The account itself.
#[derive(Debug, Clone)]
pub struct Ledger {
    budget: Budget,
    main_spent: u64,
    /// Outstanding allowances of attempts on the main grant and on plans.
    main_reserved: u64,
    /// What the running plan holds beyond the outstanding allowances of its attempts.
    plan_free: u64,
    plan: Option<u32>,
    final_spent: u64,
    final_reserved: u64,
    /// The part of `final_spent + final_reserved` that is validate turns'.
    judging: u64,
    /// The part of the finalization reserve that is kept for validate turns; the rest is the owner's.
    judging_granted: u64,
    /// What the reserve is refilled to.
    reserve: u64,
    overrun: u64,
    unheard: u64,
    usage: Usage,
    agents: SmallMap<AgentName, AgentSum>,
    attempts: SmallMap<(TurnNumber, AttemptNumber), Account>,
    children: ChildAccounts,
}

type AttemptKey = (TurnNumber, AttemptNumber);

impl Ledger {
    /// An account with nothing reserved and nothing spent.
    pub fn new(budget: &Budget) -> Self {
        Self {
            budget: budget.clone(),
            main_spent: 0,
            main_reserved: 0,
            plan_free: 0,
            plan: None,
            final_spent: 0,
            final_reserved: 0,
            judging: 0,
            judging_granted: budget.finalization_reserve / 2,
            reserve: budget.finalization_reserve,
            overrun: 0,
            unheard: 0,
            usage: Usage::default(),
            agents: SmallMap::default(),
            attempts: SmallMap::default(),
            children: ChildAccounts::default(),
        }
    }

    /// Reserves an attempt's allowance. The caller has asked the pot for room first.
    pub fn open(&mut self, key: AttemptKey, agent: &AgentName, pot: Pot, allowance: u64) {
        match pot {
            Pot::Main => self.main_reserved += allowance,
            Pot::Plan(_) => {
                assert!(self.plan_free >= allowance, "a step is funded from what its plan holds");
                self.plan_free -= allowance;
                self.main_reserved += allowance;
            }
            Pot::Finalization | Pot::Validation => self.final_reserved += allowance,
        }
        if pot == Pot::Validation {
            self.judging += allowance;
        }
        self.agent(agent).reserved += allowance;
        let account = Account {
            agent: agent.clone(),
            pot,
            allowance,
            usage: Usage::default(),
            standing: Standing::Live,
        };
        self.attempts.insert(key, account);
        self.assert_sound();
    }

    /// Raises a live attempt's allowance. The caller has asked the pot for room first.
    pub fn raise(&mut self, key: AttemptKey, tokens: u64) {
        let Some(account) = self.attempts.get_mut(&key) else { return };
        account.allowance += tokens;
        // An attempt that is over its allowance already has spent part of the raise.
        let added = account.outstanding().min(tokens);
        let (agent, pot) = (account.agent.clone(), account.pot);
        match pot {
            Pot::Main | Pot::Plan(_) => self.main_reserved += added,
            Pot::Finalization | Pot::Validation => self.final_reserved += added,
        }
        if pot == Pot::Validation {
            self.judging += added;
        }
        self.agent(&agent).reserved += added;
        self.assert_sound();
    }

    /// Merges a cumulative report. Idempotent, and the order of reports does not matter. An attempt that was unheard is
    /// settled by it.
    pub fn report(&mut self, key: AttemptKey, usage: Usage) {
        let Some(account) = self.attempts.get_mut(&key) else { return };
        let merged = account.usage.max(usage);
        let delta = merged.beyond(account.usage);
        let covered = delta.tokens().min(account.outstanding());
        let was_unheard = account.standing == Standing::Unheard;
        account.usage = merged;
        let (agent, pot) = (account.agent.clone(), account.pot);
        match pot {
            Pot::Main | Pot::Plan(_) => {
                self.main_reserved -= covered;
                self.main_spent += covered;
            }
            Pot::Finalization | Pot::Validation => {
                self.final_reserved -= covered;
                self.final_spent += covered;
            }
        }
        if was_unheard {
            self.unheard -= covered;
        }
        let excess = delta.tokens() - covered;
        // By tokens alone: money that is short is no reason to hide tokens in the overrun.
        let debited = excess.min(self.main_tokens_free());
        self.main_spent += debited;
        self.overrun += excess - debited;
        self.usage.add(delta);
        let sum = self.agent(&agent);
        sum.spent += delta.tokens();
        sum.reserved -= covered;
        if was_unheard {
            self.release(key);
        }
        self.assert_sound();
    }

    /// What an attempt is charged with when it is answered: the greatest report, or, where nothing was said, its whole
    /// allowance (as input).
    pub fn charge(&self, key: AttemptKey, said: Option<Usage>) -> Usage {
        let Some(account) = self.attempts.get(&key) else { return Usage::default() };
        match said {
            Some(usage) => account.usage.max(usage),
            None => {
                let mut usage = account.usage;
                usage.input += account.outstanding();
                usage
            }
        }
    }

    /// Settles an attempt with its final usage and releases the rest.
    pub fn settle(&mut self, key: AttemptKey, usage: Usage) {
        self.report(key, usage);
        self.release(key);
        self.assert_sound();
    }

    /// An attempt has vanished: it stays charged in full until it is heard of.
    pub fn abandon(&mut self, key: AttemptKey) {
        let Some(account) = self.attempts.get_mut(&key) else { return };
        if account.standing == Standing::Live {
            account.standing = Standing::Unheard;
            self.unheard += account.outstanding();
        }
    }

    fn release(&mut self, key: AttemptKey) {
        let Some(account) = self.attempts.get_mut(&key) else { return };
        let rest = account.outstanding();
        let was_unheard = account.standing == Standing::Unheard;
        account.standing = Standing::Settled;
        let (agent, pot) = (account.agent.clone(), account.pot);
        if was_unheard {
            self.unheard -= rest;
        }
        match pot {
            Pot::Main => self.main_reserved -= rest,
            Pot::Plan(number) => {
                self.main_reserved -= rest;
                if self.plan == Some(number) {
                    self.plan_free += rest;
                }
            }
            Pot::Finalization => self.final_reserved -= rest,
            Pot::Validation => {
                self.final_reserved -= rest;
                self.judging -= rest;
            }
        }
        self.agent(&agent).reserved -= rest;
    }

    /// Holds a plan's whole sum. The caller has asked the main grant for room first.
    pub fn hold_plan(&mut self, number: u32, tokens: u64) {
        assert!(self.plan.is_none(), "one plan runs at a time");
        self.plan = Some(number);
        self.plan_free = tokens;
        self.assert_sound();
    }

    /// Raises the running plan's hold from the main grant.
    pub fn raise_hold(&mut self, tokens: u64) {
        self.plan_free += tokens;
        self.assert_sound();
    }

    /// Releases what the plan still holds.
    pub fn end_plan(&mut self) {
        self.plan = None;
        self.plan_free = 0;
    }

    /// Raises the grant by what a person added. `refill` of the tokens go to the finalization reserve, the rest to the
    /// main grant: the two never mix. The owner's half is filled first, so that it can decide what to do with the room.
    pub fn extend(&mut self, added: &Extension, refill: u64) {
        assert!(refill <= added.tokens, "the reserve is refilled from what was added");
        self.judging_granted += refill - self.decision_refill(refill);
        self.budget.max_tokens += added.tokens;
        self.budget.finalization_reserve += refill;
        if let Some(cost) = &mut self.budget.max_cost_nano_usd {
            *cost = cost.saturating_add(added.cost_nano_usd);
        }
        for (agent, tokens) in &added.tokens_by_agent {
            if let Some(cap) = self.budget.max_tokens_by_agent.get_mut(agent) {
                *cap += tokens;
            }
        }
        self.assert_sound();
    }

    /// Tokens granted to the finalization reserve in all, and those of them that are spent or reserved.
    pub const fn final_granted_and_used(&self) -> (u64, u64) {
        (self.budget.finalization_reserve, self.final_spent + self.final_reserved)
    }

    /// Tokens of the main grant that nothing holds, by tokens alone.
    const fn main_tokens_free(&self) -> u64 {
        let granted = self.budget.max_tokens - self.budget.finalization_reserve;
        granted - (self.main_spent + self.main_reserved + self.plan_free)
    }

    /// Tokens of the main grant that nothing holds and that money can pay for at the dearest price.
    pub fn main_free(&self) -> u64 {
        let free = self.main_tokens_free();
        let Some(max_cost) = self.budget.max_cost_nano_usd else { return free };
        let affordable =
            max_cost.saturating_sub(self.usage.cost_nano_usd) / self.budget.dearest_nano_usd_per_token.max(1);
        let promised = self.main_reserved + self.plan_free + (self.final_free() + self.final_reserved);
        free.min(affordable.saturating_sub(promised))
    }

    /// Tokens of the plan's hold that no attempt has.
    pub const fn plan_free(&self) -> u64 {
        self.plan_free
    }

    /// Tokens of the finalization reserve that are left.
    pub const fn final_free(&self) -> u64 {
        self.budget.finalization_reserve - self.final_spent - self.final_reserved
    }

    /// Tokens of the reserve that a validator may be given: its half, less what validators have of it.
    pub const fn validation_free(&self) -> u64 {
        self.judging_granted.saturating_sub(self.judging)
    }

    /// Tokens of the reserve that the owner's decision may be given while a validator's half is kept apart.
    pub const fn decision_free(&self) -> u64 {
        let own = self.budget.finalization_reserve - self.judging_granted;
        own.saturating_sub(self.final_spent + self.final_reserved - self.judging)
    }

    /// The part of a refill of the reserve that goes to the owner's half: what that lacks.
    pub fn decision_refill(&self, refill: u64) -> u64 {
        let half = self.reserve - self.reserve / 2;
        refill.min(half.saturating_sub(self.decision_free()))
    }

    /// Tokens the agent may still be given under its own cap; the greatest number where it has none.
    pub fn agent_free(&self, agent: &AgentName) -> u64 {
        let Some(cap) = self.budget.max_tokens_by_agent.get(agent) else { return u64::MAX };
        let sum = self.agents.get(agent).copied().unwrap_or_default();
        cap.saturating_sub(sum.spent + sum.reserved + self.children.taken_by(agent))
    }

    /// Allowance of an attempt.
    pub fn allowance(&self, key: AttemptKey) -> u64 {
        self.attempts.get(&key).map_or(0, |a| a.allowance)
    }

    /// Tokens an attempt has reported or been charged.
    pub fn spent_by(&self, key: AttemptKey) -> u64 {
        self.attempts.get(&key).map_or(0, |a| a.usage.tokens())
    }

    /// What an attempt has reported or been charged.
    pub fn used_by(&self, key: AttemptKey) -> Usage {
        self.attempts.get(&key).map_or_else(Usage::default, |a| a.usage)
    }

    /// Tokens an attempt has used or stays charged with.
    pub fn drawn_by(&self, key: AttemptKey) -> u64 {
        self.attempts.get(&key).map_or(0, |a| a.usage.tokens() + a.outstanding())
    }

    /// The pot an attempt draws on.
    pub fn pot(&self, key: AttemptKey) -> Option<Pot> {
        self.attempts.get(&key).map(|a| a.pot)
    }

    /// Whether a report would change anything: more than was known, or the first word of an attempt that had vanished.
    pub fn is_news(&self, key: AttemptKey, usage: Usage) -> bool {
        self.attempts
            .get(&key)
            .is_some_and(|a| a.standing == Standing::Unheard || a.usage.max(usage) != a.usage)
    }

    /// Whether money has run out.
    pub fn is_cost_exceeded(&self) -> bool {
        self.budget.max_cost_nano_usd.is_some_and(|max| self.usage.cost_nano_usd > max)
    }

    /// Tokens reported beyond the grant.
    pub const fn overrun(&self) -> u64 {
        self.overrun
    }

    /// Tokens of attempts that vanished.
    pub const fn unheard(&self) -> u64 {
        self.unheard
    }

    /// Tokens of work that vanished attempts stay charged with: those of one agent, or of all, children included. Linear time.
    pub fn vanished(&self, agent: Option<&AgentName>) -> u64 {
        let counts = |account: &&Account| {
            account.standing == Standing::Unheard
                && !matches!(account.pot, Pot::Finalization | Pot::Validation)
                && agent.is_none_or(|agent| account.agent == *agent)
        };
        let attempts: u64 = self.attempts.values().filter(counts).map(Account::outstanding).sum();
        attempts + if agent.is_none() { self.children.unheard() } else { 0 }
    }

    /// The ledger as people see it.
    pub fn view(&self) -> LedgerView {
        LedgerView {
            granted: self.budget.max_tokens,
            reserved: self.main_reserved + self.plan_free + self.final_reserved,
            spent: self.main_spent + self.final_spent,
            overrun: self.overrun,
            finalization: self.budget.finalization_reserve,
            finalization_left: self.final_free(),
            unheard: self.unheard,
            usage: self.usage,
            by_agent: self
                .agents
                .iter()
                .filter(|(_, sum)| sum.spent > 0)
                .map(|(name, sum)| (name.clone(), sum.spent))
                .collect(),
            children: self.children.spent(),
            children_reserved: self.children.reserved(),
        }
    }

    fn agent(&mut self, agent: &AgentName) -> &mut AgentSum {
        self.agents.value_of(agent, || (agent.clone(), AgentSum::default()))
    }

    /// What must hold after every change; constant time.
    fn assert_sound(&self) {
        let main = self.main_spent + self.main_reserved + self.plan_free;
        let granted = self.budget.max_tokens - self.budget.finalization_reserve;
        assert!(main <= granted, "spent + reserved <= granted: {main} > {granted}");
        let last = self.final_spent + self.final_reserved;
        assert!(last <= self.budget.finalization_reserve, "the finalization reserve is untouchable");
        assert!(
            self.main_spent + self.final_spent + self.overrun == self.usage.tokens(),
            "every reported token is spent or overrun"
        );
    }

    /// What must hold when every account is added up afresh; linear time, for tests.
    pub fn audit(&self) {
        let sum = |f: &dyn Fn(&Account) -> u64| self.attempts.values().map(f).sum::<u64>();
        self.children.audit();
        let own = self.main_reserved + self.final_reserved - self.children.reserved();
        assert_eq!(sum(&|a| a.usage.tokens()), self.usage.tokens() - self.children.spent());
        assert_eq!(sum(&Account::outstanding), own);
        let unheard = |a: &Account| if a.standing == Standing::Unheard { a.outstanding() } else { 0 };
        assert_eq!(sum(&unheard), self.unheard - self.children.unheard());
        let reserved: u64 = self.agents.values().map(|a| a.reserved).sum();
        assert_eq!(reserved, own);
        let judging = |a: &Account| match a.pot {
            Pot::Validation => a.outstanding() + a.usage.tokens().min(a.allowance),
            Pot::Main | Pot::Plan(_) | Pot::Finalization => 0,
        };
        assert_eq!(sum(&judging), self.judging, "what validators have of the reserve");
        self.assert_sound();
    }
}
