//! The cases that every store passes.

use std::num::NonZeroU16;

use bailiwick::{
    store::{
        Store, StoreError, fixed_shards,
        record::{Append, PageAfter, ParkedNote, SummaryRow, TaskFilter},
    },
    types::{
        ids::{EscalationId, TaskId},
        outcome::{Cause, EndedBy, TaskState},
        time::Timestamp,
    },
};

use crate::rows::{agent, agent_row, append, escalation, event, first, labels, open_ids, summary, task};

pub(crate) fn events_are_read_as_written_and_without_gaps(store: &dyn Store) {
    store.commit(&[append(1, 0, 3)]).expect("new");
    store.commit(&[append(2, 0, 1), append(1, 3, 2)]).expect("more");
    let all: Vec<_> = (1..=5).map(event).collect();
    assert_eq!(store.events(task(1), 0, 100), Ok(all.clone()));
    assert_eq!(store.events(task(1), 2, 2), Ok(all[2..4].to_vec()));
    assert_eq!(store.events(task(1), 5, 100), Ok(Vec::new()));
    assert_eq!(store.events(task(1), u64::MAX, usize::MAX), Ok(Vec::new()));
    assert_eq!(store.events(task(1), 0, 0), Ok(Vec::new()));
}

pub(crate) fn a_conflict_keeps_nothing_of_the_commit(store: &dyn Store) {
    store.commit(&[append(1, 0, 2)]).expect("new");
    let mut with_question = append(3, 0, 1);
    with_question.escalations.push(escalation(3, 1, "OPEN", 5));
    for (expected, found) in [(0, 2), (1, 2), (3, 2)] {
        let refused = store.commit(&[with_question.clone(), append(1, expected, 1), append(4, 0, 1)]);
        assert_eq!(refused, Err(StoreError::Conflict { task: task(1), expected, found }));
    }
    let of_nothing = store.commit(&[append(9, 4, 1)]);
    assert_eq!(of_nothing, Err(StoreError::Conflict { task: task(9), expected: 4, found: 0 }));
    for untouched in [task(3), task(4), task(9)] {
        assert_eq!(store.summary(untouched), Ok(None));
        assert_eq!(store.events(untouched, 0, 10), Ok(Vec::new()));
    }
    assert_eq!(store.escalation(with_question.escalations[0].id), Ok(None));
    assert_eq!(store.log(0, 10).expect("a read").len(), 2);
    assert_eq!(store.summary(task(1)), Ok(Some(summary(1, 2))));
    assert_eq!(listed(store, &TaskFilter { agent: Some(agent("helper")), ..TaskFilter::default() }), [1]);
}

pub(crate) fn one_commit_can_add_to_a_task_twice(store: &dyn Store) {
    assert_eq!(store.commit(&[append(1, 0, 2), append(1, 2, 1)]), Ok(3));
    assert_eq!(store.events(task(1), 0, 10).expect("a read").len(), 3);
    let refused = store.commit(&[append(1, 3, 1), append(1, 3, 1)]);
    assert_eq!(refused, Err(StoreError::Conflict { task: task(1), expected: 3, found: 4 }));
    assert_eq!(store.summary(task(1)), Ok(Some(summary(1, 3))));
}

pub(crate) fn appends_that_make_no_sense_are_refused_whole(store: &dyn Store) {
    let good = append(1, 0, 2);
    let with = |change: fn(&mut bailiwick::store::record::Append)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad
    };
    let bad = [
        with(|append| append.events.clear()),
        with(|append| append.events[1].seq = 3),
        with(|append| append.summary.seq = 1),
        with(|append| append.summary.task = task(2)),
        with(|append| append.escalations.push(escalation(2, 1, "OPEN", 1))),
        with(|append| append.summary.labels = labels(&[("b", "1"), ("a", "1")])),
        with(|append| append.summary.labels = labels(&[("a", "1"), ("a", "2")])),
        with(|append| append.events[0].at = Timestamp(u64::MAX)),
        with(|append| append.summary.created_at = Timestamp(u64::MAX)),
        with(|append| append.expected_seq = u64::MAX),
    ];
    for bad in bad {
        let refused = store.commit(&[append(5, 0, 1), bad.clone()]);
        assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{bad:?}: {refused:?}");
    }
    assert_eq!(store.log(0, 10), Ok(Vec::new()));
    assert_eq!(store.log_end(), Ok(0));
}

