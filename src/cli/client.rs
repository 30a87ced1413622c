//! The connection to a server: where it is, how long to wait for it, what to say when it is not there.

use std::{future::Future, time::Duration};

use clap::Args;
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint},
};

use super::{exit::Exit, failure::Failure, terminal::Terminal};
use crate::{
    console::text::clean,
    pb::{operator_service_client::OperatorServiceClient, task_service_client::TaskServiceClient},
};

/// A task of thousands of turns is far larger than the 4 MiB that tonic accepts by itself.
const LARGEST_ANSWER: usize = 256 * 1024 * 1024;

/// Where the server is if nothing says otherwise.
const DEFAULT_ADDR: &str = "127.0.0.1:7400";

/// What every command that talks to a server can be told.
#[derive(Args, Clone, Debug)]
pub struct Remote {
    /// Where the server is.
    #[arg(
        long,
        env = "BAILIWICK_ADDR",
        hide_env_values = true,
        default_value = DEFAULT_ADDR,
        value_name = "HOST:PORT"
    )]
    pub addr: String,
    /// How long to wait for an answer.
    #[arg(long, env = "BAILIWICK_TIMEOUT", hide_env_values = true, default_value = "30s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Write JSON: the protobuf JSON mapping, one object a line; errors too, on stderr.
    #[arg(long)]
    pub json: bool,
}

impl Remote {
    /// What a command that is printed for pasting needs after it, to find this server from this shell again.
    #[must_use]
    pub fn flag(&self) -> String {
        flag(&self.addr, std::env::var("BAILIWICK_ADDR").ok().as_deref())
    }

    /// The same for a command that is pasted into another shell, or another's.
    #[must_use]
    pub fn flag_elsewhere(&self) -> String {
        flag(&self.addr, None)
    }
}

fn flag(addr: &str, known: Option<&str>) -> String {
    if addr == known.unwrap_or(DEFAULT_ADDR) { String::new() } else { format!(" --addr {}", clean(addr)) }
}

/// A server that answers.
pub struct Client {
    /// Tasks.
    pub tasks: TaskServiceClient<Channel>,
    /// Questions, agents, workers.
    pub operator: OperatorServiceClient<Channel>,
    /// How long to wait for one answer.
    pub timeout: Duration,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When the address is none, or nobody is there.
    pub async fn connect(remote: &Remote, terminal: &Terminal) -> Result<Self, Failure> {
        let Remote { addr, timeout, json: _ } = remote;
        let uri = uri(addr)?;
        let endpoint = Endpoint::from_shared(uri.clone())
            .map_err(|_| bad_address(addr))?
            .connect_timeout((*timeout).min(Duration::from_secs(10)))
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20))
            .user_agent(concat!("bailiwick/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| Failure::from(error.to_string()))?;
        let channel = terminal
            .waiting(&format!("connecting to {uri}"), endpoint.connect())
            .await
            .map_err(|error| unreachable(&uri, &error))?;
        Ok(Self {
            tasks: TaskServiceClient::new(channel.clone()).max_decoding_message_size(LARGEST_ANSWER),
            operator: OperatorServiceClient::new(channel).max_decoding_message_size(LARGEST_ANSWER),
            timeout: *timeout,
        })
    }

    /// Waits for one answer.
    ///
    /// # Errors
    /// When the server refuses, or does not answer in time.
    pub async fn ask<T>(
        &self,
        terminal: &Terminal,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match terminal.waiting("waiting for the server", tokio::time::timeout(self.timeout, call)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(Failure::of_status(&status)),
            Err(_) => Err(Failure::new(
                Exit::Unavailable,
                format!("the server has not answered within {}", humantime::format_duration(self.timeout)),
            )
            .hint("what was asked may still have been done; --timeout waits longer")),
        }
    }
}

/// "host:port" as a URI; a scheme may be written, as long as it is http.
fn uri(addr: &str) -> Result<String, Failure> {
    let addr = addr.trim();
    if addr.starts_with("https://") {
        return Err(Failure::new(
            Exit::Usage,
            format!("{addr}: TLS is not available yet. Write http:// or no scheme"),
        ));
    }
    let rest = addr.strip_prefix("http://").unwrap_or(addr).trim_end_matches('/');
    let port = rest.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>()));
    if !matches!(port, Some(Ok(_))) || rest.contains('/') {
        return Err(bad_address(addr));
    }
    Ok(format!("http://{rest}"))
}

fn bad_address(addr: &str) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("{addr:?} is not where a server can be. Write HOST:PORT, like 127.0.0.1:7400"),
    )
}

fn unreachable(uri: &str, error: &tonic::transport::Error) -> Failure {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Failure::new(Exit::Unavailable, format!("no server can be reached at {uri}: {cause}"))
        .hint("start one with `bailiwick serve`, or say where it is with --addr or BAILIWICK_ADDR")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_command_names_the_server_only_where_the_shell_would_find_another() {
        assert_eq!(flag(DEFAULT_ADDR, None), "");
        assert_eq!(flag("a:1", None), " --addr a:1");
        assert_eq!(flag("a:1", Some("a:1")), "");
        assert_eq!(flag(DEFAULT_ADDR, Some("a:1")), " --addr 127.0.0.1:7400");
    }

    #[test]
    fn addresses() {
        for (addr, expected) in [
            ("127.0.0.1:7400", Some("http://127.0.0.1:7400")),
            ("http://localhost:7400/", Some("http://localhost:7400")),
            ("[::1]:7400", Some("http://[::1]:7400")),
            ("localhost", None),
            (":7400", None),
            ("https://a:1", None),
            ("a:1/path", None),
            ("a:99999", None),
            ("", None),
        ] {
            let found = uri(addr);
            assert_eq!(found.as_deref().ok(), expected, "{addr}");
            assert!(found.err().is_none_or(|failure| failure.exit == Exit::Usage));
        }
    }
}
