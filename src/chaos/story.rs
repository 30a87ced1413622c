//! What the journal says of one task, judged: a pure function over the task's events and its account, as the API gives
//! them. Nothing here knows what the run believes it did, and nothing here asks anybody.

use std::collections::{BTreeMap, BTreeSet};

use super::score::Check;
use crate::{
    console::text,
    pb::{self, AttemptEnd, task_event::Event},
};

/// A task as the server tells it: the view and the whole journal, read at the same length.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// The view.
    pub task: pb::Task,
    /// The journal, oldest first.
    pub events: Vec<pb::TaskEvent>,
}

/// What is wrong with a task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Which promise it breaks.
    pub check: Check,
    /// The evidence, in a sentence.
    pub evidence: String,
}

/// A task, judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// The task.
    pub id: String,
    /// Its state.
    pub state: pb::TaskState,
    /// Why it ended.
    pub cause: pb::Cause,
    /// What it is a sample of; empty where the run did not make it up.
    pub shape: String,
    /// Agents that had an attempt.
    pub agents: BTreeSet<String>,
    /// What is wrong with it. Empty: nothing is.
    pub findings: Vec<Finding>,
    /// When attempts began, in microseconds since the epoch.
    pub started: Vec<u64>,
    /// From the end of an attempt that was lost to the next one of its turn, in microseconds.
    pub retaken: Vec<u64>,
    /// Attempts that ended without an answer, by how.
    pub lost: BTreeMap<&'static str, u64>,
    /// When it was submitted and when it ended, in microseconds since the epoch.
    pub life: (u64, Option<u64>),
    /// Tokens beyond the grant that its account shows, and whether there are any.
    pub overrun: i64,
    /// Trips of the budget guard.
    pub budget_trips: u64,
}

/// One attempt, as the events tell it.
#[derive(Debug, Default)]
struct Attempt {
    allowance: i64,
    used: i64,
    /// What is set aside for it: its allowance; once it is settled, what it had used. Usage beyond may be overrun.
    cap: i64,
    live: bool,
    /// Whether what it used is settled: nothing of its allowance is held any more.
    settled: bool,
}

impl Attempt {
    /// It is known what it used: the rest of its allowance is free again.
    fn settle(&mut self) {
        if !self.live && !self.settled {
            (self.settled, self.cap) = (true, self.allowance.min(self.used));
        }
    }
}

/// The events, taken one by one.
#[derive(Debug, Default)]
struct Reader {
    granted: i64,
    attempts: BTreeMap<(i32, i32), Attempt>,
    /// Share and use of every child.
    children: BTreeMap<String, Child>,
    answered: BTreeSet<i32>,
    questions: BTreeSet<String>,
    closed_questions: BTreeSet<String>,
    ends: usize,
    agents: BTreeMap<i32, String>,
    waiting: BTreeMap<i32, u64>,
    judged: Judged,
}

#[derive(Debug, Default)]
struct Child {
    share: i64,
    used: i64,
    open: bool,
    heard: bool,
}

/// Judges a task.
#[must_use]
pub fn judge(story: &Story) -> Judged {
    let Story { task, events } = story;
    let summary = task.summary.clone().unwrap_or_default();
    let mut reader = Reader::default();
    for (index, event) in events.iter().enumerate() {
        let expected = i64::try_from(index).unwrap_or(i64::MAX).saturating_add(1);
        if event.seq != expected {
            reader.find(Check::Record, format!("event {expected} is numbered {}", event.seq));
        }
        reader.take(event);
    }
    reader.conclude(&summary);
    let mut judged = reader.judged;
    judged.id.clone_from(&summary.task_id);
    judged.state = summary.state();
    judged.cause = summary.cause();
    judged.shape = summary.labels.get(super::shapes::LABEL).cloned().unwrap_or_default();
    judged.life = (micros(summary.created_at.as_ref()), summary.ended_at.as_ref().map(|at| micros(Some(at))));
    judged
}

/// `Ended` is counted apart.
const fn may_follow_the_end(event: &Event) -> bool {
    matches!(event, Event::LateUsage(_) | Event::Ended(_) | Event::Redriven(_) | Event::Discarded(_))
}

