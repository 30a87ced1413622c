//! The contracts of the bench. A task's number stands in its input.

use std::sync::LazyLock;

use bailiwick::pb::{Budget, Contract, Limits, Submission, SubmitTaskRequest, Termination, contract};

/// Answers at once.
pub(crate) const ANSWERS: &str = "bench";
/// Spends too much.
pub(crate) const SPENDS: &str = "spender";
/// Reports without end.
pub(crate) const REPORTS: &str = "reporter";
/// Is known, and nobody serves it.
pub(crate) const ABSENT: &str = "absent";

/// A contract for an agent.
fn contract_for(agent: &str) -> Contract {
    let schema =
        prost_types::Struct { fields: [("type".to_owned(), string("number"))].into_iter().collect() };
    let hours = |hours: i64| Some(prost_types::Duration { seconds: hours * 3_600, nanos: 0 });
    Contract {
        goal: "give the number back".to_owned(),
        start: Some(contract::Start::FirstAgent(agent.to_owned())),
        owner: agent.to_owned(),
        budget: Some(Budget { max_tokens: 10_000, ..Budget::default() }),
        limits: Some(Limits { deadline: hours(24), worker_wait: hours(12), ..Limits::default() }),
        termination: Some(Termination { result_schema: Some(schema), ..Termination::default() }),
        ..Contract::default()
    }
}

/// A submission of the task of that number.
pub(crate) fn request(agent: &str, number: u64) -> SubmitTaskRequest {
    static ANSWERED: LazyLock<Contract> = LazyLock::new(|| contract_for(ANSWERS));
    let made = if agent == ANSWERS { ANSWERED.clone() } else { contract_for(agent) };
    let contract = Contract { input: Some(string(&number.to_string())), ..made };
    SubmitTaskRequest { contract: Some(contract), ..SubmitTaskRequest::default() }
}

/// The same for a stream. Its place there counts from 1.
pub(crate) fn submission(place: i64, agent: &str, number: u64) -> Submission {
    Submission { number: place, request: Some(Box::new(request(agent, number))), ..Submission::default() }
}

fn string(text: &str) -> prost_types::Value {
    prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(text.to_owned())) }
}

/// The number in an input; a decide turn has none.
pub(crate) fn number_of(input: Option<&prost_types::Value>) -> u64 {
    match input.and_then(|value| value.kind.as_ref()) {
        Some(prost_types::value::Kind::StringValue(text)) => text.parse().unwrap_or(0),
        _ => 0,
    }
}
