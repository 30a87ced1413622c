//! What an answer said of the inputs it had. A dependency that was left out by an answer that names others may have been
//! ignored; one that names none is not accused of anything. Never here: a consequence.

use std::collections::BTreeSet;

use super::{event::InputsCheck, event::TurnKind, task::Task, turn::Turn};
use crate::types::envelope::{Envelope, Status};

/// Ids listed in one flag, at most.
const MAX_LISTED: usize = 32;

impl Task {
    /// What an answer to the turn says of its inputs; `None` where there is nothing to say.
    pub(super) fn inputs_check(&self, turn: &Turn, envelope: &Envelope) -> Option<InputsCheck> {
        if turn.kind != TurnKind::Work || envelope.status == Status::Failed {
            return None;
        }
        // What failed or was skipped has nothing to draw on.
        let has_content = |status| status != Status::Failed;
        let mut dependencies = self.dependencies(turn);
        dependencies.retain(|entry| has_content(entry.envelope.status));
        if envelope.inputs_used.is_empty() {
            let not_said = !dependencies.is_empty();
            return not_said.then(|| InputsCheck { not_said, ..InputsCheck::default() });
        }
        let named: BTreeSet<&str> = envelope.inputs_used.iter().map(String::as_str).collect();
        let ignored = dependencies.iter().map(|entry| entry.id.as_str()).filter(|id| !named.contains(id));
        let check = InputsCheck {
            ignored: ignored.take(MAX_LISTED).map(str::to_owned).collect(),
            unknown: self.unknown(&named),
            not_said: false,
        };
        (check != InputsCheck::default()).then_some(check)
    }

    /// The names that are no lineage entry.
    fn unknown(&self, named: &BTreeSet<&str>) -> Vec<String> {
        let is_turn = |name: &str| {
            let number = name.strip_prefix("turn-").and_then(|number| number.parse().ok());
            number.and_then(|number| self.entry(number)).is_some_and(|entry| entry.id == name)
        };
        let mut steps: Option<BTreeSet<String>> = None;
        let mut is_step = |name: &str| steps.get_or_insert_with(|| self.step_ids()).contains(name);
        let unknown = named.iter().filter(|name| !is_turn(name) && !is_step(name));
        unknown.take(MAX_LISTED).map(|name| (*name).to_owned()).collect()
    }

    fn step_ids(&self) -> BTreeSet<String> {
        let had_turn = self.history.iter().filter_map(|&number| self.turn(number)?.step_id.as_ref());
        let of_plan = self.plan.iter().flat_map(|plan| {
            let ended = (0..plan.plan.steps.len()).filter(|&step| plan.end_of(step).is_some());
            ended.map(|step| &plan.plan.steps[step].id)
        });
        had_turn.chain(of_plan).map(ToString::to_string).collect()
    }
}