pub(crate) fn the_log_has_the_order_of_the_commits(store: &dyn Store) {
    let ends = [
        store.commit(&[append(1, 0, 2), append(2, 0, 1)]).expect("a commit"),
        store.commit(&[append(2, 1, 1)]).expect("a commit"),
        store.commit(&[append(1, 2, 1)]).expect("a commit"),
    ];
    assert!(ends.is_sorted_by(|a, b| a < b));
    let log = store.log(0, 100).expect("a read");
    let places: Vec<_> = log.iter().map(|entry| (entry.task, entry.event.clone())).collect();
    let expected = [(1, 1), (1, 2), (2, 1), (2, 2), (1, 3)].map(|(n, seq)| (task(n), event(seq)));
    assert_eq!(places, expected);
    assert!(log.is_sorted_by(|a, b| a.position < b.position));
    assert_eq!(log.last().map(|entry| entry.position), Some(ends[2]));
    assert_eq!(store.log(ends[0], 1), Ok(log[3..4].to_vec()), "after a position, at most the limit");
    assert_eq!(store.log(ends[2], 10), Ok(Vec::new()));
    assert_eq!(store.log_end(), Ok(ends[2]));
    assert_eq!(store.log(u64::MAX, 10), Ok(Vec::new()));
}

pub(crate) fn an_empty_commit_says_where_the_log_ends(store: &dyn Store) {
    assert_eq!(store.commit(&[]), Ok(0));
    let end = store.commit(&[append(1, 0, 2)]).expect("a commit");
    assert_eq!(store.commit(&[]), Ok(end));
}

pub(crate) fn summaries_are_replaced_whole(store: &dyn Store) {
    store.commit(&[append(1, 0, 1)]).expect("new");
    let mut end = append(1, 1, 1);
    end.summary = SummaryRow {
        state: TaskState::Partial,
        ended_by: Some(EndedBy::Fallback),
        cause: Some(Cause::EscalationExpired),
        owner: agent("other"),
        agents: [agent("zed"), agent("alpha")].into(),
        labels: labels(&[("a", "1"), ("b", "")]),
        created_at: Timestamp(77),
        ..end.summary
    };
    store.commit(std::slice::from_ref(&end)).expect("changed");
    assert_eq!(store.summary(task(1)), Ok(Some(end.summary.clone())));
    assert_eq!(store.list(&TaskFilter::default(), None, 10), Ok(vec![end.summary]));
}

/// The numbers of the tasks that fit, as listed.
fn listed(store: &dyn Store, filter: &TaskFilter) -> Vec<u128> {
    let rows = store.list(filter, None, 100).expect("a list");
    rows.iter().map(|row| row.task.uuid().as_u128()).collect()
}

/// Five tasks, one second apart, newest is 5.
fn five_tasks(store: &dyn Store) {
    let end = |row: &mut SummaryRow, state, cause| {
        row.state = state;
        row.cause = Some(cause);
        row.ended_by = Some(EndedBy::Owner);
    };
    let appends = [
        first(1, |row| end(row, TaskState::Failed, Cause::Budget)),
        first(2, |row| {
            end(row, TaskState::Partial, Cause::Hops);
            row.labels = labels(&[("env", "test"), ("team", "a")]);
        }),
        first(3, |row| row.agents = [agent("critic")].into()),
        first(4, |row| {
            row.state = TaskState::Queued;
            row.owner = agent("critic");
            row.agents = [].into();
            row.labels = labels(&[("env", "prod"), ("team", "a")]);
        }),
        first(5, |row| {
            end(row, TaskState::Failed, Cause::Hops);
            row.labels.clear();
        }),
    ];
    store.commit(&appends).expect("five");
}

