//! `bailiwick submit` with many contracts: all go up one stream, and what came of each is said in the order in which they
//! were given. What is told to come back later is sent again; nothing else is.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use prost::Message as _;
use tonic::{Code, Status, Streaming};

use super::{
    Exit, Failure,
    client::{Client, Remote},
    json,
    submit::refused,
    terminal::Terminal,
};
use crate::pb::{self, submission_result::Result as Outcome};

/// Contracts in one message up.
const IN_MESSAGE: usize = 64;

/// A contract, and where it stands.
pub(super) struct Entry {
    /// `file:line`.
    pub(super) place: String,
    /// The contract.
    pub(super) contract: pb::Contract,
}

/// What came of a contract.
type Told = Result<pb::SubmitTaskResponse, Failure>;

/// Submits all of them. The exit code is that of the first that was not accepted.
pub(super) async fn submit(
    entries: Vec<Entry>,
    client: &Client,
    terminal: &Terminal,
    remote: &Remote,
) -> Result<Exit, Failure> {
    let entries = Arc::new(entries);
    let mut report =
        Report { entries: &entries, told: BTreeMap::new(), next: 0, accepted: 0, exit: Exit::Ok };
    let mut pending: Vec<usize> = (0..entries.len()).collect();
    let mut waited = Duration::ZERO;
    loop {
        let accepted = report.accepted;
        let mut later = Vec::new();
        let end = round(&entries, pending, client, &mut report, terminal, remote, &mut later).await;
        if let Err(failure) = end {
            return Err(report.broken_off(failure));
        }
        let Some(wait) = later.iter().filter_map(|(_, failure)| failure.retry_after).max() else { break };
        waited = if report.accepted > accepted { Duration::ZERO } else { waited + wait };
        if waited > client.timeout {
            for (index, failure) in later {
                report.tell(index, Err(failure), terminal, remote)?;
            }
            break;
        }
        tokio::time::sleep(wait).await;
        pending = later.into_iter().map(|(index, _)| index).collect();
        pending.sort_unstable();
    }
    if !remote.json {
        terminal.note(format!("{} of {} accepted", report.accepted, entries.len()));
    }
    Ok(report.exit)
}

/// Sends what is pending over one stream and hears what came of it; what may be sent again goes to `later`.
async fn round(
    entries: &Arc<Vec<Entry>>,
    pending: Vec<usize>,
    client: &Client,
    report: &mut Report<'_>,
    terminal: &Terminal,
    remote: &Remote,
    later: &mut Vec<(usize, Failure)>,
) -> Result<(), Failure> {
    let pending = Arc::new(pending);
    let (mine, theirs) = (Arc::clone(&pending), Arc::clone(entries));
    let chunks = (0..pending.len()).step_by(IN_MESSAGE).map(move |start| {
        let chunk = mine[start..mine.len().min(start + IN_MESSAGE)].iter().zip(start..);
        let submissions = chunk.map(|(index, place)| submission(place, &theirs[*index].contract)).collect();
        pb::StreamTasksRequest { submissions }
    });
    let mut tasks = client.tasks.clone();
    let call = tasks.stream_tasks(tokio_stream::iter(chunks));
    let call = async { Ok(tonic::Response::new(call.await?.into_inner())) };
    let mut answers: Streaming<pb::StreamTasksResponse> = client.ask(terminal, call).await?;
    loop {
        let next = async { answers.message().await.map(tonic::Response::new) };
        let Some(pb::StreamTasksResponse { results }) = client.ask(terminal, next).await? else {
            return Ok(());
        };
        for pb::SubmissionResult { number, result } in results {
            let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
            let Some(index) = place.and_then(|place| pending.get(place)).copied() else { continue };
            match told(result) {
                Err(failure) if failure.retry_after.is_some() => later.push((index, failure)),
                told => report.tell(index, told, terminal, remote)?,
            }
        }
    }
}

fn submission(place: usize, contract: &pb::Contract) -> pb::Submission {
    let request = pb::SubmitTaskRequest { contract: Some(contract.clone()), ..Default::default() };
    let number = i64::try_from(place).unwrap_or(i64::MAX).saturating_add(1);
    pb::Submission { number, request: Some(Box::new(request)), ..Default::default() }
}

fn told(result: Option<Outcome>) -> Told {
    match result {
        Some(Outcome::Accepted(accepted)) => Ok(accepted),
        Some(Outcome::Refused(refusal)) => {
            let details = refusal.encode_to_vec().into();
            let status = Status::with_details(Code::from(refusal.code), refusal.message, details);
            Err(refused(Failure::of_status(&status)))
        }
        None => Err(Failure::new(Exit::Error, "the server said neither yes nor no")),
    }
}

/// Says what came of the contracts, in their order.
struct Report<'a> {
    entries: &'a [Entry],
    /// Known, but not their turn yet.
    told: BTreeMap<usize, Told>,
    /// The next to be said.
    next: usize,
    accepted: usize,
    exit: Exit,
}

impl Report<'_> {
    fn tell(
        &mut self,
        index: usize,
        told: Told,
        terminal: &Terminal,
        remote: &Remote,
    ) -> Result<(), Failure> {
        self.accepted += usize::from(told.is_ok());
        self.told.insert(index, told);
        while let Some(told) = self.told.remove(&self.next) {
            self.say(self.next, told, terminal, remote)?;
            self.next += 1;
        }
        Ok(())
    }

    fn say(&mut self, index: usize, told: Told, terminal: &Terminal, remote: &Remote) -> Result<(), Failure> {
        match told {
            Ok(accepted) if remote.json => terminal.line(json::line("SubmitTaskResponse", &accepted)?),
            Ok(accepted) => terminal.line(&accepted.task_id),
            Err(failure) => {
                if self.exit == Exit::Ok {
                    self.exit = failure.exit;
                }
                let message = format!("{}: {}", self.entries[index].place, failure.message);
                terminal.fail(&Failure { message, ..failure }, remote.json);
                Ok(())
            }
        }
    }

    /// The stream broke: some have no answer.
    fn broken_off(&self, failure: Failure) -> Failure {
        let unknown = self.entries.len() - self.next - self.told.len();
        let first = self.entries.get(self.next).map_or("", |entry| entry.place.as_str());
        failure.hint(format!(
            "{unknown} of {} contracts have no answer, from {first} on: submit those again, which is harmless where they have \
             an idempotency_key",
            self.entries.len()
        ))
    }
}
