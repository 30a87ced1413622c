//! The halts of `OperatorService`: stop, go on, list.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    pb,
    runtime::{HaltOrder, Halted, Runtime},
    types::time::Timestamp,
};

use super::{
    convert::{
        faults::Faults,
        halt::{halt_out, lift_in, scope_in},
        length,
        time::duration,
    },
    operator::MAX_BY_CHARS,
    page::{self, Scope},
    status::Fault,
};

/// How long a halt with a cancel waits until its last cancel is on a stream and its tasks have ended, before it answers how
/// far it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest reason, in bytes.
const MAX_REASON_BYTES: usize = 1 << 10;
/// Halts a page where nothing is asked for.
const HALTS_PAGE: usize = 50;

fn who(field: &str, by: &str, reason: &str, faults: &mut Faults) {
    faults.required(field, by, usize::MAX, "who it is");
    faults.short(field, by, MAX_BY_CHARS);
    faults.text("reason", reason, MAX_REASON_BYTES);
}

/// `OperatorService.Halt`.
pub(super) async fn halt(runtime: &Runtime, wire: pb::HaltRequest) -> Result<pb::HaltResponse, Fault> {
    let pb::HaltRequest { selector, halted_by, reason, cancel } = wire;
    let mut faults = Faults::default();
    let scope = scope_in(selector, &mut faults);
    who("halted_by", &halted_by, &reason, &mut faults);
    let scope = faults.finish(scope).map_err(Fault::InvalidMessage)?;
    let order = HaltOrder { scope, by: halted_by, reason, cancel, burn: None };
    let Halted { halt, existing, told, began_at, told_at, mut progress } = runtime.halt(order).await?;
    // Whatever is not done by then goes on.
    let _ = timeout(PATIENCE, progress.done()).await;
    let so_far = progress.now();
    let handed_at = if so_far.handed == 0 { began_at } else { so_far.handed_at };
    let since = |at: Timestamp| Some(duration(at.since(began_at)));
    let now = runtime.halt_now(&halt.scope).filter(|now| now.number == halt.number).unwrap_or(halt);
    Ok(pb::HaltResponse {
        halt: Some(halt_out(&now)),
        existing,
        attempts_told: length(told),
        told_within: since(told_at),
        attempts_handed: length(so_far.handed),
        handed_within: since(handed_at),
    })
}

/// `OperatorService.Resume`.
pub(super) async fn resume(runtime: &Runtime, wire: pb::ResumeRequest) -> Result<pb::ResumeResponse, Fault> {
    let pb::ResumeRequest { what, resumed_by, reason } = wire;
    let mut faults = Faults::default();
    let what = lift_in(what, &mut faults);
    who("resumed_by", &resumed_by, &reason, &mut faults);
    let what = faults.finish(what).map_err(Fault::InvalidMessage)?;
    let halts = runtime.resume(&what, resumed_by, reason).await?;
    Ok(pb::ResumeResponse { halts: halts.iter().map(halt_out).collect() })
}

/// `OperatorService.ListHalts`.
pub(super) async fn list(
    runtime: &Runtime,
    wire: pb::ListHaltsRequest,
) -> Result<pb::ListHaltsResponse, Fault> {
    let pb::ListHaltsRequest { lifted, page_size, page_token } = wire;
    let mut faults = Faults::default();
    let size = page::size(page_size, HALTS_PAGE, &mut faults);
    faults.finish(Some(())).map_err(Fault::InvalidMessage)?;
    let scope = Scope::of("halts", &pb::ListHaltsRequest { lifted, ..Default::default() });
    let below = match scope.index(&page_token)? {
        0 => u64::MAX,
        below => below as u64,
    };
    let mut halts = runtime.all_halts().await?;
    halts.retain(|halt| halt.number < below && (lifted || halt.lifted.is_none()));
    let (halts, next_page_token) = page::cut(&halts, size, halt_out, |last| {
        scope.after_index(usize::try_from(last.number).unwrap_or(usize::MAX))
    });
    Ok(pb::ListHaltsResponse { halts, next_page_token })
}
