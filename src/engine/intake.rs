//! Intake: a draft becomes a contract, or every fault in it is named at once. Never here: the registry itself (it comes
//! in), schema compilation (the service's), defaults that are not in `types::limits`.

/// One thing wrong with a draft, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, as a path: "limits.deadline".
    pub field: String,
    /// What is wrong and what to write.
    pub description: String,
}

use crate::types::{
    contract::{Contract, ContractDraft},
    ids::AgentName,
    limits::Ceilings,
    plan::{Plan, PlanDraft},
};

/// Completes a draft: every default filled in, or every fault named.
#[allow(clippy::unimplemented)]
pub fn complete(
    _draft: &ContractDraft,
    _ceilings: &Ceilings,
    _is_known: &dyn Fn(&AgentName) -> bool,
) -> Result<Contract, Vec<Violation>> {
    unimplemented!()
}

/// Checks the shape of a delegated plan (ids, dependencies, cycles, bounds). Whether its agents are known and its sum can
/// be funded is decided later, against the task.
#[allow(clippy::unimplemented)]
pub fn plan(_draft: &PlanDraft, _path: &str) -> Result<Plan, Vec<Violation>> {
    unimplemented!()
}
