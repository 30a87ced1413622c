//! The gRPC server around the services: transport limits, health, reflection, drain. Never here: what a call means.

use std::{
    future::{Future, poll_fn},
    sync::{Arc, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    pb::{self, operator_service_server::OperatorServiceServer, task_service_server::TaskServiceServer},
    runtime::Runtime,
    types::time::Span,
};

use super::{
    MAX_MESSAGE_BYTES,
    calls::CallBoard,
    chaos::Edge,
    direct::Direct,
    frame::WorkerRoute,
    operator::Operator,
    session::Context,
    shed::Shed,
    tasks::{Stop, Tasks},
    webhooks::WebhookBoard,
    worker::{Streams, Worker},
};

/// Names whose health is reported; the empty one is the whole server's.
const SERVICES: [&str; 4] = ["", TASK_SERVICE, "bailiwick.v1.OperatorService", "bailiwick.v1.WorkerService"];
/// Calls of one connection that were given up before they were looked at: more, and the connection ends. Each is a few hundred
/// bytes.
const MAX_RESET_STREAMS: usize = 4_096;
const TASK_SERVICE: &str = "bailiwick.v1.TaskService";

/// How the server behaves. Every number bounds something.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Streams that one connection may have open at once. Many more collapse under open-loop load.
    pub max_concurrent_streams: u32,
    /// Calls served at once, for workers and for clients each; more are told to come back.
    pub max_calls: usize,
    /// Tasks that may be watched at once; and inboxes as many again.
    pub max_watches: usize,
    /// Streams of submissions that may be open at once.
    pub max_task_streams: usize,
    /// Sessions of workers without a stream.
    pub max_polled_sessions: usize,
    /// How often an idle connection is pinged, and how long the answer may take.
    pub keepalive: Duration,
    /// How long workers have, after the word that the server is going away, before their streams end.
    pub drain: Duration,
    /// How the webhooks stand: whoever sends them writes it.
    pub webhooks: WebhookBoard,
    /// Whether chaos runs are refused.
    pub forbid_chaos: bool,
    /// Where calls are counted, if they are.
    pub calls: CallBoard,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 128,
            max_calls: 2_048,
            max_watches: 1_024,
            max_task_streams: 256,
            max_polled_sessions: 1_024,
            keepalive: Duration::from_secs(20),
            drain: Duration::from_secs(2),
            webhooks: WebhookBoard::default(),
            forbid_chaos: false,
            calls: CallBoard::default(),
        }
    }
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The descriptors of this build cannot be served.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

type Transport = JoinHandle<Result<(), tonic::transport::Error>>;

/// A running server.
pub struct Serving {
    runtime: Runtime,
    health: HealthReporter,
    /// Ends with the runtime, or at a shutdown, whichever is first.
    telling: JoinHandle<()>,
    /// Cancelled when intake ends, and when the streams are to end.
    stop: Stop,
    streams: Streams,
    drain: Duration,
    /// `None` once it has been found to have stopped.
    transport: Option<Transport>,
}

