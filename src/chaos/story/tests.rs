//! A journal that keeps every promise, and one planted violation at a time: the judge finds each, and nothing else.

use super::*;
use crate::pb::TaskState;

fn tokens(tokens: i64) -> Option<pb::Usage> {
    Some(pb::Usage { input_tokens: tokens, ..pb::Usage::default() })
}

fn submitted(max_tokens: i64) -> Event {
    let budget = Some(pb::Budget { max_tokens, ..pb::Budget::default() });
    let contract = Some(pb::Contract { budget, ..pb::Contract::default() });
    Event::Submitted(pb::Submitted { contract, ..pb::Submitted::default() })
}

fn opened(turn: i32) -> Event {
    Event::TurnOpened(pb::TurnOpened { turn, agent: "solo".to_owned(), ..pb::TurnOpened::default() })
}

fn started(turn: i32, attempt: i32, allowance_tokens: i64) -> Event {
    let worker_id = "w".to_owned();
    Event::AttemptStarted(pb::AttemptStarted { turn, attempt, worker_id, allowance_tokens })
}

fn answered(turn: i32, attempt: i32, charged_tokens: i64) -> Event {
    Event::TurnAnswered(pb::TurnAnswered { turn, attempt, charged_tokens, ..pb::TurnAnswered::default() })
}

fn ended_attempt(turn: i32, attempt: i32, end: AttemptEnd) -> Event {
    let retries = end != AttemptEnd::Revoked;
    Event::AttemptEnded(pb::AttemptEnded {
        turn,
        attempt,
        end: end.into(),
        retries,
        ..pb::AttemptEnded::default()
    })
}

fn late(turn: i32, attempt: i32, used: i64) -> Event {
    Event::LateUsage(pb::LateUsage { turn, attempt, usage: tokens(used), ..pb::LateUsage::default() })
}

fn ended() -> Event {
    Event::Ended(pb::Ended::default())
}

/// A task that succeeded over a lost attempt whose usage was heard of late: 1,000 granted, 300 and 200 used.
fn sound() -> Vec<Event> {
    vec![
        submitted(1_000),
        opened(1),
        started(1, 1, 400),
        Event::UsageRecorded(pb::UsageRecorded { turn: 1, attempt: 1, usage: tokens(100) }),
        ended_attempt(1, 1, AttemptEnd::LeaseExpired),
        started(1, 2, 400),
        answered(1, 2, 200),
        ended(),
        late(1, 1, 300),
    ]
}

fn ledger(granted: i64, spent: i64, overrun: i64) -> pb::Ledger {
    pb::Ledger {
        granted_tokens: granted,
        spent_tokens: spent,
        overrun_tokens: overrun,
        ..pb::Ledger::default()
    }
}

fn story(state: TaskState, ledger: pb::Ledger, events: Vec<Event>) -> Story {
    let event = |(index, event): (usize, Event)| {
        let seq = i64::try_from(index).expect("few") + 1;
        let at = Some(prost_types::Timestamp { seconds: seq, nanos: 0 });
        pb::TaskEvent { task_id: "t".to_owned(), seq, at, event: Some(event) }
    };
    let summary = pb::TaskSummary {
        task_id: "t".to_owned(),
        state: state.into(),
        ledger: Some(ledger),
        ..pb::TaskSummary::default()
    };
    let task = pb::Task { summary: Some(summary), ..pb::Task::default() };
    Story { task, events: events.into_iter().enumerate().map(event).collect() }
}

/// The one finding of a journal, and the account that goes with it.
#[track_caller]
fn finds(events: Vec<Event>, account: pb::Ledger, check: Check, says: &str) {
    let judged = judge(&story(TaskState::Succeeded, account, events));
    let found: Vec<_> = judged.findings.iter().filter(|finding| finding.check == check).collect();
    assert!(found.iter().any(|finding| finding.evidence.contains(says)), "{:?}", judged.findings);
}

fn with(mut change: impl FnMut(&mut Vec<Event>)) -> Vec<Event> {
    let mut events = sound();
    change(&mut events);
    events
}

#[test]
fn a_sound_journal_has_nothing_against_it_and_gives_its_figures() {
    let judged = judge(&story(TaskState::Succeeded, ledger(1_000, 500, 0), sound()));
    assert_eq!(judged.findings, []);
    assert_eq!(judged.started, [3_000_000, 6_000_000]);
    assert_eq!(judged.retaken, [1_000_000], "lost at 5 s, taken at 6 s");
    assert_eq!(judged.lost, BTreeMap::from([("lease expired", 1)]));
    assert_eq!(judged.agents, BTreeSet::from(["solo".to_owned()]));
}

