//! The rules that hold in every case, and the server's own answers to what comes up. A breach is kept, never thrown: the
//! case goes on, so that it can say what it saw as well.

use std::collections::BTreeSet;

use super::{Event, HEARTBEAT, LEASE_TIME, Stage};
use crate::{
    conformance::child::{CONCURRENCY, WORKER_ID},
    pb::{self, session_request::Message as Up, session_response::Message as Down},
};

/// What the server says it accepts, in bytes.
const MAX_MESSAGE: i64 = 4 * 1024 * 1024;

impl Stage {
    pub(super) fn on_message(&mut self, request: pb::SessionRequest) -> Option<Event> {
        let message_id = request.message_id;
        self.check_order(&request);
        let Some(message) = request.message else {
            self.breach(format!("message {message_id} is empty"));
            return None;
        };
        Some(match message {
            Up::Register(register) => self.on_register(register),
            Up::Credit(credit) => self.on_credit(&credit),
            Up::Heartbeat(_) => Event::Heartbeat,
            Up::Progress(progress) => {
                self.check_lease("Progress", &progress.lease);
                self.ack(message_id);
                Event::Progress(progress)
            }
            Up::Usage(report) => {
                self.check_lease("UsageReport", &report.lease);
                self.check_usage(&report);
                self.ack(message_id);
                Event::Usage(report)
            }
            Up::BudgetRequest(request) => {
                self.check_lease("BudgetRequest", &request.lease);
                if self.policy.answer_budget {
                    self.answer_budget(message_id, &request);
                }
                Event::Budget(request)
            }
            Up::Complete(complete) => self.on_complete(message_id, complete),
            Up::Drain(_) => {
                if let Some(session) = &mut self.session {
                    session.drained = true;
                }
                self.ack(message_id);
                Event::Drain
            }
        })
    }

    fn breach(&mut self, what: String) {
        if !self.breaches.contains(&what) {
            self.breaches.push(what);
        }
    }

    fn check_order(&mut self, request: &pb::SessionRequest) {
        let id = request.message_id;
        let Some(session) = &mut self.session else { return };
        let last = session.last_id.replace(id);
        let is_register = matches!(request.message, Some(Up::Register(_)));
        if id <= last.unwrap_or(0) {
            self.breach(format!("message id {id} came after {last:?}: ids must be above 0 and grow"));
        }
        if last.is_none() != is_register {
            self.breach("Register must be the first message of a session and no other".into());
        }
    }

    fn on_register(&mut self, register: pb::Register) -> Event {
        self.check_register(&register);
        if self.policy.answer_register {
            self.answer_register(&register.held_leases);
        }
        Event::Register(register)
    }

    fn check_register(&mut self, register: &pb::Register) {
        if register.worker_id != WORKER_ID {
            let id = &register.worker_id;
            self.breach(format!("worker_id is {id:?}, BAILIWICK_WORKER_ID is {WORKER_ID:?}"));
        }
        if register.max_concurrency != CONCURRENCY {
            let n = register.max_concurrency;
            self.breach(format!("max_concurrency is {n}, BAILIWICK_CONCURRENCY is {CONCURRENCY}"));
        }
        if !(1..=64).contains(&register.agents.len()) || register.labels.len() > 32 {
            self.breach("Register must name 1 to 64 agents and at most 32 labels".into());
        }
        if !register.agents.iter().any(|a| a.name == "conformance") {
            self.breach("no agent of the name `conformance` is registered".into());
        }
        let names: BTreeSet<&str> = register.agents.iter().map(|a| a.name.as_str()).collect();
        if names.len() != register.agents.len() || !names.iter().all(|n| is_agent_name(n)) {
            self.breach(
                "agent names must differ and be 1 to 64 characters of [a-z0-9_-], a letter first".into(),
            );
        }
    }

    /// Says Registered, with those of `held` that are live.
    pub(crate) fn answer_register(&mut self, held: &[String]) {
        let is_live =
            |lease: &&String| self.policy.leases_live && self.leases.get(*lease).is_some_and(|l| !l.settled);
        let live_leases = held.iter().filter(is_live).cloned().collect();
        let registered = pb::Registered {
            session_id: format!("session-{}", self.session.as_ref().map_or(0, |s| s.id)),
            lease_time: prost_types::Duration::try_from(LEASE_TIME).ok(),
            heartbeat_interval: prost_types::Duration::try_from(HEARTBEAT).ok(),
            live_leases,
            max_concurrency: CONCURRENCY,
            max_message_bytes: MAX_MESSAGE,
            server: "bailiwick conformance".into(),
        };
        if let Some(session) = &mut self.session {
            session.registered = true;
        }
        self.say(Down::Registered(registered));
    }

    fn on_credit(&mut self, credit: &pb::Credit) -> Event {
        let slots = credit.slots;
        if !(1..=CONCURRENCY).contains(&slots) {
            self.breach(format!("a credit of {slots} slots: must be 1 to max_concurrency ({CONCURRENCY})"));
        }
        let Some(session) = &mut self.session else { return Event::Credit(slots) };
        session.credit = session.credit.saturating_add(slots.clamp(0, CONCURRENCY));
        let (drained, total) = (session.drained, session.credit);
        let open = i32::try_from(self.leases.values().filter(|l| !l.settled).count()).unwrap_or(i32::MAX);
        if drained {
            self.breach("credit was given after Drain".into());
        }
        if total > CONCURRENCY {
            self.breach(format!("credit added up to {total}, above max_concurrency ({CONCURRENCY})"));
        } else if total.saturating_add(open) > CONCURRENCY {
            self.breach(format!(
                "credit for {total} with {open} attempts open, above max_concurrency ({CONCURRENCY}): a slot is free at the Ack"
            ));
        }
        Event::Credit(slots)
    }

    fn check_lease(&mut self, what: &str, lease: &str) {
        if !self.leases.contains_key(lease) {
            self.breach(format!("{what} names the lease {lease:?}, which was never assigned"));
        }
    }

    fn check_usage(&mut self, report: &pb::UsageReport) {
        let Some(now) = &report.usage else { return self.breach("a UsageReport must carry usage".into()) };
        let Some(known) = self.leases.get_mut(&report.lease) else { return };
        let shrunk =
            now.input_tokens < known.usage.input_tokens || now.output_tokens < known.usage.output_tokens;
        known.usage = now.clone();
        if shrunk {
            self.breach("usage went down: it is cumulative for the attempt".into());
        }
    }

    fn on_complete(&mut self, message_id: i64, complete: pb::Complete) -> Event {
        self.check_lease("Complete", &complete.lease);
        if complete.answer.is_none() {
            self.breach("a Complete without an answer".into());
        }
        if self.leases.get(&complete.lease).is_some_and(|l| l.revoked) {
            self.breach("a Complete came under a lease that was revoked".into());
        }
        if self.policy.ack_answers {
            self.ack_answer(message_id, &complete.lease);
        }
        Event::Complete(message_id, complete)
    }

    fn answer_budget(&mut self, message_id: i64, request: &pb::BudgetRequest) {
        let grants = self.policy.grant;
        let Some(lease) = self.leases.get_mut(&request.lease) else { return };
        let granted = if grants { request.tokens } else { 0 };
        lease.allowance = lease.allowance.saturating_add(granted);
        let grant = pb::BudgetGrant {
            lease: request.lease.clone(),
            granted_tokens: granted,
            allowance_tokens: lease.allowance,
            left_tokens: if grants { 1_000_000 } else { 17 },
            message_id,
        };
        self.say(Down::BudgetGrant(grant));
    }
}

fn is_agent_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(allowed)
}
