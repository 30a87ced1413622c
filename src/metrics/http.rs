//! The endpoint: `GET /metrics` and nothing else. Few connections at once, each for one page and a limited time, so that
//! whoever holds it open harms nobody.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use super::{Sources, counters::Counters, gauges, text};

/// Connections at once; more are closed unheard.
const MAX_CONNECTIONS: usize = 16;
/// How long the head of a request may take.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// How long a connection may take in all.
const WHOLE_TIME: Duration = Duration::from_secs(15);
/// The most of a request's head, in bytes.
const MAX_HEAD: usize = 8 * 1_024;
/// The wait after a connection could not be accepted: descriptors come back at their own pace.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves for as long as it is polled.
pub(super) async fn serve(listener: TcpListener, sources: Sources, counters: Counters) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                    tokio::spawn(connection(stream, sources.clone(), counters.clone(), place));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection for metrics could not be accepted");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, sources: Sources, counters: Counters, _place: OwnedSemaphorePermit) {
    let answer = service_fn(move |request| {
        let (sources, counters) = (sources.clone(), counters.clone());
        async move { Ok::<_, Infallible>(respond(&request, &sources, &counters).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    // Whoever breaks off or is too slow is simply gone.
    let _ = timeout(WHOLE_TIME, serving).await;
}

async fn respond(
    request: &Request<Incoming>,
    sources: &Sources,
    counters: &Counters,
) -> Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "there is only /metrics here\n");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "GET it\n");
        refused.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match gauges::page(sources, counters).await {
        Ok(page) => {
            let mut response = Response::new(Full::new(Bytes::from(page)));
            let kind = hyper::header::HeaderValue::from_static(text::CONTENT_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        Err(error) => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("{error}\n")),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text.to_owned())));
    *response.status_mut() = status;
    response
}
