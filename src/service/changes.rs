//! A contract with some of its fields changed, by a mask: what a redrive changes in the contract of a dead letter. Never
//! here: whether the outcome is a sound contract; intake says that.

use std::sync::LazyLock;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage as _};
use uuid::Uuid;

use crate::pb;

use super::convert::faults::Faults;

/// Fields in a mask.
const MAX_PATHS: usize = 64;
/// The longest path, in bytes.
const MAX_PATH_BYTES: usize = 128;
/// The UUID namespace of changes.
const CHANGES: Uuid = Uuid::from_u128(0x6261_696c_6977_4963_8b00_0000_0000_0006);
/// The field that no change may name.
const KEY: &str = "idempotency_key";

/// Terms that intake derives, and what each is derived from.
const DERIVED: [(&str, &[&str]); 6] = [
    ("budget.finalization_reserve_tokens", &["budget.max_tokens"]),
    ("budget.max_tokens_per_turn", &["budget.max_tokens", "budget.finalization_reserve_tokens"]),
    ("limits.finalization_reserve", &["limits.deadline"]),
    ("limits.decide_timeout", &["limits.deadline", "limits.finalization_reserve"]),
    ("limits.worker_wait", &["limits.deadline"]),
    ("limits.max_lifetime", &["limits.deadline", "escalation.timeout", "escalation.max_escalations"]),
];

static CONTRACT: LazyLock<Option<MessageDescriptor>> = LazyLock::new(|| {
    DescriptorPool::decode(pb::DESCRIPTORS).ok()?.get_message_by_name("bailiwick.v1.Contract")
});

/// What is to change.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Changes {
    values: pb::Contract,
    /// Sorted, each once.
    paths: Vec<String>,
}

impl Changes {
    /// Changes off the wire: without a mask, every field that is set.
    pub(crate) fn new(
        values: Option<pb::Contract>,
        mask: Option<prost_types::FieldMask>,
        faults: &mut Faults,
    ) -> Self {
        let values = values.unwrap_or_default();
        let mut paths = match mask {
            Some(mask) if !mask.paths.is_empty() => mask.paths,
            _ => dynamic(&values).map(|values| populated(&values)).unwrap_or_default(),
        };
        faults.list("terms.change_mask", &paths, MAX_PATHS);
        paths.sort();
        paths.dedup();
        for path in &paths {
            let known = path.len() <= MAX_PATH_BYTES && CONTRACT.as_ref().is_some_and(|c| names(c, path));
            let shown: String = path.chars().take(MAX_PATH_BYTES).collect();
            if path == KEY {
                faults.add("terms.change_mask", "names idempotency_key: a successor has none, leave it out");
            } else if !known {
                let what = format!("names {shown}, which is no field of a contract: write limits.max_hops");
                faults.add("terms.change_mask", what);
            }
        }
        Self { values, paths }
    }

    /// A hash of what is asked for: the same changes have the same.
    pub(crate) fn fingerprint(&self) -> u128 {
        let mut bytes = self.paths.join("\n").into_bytes();
        bytes.push(0);
        // Only what counts: a value that no path names changes nothing.
        bytes.extend(self.applied(&pb::Contract::default()).encode_to_vec());
        Uuid::new_v5(&CHANGES, &bytes).as_u128()
    }

    /// The contract with the changes made. It has no idempotency key: the key stays the dead letter's.
    pub(crate) fn applied(&self, contract: &pb::Contract) -> pb::Contract {
        let contract = pb::Contract { idempotency_key: String::new(), ..contract.clone() };
        let (Some(mut to), Some(from)) = (dynamic(&contract), dynamic(&self.values)) else { return contract };
        for path in &self.paths {
            copy(&mut to, &from, path);
        }
        back(&to).unwrap_or(contract)
    }

