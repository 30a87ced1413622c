//! The run's hold on the server's edge: started, renewed once a second, taken up again when the server comes back without it,
//! stopped at the end. Should this process die, the hold lapses by itself.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::{
    clients::{AGAIN, CALL, Clients, is_passing},
    rate::Share,
    score::Brake,
};
use crate::{cli::Failure, pb};

/// How often it is renewed, and how long it would go on without.
const RENEW: Duration = Duration::from_secs(1);
const TTL: prost_types::Duration = prost_types::Duration { seconds: 8, nanos: 0 };

/// How often each kind of failure is made, as shares of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EdgeRates {
    /// Held up.
    pub delay: Share,
    /// For this long at most.
    pub delay_up_to: Duration,
    /// Lost, with the session.
    pub drop: Share,
    /// Delivered twice.
    pub duplicate: Share,
    /// Assignments whose lease is ended.
    pub lose_lease: Share,
    /// Sessions ended.
    pub kill_session: Share,
}

impl EdgeRates {
    /// Whether anything is to fail.
    #[must_use]
    pub fn is_any(&self) -> bool {
        let Self { delay, delay_up_to: _, drop, duplicate, lose_lease, kill_session } = self;
        [delay, drop, duplicate, lose_lease, kill_session].into_iter().any(|share| share.get() > 0.0)
    }

    fn wire(&self) -> pb::ChaosFaults {
        let Self { delay, delay_up_to, drop, duplicate, lose_lease, kill_session } = self;
        pb::ChaosFaults {
            delay: delay.get(),
            delay_up_to: prost_types::Duration::try_from(*delay_up_to).ok(),
            drop: drop.get(),
            duplicate: duplicate.get(),
            lose_lease: lose_lease.get(),
            kill_session: kill_session.get(),
        }
    }
}

/// The hold.
pub(super) struct Hold {
    clients: Arc<Clients>,
    rates: EdgeRates,
    request: pb::StartChaosRequest,
    seen: Mutex<Seen>,
}

/// What the edge has said.
#[derive(Default)]
struct Seen {
    /// Of holds that are over.
    before: pb::ChaosTally,
    /// Of the present one.
    now: pb::ChaosTally,
    /// Brakes of the present hold that have been received.
    received: i64,
    brakes: Vec<Brake>,
}

impl Hold {
    /// A hold on the tasks with these labels.
    pub(super) fn new(
        clients: Arc<Clients>,
        rates: EdgeRates,
        labels: BTreeMap<String, String>,
        by: String,
        seed: u64,
    ) -> Self {
        let faults = Some(rates.wire());
        let request = pb::StartChaosRequest { started_by: by, labels, faults, seed, ttl: Some(TTL) };
        Self { clients, rates, request, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts, for a first time: whether the server allows it at all.
    ///
    /// # Errors
    /// It does not.
    pub(super) async fn start(&self) -> Result<Option<String>, Failure> {
        if !self.rates.is_any() {
            return Ok(None);
        }
        loop {
            match self.try_start().await {
                Ok(id) => return Ok(Some(id)),
                Err(status) if is_passing(&status) => sleep(AGAIN).await,
                Err(status) => return Err(Failure::of_status(&status)),
            }
        }
    }

    async fn try_start(&self) -> Result<String, Status> {
        let started = timeout(CALL, self.clients.operator().start_chaos(self.request.clone())).await;
        let started = started.map_err(|_| Status::deadline_exceeded("no answer in time"))??.into_inner();
        let mut seen = self.seen();
        seen.before = sum(&seen.before, &seen.now);
        (seen.now, seen.received) = (pb::ChaosTally::default(), 0);
        Ok(started.run.unwrap_or_default().run_id)
    }

    /// Keeps the hold that [`Self::start`] gave until `enough`, then ends it.
    pub(super) async fn keep(&self, started: Option<String>, enough: CancellationToken) {
        let Some(mut id) = started else { return enough.cancelled().await };
        loop {
            tokio::select! {
                biased;
                () = enough.cancelled() => break,
                () = sleep(RENEW) => {}
            }
            if self.renew(&id).await.is_err_and(|status| status.code() == Code::NotFound) {
                // The server is a new one, or was away for too long. A refusal now is one later: it was allowed before.
                if let Ok(again) = self.try_start().await {
                    id = again;
                }
            }
        }
        self.stop(&id).await;
    }

    async fn renew(&self, id: &str) -> Result<(), Status> {
        let brakes_received = self.seen().received;
        let request = pb::RenewChaosRequest { run_id: id.to_owned(), ttl: Some(TTL), brakes_received };
        let renewed = timeout(CALL, self.clients.operator().renew_chaos(request)).await;
        let renewed = renewed.map_err(|_| Status::deadline_exceeded("no answer in time"))??.into_inner();
        self.take(renewed.run, renewed.brakes);
        Ok(())
    }

    /// Ends the hold; where the server is away it lapses.
    async fn stop(&self, id: &str) {
        let brakes_received = self.seen().received;
        let request = pb::StopChaosRequest { run_id: id.to_owned(), brakes_received };
        if let Ok(Ok(stopped)) = timeout(CALL, self.clients.operator().stop_chaos(request)).await {
            let stopped = stopped.into_inner();
            self.take(stopped.run, stopped.brakes);
        }
    }

    fn take(&self, run: Option<pb::ChaosRun>, brakes: Vec<pb::ChaosBrake>) {
        let mut seen = self.seen();
        if let Some(tally) = run.and_then(|run| run.tally) {
            seen.now = tally;
        }
        seen.received += i64::try_from(brakes.len()).unwrap_or(0);
        let micros = |micros: i64| u64::try_from(micros).unwrap_or(0);
        seen.brakes.extend(brakes.iter().map(|brake| Brake {
            to_cancel: micros(brake.to_cancel_us),
            to_fence: Some(micros(brake.to_fence_us)),
        }));
    }

    /// Brakes, as the edge saw them.
    pub(super) fn brakes(&self) -> Vec<Brake> {
        self.seen().brakes.clone()
    }

    /// Failures by kind: what was asked for, how often it was to be expected, how often it happened.
    pub(super) fn failures(&self) -> Vec<(&'static str, f64, u64)> {
        let seen = self.seen();
        let tally = sum(&seen.before, &seen.now);
        let EdgeRates { delay, delay_up_to: _, drop, duplicate, lose_lease, kill_session } = self.rates;
        let messages = tally.messages as f64;
        [
            ("delayed", delay, messages, tally.delayed),
            ("lost", drop, messages, tally.dropped),
            ("doubled", duplicate, messages, tally.duplicated),
            // At least every tenth message is an assignment.
            ("lease lost", lose_lease, messages / 10.0, tally.leases_lost),
            ("session ended", kill_session, messages, tally.sessions_killed),
        ]
        .into_iter()
        .filter(|(_, share, _, _)| share.get() > 0.0)
        .map(|(kind, share, of, times)| (kind, share.get() * of, u64::try_from(times).unwrap_or(0)))
        .collect()
    }
}

fn sum(left: &pb::ChaosTally, right: &pb::ChaosTally) -> pb::ChaosTally {
    pb::ChaosTally {
        messages: left.messages + right.messages,
        delayed: left.delayed + right.delayed,
        dropped: left.dropped + right.dropped,
        duplicated: left.duplicated + right.duplicated,
        leases_lost: left.leases_lost + right.leases_lost,
        sessions_killed: left.sessions_killed + right.sessions_killed,
    }
}
