//! A worker that dies with its leases: it comes back without them, and says late, or never, what it used under them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bailiwick::pb::{
    AgentSpec, Assignment, PollRequest, Register, RegisterRequest, ReportUsageRequest, Usage, UsageReport,
    session_response::Message, worker_service_client::WorkerServiceClient,
};
use tonic::{Code, Status, transport::Channel};

use crate::worker::{Books, answer, tokens_of};

/// What it takes in one life.
const LEASES: i32 = 3;

/// A worker of many short lives, until it is told to stop.
pub(crate) struct Forgetful {
    stop: Arc<AtomicBool>,
    lives: tokio::task::JoinHandle<Vec<Assignment>>,
    client: WorkerServiceClient<Channel>,
}

impl Forgetful {
    pub(crate) fn start(uri: &str, books: Arc<Books>) -> Self {
        let endpoint = tonic::transport::Endpoint::from_shared(uri.to_owned()).expect("a URI");
        let client = WorkerServiceClient::new(endpoint.connect_lazy());
        let stop = Arc::new(AtomicBool::new(false));
        let lives = tokio::spawn(live(client.clone(), stop.clone(), books));
        Self { stop, lives, client }
    }

    /// It takes leases once more and is never heard of while they live; they are for [`Silent::speak`].
    pub(crate) async fn fall_silent(self) -> Silent {
        self.stop.store(true, Ordering::Relaxed);
        Silent { held: self.lives.await.expect("its last life ends by itself"), client: self.client }
    }
}

/// The worker after its last life.
pub(crate) struct Silent {
    held: Vec<Assignment>,
    client: WorkerServiceClient<Channel>,
}

impl Silent {
    /// Says what it used under every second lease; returns the number it held.
    pub(crate) async fn speak(mut self, books: &Books) -> usize {
        for assignment in self.held.iter().step_by(2) {
            report(&mut self.client, assignment).await;
            books.heard(&assignment.lease, false);
        }
        self.held.len()
    }
}

async fn live(
    mut client: WorkerServiceClient<Channel>,
    stop: Arc<AtomicBool>,
    books: Arc<Books>,
) -> Vec<Assignment> {
    loop {
        let is_last = stop.load(Ordering::Relaxed);
        let taken = take(&mut client, &books).await.unwrap_or_default();
        if is_last && !taken.is_empty() {
            return taken;
        }
        // Without them, or with whatever else the next life brings; a failure is as good as another death.
        let _ = register(&mut client).await;
        for (place, assignment) in taken.iter().enumerate() {
            match place % 3 {
                0 => {
                    let accepted = answer(client.clone(), assignment, tokens_of(assignment)).await;
                    books.heard(&assignment.lease, accepted);
                }
                1 => {
                    report(&mut client, assignment).await;
                    books.heard(&assignment.lease, false);
                }
                _ => {}
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn register(client: &mut WorkerServiceClient<Channel>) -> Result<String, Status> {
    let agents = ["relay", "finish"].map(|name| AgentSpec { name: name.to_owned(), ..AgentSpec::default() });
    let register = Register {
        worker_id: "forgetful".to_owned(),
        agents: agents.to_vec(),
        max_concurrency: LEASES,
        ..Register::default()
    };
    let registered = client.register(RegisterRequest { register: Some(register) }).await?.into_inner();
    Ok(registered.registered.expect("it is sent").session_id)
}

async fn take(client: &mut WorkerServiceClient<Channel>, books: &Books) -> Result<Vec<Assignment>, Status> {
    let session_id = register(client).await?;
    let mut taken = Vec::new();
    let mut credit = LEASES;
    // A second look for what the first was too early for.
    for _ in 0..2 {
        let wait = Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 });
        let request = PollRequest { session_id: session_id.clone(), credit, wait, ..PollRequest::default() };
        credit = 0;
        let Ok(response) = client.poll(request).await else { break };
        for message in response.into_inner().messages {
            if let Some(Message::Assignment(assignment)) = message.message {
                books.take(&assignment, Some(false));
                taken.push(*assignment);
            }
        }
    }
    Ok(taken)
}

/// Reports until it is acknowledged and the lease is over: what is said under a live one leaves the rest reserved.
async fn report(client: &mut WorkerServiceClient<Channel>, assignment: &Assignment) {
    loop {
        let usage = Some(Usage { input_tokens: tokens_of(assignment), ..Usage::default() });
        let report = UsageReport { lease: assignment.lease.clone(), usage };
        match client.report_usage(ReportUsageRequest { usage: Some(report) }).await {
            Ok(response) if response.get_ref().allowance_tokens == 0 => return,
            // A kill can come between the registration and what it releases: once more.
            Ok(_) => drop(register(client).await),
            Err(status) => {
                let refused = [Code::NotFound, Code::FailedPrecondition, Code::InvalidArgument];
                assert!(!refused.contains(&status.code()), "usage is never refused: {status:?}");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }
}
