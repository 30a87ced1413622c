//! Acceptance rules: expressions in CEL that a result must keep. A rule is text from outside, and so is the result: both are
//! bounded before they meet (`rule`), every turn of a loop and every value that grows is counted while they do (`meter`),
//! and a panic of the interpreter is a finding. Never here: what follows from a finding; anything on an async thread.

mod meter;
mod rule;
mod sample;
mod values;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rule::{Fault, Rule};

use crate::types::{contract::Contract, payload::Payload};
pub(super) use values::Subject;

/// Compiled rules kept.
const MAX_COMPILED: usize = 1_024;
/// How long one rule may run.
const WALL: Duration = Duration::from_secs(1);
/// The longest finding, in characters.
const MAX_FINDING_CHARS: usize = 600;

/// Rules that are compiled already.
#[derive(Default)]
pub(super) struct Rules {
    compiled: Mutex<HashMap<String, Arc<Rule>>>,
}

impl Rules {
    /// What stands against a subject by the rules; empty: it keeps them all. Blocks, a second for each rule at most.
    pub(super) fn findings(&self, rules: &[String], subject: &Subject) -> Vec<String> {
        let broken = |(index, text): (usize, &String)| {
            let what = match self.rule(text).and_then(|rule| rule.holds(subject, WALL)) {
                Ok(true) => return None,
                Ok(false) => "does not hold".to_owned(),
                Err(fault) => format!("could not be evaluated: {fault}"),
            };
            Some(clipped(&format!("the rule {text} (termination.acceptance[{index}]) {what}")))
        };
        rules.iter().enumerate().filter_map(broken).collect()
    }

    fn rule(&self, text: &str) -> Result<Arc<Rule>, Fault> {
        if let Some(rule) = self.compiled.lock().unwrap_or_else(PoisonError::into_inner).get(text) {
            return Ok(Arc::clone(rule));
        }
        // Compiled outside the lock: two at once may do it twice, none waits.
        let rule = Arc::new(Rule::compile(text)?);
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if compiled.len() >= MAX_COMPILED {
            compiled.clear();
        }
        compiled.insert(text.to_owned(), Arc::clone(&rule));
        Ok(rule)
    }
}

/// Tries a contract's rules on a sample that its schema tells the shape of: index and fault of every rule that cannot work.
/// Blocks, a second for each rule at most.
pub fn tried(contract: &Contract) -> Vec<(usize, String)> {
    let sample = sample::of(contract.result_schema.as_ref().map(Payload::to_json).as_ref());
    let subject = Subject::sample(contract, &sample.value);
    let fault = |(index, text): (usize, &String)| {
        let tried = Rule::compile(text).and_then(|rule| rule.fits(&subject, WALL, sample.is_whole));
        Some((index, clipped(&tried.err()?.to_string())))
    };
    contract.acceptance.iter().enumerate().filter_map(fault).collect()
}

fn clipped(text: &str) -> String {
    text.chars().take(MAX_FINDING_CHARS).collect()
}

#[cfg(test)]
mod tests;
