//! The `conformance` agent as a worker of its own, for `bailiwick conformance`.

#[path = "conformance/agent.rs"]
mod agent;

#[tokio::main]
async fn main() -> Result<(), bailiwick_worker::RunError> {
    bailiwick_worker::Worker::from_env().agent(agent::spec(), agent::handle).run().await
}
