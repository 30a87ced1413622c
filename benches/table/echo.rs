//! Raw tonic unary echo: what gRPC alone costs here. No code of Bailiwick but one message type.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use bailiwick::pb::Cancel;
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    client::Grpc,
    codegen::{BoxFuture, http},
    server::{NamedService, StreamingService, UnaryService},
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

use crate::stats::{now, per_second, percentile};

const PATH: &str = "/bench.Echo/Echo";
const STREAM_PATH: &str = "/bench.Echo/Stream";

#[derive(Clone)]
struct EchoService;

impl NamedService for EchoService {
    const NAME: &'static str = "bench.Echo";
}

impl UnaryService<Cancel> for EchoService {
    type Response = Cancel;
    type Future = Ready<Result<Response<Cancel>, Status>>;

    fn call(&mut self, request: Request<Cancel>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}

impl tower::Service<http::Request<Body>> for EchoService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Cancel, Cancel>::default());
            match request.uri().path() {
                STREAM_PATH => Ok(grpc.streaming(EchoStream, request).await),
                _ => Ok(grpc.unary(Self, request).await),
            }
        })
    }
}

/// A stream that stays open, and gives back what comes.
#[derive(Clone)]
struct EchoStream;

impl StreamingService<Cancel> for EchoStream {
    type Response = Cancel;
    type ResponseStream = Streaming<Cancel>;
    type Future = Ready<Result<Response<Streaming<Cancel>>, Status>>;

    fn call(&mut self, request: Request<Streaming<Cancel>>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}

/// Serves on a loopback port until the runtime ends; says where.
pub(crate) async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
    let address = listener.local_addr().expect("a bound socket has an address");
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(Server::builder().add_service(EchoService).serve_with_incoming(incoming));
    address
}

/// A connection to an echo server.
pub(crate) struct Echo {
    channel: Channel,
}

impl Echo {
    pub(crate) async fn connect(uri: &str) -> Self {
        Self { channel: connect(uri).await }
    }

    /// Echoes a second with `in_flight` at once.
    pub(crate) async fn rate(&self, in_flight: usize, time: Duration) -> f64 {
        let start = now();
        let end = start + time;
        let lanes: Vec<_> = (0..in_flight)
            .map(|_| {
                let channel = self.channel.clone();
                tokio::spawn(async move {
                    let mut grpc = Grpc::new(channel);
                    let mut count = 0_u64;
                    while now() < end {
                        echo(&mut grpc).await;
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

    /// The median time of one echo with nothing else in flight, in seconds.
    pub(crate) async fn one(&self, times: usize) -> f64 {
        let mut grpc = Grpc::new(self.channel.clone());
        let mut figures = Vec::with_capacity(times);
        for _ in 0..times {
            let start = now();
            echo(&mut grpc).await;
            figures.push(start.elapsed().as_secs_f64());
        }
        figures.sort_by(f64::total_cmp);
        percentile(&figures, 0.5)
    }
}

/// An echo stream that is open on a connection of its own. It stays open as long as this lives.
pub(crate) struct OpenStream {
    _up: tokio::sync::mpsc::Sender<Cancel>,
    _down: Streaming<Cancel>,
}

impl OpenStream {
    pub(crate) async fn open(uri: &str) -> Self {
        let mut grpc = Grpc::new(connect(uri).await);
        grpc.ready().await.expect("the echo server is there");
        let (up, messages) = tokio::sync::mpsc::channel(1);
        up.send(message()).await.expect("there is room for one");
        let path = http::uri::PathAndQuery::from_static(STREAM_PATH);
        let request = Request::new(ReceiverStream::new(messages));
        let answer = grpc.streaming(request, path, ProstCodec::<Cancel, Cancel>::default()).await;
        let mut down = answer.expect("the stream opens").into_inner();
        down.message().await.expect("an echo comes back").expect("the stream goes on");
        Self { _up: up, _down: down }
    }
}

/// A connection of its own.
pub(crate) async fn connect(uri: &str) -> Channel {
    let endpoint = Endpoint::from_shared(uri.to_owned()).expect("an address makes a URI");
    endpoint.tcp_nodelay(true).connect().await.expect("the server is there")
}

fn message() -> Cancel {
    Cancel { lease: "x".repeat(64), reason: "echo".to_owned(), cause: 0 }
}

async fn echo(grpc: &mut Grpc<Channel>) {
    grpc.ready().await.expect("the echo server is there");
    let codec = ProstCodec::<Cancel, Cancel>::default();
    let path = http::uri::PathAndQuery::from_static(PATH);
    let answer = grpc.unary(Request::new(message()), path, codec).await.expect("an echo comes back");
    assert_eq!(answer.into_inner().lease.len(), 64);
}
