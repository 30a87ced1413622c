//! Registrations in, and what of them comes out again.

use super::*;
use crate::types::ids::TaskId;

fn spec(name: &str) -> pb::AgentSpec {
    pb::AgentSpec { name: name.into(), ..Default::default() }
}

fn good() -> pb::Register {
    pb::Register { worker_id: "w-1".into(), agents: vec![spec("writer")], ..Default::default() }
}

/// The good registration, changed, must be refused for exactly these fields.
fn check(change: impl FnOnce(&mut pb::Register), expected: &[&str]) {
    let mut wire = good();
    change(&mut wire);
    let found: Vec<_> = registration(wire).err().unwrap_or_default().into_iter().map(|v| v.field).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_bound_of_a_registration_is_checked() {
    check(|_| {}, &[]);
    check(|r| r.worker_id = String::new(), &["register.worker_id"]);
    check(|r| r.worker_id = "has space".into(), &["register.worker_id"]);
    check(|r| r.agents.clear(), &["register.agents"]);
    check(|r| r.agents = (0..65).map(|n| spec(&format!("a{n}"))).collect(), &["register.agents"]);
    check(|r| r.agents = vec![spec("Writer")], &["register.agents[0].name"]);
    check(|r| r.agents = vec![spec("writer"), spec("writer")], &["register.agents[1].name"]);
    check(|r| r.agents[0].version = "v".repeat(65), &["register.agents[0].version"]);
    check(|r| r.agents[0].description = "d".repeat(1_025), &["register.agents[0].description"]);
    check(|r| r.max_concurrency = -1, &["register.max_concurrency"]);
    check(|r| drop(r.labels.insert(String::new(), "x".into())), &["register.labels[]"]);
    check(|r| drop(r.labels.insert("k".into(), "x".repeat(256))), &["register.labels[k]"]);
    check(|r| r.labels = (0..33).map(|n| (n.to_string(), String::new())).collect(), &["register.labels"]);
    check(|r| r.held_leases = vec![String::new(); MAX_HELD_LEASES + 1], &["register.held_leases"]);
}

#[test]
fn claims_that_are_no_leases_are_left_out_and_concurrency_has_a_default() {
    let lease = Lease { task: TaskId::from(uuid::Uuid::from_u128(1)), turn: 2, attempt: 1, secret: 3 };
    let held_leases = vec!["nonsense".to_owned(), lease.to_string()];
    let found = registration(pb::Register { held_leases, ..good() }).expect("it is well formed");
    assert_eq!((found.held, found.max_concurrency), (vec![lease], 1));
}

#[test]
fn an_agent_comes_out_as_it_was_declared() {
    let schema = structure(&Payload::from_json(&serde_json::json!({"type": "string"})));
    let declared = pb::AgentSpec {
        name: "writer".into(),
        version: "1.2".into(),
        description: "writes".into(),
        input_schema: Some(schema.clone()),
        output_schema: Some(schema),
    };
    let found = registration(pb::Register { agents: vec![declared.clone()], ..good() });
    let (_, stored) = found.expect("it is well formed").agents.remove(0);
    let spec: Spec = serde_json::from_str(&stored).expect("it is JSON");
    assert_eq!(spec_out("writer", &spec), declared);
}

#[test]
fn lineage_is_cut_where_a_message_would_grow_too_large() {
    let entry = |turn, bytes: usize| LineageEntry {
        id: format!("turn-{turn}"),
        turn,
        agent: "writer".parse().expect("a name"),
        step: None,
        envelope: crate::types::envelope::Envelope {
            status: crate::types::envelope::Status::Success,
            result: Some(Payload::from_json(&serde_json::json!("x".repeat(bytes)))),
            confidence: None,
            reason: String::new(),
            usage: None,
            inputs_used: Vec::new(),
            retryable: false,
            directive: None,
            score: None,
        },
    };
    let small: Vec<_> = (1..=5).map(|turn| entry(turn, 10)).collect();
    assert_eq!(lineage_page(&small, 5).len(), 5);
    assert_eq!(lineage_page(&small, 2).len(), 2);
    let large: Vec<_> = (1..=5).map(|turn| entry(turn, MAX_PAYLOAD_BYTES - 2)).collect();
    assert_eq!(lineage_page(&large, 5).len(), 1);
}
