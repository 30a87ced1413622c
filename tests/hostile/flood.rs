//! Clients and workers that send without end, and those that never read: they are read no further, and nobody else notices.

use bailiwick::pb::{
    self, session_request::Message as Up, task_event::Event, task_service_client::TaskServiceClient,
};
use prost::{Message as _, bytes::Bytes};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::{
    dice::Dice,
    harness::{Session, check, contract, register, soon, usage},
    process::{Server, push},
    raw, seed,
};

/// What a server may grow by for one that floods, in MiB.
const MOST_MIB: u64 = 192;
/// And for many that do not read 32 MiB of events each: a gigabyte, were it kept for each. Threads hold on for a while to what
/// they have freed.
const SLOW_READERS_MIB: u64 = 512;
/// Of each kind: from the beginning, and when everything is there.
const READERS: usize = 16;
/// And for so many that only their common bound can hold them: one by one they would take three times that.
const CROWD: usize = 200;
const CROWD_MIB: u64 = 512;
const REPORTS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_floods_and_never_reads_is_read_no_further() {
    const MOST: usize = 100_000;
    let server = Server::start().await;
    let (up, frames) = mpsc::channel(16);
    let first = Up::Register(register("w7", &["solver"], Vec::new()));
    let first = pb::SessionRequest { message_id: 1, message: Some(first) }.encode_to_vec();
    up.send(Bytes::from(first)).await.expect("the stream is open");
    let opened =
        raw::streaming(&server.channel(), "bailiwick.v1.WorkerService/Session", ReceiverStream::new(frames))
            .await;
    let down = opened.expect("it opens");
    let junk = Bytes::from(vec![0xff_u8; 1_024]);
    let sent = push(&up, MOST, |_| junk.clone()).await;
    assert!(sent < MOST, "all {sent} frames were taken, and none of the refusals read");
    server.serves_others().await;
    server.stayed_within(MOST_MIB);
    drop(down);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_floods_and_reads_gets_an_answer_to_each() {
    let server = Server::start().await;
    let mut worker = Session::open(server.workers(), "w7", &["solver"], Vec::new()).await;
    for _ in 0..2_000 {
        worker.send(Up::Heartbeat(pb::Heartbeat {})).await;
    }
    for _ in 0..20 {
        let mut ids = Vec::new();
        for _ in 0..50 {
            ids.push(worker.send(usage("00000000000000000000000000000001.1.1.00000000000000aa", 5)).await);
        }
        for id in ids {
            assert_eq!(worker.refused(id).await.reason, "LEASE_UNKNOWN");
        }
    }
    server.serves_others().await;
    server.stayed_within(MOST_MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_submits_and_never_reads_is_read_no_further() {
    const MOST: usize = 20_000;
    let server = Server::start().await;
    let (up, requests) = mpsc::channel(4);
    let mut tasks = TaskServiceClient::new(server.channel());
    let down = tasks.stream_tasks(ReceiverStream::new(requests)).await.expect("it opens").into_inner();
    let sent = push(&up, MOST, |message| {
        let number = |at| i64::try_from(message * 100 + at + 1).expect("it is small");
        let one =
            |at| pb::Submission { number: number(at), request: Some(Box::default()), ..Default::default() };
        pb::StreamTasksRequest { submissions: (0..100).map(one).collect() }
    })
    .await;
    assert!(sent < MOST, "all {sent} messages were taken, and none of the results read");
    server.serves_others().await;
    server.stayed_within(MOST_MIB);
    drop(down);
}

/// A report as large as one may be, of steps that have nothing in common.
fn report(dice: &mut Dice, lease: &str) -> Up {
    let mut step = || {
        let content = (0..1 << 10).map(|_| format!("{:016x}", dice.next())).collect();
        pb::WorkStep { content, ..Default::default() }
    };
    let steps = (0..100).map(|_| step()).collect();
    Up::Progress(pb::Progress { lease: lease.to_owned(), steps, partial_result: None })
}

/// Streams that nobody reads, each on a connection of its own: on a shared one, they would stop each other.
async fn unread(server: &Server, task_id: &str, many: usize) -> Vec<Streaming<pb::WatchTaskResponse>> {
    let mut readers = Vec::new();
    for _ in 0..many {
        let mut tasks = TaskServiceClient::new(server.channel());
        let watch = pb::WatchTaskRequest { task_id: task_id.to_owned(), after_seq: 0 };
        readers.push(soon("a watch", tasks.watch_task(watch)).await.expect("it opens").into_inner());
    }
    readers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_do_not_read_cost_little_and_miss_nothing() {
    let server = Server::start().await;
    let mut worker = Session::open(server.workers(), "w7", &["solver"], Vec::new()).await;
    worker.credit(1).await;
    let mut tasks = TaskServiceClient::new(server.channel());
    let request = pb::SubmitTaskRequest { contract: Some(contract("solver")), ..Default::default() };
    let task_id = tasks.submit_task(request).await.expect("it is taken").into_inner().task_id;
    let work = worker.assignment().await;
    let mut readers = unread(&server, &task_id, READERS).await;
    let mut dice = Dice::new(seed(), "reports", 0);
    for _ in 0..REPORTS {
        let id = worker.send(report(&mut dice, &work.lease)).await;
        worker.acked(id).await;
    }
    // These find everything there already.
    readers.extend(unread(&server, &task_id, READERS).await);
    server.serves_others().await;
    let cancel = pb::CancelTaskRequest { task_id, reason: "seen enough".into() };
    tasks.cancel_task(cancel).await.expect("it is there");
    server.stayed_within(SLOW_READERS_MIB);
    // Slow is not lost: who reads at last reads everything, in order.
    let mut reader = readers.pop().expect("there are many");
    let (mut last, mut reports) = (0, 0);
    while let Some(next) = soon("an event", reader.message()).await.expect("no error") {
        let event = next.event.expect("it is sent");
        assert_eq!(event.seq, last + 1);
        last = event.seq;
        reports += usize::from(matches!(event.event, Some(Event::Progressed(_))));
    }
    assert!(reports >= REPORTS, "{reports} reports of {REPORTS}");
}

/// Follows a task from after `seq` until the report with this number, or until it is refused.
async fn reports_after(
    server: &Server,
    task_id: &str,
    mut seq: i64,
    wanted: usize,
) -> (i64, Result<(), Status>) {
    let mut tasks = TaskServiceClient::new(server.channel());
    let watch = pb::WatchTaskRequest { task_id: task_id.to_owned(), after_seq: seq };
    let mut reader = soon("a watch", tasks.watch_task(watch)).await.expect("it opens").into_inner();
    let mut reports = 0;
    while reports < wanted {
        match soon("an event", reader.message()).await {
            Ok(next) => {
                let event = next.expect("it goes on").event.expect("it is sent");
                assert_eq!(event.seq, seq + 1);
                seq = event.seq;
                reports += usize::from(matches!(event.event, Some(Event::Progressed(_))));
            }
            Err(status) => return (seq, Err(status)),
        }
    }
    (seq, Ok(()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_does_not_read_shares_one_room_and_keeps_out_large_events_alone() {
    let server = Server::start().await;
    let mut worker = Session::open(server.workers(), "w7", &["solver"], Vec::new()).await;
    worker.credit(1).await;
    let mut tasks = TaskServiceClient::new(server.channel());
    let request = pb::SubmitTaskRequest { contract: Some(contract("solver")), ..Default::default() };
    let task_id = tasks.submit_task(request).await.expect("it is taken").into_inner().task_id;
    let work = worker.assignment().await;
    let mut dice = Dice::new(seed(), "reports", 1);
    for _ in 0..REPORTS {
        let id = worker.send(report(&mut dice, &work.lease)).await;
        worker.acked(id).await;
    }
    let crowd = unread(&server, &task_id, CROWD).await;
    // Whoever follows an ordinary task is served; whoever wants the large events hears that there is no room, and where to go on.
    server.serves_others().await;
    let (seq, refused) = reports_after(&server, &task_id, 0, REPORTS).await;
    check(refused, Code::ResourceExhausted, "OVERLOADED");
    server.stayed_within(CROWD_MIB);
    drop(crowd);
    let (_, all) = reports_after(&server, &task_id, seq, REPORTS).await;
    all.expect("there is room again");
}
