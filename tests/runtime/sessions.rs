//! Sessions: one for each worker, the newest counts.

use bailiwick::{runtime::SessionError, types::time::Span};

use crate::kit::{LEASE, World};

#[tokio::test]
async fn a_second_session_of_a_worker_supersedes_the_first() {
    let world = World::new().await;
    let mut first = world.worker("w1", &["a"], 1).await;
    first.credit(1);
    let mut second = world.worker("w1", &["a"], 1).await;
    assert_eq!(first.next().await, None);
    assert_eq!(world.runtime.credit(first.session, 1, None), Err(SessionError::SessionUnknown));
    assert_eq!(world.runtime.heartbeat(first.session), Err(SessionError::SessionUnknown));
    // The end of the first stream, told late, does not end the second session.
    world.runtime.close_session(first.session);
    world.submit().await;
    second.credit(1);
    second.do_one().await;
    assert_eq!(world.runtime.workers().len(), 1);
}

#[tokio::test]
async fn a_session_that_is_silent_for_a_lease_period_is_closed() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    world.clock.advance(Span(LEASE.0 - 1));
    worker.heartbeat();
    world.clock.advance(LEASE);
    assert_eq!(worker.next().await, None);
    assert_eq!(world.runtime.heartbeat(worker.session), Err(SessionError::SessionUnknown));
    assert!(world.runtime.workers().is_empty());
}

#[tokio::test]
async fn the_servers_limit_of_concurrency_holds() {
    let world =
        World::with(bailiwick::runtime::RuntimeOptions { max_concurrency: 2, ..crate::kit::options() }).await;
    let mut worker = world.worker("w1", &["a"], 50).await;
    assert_eq!(worker.opened.max_concurrency, 2);
    worker.credit(50);
    for _ in 0..3 {
        world.submit().await;
    }
    worker.work().await;
    worker.work().await;
    assert_eq!(world.runtime.agents()[0].waiting, 1);
}
