//! What matching promises, one promise a test.

use uuid::Uuid;

use super::*;
use crate::types::ids::TurnNumber;

pub(super) const NOW: Timestamp = Timestamp(1_000);

pub(super) fn agent(name: &str) -> AgentName {
    name.parse().expect("a valid name")
}

pub(super) fn worker(name: &str) -> WorkerId {
    name.parse().expect("a valid id")
}

fn session(number: u128) -> SessionId {
    SessionId(Uuid::from_u128(number))
}

pub(super) fn offer(task: u128, turn: TurnNumber, name: &str) -> Offer {
    let key = TurnKey { task: TaskId::from(Uuid::from_u128(task)), turn };
    Offer { key, agent: agent(name), priority: 0, not_before: Timestamp(0), marks: Box::default() }
}

/// Workers "w1", "w2", ... that serve the agents, each with its concurrency.
pub(super) fn with_workers(workers: &[(&[&str], u32)]) -> Matching {
    let mut matching = Matching::default();
    for (number, (agents, max)) in (1..).zip(workers) {
        let agents: Vec<AgentName> = agents.iter().map(|name| agent(name)).collect();
        matching.join(&worker(&format!("w{number}")), session(number), &agents, *max, 0);
    }
    matching
}

pub(super) fn told(slots: &[Slot]) -> Vec<(&str, u128, TurnNumber)> {
    slots.iter().map(|s| (s.worker.as_str(), s.key.task.uuid().as_u128(), s.key.turn)).collect()
}

#[test]
fn nothing_is_assigned_that_was_not_asked_for() {
    let mut matching = with_workers(&[(&["a"], 4)]);
    assert_eq!(matching.offer(offer(1, 1, "a"), NOW), []);
    assert_eq!(told(&matching.credit(&worker("w1"), 1, None)), [("w1", 1, 1)]);
    assert_eq!(matching.offer(offer(1, 2, "a"), NOW), []);
}

#[test]
fn a_worker_never_has_more_than_it_takes_at_once() {
    let mut matching = with_workers(&[(&["a"], 2)]);
    matching.credit(&worker("w1"), 50, None);
    let given: usize = (1..=5).map(|turn| matching.offer(offer(1, turn, "a"), NOW).len()).sum();
    assert_eq!(given, 2);
    // Credit that comes before the end of the attempt it follows is kept, and used when that end arrives.
    assert_eq!(matching.credit(&worker("w1"), 1, None), []);
    assert_eq!(matching.release(&worker("w1")).len(), 1);
    assert_eq!(matching.release(&worker("w1")), [], "no credit is left");
}

#[test]
fn the_worker_with_the_most_room_is_served_first() {
    let mut matching = with_workers(&[(&["a"], 8), (&["a"], 8)]);
    matching.credit(&worker("w1"), 1, None);
    matching.credit(&worker("w2"), 3, None);
    let order: Vec<String> = (1..=4)
        .flat_map(|turn| matching.offer(offer(1, turn, "a"), NOW))
        .map(|slot| slot.worker.to_string())
        .collect();
    assert_eq!(order, ["w2", "w2", "w1", "w2"], "most room, then fewest attempts");
}

#[test]
fn credit_for_one_agent_serves_that_agent_only() {
    let mut matching = with_workers(&[(&["a", "b"], 4)]);
    matching.credit(&worker("w1"), 1, Some(&agent("b")));
    matching.credit(&worker("w1"), 1, Some(&agent("c")));
    assert_eq!(matching.offer(offer(1, 1, "a"), NOW), []);
    let slots = matching.offer(offer(1, 2, "b"), NOW);
    assert_eq!(told(&slots), [("w1", 1, 2)]);
    assert!(slots[0].earmarked);
    assert_eq!(matching.credit_of(&worker("w1")), 0);
}

