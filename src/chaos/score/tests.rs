//! A run without a fault passes; with one fault planted in what was seen, exactly its check fails.

use super::*;
use crate::pb::TaskState;

fn task(id: &str, state: TaskState) -> Judged {
    Judged {
        id: id.to_owned(),
        state,
        cause: pb::Cause::Completed,
        shape: "single".to_owned(),
        agents: BTreeSet::from(["chaos-solo".to_owned()]),
        started: vec![1_000, 9_000],
        life: (500, Some(9_500)),
        ..Judged::default()
    }
}

fn acknowledged(key: &str, task: &str) -> Acknowledged {
    Acknowledged { key: key.to_owned(), task: task.to_owned() }
}

fn effect(key: &str, task: &str, turn: i32) -> Effect {
    Effect { key: key.to_owned(), task: task.to_owned(), turn }
}

fn outage(worker: Option<&str>, how: How, at: u64, back: u64) -> Outage {
    Outage { worker: worker.map(str::to_owned), how, at, back: Some(back) }
}

/// Two tasks, one of them submitted twice under its key; one effect repeated under its key; one outage of each kind.
fn seen() -> Observed {
    Observed {
        acknowledged: vec![acknowledged("k1", "a"), acknowledged("k1", "a"), acknowledged("k2", "b")],
        tasks: vec![task("a", TaskState::Succeeded), task("b", TaskState::Succeeded)],
        effects: vec![effect("e1", "a", 1), effect("e1", "a", 1), effect("e2", "b", 1)],
        brakes: vec![Brake { to_cancel: 10, to_fence: Some(20) }, Brake { to_cancel: 30, to_fence: None }],
        felt: vec![Brake { to_cancel: 100, to_fence: Some(200) }],
        outages: vec![
            outage(None, How::Killed, 2_000, 3_000),
            outage(Some("w"), How::Killed, 4_000, 4_500),
            outage(Some("w"), How::Frozen, 5_000, 6_500),
            outage(None, How::Frozen, 6_000, 8_000),
        ],
        injected: BTreeMap::from([("server killed".to_owned(), 1), ("worker killed".to_owned(), 1)]),
        breakers: None,
    }
}

#[track_caller]
fn fails(plant: impl FnOnce(&mut Observed), check: Check, says: &str) {
    let mut seen = seen();
    plant(&mut seen);
    let board = score(&seen);
    let failed: Vec<&Verdict> = board.verdicts.iter().filter(|verdict| !verdict.passed()).collect();
    assert_eq!(failed.iter().map(|verdict| verdict.check).collect::<Vec<_>>(), [check], "{failed:?}");
    assert!(failed[0].evidence[0].contains(says), "{failed:?}");
    assert!(!board.passed());
}

#[test]
fn a_run_that_kept_every_promise_passes() {
    let board = score(&seen());
    assert!(board.passed(), "{:?}", board.verdicts);
    assert_eq!(board.verdicts.len(), Check::ALL.len());
    assert_eq!((board.acknowledged, board.children, board.effects), (2, 0, (3, 1)));
    assert_eq!(board.states, BTreeMap::from([("SUCCEEDED", 2)]));
    assert_eq!(board.braked.to_cancel, Times { count: 2, p50: 10, p99: 30, max: 30 });
    assert_eq!((board.braked.to_fence.count, board.felt.to_cancel.max), (1, 100), "each clock by itself");
    assert_eq!(board.recovery, Times { count: 1, p50: 7_000, p99: 7_000, max: 7_000 });
    assert_eq!(board.thawed, Times { count: 1, p50: 1_000, p99: 1_000, max: 1_000 }, "from its end");
    assert!(board.outcomes.is_empty() && board.broken(Check::Lost) == 0);
}

#[test]
fn a_lost_task_fails_it() {
    fails(|seen| drop(seen.tasks.pop()), Check::Lost, "task b was acknowledged and is not there");
    fails(
        |seen| {
            seen.tasks[0].findings.push(Finding { check: Check::Lost, evidence: "has not ended".to_owned() })
        },
        Check::Lost,
        "task a: has not ended",
    );
    fails(
        |seen| {
            seen.acknowledged.clear();
        },
        Check::Lost,
        "nothing was tested",
    );
}