/// Microseconds since the epoch; 0 where there is no time.
pub(super) fn micros(at: Option<&prost_types::Timestamp>) -> u64 {
    let micros =
        at.map(|at| at.seconds.saturating_mul(1_000_000).saturating_add(i64::from(at.nanos) / 1_000));
    u64::try_from(micros.unwrap_or(0)).unwrap_or(0)
}

impl Reader {
    fn find(&mut self, check: Check, evidence: String) {
        self.judged.findings.push(Finding { check, evidence });
    }

    fn take(&mut self, event: &pb::TaskEvent) {
        let at = micros(event.at.as_ref());
        let Some(event) = &event.event else {
            return self.find(Check::Record, "an event says nothing".to_owned());
        };
        if self.ends > 0 && !may_follow_the_end(event) {
            let what =
                "something other than late usage or what was done with a dead letter follows the outcome";
            self.find(Check::OneOutcome, what.to_owned());
        }
        match event {
            Event::Submitted(it) => self.submitted(it),
            Event::Extended(it) => {
                let added = it.added.as_ref().map_or(0, |added| added.tokens);
                self.granted = self.granted.saturating_add(added);
            }
            Event::TurnOpened(it) => {
                self.agents.insert(it.turn, it.agent.clone());
            }
            Event::AttemptStarted(it) => self.started(it, at),
            Event::UsageRecorded(it) => self.used((it.turn, it.attempt), it.usage.as_ref()),
            Event::BudgetAnswered(it) => {
                let attempt = self.attempt((it.turn, it.attempt));
                (attempt.allowance, attempt.cap) = (it.allowance_tokens, it.allowance_tokens);
                self.check_grant("a grant of more tokens");
            }
            Event::TurnAnswered(it) => self.turn_answered(it),
            Event::AttemptEnded(it) => self.attempt_ended(it, at),
            Event::LateUsage(it) if it.child_task_id.is_empty() => {
                self.used((it.turn, it.attempt), it.usage.as_ref());
                self.attempt((it.turn, it.attempt)).settle();
            }
            Event::LateUsage(it) => self.child_used(&it.child_task_id, it.usage.as_ref()),
            Event::ChildStarted(it) => {
                let child = Child { share: it.tokens, open: true, ..Child::default() };
                self.children.insert(it.child_task_id.clone(), child);
                self.check_grant("a child");
            }
            Event::ChildEnded(it) => {
                self.children.entry(it.child_task_id.clone()).or_default().open = false;
                if it.heard {
                    self.child_used(&it.child_task_id, it.usage.as_ref());
                }
            }
            Event::Escalated(it) => self.escalated(it),
            Event::EscalationEnded(it) => self.question_ended(&it.escalation_id),
            Event::GuardsTripped(it) => {
                let budget = it.trips.iter().filter(|trip| trip.cause() == pb::Cause::Budget).count();
                self.judged.budget_trips += u64::try_from(budget).unwrap_or(0);
            }
            Event::Ended(_) => self.ends += 1,
            // Nothing is counted by it.
            _ => {}
        }
    }

    fn question_ended(&mut self, id: &str) {
        if !self.closed_questions.insert(id.to_owned()) {
            self.find(Check::Questions, format!("question {id} ended twice"));
        }
    }

    fn submitted(&mut self, it: &pb::Submitted) {
        let budget = it.contract.as_ref().and_then(|contract| contract.budget.as_ref());
        self.granted = budget.map_or(0, |budget| budget.max_tokens);
    }

    fn attempt(&mut self, key: (i32, i32)) -> &mut Attempt {
        self.attempts.entry(key).or_default()
    }

