//! `kill -9` of a real server process under load, again and again at random points; then the audit:
//!
//! - nothing acknowledged is lost: every submitted key still names its task, every acknowledged answer is in the journal;
//! - nothing is charged twice: what is spent is what the workers used, to the token; what vanished stays reserved;
//! - every question to people is answered once, by who was told so; parents have heard what their children used;
//! - open tasks go on after each restart, and a worker that comes back in time keeps its lease.
//!
//! How: one server process on one port and one database, restarted after each kill; clients that submit under idempotency
//! keys until they are acknowledged; workers that answer until they are acknowledged and keep their own books; one more
//! that dies with its leases again and again, and is heard of late or never. Workers stream steps and have children; of the
//! tasks some have a validator, and some ask people, of whom two answer at once. Servers keep one open task in memory, or a
//! few, or all.

mod audit;
mod forgetful;
mod load;
mod person;
#[allow(clippy::duplicate_mod)]
#[path = "../support/server.rs"]
mod server;
mod worker;

use std::{sync::Arc, time::Duration};

use server::Server;

/// Kills; the seed of their times is printed.
const KILLS: u32 = 22;

/// A small generator, so that a run's kill points can be had again from its seed.
struct Dice(u64);

impl Dice {
    fn from_time() -> Self {
        let now = std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970");
        let given = std::env::var("BAILIWICK_TEST_SEED").ok().and_then(|s| s.parse().ok());
        let seed = given.unwrap_or_else(|| u64::try_from(now.as_nanos()).unwrap_or(1)) | 1;
        println!("seed {seed} (BAILIWICK_TEST_SEED sets it)");
        Self(seed)
    }

    fn up_to(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_is_charged_twice_when_the_server_is_killed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut server = Server::start(folder.path(), None).await;
    let uri = server.uri();
    let books = Arc::new(worker::Books::default());
    let crew: Vec<_> = (0..3).map(|n| tokio::spawn(worker::run(uri.clone(), n, books.clone()))).collect();
    books.wait_until_registered(3).await;
    let answered = Arc::new(person::Answered::default());
    let people: Vec<_> =
        (0..2).map(|n| tokio::spawn(person::answer_all(uri.clone(), n, answered.clone()))).collect();
    let load = load::Load::start(&uri, 6);
    let forgetful = forgetful::Forgetful::start(&uri, books.clone());

    let mut dice = Dice::from_time();
    for _ in 0..KILLS {
        // Real time, on purpose: a real process is killed at a random point of its real work.
        tokio::time::sleep(Duration::from_millis(60 + dice.up_to(500))).await;
        let port = server.port();
        // Waited for: its port and its lock are free only when it is gone.
        server.kill_and_wait().await;
        // Some servers keep hardly a task in memory: what happens to a task that was parked is killed as well.
        let residents = ["1", "3", "20000"][usize::try_from(dice.up_to(3)).expect("small")];
        let environment = [("BAILIWICK_MAX_RESIDENT_TASKS", residents)];
        server = Server::start_with(folder.path(), Some(port), &environment).await;
    }
    let silent = forgetful.fall_silent().await;
    let submitted = Arc::new(load.finish().await);
    audit::wait_until_ended(&uri, &submitted).await;
    books.finish().await;
    let silenced = silent.speak(&books).await;
    for helper in people {
        assert!(!helper.is_finished(), "a person saw an answer that there is not");
        helper.abort();
    }
    let found = audit::audit(&uri, &submitted, Arc::new(books.entries()), &answered).await;
    for worker in crew {
        worker.abort();
    }
    println!(
        "{KILLS} kills, {} tasks, {} attempts ({} vanished, {} answers refused, {} usages after the end), {} leases kept over a \
         restart, {} verdicts, {} questions ({} acknowledged), {} steps, {} children ({} stopped)",
        submitted.len(),
        found.attempts,
        found.vanished,
        found.refused,
        found.late,
        books.claimed(),
        found.judged,
        found.answered,
        answered.len(),
        found.streamed,
        found.children,
        found.stopped,
    );
    assert!(submitted.len() > 100, "there was load: {} tasks", submitted.len());
    assert!(silenced > 0 && found.late > 0, "usage came after the end of its task");
    assert!(found.vanished > 0 && found.refused > 0, "attempts vanished and answers came too late");
    assert!(books.claimed() > 0, "workers that came back in time kept leases");
    assert!(found.judged > 0 && found.answered > 0, "there were verdicts and questions");
    assert!(found.streamed > 0 && found.children > 0, "there were steps and children");
    server.stop().await;
}
