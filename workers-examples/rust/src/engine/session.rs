//! The engine's side of a session: opening it, what comes down, heartbeats, credit and letters up.

use std::time::Duration;

use tokio::time::Instant;

use super::{Engine, LEASE_TIME, log};
use crate::{
    answer::Answer,
    link::{self, Inbound, Link},
    outbox::{Letter, usage_of},
    pb::{self, session_request::Message as Up, session_response::Message as Down},
    trace::random,
    worker::RunError,
};

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A session that lasted this long ends the backoff.
const GOOD_SESSION: Duration = Duration::from_secs(1);
/// The least heartbeat interval that is believed.
const HEARTBEAT_MIN: Duration = Duration::from_millis(10);
/// Wait before a retryable refusal is tried again, where the server names none.
const RETRY: Duration = Duration::from_millis(500);
/// How the answer begins that takes the place of a refused one.
const REFUSED: &str = "the server refused the answer: ";
/// Characters of a refusal's message that it repeats.
const MAX_WHY: usize = 1_000;

impl Engine {
    pub(super) fn open(&mut self) -> Result<(), RunError> {
        let channel = link::channel(&self.setup.address).map_err(RunError::Address)?;
        self.channel.send_replace(Some(channel.clone()));
        let held = self.running.keys().cloned();
        let held = held.chain(self.waiting.iter().map(|a| a.lease.clone()));
        let held = held.chain(self.outbox.answered_leases().map(str::to_owned)).collect();
        let register = pb::Register {
            worker_id: self.setup.worker_id.clone(),
            agents: self.setup.agents.values().map(|(spec, _)| spec.clone()).collect(),
            max_concurrency: i32::try_from(self.setup.concurrency).unwrap_or(i32::MAX),
            labels: self.setup.labels.clone(),
            held_leases: held,
        };
        self.link = Some(Link::open(channel, register));
        Ok(())
    }

    pub(super) fn link_down(&mut self, why: &str) {
        if self.link.take().is_some_and(|l| l.registered && l.opened_at.elapsed() >= GOOD_SESSION) {
            self.failures = 0;
        }
        self.outbox.session_ended();
        self.credit = 0;
        self.server_drains = false;
        let wait = backoff(self.failures, random());
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Instant::now() + wait;
        log(format_args!("no session with {} ({why}); again in {wait:?}", self.setup.address));
    }

    pub(super) fn on_inbound(&mut self, inbound: Inbound) {
        let message = match inbound {
            Inbound::Ended(why) => return self.link_down(&why),
            Inbound::Unknown => return log(format_args!("ignored a message this worker does not know")),
            Inbound::Message(message) => message,
        };
        self.heard = Instant::now();
        let registered = self.link.as_ref().is_some_and(|l| l.registered);
        match *message {
            Down::Registered(terms) if !registered => self.on_registered(terms),
            _ if !registered => log(format_args!("ignored a message before Registered")),
            Down::Registered(_) => log(format_args!("ignored a second Registered")),
            Down::Assignment(assignment) => self.on_assignment(assignment),
            Down::Cancel(cancel) => self.on_cancel(&cancel),
            Down::BudgetGrant(grant) => self.on_grant(&grant),
            Down::Ack(ack) => ack.message_ids.iter().for_each(|id| self.outbox.acked(*id)),
            Down::Drain(_) => {
                log(format_args!("the server drains"));
                self.server_drains = true;
            }
            Down::Refusal(refusal) => self.on_refusal(&refusal),
        }
    }

    fn on_registered(&mut self, registered: pb::Registered) {
        let Some(link) = &mut self.link else { return };
        link.registered = true;
        let positive = |n: i64| usize::try_from(n).ok().filter(|n| *n > 0);
        let terms = &mut self.terms;
        terms.lease_time = span(registered.lease_time).unwrap_or(LEASE_TIME);
        let heartbeat = span(registered.heartbeat_interval).unwrap_or(terms.lease_time / 3);
        terms.heartbeat = heartbeat.max(HEARTBEAT_MIN);
        let slots = positive(registered.max_concurrency.into()).unwrap_or(self.setup.concurrency);
        terms.slots = slots.min(self.setup.concurrency);
        let bytes = positive(registered.max_message_bytes).unwrap_or(link::MAX_MESSAGE);
        terms.max_message = bytes.min(link::MAX_MESSAGE);
        self.next_heartbeat = self.heard + self.terms.heartbeat;
        log(format_args!("registered as {}", self.setup.worker_id));

        let held: Vec<String> =
            self.running.keys().cloned().chain(self.waiting.iter().map(|a| a.lease.clone())).collect();
        for lease in held.iter().filter(|l| !registered.live_leases.contains(l)) {
            self.stop(lease, "its lease is no longer live");
        }
        for (lease, running) in &self.running {
            let usage = Some(running.attempt.usage());
            if let Some(link) = &mut self.link {
                // A full queue loses nothing: the answer carries the same usage.
                let _ = link.send(Up::Usage(pb::UsageReport { lease: lease.clone(), usage }));
            }
        }
        if self.drain_until.is_some() {
            self.say_drain();
        }
    }

