//! Raw tonic unary echo: what gRPC alone costs here. No code of Bailiwick but one message type.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bailiwick::pb::Cancel;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    body::Body,
    client::Grpc,
    codegen::{BoxFuture, http},
    server::{NamedService, UnaryService},
    transport::{Channel, Endpoint, Server},
};
use tonic_prost::ProstCodec;

const PATH: &str = "/bench.Echo/Echo";

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
            let codec = ProstCodec::<Cancel, Cancel>::default();
            Ok(tonic::server::Grpc::new(codec).unary(Self, request).await)
        })
    }
}

/// A running echo server and a connection to it.
pub(crate) struct Echo {
    channel: Channel,
}

impl Echo {
    pub(crate) fn start(server: &Runtime) -> Self {
        let address = server.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback can be bound");
            let address = listener.local_addr().expect("a bound socket has an address");
            let incoming = TcpListenerStream::new(listener);
            tokio::spawn(
                Server::builder().tcp_nodelay(true).add_service(EchoService).serve_with_incoming(incoming),
            );
            address
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address makes a URI");
        let _guard = server.enter();
        Self { channel: endpoint.tcp_nodelay(true).connect_lazy() }
    }

    /// Echoes a second with `in_flight` at once.
    pub(crate) async fn rate(&self, in_flight: usize, time: Duration) -> f64 {
        let end = now() + time;
        let start = now();
        let lanes: Vec<_> = (0..in_flight)
            .map(|_| {
                let channel = self.channel.clone();
                tokio::spawn(async move {
                    let mut grpc = Grpc::new(channel);
                    let mut count = 0_u32;
                    while now() < end {
                        echo(&mut grpc).await;
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let mut total = 0_u32;
        for lane in lanes {
            total += lane.await.expect("a lane ends by itself");
        }
        f64::from(total) / start.elapsed().as_secs_f64()
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
        crate::stats::percentile(&figures, 0.5)
    }
}

async fn echo(grpc: &mut Grpc<Channel>) {
    grpc.ready().await.expect("the echo server is there");
    let message = Cancel { lease: "x".repeat(64), reason: "echo".to_owned(), cause: 0 };
    let codec = ProstCodec::<Cancel, Cancel>::default();
    let path = http::uri::PathAndQuery::from_static(PATH);
    let answer = grpc.unary(Request::new(message), path, codec).await.expect("an echo comes back");
    assert_eq!(answer.into_inner().lease.len(), 64);
}

#[allow(clippy::disallowed_methods)] // A benchmark reads the clock.
pub(crate) fn now() -> Instant {
    Instant::now()
}
