//! A client: submits a task, more than once if need be, follows it, looks at it and sometimes cancels it.

use std::{sync::Arc, time::Duration};

use bailiwick::{
    engine::event::{Event, Record},
    runtime::SubmitError,
    types::{
        contract::ContractDraft,
        ids::{EscalationId, TaskId},
    },
};
use tokio::sync::mpsc;

use crate::{
    api::{self, Unsubmitted},
    chance::Chance,
    sim::{Answering, Node, Sim},
    time::{sleep, timeout},
};

/// How long a client hears nothing before it begins to watch anew.
const SILENCE: Duration = Duration::from_secs(30);

/// Submits until it is known what came of it. A draft without a key is not sent again: that might make a second task.
pub(crate) async fn submit(sim: &Arc<Sim>, node: Node, draft: &ContractDraft) -> Option<TaskId> {
    let keyed = !draft.idempotency_key.is_empty();
    while !sim.is_over() {
        let sent = draft.clone();
        let ask = move |sim, up| -> Answering<_> { Box::pin(api::submit(sim, up, sent.clone())) };
        match sim.call(node, "submit", ask).await {
            Some(Ok(task)) => {
                sim.books().tasks.insert(task);
                return Some(task);
            }
            Some(Err(Unsubmitted::Submit(SubmitError::KeyTaken { .. }))) => {
                panic!("the key {} was used once", draft.idempotency_key)
            }
            Some(Err(Unsubmitted::Submit(SubmitError::Store(_)))) | None if !keyed => return None,
            Some(Err(_)) | None => sleep(Duration::from_millis(700)).await,
        }
    }
    None
}

pub(crate) async fn live(sim: Arc<Sim>, node: Node, draft: ContractDraft, mut chance: Chance) {
    sleep(chance.millis(0, 40_000)).await;
    let Some(task) = submit(&sim, node, &draft).await else { return };
    if chance.happens(sim.faults.cancel) {
        tokio::spawn(cancel(Arc::clone(&sim), node, task, chance.fork()));
    }
    if chance.happens(200) && !draft.idempotency_key.is_empty() {
        submit_again(&sim, node, &draft, task).await;
    }
    follow(&sim, node, task, &mut chance).await;
}

/// The same key: the same task. The same key with another contract: none.
async fn submit_again(sim: &Arc<Sim>, node: Node, draft: &ContractDraft, task: TaskId) {
    assert_eq!(submit(sim, node, draft).await.unwrap_or(task), task, "the same key names the same task");
    let other = ContractDraft { goal: "something else".to_owned(), ..draft.clone() };
    let ask = move |sim, up| -> Answering<_> { Box::pin(api::submit(sim, up, other.clone())) };
    let told = sim.call(node, "submit other", ask).await;
    assert!(!matches!(told, Some(Ok(_))), "a key names one contract");
}

async fn cancel(sim: Arc<Sim>, node: Node, task: TaskId, mut chance: Chance) {
    sleep(chance.millis(0, 30_000)).await;
    while !sim.is_over() {
        let ask = move |sim, up| -> Answering<_> { Box::pin(api::cancel(sim, up, task)) };
        if let Some(Ok(())) = sim.call(node, "cancel", ask).await {
            sim.books().cancelled.insert(task);
            return;
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// Watches to the end, over every break, and holds that nothing is missing and nothing comes twice.
async fn follow(sim: &Arc<Sim>, node: Node, task: TaskId, chance: &mut Chance) {
    let mut seen = 0;
    while !sim.is_over() {
        let (to, mut from) = mpsc::unbounded_channel::<Record>();
        let ask =
            move |sim, up| -> Answering<_> { Box::pin(api::watch(sim, up, node, task, seen, to.clone())) };
        let began = sim.call(node, "watch", ask).await;
        if matches!(began, Some(Ok(()))) {
            // The first of two calls that were one wins: the other's events come in between, and are passed over.
            while let Some(Some(record)) = timeout(SILENCE, from.recv()).await {
                assert!(record.seq <= seen + 1, "a watch leaves nothing out");
                seen = seen.max(record.seq);
                if matches!(record.event, Event::Ended { .. }) {
                    return;
                }
            }
        }
        if chance.happens(300) {
            let ask = move |sim, up| -> Answering<_> { Box::pin(api::get(sim, up, task)) };
            drop(sim.call(node, "get", ask).await);
        }
        sleep(chance.millis(100, 3_000)).await;
    }
}

/// A person who answers questions.
pub(crate) mod person {
    use bailiwick::{
        engine::view::EscalationView,
        runtime::PersonAnswer,
        types::{extension::Extension, time::Span},
    };

    use super::*;
    use crate::contracts;

    pub(crate) async fn live(sim: Arc<Sim>, node: Node, name: &'static str, mut chance: Chance) {
        while !sim.is_over() {
            sleep(chance.millis(1_000, 8_000)).await;
            let ask = move |sim, up| -> Answering<_> { Box::pin(api::questions(sim, up)) };
            let Some(Ok(asked)) = sim.call(node, "questions", ask).await else { continue };
            for view in asked {
                if sim.is_calm() || !chance.happens(sim.faults.absent) {
                    answer(&sim, node, name, &view, &mut chance).await;
                }
            }
        }
    }

    async fn answer(
        sim: &Arc<Sim>,
        node: Node,
        by: &'static str,
        view: &EscalationView,
        chance: &mut Chance,
    ) {
        let id = EscalationId { task: view.task, number: view.asked.number };
        let answer = match chance.below(10) {
            0..5 => PersonAnswer::Approve,
            5 => PersonAnswer::Amend(contracts::json(&serde_json::json!({"n": 1}))),
            6 => PersonAnswer::Amend(contracts::json(&serde_json::json!(7))),
            7 if !sim.is_calm() => PersonAnswer::Extend(Extension {
                tokens: 3_000,
                turns: 3,
                hops: 1,
                time: Span::from_secs(20),
                ..Extension::default()
            }),
            _ => PersonAnswer::Abort,
        };
        let ask = move |sim, up| -> Answering<_> {
            Box::pin(api::answer(sim, up, id, answer.clone(), by.to_owned()))
        };
        if let Some(Ok(_)) = sim.call(node, "answer", ask).await {
            sim.books().answered.insert(id, by.to_owned());
        }
    }
}
