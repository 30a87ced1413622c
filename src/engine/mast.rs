//! The fourteen failure modes of multi-agent systems that the MAST taxonomy names, and what answers each under one contract on
//! one server. Honest: a mode that a contract leaves to luck is told as weak or absent, with what to add.
//! Never here: how the facts of the server are found. They come in.

mod cooperation;
mod specification;
mod verification;

use crate::types::{
    contract::{Contract, Start},
    ids::AgentName,
};

use super::{
    readiness::{Readiness, ServerFacts},
    words,
};

/// How well a mode is answered, and by what or what to add.
pub(super) type Verdict = (Readiness, String);

/// One failure mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mode {
    /// "1.1" to "3.3".
    pub code: &'static str,
    /// The mode.
    pub title: &'static str,
    /// How well it is answered.
    pub readiness: Readiness,
    /// What answers it, or what to add.
    pub advice: String,
}

/// The fourteen modes for a contract on a server.
pub fn modes(contract: &Contract, facts: &ServerFacts) -> Vec<Mode> {
    let looks = &Looks::new(contract);
    let rows: [(&'static str, &'static str, Verdict); 14] = [
        ("1.1", "disobey task specification", specification::task(looks)),
        ("1.2", "disobey role specification", specification::role(contract)),
        ("1.3", "step repetition", specification::repetition(contract)),
        ("1.4", "loss of conversation history", specification::history()),
        ("1.5", "unaware of termination conditions", specification::termination(contract)),
        ("2.1", "conversation reset", cooperation::reset(contract)),
        ("2.2", "fail to ask for clarification", cooperation::clarification(contract)),
        ("2.3", "task derailment", cooperation::derailment(looks)),
        ("2.4", "information withholding", cooperation::withholding(contract, facts)),
        ("2.5", "ignored other agent's input", cooperation::ignored(contract)),
        ("2.6", "reasoning-action mismatch", cooperation::mismatch(looks)),
        ("3.1", "premature termination", verification::premature(looks)),
        ("3.2", "no or incomplete verification", verification::incomplete(looks)),
        ("3.3", "incorrect verification", verification::incorrect(contract)),
    ];
    rows.into_iter()
        .map(|(code, title, (readiness, advice))| Mode { code, title, readiness, advice })
        .collect()
}

/// What looks at a result before it is a success.
pub(super) struct Looks<'a> {
    /// The schema, where it asks for more than some JSON of one type.
    pub(super) schema: bool,
    /// Acceptance rules.
    pub(super) rules: usize,
    /// The validator.
    pub(super) validator: Option<&'a AgentName>,
    /// The share of results that a person sees.
    pub(super) people: f64,
}

impl<'a> Looks<'a> {
    pub(super) fn new(contract: &'a Contract) -> Self {
        Self {
            schema: contract.result_schema.as_ref().is_some_and(says_something),
            rules: contract.acceptance.len(),
            validator: contract.gate.validator.as_ref(),
            people: contract.gate.spot_check_rate,
        }
    }

    /// Everything that looks, in words.
    pub(super) fn told(&self) -> String {
        let mut parts = Vec::new();
        if self.schema {
            parts.push("result_schema".to_owned());
        }
        match self.rules {
            0 => {}
            1 => parts.push("1 acceptance rule".to_owned()),
            rules => parts.push(format!("{rules} acceptance rules")),
        }
        parts.extend(self.validator.map(|validator| format!("the validator {validator}")));
        if self.people > 0.0 {
            parts.push(format!("a person for {} of results", words::percent(self.people)));
        }
        words::list(parts)
    }

    /// How many different things look.
    pub(super) fn count(&self) -> usize {
        [self.schema, self.rules > 0, self.validator.is_some(), self.people > 0.0]
            .into_iter()
            .filter(|looks| *looks)
            .count()
    }
}

/// Whether a schema asks for more than a type: `{"type": "object"}` lets every object pass.
pub(super) fn says_something(schema: &crate::types::payload::Payload) -> bool {
    /// Keywords that describe a schema and ask for nothing.
    const NOTES: [&str; 8] =
        ["type", "title", "description", "$schema", "$id", "$comment", "examples", "default"];
    match schema.to_json() {
        serde_json::Value::Object(keywords) => {
            // A type that can hold only little is a demand of its own.
            let is_open = |kind: &serde_json::Value| matches!(kind.as_str(), Some("object" | "array"));
            let narrow = keywords.get("type").is_some_and(|kind| !is_open(kind));
            narrow || keywords.keys().any(|keyword| !NOTES.contains(&keyword.as_str()))
        }
        serde_json::Value::Bool(all) => !all,
        _ => false,
    }
}

/// Every agent that the contract gives work to by name, in order. The validator and an owner that only decides are not among
/// them: what they answer has a message of its own.
pub fn working_agents(contract: &Contract) -> Vec<&AgentName> {
    let mut agents: Vec<&AgentName> = match &contract.start {
        Start::FirstAgent(first) => vec![first],
        Start::Plan(plan) => plan.steps.iter().flat_map(|step| step.agents()).collect(),
    };
    agents.extend(contract.allowed_hand_offs.iter().flat_map(|(from, to)| std::iter::once(from).chain(to)));
    agents.sort();
    agents.dedup();
    agents
}
