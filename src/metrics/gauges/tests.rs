//! A journal that takes nothing for a while, and a halt, as a page shows them.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    engine::{event::TraceContext, intake},
    metrics::Timed,
    runtime::{HaltOrder, Hands, ManualClock, Runtime, RuntimeOptions, SeededEntropy},
    store::memory::MemoryStore,
    types::{
        contract::{BudgetDraft, Contract, ContractDraft, LimitsDraft, TerminationDraft},
        limits::Ceilings,
        time::{Span, Timestamp},
    },
};

/// After this a test has failed.
const PATIENCE: Duration = Duration::from_secs(30);

fn contract() -> Contract {
    let draft = ContractDraft {
        goal: "count the words".to_owned(),
        first_agent: Some("a".to_owned()),
        owner: "a".to_owned(),
        budget: Some(BudgetDraft { max_tokens: 100_000, ..BudgetDraft::default() }),
        limits: Some(LimitsDraft { deadline: Some(3_600_000_000), ..LimitsDraft::default() }),
        termination: Some(TerminationDraft {
            acceptance: vec!["confidence >= 0.0".to_owned()],
            ..TerminationDraft::default()
        }),
        ..ContractDraft::default()
    };
    intake::complete(&draft, &Ceilings::default(), &|_| true).expect("a complete contract")
}

/// Asks until a page has the line.
async fn until(sources: &Sources, line: &str) {
    let found = async {
        while !page(sources, &Counters::default()).await.expect("it reads").lines().any(|it| it == line) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{line} in vain"));
}

#[tokio::test]
async fn a_page_says_that_the_journal_takes_nothing_and_what_is_halted() {
    let memory = Arc::new(MemoryStore::new());
    let store = Arc::new(Timed::new(Arc::clone(&memory) as _));
    let clock = Arc::new(ManualClock::new(Timestamp(1)));
    let (options, entropy) = (RuntimeOptions::default(), Arc::new(SeededEntropy::new(1)));
    let started = Runtime::start_with(
        Arc::clone(&store) as _,
        options,
        Arc::clone(&clock) as _,
        entropy,
        Hands::default(),
    );
    let (runtime, tasks) = started.await.expect("it starts");
    let (calls, webhooks) = Default::default();
    let sources = Sources { runtime: runtime.clone(), store, calls, webhooks };
    let submit = || runtime.submit(contract(), 1, TraceContext::default());

    submit().await.expect("it is kept");
    until(&sources, "bailiwick_commit_last_appends 1").await;
    until(&sources, "bailiwick_journal_failing 0").await;
    memory.fail_next_commits(u64::MAX);
    // Three in a row; but a look into the first doubt, which finds nothing wrong, may come to its end after them.
    let submitting = async {
        loop {
            submit().await.expect_err("nothing is kept");
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = until(&sources, "bailiwick_journal_failing 1") => {}
        never = submitting => never,
    }
    memory.fail_next_commits(0);
    // It is tried again every second of the runtime's own clock.
    let moving = async {
        loop {
            clock.advance(Span::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = until(&sources, "bailiwick_journal_failing 0") => {}
        never = moving => never,
    }
    until(&sources, "bailiwick_journal_waiting_submissions 0").await;

    until(&sources, "bailiwick_halts_in_force{kind=\"agent\"} 0").await;
    let scope = HaltScope::Agent("a".parse().expect("a valid name"));
    let (by, reason) = ("ann".to_owned(), String::new());
    let order = HaltOrder { scope, by, reason, cancel: false, burn: None };
    runtime.halt(order).await.expect("it is kept");
    until(&sources, "bailiwick_halts_in_force{kind=\"agent\"} 1").await;
    until(&sources, "bailiwick_halts_in_force{kind=\"all\"} 0").await;
    assert!(tasks.shutdown(PATIENCE).await.clean);
}
