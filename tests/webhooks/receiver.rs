//! A receiver of webhooks on a loopback port: answers what the test says and keeps what came.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub line: String,
    /// By name in small letters.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// What it was answered.
    pub status: u16,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a body is JSON")
    }

    pub fn event_id(&self) -> String {
        self.json()["event_id"].as_str().expect("a body has an id").to_owned()
    }

    pub fn kind(&self) -> String {
        self.json()["kind"].as_str().expect("a body has a kind").to_owned()
    }
}

/// Whole answers still to be given, from the head; then 200s.
type Answers = Arc<Mutex<VecDeque<String>>>;

pub struct Receiver {
    port: u16,
    tls: bool,
    answers: Answers,
    received: watch::Sender<Vec<Received>>,
    serving: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Receiver {
    pub async fn new() -> Self {
        Self::start(None).await
    }

    pub async fn with_tls(acceptor: TlsAcceptor) -> Self {
        Self::start(Some(acceptor)).await
    }

    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (answers, received) = (Answers::default(), watch::Sender::new(Vec::new()));
        let has_tls = tls.is_some();
        let serving = tokio::spawn({
            let (answers, received) = (answers.clone(), received.clone());
            async move {
                loop {
                    let Ok((stream, _)) = listener.accept().await else { continue };
                    let (answers, received, tls) = (answers.clone(), received.clone(), tls.clone());
                    // Ends with its connection.
                    tokio::spawn(async move {
                        match tls {
                            None => serve(stream, &answers, &received).await,
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    serve(stream, &answers, &received).await;
                                }
                            }
                        }
                    });
                }
            }
        });
        Self { port, tls: has_tls, answers, received, serving }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", if self.tls { "https" } else { "http" }, self.port)
    }

    /// The next answers, each a status with what follows it: "503 Busy\r\nretry-after: 1".
    pub fn answer_next(&self, answers: &[&str]) {
        let answers = answers.iter().map(|answer| (*answer).to_owned());
        self.answers.lock().expect("no panic under it").extend(answers);
    }

    /// Fails from now on, until `recover`.
    pub fn fail(&self) {
        self.answer_next(&["503 Down"; 10_000]);
    }

    pub fn recover(&self) {
        self.answers.lock().expect("no panic under it").clear();
    }

    /// Waits until so many requests have come in all.
    pub async fn after(&self, count: usize) -> Vec<Received> {
        let mut received = self.received.subscribe();
        let waiting = received.wait_for(|received| received.len() >= count);
        let there = tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await;
        let there = there.unwrap_or_else(|_| panic!("{count} requests: {:?}", self.received.borrow().len()));
        there.expect("the receiver lives").clone()
    }

    /// Waits for the first request that fits.
    pub async fn find(&self, fits: impl Fn(&Received) -> bool) -> Received {
        let mut received = self.received.subscribe();
        let waiting = received.wait_for(|received| received.iter().any(&fits));
        let there = tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await;
        let there = there.expect("it comes in time").expect("the receiver lives");
        there.iter().find(|received| fits(received)).expect("it is there").clone()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answers: &Answers,
    received: &watch::Sender<Vec<Received>>,
) {
    let Some(mut request) = read(&mut stream).await else { return };
    let answer = answers.lock().expect("no panic under it").pop_front();
    let answer = answer.unwrap_or_else(|| "200 OK".to_owned());
    request.status = answer[..3].parse().expect("an answer begins with a status");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let text = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    if stream.write_all(text.as_bytes()).await.is_ok() {
        let _ = stream.shutdown().await;
    }
    received.send_modify(|all| all.push(request));
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Received> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?;
    let mut lines = head.split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, value)| value.parse().expect("a length"));
    let mut body = bytes.split_off(head_end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Received { line, headers, body: String::from_utf8(body).ok()?, status: 0 })
}
