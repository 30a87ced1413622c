//! Halts: what to stop, in; who stopped what since when, out.

use crate::{
    pb::{self, halt_selector::Scope, resume_request::What},
    runtime::Lift,
    types::{
        halt::{Burn, Halt, HaltMark, HaltScope, Lifted},
        limits::fixed::{MAX_LABEL_KEY_BYTES, MAX_LABEL_VALUE_BYTES},
    },
};

use super::{
    faults::Faults,
    int64,
    time::{duration, wire},
};

/// What to stop.
pub(crate) fn scope_in(selector: Option<pb::HaltSelector>, faults: &mut Faults) -> Option<HaltScope> {
    let scope = selector.and_then(|pb::HaltSelector { scope }| scope);
    match scope {
        None => {
            faults.add("selector", "is required: write all, an agent or a label");
            None
        }
        Some(Scope::All(false)) => {
            faults.add("selector.all", "is false: write true, or an agent or a label in its place");
            None
        }
        Some(Scope::All(true)) => Some(HaltScope::All),
        Some(Scope::Agent(name)) => faults.name("selector.agent", &name).map(HaltScope::Agent),
        Some(Scope::Label(pb::HaltLabel { key, value })) => {
            faults.required("selector.label.key", &key, MAX_LABEL_KEY_BYTES, "the key of a label");
            faults.text("selector.label.value", &value, MAX_LABEL_VALUE_BYTES);
            Some(HaltScope::Label { key, value })
        }
    }
}

/// What to lift.
pub(crate) fn lift_in(what: Option<What>, faults: &mut Faults) -> Option<Lift> {
    match what {
        None => faults.add("what", "is required: write everything, a selector or a number"),
        Some(What::Everything(true)) => return Some(Lift::Everything),
        Some(What::Everything(false)) => {
            faults.add("everything", "is false: write true, or a selector or a number in its place");
        }
        Some(What::Selector(selector)) => return scope_in(Some(selector), faults).map(Lift::Scope),
        Some(What::Number(number)) => match u64::try_from(number) {
            Ok(number) => return Some(Lift::Number(number)),
            Err(_) => faults.add("number", format!("is {number}: write the number of a halt")),
        },
    }
    None
}

fn selector_out(scope: &HaltScope) -> pb::HaltSelector {
    let scope = match scope {
        HaltScope::All => Scope::All(true),
        HaltScope::Agent(agent) => Scope::Agent(agent.to_string()),
        HaltScope::Label { key, value } => {
            Scope::Label(pb::HaltLabel { key: key.clone(), value: value.clone() })
        }
    };
    pb::HaltSelector { scope: Some(scope) }
}

/// A halt.
pub(crate) fn halt_out(halt: &Halt) -> pb::Halt {
    let Halt { number, scope, by, reason, at, cancel, ended, swept, burn, lifted } = halt;
    let lifted_by = |what: fn(&Lifted) -> &String| lifted.as_ref().map(what).cloned().unwrap_or_default();
    pb::Halt {
        number: int64(*number),
        selector: Some(selector_out(scope)),
        halted_by: by.clone(),
        reason: reason.clone(),
        halted_at: Some(wire(*at)),
        cancel: *cancel,
        tasks_ended: int64(*ended),
        sweeping: *cancel && !swept && lifted.is_none(),
        burn_rate: burn.as_ref().map(burn_out),
        resumed_by: lifted_by(|lifted| &lifted.by),
        resume_reason: lifted_by(|lifted| &lifted.reason),
        resumed_at: lifted.as_ref().map(|lifted| wire(lifted.at)),
    }
}

fn burn_out(burn: &Burn) -> pb::BurnRate {
    let Burn { limit, tokens, cost_nano_usd, window, tokens_per_minute, cost_per_minute } = burn;
    pb::BurnRate {
        limit: limit.clone(),
        tokens: int64(*tokens),
        cost_nano_usd: int64(*cost_nano_usd),
        window: Some(duration(*window)),
        tokens_per_minute: int64(*tokens_per_minute),
        cost_nano_usd_per_minute: int64(*cost_per_minute),
    }
}

/// The halt that ended a task.
pub(crate) fn halted_out(halt: &HaltMark) -> pb::Halted {
    let HaltMark { number, scope, by, reason } = halt;
    let selector = Some(selector_out(scope));
    pb::Halted { number: int64(*number), selector, halted_by: by.clone(), reason: reason.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_stopped_comes_back_as_it_went_or_says_what_is_wrong() {
        let label = HaltScope::Label { key: "team".to_owned(), value: String::new() };
        for scope in [HaltScope::All, HaltScope::Agent("a".parse().expect("a valid name")), label] {
            let mut faults = Faults::default();
            assert_eq!(scope_in(Some(selector_out(&scope)), &mut faults), Some(scope));
            assert!(faults.sorted().is_empty());
        }
        let bad = [Scope::All(false), Scope::Agent("A!".to_owned()), Scope::Label(pb::HaltLabel::default())];
        for scope in bad.into_iter().map(Some).chain([None]) {
            let mut faults = Faults::default();
            let _ = scope_in(Some(pb::HaltSelector { scope }), &mut faults);
            assert_eq!(faults.sorted().len(), 1);
        }
    }
}