#[test]
fn a_worker_of_several_agents_takes_the_most_urgent_then_the_oldest() {
    let mut matching = with_workers(&[(&["a", "b"], 8)]);
    matching.offer(offer(1, 1, "b"), NOW);
    matching.offer(offer(2, 1, "a"), NOW);
    matching.offer(Offer { priority: 5, ..offer(3, 1, "a") }, NOW);
    let slots = matching.credit(&worker("w1"), 3, None);
    assert_eq!(told(&slots), [("w1", 3, 1), ("w1", 1, 1), ("w1", 2, 1)]);
}

#[test]
fn a_thousand_steps_of_one_task_do_not_starve_another() {
    let mut matching = with_workers(&[(&["a"], 1_000)]);
    for turn in 1..=1_000 {
        matching.offer(offer(1, turn, "a"), NOW);
    }
    matching.offer(offer(2, 1, "a"), NOW);
    let slots = matching.credit(&worker("w1"), 2, None);
    assert_eq!(told(&slots), [("w1", 1, 1), ("w1", 2, 1)]);
}

#[test]
fn a_turn_waits_for_its_time() {
    let mut matching = with_workers(&[(&["a"], 4)]);
    matching.credit(&worker("w1"), 4, None);
    assert_eq!(matching.offer(Offer { not_before: Timestamp(2_000), ..offer(1, 1, "a") }, NOW), []);
    assert_eq!(matching.next_due(), Some(Timestamp(2_000)));
    assert_eq!(matching.waiting_for(&agent("a")), 1);
    assert_eq!(matching.due(Timestamp(1_999)), []);
    assert_eq!(told(&matching.due(Timestamp(2_000))), [("w1", 1, 1)]);
    assert_eq!(matching.next_due(), None);
}

#[test]
fn what_is_withdrawn_is_not_assigned() {
    let mut matching = with_workers(&[(&["a"], 8)]);
    matching.offer(offer(1, 1, "a"), NOW);
    matching.offer(offer(1, 2, "a"), NOW);
    matching.offer(Offer { not_before: Timestamp(9_000), ..offer(1, 3, "a") }, NOW);
    matching.offer(offer(2, 1, "a"), NOW);
    matching.withdraw(TurnKey { turn: 1, ..offer(1, 1, "a").key });
    assert_eq!(matching.waiting_for(&agent("a")), 3);
    matching.withdraw_task(offer(1, 1, "a").key.task);
    assert_eq!(told(&matching.credit(&worker("w1"), 8, None)), [("w1", 2, 1)]);
    assert_eq!(matching.due(Timestamp(9_000)), []);
}

#[test]
fn a_slot_that_comes_back_is_used_again_by_the_same_session_only() {
    let mut matching = with_workers(&[(&["a"], 1)]);
    matching.credit(&worker("w1"), 1, None);
    let slots = matching.offer(offer(1, 1, "a"), NOW);
    matching.offer(offer(2, 1, "a"), NOW);
    assert_eq!(told(&matching.give_back(&worker("w1"), slots[0].session, None)), [("w1", 2, 1)]);

    matching.join(&worker("w1"), session(9), &[agent("a")], 1, 1);
    matching.offer(offer(3, 1, "a"), NOW);
    assert_eq!(matching.give_back(&worker("w1"), session(1), None), []);
    assert_eq!(matching.credit(&worker("w1"), 1, None).len(), 1, "the old slot no longer counts");
}

#[test]
fn a_draining_worker_and_a_stopped_dispatch_get_nothing() {
    let mut matching = with_workers(&[(&["a"], 4), (&["a"], 4)]);
    matching.credit(&worker("w1"), 4, None);
    matching.drain(&worker("w1"));
    assert_eq!(matching.offer(offer(1, 1, "a"), NOW), []);
    matching.stop();
    assert_eq!(matching.credit(&worker("w2"), 4, None), []);
    assert_eq!(matching.waiting_for(&agent("a")), 1, "the turn is kept for the next start");
}

#[test]
fn a_turn_offered_twice_is_assigned_once() {
    let mut matching = with_workers(&[(&["a"], 4)]);
    matching.offer(offer(1, 1, "a"), NOW);
    matching.offer(offer(1, 1, "a"), NOW);
    assert_eq!(matching.credit(&worker("w1"), 4, None).len(), 1);
}