pub(crate) fn each_filter_fits_what_it_says(store: &dyn Store) {
    five_tasks(store);
    let any = TaskFilter::default;
    assert_eq!(listed(store, &any()), [5, 4, 3, 2, 1]);
    let states = |states: &[TaskState]| TaskFilter { states: states.to_vec(), ..any() };
    assert_eq!(listed(store, &states(&[TaskState::Failed])), [5, 1]);
    assert_eq!(listed(store, &states(&[TaskState::Queued, TaskState::Failed, TaskState::Failed])), [5, 4, 1]);
    assert_eq!(listed(store, &states(&[TaskState::Running, TaskState::Queued])), [4, 3]);
    assert_eq!(listed(store, &states(&[TaskState::Cancelled])), []);
    let causes = |causes: &[Cause]| TaskFilter { causes: causes.to_vec(), ..any() };
    assert_eq!(listed(store, &causes(&[Cause::Hops])), [5, 2]);
    assert_eq!(listed(store, &causes(&[Cause::Budget, Cause::Hops])), [5, 2, 1]);
    let of = |name| TaskFilter { agent: Some(agent(name)), ..any() };
    assert_eq!(listed(store, &of("critic")), [4, 3], "as owner or with a turn");
    assert_eq!(listed(store, &of("owner")), [5, 3, 2, 1]);
    assert_eq!(listed(store, &of("nobody")), []);
    let with = |pairs| TaskFilter { labels: labels(pairs), ..any() };
    assert_eq!(listed(store, &with(&[("env", "prod")])), [4, 3, 1]);
    assert_eq!(listed(store, &with(&[("team", "a"), ("env", "prod")])), [4]);
    assert_eq!(listed(store, &with(&[("env", "pro")])), []);
    let since = |at| TaskFilter { since: Some(Timestamp(at)), ..any() };
    assert_eq!(listed(store, &since(4)), [5, 4]);
    assert_eq!(listed(store, &since(6)), []);
}

pub(crate) fn filters_combine(store: &dyn Store) {
    five_tasks(store);
    let filter = TaskFilter {
        states: vec![TaskState::Failed, TaskState::Partial],
        causes: vec![Cause::Hops],
        agent: Some(agent("helper")),
        labels: labels(&[("env", "test")]),
        since: Some(Timestamp(2)),
        parent: None,
        namespace: None,
    };
    assert_eq!(listed(store, &filter), [2]);
    let none_of: [fn(&mut TaskFilter); 5] = [
        |filter| filter.states = vec![TaskState::Failed],
        |filter| filter.causes = vec![Cause::Budget],
        |filter| filter.agent = Some(agent("critic")),
        |filter| filter.labels.push(("team".to_owned(), "b".to_owned())),
        |filter| filter.since = Some(Timestamp(3)),
    ];
    for change in none_of {
        let mut narrower = filter.clone();
        change(&mut narrower);
        assert_eq!(listed(store, &narrower), [], "{narrower:?}");
    }
}

pub(crate) fn a_changed_task_is_found_by_what_it_is_now(store: &dyn Store) {
    store.commit(&[append(1, 0, 1)]).expect("new");
    let mut changed = append(1, 1, 1);
    changed.summary.agents = changed.summary.agents.iter().cloned().chain([agent("critic")]).collect();
    changed.summary.labels = labels(&[("env", "test")]);
    changed.summary.state = TaskState::AwaitingHuman;
    store.commit(&[changed]).expect("changed");
    let any = TaskFilter::default;
    let found = |filter: TaskFilter| listed(store, &filter) == [1];
    assert!(found(TaskFilter { agent: Some(agent("critic")), ..any() }));
    assert!(found(TaskFilter { agent: Some(agent("helper")), ..any() }));
    assert!(found(TaskFilter { labels: labels(&[("env", "test")]), ..any() }));
    assert!(found(TaskFilter { states: vec![TaskState::AwaitingHuman], ..any() }));
    assert!(!found(TaskFilter { labels: labels(&[("env", "prod")]), ..any() }));
    assert!(!found(TaskFilter { states: vec![TaskState::Running], ..any() }));
    // And back: what it no longer has no longer finds it.
    store.commit(&[append(1, 2, 1)]).expect("changed back");
    assert!(!found(TaskFilter { agent: Some(agent("critic")), ..any() }));
    assert!(found(TaskFilter { labels: labels(&[("env", "prod")]), ..any() }));
}

