//! The engine's side of attempts: starting handlers, stopping them, and turning what they say into messages.

use std::sync::Arc;

use prost::Message as _;
use tokio::{
    task::{Id, JoinError},
    time::Instant,
};

use super::{COMMANDS, Engine, Outcome, Running, log};
use crate::{
    answer::HandlerError,
    context::{Attempt, Command, Context},
    outbox::Letter,
    pb::{self, session_request::Message as Up},
};

/// Assignments kept beyond the slots.
const WAITING: usize = 1_000;
/// Leases remembered after they are done with.
const DONE: usize = 4_096;
/// What a message needs beside its content, in bytes.
const OVERHEAD: usize = 64;

impl Engine {
    pub(super) fn on_assignment(&mut self, assignment: pb::Assignment) {
        let lease = &assignment.lease;
        if self.holds(lease) || self.done.contains(lease) || lease.is_empty() {
            return log(format_args!("ignored a repeated or empty assignment of turn {}", assignment.turn));
        }
        self.credit = self.credit.saturating_sub(1);
        // A decide turn is never turned away for want of room: an envelope would mean that the owner did not decide.
        let decides = assignment.kind() == pb::TurnKind::Decide;
        if self.drain_until.is_some() && !decides {
            self.turn_away(assignment.lease, "the worker is draining");
        } else if !self.setup.agents.contains_key(&assignment.agent) {
            self.turn_away(assignment.lease, "this worker does not serve the agent");
        } else if self.running.len() < self.terms.slots {
            self.start(assignment);
        } else if decides || self.waiting.len() < WAITING {
            self.waiting.push_back(assignment);
        } else {
            self.turn_away(assignment.lease, "the worker is full");
        }
    }

    /// Whether an attempt runs or waits under the lease.
    pub(super) fn holds(&self, lease: &str) -> bool {
        self.running.contains_key(lease) || self.waiting.iter().any(|a| a.lease == lease)
    }

    /// Gives an assignment back so that another attempt can be made at once.
    fn turn_away(&mut self, lease: String, why: &str) {
        log(format_args!("turned an assignment away: {why}"));
        let answer = HandlerError::retryable(why).into_answer();
        self.outbox.put(Letter::Answer(answer.complete(lease.clone(), pb::Usage::default())));
        self.remember(lease);
    }

    fn start(&mut self, assignment: pb::Assignment) {
        let Some((_, handler)) = self.setup.agents.get(&assignment.agent) else { return };
        let attempt = Arc::new(Attempt::new(assignment.allowance_tokens));
        let lease = assignment.lease.clone();
        let context = Context::new(
            Arc::new(assignment),
            Arc::clone(&attempt),
            self.speak.clone(),
            self.channel.subscribe(),
        );
        let handler = Arc::clone(handler);
        // The handler is called inside its task, so that a panic before its first await is caught as well.
        let name = lease.clone();
        let task = self.tasks.spawn(async move { (name, handler(context).await) });
        self.running.insert(lease, Running { attempt, task });
    }

    fn start_waiting(&mut self) {
        while self.running.len() < self.terms.slots
            && let Some(assignment) = self.waiting.pop_front()
        {
            self.start(assignment);
        }
    }

    pub(super) fn on_cancel(&mut self, cancel: &pb::Cancel) {
        if !self.stop(&cancel.lease, &cancel.reason) {
            log(format_args!("ignored a cancel of a lease that is not held"));
        }
    }

    /// Ends an attempt without an answer: its handler is dropped, its last usage is sent. False when nothing is held under
    /// the lease.
    pub(super) fn stop(&mut self, lease: &str, why: &str) -> bool {
        let waiting = self.waiting.len();
        self.waiting.retain(|a| a.lease != lease);
        let usage = if let Some(running) = self.running.remove(lease) {
            running.attempt.cancel();
            running.task.abort();
            running.attempt.usage()
        } else if self.waiting.len() < waiting {
            pb::Usage::default()
        } else if let Some(usage) = self.outbox.take_answer(lease) {
            usage
        } else {
            return false;
        };
        log(format_args!("stopped an attempt: {why}"));
        self.outbox.drop_budget(lease);
        self.outbox.put(Letter::LastUsage(pb::UsageReport { lease: lease.to_owned(), usage: Some(usage) }));
        self.remember(lease.to_owned());
        self.start_waiting();
        true
    }

