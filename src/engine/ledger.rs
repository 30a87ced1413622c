//! The task's account. Integers only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::{ids::AgentName, usage::Usage};

/// The ledger as people see it, in tokens. Explained in proto/bailiwick/v1/task.proto.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LedgerView {
    pub granted: u64,
    pub reserved: u64,
    pub spent: u64,
    pub overrun: u64,
    pub finalization: u64,
    pub finalization_left: u64,
    pub unheard: u64,
    /// Input, output, cached, reasoning, cost: of spent + overrun.
    pub usage: Usage,
    pub by_agent: BTreeMap<AgentName, u64>,
}
