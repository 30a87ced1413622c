//! For the tests of this floor: a runtime over memory, with a clock that stands still.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{
    runtime::{ManualClock, Runtime, RuntimeOptions, RuntimeTasks, SeededEntropy},
    store::memory::MemoryStore,
    types::time::{Span, Timestamp},
};

use super::{chaos::Edge, session::Context};

/// What the clock says at first.
pub(crate) const START: Timestamp = Timestamp(1_000_000);
/// The lease time.
pub(crate) const LEASE_TIME: Span = Span::from_secs(6);

/// The parts. The tasks are held so that they are not dropped.
pub(crate) struct Rig {
    pub(crate) runtime: Runtime,
    pub(crate) context: Context,
    pub(crate) clock: Arc<ManualClock>,
    _tasks: RuntimeTasks,
}

impl Rig {
    /// Starts; workers are to be heard every millisecond.
    pub(crate) async fn new() -> Self {
        let options = RuntimeOptions {
            lease_time: LEASE_TIME,
            heartbeat_interval: Span::from_millis(1),
            ..Default::default()
        };
        let clock = Arc::new(ManualClock::new(START));
        let (store, entropy) = (Arc::new(MemoryStore::new()), Arc::new(SeededEntropy::new(1)));
        let started = Runtime::start(store, options, clock.clone(), entropy);
        let (runtime, tasks) = started.await.expect("it starts");
        let stop = CancellationToken::new();
        let context = Context {
            runtime: runtime.clone(),
            stop,
            drain_grace: Span::from_secs(1),
            edge: Edge::default(),
        };
        Self { runtime, context, clock, _tasks: tasks }
    }
}
