//! Guards over the wire: what trips, who decides, and what clients see of it.

use bailiwick::pb::{self, session_request::Message as Up, task_event::Event};
use tonic::Code;

use super::harness::{Stage, check, complete, contract, result, success};

const ANSWERS: i64 = 58;
const TOKENS: i64 = 42;

/// An answer that is always the same and asks the next agent all the same.
fn passes_on(next: &str) -> pb::StatusEnvelope {
    let hand_off = pb::HandOff { agent: next.to_owned(), input: None };
    let directive = Some(pb::status_envelope::Directive::HandOff(hand_off));
    pb::StatusEnvelope { directive, ..success("the refund is approved and will be paid in May") }
}

fn partial() -> pb::Decision {
    let reason = "it was done at the first".to_owned();
    let usage = Some(pb::Usage { input_tokens: 10, ..Default::default() });
    let decision = pb::decision::Decision::CompletePartial(pb::CompletePartial { result: None, reason });
    pb::Decision { usage, decision: Some(decision) }
}

#[tokio::test]
async fn the_incident_of_58_equal_answers_ends_at_the_third() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["intake", "billing", "support"]).await;
    worker.credit(1).await;
    let wide = pb::Limits { max_hops: Some(100), ..contract("intake").limits.expect("it has them") };
    let task_id = stage.submit(pb::Contract { limits: Some(wide), ..contract("intake") }).await;
    let mut answered = 0;
    let decide = loop {
        let work = worker.assignment().await;
        if work.kind == pb::TurnKind::Decide as i32 {
            break work;
        }
        let next = ["billing", "support", "intake"][answered % 3];
        worker.complete(&work.lease, passes_on(next)).await;
        answered += 1;
        worker.credit(1).await;
    };
    assert_eq!(answered, 3);
    assert_eq!(decide.best_result, Some(result("the refund is approved and will be paid in May")));
    let trip = &decide.trips[0];
    assert_eq!((trip.cause, trip.scope), (pb::Cause::Repetition as i32, pb::TripScope::Task as i32));
    assert_eq!((trip.turns.as_slice(), trip.times, trip.similarity), (&[1, 2, 3][..], 3, 1.0));
    assert!(trip.excerpt.contains("the refund is approved"), "{trip:?}");
    let answer = Some(pb::complete::Answer::Decision(partial()));
    let sent = worker.send(Up::Complete(pb::Complete { lease: decide.lease.clone(), answer })).await;
    worker.acked(sent).await;

    let outcome = stage.outcome(&task_id).await;
    assert_eq!((outcome.state, outcome.cause), (pb::TaskState::Partial as i32, pb::Cause::Repetition as i32));
    let task = stage.task(&task_id).await;
    assert_eq!(task.trips.iter().map(|together| together.trips.len()).sum::<usize>(), decide.trips.len());
    assert_eq!(task.best.map(|best| best.confidence), Some(0.9));
    let events = stage.events(&task_id, 0).await;
    assert!(
        events.iter().any(|e| matches!(&e.event, Some(Event::GuardsTripped(it)) if it.trips == decide.trips))
    );
    let spent = task.summary.and_then(|summary| summary.ledger).expect("it is sent").spent_tokens;
    let saved = ANSWERS * TOKENS - spent;
    println!(
        "58 equal answers over the wire: stopped at {answered}, {saved} of {} tokens saved",
        ANSWERS * TOKENS
    );
    assert_eq!(saved, (ANSWERS - 3) * TOKENS - 10);
}

#[tokio::test]
async fn a_loop_inside_a_turn_is_cancelled_while_it_runs() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(1).await;
    stage.submit(contract("solver")).await;
    let work = worker.assignment().await;
    let step = || pb::WorkStep {
        kind: pb::WorkStepKind::Message as i32,
        content: "I will look at the file once more before I decide.".into(),
        ..Default::default()
    };
    let progress =
        pb::Progress { lease: work.lease.clone(), steps: vec![step(), step(), step()], partial_result: None };
    let sent = worker.send(Up::Progress(progress)).await;
    let told = worker.cancel().await;
    assert_eq!((told.lease.as_str(), told.cause), (work.lease.as_str(), pb::Cause::Repetition as i32));
    worker.acked(sent).await;
    let late = worker.send(complete(&work.lease, success("late"))).await;
    assert_eq!(worker.refused(late).await.reason, "LEASE_NOT_LIVE");
}

#[tokio::test]
async fn convergence_is_checked_at_intake_and_rides_on_every_turn() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(1).await;
    let with = |min_gain, patience| {
        let convergence = Some(pb::Convergence { min_gain, patience });
        let termination = Some(pb::Termination { convergence, ..Default::default() });
        pb::Contract { termination, ..contract("solver") }
    };
    check(stage.try_submit(with(1.7, 2)).await, Code::InvalidArgument, "CONTRACT_REFUSED");
    check(stage.try_submit(with(0.1, 101)).await, Code::InvalidArgument, "CONTRACT_REFUSED");
    let task_id = stage.submit(with(0.0, 0)).await;
    let work = worker.assignment().await;
    let terms = work.termination.and_then(|terms| terms.convergence).expect("the contract has it");
    assert_eq!((terms.min_gain, terms.patience), (0.01, 2), "the defaults");
    let odd = pb::StatusEnvelope { score: Some(1.7), ..success("42") };
    let sent = worker.send(complete(&work.lease, odd)).await;
    assert_eq!(worker.refused(sent).await.reason, "INVALID_MESSAGE");
    worker.complete(&work.lease, pb::StatusEnvelope { score: Some(0.7), ..success("42") }).await;
    let outcome = stage.outcome(&task_id).await;
    assert_eq!(outcome.state, pb::TaskState::Succeeded as i32, "convergence alone is a criterion");
    assert_eq!(stage.task(&task_id).await.best.map(|best| best.score), Some(0.7));
}
