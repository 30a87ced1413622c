//! What the server says when a case wants it to: assignments, acknowledgements, refusals, cancels, the end of a session;
//! and the waits that most cases share.

use std::time::{Duration, SystemTime};

use bailiwick_worker::from_json;
use serde_json::Value;

use super::{ALLOWANCE, Event, Failure, Lease, PATIENCE, Stage};
use crate::pb::{self, session_response::Message as Down};

/// How far ahead of now an assignment's deadline lies.
const DEADLINE: Duration = Duration::from_secs(120);

impl Stage {
    /// Sends a message down. Lost when there is no session, as on a real network.
    pub(crate) fn say(&mut self, message: Down) {
        self.say_raw(pb::SessionResponse { message: Some(message) });
    }

    /// Sends whatever it is given.
    pub(crate) fn say_raw(&mut self, response: pb::SessionResponse) {
        if let Some(session) = &self.session {
            self.transcript.down(&response);
            // A full queue means a worker that does not read; the case will miss its answer and say so.
            let _ = session.down.try_send(Ok(response));
        }
    }

    /// Ends the present session with a status.
    pub(crate) fn end_session(&mut self, status: tonic::Status) {
        if let Some(session) = self.session.take() {
            self.transcript.happened(&format!("the server ends the session: {:?}", status.code()));
            // As above.
            let _ = session.down.try_send(Err(status));
        }
    }

    pub(super) fn ack(&mut self, message_id: i64) {
        self.say(Down::Ack(pb::Ack { message_ids: vec![message_id] }));
    }

    /// Takes an answer and says so.
    pub(crate) fn ack_answer(&mut self, message_id: i64, lease: &str) {
        self.settle_lease(lease);
        self.ack(message_id);
    }

    /// The lease is no longer live.
    pub(crate) fn settle_lease(&mut self, lease: &str) {
        if let Some(known) = self.leases.get_mut(lease) {
            known.settled = true;
        }
    }

    /// From now on an answer under the lease is a breach.
    pub(crate) fn revoke(&mut self, lease: &str) {
        if let Some(known) = self.leases.get_mut(lease) {
            known.settled = true;
            known.revoked = true;
        }
    }

    /// Revokes a lease and says so, and why.
    pub(crate) fn cancel(&mut self, lease: &str, cause: pb::Cause) {
        self.revoke(lease);
        let reason = "the conformance run cancels it".into();
        self.say(Down::Cancel(pb::Cancel { lease: lease.to_owned(), reason, cause: cause.into() }));
    }

    /// Refuses an answer; retryable where `retry` says when.
    pub(crate) fn refuse(&mut self, message_id: i64, lease: &str, reason: &str, retry: Option<Duration>) {
        let code = match reason {
            _ if retry.is_some() => tonic::Code::ResourceExhausted,
            "INVALID_MESSAGE" => tonic::Code::InvalidArgument,
            _ => tonic::Code::FailedPrecondition,
        };
        let refusal = pb::Refusal {
            message_id,
            lease: lease.to_owned(),
            code: code as i32,
            reason: reason.to_owned(),
            message: "the conformance run refuses it".into(),
            retryable: retry.is_some(),
            retry_after: retry.and_then(|d| prost_types::Duration::try_from(d).ok()),
        };
        self.say(Down::Refusal(refusal));
    }

    /// An assignment of the `conformance` agent with this script, not sent yet. Its lease is granted.
    pub(crate) fn assignment(&mut self, script: Value) -> pb::Assignment {
        self.next_lease += 1;
        let n = self.next_lease;
        let lease = format!("lease-{n}-{:08x}", rand::random::<u32>());
        self.leases.insert(lease.clone(), Lease { allowance: ALLOWANCE, ..Default::default() });
        let (trace, span) = (rand::random::<u128>().max(1), rand::random::<u64>().max(1));
        pb::Assignment {
            task_id: format!("00000000-0000-7000-8000-{n:012x}"),
            turn: n,
            attempt: 1,
            lease,
            agent: "conformance".into(),
            kind: pb::TurnKind::Work.into(),
            goal: "Show that the worker keeps to the protocol".into(),
            input: Some(from_json(script)),
            termination: Some(pb::TerminationTerms::default()),
            allowance_tokens: ALLOWANCE,
            deadline: Some(deadline()),
            idempotency_key: format!("key-{n}"),
            traceparent: format!("00-{trace:032x}-{span:016x}-01"),
            ..Default::default()
        }
    }

    /// Sends an assignment, using up a credit; gives its lease.
    pub(crate) fn send(&mut self, assignment: pb::Assignment) -> String {
        if let Some(session) = &mut self.session {
            session.credit -= 1;
        }
        let lease = assignment.lease.clone();
        self.say(Down::Assignment(Box::new(assignment)));
        lease
    }

    /// Assigns a script; gives the lease.
    pub(crate) fn assign(&mut self, script: Value) -> String {
        let assignment = self.assignment(script);
        self.send(assignment)
    }

    /// Waits for the answer under `lease`: its message id and what it says.
    pub(crate) async fn answer(&mut self, lease: &str) -> Result<(i64, pb::Complete), Failure> {
        self.wait("send Complete", PATIENCE, |seen| match &seen.event {
            Event::Complete(id, complete) if complete.lease == lease => Some((*id, complete.clone())),
            _ => None,
        })
        .await
    }

    /// Waits for the envelope under `lease`.
    pub(crate) async fn envelope(&mut self, lease: &str) -> Result<pb::StatusEnvelope, Failure> {
        match self.answer(lease).await?.1.answer {
            Some(pb::complete::Answer::Envelope(envelope)) => Ok(envelope),
            other => Err(Failure(format!("a work turn wants an envelope, not {}", kind(other.as_ref())))),
        }
    }

    /// Waits for a progress report under `lease` that says `text`.
    pub(crate) async fn progress(&mut self, lease: &str, text: &str) -> Result<pb::Progress, Failure> {
        self.wait(&format!("report the progress {text:?}"), PATIENCE, |seen| match &seen.event {
            Event::Progress(p) if p.lease == lease && p.steps.iter().any(|s| s.content == text) => {
                Some(p.clone())
            }
            _ => None,
        })
        .await
    }

    /// Waits for the next Register.
    pub(crate) async fn register(&mut self, limit: Duration) -> Result<pb::Register, Failure> {
        self.wait("register again", limit, |seen| match &seen.event {
            Event::Register(register) => Some(register.clone()),
            _ => None,
        })
        .await
    }
}

/// A deadline far enough from now, by the clock that a worker in another process reads as well.
#[expect(
    clippy::disallowed_methods,
    reason = "no test pauses this time: it is shared with the worker's process"
)]
fn deadline() -> prost_types::Timestamp {
    prost_types::Timestamp::from(SystemTime::now() + DEADLINE)
}

/// What kind of answer it is.
pub(crate) fn kind(answer: Option<&pb::complete::Answer>) -> &'static str {
    match answer {
        Some(pb::complete::Answer::Envelope(_)) => "an envelope",
        Some(pb::complete::Answer::Decision(_)) => "a decision",
        Some(pb::complete::Answer::Verdict(_)) => "a verdict",
        None => "an empty answer",
    }
}
