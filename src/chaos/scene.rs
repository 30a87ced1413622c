//! One run: load, failures and a simulated person side by side; then everything is read back and scored, and the verdict is
//! kept by the server.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    ChaosOptions, OutageRates, Stage,
    breakers::Breakers,
    clients::{CALL, Clients},
    collect, crew,
    edge::Hold,
    load::{self, Load, Pace, Source},
    log::{Log, Notes},
    outages,
    part::LEASE_TIME,
    person,
    processes::{Fleet, Place},
    rate::Often,
    report::About,
    score::{self, Board, How, Observed, Outage},
    shapes::RUN_LABEL,
};
use crate::{
    cli::{Failure, terminal::Terminal},
    pb,
    types::dice::Dice,
};

/// How long the workers may take to register.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often progress is shown to whoever watches, and how often it is a line where nobody does.
const SHOW: Duration = Duration::from_millis(500);
const LINE: Duration = Duration::from_secs(10);
/// A kind of failure that was to be expected less often than this may well never happen.
const EXPECTED: f64 = 5.0;

/// See the file's header.
pub(super) struct Scene<'o> {
    pub(super) clients: Arc<Clients>,
    pub(super) log: Arc<Log>,
    pub(super) run: String,
    pub(super) seed: u64,
    pub(super) started: Instant,
    pub(super) outages: OutageRates,
    pub(super) options: &'o ChaosOptions,
}