    fn started(&mut self, it: &pb::AttemptStarted, at: u64) {
        let (turn, key) = (it.turn, (it.turn, it.attempt));
        if self.attempts.contains_key(&key) {
            self.find(Check::Fence, format!("attempt {} of turn {turn} was leased twice", it.attempt));
        }
        if self.answered.contains(&turn) {
            self.find(Check::Fence, format!("turn {turn} was leased again after its answer"));
        }
        if self.attempts.range((turn, i32::MIN)..=(turn, i32::MAX)).any(|(_, attempt)| attempt.live) {
            self.find(Check::Fence, format!("turn {turn} has two live leases"));
        }
        let allowance = it.allowance_tokens;
        let attempt = Attempt { allowance, cap: allowance, live: true, ..Attempt::default() };
        self.attempts.insert(key, attempt);
        self.judged.agents.extend(self.agents.get(&turn).cloned());
        self.judged.started.push(at);
        if let Some(lost_at) = self.waiting.remove(&turn) {
            self.judged.retaken.push(at.saturating_sub(lost_at));
        }
        self.check_grant("an attempt");
    }

    /// Reports are cumulative: the greatest counts.
    fn used(&mut self, key: (i32, i32), usage: Option<&pb::Usage>) {
        let tokens = text::tokens(usage);
        let attempt = self.attempt(key);
        attempt.used = attempt.used.max(tokens);
    }

    fn child_used(&mut self, id: &str, usage: Option<&pb::Usage>) {
        let tokens = text::tokens(usage);
        let child = self.children.entry(id.to_owned()).or_default();
        child.used = child.used.max(tokens);
        child.heard = true;
    }

    fn turn_answered(&mut self, it: &pb::TurnAnswered) {
        let (turn, number) = (it.turn, it.attempt);
        if !self.answered.insert(turn) {
            self.find(Check::Effects, format!("turn {turn} was answered twice"));
        }
        let attempt = self.attempt((turn, number));
        let was_live = attempt.live;
        attempt.live = false;
        attempt.used = attempt.used.max(it.charged_tokens);
        attempt.settle();
        if !was_live {
            let evidence =
                format!("turn {turn} was answered under attempt {number}, whose lease was not live");
            self.find(Check::Fence, evidence);
        }
    }

    fn attempt_ended(&mut self, it: &pb::AttemptEnded, at: u64) {
        let (turn, number) = (it.turn, it.attempt);
        self.used((turn, number), it.usage.as_ref());
        let attempt = self.attempt((turn, number));
        let was_live = attempt.live;
        attempt.live = false;
        if matches!(it.end(), AttemptEnd::Retryable | AttemptEnd::Undelivered) {
            attempt.settle();
        }
        if !was_live {
            self.find(Check::Fence, format!("attempt {number} of turn {turn} ended twice"));
        }
        if it.retries {
            self.waiting.insert(turn, at);
        }
        *self.judged.lost.entry(end_word(it.end())).or_default() += 1;
    }

    fn escalated(&mut self, it: &pb::Escalated) {
        let id = it.escalation.as_ref().map(|asked| asked.escalation_id.clone()).unwrap_or_default();
        if !self.questions.insert(id.clone()) {
            self.find(Check::Questions, format!("question {id} was asked twice"));
        }
    }

    /// What is committed never passes the grant. What attempts spend beyond their allowance is overrun, or takes from what is
    /// free; it makes the server stricter, never laxer, and so does not count here.
    fn check_grant(&mut self, what: &str) {
        let attempts = self.attempts.values().map(|attempt| match (attempt.live, attempt.settled) {
            (false, true) => attempt.used.min(attempt.allowance),
            // Live, or vanished and not heard of: its whole allowance is held.
            (true, _) => attempt.allowance,
            // Stopped, and its last word may still come: what it said is the least it used.
            (false, false) => attempt.used.min(attempt.allowance),
        });
        let children = self.children.values().map(|child| match (child.open, child.heard) {
            (false, true) => child.used.min(child.share),
            _ => child.share,
        });
        let committed = attempts.chain(children).fold(0_i64, i64::saturating_add);
        if committed > self.granted {
            let granted = self.granted;
            self.find(
                Check::Budget,
                format!("{what} brings what is held to {committed} of {granted} tokens"),
            );
        }
    }

    /// What can be said at the end.
    fn conclude(&mut self, summary: &pb::TaskSummary) {
        let ledger = summary.ledger.clone().unwrap_or_default();
        self.judged.overrun = ledger.overrun_tokens;
        match (self.ends, is_end(summary.state())) {
            (1, true) => {}
            // It has an end of its own: its question expires.
            (0, false) if summary.state() == pb::TaskState::AwaitingHuman => {}
            (0, false) => self.find(Check::Lost, format!("has not ended: it is {}", word(summary.state()))),
            (ends, _) => {
                let state = word(summary.state());
                self.find(Check::OneOutcome, format!("is {state} and its journal holds {ends} outcomes"));
            }
        }
        if self.ends > 0 {
            self.left_open();
        }
        self.check_ledger(&ledger);
    }

