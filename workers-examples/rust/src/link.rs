//! One session's transport: a channel, a queue up, messages down. Knows nothing of attempts and never reconnects.

use std::time::Duration;

use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::pb::{self, session_request::Message, worker_service_client::WorkerServiceClient};

/// Messages that may wait to be written. Enough for every answer a worker of the greatest concurrency can hold.
const QUEUE: usize = 4_096;
/// Slots of the queue kept free for what the engine itself has to say.
const SPARE: usize = 64;
/// The largest message either way, in bytes.
pub(crate) const MAX_MESSAGE: usize = 4 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What comes down.
pub(crate) enum Inbound {
    Message(Box<pb::session_response::Message>),
    /// A message without content this worker knows.
    Unknown,
    /// The session is over, and why. Nothing follows.
    Ended(String),
}

/// A session, from the call until its end. Dropping it cuts the connection.
pub(crate) struct Link {
    up: Option<mpsc::Sender<pb::SessionRequest>>,
    down: mpsc::Receiver<Inbound>,
    pump: JoinHandle<()>,
    next_id: i64,
    /// When the call was made.
    pub(crate) opened_at: Instant,
    /// Whether `Registered` has come.
    pub(crate) registered: bool,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// A channel to `address` ("host:port" or a URL) that connects when it is first used.
pub(crate) fn channel(address: &str) -> Result<Channel, tonic::transport::Error> {
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let endpoint = Endpoint::from_shared(url)?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_lazy())
}

impl Link {
    /// Calls `Session` and says `register`.
    pub(crate) fn open(channel: Channel, register: pb::Register) -> Self {
        let (up, outgoing) = mpsc::channel(QUEUE);
        let (events, down) = mpsc::channel(QUEUE);
        let pump = tokio::spawn(pump(channel, outgoing, events));
        let mut link =
            Self { up: Some(up), down, pump, next_id: 1, opened_at: Instant::now(), registered: false };
        link.send(Message::Register(register));
        link
    }

    /// Queues a message and gives its id; `None` when the session is over or its queue is full.
    pub(crate) fn send(&mut self, message: Message) -> Option<i64> {
        let message_id = self.next_id;
        let request = pb::SessionRequest { message_id, message: Some(message) };
        self.up.as_ref()?.try_send(request).ok()?;
        self.next_id += 1;
        Some(message_id)
    }

    /// Whether the queue has room for what is not urgent.
    pub(crate) fn has_room(&self) -> bool {
        self.up.as_ref().is_some_and(|up| up.capacity() > SPARE)
    }

    /// Whether everything said so far has left the queue.
    pub(crate) fn is_flushed(&self) -> bool {
        self.up.as_ref().is_none_or(|up| up.capacity() == up.max_capacity())
    }

    /// Waits until [`Link::has_room`] may hold.
    pub(crate) async fn room(up: &mpsc::Sender<pb::SessionRequest>) {
        // An error means the session is over; the engine hears of that by `Inbound::Ended`.
        let _ = up.reserve_many(SPARE + 1).await;
    }

    /// The next thing that came down.
    pub(crate) async fn next(&mut self) -> Inbound {
        self.down.recv().await.unwrap_or_else(|| Inbound::Ended("the connection task ended".into()))
    }

    /// A handle for [`Link::room`].
    pub(crate) fn up(&self) -> Option<mpsc::Sender<pb::SessionRequest>> {
        self.up.clone()
    }

    /// Says that nothing more will be said, and waits at most `limit` for the server to end the session.
    pub(crate) async fn close(mut self, limit: Duration) {
        self.up = None;
        let ended = async { while !matches!(self.next().await, Inbound::Ended(_)) {} };
        // A server that does not end it in time loses nothing: everything that matters is acknowledged.
        let _ = tokio::time::timeout(limit, ended).await;
    }
}

async fn pump(channel: Channel, outgoing: mpsc::Receiver<pb::SessionRequest>, events: mpsc::Sender<Inbound>) {
    let why = match carry(channel, outgoing, &events).await {
        Ok(()) => "the server ended the session".to_owned(),
        Err(status) => format!("{:?}: {}", status.code(), status.message()),
    };
    // Nobody listens any more when the link was dropped.
    let _ = events.send(Inbound::Ended(why)).await;
}

async fn carry(
    channel: Channel,
    outgoing: mpsc::Receiver<pb::SessionRequest>,
    events: &mpsc::Sender<Inbound>,
) -> Result<(), tonic::Status> {
    let mut client = WorkerServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let mut down = client.session(ReceiverStream::new(outgoing)).await?.into_inner();
    while let Some(response) = down.message().await? {
        if events
            .send(response.message.map_or(Inbound::Unknown, |m| Inbound::Message(Box::new(m))))
            .await
            .is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}