impl Scene<'_> {
    /// The load with its failures, then what became of it. `own`: the processes of the run, where it has some.
    pub(super) async fn play(
        &self,
        mut own: Option<(&mut Fleet, &Place)>,
        terminal: &mut Terminal,
    ) -> Result<Board, Failure> {
        if let Some((fleet, place)) = &own
            && !load::workers_there(&self.clients, fleet.workers(), PATIENCE).await
        {
            let logs = place.logs.display();
            return Err(Failure::from(format!("the workers did not come up: see {logs}")));
        }
        let seed = Dice::of(self.seed, "edge").next();
        let by = self.options.by.clone();
        let hold = Hold::new(Arc::clone(&self.clients), self.options.edge, self.labels(), by, seed);
        let held = hold.start().await?;
        terminal.note(self.opening());
        let breakers = Breakers::default();
        breakers.look(&self.clients).await;
        let watching = tokio::spawn(breakers.clone().watch(Arc::clone(&self.clients)));
        let person = self.person().map(tokio::spawn);
        let fleet = own.as_mut().map(|(fleet, _)| &mut **fleet);
        let settled = self.storm(fleet, &hold, held, terminal).await;
        watching.abort();
        if let Some(person) = person {
            person.abort();
        }
        settled?;
        breakers.look(&self.clients).await;
        let place = own.map(|(_, place)| place);
        let board = self.judge(place, &hold, breakers.openings(), terminal).await?;
        self.keep(&board, terminal).await?;
        Ok(board)
    }

    fn opening(&self) -> String {
        let ChaosOptions { length, rate, edge, .. } = self.options;
        let OutageRates { kill_worker, kill_server, freeze_worker, freeze_server, freeze_for } = self.outages;
        let [length, freeze_for] = [*length, freeze_for].map(humantime::format_duration);
        format!(
            "chaos {}: {length} at {rate} tasks a second; delay {}, drop {}, duplicate {}, lose-lease {}, kill-session {}, \
             kill-worker {kill_worker}, kill-server {kill_server}, freeze-worker {freeze_worker}, freeze-server \
             {freeze_server} for {freeze_for} at most; seed {}",
            self.run, edge.delay, edge.drop, edge.duplicate, edge.lose_lease, edge.kill_session, self.seed
        )
    }

    /// The labels of the tasks that failures are for.
    fn labels(&self) -> BTreeMap<String, String> {
        match &self.options.stage {
            Stage::Server { labels, .. } if !labels.is_empty() => labels.clone(),
            Stage::Server { .. } | Stage::BuiltIn { .. } => {
                BTreeMap::from([(RUN_LABEL.to_owned(), self.run.clone())])
            }
        }
    }

    fn person(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let answers = match self.options.stage {
            Stage::BuiltIn { .. } => true,
            Stage::Server { answer, .. } => answer,
        };
        let seed = Dice::of(self.seed, "person").next();
        let (clients, log) = (Arc::clone(&self.clients), Arc::clone(&self.log));
        answers.then(|| person::answer(clients, log, self.run.clone(), seed))
    }

    fn load(&self) -> Arc<Load> {
        let (source, labels, waits_for_people) = match &self.options.stage {
            Stage::BuiltIn { .. } => (Source::BuiltIn, BTreeMap::new(), true),
            Stage::Server { contract, labels, answer, .. } => {
                (Source::File(contract.clone()), labels.clone(), *answer)
            }
        };
        Arc::new(Load {
            clients: Arc::clone(&self.clients),
            log: Arc::clone(&self.log),
            run: self.run.clone(),
            source,
            labels,
            waits_for_people,
            seed: Dice::of(self.seed, "load").next(),
        })
    }

    /// Loads, kills, freezes, shows; then waits until all has ended, or for as long as that may take.
    async fn storm(
        &self,
        mut fleet: Option<&mut Fleet>,
        hold: &Hold,
        held: Option<String>,
        terminal: &mut Terminal,
    ) -> Result<(), Failure> {
        let enough = CancellationToken::new();
        let pace = Pace { rate: self.options.rate, concurrency: self.options.concurrency };
        let mut loading = tokio::spawn(self.load().run(pace, enough.clone()));
        let failing = async {
            let striking = async {
                match fleet.as_deref_mut() {
                    Some(fleet) => {
                        let dice = Dice::of(self.seed, "outages");
                        outages::strike_in_turn(fleet, self.outages, &self.log, dice, &enough).await
                    }
                    None => {
                        enough.cancelled().await;
                        Ok(())
                    }
                }
            };
            let holding = async {
                hold.keep(held, enough.clone()).await;
                Ok(())
            };
            tokio::try_join!(striking, holding).map(drop)
        };
        let ended = tokio::select! {
            // Ends by itself only where it cannot go on, or once it is enough.
            failed = failing => failed,
            never = self.watch(terminal) => match never {},
            failure = over(self.options.length, &enough) => Err(failure),
        };
        enough.cancel();
        if ended.is_err() {
            loading.abort();
            return ended;
        }
        if let Some(fleet) = fleet {
            // The end may have come between a kill and the return of what was killed, or in the middle of a freeze.
            fleet.make_whole().await?;
            self.log.all_back();
        }
        tokio::select! {
            // What has not ended by then is for the score to see.
            _ = timeout(self.options.settle, &mut loading) => {}
            never = self.watch(terminal) => match never {},
        }
        loading.abort();
        Ok(())
    }

    /// Shows how it goes.
    async fn watch(&self, terminal: &mut Terminal) -> std::convert::Infallible {
        let (mut show, mut line) = (interval(SHOW), Instant::now() + LINE);
        loop {
            show.tick().await;
            let text = self.progress(&self.log.read());
            if terminal.is_watched() {
                terminal.progress(&text);
            } else if Instant::now() >= line {
                line += LINE;
                terminal.note(text);
            }
        }
    }

    fn progress(&self, notes: &Notes) -> String {
        let Notes { submitted, outages, open, ended, .. } = notes;
        let count = |how: How, server: bool| {
            outages.iter().filter(|it| it.how == how && it.worker.is_none() == server).count()
        };
        let asleep = outages.iter().filter(|it| it.how == How::Frozen && it.back.is_none()).count();
        let asleep = if asleep > 0 { format!(" ({asleep} now)") } else { String::new() };
        let ends: Vec<String> = ended.iter().map(|(state, count)| format!("{state} {count}")).collect();
        let ends = if ends.is_empty() { "none ended".to_owned() } else { ends.join(", ") };
        let seconds = self.started.elapsed().as_secs();
        let [killed, frozen] = [How::Killed, How::Frozen]
            .map(|how| format!("{} workers, {} servers", count(how, false), count(how, true)));
        format!(
            "{seconds}s: {submitted} submitted, {open} open; {ends}; killed: {killed}; frozen: {frozen}{asleep}"
        )
    }

    /// Reads everything back and scores it.
    async fn judge(
        &self,
        own: Option<&Place>,
        hold: &Hold,
        breakers: Option<u64>,
        terminal: &mut Terminal,
    ) -> Result<Board, Failure> {
        let notes = self.log.read();
        terminal.progress("reading every task back");
        let ids: BTreeSet<String> = notes.acknowledged.iter().map(|one| one.task.clone()).collect();
        let tasks = collect::judge_all(Arc::clone(&self.clients), ids).await?;
        let world = own.map(|place| crew::read_folder(&place.world)).transpose();
        let world = world.map_err(|error| Failure::from(format!("side effects cannot be read: {error}")))?;
        // Workers of the run's own measure at their end of the wire, too.
        let (effects, felt) = world.map(|world| (world.effects, world.brakes)).unwrap_or_default();
        let injected = self.injected(&notes, hold);
        let Notes { acknowledged, outages, .. } = notes;
        let brakes = hold.brakes();
        let seen = Observed { acknowledged, tasks, effects, brakes, felt, outages, injected, breakers };
        Ok(score::score(&seen))
    }

    /// Failures by kind. One that was to be expected stands there even if it never happened.
    fn injected(&self, notes: &Notes, hold: &Hold) -> BTreeMap<String, u64> {
        let minutes = self.options.length.as_secs_f64() / 60.0;
        let count = |wanted: &dyn Fn(&Outage) -> bool| {
            u64::try_from(notes.outages.iter().filter(|it| wanted(it)).count()).unwrap_or(u64::MAX)
        };
        let OutageRates { kill_worker, kill_server, freeze_worker, freeze_server, freeze_for: _ } =
            self.outages;
        let mut kinds = hold.failures();
        // An outage comes for sure once its time has.
        let expected = |often: Often| often.per_minute() * minutes * EXPECTED;
        for (kind, often, how, server) in [
            ("worker killed", kill_worker, How::Killed, false),
            ("server killed", kill_server, How::Killed, true),
            ("worker frozen", freeze_worker, How::Frozen, false),
            ("server frozen", freeze_server, How::Frozen, true),
        ] {
            let times = count(&|it| it.how == how && it.worker.is_none() == server);
            kinds.push((kind, expected(often), times));
        }
        // Those that came back from the dead.
        let lease = LEASE_TIME.as_duration();
        let dead = count(&|it| it.how == How::Frozen && it.worker.is_some() && it.lasted() > Some(lease));
        kinds.push(("worker frozen beyond the lease time", 0.0, dead));
        let stands = |(_, expected, times): &(&str, f64, u64)| *expected >= EXPECTED || *times > 0;
        kinds.into_iter().filter(stands).map(|(kind, _, times)| (kind.to_owned(), times)).collect()
    }

    /// Has the server keep the verdict for the crew. A run in which nothing failed proves nothing, and is not kept.
    async fn keep(&self, board: &Board, terminal: &Terminal) -> Result<(), Failure> {
        let failures: u64 = board.injected.values().sum();
        let agents: Vec<String> = board.agents.iter().take(64).cloned().collect();
        if failures == 0 || agents.is_empty() {
            terminal.note("nothing failed in this run, or nothing was done: it is not kept as one");
            return Ok(());
        }
        let request = pb::RecordChaosRequest {
            recorded_by: self.options.by.clone(),
            agents,
            passed: board.passed(),
            run_id: self.run.clone(),
        };
        match timeout(CALL, self.clients.operator().record_chaos(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(Failure::of_status(&status)),
            Err(_) => Err(Failure::from("the server did not keep the verdict in time".to_owned())),
        }
    }

    pub(super) fn about(&self, record: String) -> About {
        let notes = self.log.read();
        About {
            run: self.run.clone(),
            seed: self.seed,
            seconds: self.started.elapsed().as_secs_f64(),
            held_back: notes.held_back,
            refused: notes.refused,
            answered: notes.answered,
            record,
        }
    }
}

/// Says that it is enough when the time is over, or when somebody has had enough: then the run ends early and is scored all
/// the same. Ends only where signals cannot be heard.
async fn over(length: Duration, enough: &CancellationToken) -> Failure {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
    let [Ok(mut interrupt), Ok(mut terminate)] = kinds.map(signal) else {
        return Failure::from("cannot listen for signals".to_owned());
    };
    tokio::select! {
        () = tokio::time::sleep(length) => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    enough.cancel();
    std::future::pending().await
}
