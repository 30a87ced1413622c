//! The keeper: looks after leases and back-offs when their time comes. It decides nothing; it says when to look.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{clock::Now, dispatch::Dispatch};

/// Runs until it is told to stop. It leaves no tasks.
pub(super) async fn keep(dispatch: Arc<Dispatch>, now: Now, stop: CancellationToken) -> usize {
    loop {
        let next = dispatch.look(now.read());
        tokio::select! {
            biased;
            () = stop.cancelled() => return 0,
            () = dispatch.nudged() => {}
            () = now.wait(next) => {}
        }
    }
}
