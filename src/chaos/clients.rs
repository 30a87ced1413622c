//! Connections to the server: as many as its limit of calls a connection asks for, each finding the server again by itself
//! after it was away.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    cli::{Exit, Failure},
    pb::{operator_service_client::OperatorServiceClient, task_service_client::TaskServiceClient},
};

/// Calls that one connection is used for at once: the server takes 128.
const CALLS: usize = 100;
/// A task of many turns is larger than the 4 MiB that tonic accepts by itself.
const LARGEST: usize = 256 * 1024 * 1024;
/// How long one unary call may take.
pub(super) const CALL: Duration = Duration::from_secs(20);
/// The pause before a call is made again.
pub(super) const AGAIN: Duration = Duration::from_millis(100);

/// The connections.
pub(super) struct Clients {
    first: Channel,
    channels: Vec<Channel>,
    next: AtomicUsize,
}

impl Clients {
    /// Connections for this many calls at once.
    ///
    /// # Errors
    /// When the address is none.
    pub(super) fn new(addr: &str, calls: usize) -> Result<Self, Failure> {
        let addr = addr.trim().trim_start_matches("http://").trim_end_matches('/');
        let wrong = |_| Failure::new(Exit::Usage, format!("{addr:?} is not where a server can be"));
        let endpoint = Endpoint::from_shared(format!("http://{addr}"))
            .map_err(wrong)?
            .connect_timeout(Duration::from_secs(2))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(5));
        let first = endpoint.connect_lazy();
        let channels = (0..=calls / CALLS).map(|_| endpoint.connect_lazy()).collect();
        Ok(Self { first, channels, next: AtomicUsize::new(0) })
    }

    fn channel(&self) -> Channel {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.channels.len().max(1);
        self.channels.get(turn).unwrap_or(&self.first).clone()
    }

    /// A client of tasks.
    pub(super) fn tasks(&self) -> TaskServiceClient<Channel> {
        TaskServiceClient::new(self.channel()).max_decoding_message_size(LARGEST)
    }

    /// A client of questions, agents and workers.
    pub(super) fn operator(&self) -> OperatorServiceClient<Channel> {
        OperatorServiceClient::new(self.channel()).max_decoding_message_size(LARGEST)
    }
}

/// Whether a call may be made again: the server was away, full or late.
pub(super) fn is_passing(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::ResourceExhausted
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Aborted
            | Code::Internal
    )
}
