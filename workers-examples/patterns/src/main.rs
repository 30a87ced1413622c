//! Serves every agent of the patterns, for the server at `BAILIWICK_ADDR` (default 127.0.0.1:7400), until SIGTERM.

use bailiwick_worker::{RunError, Worker};

#[tokio::main]
async fn main() -> Result<(), RunError> {
    bailiwick_patterns::crew(Worker::from_env()).run().await
}
