//! One circuit breaker: whoever keeps failing for technical reasons is given nothing for a while, then a few probes, and work
//! again only when those went well. Pure: the time comes in. Never here: an agent's own failure, which is an answer; only
//! attempts that were lost, timed out or failed in a way marked retryable count.

use crate::types::time::{Span, Timestamp};

/// Results that are remembered: the bits of one word.
pub(super) const WINDOW: u32 = u32::BITS;
/// Doublings of the time it stays open.
const MAX_DOUBLINGS: u32 = 20;

/// When a breaker opens, and how it closes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerTerms {
    /// Technical failures in a row that open it. 0: never for that reason.
    pub consecutive: u32,
    /// Share of failures, in percent of the last 32 results, that opens it. 0: never for that reason.
    pub failure_percent: u32,
    /// Results before the share means anything. 1 to 32.
    pub min_results: u32,
    /// How long it stays open the first time; doubles with each opening in a row.
    pub open_for: Span,
    /// The longest it stays open.
    pub open_at_most: Span,
    /// Probes that run at once while it is half open. From 1.
    pub probes: u32,
    /// Probes that must go well before it closes. From 1.
    pub probes_to_close: u32,
}

impl Default for BreakerTerms {
    fn default() -> Self {
        Self {
            consecutive: 5,
            failure_percent: 50,
            min_results: 10,
            open_for: Span::from_secs(5),
            open_at_most: Span::from_secs(300),
            probes: 1,
            probes_to_close: 2,
        }
    }
}

/// Where a breaker stands, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BreakerState {
    /// Work flows.
    #[default]
    Closed,
    /// Nothing is given out.
    Open,
    /// Some probes may run.
    HalfOpen,
}

/// A breaker, as the operator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BreakerInfo {
    /// Where it stands.
    pub state: BreakerState,
    /// How often it opened. A probe that fails opens it again.
    pub openings: u64,
    /// Since when it has not been closed.
    pub since: Option<Timestamp>,
    /// While it is open: when the first probe may start.
    pub until: Option<Timestamp>,
    /// Attempts that failed, of the last `results`; while it is not closed: of those that opened it.
    pub failed: u32,
    /// See `failed`.
    pub results: u32,
}

/// How an attempt ended, as a breaker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) enum Verdict {
    /// It was answered, whatever the answer says.
    Good,
    /// It was lost, timed out, or failed in a way marked retryable.
    Bad,
    /// It was called back for a reason of the task's, or never began: it says nothing.
    Nothing,
}

/// A probe of one half-open time. Its end counts only in that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Standing {
    #[default]
    Closed,
    Open {
        until: Timestamp,
    },
    HalfOpen {
        /// Probes that run.
        running: u32,
        /// Probes that may run. Grows as time passes: a probe that takes long must not keep all others waiting.
        room: u32,
        good: u32,
        /// When there is room for one more, while all of it is taken.
        more_at: Option<Timestamp>,
    },
}

/// One breaker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Breaker {
    standing: Standing,
    /// The last results, newest in the lowest bit; a set bit is a failure.
    results: u32,
    known: u32,
    consecutive: u32,
    /// Openings in a row, as the time it stays open counts them. Forgotten after enough good results.
    streak: u32,
    good_since_closed: u32,
    openings: u64,
    /// Half-open times so far: what a probe belongs to.
    round: u32,
    since: Option<Timestamp>,
    /// What opened it: failures, of results.
    evidence: (u32, u32),
}

