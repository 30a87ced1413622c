//! Questions, agents and workers, for people. The time is handed in, to say how long ago something was.

use prost_types::Timestamp;

use crate::pb;

use super::{
    Look, Tone,
    tables::table,
    text::{between, clean, clip, confidence, date, value},
    words,
};

/// Open questions, one block each, with what to type.
#[must_use]
pub fn questions(look: Look, questions: &[pb::Escalation], now: &Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    for question in questions {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(self::question(look, question, now));
    }
    lines
}

fn question(look: Look, asked: &pb::Escalation, now: &Timestamp) -> Vec<String> {
    let id = clean(&asked.escalation_id);
    let why = if asked.cause == 0 { "asked by the agent".to_owned() } else { words::cause(asked.cause) };
    let mut lines = vec![
        format!("{} {} ({why})", look.paint(Tone::Strong, &id), words::escalation(asked.state)),
        format!("  goal: {}", clip(&asked.goal, 200)),
        format!("  question: {}", clip(&asked.question, 1_000)),
    ];
    let candidate = value(asked.candidate.as_ref(), 300);
    if !candidate.is_empty() {
        lines
            .push(format!("  candidate: {candidate} {}", confidence(asked.confidence)).trim_end().to_owned());
    }
    lines.extend(asked.findings.iter().map(|finding| format!("  - {}", clip(finding, 300))));
    if asked.state != pb::EscalationState::Open as i32 {
        if !asked.answered_by.is_empty() {
            let note =
                if asked.note.is_empty() { String::new() } else { format!(": {}", clean(&asked.note)) };
            lines.push(format!("  answered by {}{note}", clean(&asked.answered_by)));
        }
        return lines;
    }
    lines.push(format!(
        "  asked {} ago; without an answer within {}: {}",
        between(asked.asked_at.as_ref(), Some(now)),
        between(Some(now), asked.expires_at.as_ref()),
        default_answer(asked.default_answer)
    ));
    let meaning =
        if asked.candidate.is_some() { "the candidate becomes the result" } else { "the task goes on" };
    lines.push(format!("  bailiwick approve {id}   # {meaning}"));
    lines.push(format!("  bailiwick abort {id}     # the task ends FAILED"));
    lines
}

fn default_answer(answer: i32) -> &'static str {
    match pb::DefaultAnswer::try_from(answer) {
        Ok(pb::DefaultAnswer::Abort) => "it ends FAILED",
        Ok(pb::DefaultAnswer::Partial | pb::DefaultAnswer::Unspecified) => {
            "it ends PARTIAL with the best result so far, or FAILED where there is none"
        }
        Err(_) => "an answer that this version does not know",
    }
}

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
                agent.leased.to_string(),
                agent.waiting.to_string(),
                ago(agent.last_seen_at.as_ref(), now),
                clip(&spec.description, 80),
            ]
        })
        .collect();
    table(look, &["agent", "version", "workers", "leased", "waiting", "declared", "description"], rows)
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
                if worker.draining { "draining".to_owned() } else { String::new() },
            ]
        })
        .collect();
    table(look, &["worker", "agents", "leased", "credit", "heard", "connected (UTC)", ""], rows)
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
