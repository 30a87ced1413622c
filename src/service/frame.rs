//! The session stream's own codec: a message that cannot be decoded, or is too large, is a frame like any other, so that
//! it can be refused by its id while the session goes on. With the stock codec it would end the stream, and a worker that
//! sends it again after reconnecting would never get further.

use std::{convert::Infallible, sync::Arc};

use prost::{
    Message as _,
    bytes::{Buf as _, Bytes},
};
use tokio_stream::Stream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder},
    codegen::{BoxFuture, BoxStream, Context, Poll, Service, http},
    server::{Grpc, NamedService, StreamingService},
};
use tonic_prost::ProstCodec;

use crate::pb::{self, worker_service_server::WorkerServiceServer};

use super::{MAX_MESSAGE_BYTES, worker::Worker};

/// Larger frames than this are not even read: they end the stream.
const MAX_FRAME_BYTES: usize = 2 * MAX_MESSAGE_BYTES;
const SESSION_PATH: &str = "/bailiwick.v1.WorkerService/Session";

/// One thing that came up the stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Frame {
    /// A message.
    Message(Box<pb::SessionRequest>),
    /// Bytes that are no message of this protocol. The id is 0 where it could not be read.
    Undecodable { message_id: i64, what: String },
    /// A message larger than the limit.
    TooLarge { message_id: i64 },
}

/// Frames up, plain messages down.
#[derive(Debug, Clone, Copy, Default)]
struct FrameCodec;

type Plain = ProstCodec<pb::SessionResponse, pb::SessionRequest>;

impl Codec for FrameCodec {
    type Encode = pb::SessionResponse;
    type Decode = Frame;
    type Encoder = <Plain as Codec>::Encoder;
    type Decoder = FrameDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        Plain::raw_encoder(BufferSettings::default())
    }

    fn decoder(&mut self) -> FrameDecoder {
        FrameDecoder
    }
}

#[derive(Debug)]
struct FrameDecoder;

impl Decoder for FrameDecoder {
    type Item = Frame;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Frame>, Status> {
        let length = buf.remaining();
        Ok(Some(frame(&buf.copy_to_bytes(length))))
    }
}

fn frame(bytes: &Bytes) -> Frame {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Frame::TooLarge { message_id: message_id(bytes) };
    }
    match pb::SessionRequest::decode(bytes.clone()) {
        Ok(message) => Frame::Message(Box::new(message)),
        Err(error) => Frame::Undecodable { message_id: message_id(bytes), what: error.to_string() },
    }
}

/// The id of a message that cannot be decoded as a whole: its first field, as every encoder writes it.
fn message_id(bytes: &Bytes) -> i64 {
    const TAG: u8 = 1 << 3; // Field 1, a varint.
    let mut head = bytes.slice(..bytes.len().min(11));
    if !head.has_remaining() || head.get_u8() != TAG {
        return 0;
    }
    let id = prost::encoding::decode_varint(&mut head).unwrap_or(0);
    i64::try_from(id).unwrap_or(0)
}

/// The worker service, its session stream read as frames.
#[derive(Clone)]
pub(crate) struct WorkerRoute {
    worker: Arc<Worker>,
    plain: WorkerServiceServer<Worker>,
}

impl WorkerRoute {
    /// The route of a worker service.
    pub(crate) fn new(worker: Worker) -> Self {
        let worker = Arc::new(worker);
        let plain =
            WorkerServiceServer::from_arc(worker.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Self { worker, plain }
    }
}

impl NamedService for WorkerRoute {
    const NAME: &'static str = <WorkerServiceServer<Worker> as NamedService>::NAME;
}

impl Service<http::Request<Body>> for WorkerRoute {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != SESSION_PATH {
            return self.plain.call(request);
        }
        let method = SessionMethod(self.worker.clone());
        Box::pin(async move {
            let mut grpc = Grpc::new(FrameCodec).max_decoding_message_size(MAX_FRAME_BYTES);
            Ok(grpc.streaming(method, request).await)
        })
    }
}

struct SessionMethod(Arc<Worker>);

impl StreamingService<Frame> for SessionMethod {
    type Response = pb::SessionResponse;
    type ResponseStream = BoxStream<pb::SessionResponse>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<Frame>>) -> Self::Future {
        let worker = self.0.clone();
        Box::pin(async move { Ok(Response::new(worker.open_stream(request.into_inner()))) })
    }
}

/// Messages that some other codec has decoded, as frames.
pub(crate) fn of_messages(
    messages: Streaming<pb::SessionRequest>,
) -> impl Stream<Item = Result<Frame, Status>> + Send + Unpin + 'static {
    use tokio_stream::StreamExt as _;
    messages.map(|message| message.map(|message| Frame::Message(Box::new(message))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(message_id: i64) -> pb::SessionRequest {
        let message = Some(pb::session_request::Message::Heartbeat(pb::Heartbeat {}));
        pb::SessionRequest { message_id, message }
    }

    #[test]
    fn frames_keep_the_id_of_what_cannot_be_read() {
        let good = Bytes::from(heartbeat(300).encode_to_vec());
        assert_eq!(frame(&good), Frame::Message(Box::new(heartbeat(300))));
        let mut broken = heartbeat(300).encode_to_vec();
        broken.extend([0x12, 0x7f, 0x01]); // A Register of 127 bytes, of which one came.
        assert!(matches!(frame(&broken.into()), Frame::Undecodable { message_id: 300, .. }));
        assert!(matches!(frame(&Bytes::from_static(&[0xff; 20])), Frame::Undecodable { message_id: 0, .. }));
        let mut large = heartbeat(7).encode_to_vec();
        large.resize(MAX_MESSAGE_BYTES + 1, 0);
        assert_eq!(frame(&large.into()), Frame::TooLarge { message_id: 7 });
        assert_eq!(message_id(&Bytes::new()), 0);
    }
}
