//! A crew and clients behind a bad network: everything is done once, and nothing is lost.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bailiwick::pb::{
    SubmitTaskRequest, TaskState, task_event::Event, task_service_client::TaskServiceClient,
};
use tokio::task::JoinSet;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use crate::{
    crew::work,
    hand::{World, contract, soon, state_of},
    proxy::Proxy,
};

const CLIENTS: usize = 4;
/// Rounds of all clients, at most.
const MOST_ROUNDS: usize = 20;
const TASKS_EACH: usize = 40;

fn seed() -> u64 {
    let now = std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970");
    let given = std::env::var("BAILIWICK_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| u64::try_from(now.as_nanos()).unwrap_or(1));
    println!("seed {seed} (BAILIWICK_TEST_SEED sets it)");
    seed
}

fn channel(uri: &str) -> Channel {
    let endpoint = Endpoint::from_shared(uri.to_owned()).expect("a URI");
    endpoint.connect_timeout(Duration::from_millis(500)).timeout(Duration::from_secs(1)).connect_lazy()
}

/// Submits under keys until each is acknowledged; the ids. A new connection after each failure: the old one may be half dead.
async fn submit(uri: String, client: usize) -> Vec<String> {
    let mut ids = Vec::new();
    let mut tasks = TaskServiceClient::new(channel(&uri));
    for number in 0..TASKS_EACH {
        let mut contract = contract("solo");
        contract.idempotency_key = format!("{client}-{number}");
        loop {
            let request =
                SubmitTaskRequest { contract: Some(contract.clone()), ..SubmitTaskRequest::default() };
            match tasks.submit_task(request).await {
                Ok(response) => {
                    ids.push(response.into_inner().task_id);
                    break;
                }
                Err(status) => {
                    assert_ne!(status.code(), Code::AlreadyExists, "{status:?}");
                    tasks = TaskServiceClient::new(channel(&uri));
                }
            }
        }
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_delays_cuts_and_half_closes_loses_nothing_and_doubles_nothing() {
    let world = World::new().await;
    let target = world.server().uri().trim_start_matches("http://").to_owned();
    let seed = seed();
    let for_crew = Proxy::start(target.clone(), seed).await;
    let for_clients = Proxy::start(target, seed.rotate_left(17)).await;
    let mut crew = JoinSet::new();
    for number in 0..3 {
        crew.spawn(work(for_crew.uri(), format!("w{number}"), Duration::from_millis(5)));
    }
    let done = [&for_crew.done, &for_clients.done].map(Arc::clone);
    let sum = |of: fn(&crate::proxy::Done) -> &std::sync::atomic::AtomicU64| {
        done.iter().map(|done| of(done).load(Ordering::Relaxed)).sum::<u64>()
    };
    let mut ids = BTreeSet::new();
    // Which connection fares how is the dice's; as often as it takes, so that each has happened.
    for round in 0..MOST_ROUNDS {
        let numbers = round * CLIENTS..(round + 1) * CLIENTS;
        let mut clients: JoinSet<_> = numbers.map(|n| submit(for_clients.uri(), n)).collect();
        let mut submitted = 0;
        while let Some(of_one) = soon("the submissions", clients.join_next()).await {
            let of_one = of_one.expect("no client panics");
            submitted += of_one.len();
            ids.extend(of_one);
        }
        let all = (round + 1) * CLIENTS * TASKS_EACH;
        assert_eq!((submitted, ids.len()), (CLIENTS * TASKS_EACH, all), "a key is a task");
        if sum(|done| &done.cuts) > 0 && sum(|done| &done.half_closes) > 0 {
            break;
        }
    }
    for_crew.be_sound();
    for id in &ids {
        let ended = soon("every task to end", world.ended(id)).await;
        assert_eq!(state_of(&ended), TaskState::Succeeded, "{ended:?}");
        let ledger = ended.summary.expect("it is sent").ledger.expect("it is sent");
        assert!(ledger.spent_tokens + ledger.reserved_tokens <= ledger.granted_tokens, "{ledger:?}");
        let events = world.events(id, 0, usize::MAX).await;
        let count = |wanted: fn(&Event) -> bool| {
            events.iter().filter(|event| event.event.as_ref().is_some_and(wanted)).count()
        };
        assert_eq!(count(|event| matches!(event, Event::Ended(_))), 1);
        assert_eq!(count(|event| matches!(event, Event::TurnAnswered(_))), 1, "no answer counts twice");
    }
    let (cuts, half_closes) = (sum(|done| &done.cuts), sum(|done| &done.half_closes));
    println!(
        "{} connections: {cuts} cuts, {half_closes} half closes, {} pieces delayed, {} never answered",
        sum(|done| &done.connections),
        sum(|done| &done.delays),
        sum(|done| &done.silences)
    );
    assert!(cuts > 0 && half_closes > 0, "the network was bad");
    crew.abort_all();
}