#[test]
fn a_task_that_has_not_ended_is_lost_and_one_that_ended_twice_has_two_outcomes() {
    let open = with(|events| events.truncate(6));
    let judged = judge(&story(TaskState::Running, ledger(1_000, 100, 0), open));
    assert_eq!(judged.findings.len(), 1, "{:?}", judged.findings);
    assert_eq!(judged.findings[0].check, Check::Lost);
    finds(with(|events| events.push(ended())), ledger(1_000, 500, 0), Check::OneOutcome, "2 outcomes");
    finds(
        with(|events| events.push(opened(2))),
        ledger(1_000, 500, 0),
        Check::OneOutcome,
        "follows the outcome",
    );
    let live = with(|events| drop(events.remove(6)));
    finds(live, ledger(1_000, 300, 0), Check::OneOutcome, "ended while attempt 2 of turn 1 was live");
}

#[test]
fn budgets_are_added_up_afresh() {
    finds(sound(), ledger(1_000, 499, 0), Check::Budget, "add up to 500 tokens, its account to 499");
    finds(sound(), ledger(2_000, 500, 0), Check::Budget, "grants 2000 tokens, its contract 1000");
    let reserved = pb::Ledger { reserved_tokens: 501, ..ledger(1_000, 500, 0) };
    finds(sound(), reserved, Check::Budget, "500 spent and 501 reserved pass");
    let two = with(|events| {
        events.insert(6, opened(2));
        events.insert(7, started(2, 1, 600));
    });
    finds(two, ledger(1_000, 500, 0), Check::Budget, "an attempt brings what is held to 1100 of 1000");
}

#[test]
fn an_overrun_is_no_violation_where_it_is_recorded_and_explained() {
    let wild = |late_tokens| with(move |events| *events.last_mut().expect("some") = late(1, 1, late_tokens));
    let sound = judge(&story(TaskState::Partial, ledger(1_000, 1_000, 700), wild(1_500)));
    assert_eq!((sound.findings, sound.overrun), (Vec::new(), 700));
    finds(wild(1_500), ledger(1_000, 1_700, 0), Check::Budget, "700 tokens beyond the grant, 0 recorded");
    // Nobody spent beyond an allowance: an overrun that nothing explains is tokens of nobody.
    finds(self::sound(), ledger(1_000, 300, 200), Check::Budget, "attempts explain 0");
}

#[test]
fn answers_under_dead_leases_and_double_answers_are_found() {
    let fenced = with(|events| events[6] = answered(1, 1, 200));
    finds(fenced, ledger(1_000, 300, 0), Check::Fence, "whose lease was not live");
    let twice = with(|events| events.insert(7, answered(1, 2, 200)));
    finds(twice, ledger(1_000, 500, 0), Check::Effects, "turn 1 was answered twice");
    let again = with(|events| events.insert(7, started(1, 3, 10)));
    finds(again, ledger(1_000, 500, 0), Check::Fence, "leased again after its answer");
    let side_by_side = with(|events| drop(events.remove(4)));
    finds(side_by_side, ledger(1_000, 500, 0), Check::Fence, "two live leases");
}

#[test]
fn gaps_open_questions_and_orphans_are_found() {
    let mut gap = story(TaskState::Succeeded, ledger(1_000, 500, 0), sound());
    gap.events[4].seq = 6;
    assert_eq!(judge(&gap).findings[0].check, Check::Record);
    let asked = Event::Escalated(pb::Escalated {
        escalation: Some(pb::Escalation { escalation_id: "t.1".to_owned(), ..pb::Escalation::default() }),
    });
    finds(
        with(|events| events.insert(6, asked.clone())),
        ledger(1_000, 500, 0),
        Check::Questions,
        "t.1 was open",
    );
    let closed = || {
        let escalation_id = "t.1".to_owned();
        Event::EscalationEnded(pb::EscalationEnded { escalation_id, ..pb::EscalationEnded::default() })
    };
    let twice = with(|events| {
        events.insert(6, asked.clone());
        events.insert(7, closed());
        events.insert(8, closed());
    });
    finds(twice, ledger(1_000, 500, 0), Check::Questions, "t.1 ended twice");
    let child = Event::ChildStarted(pb::ChildStarted {
        child_task_id: "c".to_owned(),
        tokens: 100,
        ..pb::ChildStarted::default()
    });
    finds(
        with(|events| events.insert(6, child.clone())),
        ledger(1_000, 500, 0),
        Check::Children,
        "before its child c",
    );
}
