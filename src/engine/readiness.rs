//! The ten-point readiness list (DESIGN section 9), for one contract.

use crate::types::contract::Contract;

/// How well a point is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// The server enforces it for this contract.
    Enforced,
    /// Met in part.
    Weak,
    /// Not met, or not there yet.
    Absent,
}

/// One point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// 1 to 10.
    pub number: u32,
    /// The point.
    pub title: &'static str,
    /// How well it is met.
    pub readiness: Readiness,
    /// What enforces it, or what to add.
    pub advice: String,
}

/// The ten points for a contract.
#[allow(clippy::unimplemented)]
pub fn points(_contract: &Contract) -> Vec<Point> {
    unimplemented!()
}