    /// Stops everything when nothing has got through for the lease time: whatever the server does, these leases are gone.
    pub(super) fn lapse(&mut self, now: Instant) {
        if now < self.heard + self.terms.lease_time {
            return;
        }
        // Waiting ones first, or stopping a running one would start them.
        let held = self.waiting.iter().map(|a| a.lease.clone()).chain(self.running.keys().cloned());
        for lease in held.collect::<Vec<_>>() {
            self.stop(&lease, "its lease has lapsed");
        }
    }

    pub(super) fn on_grant(&mut self, grant: &pb::BudgetGrant) {
        if let Some(running) = self.running.get(&grant.lease) {
            running.attempt.set_allowance(grant.allowance_tokens);
        }
        self.outbox.granted(grant);
    }

    pub(super) fn on_command(&mut self, command: Command) {
        let up = match command {
            Command::Progress(progress) if progress.encoded_len() + OVERHEAD > self.terms.max_message => {
                return log(format_args!("dropped a progress report that is larger than the server takes"));
            }
            Command::Progress(progress) if self.running.contains_key(&progress.lease) => {
                Up::Progress(progress)
            }
            Command::Usage { lease } => match self.running.get(&lease) {
                Some(running) => Up::Usage(pb::UsageReport { lease, usage: Some(running.attempt.usage()) }),
                None => return,
            },
            Command::Budget { lease, tokens, reason, reply } if self.running.contains_key(&lease) => {
                return self.outbox.put(Letter::Budget(pb::BudgetRequest { lease, tokens, reason }, reply));
            }
            // Its attempt is over.
            Command::Progress(_) | Command::Budget { .. } => return,
        };
        if let Some(link) = self.link.as_mut().filter(|l| l.registered) {
            // Both may be lost: progress by contract, and the answer carries the usage again.
            let _ = link.send(up);
        }
    }

    pub(super) fn on_joined(&mut self, joined: Result<(Id, (String, Outcome)), JoinError>) {
        // What a handler said comes before its answer.
        for _ in 0..COMMANDS {
            let Ok(command) = self.commands.try_recv() else { break };
            self.on_command(command);
        }
        let (lease, outcome) = match joined {
            Ok((_, done)) => done,
            Err(error) => {
                let lease =
                    self.running.iter().find(|(_, r)| r.task.id() == error.id()).map(|(l, _)| l.clone());
                // A stopped attempt is not in `running` any more.
                let Some(lease) = lease else { return };
                (lease, Err(HandlerError::panicked(&panic_message(error))))
            }
        };
        let Some(running) = self.running.remove(&lease) else { return };
        let answer = outcome.unwrap_or_else(HandlerError::into_answer);
        let mut complete = answer.complete(lease.clone(), running.attempt.usage());
        let bytes = complete.encoded_len() + OVERHEAD;
        if bytes > self.terms.max_message {
            let most = self.terms.max_message;
            let error = HandlerError::failed(format!("the answer takes {bytes} bytes, the server {most}"));
            complete = error.into_answer().complete(lease.clone(), running.attempt.usage());
        }
        self.outbox.drop_budget(&lease);
        self.outbox.put(Letter::Answer(complete));
        self.remember(lease);
        self.start_waiting();
    }

    fn remember(&mut self, lease: String) {
        self.done.push_back(lease);
        if self.done.len() > DONE {
            self.done.pop_front();
        }
    }
}

fn panic_message(error: JoinError) -> String {
    let Ok(payload) = error.try_into_panic() else { return "the handler's task was aborted".into() };
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
