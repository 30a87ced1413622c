//! Time: what is due is done. Timers are ordered data, (time, kind, number); a tick that finds nothing due changes nothing.

use super::Txn;
use crate::{
    engine::{
        event::TurnKind,
        task::Task,
        turn::{Stage, Turn},
    },
    types::{
        ids::TurnNumber,
        outcome::Cause,
        time::{Span, Timestamp},
    },
};

/// What can fall due, in the order in which simultaneous ones fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The task's absolute lifetime.
    Lifetime,
    /// A question's time limit, by number.
    Question(u32),
    /// The owner's time to decide.
    Decide,
    /// The time for work. What is left of the deadline then is the owner's.
    WorkDeadline,
    /// A ready turn has waited, without any worker to serve it, as long as it may.
    WorkerWait(TurnNumber),
}

/// When to look again at a turn whose wait of `wait` may be over at `at`, if it was looked at `after`.
pub(in crate::engine) fn look_again(at: Timestamp, wait: Span, after: Timestamp) -> Timestamp {
    if at > after {
        return at;
    }
    let often = wait.part(4).max(Span(1));
    let periods = after.since(at).0 / often.0 + 1;
    at.plus(often.times(periods))
}

impl Txn<'_> {
    /// Does all that is due, in order: what trips at one time is answered before the next time is looked at.
    pub(super) fn tick(&mut self) {
        while let Some((_, timer)) = self.task.due(self.env) {
            self.fire(timer);
            self.answer_trips();
        }
    }

    fn fire(&mut self, timer: Timer) {
        let limits = &self.task.contract.limits;
        match timer {
            Timer::Lifetime => {
                let story = format!("the task is {} old, the most it may be", limits.max_lifetime);
                self.finish(Cause::Deadline, story);
            }
            Timer::Question(number) => self.expire_question(number),
            Timer::Decide => {
                let Some(decide) = self.task.open_decide() else { return };
                let (turn, owner) = (decide.number, decide.agent.clone());
                let reason = format!("{owner} did not decide in time");
                self.close_turn(turn, Cause::OwnerUnavailable, &reason);
                self.fall_back(reason);
            }
            Timer::WorkDeadline => {
                let evidence = format!(
                    "the deadline of {} less its reserve of {} has passed",
                    limits.deadline, limits.finalization_reserve
                );
                self.trip(Cause::Deadline, evidence);
            }
            Timer::WorkerWait(turn) => {
                let Some(state) = self.task.turn(turn) else { return };
                let waited = self.task.worker_wait(state);
                let reason = match self.env.agents.circuit(&state.agent) {
                    Some(circuit) => format!("{}; it was waited for {waited}", circuit.reason),
                    None => format!("no worker served {} for {waited}", state.agent),
                };
                self.give_up(turn, Cause::NoWorker, reason);
            }
        }
    }
}

impl Task {
    /// The first timer that is due, in order of time, then kind.
    fn due(&self, env: crate::engine::command::Env<'_>) -> Option<(Timestamp, Timer)> {
        self.timers(env.now, &|turn| env.agents.away_since(&turn.agent))
            .filter(|(at, _)| *at <= env.now)
            .filter_map(|(at, timer)| match timer {
                Timer::WorkerWait(turn) => {
                    let turn = self.turn(turn)?;
                    let longer = self.worker_wait(turn).0 - self.shortest_wait(turn).0;
                    let at = at.plus(Span(longer));
                    (at <= env.now).then_some((at, timer))
                }
                _ => Some((at, timer)),
            })
            .min()
    }

    /// The earliest time at which a `Tick` may change something. A time not after `after` means: now. `None`: never.
    ///
    /// Whether workers were there meanwhile is not known here: a turn that has waited for long is looked at again four times
    /// in every wait.
    pub fn next_timer(&self, after: Timestamp) -> Option<Timestamp> {
        self.timers(after, &|_| Some(Timestamp(0)))
            .map(|(at, timer)| match timer {
                Timer::WorkerWait(turn) => {
                    let wait =
                        self.turn(turn).map_or(self.contract.limits.worker_wait, |t| self.shortest_wait(t));
                    look_again(at, wait, after)
                }
                _ => at,
            })
            .min()
    }

    /// As `next_timer`, but for turns that wait for an agent that is away. `None`: it has ended.
    pub(in crate::engine) fn next_own_timer(&self) -> Option<Timestamp> {
        // While the clock stands still nothing of it is a timer, so that it does not matter at what time this is asked.
        self.timers(self.updated_at, &|_| None).map(|(at, _)| at).min()
    }

    /// Every timer; of a turn that waits for a worker, the earliest time at which it may be due.
    fn timers<'a>(
        &'a self,
        now: Timestamp,
        away_since: &'a dyn Fn(&Turn) -> Option<Timestamp>,
    ) -> impl Iterator<Item = (Timestamp, Timer)> + 'a {
        let running = self.outcome.is_none();
        let life = running.then(|| (self.lifetime_end(), Timer::Lifetime));
        let questions = self
            .questions
            .iter()
            .filter(move |q| q.end.is_none() && running)
            .map(|q| (q.asked.expires_at, Timer::Question(q.asked.number)));
        let clock = if running && self.paused_since.is_none() { self.clock_timer(now) } else { None };
        let waiting = self.open.iter().filter_map(move |&number| {
            let turn = self.turn(number)?;
            let Stage::Ready { since, .. } = turn.stage else { return None };
            if turn.kind == TurnKind::Decide {
                return None;
            }
            let waits_since = since.max(away_since(turn)?);
            Some((waits_since.plus(self.shortest_wait(turn)), Timer::WorkerWait(number)))
        });
        life.into_iter().chain(questions).chain(clock).chain(waiting)
    }

    /// The timer of the running clock: the owner's, or the deadline's.
    fn clock_timer(&self, now: Timestamp) -> Option<(Timestamp, Timer)> {
        if let Some(decide) = self.open_decide() {
            return Some((self.turn_deadline(decide), Timer::Decide));
        }
        if self.open_validate().is_some() {
            return Some((self.validate_deadline_at(now), Timer::WorkDeadline));
        }
        Some((self.work_deadline_at(now), Timer::WorkDeadline))
    }
}
