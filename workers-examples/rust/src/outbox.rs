//! What must reach the server and is kept until it has said so: answers, the last usage of stopped attempts, and budget
//! requests. Never forgets an entry but on an acknowledgement, a final refusal, or a cancel.

use std::collections::BTreeMap;

use tokio::{sync::oneshot, time::Instant};

use crate::pb::{self, session_request::Message};

/// What is kept.
pub(crate) enum Letter {
    /// An answer.
    Answer(pb::Complete),
    /// The last usage of an attempt that was stopped.
    LastUsage(pb::UsageReport),
    /// A request for a greater allowance, and who waits for the answer.
    Budget(pb::BudgetRequest, oneshot::Sender<i64>),
}

impl Letter {
    fn lease(&self) -> &str {
        match self {
            Self::Answer(m) => &m.lease,
            Self::LastUsage(m) => &m.lease,
            Self::Budget(m, _) => &m.lease,
        }
    }

    fn message(&self) -> Message {
        match self {
            Self::Answer(m) => Message::Complete(m.clone()),
            Self::LastUsage(m) => Message::Usage(m.clone()),
            Self::Budget(m, _) => Message::BudgetRequest(m.clone()),
        }
    }
}

struct Entry {
    letter: Letter,
    /// Its message id within the present session; `None` while it is not sent.
    sent_as: Option<i64>,
    /// Not to be sent before.
    not_before: Option<Instant>,
}

/// The letters, in the order they were written.
#[derive(Default)]
pub(crate) struct Outbox {
    entries: BTreeMap<u64, Entry>,
    next: u64,
}

impl Outbox {
    pub(crate) fn put(&mut self, letter: Letter) {
        self.entries.insert(self.next, Entry { letter, sent_as: None, not_before: None });
        self.next += 1;
    }

    /// Whether nothing is left that the server must still take; budget requests do not count.
    pub(crate) fn is_settled(&self) -> bool {
        !self.entries.values().any(|e| !matches!(e.letter, Letter::Budget(..)))
    }

    /// Leases of the answers that are kept; never more than a few beyond the worker's concurrency.
    pub(crate) fn answered_leases(&self) -> impl Iterator<Item = &str> {
        self.entries.values().filter_map(|e| match &e.letter {
            Letter::Answer(m) => Some(m.lease.as_str()),
            Letter::LastUsage(_) | Letter::Budget(..) => None,
        })
    }

    /// A session is gone: everything counts as unsent.
    pub(crate) fn session_ended(&mut self) {
        for entry in self.entries.values_mut() {
            entry.sent_as = None;
            entry.not_before = None;
        }
    }

    /// The next message to send, if one is due: its key and what to send.
    pub(crate) fn due(&self, now: Instant) -> Option<(u64, Message)> {
        let due = |e: &&Entry| e.sent_as.is_none() && e.not_before.is_none_or(|at| at <= now);
        self.entries.iter().find(|(_, e)| due(e)).map(|(key, e)| (*key, e.letter.message()))
    }

    /// When the next delayed message is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.entries.values().filter(|e| e.sent_as.is_none()).filter_map(|e| e.not_before).min()
    }

    pub(crate) fn sent(&mut self, key: u64, message_id: i64) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.sent_as = Some(message_id);
        }
    }

    /// The server has it.
    pub(crate) fn acked(&mut self, message_id: i64) {
        self.entries.retain(|_, e| e.sent_as != Some(message_id) || matches!(e.letter, Letter::Budget(..)));
    }

    /// The server refused it: with `again` it is sent anew at that time, otherwise it is dropped. Dropping a budget
    /// request drops its reply, which reads as a denial. Gives the answer that was dropped, if it was one.
    pub(crate) fn refused(&mut self, message_id: i64, again: Option<Instant>) -> Option<pb::Complete> {
        let (key, entry) = self.entries.iter_mut().find(|(_, e)| e.sent_as == Some(message_id))?;
        if again.is_some() {
            entry.sent_as = None;
            entry.not_before = again;
            return None;
        }
        let key = *key;
        match self.entries.remove(&key)?.letter {
            Letter::Answer(complete) => Some(complete),
            Letter::LastUsage(_) | Letter::Budget(..) => None,
        }
    }

    /// Hands a grant to who asked for it.
    pub(crate) fn granted(&mut self, grant: &pb::BudgetGrant) {
        let matches = |e: &Entry| {
            matches!(&e.letter, Letter::Budget(m, _) if m.lease == grant.lease)
                && (grant.message_id == 0 || e.sent_as == Some(grant.message_id))
        };
        let key = self.entries.iter().find(|(_, e)| matches(e)).map(|(key, _)| *key);
        if let Some(Entry { letter: Letter::Budget(_, reply), .. }) =
            key.and_then(|k| self.entries.remove(&k))
        {
            // The handler may have stopped waiting; the allowance was raised all the same.
            let _ = reply.send(grant.granted_tokens);
        }
    }

    /// The attempt is over, by an answer or a stop: nobody waits for its budget any more.
    pub(crate) fn drop_budget(&mut self, lease: &str) {
        self.entries.retain(|_, e| e.letter.lease() != lease || !matches!(e.letter, Letter::Budget(..)));
    }

    /// Takes back an answer that is not acknowledged: its lease was revoked. Gives the usage it carried.
    pub(crate) fn take_answer(&mut self, lease: &str) -> Option<pb::Usage> {
        let is_it = |e: &Entry| matches!(&e.letter, Letter::Answer(m) if m.lease == lease);
        let key = self.entries.iter().find(|(_, e)| is_it(e)).map(|(key, _)| *key)?;
        let Letter::Answer(complete) = self.entries.remove(&key)?.letter else { return None };
        usage_of(complete)
    }
}

/// The usage that an answer carries.
pub(crate) fn usage_of(complete: pb::Complete) -> Option<pb::Usage> {
    match complete.answer? {
        pb::complete::Answer::Envelope(envelope) => envelope.usage,
        pb::complete::Answer::Decision(decision) => decision.usage,
        pb::complete::Answer::Verdict(verdict) => verdict.usage,
    }
}
