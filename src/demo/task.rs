//! One task of the demo, from its contract to its end: submitted, watched and read back over gRPC, as any client would.

use std::{collections::BTreeMap, time::Duration};

use prost_types::Duration as WireDuration;
use serde_json::Value;
use tonic::Streaming;

use super::{
    record::Record,
    show::{Live, Show},
};
use crate::{
    cli::{Failure, client::Client},
    pb,
};

/// The owner of every task.
pub(super) const OWNER: &str = "lead";
/// A task that takes longer is ended by its deadline.
const DEADLINE: i64 = 600;
/// How often a record that is not complete yet is read again, and how long in all.
const AGAIN: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(5);

/// A contract with what all tasks of the demo have in common: the owner, a deadline, no questions to a person, and a result
/// that has a summary.
pub(super) fn contract(goal: &str, first_agent: &str, input: &Value, max_tokens: i64) -> pb::Contract {
    let schema = serde_json::json!({"type": "object", "required": ["summary"]});
    let result_schema = match wire(&schema).kind {
        Some(prost_types::value::Kind::StructValue(fields)) => Some(fields),
        _ => None,
    };
    pb::Contract {
        goal: goal.to_owned(),
        input: Some(wire(input)),
        start: Some(pb::contract::Start::FirstAgent(first_agent.to_owned())),
        owner: OWNER.to_owned(),
        budget: Some(pb::Budget { max_tokens, ..pb::Budget::default() }),
        limits: Some(pb::Limits {
            deadline: Some(WireDuration { seconds: DEADLINE, nanos: 0 }),
            ..pb::Limits::default()
        }),
        termination: Some(pb::Termination { result_schema, ..pb::Termination::default() }),
        gate: Some(pb::Gate { max_revisions: Some(0), ..pb::Gate::default() }),
        escalation: Some(pb::EscalationPolicy {
            max_escalations: Some(0),
            ..pb::EscalationPolicy::default()
        }),
        labels: BTreeMap::from([("demo".to_owned(), first_agent.to_owned())]),
        ..pb::Contract::default()
    }
}

/// JSON as the wire knows it.
pub(super) fn wire(value: &Value) -> prost_types::Value {
    bailiwick_worker::from_json(value.clone())
}

/// A task that is watched.
pub(super) struct Watched {
    /// Its id.
    pub(super) id: String,
    /// What its events have said so far.
    pub(super) record: Record,
    stream: Streaming<pb::WatchTaskResponse>,
    live: Live,
}

/// Submits a contract and watches the task from its first event.
pub(super) async fn submit(
    client: &Client,
    show: &Show<'_>,
    contract: pb::Contract,
) -> Result<Watched, Failure> {
    let request = pb::SubmitTaskRequest { contract: Some(contract), parent_lease: String::new() };
    let id = client.ask(show.terminal(), client.tasks.clone().submit_task(request)).await?.task_id;
    let stream = open(client, show, &id).await?;
    Ok(Watched { id, record: Record::default(), stream, live: Live::default() })
}

async fn open(
    client: &Client,
    show: &Show<'_>,
    id: &str,
) -> Result<Streaming<pb::WatchTaskResponse>, Failure> {
    let request = pb::WatchTaskRequest { task_id: id.to_owned(), after_seq: 0 };
    client.ask(show.terminal(), client.tasks.clone().watch_task(request)).await
}

impl Watched {
    /// The next event, shown and recorded; None once the task has ended.
    pub(super) async fn next(&mut self, show: &Show<'_>) -> Result<Option<pb::TaskEvent>, Failure> {
        let message = self.stream.message().await.map_err(|status| Failure::of_status(&status))?;
        let Some(message) = message else { return Ok(None) };
        self.live.show(show, &message)?;
        if let Some(event) = &message.event {
            self.record.take(event);
        }
        Ok(Some(message.event.unwrap_or_default()))
    }

    /// Leaves the view as it is, so that something can be said below it.
    pub(super) fn pause(&mut self, show: &Show<'_>) -> Result<(), Failure> {
        self.live.leave(show)
    }

    /// Watches to the end and reads the task back.
    pub(super) async fn finish(mut self, client: &Client, show: &Show<'_>) -> Result<Done, Failure> {
        while self.next(show).await?.is_some() {}
        self.live.leave(show)?;
        let task = get(client, show, &self.id).await?;
        Ok(Done { task, record: self.record })
    }
}

/// A task that has ended.
pub(super) struct Done {
    /// As the server tells it.
    pub(super) task: pb::Task,
    /// As its events tell it.
    pub(super) record: Record,
}

impl Done {
    pub(super) fn id(&self) -> &str {
        self.task.summary.as_ref().map_or("", |summary| &summary.task_id)
    }

    pub(super) fn state(&self) -> pb::TaskState {
        self.task.outcome.as_ref().map_or(pb::TaskState::Unspecified, pb::Outcome::state)
    }

    /// The outcome; empty where there is none.
    pub(super) fn outcome(&self) -> pb::Outcome {
        self.task.outcome.clone().unwrap_or_default()
    }

    pub(super) fn ledger(&self) -> pb::Ledger {
        self.task.summary.as_ref().and_then(|summary| summary.ledger.clone()).unwrap_or_default()
    }

    pub(super) fn counters(&self) -> pb::Counters {
        self.task.summary.as_ref().and_then(|summary| summary.counters).unwrap_or_default()
    }

    /// Reads the record and the ledger again until `complete` says that what is reported after the end has come; gives up
    /// after some seconds, and what is there then is what is judged.
    pub(super) async fn settle(
        &mut self,
        client: &Client,
        show: &Show<'_>,
        complete: impl Fn(&Record) -> bool,
    ) -> Result<(), Failure> {
        let until = tokio::time::Instant::now() + PATIENCE;
        while !complete(&self.record) && tokio::time::Instant::now() < until {
            tokio::time::sleep(AGAIN).await;
            let mut stream = open(client, show, self.id()).await?;
            let mut record = Record::default();
            while let Some(message) = stream.message().await.map_err(|status| Failure::of_status(&status))? {
                message.event.iter().for_each(|event| record.take(event));
            }
            self.record = record;
        }
        self.task = get(client, show, self.id()).await?;
        Ok(())
    }
}

/// A task as the server tells it.
pub(super) async fn get(client: &Client, show: &Show<'_>, id: &str) -> Result<pb::Task, Failure> {
    let request = pb::GetTaskRequest { task_id: id.to_owned() };
    let answer = client.ask(show.terminal(), client.tasks.clone().get_task(request)).await?;
    answer.task.ok_or_else(|| Failure::from("the server has answered without a task".to_owned()))
}