#[test]
fn double_effects_fail_it() {
    fails(
        |seen| seen.effects.push(effect("e9", "a", 1)),
        Check::Effects,
        "turn 1 of task a took effect under 2 keys",
    );
    fails(|seen| seen.effects.push(effect("e1", "b", 2)), Check::Effects, "key e1 stands for 2 turns");
    let evidence = "turn 1 was answered twice".to_owned();
    fails(
        |seen| seen.tasks[0].findings.push(Finding { check: Check::Effects, evidence }),
        Check::Effects,
        "task a: turn 1 was answered twice",
    );
}

#[test]
fn a_key_that_names_two_tasks_fails_it() {
    fails(|seen| seen.acknowledged.push(acknowledged("k1", "b")), Check::Keys, "key k1 names 2 tasks");
}

#[test]
fn an_outcome_that_its_shape_does_not_have_fails_it_unless_the_cause_is_technical() {
    let shape = |seen: &mut Observed| seen.tasks[0].shape = "overspend".to_owned();
    fails(shape, Check::Outcomes, "overspend ended SUCCEEDED for COMPLETED");
    let mut dead = seen();
    (dead.tasks[0].state, dead.tasks[0].cause) = (TaskState::DeadLettered, pb::Cause::AttemptsExhausted);
    assert!(score(&dead).passed());
    // A contract of the user's own may end as it likes.
    let mut own = seen();
    (own.tasks[0].shape, own.tasks[0].state) = (String::new(), TaskState::Failed);
    assert!(score(&own).passed());
}

#[test]
fn a_server_that_does_not_recover_fails_it() {
    let back = |place: usize| move |seen: &mut Observed| seen.outages[place].back = None;
    fails(back(0), Check::Recovery, "the server was killed and did not come back");
    fails(back(1), Check::Recovery, "w was killed and did not come back");
    fails(back(2), Check::Recovery, "w was frozen and did not come back");
    fails(back(3), Check::Recovery, "the server was frozen and did not come back");
    for (place, what) in [(0, "killed"), (3, "frozen")] {
        let mut stuck = seen();
        (stuck.outages[place].at, stuck.outages[place].back) = (10_000, Some(10_000));
        assert!(score(&stuck).passed(), "nothing was open when it was {what}");
        stuck.tasks[0].life.1 = None;
        assert!(!score(&stuck).passed(), "something was, and nothing followed");
    }
}

#[test]
fn tasks_are_counted_by_outcome() {
    let mut seen = seen();
    (seen.tasks[0].state, seen.tasks[0].cause) = (TaskState::DeadLettered, pb::Cause::AttemptsExhausted);
    let outcomes = BTreeMap::from([("DEAD_LETTERED for ATTEMPTS_EXHAUSTED".to_owned(), 1)]);
    assert_eq!(score(&seen).outcomes, outcomes);
}

#[test]
fn failures_that_never_happened_fail_it() {
    fails(
        |seen| {
            seen.injected.insert("session cut".to_owned(), 0);
        },
        Check::Injected,
        "session cut was asked for and never happened",
    );
}

#[test]
fn evidence_is_cut_and_counted() {
    let mut many = seen();
    many.acknowledged.extend((0..50).map(|n| acknowledged(&format!("x{n}"), &format!("gone{n}"))));
    let board = score(&many);
    let lost = &board.verdicts[0];
    assert_eq!((lost.check, lost.evidence.len()), (Check::Lost, 21));
    assert_eq!((lost.evidence[20].as_str(), board.broken(Check::Lost)), ("and 30 more", 50));
}

#[test]
fn percentiles_are_ranks() {
    let times = Times::of((1..=200).collect());
    assert_eq!(times, Times { count: 200, p50: 100, p99: 198, max: 200 });
    assert_eq!(Times::of(vec![7]), Times { count: 1, p50: 7, p99: 7, max: 7 });
    assert_eq!(Times::of(Vec::new()), Times::default());
}
