//! What stands, read from the parts when somebody asks. Never here: anything that costs more as tasks grow in number.

use super::{
    Sources,
    counters::Counters,
    names::{self, Family},
    text::Page,
};
use crate::{
    runtime::{AgentInfo, BreakerState, ReadError},
    service::{calls::Call, webhooks::WebhookState},
    types::halt::{HaltScope, HaltSet},
};

/// Agents that have a sample of their own; the others are added up.
const MAX_AGENTS: usize = super::counters::MAX_AGENTS;

/// A figure of an agent.
type AgentFigure = (&'static Family, fn(&AgentInfo) -> u32);
/// A figure of a webhook, given the end of the log.
type WebhookFigure = (&'static Family, fn(&WebhookState, u64) -> u64);

/// The whole page.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn page(sources: &Sources, counters: &Counters) -> Result<String, ReadError> {
    let Sources { runtime, store: _, calls, webhooks } = sources;
    let dead = runtime.open_dead_letters().await?;
    let mut page = Page::default();
    page.begin(&names::BUILD);
    page.sample(&names::BUILD, &[env!("CARGO_PKG_VERSION")], 1);
    page.single(&names::OPEN_TASKS, runtime.open_tasks());
    page.single(&names::OPEN_TASKS_MAX, runtime.max_open_tasks());
    page.single(&names::DEAD_LETTERS, dead);
    halts(&mut page, &runtime.halts());
    workers(&mut page, sources);
    agents(&mut page, &runtime.agents());
    let log_end = *runtime.log_end().borrow();
    journal(&mut page, sources, log_end);
    hooks(&mut page, &webhooks.states(), log_end);
    rpcs(&mut page, &calls.read());
    counters.write(&mut page);
    Ok(page.finish())
}

fn halts(page: &mut Page, halts: &HaltSet) {
    let (mut all, mut agents, mut labels) = (0_usize, 0_usize, 0_usize);
    for halt in halts.iter() {
        *match &halt.scope {
            HaltScope::All => &mut all,
            HaltScope::Agent(_) => &mut agents,
            HaltScope::Label { .. } => &mut labels,
        } += 1;
    }
    page.begin(&names::HALTS);
    for (kind, count) in [("all", all), ("agent", agents), ("label", labels)] {
        page.sample(&names::HALTS, &[kind], count);
    }
}

fn journal(page: &mut Page, sources: &Sources, log_end: u64) {
    let Sources { runtime, store, calls: _, webhooks: _ } = sources;
    page.single(&names::JOURNAL_FAILING, u8::from(runtime.journal_failing().borrow().is_some()));
    page.single(&names::JOURNAL_WAITING, runtime.journal_waiting());
    page.single(&names::LOG_POSITION, log_end);
    page.begin(&names::COMMIT_SECONDS);
    page.sizes(&names::COMMIT_SECONDS, &[], &store.sizes());
    let (seconds, appends) = store.last();
    page.single(&names::COMMIT_LAST_SECONDS, seconds);
    page.single(&names::COMMIT_LAST_APPENDS, appends);
    let (failures, appends) = store.totals();
    page.single(&names::COMMIT_FAILURES, failures);
    page.single(&names::COMMIT_TASKS, appends);
}

fn workers(page: &mut Page, sources: &Sources) {
    let workers = sources.runtime.workers();
    let draining = workers.iter().filter(|worker| worker.draining).count();
    page.begin(&names::WORKERS);
    page.sample(&names::WORKERS, &["active"], workers.len() - draining);
    page.sample(&names::WORKERS, &["draining"], draining);
    let credit: u64 = workers.iter().map(|worker| u64::from(worker.credit)).sum();
    page.single(&names::WORKER_CREDIT, credit);
    page.begin(&names::WORKER_BREAKERS);
    let states = [
        ("closed", BreakerState::Closed),
        ("half_open", BreakerState::HalfOpen),
        ("open", BreakerState::Open),
    ];
    for (name, state) in states {
        let count = workers.iter().filter(|worker| worker.breaker.state == state).count();
        page.sample(&names::WORKER_BREAKERS, &[name], count);
    }
}

/// The busiest agents by name, in the order of their names; the others together.
fn agents(page: &mut Page, agents: &[AgentInfo]) {
    let mut by_load: Vec<&AgentInfo> = agents.iter().collect();
    by_load.sort_by_key(|agent| std::cmp::Reverse((agent.leased, agent.waiting, agent.workers)));
    let others = by_load.split_off(by_load.len().min(MAX_AGENTS));
    by_load.sort_by(|a, b| a.row.name.cmp(&b.row.name));
    let families: [AgentFigure; 5] = [
        (&names::AGENT_WORKERS, |agent| agent.workers),
        (&names::AGENT_WAITING, |agent| agent.waiting),
        (&names::AGENT_LEASED, |agent| agent.leased),
        (&names::AGENT_BREAKER_OPEN, |agent| u32::from(agent.breaker.state == BreakerState::Open)),
        (&names::AGENT_BREAKER_HALF_OPEN, |agent| u32::from(agent.breaker.state == BreakerState::HalfOpen)),
    ];
    for (family, value) in families {
        page.begin(family);
        for agent in &by_load {
            page.sample(family, &[agent.row.name.as_str()], value(agent));
        }
        if !others.is_empty() {
            let sum: u64 = others.iter().map(|agent| u64::from(value(agent))).sum();
            page.sample(family, &[super::counters::OTHER], sum);
        }
    }
}

fn hooks(page: &mut Page, hooks: &[(String, WebhookState)], log_end: u64) {
    let families: [WebhookFigure; 4] = [
        (&names::WEBHOOK_BEHIND, |hook, log_end| log_end.saturating_sub(hook.position)),
        (&names::WEBHOOK_FAILING, |hook, _| u64::from(hook.failing.is_some())),
        (&names::WEBHOOK_DELIVERED, |hook, _| hook.delivered),
        (&names::WEBHOOK_SET_ASIDE, |hook, _| hook.set_aside),
    ];
    for (family, value) in families {
        page.begin(family);
        for (name, hook) in hooks {
            page.sample(family, &[name], value(hook, log_end));
        }
    }
}

fn rpcs(page: &mut Page, calls: &[Call]) {
    page.begin(&names::CALLS);
    for call in calls {
        for (code, count) in &call.ended {
            page.sample(&names::CALLS, &[call.method, code], count);
        }
    }
    page.begin(&names::CALL_SECONDS);
    for call in calls.iter().filter(|call| call.count > 0) {
        let (buckets, count, sum) = (call.buckets.clone(), call.count, call.seconds);
        page.sizes(&names::CALL_SECONDS, &[call.method], &super::text::Sizes { buckets, count, sum });
    }
    page.begin(&names::CALLS_OPEN);
    for call in calls {
        page.sample(&names::CALLS_OPEN, &[call.method], call.open);
    }
}

#[cfg(test)]
mod tests;
