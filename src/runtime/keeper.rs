//! The keeper: looks after leases and back-offs when their time comes. It decides nothing; it says when to look.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{clock::Now, dispatch::Dispatch};

/// Runs until it is told to stop.
pub(super) async fn keep(dispatch: Arc<Dispatch>, now: Now, stop: CancellationToken) {
    loop {
        let next = dispatch.look(now.read());
        tokio::select! {
            () = stop.cancelled() => return,
            () = dispatch.nudged() => {}
            () = now.wait(next) => {}
        }
    }
}