pub(crate) fn pages_neither_skip_nor_repeat_at_equal_times(store: &dyn Store) {
    let same_time = |n: u128| first(n, |row| row.created_at = Timestamp(u64::from(n > 6)));
    store.commit(&(1..=10).map(same_time).collect::<Vec<_>>()).expect("ten");
    let filters = [
        TaskFilter::default(),
        TaskFilter { states: TaskState::ALL.to_vec(), ..TaskFilter::default() },
        TaskFilter { agent: Some(agent("owner")), ..TaskFilter::default() },
        TaskFilter { labels: labels(&[("env", "prod")]), ..TaskFilter::default() },
    ];
    for (newer, filter) in (100..).zip(filters) {
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = store.list(&filter, after, 3).expect("a page");
            let Some(last) = page.last() else { break };
            after = Some(PageAfter { created_at: last.created_at, task: last.task });
            seen.extend(page.iter().map(|row| row.task.uuid().as_u128()));
            if seen.len() == 3 {
                // A newer task does not disturb pages that are on their way.
                store.commit(&[append(newer, 0, 1)]).expect("newer");
            }
        }
        assert_eq!(
            seen.iter().filter(|n| **n <= 10).copied().collect::<Vec<_>>(),
            [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
        );
    }
}

pub(crate) fn open_tasks_come_oldest_first_until_they_end(store: &dyn Store) {
    let states = TaskState::ALL;
    // Numbered against their age, so that the order is seen to be that of age.
    let in_state = |(i, state): (u64, TaskState)| {
        first(u128::from(100 - i), |row| {
            row.state = state;
            row.created_at = Timestamp(i);
        })
    };
    store.commit(&(0..).zip(states).map(in_state).collect::<Vec<_>>()).expect("one of each");
    let open: [TaskId; 4] = [task(100), task(99), task(98), task(97)];
    assert_eq!(open_ids(store), open);
    assert_eq!(store.open_count(), Ok(4));
    let mut end = append(99, 1, 1);
    end.summary.state = TaskState::Cancelled;
    store.commit(&[end]).expect("ended");
    assert_eq!(open_ids(store), [open[0], open[2], open[3]]);
    assert_eq!(store.open_count(), Ok(3));
}

