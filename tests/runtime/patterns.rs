//! Plans whose agents come and go, with the clock in hand.

use bailiwick::{
    engine::event::Event,
    types::{
        contract::{Contract, ContractDraft},
        outcome::TaskState,
        plan::{PlanDraft, StepDraft},
        time::Span,
    },
};

use crate::kit::{World, agent, complete, draft, in_time, success};

/// One step of "away", which falls back to "a".
fn falls_back() -> Contract {
    let step = StepDraft {
        id: "count".to_owned(),
        agent: "away".to_owned(),
        fallback_agents: vec!["a".to_owned()],
        ..StepDraft::default()
    };
    let plan = PlanDraft { steps: vec![step], result_step: "count".to_owned(), ..PlanDraft::default() };
    complete(&ContractDraft { first_agent: None, plan: Some(plan), ..draft() })
}

#[tokio::test]
async fn a_step_whose_agent_is_away_goes_to_its_fallback_without_waiting_for_ever() {
    let world = World::new().await;
    // Seen once, and gone since.
    drop(world.worker("w0", &["away"], 1).await);
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let task = world.try_submit(falls_back()).await.expect("accepted").task;
    let mut passed = Span::ZERO;
    while !world.kinds(task).contains(&"turn_closed".to_owned()) {
        assert!(passed < Span::from_secs(300), "not as long as without a fallback");
        passed = Span(passed.0 + Span::from_secs(5).0);
        world.clock.advance(Span::from_secs(5));
        worker.heartbeat();
        tokio::task::yield_now().await;
        world.view(task).await;
    }
    let work = in_time(worker.work()).await;
    assert_eq!((work.agent.clone(), work.notes.len()), (agent("a"), 1));
    assert!(work.notes[0].contains("no worker served away"), "{:?}", work.notes);
    assert_eq!(worker.complete(work.lease, success()).await, Ok(false));
    world.until(task, |event| matches!(event, Event::Ended { .. })).await;
    assert_eq!(world.view(task).await.summary.state, TaskState::Succeeded);
}
