//! The stream behind `WatchEscalations`, and the filters that lists and streams of questions share.

use std::collections::BTreeMap;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    pb,
    runtime::{EscalationFilter, QuestionNews, QuestionWatch},
    types::{limits::fixed, outcome::Cause},
};

use super::{
    convert::{enums, faults::Faults, question::escalation_out},
    follow::Source,
    status::Fault,
};

/// Labels in a filter.
const MAX_FILTER_LABELS: usize = 8;
/// States a question can be in.
const STATES: usize = 7;
/// The longest beginning of an id, in characters.
const MAX_PREFIX_CHARS: usize = 64;

/// The filter of a list. Pages and the task are not looked at.
pub(super) fn filter(wire: &pb::ListEscalationsRequest, faults: &mut Faults) -> EscalationFilter {
    let pb::ListEscalationsRequest {
        states: wanted,
        page_size: _,
        page_token: _,
        task_id: _,
        causes,
        labels,
        all_states,
        id_prefix,
    } = wire;
    faults.short("id_prefix", id_prefix, MAX_PREFIX_CHARS);
    EscalationFilter {
        states: states(wanted, *all_states, faults),
        id_prefix: id_prefix.to_ascii_lowercase(),
        ..shared(causes, labels, faults)
    }
}

/// What lists and streams filter by.
pub(super) fn shared(
    numbers: &[i32],
    labels: &BTreeMap<String, String>,
    faults: &mut Faults,
) -> EscalationFilter {
    faults.list("causes", numbers, Cause::ALL.len() + 1);
    if labels.len() > MAX_FILTER_LABELS {
        faults.add("labels", format!("has {} entries: write at most {MAX_FILTER_LABELS}", labels.len()));
    }
    for key in labels.keys() {
        faults.text("labels", key, fixed::MAX_LABEL_KEY_BYTES);
    }
    let mut cause = |(index, number): (usize, &i32)| {
        let found = if *number == 0 { Some(None) } else { enums::cause_in(*number).map(Some) };
        faults.one_of(&format!("causes[{index}]"), *number, found, "one of the names in task.proto")
    };
    EscalationFilter {
        causes: numbers.iter().enumerate().filter_map(&mut cause).collect(),
        labels: labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        ..EscalationFilter::default()
    }
}

fn states(numbers: &[i32], all: bool, faults: &mut Faults) -> Vec<String> {
    faults.list("states", numbers, STATES);
    match (numbers.is_empty(), all) {
        (true, true) => return Vec::new(),
        (true, false) => return vec!["OPEN".to_owned()],
        (false, true) => faults.add("all_states", "stands beside states: write one of them"),
        (false, false) => {}
    }
    let mut state = |(index, number): (usize, &i32)| {
        let names = "one of the names in escalation.proto";
        let found = enums::escalation_state_in(*number);
        faults.one_of(&format!("states[{index}]"), *number, found, names).map(str::to_owned)
    };
    numbers.iter().enumerate().filter_map(&mut state).collect()
}

/// The open questions, and then those that change, for one client.
pub(super) struct Inbox {
    watch: QuestionWatch,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Inbox {
    pub(super) const fn new(
        watch: QuestionWatch,
        stop: CancellationToken,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { watch, stop, _place: place }
    }
}

impl Source for Inbox {
    type Message = pb::WatchEscalationsResponse;

    async fn next(&mut self) -> Option<Result<Self::Message, Status>> {
        let next = tokio::select! {
            next = self.watch.next() => next?,
            () = self.stop.cancelled() => return Some(Err(Fault::ShuttingDown.to_status())),
        };
        let escalation = match next {
            Ok(QuestionNews::Question(view)) => Some(escalation_out(&view)),
            Ok(QuestionNews::CaughtUp) => None,
            Err(error) => return Some(Err(Fault::from(error).to_status())),
        };
        Some(Ok(pb::WatchEscalationsResponse { escalation }))
    }
}
