//! The life of a run. What it does to messages is tested end to end, with real sessions.

use super::*;
use crate::service::rig::Rig;

fn asked() -> StartChaos {
    StartChaos {
        by: "ada".to_owned(),
        labels: BTreeMap::from([("chaos".to_owned(), "on".to_owned())]),
        faults: Faults { drop: 1.0, ..Faults::default() },
        seed: 1,
        ttl: Span::from_secs(60),
    }
}

#[tokio::test]
async fn a_run_lapses_by_itself_unless_it_is_renewed() {
    let rig = Rig::new().await;
    let edge = Edge::default();
    assert!(!edge.is_on());
    let run = edge.start(&rig.runtime, asked()).expect("it is allowed");
    assert!(edge.is_on());
    let lapse = || {
        if let Some(run) = edge.run().as_mut() {
            run.lapses = Instant::now();
        }
    };
    lapse();
    let refused = edge.renew(&rig.runtime, &run.id, Span::from_secs(1), 0);
    assert_eq!(refused.err(), Some(Fault::ChaosNotRunning), "it is over, and nobody can take it back");
    assert!(!edge.is_on() && edge.shown().is_none());

    let run = edge.start(&rig.runtime, asked()).expect("the way is free");
    lapse();
    // A message is what notices: its task is not even looked up.
    let fate = edge.fate(&rig.runtime, TaskId::from_key("k", 1), true).await;
    assert_eq!((fate, edge.is_on()), (Fate::ORDINARY, false));
    assert_eq!(edge.stop(&run.id, 0).err(), Some(Fault::ChaosNotRunning));
}

#[tokio::test]
async fn a_task_that_is_not_there_meets_no_failure() {
    let rig = Rig::new().await;
    let edge = Edge::default();
    edge.start(&rig.runtime, asked()).expect("it is allowed");
    let fate = edge.fate(&rig.runtime, TaskId::from_key("k", 1), true).await;
    assert_eq!(fate, Fate::ORDINARY);
    assert_eq!(edge.shown().map(|run| run.tally), Some(Tally::default()));
}

#[tokio::test]
async fn of_brakes_only_those_that_a_report_caused_are_counted() {
    let rig = Rig::new().await;
    let edge = Edge::default();
    let run = edge.start(&rig.runtime, asked()).expect("it is allowed");
    let task = TaskId::from_key("k", 1);
    let lease = |turn| Lease { task, turn, attempt: 1, secret: 0 };
    let now = Instant::now();
    let at = |micros| now + std::time::Duration::from_micros(micros);
    edge.mark(lease(1), |mark| mark.cancelled = Some(at(30)));
    assert!(edge.run().as_ref().is_some_and(|run| run.marks.is_empty()), "not a task of the run's");
    if let Some(run) = edge.run().as_mut() {
        run.tasks.insert(task, true);
    }
    edge.mark(lease(1), |mark| mark.cancelled = Some(at(30)));
    edge.mark(lease(1), |mark| mark.crossed = Some((at(10), at(50))));
    // Heard after the cancel: another attempt of the task had crossed the line.
    edge.mark(lease(2), |mark| mark.cancelled = Some(at(30)));
    edge.mark(lease(2), |mark| mark.crossed = Some((at(40), at(50))));
    let (_, brakes) = edge.stop(&run.id, 0).expect("it is on");
    assert_eq!(brakes, [Brake { to_cancel: Span(20), to_fence: Span(20) }]);
}
