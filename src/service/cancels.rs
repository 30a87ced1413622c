//! `TaskService.CancelTasks`: page by page, so that a million tasks need no more memory than a page of them; every page says
//! how far it is. Whoever hangs up stops it between two pages.

use std::collections::BTreeMap;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    pb,
    runtime::{CancelPage, PageAfter, Runtime, TaskFilter},
    types::{limits::fixed::MAX_TEXT_BYTES, outcome::TaskState},
};

use super::{
    convert::{enums, faults::Faults, int64},
    follow::Source,
    operator::MAX_BY_CHARS,
    status::Fault,
    tasks,
};

/// A cancel of many, understood.
pub(super) struct Many {
    filter: TaskFilter,
    dry_run: bool,
    reason: String,
}

/// Understands a request, or names its faults.
pub(super) fn understood(wire: pb::CancelTasksRequest) -> Result<Many, Fault> {
    let pb::CancelTasksRequest { filter, all, dry_run, reason, cancelled_by } = wire;
    let mut faults = Faults::default();
    let mut filter = tasks::filter(&filter.unwrap_or_default(), &mut faults);
    if filter.states.iter().any(|state| state.is_end()) {
        faults
            .add("filter.states", "names an end: what has ended cannot be cancelled, name open states only");
    }
    let anything = TaskFilter { states: Vec::new(), ..filter.clone() } == TaskFilter::default();
    if anything && !all {
        faults.add("all", "is false, and the filter asks for nothing but states: write a filter, or true");
    }
    faults.text("reason", &reason, MAX_TEXT_BYTES);
    faults.short("cancelled_by", &cancelled_by, MAX_BY_CHARS);
    if filter.states.is_empty() {
        filter.states = TaskState::ALL.into_iter().filter(|state| !state.is_end()).collect();
    }
    let reason = match (cancelled_by.as_str(), reason.as_str()) {
        ("", _) => reason,
        (by, "") => format!("cancelled by {by}"),
        (by, why) => format!("cancelled by {by}: {why}"),
    };
    faults.finish(Some(Many { filter, dry_run, reason })).map_err(Fault::InvalidMessage)
}

/// A cancel of many, on its way: a page is cancelled when its message is asked for.
pub(super) struct Cancelling {
    runtime: Runtime,
    many: Many,
    stop: CancellationToken,
    so_far: pb::CancelTasksResponse,
    after: Option<PageAfter>,
    _place: OwnedSemaphorePermit,
}

impl Cancelling {
    /// Begins it. `stop` ends it when the server goes away; `place` is kept as long as it lives.
    pub(super) fn new(
        runtime: Runtime,
        many: Many,
        stop: CancellationToken,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { runtime, many, stop, so_far: pb::CancelTasksResponse::default(), after: None, _place: place }
    }
}

impl Source for Cancelling {
    type Message = pb::CancelTasksResponse;

    async fn next(&mut self) -> Option<Result<Self::Message, Status>> {
        if self.so_far.done {
            return None;
        }
        let Many { filter, dry_run, reason } = &self.many;
        let page = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Some(Err(Fault::ShuttingDown.to_status())),
            page = self.runtime.cancel_page(filter, self.after, reason, *dry_run) => page,
        };
        match page {
            Ok(page) => {
                self.after = page.next;
                add(&mut self.so_far, page);
                Some(Ok(self.so_far.clone()))
            }
            Err(error) => Some(Err(Fault::from(error).to_status())),
        }
    }
}

fn add(so_far: &mut pb::CancelTasksResponse, page: CancelPage) {
    let CancelPage { found, cancelled, already_ended, failed, first_failure, next } = page;
    let found: BTreeMap<TaskState, u64> = found;
    so_far.matched += int64(found.values().sum());
    for (state, count) in found {
        let name = enums::task_state(state).as_str_name();
        let name = name.strip_prefix("TASK_STATE_").unwrap_or(name).to_owned();
        *so_far.by_state.entry(name).or_default() += int64(count);
    }
    so_far.cancelled += int64(cancelled);
    so_far.already_ended += int64(already_ended);
    so_far.failed += int64(failed);
    if so_far.first_failure.is_empty() {
        so_far.first_failure = first_failure.unwrap_or_default();
    }
    so_far.done = next.is_none();
}
