//! A lease that is ended on purpose, as silence would end it.

use super::{Dispatch, Ending, Order};
use crate::{engine::event::AttemptEnd, types::ids::Lease};

impl Dispatch {
    /// Has the lease's shard end it. Harmless for one that is over.
    pub(in crate::runtime) fn lose(&self, lease: Lease, reason: String) {
        self.route([Order::End(Ending { lease, end: AttemptEnd::LeaseExpired, reason })]);
    }
}