impl Breaker {
    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.standing, Standing::Closed)
    }

    /// Until when it is open.
    pub(super) const fn until(&self) -> Option<Timestamp> {
        match self.standing {
            Standing::Open { until } => Some(until),
            Standing::Closed | Standing::HalfOpen { .. } => None,
        }
    }

    /// Whether nothing would be lost by forgetting it.
    pub(super) const fn is_blank(&self) -> bool {
        self.is_closed() && self.results == 0 && self.streak == 0
    }

    /// Attempts that it lets start now; `None`: any number.
    pub(super) const fn room(&self) -> Option<u32> {
        match self.standing {
            Standing::Closed => None,
            Standing::Open { .. } => Some(0),
            Standing::HalfOpen { running, room, .. } => Some(room.saturating_sub(running)),
        }
    }

    pub(super) fn info(&self) -> BreakerInfo {
        let (failed, results) =
            if self.is_closed() { (self.results.count_ones(), self.known) } else { self.evidence };
        let state = match self.standing {
            Standing::Closed => BreakerState::Closed,
            Standing::Open { .. } => BreakerState::Open,
            Standing::HalfOpen { .. } => BreakerState::HalfOpen,
        };
        BreakerInfo {
            state,
            openings: self.openings,
            since: self.since,
            until: self.until(),
            failed,
            results,
        }
    }

    /// When `tick` may change something.
    pub(super) const fn next_tick(&self) -> Option<Timestamp> {
        match self.standing {
            Standing::Closed => None,
            Standing::Open { until } => Some(until),
            Standing::HalfOpen { more_at, .. } => more_at,
        }
    }

    /// Does what is due. Says whether it lets more through than before.
    pub(super) fn tick(&mut self, terms: &BreakerTerms, now: Timestamp) -> bool {
        match &mut self.standing {
            Standing::Open { until } if *until <= now => {
                self.round = self.round.wrapping_add(1);
                let room = terms.probes.max(1);
                self.standing = Standing::HalfOpen { running: 0, room, good: 0, more_at: None };
                true
            }
            Standing::HalfOpen { room, more_at, .. } if more_at.is_some_and(|at| at <= now) => {
                *room += 1;
                *more_at = None;
                true
            }
            Standing::Closed | Standing::Open { .. } | Standing::HalfOpen { .. } => false,
        }
    }

    /// An attempt starts; the probe that it is, to be told again when it ends. The caller has asked `room`.
    pub(super) fn start(&mut self, terms: &BreakerTerms, now: Timestamp) -> Option<Probe> {
        let Standing::HalfOpen { running, room, more_at, .. } = &mut self.standing else { return None };
        *running += 1;
        if *running >= *room {
            *more_at = Some(now.plus(terms.open_for.max(Span(1))));
        }
        Some(Probe(self.round))
    }

    /// An attempt ended. `may_open` says whether failures may open it now. Says whether anything changed for those who wait.
    pub(super) fn end(
        &mut self,
        terms: &BreakerTerms,
        probe: Option<Probe>,
        verdict: Verdict,
        may_open: bool,
        now: Timestamp,
    ) -> bool {
        match probe {
            Some(Probe(round)) if round == self.round => self.end_probe(terms, verdict, now),
            // Of an earlier half-open time: it has been judged by another probe.
            Some(_) => false,
            None if self.is_closed() => {
                self.note(terms, verdict);
                let opens = may_open && self.is_failing(terms);
                if opens {
                    self.open(terms, now);
                }
                opens
            }
            // It started before the breaker opened: that says nothing about now.
            None => false,
        }
    }

    fn end_probe(&mut self, terms: &BreakerTerms, verdict: Verdict, now: Timestamp) -> bool {
        let Standing::HalfOpen { running, room, good, more_at } = &mut self.standing else { return false };
        *running = running.saturating_sub(1);
        if *running < *room {
            *more_at = None;
        }
        match verdict {
            Verdict::Nothing => {}
            Verdict::Bad => self.open(terms, now),
            Verdict::Good => {
                *good += 1;
                if *good >= terms.probes_to_close {
                    self.close();
                }
            }
        }
        true
    }

    /// Closes it and forgets what has been.
    pub(super) fn reset(&mut self) {
        self.close();
        self.streak = 0;
    }

    fn close(&mut self) {
        let Self { streak, openings, round, .. } = *self;
        *self = Self { streak, openings, round, ..Self::default() };
    }

    fn note(&mut self, terms: &BreakerTerms, verdict: Verdict) {
        let bit = match verdict {
            Verdict::Nothing => return,
            Verdict::Good => 0,
            Verdict::Bad => 1,
        };
        self.results = self.results << 1 | bit;
        self.known = (self.known + 1).min(WINDOW);
        if bit == 1 {
            self.consecutive = self.consecutive.saturating_add(1);
            self.good_since_closed = 0;
        } else {
            self.consecutive = 0;
            self.good_since_closed = self.good_since_closed.saturating_add(1);
            if self.good_since_closed >= terms.min_results {
                self.streak = 0;
            }
        }
    }

    /// Whether its results are those of a breaker that opens, and which of the last ones say so.
    pub(super) const fn failing_results(&self, terms: &BreakerTerms) -> Option<u32> {
        if terms.consecutive > 0 && self.consecutive >= terms.consecutive {
            // A window remembers no more than that.
            return Some(if self.consecutive < WINDOW { self.consecutive } else { WINDOW });
        }
        let enough = self.known > 0 && self.known >= terms.min_results;
        let failing = self.results.count_ones() * 100 >= terms.failure_percent * self.known;
        if terms.failure_percent > 0 && enough && failing { Some(self.known) } else { None }
    }

    const fn is_failing(&self, terms: &BreakerTerms) -> bool {
        self.failing_results(terms).is_some()
    }

    fn open(&mut self, terms: &BreakerTerms, now: Timestamp) {
        let doublings = self.streak.min(MAX_DOUBLINGS);
        let wait = terms.open_for.times(1 << doublings).min(terms.open_at_most);
        self.streak = self.streak.saturating_add(1);
        self.open_until(now.plus(wait), now);
    }

    /// Opens it until a given time, whatever its own results say.
    pub(super) fn open_until(&mut self, until: Timestamp, now: Timestamp) {
        if self.is_closed() {
            self.evidence = (self.results.count_ones(), self.known);
        }
        self.openings += 1;
        self.since = self.since.or(Some(now));
        self.standing = Standing::Open { until };
        (self.results, self.known, self.consecutive, self.good_since_closed) = (0, 0, 0, 0);
    }
}

#[cfg(test)]
mod tests;