    /// The contract without the terms that intake had derived from what changes, so that it derives them anew. `derive`
    /// completes a contract as intake would: what it makes of an absent term and what stands there are the same where
    /// nobody had written it.
    pub(crate) fn underived(
        &self,
        contract: &pb::Contract,
        derive: impl FnOnce(pb::Contract) -> Option<pb::Contract>,
    ) -> pb::Contract {
        let touched = |bases: &[&str]| bases.iter().any(|base| self.covers(base));
        let candidates = DERIVED.iter().filter(|(field, bases)| touched(bases) && !self.covers(field));
        let candidates: Vec<&str> = candidates.map(|(field, _)| *field).collect();
        let Some(stored) = dynamic(contract) else { return contract.clone() };
        let mut bare = stored.clone();
        let nothing = DynamicMessage::new(stored.descriptor());
        candidates.iter().for_each(|field| copy(&mut bare, &nothing, field));
        let derived = back(&bare).and_then(derive).and_then(|contract| dynamic(&contract));
        let Some(derived) = derived else { return contract.clone() };
        let mut cleared = stored.clone();
        for field in candidates {
            if value(&derived, field) == value(&stored, field) {
                copy(&mut cleared, &nothing, field);
            }
        }
        back(&cleared).unwrap_or_else(|| contract.clone())
    }

    /// Whether a field is among what changes: itself, or all of the group that it is in.
    fn covers(&self, field: &str) -> bool {
        self.paths.iter().any(|path| {
            field == path || field.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('.'))
        })
    }
}

fn dynamic(contract: &pb::Contract) -> Option<DynamicMessage> {
    DynamicMessage::decode(CONTRACT.clone()?, contract.encode_to_vec().as_slice()).ok()
}

fn back(message: &DynamicMessage) -> Option<pb::Contract> {
    pb::Contract::decode(message.encode_to_vec().as_slice()).ok()
}

/// Whether the path leads to a field: through single messages of this protocol, to anything.
fn names(message: &MessageDescriptor, path: &str) -> bool {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let Some(field) = message.get_field_by_name(name) else { return false };
    match (rest, field.kind().as_message()) {
        (None, _) => true,
        (Some(rest), Some(inner)) => !field.is_list() && !field.is_map() && names(inner, rest),
        (Some(_), None) => false,
    }
}

/// Copies one field, or clears it where it is not set.
fn copy(to: &mut DynamicMessage, from: &DynamicMessage, path: &str) {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let Some(field) = to.descriptor().get_field_by_name(name) else { return };
    let Some(rest) = rest else {
        if from.has_field(&field) {
            to.set_field(&field, from.get_field(&field).into_owned());
        } else {
            to.clear_field(&field);
        }
        return;
    };
    let inner = from.get_field(&field);
    if let (Some(to), Some(from)) = (to.get_field_mut(&field).as_message_mut(), inner.as_message()) {
        copy(to, from, rest);
    }
}

/// The value of a field, as it would be read.
fn value(message: &DynamicMessage, path: &str) -> Option<prost_reflect::Value> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let field = message.get_field_by_name(name)?;
    match rest {
        None => Some(field.into_owned()),
        Some(rest) => value(field.as_message()?, rest),
    }
}