    fn on_refusal(&mut self, refusal: &pb::Refusal) {
        let retry = if refusal.retryable { "will be sent again" } else { "dropped" };
        log(format_args!("refused ({}): {}; {retry}", refusal.reason, refusal.message));
        let again = refusal.retryable.then(|| Instant::now() + span(refusal.retry_after).unwrap_or(RETRY));
        if let Some(dropped) = self.outbox.refused(refusal.message_id, again) {
            self.refused_for_good(dropped, refusal);
        }
        let gone = matches!(refusal.reason.as_str(), "LEASE_NOT_LIVE" | "LEASE_UNKNOWN");
        if gone && again.is_none() && self.holds(&refusal.lease) {
            self.stop(&refusal.lease, "its lease is no longer live");
        }
    }

    /// An answer was dropped. Where its lease lives on, the turn would hang on our heartbeats: a FAILED answer that says why
    /// takes its place, once.
    fn refused_for_good(&mut self, dropped: pb::Complete, refusal: &pb::Refusal) {
        let lease = dropped.lease.clone();
        let replaced = matches!(&dropped.answer, Some(pb::complete::Answer::Envelope(e)) if e.reason.starts_with(REFUSED));
        let usage = usage_of(dropped).unwrap_or_default();
        match refusal.reason.as_str() {
            "LEASE_UNKNOWN" => {}
            // The answer is lost, what it cost is not.
            "LEASE_NOT_LIVE" | "ALREADY_ANSWERED" => {
                self.outbox.put(Letter::LastUsage(pb::UsageReport { lease, usage: Some(usage) }));
            }
            _ if replaced => {}
            reason => {
                let why: String = refusal.message.chars().take(MAX_WHY).collect();
                let failed = Answer::failed(format!("{REFUSED}{reason}: {why}"));
                self.outbox.put(Letter::Answer(failed.complete(lease, usage)));
            }
        }
    }

    pub(super) fn say_drain(&mut self) {
        let grace = prost_types::Duration::try_from(self.setup.drain_limit).ok();
        if let Some(link) = self.link.as_mut().filter(|l| l.registered) {
            // Only a courtesy: without it the server learns the same from the end of the session.
            let _ = link.send(Up::Drain(pb::Drain { grace }));
        }
    }

    pub(super) fn heartbeat(&mut self, now: Instant) {
        let Some(link) = self.link.as_mut().filter(|l| l.registered && now >= self.next_heartbeat) else {
            return;
        };
        // A queue that does not empty is a stream that does not flow: then nothing counts as exchanged.
        if link.is_flushed() {
            self.heard = now;
        }
        self.next_heartbeat = now + self.terms.heartbeat;
        if link.send(Up::Heartbeat(pb::Heartbeat {})).is_none() {
            self.link_down("the stream does not flow");
        }
    }

    pub(super) fn flush(&mut self, now: Instant) {
        let Some(link) = self.link.as_mut().filter(|l| l.registered) else { return };
        while link.has_room()
            && let Some((key, message)) = self.outbox.due(now)
            && let Some(message_id) = link.send(message)
        {
            self.outbox.sent(key, message_id);
        }
    }

    /// Asks for as much work as there are free slots that no credit covers yet. An answer on its way uses its slot until it
    /// is acknowledged or refused for good: so long the server counts the attempt as running.
    pub(super) fn give_credit(&mut self) {
        if self.drain_until.is_some() || self.server_drains {
            return;
        }
        let answers = self.outbox.answered_leases().count();
        let taken = self.running.len() + self.waiting.len() + answers + self.credit;
        let free = self.terms.slots.saturating_sub(taken);
        let Some(link) = self.link.as_mut().filter(|l| l.registered && l.has_room() && free > 0) else {
            return;
        };
        let slots = i32::try_from(free).unwrap_or(i32::MAX);
        if link.send(Up::Credit(pb::Credit { slots, agent: String::new() })).is_some() {
            self.credit += free;
        }
    }
}

/// The wait before try number `failures` + 1: doubling from 0.1 s to 5 s, spread by a quarter either way.
fn backoff(failures: u32, random: u64) -> Duration {
    let base = BACKOFF_MIN.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX);
    let spread = base.mul_f64((random % 1_000) as f64 / 2_000.0);
    (base.mul_f64(0.75) + spread).clamp(BACKOFF_MIN, BACKOFF_MAX)
}

/// A positive duration of the wire.
fn span(duration: Option<prost_types::Duration>) -> Option<Duration> {
    duration.and_then(|d| Duration::try_from(d).ok()).filter(|d| !d.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_and_stays_within_its_bounds() {
        for random in [0, 499, 999, u64::MAX] {
            let waits: Vec<Duration> = (0..40).map(|n| backoff(n, random)).collect();
            assert!(waits.iter().all(|w| (BACKOFF_MIN..=BACKOFF_MAX).contains(w)));
            assert!(waits.windows(2).all(|w| w[0] <= w[1]));
            assert!(waits[39] >= BACKOFF_MAX.mul_f64(0.75));
        }
    }
}
