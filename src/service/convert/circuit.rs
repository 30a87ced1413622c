//! Breakers and waiting turns, out.

use crate::{
    pb,
    runtime::{BreakerInfo, BreakerState, WaitReason, Waits},
    types::ids::TurnNumber,
};

use super::{int32, int64, time::wire};

/// A circuit breaker.
pub(crate) fn breaker_out(info: &BreakerInfo) -> pb::Breaker {
    let BreakerInfo { state, openings, since, until, failed, results } = info;
    let state = match state {
        BreakerState::Closed => pb::BreakerState::Closed,
        BreakerState::Open => pb::BreakerState::Open,
        BreakerState::HalfOpen => pb::BreakerState::HalfOpen,
    };
    pb::Breaker {
        state: state as i32,
        openings: int64(*openings),
        since: since.map(wire),
        open_until: until.map(wire),
        failed: int32(*failed),
        results: int32(*results),
    }
}

/// Why a turn waits.
pub(crate) fn waiting_out((turn, waits): &(TurnNumber, Waits)) -> pb::WaitingTurn {
    let Waits { reason, detail, until } = waits;
    let reason = match reason {
        WaitReason::Backoff => pb::WaitReason::Backoff,
        WaitReason::NoWorker => pb::WaitReason::NoWorker,
        WaitReason::AgentBreaker => pb::WaitReason::AgentBreaker,
        WaitReason::WorkerBreaker => pb::WaitReason::WorkerBreaker,
        WaitReason::AgentFull => pb::WaitReason::AgentFull,
        WaitReason::NamespaceFull => pb::WaitReason::NamespaceFull,
        WaitReason::WorkersBusy => pb::WaitReason::WorkersBusy,
        WaitReason::Stopping => pb::WaitReason::Stopping,
        WaitReason::Halted => pb::WaitReason::Halted,
    };
    pb::WaitingTurn {
        turn: int32(*turn),
        reason: reason as i32,
        detail: detail.clone(),
        until: until.map(wire),
    }
}
