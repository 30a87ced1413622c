//! Agents and workers, for people. The time is handed in, to say how long ago something was.

use prost_types::Timestamp;

use crate::pb;

use super::{
    Look,
    circuit::{at_once, cell},
    tables::table,
    text::{between, clean, clip, date},
};

/// Every agent ever seen, a row each.
#[must_use]
pub fn agents(look: Look, agents: &[pb::Agent], now: &Timestamp) -> String {
    let rows = agents
        .iter()
        .map(|agent| {
            let spec = agent.spec.clone().unwrap_or_default();
            vec![
                clean(&spec.name),
                clip(&spec.version, 20),
                agent.workers.to_string(),
                at_once(agent),
                agent.waiting.to_string(),
                cell(agent.breaker.as_ref(), now),
                ago(agent.last_seen_at.as_ref(), now),
                clip(&spec.description, 80),
            ]
        })
        .collect();
    table(
        look,
        &["agent", "version", "workers", "leased", "waiting", "circuit", "declared", "description"],
        rows,
    )
}

/// Every worker connected now, a row each.
#[must_use]
pub fn workers(look: Look, workers: &[pb::Worker], now: &Timestamp) -> String {
    let rows = workers
        .iter()
        .map(|worker| {
            vec![
                clean(&worker.worker_id),
                clip(&worker.agents.join(", "), 80),
                format!("{}/{}", worker.leased, worker.max_concurrency),
                worker.credit.to_string(),
                ago(worker.last_heard_at.as_ref(), now),
                date(worker.connected_at.as_ref()),
                cell(worker.breaker.as_ref(), now),
                if worker.draining { "draining".to_owned() } else { String::new() },
            ]
        })
        .collect();
    table(look, &["worker", "agents", "leased", "credit", "heard", "connected (UTC)", "circuit", ""], rows)
}

/// Every webhook, a row each.
#[must_use]
pub fn webhooks(look: Look, webhooks: &[pb::Webhook], now: &Timestamp) -> String {
    let rows = webhooks
        .iter()
        .map(|webhook| {
            let state = webhook.failing.as_ref().map_or_else(|| "ok".to_owned(), |it| failing(it, now));
            vec![
                clean(&webhook.name),
                clip(&webhook.place, 60),
                clip(&webhook.events.join(", "), 120),
                webhook.delivered.to_string(),
                ago(webhook.last_delivered_at.as_ref(), now),
                webhook.set_aside.to_string(),
                state,
            ]
        })
        .collect();
    table(look, &["webhook", "place", "events", "delivered", "last", "set aside", "state"], rows)
}

fn failing(failing: &pb::WebhookFailing, now: &Timestamp) -> String {
    format!(
        "FAILS since {}, {} tries, next in {}: {}",
        between(failing.since.as_ref(), Some(now)),
        failing.tries,
        between(Some(now), failing.next_try_at.as_ref()),
        clip(&failing.error, 200)
    )
}

fn ago(at: Option<&Timestamp>, now: &Timestamp) -> String {
    match between(at, Some(now)) {
        text if text.is_empty() => text,
        text => format!("{text} ago"),
    }
}
