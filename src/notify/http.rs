//! One POST over HTTP/1.1, with TLS where the place has it. A connection a notice: notices are few, and a connection that was
//! kept and has died would look like a sink that fails.
//!
//! Never here: redirects, proxies, a retry, or more of an answer than an excerpt.

use std::{error::Error, future::Future, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Body as _, Bytes, Incoming},
    client::conn::http1,
    header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use super::{notice::Notice, place::Place, signature};

/// The header with the event's id.
pub const EVENT_HEADER: &str = "bailiwick-event";
/// What one try may take in all: name, connection, TLS, request and answer.
const TRY_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read, for the log; the rest is left on the wire.
const MOST_ANSWER: usize = 1_024;

/// What is sent: a notice, signed now.
#[derive(Debug, Clone, Copy)]
pub struct Parcel<'a> {
    /// The notice.
    pub notice: &'a Notice,
    /// The value of the signature's header.
    pub signature: &'a str,
}

/// What the sink answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// When the sink wants to be tried again.
    pub retry_after: Option<RetryAfter>,
    /// How the answer begins.
    pub excerpt: String,
}

/// When a sink wants to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// After so long.
    In(Duration),
    /// At this time, in seconds since the epoch.
    At(u64),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// Nobody is there.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// It is not who it should be, or speaks no TLS.
    #[error("no TLS connection: {0}")]
    Tls(String),
    /// It does not speak HTTP as it should.
    #[error("no HTTP answer: {0}")]
    Http(String),
    /// It took too long.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

/// Sends parcels.
pub trait Post: Send + Sync + 'static {
    /// Sends one, once.
    fn post(
        &self,
        place: &Place,
        parcel: Parcel<'_>,
    ) -> impl Future<Output = Result<Reply, PostError>> + Send;
}

/// Over the network.
#[derive(Clone)]
pub struct HttpPost {
    tls: TlsConnector,
    limit: Duration,
}

impl HttpPost {
    /// Trusts these certificates.
    ///
    /// # Errors
    /// TLS cannot be set up, in words.
    pub fn trusting(roots: RootCertStore) -> Result<Self, String> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), limit: TRY_LIMIT })
    }

    async fn send(&self, place: &Place, parcel: Parcel<'_>) -> Result<Reply, PostError> {
        let stream = TcpStream::connect((place.host(), place.port())).await.map_err(PostError::Connect)?;
        // A notice is one small write: it must not wait for another.
        let _ = stream.set_nodelay(true);
        if !place.tls() {
            return exchange(stream, place, parcel).await;
        }
        let tls = |error: &dyn Error| PostError::Tls(error.to_string());
        let name = ServerName::try_from(place.host().to_owned()).map_err(|error| tls(&error))?;
        let stream = self.tls.connect(name, stream).await.map_err(|error| tls(&error))?;
        exchange(stream, place, parcel).await
    }
}

impl Post for HttpPost {
    async fn post(&self, place: &Place, parcel: Parcel<'_>) -> Result<Reply, PostError> {
        let sent = timeout(self.limit, self.send(place, parcel)).await;
        sent.unwrap_or(Err(PostError::TimedOut(self.limit)))
    }
}

/// The certificates that this computer trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
///
/// # Errors
/// There are none, in words.
pub fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!(
            "there are no root certificates to check an https sink with{why}: install them, or name a file of them in \
             SSL_CERT_FILE"
        ));
    }
    Ok(roots)
}

async fn exchange<S>(stream: S, place: &Place, parcel: Parcel<'_>) -> Result<Reply, PostError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let http = |error: hyper::Error| PostError::Http(words(&error));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let request = request(place, parcel).map_err(|error| PostError::Http(error.to_string()))?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(http)?;
        Ok(reply(response).await)
    };
    let driven = async {
        // Its errors reach the request, too.
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        answer = answered => answer,
        never = driven => never,
    }
}

/// An error with what caused it: hyper's own words alone say little.
fn words(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn request(place: &Place, parcel: Parcel<'_>) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    Request::post(place.path())
        .header(HOST, place.authority())
        .header(USER_AGENT, concat!("bailiwick/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header(EVENT_HEADER, &parcel.notice.id)
        .header(signature::HEADER, parcel.signature)
        .body(Full::new(Bytes::from(parcel.notice.body.clone())))
}

async fn reply(response: Response<Incoming>) -> Reply {
    let status = response.status().as_u16();
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = asked.and_then(retry_after);
    // What was accepted needs no words; a body that breaks off is as good as none.
    let excerpt = if response.status().is_success() { String::new() } else { excerpt(response).await };
    Reply { status, retry_after, excerpt }
}

/// Seconds, or a date.
fn retry_after(text: &str) -> Option<RetryAfter> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(RetryAfter::In(Duration::from_secs(seconds)));
    }
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    date.duration_since(std::time::UNIX_EPOCH).ok().map(|since| RetryAfter::At(since.as_secs()))
}

async fn excerpt(response: Response<Incoming>) -> String {
    let mut body = response.into_body();
    let mut read = Vec::new();
    while read.len() < MOST_ANSWER && !body.is_end_stream() {
        let Some(Ok(frame)) = body.frame().await else { break };
        if let Ok(data) = frame.into_data() {
            read.extend_from_slice(&data[..data.len().min(MOST_ANSWER - read.len())]);
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after(" 120 "), Some(RetryAfter::In(Duration::from_secs(120))));
        assert_eq!(retry_after("Wed, 21 Oct 2026 07:28:00 GMT"), Some(RetryAfter::At(1_792_567_680)));
        assert_eq!(retry_after("-5"), None);
        assert_eq!(retry_after("soon"), None);
    }
}
