//! Product code that has many tasks: all of them over one stream, with an answer for each.
//!
//! ```sh
//! cargo run --example submit_many -- 1000     # of the agent `shout`, once a worker has served it
//! ```
//!
//! Every submission has an idempotency key, so that whatever has no answer when a stream breaks is simply sent again. What the
//! server is too full for is sent again later; every other refusal is final.

use std::{collections::BTreeMap, time::Duration};

use bailiwick_worker::{
    from_json,
    pb::{
        Budget, Contract, Limits, StreamTasksRequest, Submission, SubmissionRefusal, SubmitTaskRequest,
        Termination, contract, submission_result::Result as Outcome, task_service_client::TaskServiceClient,
    },
};
use serde_json::json;
use tonic::{Code, transport::Channel};

/// Submissions in one message.
const IN_MESSAGE: usize = 64;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: i64 = std::env::args().nth(1).map_or(Ok(100), |count| count.parse())?;
    let addr = std::env::var("BAILIWICK_ADDR").unwrap_or_else(|_| "127.0.0.1:7400".to_owned());
    let channel = Channel::from_shared(format!("http://{addr}"))?.connect().await?;
    let client = TaskServiceClient::new(channel);
    let mut open: BTreeMap<i64, Contract> = (1..=count).map(|number| (number, contract_of(number))).collect();
    while !open.is_empty() {
        if let Err(status) = one_stream(client.clone(), &mut open).await {
            eprintln!("the stream broke with {} to go: {}", open.len(), status.message());
        }
        if !open.is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    Ok(())
}

/// Sends everything that is open and takes from it what has its answer.
async fn one_stream(
    mut client: TaskServiceClient<Channel>,
    open: &mut BTreeMap<i64, Contract>,
) -> Result<(), tonic::Status> {
    let submissions: Vec<_> = open
        .iter()
        .map(|(number, contract)| {
            let request = SubmitTaskRequest { contract: Some(contract.clone()), ..Default::default() };
            Submission { number: *number, request: Some(request), ..Default::default() }
        })
        .collect();
    let messages: Vec<_> = submissions
        .chunks(IN_MESSAGE)
        .map(|chunk| StreamTasksRequest { submissions: chunk.to_vec() })
        .collect();
    // The requests are pulled while answers are read: neither side waits for the other.
    let mut answers = client.stream_tasks(tokio_stream::iter(messages)).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        for result in answer.results {
            match result.result {
                Some(Outcome::Accepted(accepted)) => println!("{}: {}", result.number, accepted.task_id),
                Some(Outcome::Refused(refusal)) if is_passing(&refusal) => continue,
                Some(Outcome::Refused(refusal)) => eprintln!("{}: {}", result.number, refusal.message),
                None => continue,
            }
            open.remove(&result.number);
        }
    }
    Ok(())
}

/// Whether the same may succeed later.
fn is_passing(refusal: &SubmissionRefusal) -> bool {
    matches!(Code::from(refusal.code), Code::ResourceExhausted | Code::Unavailable)
}

fn contract_of(number: i64) -> Contract {
    let schema = json!({ "type": "object", "required": ["text"] });
    let Some(prost_types::value::Kind::StructValue(schema)) = from_json(schema).kind else {
        unreachable!("an object is a struct")
    };
    Contract {
        goal: "say it louder".to_owned(),
        input: Some(from_json(json!({ "text": format!("number {number}") }))),
        start: Some(contract::Start::FirstAgent("shout".to_owned())),
        owner: "shout".to_owned(),
        budget: Some(Budget { max_tokens: 10_000, ..Default::default() }),
        limits: Some(Limits {
            deadline: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            ..Default::default()
        }),
        termination: Some(Termination { result_schema: Some(schema), ..Default::default() }),
        idempotency_key: format!("submit-many-{number}"),
        ..Default::default()
    }
}
