//! Webhooks: what a sink is sent and when, over a real network and without one, and whatever fails.

#[path = "support/journal.rs"]
mod journal;
#[path = "support/server.rs"]
mod server;

#[path = "webhooks/courier.rs"]
mod courier;
#[path = "webhooks/drill.rs"]
mod drill;
#[path = "webhooks/network.rs"]
mod network;
#[path = "webhooks/receiver.rs"]
#[allow(unreachable_pub)]
mod receiver;
#[path = "webhooks/serving.rs"]
#[allow(unreachable_pub)]
mod serving;

use bailiwick::engine::{event::Event, ledger::LedgerView};
use serde_json::json;

/// A question, as the journal has it.
fn asked(number: u32) -> Event {
    let event = json!({"escalated": {
        "number": number, "turn": 1, "question": "May I delete the old index?", "cause": null, "candidate": null,
        "confidence": 0.25, "findings": ["unsure"], "expires_at": 1_790_000_600_000_000_u64,
    }});
    serde_json::from_value(event).expect("an event")
}

/// The end of a task that poisons its workers.
fn dead_lettered() -> Event {
    let outcome = json!({
        "state": "DEAD_LETTERED", "ended_by": "SYSTEM", "cause": "ATTEMPTS_EXHAUSTED", "reason": "three workers died",
    });
    let outcome = serde_json::from_value(outcome).expect("an outcome");
    Event::Ended { outcome: Box::new(outcome), ledger: Box::<LedgerView>::default() }
}
