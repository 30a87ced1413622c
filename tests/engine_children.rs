//! Children in the engine: what a submission under a lease carves from its parent, what comes back, and that no limit is
//! escaped by starting afresh.

#[path = "support/engine.rs"]
mod support;

use std::{collections::BTreeMap, sync::Arc};

use bailiwick::{
    engine::{
        command::{Command, Effect, HumanAnswer, Rejection, Reply},
        event::Event,
        family::{Birth, ChildReport, Used},
        task::Task,
    },
    types::{
        contract::{BudgetDraft, ContractDraft, EscalationDraft, LimitsDraft},
        envelope::Envelope,
        extension::Extension,
        ids::{Lease, TaskId},
        limits::Ceilings,
        outcome::{Cause, TaskState},
        time::Span,
        usage::Usage,
    },
};
use support::{Bench, draft, failed, hand_off, name, success, usage};

/// A child's contract that leaves open whatever may be left open.
fn open_draft() -> ContractDraft {
    ContractDraft { budget: None, limits: None, ..draft() }
}

fn with_tokens(tokens: i64) -> ContractDraft {
    let budget = Some(BudgetDraft { max_tokens: tokens, ..BudgetDraft::default() });
    ContractDraft { budget, ..open_draft() }
}

fn with_limits(limits: LimitsDraft) -> ContractDraft {
    ContractDraft { limits: Some(limits), ..with_tokens(10_000) }
}

/// A parent's draft with these limits.
fn parent(limits: impl FnOnce(&mut LimitsDraft)) -> ContractDraft {
    let mut draft = draft();
    limits(draft.limits.as_mut().expect("limits"));
    draft
}

fn id(name: &str) -> TaskId {
    TaskId::from_key(name, 1)
}

fn start(bench: &mut Bench, lease: Lease, child: &str, draft: ContractDraft) -> Result<Reply, Rejection> {
    let ceilings = Box::new(Ceilings { dearest_nano_usd_per_token: Some(1), ..Ceilings::default() });
    let fingerprint = 1;
    bench.send(Command::StartChild { lease, child: id(child), draft: Arc::new(draft), ceilings, fingerprint })
}

fn started(bench: &mut Bench, lease: Lease, child: &str, draft: ContractDraft) -> Birth {
    match start(bench, lease, child, draft) {
        Ok(Reply::ChildStarted { number, existing: false }) => {
            bench.task.birth(number).expect("the child is open")
        }
        other => panic!("{other:?}"),
    }
}

fn used(tokens: u64) -> Used {
    Used { usage: usage(tokens), hops: 1, turns: 2, ..Used::default() }
}

fn report(bench: &mut Bench, number: u32, child: &str, used: Used) {
    let state = Some(TaskState::Succeeded);
    let report = ChildReport { number, child: id(child), state, used };
    assert_eq!(bench.send(Command::HearChild(Box::new(report))), Ok(Reply::Done));
}

