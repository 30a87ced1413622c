//! What matching promises, one promise a test.

use uuid::Uuid;

use super::*;
use crate::{
    runtime::BreakerTerms,
    types::{ids::TurnNumber, time::Span},
};

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
    let (agent, namespace, marks) = (agent(name), Namespace::default(), Box::default());
    Offer { key, agent, namespace, priority: 0, decides: false, not_before: Timestamp(0), marks }
}

/// Workers "w1", "w2", ... that serve the agents, each with its concurrency.
pub(super) fn with_workers(workers: &[(&[&str], u32)]) -> Matching {
    fill(Matching::default(), workers)
}

fn fill(mut matching: Matching, workers: &[(&[&str], u32)]) -> Matching {
    for (number, (agents, max)) in (1..).zip(workers) {
        let agents: Vec<AgentName> = agents.iter().map(|name| agent(name)).collect();
        matching.join(&worker(&format!("w{number}")), session(number), &agents, *max, 0, NOW);
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
    assert_eq!(told(&matching.credit(&worker("w1"), 1, None, NOW)), [("w1", 1, 1)]);
    assert_eq!(matching.offer(offer(1, 2, "a"), NOW), []);
}

#[test]
fn a_worker_never_has_more_than_it_takes_at_once() {
    let mut matching = with_workers(&[(&["a"], 2)]);
    matching.credit(&worker("w1"), 50, None, NOW);
    let mut given: Vec<Slot> = (1..=5).flat_map(|turn| matching.offer(offer(1, turn, "a"), NOW)).collect();
    assert_eq!(given.len(), 2);
    // Credit that comes before the end of the attempt it follows is kept, and used when that end arrives.
    assert_eq!(matching.credit(&worker("w1"), 1, None, NOW), []);
    let mut end = |slot: Slot| matching.release(slot.permit, Verdict::Good, NOW);
    assert_eq!(end(given.remove(0)).len(), 1);
    assert_eq!(end(given.remove(0)), [], "no credit is left");
}

#[test]
fn the_worker_with_the_most_room_is_served_first() {
    let mut matching = with_workers(&[(&["a"], 8), (&["a"], 8)]);
    matching.credit(&worker("w1"), 1, None, NOW);
    matching.credit(&worker("w2"), 3, None, NOW);
    let order: Vec<String> = (1..=4)
        .flat_map(|turn| matching.offer(offer(1, turn, "a"), NOW))
        .map(|slot| slot.worker.to_string())
        .collect();
    assert_eq!(order, ["w2", "w2", "w1", "w2"], "most room, then fewest attempts");
}

#[test]
fn credit_for_one_agent_serves_that_agent_only() {
    let mut matching = with_workers(&[(&["a", "b"], 4)]);
    matching.credit(&worker("w1"), 1, Some(&agent("b")), NOW);
    matching.credit(&worker("w1"), 1, Some(&agent("c")), NOW);
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
    let slots = matching.credit(&worker("w1"), 3, None, NOW);
    assert_eq!(told(&slots), [("w1", 3, 1), ("w1", 1, 1), ("w1", 2, 1)]);
}

#[test]
fn a_thousand_steps_of_one_task_do_not_starve_another() {
    let mut matching = with_workers(&[(&["a"], 1_000)]);
    for turn in 1..=1_000 {
        matching.offer(offer(1, turn, "a"), NOW);
    }
    matching.offer(offer(2, 1, "a"), NOW);
    let slots = matching.credit(&worker("w1"), 2, None, NOW);
    assert_eq!(told(&slots), [("w1", 1, 1), ("w1", 2, 1)]);
}

#[test]
fn a_turn_waits_for_its_time() {
    let mut matching = with_workers(&[(&["a"], 4)]);
    matching.credit(&worker("w1"), 4, None, NOW);
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
    assert_eq!(told(&matching.credit(&worker("w1"), 8, None, NOW)), [("w1", 2, 1)]);
    assert_eq!(matching.due(Timestamp(9_000)), []);
}

#[test]
fn a_slot_that_comes_back_is_used_again_by_the_same_session_only() {
    let mut matching = with_workers(&[(&["a"], 1)]);
    matching.credit(&worker("w1"), 1, None, NOW);
    let first = matching.offer(offer(1, 1, "a"), NOW).remove(0);
    matching.offer(offer(2, 1, "a"), NOW);
    let mut second = matching.give_back(first.permit, first.session, false, NOW);
    assert_eq!(told(&second), [("w1", 2, 1)]);

    matching.join(&worker("w1"), session(9), &[agent("a")], 1, 1, NOW);
    matching.offer(offer(3, 1, "a"), NOW);
    assert_eq!(matching.give_back(second.remove(0).permit, session(1), false, NOW), []);
    assert_eq!(matching.credit(&worker("w1"), 1, None, NOW).len(), 1, "the old slot no longer counts");
}

#[test]
fn a_draining_worker_and_a_stopped_dispatch_get_nothing() {
    let mut matching = with_workers(&[(&["a"], 4), (&["a"], 4)]);
    matching.credit(&worker("w1"), 4, None, NOW);
    matching.drain(&worker("w1"));
    assert_eq!(matching.offer(offer(1, 1, "a"), NOW), []);
    matching.stop();
    assert_eq!(matching.credit(&worker("w2"), 4, None, NOW), []);
    assert_eq!(matching.waiting_for(&agent("a")), 1, "the turn is kept for the next start");
}

#[test]
fn a_turn_offered_twice_is_assigned_once() {
    let mut matching = with_workers(&[(&["a"], 4)]);
    matching.offer(offer(1, 1, "a"), NOW);
    matching.offer(offer(1, 1, "a"), NOW);
    assert_eq!(matching.credit(&worker("w1"), 4, None, NOW).len(), 1);
}

fn slots_of(slots: &[Slot]) -> Vec<(u128, TurnNumber)> {
    slots.iter().map(|slot| (slot.key.task.uuid().as_u128(), slot.key.turn)).collect()
}

fn space(name: &str) -> Namespace {
    name.parse().expect("a valid name")
}

fn limited(agents: &str, namespaces: &str, workers: &[(&[&str], u32)]) -> Matching {
    let limits = |text: &str| text.parse().expect("well-formed limits");
    let bulkheads = Bulkheads { agents: limits(agents), namespaces: limits(namespaces) };
    fill(Matching::new(Breaking::default(), bulkheads), workers)
}

#[test]
fn a_full_agent_keeps_only_its_own_turns_waiting() {
    let mut matching = limited("a=1", "", &[(&["a", "b"], 8)]);
    for (task, name) in [(1, "a"), (2, "a"), (3, "b")] {
        matching.offer(offer(task, 1, name), NOW);
    }
    let mut slots = matching.credit(&worker("w1"), 8, None, NOW);
    assert_eq!(slots_of(&slots), [(1, 1), (3, 1)]);
    let why = matching.why(offer(2, 1, "a").key, NOW).expect("it waits");
    assert_eq!(
        (why.reason, why.detail.as_str()),
        (WaitReason::AgentFull, "a has 1 attempts, and may have 1 at once")
    );
    let next = matching.release(slots.remove(0).permit, Verdict::Good, NOW);
    assert_eq!(slots_of(&next), [(2, 1)]);
}

#[test]
fn a_full_namespace_is_served_again_wherever_it_waits() {
    let mut matching = limited("", "n=1", &[(&["a"], 8), (&["b"], 8)]);
    matching.credit(&worker("w1"), 8, None, NOW);
    matching.credit(&worker("w2"), 8, None, NOW);
    let of_n = |task, name| Offer { namespace: space("n"), ..offer(task, 1, name) };
    let mut first = matching.offer(of_n(1, "a"), NOW);
    assert_eq!(slots_of(&first), [(1, 1)]);
    assert_eq!(matching.offer(of_n(2, "b"), NOW), []);
    assert_eq!(matching.offer(of_n(3, "a"), NOW), []);
    assert_eq!(matching.why(of_n(2, "b").key, NOW).map(|why| why.reason), Some(WaitReason::NamespaceFull));
    assert_eq!(slots_of(&matching.offer(offer(4, 1, "a"), NOW)), [(4, 1)], "others pass it by");
    // Although the worker of "a" has become free, "b" has waited for longer.
    let mut second = matching.release(first.remove(0).permit, Verdict::Good, NOW);
    assert_eq!(slots_of(&second), [(2, 1)]);
    assert_eq!(slots_of(&matching.release(second.remove(0).permit, Verdict::Good, NOW)), [(3, 1)]);
}

#[test]
fn decide_turns_bypass_bulkheads_and_go_first() {
    let mut matching = limited("a=1", "default=1", &[(&["a"], 8)]);
    matching.offer(Offer { priority: 9, ..offer(1, 1, "a") }, NOW);
    matching.offer(Offer { priority: 9, ..offer(2, 1, "a") }, NOW);
    matching.offer(Offer { decides: true, ..offer(3, 1, "a") }, NOW);
    assert_eq!(slots_of(&matching.credit(&worker("w1"), 8, None, NOW)), [(3, 1)]);
    assert_eq!(slots_of(&matching.offer(Offer { decides: true, ..offer(4, 1, "a") }, NOW)), [(4, 1)]);
}

#[test]
fn agents_of_one_worker_take_it_in_turns_however_many_turns_one_has() {
    let mut matching = with_workers(&[(&["a", "b"], 1)]);
    for turn in 1..=100 {
        matching.offer(offer(1, turn, "a"), NOW);
    }
    let mut slots = matching.credit(&worker("w1"), 1, None, NOW);
    matching.offer(offer(2, 1, "b"), NOW);
    for expected in [(1, 2), (2, 1), (1, 3)] {
        matching.credit(&worker("w1"), 1, None, NOW);
        slots = matching.release(slots.remove(0).permit, Verdict::Good, NOW);
        assert_eq!(slots_of(&slots), [expected]);
    }
}

/// Fails attempts of agent "a", each given to whoever the matching chooses, until nothing more is given out.
fn break_down(matching: &mut Matching, workers: &[&str]) -> usize {
    (1..=40)
        .take_while(|n| {
            for id in workers {
                matching.credit(&worker(id), 1, None, NOW);
            }
            let mut slots = matching.offer(offer(*n, 1, "a"), NOW);
            let Some(slot) = slots.pop() else {
                matching.withdraw(offer(*n, 1, "a").key);
                return false;
            };
            matching.release(slot.permit, Verdict::Bad, NOW);
            true
        })
        .count()
}

#[test]
fn an_open_circuit_holds_turns_back_and_probes_close_it() {
    let mut matching = with_workers(&[(&["a"], 8)]);
    assert_eq!(break_down(&mut matching, &["w1"]), 5);
    matching.credit(&worker("w1"), 8, None, NOW);
    matching.offer(offer(100, 1, "a"), NOW);
    matching.offer(offer(101, 1, "a"), NOW);
    let until = NOW.plus(Span::from_secs(5));
    let why = matching.why(offer(100, 1, "a").key, NOW).expect("it waits");
    assert_eq!((why.reason, why.until), (WaitReason::AgentBreaker, Some(until)));
    assert!(why.detail.ends_with("5 of the last 5 attempts failed"), "{}", why.detail);
    assert!(matching.tell(offer(100, 1, "a").key).is_some());
    assert!(matching.tell(offer(100, 1, "a").key).is_none(), "told once");
    assert_eq!(matching.next_due(), Some(until));
    let mut probe = matching.due(until);
    assert_eq!(probe.len(), 1, "one probe at a time");
    let mut second = matching.release(probe.remove(0).permit, Verdict::Good, until);
    assert_eq!(second.len(), 1);
    let rest = matching.release(second.remove(0).permit, Verdict::Good, until);
    assert_eq!(matching.breaker(&Whose::Agent(agent("a"))).state, crate::runtime::BreakerState::Closed);
    assert_eq!((rest.len(), matching.waiting_for(&agent("a"))), (0, 0), "both have run");
}

#[test]
fn a_broken_worker_is_passed_over_and_another_has_the_work() {
    let mut matching = with_workers(&[(&["a"], 8), (&["a"], 8)]);
    assert_eq!(break_down(&mut matching, &["w1"]), 5);
    matching.credit(&worker("w1"), 8, None, NOW);
    matching.credit(&worker("w2"), 1, None, NOW);
    assert_eq!(told(&matching.offer(offer(100, 1, "a"), NOW)), [("w2", 100, 1)]);
    // It comes back with a new session: its breaker stays as it is.
    matching.join(&worker("w1"), session(9), &[agent("a")], 8, 0, NOW);
    matching.credit(&worker("w1"), 8, None, NOW);
    assert_eq!(matching.offer(offer(101, 1, "a"), NOW), []);
    assert_eq!(matching.breaker(&Whose::Agent(agent("a"))).openings, 0);
    // Once its breaker is half open it gets one as a probe, and the good worker is still preferred.
    let due = matching.due(NOW.plus(Span::from_secs(5)));
    assert_eq!(told(&due), [("w1", 101, 1)]);
}

#[test]
fn when_the_last_good_worker_leaves_the_agents_circuit_opens_with_the_others() {
    let mut matching = with_workers(&[(&["a"], 8), (&["a"], 8)]);
    break_down(&mut matching, &["w1"]);
    matching.leave(&worker("w2"), NOW);
    let info = matching.breaker(&Whose::Agent(agent("a")));
    assert_eq!(
        (info.state, info.until),
        (crate::runtime::BreakerState::Open, Some(NOW.plus(Span::from_secs(5))))
    );
}

#[test]
fn a_reset_by_hand_lets_everything_through_at_once() {
    let mut matching = with_workers(&[(&["a"], 8)]);
    break_down(&mut matching, &["w1"]);
    matching.credit(&worker("w1"), 8, None, NOW);
    assert_eq!(matching.offer(offer(100, 1, "a"), NOW), []);
    assert_eq!(
        matching.reset(&Whose::Worker(worker("w1")), NOW),
        Some(Vec::new()),
        "the agent's is still open"
    );
    let slots = matching.reset(&Whose::Agent(agent("a")), NOW).expect("it was open");
    assert_eq!(slots.len(), 1);
    assert_eq!(matching.reset(&Whose::Agent(agent("a")), NOW), None);
}

#[test]
fn terms_can_switch_breakers_off() {
    let off = BreakerTerms { consecutive: 0, failure_percent: 0, ..BreakerTerms::default() };
    let breaking = Breaking { agents: off, workers: off };
    let mut matching = fill(Matching::new(breaking, Bulkheads::default()), &[(&["a"], 8)]);
    assert_eq!(break_down(&mut matching, &["w1"]), 40);
}

/// Looks at queues while `waiting` tasks wait and a hundred matches are made, over two agents and a full namespace.
fn looks(waiting: u128) -> u64 {
    let mut matching = limited("", "full=1", &[(&["a", "b"], 1)]);
    for task in 1..=waiting {
        let name = if task % 3 == 0 { "b" } else { "a" };
        let namespace = space(["full", "m", "n", "default"][(task % 4) as usize]);
        matching.offer(Offer { namespace, ..offer(task, 1, name) }, NOW);
    }
    let before = matching.looks;
    let mut running = matching.credit(&worker("w1"), 1, None, NOW);
    for _ in 0..100 {
        matching.credit(&worker("w1"), 1, None, NOW);
        running = matching.release(running.remove(0).permit, Verdict::Good, NOW);
        assert_eq!(running.len(), 1);
    }
    matching.looks - before
}

#[test]
fn what_a_match_costs_does_not_grow_with_what_waits() {
    let few = looks(200);
    assert_eq!(looks(20_000), few);
    assert!(few <= 100 * 8, "{few} looks for a hundred matches");
}