pub(crate) fn notes_are_kept_where_nothing_has_happened_since(store: &dyn Store) {
    let at = |n: u128, seq: u64| ParkedNote { task: task(n), seq, parked: format!("noted at {seq}") };
    store.commit(&[append(1, 0, 1), append(2, 0, 2)]).expect("two tasks");
    let parked =
        |n: u128| store.summary(task(n)).expect("a read").expect("a row").parked.map(|text| text.to_string());
    assert_eq!((parked(1), parked(2)), (None, Some(r#"{"at":2}"#.to_owned())), "as they came");
    store.note_parked(&[at(1, 1), at(2, 1), at(3, 1)]).expect("noted, one of an older event, one of no task");
    let noted = Some("noted at 1".to_owned());
    assert_eq!((parked(1), parked(2)), (noted.clone(), Some(r#"{"at":2}"#.to_owned())));
    let open = store.open_tasks(None, 10).expect("a page");
    assert_eq!(open.into_iter().map(|open| open.parked).next(), Some(noted));
    store.commit(&[append(1, 1, 2)]).expect("it moves on");
    assert_eq!(parked(1), None, "what was noted is void");
}

pub(crate) fn escalations_are_found_by_state_task_and_place(store: &dyn Store) {
    let rows = [
        escalation(1, 1, "OPEN", 10),
        escalation(1, 2, "APPROVED", 20),
        escalation(2, 1, "OPEN", 20),
        escalation(2, 11, "EXPIRED", 20),
        escalation(3, 1, "OPEN", 5),
    ];
    for n in 1..=3 {
        let mut append = append(n, 0, 1);
        append.escalations = rows.iter().filter(|row| row.id.task == task(n)).cloned().collect();
        store.commit(&[append]).expect("asked");
    }
    let found = |states: &[&str], of: Option<u128>, after, limit| {
        let states: Vec<_> = states.iter().map(|state| (*state).to_owned()).collect();
        store.escalations(&states, of.map(task), after, limit).expect("a list")
    };
    let [a, b, c, d, e] = rows.clone();
    let oldest_first = [&e, &a, &b, &c, &d].map(Clone::clone);
    assert_eq!(found(&[], None, None, 100), oldest_first);
    for n in 0..5 {
        let after = Some((oldest_first[n].asked_at, oldest_first[n].id));
        assert_eq!(found(&[], None, after, 100), oldest_first[n + 1..], "equal times are no hole in a page");
    }
    assert_eq!(found(&[], None, None, 2), oldest_first[..2]);
    assert_eq!(found(&["OPEN"], None, None, 100), [e.clone(), a.clone(), c.clone()]);
    assert_eq!(found(&["APPROVED", "EXPIRED"], None, None, 100), [b.clone(), d.clone()]);
    assert_eq!(found(&[], Some(2), None, 100), [c.clone(), d.clone()]);
    assert_eq!(found(&["OPEN"], Some(2), None, 100), std::slice::from_ref(&c));
    assert_eq!(store.escalation(a.id), Ok(Some(a.clone())));
    let mut answered = append(1, 1, 1);
    answered.escalations = vec![escalation(1, 1, "ABORTED", 10)];
    store.commit(&[answered]).expect("answered");
    assert_eq!(found(&["OPEN"], None, None, 100), [e, c]);
    assert_eq!(store.escalation(a.id), Ok(Some(escalation(1, 1, "ABORTED", 10))));
}

pub(crate) fn agents_keep_when_they_were_first_seen(store: &dyn Store) {
    store.upsert_agents(&[agent_row("writer", 5, 5), agent_row("critic", 6, 6)]).expect("two");
    store.upsert_agents(&[agent_row("writer", 9, 9)]).expect("again");
    store.upsert_agents(&[]).expect("none");
    let seen_again =
        bailiwick::store::record::AgentRow { first_seen: Timestamp(5), ..agent_row("writer", 9, 9) };
    assert_eq!(store.agents(), Ok(vec![agent_row("critic", 6, 6), seen_again]));
    let too_late = store.upsert_agents(&[agent_row("new", 1, 1), agent_row("writer", 9, u64::MAX)]);
    assert!(matches!(too_late, Err(StoreError::Corrupt(_))), "{too_late:?}");
    assert_eq!(store.agents().expect("a read").len(), 2);
}

pub(crate) fn sums_grow_with_their_events_or_not_at_all(store: &dyn Store) {
    let with = |n: u128, seq: u64, sums: &[(&str, u64)]| Append {
        sums: sums.iter().map(|(name, more)| ((*name).to_owned(), *more)).collect(),
        ..append(n, seq, 1)
    };
    let named = |prefix: &str| store.numbers(prefix).expect("read");
    assert_eq!(named("tally."), []);
    store
        .commit(&[with(1, 0, &[("tally.a", 1), ("tally.b", 5)]), with(2, 0, &[("tally.a", 2)])])
        .expect("commit");
    store.set_number("tally", 9).expect("set");
    store.set_number("tallyho", 9).expect("set");
    let expected = [("tally.a".to_owned(), 3), ("tally.b".to_owned(), 5)];
    assert_eq!(named("tally."), expected);
    // A commit that conflicts adds nothing, its sound parts included.
    let conflict = store.commit(&[with(3, 0, &[("tally.a", 7)]), with(1, 9, &[("tally.a", 7)])]);
    assert!(matches!(conflict, Err(StoreError::Conflict { .. })), "{conflict:?}");
    assert_eq!(named("tally."), expected);
    store.commit(&[with(1, 1, &[("tally.a", 1)])]).expect("commit");
    assert_eq!(store.number("tally.a"), Ok(Some(4)));
}

pub(crate) fn numbers_are_kept(store: &dyn Store) {
    assert_eq!(store.number("cursor"), Ok(None));
    store.set_number("cursor", 0).expect("set");
    store.set_number("other", i64::MAX as u64).expect("set");
    assert_eq!(store.number("cursor"), Ok(Some(0)));
    store.set_number("cursor", 17).expect("set again");
    assert_eq!(store.number("cursor"), Ok(Some(17)));
    assert_eq!(store.number("other"), Ok(Some(i64::MAX as u64)));
    assert!(matches!(store.set_number("cursor", u64::MAX), Err(StoreError::Corrupt(_))));
}

pub(crate) fn notes_are_kept_until_they_are_taken_away(store: &dyn Store) {
    let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    assert_eq!(store.texts(""), Ok(Vec::new()));
    for (name, text) in [("halt/2", "{}"), ("halt/1", "{\"a\":\"é\"}"), ("hal_", "1"), ("halu", "2")] {
        store.set_text(name, Some(text)).expect("set");
    }
    assert_eq!(store.texts("halt/"), Ok(vec![pair("halt/1", "{\"a\":\"é\"}"), pair("halt/2", "{}")]));
    store.set_text("halt/2", Some("[]")).expect("set again");
    store.set_text("halt/1", None).expect("taken away");
    store.set_text("halt/9", None).expect("it was not there");
    assert_eq!(store.texts("halt/"), Ok(vec![pair("halt/2", "[]")]));
    assert_eq!(store.texts("").expect("a read").len(), 3);
}

pub(crate) fn the_count_of_shards_is_fixed_by_the_first_start(store: &dyn Store) {
    let count = |n| NonZeroU16::new(n).expect("not zero");
    assert_eq!(fixed_shards(store, count(4)), Ok(count(4)));
    assert_eq!(fixed_shards(store, count(8)), Ok(count(4)));
    store.set_number(bailiwick::store::SHARDS, 70_000).expect("tampered");
    assert!(matches!(fixed_shards(store, count(8)), Err(StoreError::Corrupt(_))));
}

pub(crate) fn unknown_things_are_nothing_not_errors(store: &dyn Store) {
    assert_eq!(store.events(task(1), 0, 10), Ok(Vec::new()));
    assert_eq!(store.summary(task(1)), Ok(None));
    assert_eq!(store.escalation(EscalationId { task: task(1), number: 1 }), Ok(None));
    assert_eq!(store.open_tasks(None, 9), Ok(Vec::new()));
    assert_eq!(store.agents(), Ok(Vec::new()));
    assert_eq!(store.list(&TaskFilter::default(), None, usize::MAX), Ok(Vec::new()));
}

pub(crate) fn any_text_survives(store: &dyn Store) {
    let odd = "quote ' \" \\ \0 \u{7f} \n ☂ 𝄞 %_ ; DROP TABLE events; --";
    let mut append = append(1, 0, 1);
    odd.clone_into(&mut append.events[0].body);
    append.events[0].kind = odd.into();
    append.summary.view = odd.into();
    append.summary.labels = labels(&[(odd, odd)]);
    append.escalations = vec![escalation(1, 1, odd, 1)];
    store.commit(std::slice::from_ref(&append)).expect("odd, but text");
    assert_eq!(store.events(task(1), 0, 1), Ok(append.events));
    assert_eq!(store.summary(task(1)), Ok(Some(append.summary)));
    assert_eq!(listed(store, &TaskFilter { labels: labels(&[(odd, odd)]), ..TaskFilter::default() }), [1]);
    assert_eq!(store.escalations(&[odd.to_owned()], None, None, 9), Ok(append.escalations));
}