/// Serves on a listener that is bound already. Call it inside a tokio runtime.
pub async fn serve(
    listener: TcpListener,
    runtime: Runtime,
    options: ServerOptions,
) -> Result<Serving, ServerError> {
    let ServerOptions {
        max_concurrent_streams,
        max_calls,
        max_watches,
        max_task_streams,
        max_polled_sessions,
        keepalive,
        drain,
        webhooks,
        forbid_chaos,
        calls,
    } = options;
    let edge = Edge::new(forbid_chaos);
    let stop = Stop { intake: CancellationToken::new(), streams: CancellationToken::new() };
    let streams = Streams::default();
    let (ended, drain_grace) = (stop.streams.clone(), Span::from(drain));
    let context = Context { runtime: runtime.clone(), stop: ended.clone(), drain_grace, edge: edge.clone() };
    let tasks = Tasks::new(runtime.clone(), stop.clone(), max_watches, max_task_streams);
    let tasks = TaskServiceServer::new(tasks).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let operator = Operator::new(runtime.clone(), ended.clone(), max_watches, webhooks, edge);
    let worker = Worker::new(context, streams.clone(), max_polled_sessions);
    let (health, health_service) = tonic_health::server::health_reporter();
    set_health(&health, ServingStatus::Serving).await;
    let telling = tokio::spawn(tell_health(runtime.clone(), health.clone()));
    let router = Server::builder()
        .max_concurrent_streams(max_concurrent_streams)
        // Clients that give up reset what they sent, and a server that is behind finds many such at once: they are shed one by
        // one. The transport's own bound (20) ends the connection, with everything on it, just when there is too much to do.
        .http2_max_pending_accept_reset_streams(Some(MAX_RESET_STREAMS))
        .http2_keepalive_interval(Some(keepalive))
        .http2_keepalive_timeout(Some(keepalive))
        .layer(tower::util::option_layer(calls.layer()))
        .layer(Shed::new(max_calls))
        .layer(Direct(tasks.clone()))
        .add_service(tasks)
        .add_service(OperatorServiceServer::new(operator).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(WorkerRoute::new(worker))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(keepalive));
    let transport = tokio::spawn(router.serve_with_incoming_shutdown(incoming, ended.cancelled_owned()));
    Ok(Serving { runtime, health, telling, stop, streams, drain, transport: Some(transport) })
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(pb::DESCRIPTORS)
}

/// Has the health service say so when nothing new is accepted because the journal takes nothing. Workers are still served.
async fn tell_health(runtime: Runtime, health: HealthReporter) {
    let mut journal = runtime.journal_failing();
    drop(runtime);
    while journal.changed().await.is_ok() {
        let fails = journal.borrow_and_update().is_some();
        let status = if fails { ServingStatus::NotServing } else { ServingStatus::Serving };
        for service in ["", TASK_SERVICE] {
            health.set_service_status(service, status).await;
        }
    }
}

async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        health.set_service_status(service, status).await;
    }
}

impl Serving {
    /// Waits until the transport stops by itself, which it should not. Never again after that.
    pub async fn failed(&mut self) -> String {
        let Some(transport) = self.transport.as_mut() else { return std::future::pending().await };
        let what = match transport.await {
            Ok(Ok(())) => "the transport stopped by itself".to_owned(),
            Ok(Err(error)) => format!("the transport failed: {error}"),
            Err(error) => format!("the transport failed: {error}"),
        };
        self.transport = None;
        what
    }

    /// Stops intake, tells everybody, ends the streams and then the connections. `grace` is the hard limit: a connection
    /// that does not end is cut. Says whether none had to be.
    pub async fn shutdown(self, grace: Duration) -> bool {
        let Self { runtime, health, telling, stop, streams, drain, mut transport } = self;
        telling.abort();
        set_health(&health, ServingStatus::NotServing).await;
        runtime.begin_shutdown();
        stop.intake.cancel();
        let ended = async {
            // Workers finish what they can and close; those that have not when the time is over are closed.
            let _ = timeout(drain, all_ended(&streams)).await;
            stop.streams.cancel();
            all_ended(&streams).await;
            // The graceful end can hang on a connection that never answers: hence the limit around it.
            match transport.as_mut() {
                Some(transport) => transport.await.is_ok(),
                None => true,
            }
        };
        let clean = timeout(grace, ended).await.unwrap_or(false);
        stop.streams.cancel();
        if !clean {
            streams.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
            if let Some(transport) = transport {
                transport.abort();
            }
        }
        clean
    }
}

/// Waits until no session stream is open.
fn all_ended(streams: &Streams) -> impl Future<Output = ()> + use<> {
    let streams = Arc::clone(streams);
    poll_fn(move |cx| {
        let mut open = streams.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match open.poll_join_next(cx) {
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
}
