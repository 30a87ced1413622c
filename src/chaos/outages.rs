//! Processes of the run are killed and frozen in turn: the workers one after the other, and the server, each at its own rate.
//! What is killed is there again, or on its way, before anything else goes. What is frozen (SIGSTOP) stays so for a while,
//! and other things go on failing meanwhile; the same process is never out for two reasons.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    log::{Log, Noted},
    processes::Fleet,
    rate::Often,
    score::How,
};
use crate::{cli::Failure, types::dice::Dice};

/// How long the server stays away after a kill, at most, beside the time it takes to start. Milliseconds.
const AWAY: u64 = 500;
/// The shortest freeze, as a share of the longest.
const SHORTEST: f64 = 0.25;

/// How often.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OutageRates {
    /// Workers killed, over all of them.
    pub kill_worker: Often,
    /// The server killed.
    pub kill_server: Often,
    /// Workers frozen, over all of them.
    pub freeze_worker: Often,
    /// The server frozen.
    pub freeze_server: Often,
    /// The longest freeze; the shortest is a quarter of it.
    pub freeze_for: Duration,
}

/// What there is to do next. In this order where two are due at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The freeze at this place of the list is over.
    Thaw(usize),
    Strike(Stroke),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stroke {
    KillServer,
    FreezeServer,
    KillWorker,
    FreezeWorker,
}

/// A process that is frozen.
struct Frozen {
    /// The worker's place; `None`: the server.
    worker: Option<usize>,
    until: Instant,
    noted: Noted,
}

struct Turns<'f> {
    fleet: &'f mut Fleet,
    rates: OutageRates,
    log: Arc<Log>,
    dice: Dice,
    strokes: Vec<(Stroke, Often, Instant)>,
    frozen: Vec<Frozen>,
    /// The worker whose turn it is.
    turn: usize,
}

/// Kills and freezes until `enough`. Everything that was killed is started anew; what is frozen then is for the caller to wake.
///
/// # Errors
/// When something cannot be killed or frozen, or does not start again.
pub(super) async fn strike_in_turn(
    fleet: &mut Fleet,
    rates: OutageRates,
    log: &Arc<Log>,
    dice: Dice,
    enough: &CancellationToken,
) -> Result<(), Failure> {
    let mut turns = Turns::new(fleet, rates, Arc::clone(log), dice);
    while let Some((at, due)) = turns.next() {
        tokio::select! {
            biased;
            () = enough.cancelled() => return Ok(()),
            () = sleep_until(at) => {}
        }
        match due {
            Due::Thaw(place) => turns.thaw(place)?,
            Due::Strike(stroke) => turns.strike(stroke).await?,
        }
    }
    enough.cancelled().await;
    Ok(())
}

impl<'f> Turns<'f> {
    fn new(fleet: &'f mut Fleet, rates: OutageRates, log: Arc<Log>, dice: Dice) -> Self {
        let OutageRates { kill_worker, kill_server, freeze_worker, freeze_server, freeze_for: _ } = rates;
        // The first of each comes after half its time, so that a short run has some.
        let strokes = [
            (Stroke::KillServer, kill_server),
            (Stroke::FreezeServer, freeze_server),
            (Stroke::KillWorker, kill_worker),
            (Stroke::FreezeWorker, freeze_worker),
        ]
        .into_iter()
        .filter_map(|(stroke, often)| Some((stroke, often, Instant::now() + often.every()? / 2)))
        .collect();
        Self { fleet, rates, log, dice, strokes, frozen: Vec::new(), turn: 0 }
    }

    /// What comes next, and when. `None`: nothing ever does.
    fn next(&self) -> Option<(Instant, Due)> {
        let thaws = self.frozen.iter().enumerate().map(|(place, it)| (it.until, Due::Thaw(place)));
        let strokes = self.strokes.iter().map(|(stroke, _, at)| (*at, Due::Strike(*stroke)));
        thaws.chain(strokes).min()
    }

    async fn strike(&mut self, stroke: Stroke) -> Result<(), Failure> {
        match stroke {
            Stroke::KillServer | Stroke::FreezeServer if self.until(None).is_some() => {}
            Stroke::KillServer => {
                let noted = self.log.out(None, How::Killed);
                self.fleet.kill_server().await?;
                sleep(Duration::from_millis(self.dice.between(0, AWAY))).await;
                self.fleet.start_server().await?;
                self.log.back(noted);
            }
            Stroke::FreezeServer => {
                let noted = self.log.out(None, How::Frozen);
                self.fleet.freeze_server()?;
                self.freeze(None, noted);
            }
            Stroke::KillWorker => {
                if let Some(index) = self.next_worker() {
                    let noted = self.log.out(Some(self.fleet.name(index)), How::Killed);
                    self.fleet.replace_worker(index).await?;
                    self.log.back(noted);
                }
            }
            Stroke::FreezeWorker => {
                if let Some(index) = self.next_worker() {
                    let noted = self.log.out(Some(self.fleet.name(index)), How::Frozen);
                    self.fleet.freeze_worker(index)?;
                    self.freeze(Some(index), noted);
                }
            }
        }
        self.put_off(stroke);
        Ok(())
    }

    /// The next time of a stroke: half to one and a half of its mean from now; for the server not before it is awake.
    fn put_off(&mut self, stroke: Stroke) {
        let share = 0.5 + self.dice.unit();
        let awake = self.until(None).filter(|_| matches!(stroke, Stroke::KillServer | Stroke::FreezeServer));
        for (_, often, at) in self.strokes.iter_mut().filter(|(it, ..)| *it == stroke) {
            let mean = often.every().unwrap_or_default();
            *at = (Instant::now() + mean.mul_f64(share)).max(awake.unwrap_or(*at));
        }
    }

    /// Until when a process is frozen. `None`: it is not.
    fn until(&self, worker: Option<usize>) -> Option<Instant> {
        self.frozen.iter().find(|it| it.worker == worker).map(|it| it.until)
    }

    fn freeze(&mut self, worker: Option<usize>, noted: Noted) {
        let share = SHORTEST + (1.0 - SHORTEST) * self.dice.unit();
        let until = Instant::now() + self.rates.freeze_for.mul_f64(share);
        self.frozen.push(Frozen { worker, until, noted });
    }

    fn thaw(&mut self, place: usize) -> Result<(), Failure> {
        let Frozen { worker, noted, .. } = self.frozen.remove(place);
        match worker {
            None => self.fleet.thaw_server()?,
            Some(index) => self.fleet.thaw_worker(index)?,
        }
        self.log.back(noted);
        Ok(())
    }

    /// The worker whose turn it is, of those that are awake. `None`: all of them are frozen.
    fn next_worker(&mut self) -> Option<usize> {
        let workers = self.fleet.workers();
        let next =
            (self.turn..self.turn + workers).find(|turn| self.until(Some(turn % workers)).is_none())?;
        self.turn = next + 1;
        Some(next % workers)
    }
}
