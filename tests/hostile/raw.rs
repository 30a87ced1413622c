//! A client that sends bytes as they are, and what any answer must be.

use prost::bytes::{Buf as _, BufMut as _, Bytes};
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::{
    Code, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};
use tonic_types::StatusExt as _;

/// Bytes as they are, both ways.
pub struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buf.remaining();
        Ok(Some(buf.copy_to_bytes(length)))
    }
}

async fn client(channel: &Channel) -> Grpc<Channel> {
    let mut client = Grpc::new(channel.clone()).max_decoding_message_size(64 << 20);
    client.ready().await.expect("it connects");
    client
}

/// One request to `SERVICE/METHOD`, one answer.
pub async fn unary(channel: &Channel, method: &str, bytes: Bytes) -> Result<Bytes, Status> {
    let path = format!("/{method}").parse().expect("a path");
    let answer = client(channel).await.unary(tonic::Request::new(bytes), path, RawCodec).await;
    answer.map(tonic::Response::into_inner)
}

/// Many up, many down.
pub async fn streaming<S>(channel: &Channel, method: &str, up: S) -> Result<Streaming<Bytes>, Status>
where
    S: tokio_stream::Stream<Item = Bytes> + Send + 'static,
{
    let path = format!("/{method}").parse().expect("a path");
    let answer = client(channel).await.streaming(tonic::Request::new(up), path, RawCodec).await;
    answer.map(tonic::Response::into_inner)
}

/// What is wrong with an answer: one that is no message of its kind, or a refusal that is not typed.
pub fn fault(of: &MessageDescriptor, answer: &Result<Bytes, Status>) -> Option<String> {
    match answer {
        Ok(bytes) => {
            DynamicMessage::decode(of.clone(), bytes.clone()).err().map(|error| format!("answers {error}"))
        }
        Err(status) => untyped(status),
    }
}

/// Why a refusal is none of ours.
pub fn untyped(status: &Status) -> Option<String> {
    let typed = status
        .get_details_error_info()
        .is_some_and(|info| info.domain == "bailiwick.v1" && !info.reason.is_empty());
    let named = !matches!(status.code(), Code::Unknown | Code::Internal | Code::DataLoss);
    (!typed || !named).then(|| format!("is refused without a type: {status:?}"))
}