/// Fields that were refused, with what was said.
fn faults(reply: Result<Reply, Rejection>) -> BTreeMap<String, String> {
    match reply {
        Err(Rejection::ChildContract(faults)) => {
            faults.into_iter().map(|f| (f.field, f.description)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_child_leaves_open_is_a_quarter_of_what_its_parent_has_left() {
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    // 100,000 less the reserve of 10,000 less the attempt's own 22,500.
    let birth = started(&mut bench, lease, "c", open_draft());
    let contract = &birth.contract;
    assert_eq!(contract.budget.max_tokens, 67_500 / 4);
    assert_eq!((contract.limits.max_hops, contract.limits.max_turns), (3, 13));
    assert_eq!(contract.limits.deadline, Span::from_secs(540), "until the parent's work must stop");
    assert_eq!((contract.limits.max_depth, contract.limits.max_children), (2, 8));
    assert_eq!(contract.escalation.max_escalations, 1);
    assert_eq!((birth.parent.task, birth.parent.depth, birth.parent.turn), (bench.task.id(), 1, 1));
    let view = bench.task.view();
    assert_eq!(view.summary.ledger.children_reserved, 16_875);
    assert_eq!(view.summary.ledger.reserved, 22_500 + 16_875);
    assert_eq!((view.children[0].open, view.children[0].tokens), (true, 16_875));
    bench.check_replay();
}

#[test]
fn what_a_child_did_not_use_is_free_again_and_what_it_used_is_its_parents() {
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    started(&mut bench, lease, "c", with_tokens(40_000));
    report(&mut bench, 1, "c", used(1_000));
    let summary = bench.task.summary();
    assert_eq!((summary.ledger.spent, summary.ledger.reserved), (1_000, 22_500));
    assert_eq!((summary.ledger.children, summary.ledger.children_reserved), (1_000, 0));
    assert_eq!((summary.counters.hops, summary.counters.turns, summary.counters.children), (1, 3, 1));
    let events = bench.records.len();
    report(&mut bench, 1, "c", used(1_000));
    assert_eq!(bench.records.len(), events, "told again is no news");
    bench.answer(lease, success("{}", 500));
    assert_eq!(bench.task.summary().ledger.spent, 1_500);
    bench.check_replay();
}

#[test]
fn a_name_under_a_lease_is_one_child() {
    let mut bench = Bench::new(&parent(|limits| limits.max_children = 1));
    let lease = bench.next().lease;
    started(&mut bench, lease, "c", open_draft());
    let again = start(&mut bench, lease, "c", open_draft());
    assert_eq!(
        again,
        Ok(Reply::ChildStarted { number: 1, existing: true }),
        "the cap does not count it twice"
    );
    let draft = Arc::new(open_draft());
    let ceilings = Box::new(Ceilings::default());
    let other = Command::StartChild { lease, child: id("c"), draft, ceilings, fingerprint: 2 };
    assert_eq!(bench.send(other), Err(Rejection::ChildKeyTaken(id("c"), Vec::new())));
    let second = start(&mut bench, lease, "d", open_draft());
    assert_eq!(second, Err(Rejection::ChildrenExceeded { max: 1 }));
    report(&mut bench, 1, "c", used(10));
    let second = start(&mut bench, lease, "d", open_draft());
    assert_eq!(second, Err(Rejection::ChildrenExceeded { max: 1 }), "counted over the life of the task");
}

#[test]
fn no_lease_that_is_not_live_has_children() {
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    let unknown = Lease { secret: lease.secret + 1, ..lease };
    assert_eq!(start(&mut bench, unknown, "c", open_draft()), Err(Rejection::LeaseUnknown));
    bench.answer(lease, failed("no idea", 10));
    assert!(matches!(start(&mut bench, lease, "c", open_draft()), Err(Rejection::LeaseNotLive(_))));
    let decide = bench.next().lease;
    assert_eq!(start(&mut bench, decide, "c", open_draft()), Err(Rejection::ChildNotAllowed));
    bench.check_replay();
}

#[test]
fn more_tokens_than_are_left_are_refused_with_what_is() {
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    let refused = start(&mut bench, lease, "c", with_tokens(67_501));
    assert_eq!(refused, Err(Rejection::BudgetTooSmall { asked: 67_501, left: 67_500 }));
    started(&mut bench, lease, "c", with_tokens(67_000));
    let refused = start(&mut bench, lease, "d", open_draft());
    assert_eq!(refused, Err(Rejection::BudgetTooSmall { asked: 1_000, left: 500 }));
    bench.check_replay();
}

#[test]
fn more_of_anything_else_than_the_parent_has_is_named_field_by_field() {
    let mut bench = Bench::new(&parent(|limits| {
        limits.max_hops = Some(2);
        limits.max_turns = 5;
        limits.max_rounds = 2;
    }));
    let lease = bench.next().lease;
    let greedy = ContractDraft {
        priority: 3,
        escalation: EscalationDraft { max_escalations: Some(4), ..EscalationDraft::default() },
        ..with_limits(LimitsDraft {
            deadline: Some(541_000_000),
            max_hops: Some(3),
            max_turns: 5,
            max_rounds: 3,
            max_depth: Some(3),
            ..LimitsDraft::default()
        })
    };
    let faults = faults(start(&mut bench, lease, "c", greedy));
    let fields: Vec<_> = faults.keys().map(String::as_str).collect();
    let expected = [
        "escalation.max_escalations",
        "limits.deadline",
        "limits.max_depth",
        "limits.max_hops",
        "limits.max_rounds",
        "limits.max_turns",
        "priority",
    ];
    assert_eq!(fields, expected);
    assert!(faults["limits.max_turns"].contains("1 to 4, which is what the parent has left"), "{faults:?}");
    assert_eq!(bench.task.summary().counters.children, 0);
}

#[test]
fn over_a_tree_there_are_no_more_hops_than_the_root_may_have() {
    let mut bench = Bench::new(&parent(|limits| limits.max_hops = Some(3)));
    let first = bench.next();
    let limits = LimitsDraft { max_hops: Some(2), ..LimitsDraft::default() };
    started(&mut bench, first.lease, "c", with_limits(limits));
    bench.answer(first.lease, hand_off("alpha"));
    let second = bench.next();
    assert_eq!(second.hops_left, 0, "one is used and two are the child's");
    bench.answer(second.lease, hand_off("beta"));
    assert_eq!(bench.next().trips[0].cause, Cause::Hops);
    bench.check_replay();
}

#[test]
fn hops_that_a_child_did_not_make_are_its_parents_again() {
    let mut bench = Bench::new(&parent(|limits| limits.max_hops = Some(3)));
    let first = bench.next();
    let limits = LimitsDraft { max_hops: Some(3), ..LimitsDraft::default() };
    started(&mut bench, first.lease, "c", with_limits(limits));
    report(&mut bench, 1, "c", used(10));
    bench.answer(first.lease, hand_off("alpha"));
    let second = bench.next();
    assert_eq!(second.hops_left, 1);
    bench.answer(second.lease, hand_off("beta"));
    assert_eq!(bench.task.summary().counters.hops, 3);
    bench.check_replay();
}

#[test]
fn the_fourth_level_is_refused() {
    let mut draft = draft();
    let mut parent: Option<Birth> = None;
    for depth in 0..=3_u32 {
        let mut bench = match parent.take() {
            None => Bench::new(&draft),
            Some(birth) => Bench::of(birth),
        };
        let lease = bench.next().lease;
        if depth == 3 {
            let refused = start(&mut bench, lease, "deep", open_draft());
            assert_eq!(refused, Err(Rejection::DepthExceeded { depth: 3 }));
            return;
        }
        draft.idempotency_key = format!("level {depth}");
        let birth = started(&mut bench, lease, &draft.idempotency_key, open_draft());
        assert_eq!(birth.parent.depth, depth + 1);
        parent = Some(birth);
    }
}

#[test]
fn who_wants_no_children_has_none() {
    let mut bench = Bench::new(&parent(|limits| limits.max_depth = Some(0)));
    let lease = bench.next().lease;
    let refused = start(&mut bench, lease, "c", open_draft());
    assert_eq!(refused, Err(Rejection::DepthExceeded { depth: 0 }));
}

#[test]
fn an_agents_own_cap_holds_in_children_too() {
    let mut draft = draft();
    let caps = BTreeMap::from([("alpha".to_owned(), 5_000)]);
    draft.budget.as_mut().expect("a budget").max_tokens_by_agent = caps;
    let mut bench = Bench::new(&draft);
    let lease = bench.next().lease;
    let budget = BudgetDraft {
        max_tokens: 10_000,
        max_tokens_by_agent: BTreeMap::from([("alpha".to_owned(), 6_000)]),
        ..BudgetDraft::default()
    };
    let greedy = ContractDraft { budget: Some(budget), ..open_draft() };
    let faults = faults(start(&mut bench, lease, "c", greedy));
    assert!(faults["budget.max_tokens_by_agent.alpha"].contains("5000"), "{faults:?}");
    let birth = started(&mut bench, lease, "c", with_tokens(10_000));
    assert_eq!(birth.contract.budget.max_tokens_by_agent[&name("alpha")], 5_000);
    let second = started(&mut bench, lease, "d", with_tokens(10_000));
    assert_eq!(second.contract.budget.max_tokens_by_agent[&name("alpha")], 0, "all of it is the first one's");
    let by_agent = BTreeMap::from([(name("alpha"), 4_000)]);
    report(&mut bench, 1, "c", Used { by_agent, ..used(4_000) });
    bench.answer(lease, hand_off("alpha"));
    assert_eq!(bench.next().allowance, 1_000);
    bench.check_replay();
}

#[test]
fn money_of_a_child_is_its_parents() {
    let mut draft = draft();
    draft.budget.as_mut().expect("a budget").max_cost_nano_usd = 100_000;
    let mut bench = Bench::new(&draft);
    let lease = bench.next().lease;
    let birth = started(&mut bench, lease, "c", with_tokens(40_000));
    assert_eq!(birth.contract.budget.max_cost_nano_usd, Some(67_500), "whatever its contract says");
    let dear = Usage { cost_nano_usd: 100_001, ..usage(10) };
    report(&mut bench, 1, "c", Used { usage: dear, ..used(0) });
    assert_eq!(bench.next().trips[0].cause, Cause::Budget);
    bench.check_replay();
}

#[test]
fn what_a_child_spent_beyond_everything_is_overrun_and_trips_the_guard() {
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    started(&mut bench, lease, "c", with_tokens(10_000));
    report(&mut bench, 1, "c", used(200_000));
    assert_eq!(bench.state(), TaskState::OwnerDecides);
    assert_eq!(bench.next().trips[0].cause, Cause::Budget);
    let ledger = bench.task.summary().ledger;
    assert_eq!((ledger.spent, ledger.overrun), (67_500, 132_500));
    bench.check_replay();
}

#[test]
fn a_child_that_is_stopped_holds_its_share_until_it_is_heard_of() {
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    started(&mut bench, lease, "c", with_tokens(40_000));
    bench.send(Command::Cancel { reason: "enough".to_owned() }).expect("never refused");
    assert!(bench.effects.contains(&Effect::CancelChild { number: 1 }));
    assert_eq!(bench.task.stopped_child(1), Some((id("c"), "enough".to_owned())));
    let ledger = bench.task.summary().ledger;
    assert_eq!((ledger.reserved, ledger.unheard), (62_500, 62_500));
    assert!(bench.task.summary().unsettled);
    let unheard = Used { unheard: 700, ..used(1_000) };
    report(&mut bench, 1, "c", unheard);
    let ledger = bench.task.summary().ledger;
    assert_eq!((ledger.spent, ledger.children_reserved), (1_000, 700), "what is below it stays charged");
    assert!(!bench.task.summary().unsettled);
    report(&mut bench, 1, "c", used(1_400));
    let ledger = bench.task.summary().ledger;
    assert_eq!((ledger.spent, ledger.children_reserved, ledger.unheard), (1_400, 0, 22_500));
    assert_eq!(bench.story().last(), Some(&"late_usage"));
    bench.check_replay();
}

#[test]
fn a_child_that_could_not_be_made_costs_nothing() {
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    started(&mut bench, lease, "c", with_tokens(40_000));
    bench.lose(lease);
    let never = ChildReport { number: 1, child: id("c"), state: None, used: Used::default() };
    bench.send(Command::HearChild(Box::new(never))).expect("never refused");
    let summary = bench.task.summary();
    assert_eq!((summary.ledger.children_reserved, summary.ledger.spent, summary.counters.hops), (0, 0, 0));
    assert_eq!(bench.task.view().children[0].state, None);
    bench.check_replay();
}

#[test]
fn the_children_of_an_attempt_that_is_lost_are_stopped_and_the_retry_waits_for_their_accounts() {
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    started(&mut bench, lease, "c", with_tokens(67_500));
    bench.lose(lease);
    assert!(bench.effects.contains(&Effect::CancelChild { number: 1 }));
    assert!(!bench.task.is_ended(), "nothing is free now, and will be when the child is heard of");
    bench.pass(Span::from_millis(999));
    assert!(bench.ready().is_empty());
    report(&mut bench, 1, "c", used(0));
    bench.pass(Span::from_millis(1));
    bench.turn(success("{}", 10));
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed");
    bench.check_replay();
}

#[test]
fn an_answered_attempt_leaves_its_children_running_until_its_task_ends() {
    let mut bench = Bench::new(&draft());
    let first = bench.next();
    started(&mut bench, first.lease, "c", with_tokens(10_000));
    bench.answer(first.lease, hand_off("alpha"));
    assert!(bench.task.view().children[0].open);
    bench.turn(success("{}", 10));
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed");
    assert!(!bench.task.view().children[0].open, "a child never outlives its parent");
    let stopped = bench.story().iter().rposition(|kind| *kind == "child_ended");
    assert!(stopped < bench.story().iter().rposition(|kind| *kind == "ended"));
    bench.check_replay();
}

#[test]
fn a_trip_stops_the_children_before_the_owner_decides() {
    let mut bench = Bench::new(&draft());
    let first = bench.next();
    started(&mut bench, first.lease, "c", with_tokens(10_000));
    bench.answer(first.lease, failed("no idea", 10));
    assert_eq!(bench.state(), TaskState::OwnerDecides);
    assert!(bench.effects.contains(&Effect::CancelChild { number: 1 }));
    bench.turn(Envelope { usage: None, ..success("{}", 1) });
    bench.check_replay();
}

#[test]
fn the_clock_goes_on_while_a_child_runs_though_a_person_is_asked() {
    let mut bench = Bench::new(&draft());
    let first = bench.next();
    started(&mut bench, first.lease, "c", with_tokens(10_000));
    bench.answer(first.lease, support::ask("may I?"));
    assert_eq!(bench.state(), TaskState::Running);
    bench.pass(Span::from_secs(100));
    report(&mut bench, 1, "c", used(10));
    assert_eq!(bench.state(), TaskState::AwaitingHuman);
    let deadline = bench.task.view().deadline;
    bench.pass(Span::from_secs(10));
    bench.human(1, HumanAnswer::Approve).expect("it is open");
    assert_eq!(bench.task.view().deadline, deadline.plus(Span::from_secs(10)), "only the last ten seconds");
    bench.check_replay();
}

#[test]
fn a_child_tells_its_parent_when_it_ends_and_whatever_is_asked_of_it_after_that() {
    let mut parent = Bench::new(&draft());
    let lease = parent.next().lease;
    let birth = started(&mut parent, lease, "c", with_tokens(10_000));
    let mut child = Bench::of(birth);
    let turn = child.next();
    child.answer(turn.lease, success("{}", 120));
    assert_eq!(child.effects.last(), Some(&Effect::TellParent));
    let (to, report) = child.task.report().expect("it has a parent and has ended");
    assert_eq!((to, report.number, report.used.usage.tokens()), (parent.task.id(), 1, 120));
    parent.send(Command::HearChild(Box::new(report))).expect("never refused");
    assert_eq!(parent.task.view().children[0].spent, 120);
    child.send(Command::Usage { lease: turn.lease, usage: usage(150), priced: true }).expect("never refused");
    assert_eq!(child.effects.last(), Some(&Effect::TellParent));
    let (_, report) = child.task.report().expect("still");
    parent.send(Command::HearChild(Box::new(report))).expect("never refused");
    assert_eq!(parent.task.view().children[0].spent, 150);
    parent.check_replay();
    child.check_replay();
}

#[test]
fn a_person_cannot_give_a_child_what_its_parent_has_not() {
    let mut parent = Bench::new(&draft());
    let lease = parent.next().lease;
    let birth = started(&mut parent, lease, "c", with_tokens(10_000));
    let mut child = Bench::of(birth);
    child.turn(support::ask("more?"));
    let more = |by| HumanAnswer::Extend { by, ceilings: Box::default() };
    let refused = child.human(1, more(Extension { tokens: 5, hops: 1, turns: 1, ..Extension::default() }));
    let Err(Rejection::ExtensionRefused(faults)) = refused else { panic!("{refused:?}") };
    let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["extend.tokens", "extend.hops", "extend.turns"]);
    child.human(1, more(Extension { rounds: 1, ..Extension::default() })).expect("that is its own");
    child.check_replay();
}

#[test]
fn what_is_owed_to_a_family_is_known_from_the_journal() {
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    started(&mut bench, lease, "c", with_tokens(10_000));
    assert_eq!(bench.task.outstanding().family, [Effect::StartChild { number: 1 }]);
    bench.lose(lease);
    assert_eq!(bench.task.outstanding().family, [Effect::CancelChild { number: 1 }]);
    report(&mut bench, 1, "c", used(10));
    assert_eq!(bench.task.outstanding().family, []);
}

#[test]
fn a_journal_from_before_there_were_children_replays() {
    let bench = Bench::new(&draft());
    let mut records = bench.records.clone();
    let mut text = serde_json::to_value(&records[0].event).expect("an event encodes");
    let limits = text["submitted"]["contract"]["limits"].as_object_mut().expect("limits");
    assert!(limits.remove("max_children").is_some() && limits.remove("max_depth").is_some());
    records[0].event = serde_json::from_value::<Event>(text).expect("an old event decodes");
    let task = Task::replay(bench.task.id(), records).expect("an old journal replays");
    assert_eq!(task.contract().limits.max_depth, 0, "and has no children");
}
