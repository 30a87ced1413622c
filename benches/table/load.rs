//! The bench's clients: unary calls in lanes, submissions over streams, and both at a steady rate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bailiwick::pb::{StreamTasksRequest, submission_result, task_service_client::TaskServiceClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, transport::Channel};

use crate::{
    board::{Board, COUNTED},
    contracts::{self, ANSWERS, REPORTS, SPENDS},
    echo::connect,
    stats::{float, nanos, now, per_second},
    worker::{Kind, Session},
};

/// Connections of clients with unary calls: at most 128 streams run on one.
const CONNECTIONS: usize = 4;
/// Streams of submissions, each on its own connection.
const STREAMS: usize = 2;
/// Tasks in flight over streams.
const WINDOW: usize = 1_024;
/// Submissions that go up in one message, at most.
const CHUNK: usize = 64;
/// Workers that answer, each on its own connection, and what each takes at once.
const WORKERS: usize = 2;
const CONCURRENCY: i32 = 640;

/// Clients and workers of one server.
#[derive(Clone)]
pub(crate) struct Load {
    clients: Vec<TaskServiceClient<Channel>>,
    pub(crate) board: Arc<Board>,
}

impl Load {
    /// Connects clients and the workers that answer.
    pub(crate) async fn start(uri: &str) -> Self {
        let board = Arc::new(Board::new());
        for index in 0..WORKERS {
            let id = format!("{ANSWERS}-{index}");
            let session = Session::open(connect(uri).await, &id, ANSWERS, CONCURRENCY).await;
            session.work(Kind::Answer, &board);
        }
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(TaskServiceClient::new(connect(uri).await));
        }
        Self { clients, board }
    }

    /// Adds the workers that spend and that report, the latter with `reporters` tasks at work.
    pub(crate) async fn with_reporters(&self, uri: &str, reporters: u32) {
        let spender = Session::open(connect(uri).await, SPENDS, SPENDS, 512).await;
        spender.work(Kind::Overspend, &self.board);
        let at_once = i32::try_from(reporters / 2).unwrap_or(i32::MAX);
        for index in 0..2 {
            let id = format!("{REPORTS}-{index}");
            let session = Session::open(connect(uri).await, &id, REPORTS, at_once).await;
            session.work(Kind::Report, &self.board);
        }
        // Each attempt reports some hundred times; those to come wait in line.
        self.fill(REPORTS, u64::from(reporters) + 2_000).await;
    }

    pub(crate) fn client(&self, lane: usize) -> TaskServiceClient<Channel> {
        self.clients[lane % self.clients.len()].clone()
    }

    /// Full cycles a second by unary calls, with `in_flight` at once.
    pub(crate) async fn unary(&self, in_flight: usize, time: Duration) -> f64 {
        let start = now();
        let end = start + time;
        let lanes: Vec<_> = (0..in_flight)
            .map(|lane| {
                let (mut client, board) = (self.client(lane), Arc::clone(&self.board));
                tokio::spawn(async move {
                    let mut count = 0_u64;
                    while now() < end {
                        let number = board.number();
                        let request = contracts::request(ANSWERS, number);
                        client.submit_task(request).await.expect("the task is accepted");
                        board.wait(number).await;
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let mut total = 0;
        for lane in lanes {
            total += lane.await.expect("a lane ends by itself");
        }
        per_second(total, start.elapsed())
    }

    /// Full cycles a second by streamed submissions; what was in flight at the end is waited for.
    pub(crate) async fn streamed(&self, time: Duration) -> f64 {
        let (start, before) = (now(), self.board.done.load(Ordering::Relaxed));
        self.board.window.add_permits(WINDOW);
        let end = start + time;
        let streams: Vec<_> = (0..STREAMS)
            .map(|lane| {
                let (client, board) = (self.client(lane), Arc::clone(&self.board));
                tokio::spawn(stream(client, ANSWERS, move |number| {
                    let board = Arc::clone(&board);
                    async move {
                        let more = number == 0 || now() < end;
                        if !more {
                            return 0;
                        }
                        let room = board.window.available_permits().clamp(1, CHUNK);
                        let room = u32::try_from(room).unwrap_or(1);
                        board.window.acquire_many(room).await.expect("it is never closed").forget();
                        u64::from(room)
                    }
                }))
            })
            .collect();
        for stream in streams {
            assert_eq!(stream.await.expect("a stream ends by itself"), 0, "all are accepted");
        }
        // Every permit is back when every task is over.
        let all = u32::try_from(WINDOW).unwrap_or(u32::MAX);
        self.board.window.acquire_many(all).await.expect("it is never closed").forget();
        per_second(self.board.done.load(Ordering::Relaxed) - before, start.elapsed())
    }

    /// Streamed submissions at a rate, open loop: each is given up that could not be sent within `patience`. What was done a
    /// second, how many were given up, and how many were refused.
    pub(crate) async fn streamed_at(&self, rate: f64, time: Duration, patience: Duration) -> (f64, u64, u64) {
        let (start, before) = (now(), self.board.done.load(Ordering::Relaxed));
        let end = start + time;
        let late = Arc::new(AtomicU64::new(0));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Positive, and far below 2^53.
        let due = move |at: Duration| (at.as_secs_f64() * rate / float(STREAMS as u64)) as u64;
        let streams: Vec<_> = (0..STREAMS)
            .map(|lane| {
                let late = Arc::clone(&late);
                let mut given_up = 0;
                let part = move |sent: u64| {
                    let elapsed = start.elapsed();
                    let too_late = due(elapsed.saturating_sub(patience)).saturating_sub(sent + given_up);
                    given_up += too_late;
                    late.fetch_add(too_late, Ordering::Relaxed);
                    let next = sent + given_up;
                    async move {
                        loop {
                            if now() >= end {
                                return 0;
                            }
                            match due(start.elapsed()).saturating_sub(next) {
                                0 => tokio::time::sleep(Duration::from_millis(1)).await,
                                waiting => return waiting.min(CHUNK as u64),
                            }
                        }
                    }
                };
                tokio::spawn(stream(self.client(lane), ANSWERS, part))
            })
            .collect();
        let mut refused = 0;
        for stream in streams {
            refused += stream.await.expect("a stream ends by itself");
        }
        let done = per_second(self.board.done.load(Ordering::Relaxed) - before, start.elapsed());
        // Nobody waited for room: what was given back for them is not wanted.
        tokio::time::sleep(patience).await;
        self.board.window.forget_permits(self.board.window.available_permits());
        (done, late.load(Ordering::Relaxed), refused)
    }

    /// Submits so many tasks for an agent, and waits only until each is durable.
    pub(crate) async fn fill(&self, agent: &'static str, count: u64) {
        let left = Arc::new(AtomicU64::new(count));
        let streams: Vec<_> = (0..STREAMS)
            .map(|lane| {
                let left = Arc::clone(&left);
                let part = move |_| {
                    let take = |left: u64| Some(left.saturating_sub(CHUNK as u64));
                    let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
                    let chunk = before.unwrap_or(0).min(CHUNK as u64);
                    async move { chunk }
                };
                tokio::spawn(stream(self.client(lane), agent, part))
            })
            .collect();
        for stream in streams {
            assert_eq!(stream.await.expect("a stream ends by itself"), 0, "all are accepted");
        }
    }

    /// Reports and requests a second that are durable.
    pub(crate) async fn reports(&self, time: Duration) -> f64 {
        let (start, before) = (now(), self.board.reports.load(Ordering::Relaxed));
        self.board.reporting.send_replace(true);
        tokio::time::sleep(time).await;
        let count = self.board.reports.load(Ordering::Relaxed) - before;
        self.board.reporting.send_replace(false);
        per_second(count, start.elapsed())
    }

    /// Submits at a steady rate, open loop: a late answer does not delay the next submission. The seconds from a submission
    /// until the worker had it, or for one that overspends from its report to the cancel; sorted, without the first fifth.
    pub(crate) async fn at_rate(&self, agent: &'static str, rate: f64, time: Duration) -> Vec<f64> {
        let (start, mut sent, mut running) = (now(), 0_u32, Vec::new());
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        while start.elapsed() < time {
            ticks.tick().await;
            while f64::from(sent) < start.elapsed().as_secs_f64() * rate {
                sent += 1;
                let (client, board) = (self.client(sent as usize), Arc::clone(&self.board));
                running.push(tokio::spawn(one(client, board, agent)));
            }
        }
        let warm = running.len() / 5;
        let mut figures = Vec::with_capacity(running.len());
        for task in running {
            figures.push(task.await.expect("every task ends"));
        }
        let mut figures = figures.split_off(warm);
        figures.sort_by(f64::total_cmp);
        figures
    }
}

/// Submits one task and waits for its end. See [`Load::at_rate`].
async fn one(mut client: TaskServiceClient<Channel>, board: Arc<Board>, agent: &'static str) -> f64 {
    let number = board.number();
    let request = contracts::request(agent, number);
    let sent = nanos();
    client.submit_task(request).await.expect("the task is accepted");
    let times = board.wait(number).await;
    let nanos = if agent == SPENDS {
        times.over.saturating_sub(times.begun)
    } else {
        times.begun.saturating_sub(sent)
    };
    crate::stats::seconds(nanos)
}

/// Submits over one stream, as many at a time as `part` says (given how many went before; 0 ends it), until every one has
/// its answer. How many were refused.
async fn stream<F>(
    mut client: TaskServiceClient<Channel>,
    agent: &'static str,
    mut part: impl FnMut(u64) -> F + Send + 'static,
) -> u64
where
    F: Future<Output = u64> + Send,
{
    static NEXT: AtomicU64 = AtomicU64::new(COUNTED);
    let (up, requests) = mpsc::channel(4);
    let sending = tokio::spawn(async move {
        let mut place = 0_i64;
        let mut sent = 0;
        loop {
            let count = part(sent).await;
            if count == 0 {
                return sent;
            }
            let submissions = (0..count)
                .map(|_| {
                    place += 1;
                    contracts::submission(place, agent, NEXT.fetch_add(1, Ordering::Relaxed))
                })
                .collect();
            up.send(StreamTasksRequest { submissions }).await.expect("the server reads");
            sent += count;
        }
    });
    let mut answers =
        client.stream_tasks(ReceiverStream::new(requests)).await.expect("the stream opens").into_inner();
    let (mut answered, mut refused) = (0, 0);
    while let Some(answer) = answers.message().await.expect("no error") {
        for result in answer.results {
            answered += 1;
            match result.result {
                Some(submission_result::Result::Accepted(_)) => {}
                Some(submission_result::Result::Refused(refusal))
                    if refusal.code == Code::ResourceExhausted as i32 =>
                {
                    refused += 1;
                }
                other => panic!("accepted, or told that it is too much: {other:?}"),
            }
        }
    }
    assert_eq!(answered, sending.await.expect("it ends by itself"), "each has its answer");
    refused
}
