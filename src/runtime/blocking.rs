//! Work that blocks, off the async threads.

use crate::store::StoreError;

/// Runs `work` where blocking is allowed. An error only when the work panicked or the process is going away.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| StoreError::Unavailable(format!("a read was broken off: {error}")))
}
