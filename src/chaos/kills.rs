//! Kills in turn: the workers one after the other, and the server, each at its own rate. Never two at once: what is killed
//! is there again, or on its way, before the next one goes.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{log::Log, processes::Fleet, rate::Often};
use crate::{cli::Failure, types::dice::Dice};

/// How long the server stays away, at most, beside the time it takes to start.
const AWAY: u64 = 500;

/// How often.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KillRates {
    /// Workers, over all of them.
    pub worker: Often,
    /// The server.
    pub server: Often,
}

/// Kills until `enough`. Everything that was killed is started anew.
///
/// # Errors
/// When something cannot be killed or does not start again.
pub(super) async fn kill_in_turn(
    fleet: &mut Fleet,
    rates: KillRates,
    log: &Arc<Log>,
    mut dice: Dice,
    enough: &CancellationToken,
) -> Result<(), Failure> {
    // The first of each comes after half its time, so that a short run has some.
    let first = |every: Option<Duration>| every.map(|every| Instant::now() + every / 2);
    let (mut worker_at, mut server_at) = (first(rates.worker.every()), first(rates.server.every()));
    let mut turn = 0;
    loop {
        let Some(next) = worker_at.into_iter().chain(server_at).min() else {
            enough.cancelled().await;
            return Ok(());
        };
        tokio::select! {
            biased;
            () = enough.cancelled() => return Ok(()),
            () = sleep_until(next) => {}
        }
        if server_at == Some(next) {
            log.killed(None);
            fleet.kill_server().await?;
            sleep(Duration::from_millis(dice.between(0, AWAY))).await;
            fleet.start_server().await?;
            log.back();
            server_at = after(rates.server, &mut dice);
        } else {
            let index = turn % fleet.workers().max(1);
            turn += 1;
            fleet.replace_worker(index, |name| log.killed(Some(name))).await?;
            log.back();
            worker_at = after(rates.worker, &mut dice);
        }
    }
}

/// The next time: half to one and a half of the mean from now.
fn after(rate: Often, dice: &mut Dice) -> Option<Instant> {
    rate.every().map(|every| Instant::now() + every.mul_f64(0.5 + dice.unit()))
}