/// Every field that is set, as deep as messages of this protocol go.
fn populated(message: &DynamicMessage) -> Vec<String> {
    let mut paths = Vec::new();
    for (field, value) in message.fields() {
        let inner = value
            .as_message()
            .filter(|inner| !field.is_list() && inner.descriptor().full_name().starts_with("bailiwick.v1."));
        match inner {
            Some(inner) if field.containing_oneof().is_none() => {
                let below = populated(inner);
                paths.extend(below.into_iter().map(|path| format!("{}.{path}", field.name())));
            }
            Some(_) | None => paths.push(field.name().to_owned()),
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_hops: i32, max_turns: i32) -> pb::Contract {
        let limits = pb::Limits { max_hops: Some(max_hops), max_turns, ..Default::default() };
        pb::Contract { goal: "g".into(), limits: Some(limits), ..Default::default() }
    }

    fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
        Some(prost_types::FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() })
    }

    fn changes(values: pb::Contract, paths: &[&str]) -> (Changes, usize) {
        let mut faults = Faults::default();
        let changes = Changes::new(Some(values), mask(paths), &mut faults);
        (changes, faults.sorted().len())
    }

    #[test]
    fn only_what_the_mask_names_changes_and_what_is_not_set_goes_back_to_its_default() {
        let stored = pb::Contract { idempotency_key: "k".into(), ..limits(3, 7) };
        let (asked, faults) = changes(limits(9, 9), &["limits.max_hops", "limits.max_replans"]);
        assert_eq!(faults, 0);
        assert_eq!(asked.applied(&stored), limits(9, 7), "and the key stays behind");
        let (asked, _) = changes(pb::Contract::default(), &["limits.max_turns"]);
        assert_eq!(asked.applied(&stored), limits(3, 0));
    }

    #[test]
    fn without_a_mask_every_field_that_is_set_changes() {
        let mut faults = Faults::default();
        let asked = Changes::new(Some(limits(9, 0)), None, &mut faults);
        assert_eq!(asked.paths, ["goal", "limits.max_hops"]);
        assert_eq!(asked.applied(&limits(3, 7)), limits(9, 7));
        assert!(faults.sorted().is_empty());
    }

    #[test]
    fn a_plan_takes_the_place_of_a_first_agent() {
        let start = |agent: &str| Some(pb::contract::Start::FirstAgent(agent.into()));
        let plan =
            pb::Contract { start: Some(pb::contract::Start::Plan(pb::Plan::default())), ..limits(3, 7) };
        let (asked, faults) =
            changes(pb::Contract { start: start("a"), ..Default::default() }, &["first_agent"]);
        assert_eq!((asked.applied(&plan).start, faults), (start("a"), 0));
    }

    #[test]
    fn a_path_that_names_nothing_is_refused() {
        for bad in ["limits.max_hop", "nothing", "labels.team", "goal.x", "idempotency_key", "", "limits."] {
            assert_eq!(changes(limits(1, 1), &[bad]).1, 1, "{bad}");
        }
    }

    #[test]
    fn the_same_changes_have_the_same_hash_whatever_else_is_sent() {
        let hash = |values, paths: &[&str]| changes(values, paths).0.fingerprint();
        let one = hash(limits(9, 1), &["limits.max_hops"]);
        assert_eq!(one, hash(limits(9, 2), &["limits.max_hops", "limits.max_hops"]));
        assert_ne!(one, hash(limits(8, 1), &["limits.max_hops"]));
        assert_ne!(one, hash(limits(9, 1), &["limits.max_turns"]));
        assert_ne!(hash(limits(0, 0), &[]), hash(limits(0, 0), &["limits.max_replans"]));
    }

    #[test]
    fn what_was_derived_is_derived_anew_and_what_was_written_stays() {
        let contract = |total, turn, reserve| {
            let budget = pb::Budget {
                max_tokens: total,
                max_tokens_per_turn: turn,
                finalization_reserve_tokens: reserve,
                ..Default::default()
            };
            pb::Contract { budget: Some(budget), ..Default::default() }
        };
        let derive = |bare: pb::Contract| {
            let budget = bare.budget?;
            assert_eq!((budget.max_tokens_per_turn, budget.finalization_reserve_tokens), (0, 0));
            Some(contract(1_000, 225, 100))
        };
        let (asked, _) = changes(contract(5_000, 0, 0), &["budget.max_tokens"]);
        assert_eq!(asked.underived(&contract(1_000, 225, 100), derive), contract(1_000, 0, 0));
        assert_eq!(asked.underived(&contract(1_000, 300, 100), derive), contract(1_000, 300, 0));
        let (asked, _) = changes(limits(1, 1), &["limits.max_hops"]);
        let stored = contract(1_000, 225, 100);
        assert_eq!(asked.underived(&stored, |_| Some(stored.clone())), stored);
    }
}