    /// Nothing of a task that has ended goes on.
    fn left_open(&mut self) {
        let live = self.attempts.iter().find(|(_, attempt)| attempt.live).map(|(key, _)| *key);
        if let Some((turn, attempt)) = live {
            let evidence = format!("ended while attempt {attempt} of turn {turn} was live");
            self.find(Check::OneOutcome, evidence);
        }
        if let Some(id) = self.children.iter().find(|(_, child)| child.open).map(|(id, _)| id.clone()) {
            self.find(Check::Children, format!("ended before its child {id}"));
        }
        if let Some(id) = self.questions.difference(&self.closed_questions).next().cloned() {
            self.find(Check::Questions, format!("ended while question {id} was open"));
        }
    }

    /// The books: what the account says is what the events add up to, and all that is beyond the grant is recorded as such.
    fn check_ledger(&mut self, ledger: &pb::Ledger) {
        let sum = |numbers: &mut dyn Iterator<Item = i64>| numbers.fold(0, i64::saturating_add);
        let attempts = sum(&mut self.attempts.values().map(|attempt| attempt.used));
        let children = sum(&mut self.children.values().map(|child| child.used));
        let used = attempts.saturating_add(children);
        let charged = ledger.spent_tokens.saturating_add(ledger.overrun_tokens);
        if used != charged {
            let evidence = format!("its events add up to {used} tokens, its account to {charged}");
            self.find(Check::Budget, evidence);
        }
        if ledger.granted_tokens != self.granted {
            let (account, granted) = (ledger.granted_tokens, self.granted);
            self.find(Check::Budget, format!("its account grants {account} tokens, its contract {granted}"));
        }
        if ledger.spent_tokens.saturating_add(ledger.reserved_tokens) > ledger.granted_tokens {
            let (spent, reserved, granted) =
                (ledger.spent_tokens, ledger.reserved_tokens, ledger.granted_tokens);
            let evidence = format!("{spent} spent and {reserved} reserved pass the {granted} granted");
            self.find(Check::Budget, evidence);
        }
        let beyond = used.saturating_sub(self.granted);
        if beyond > ledger.overrun_tokens {
            let recorded = ledger.overrun_tokens;
            self.find(
                Check::Budget,
                format!("{beyond} tokens beyond the grant, {recorded} recorded as overrun"),
            );
        }
        let over = |used: i64, allowed: i64| used.saturating_sub(allowed).max(0);
        let explained = sum(&mut self.attempts.values().map(|attempt| over(attempt.used, attempt.cap)))
            .saturating_add(sum(&mut self.children.values().map(|child| over(child.used, child.share))));
        if ledger.overrun_tokens > explained {
            let overrun = ledger.overrun_tokens;
            let evidence = format!("{overrun} tokens of overrun, of which attempts explain {explained}");
            self.find(Check::Budget, evidence);
        }
    }
}

/// Whether a state is an end.
pub(super) const fn is_end(state: pb::TaskState) -> bool {
    matches!(
        state,
        pb::TaskState::Succeeded
            | pb::TaskState::Partial
            | pb::TaskState::Failed
            | pb::TaskState::Cancelled
            | pb::TaskState::DeadLettered
    )
}

/// A state in a word.
pub(super) fn word(state: pb::TaskState) -> &'static str {
    state.as_str_name().trim_start_matches("TASK_STATE_")
}

fn end_word(end: AttemptEnd) -> &'static str {
    match end {
        AttemptEnd::LeaseExpired => "lease expired",
        AttemptEnd::Released => "given back",
        AttemptEnd::Retryable => "failed, worth another try",
        AttemptEnd::Revoked => "revoked",
        AttemptEnd::Undelivered => "not delivered",
        AttemptEnd::Unspecified => "unknown",
    }
}

#[cfg(test)]
mod tests;
