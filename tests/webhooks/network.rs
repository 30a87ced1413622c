//! What goes over the wire: signature, headers, body, TLS. Against a receiver on a loopback port.

use std::{path::Path, sync::Arc, time::Duration};

use bailiwick::{
    notify::{
        Notifier, Notifying, Webhooks,
        schedule::Schedule,
        settings::{self, Sink},
    },
    runtime::ManualClock,
    service::webhooks::WebhookBoard,
    store::{Store, memory::MemoryStore},
    types::time::Span,
};
use ring::hmac;
use serde_json::json;
use tokio::sync::watch;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::{
    asked, dead_lettered,
    journal::{Journal, START, submitted},
    receiver::{Received, Receiver},
};

const SECRET: &str = "a-secret-for-the-tests";

fn sink(url: &str) -> Sink {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("webhooks.toml");
    std::fs::write(&file, format!("[a]\nurl = {url:?}\nsecret_env = \"S\"\n")).expect("written");
    let sinks = settings::read(Path::new(&file), |_| Some(SECRET.to_owned()));
    sinks.expect("a good sink").remove(0)
}

/// Does not wait between tries: nothing here is about time.
fn at_once() -> Schedule {
    Schedule { first: Duration::ZERO, longest: Duration::ZERO, longest_asked: Duration::ZERO }
}

struct Stage {
    journal: Journal,
    clock: Arc<ManualClock>,
    _sending: Notifying,
    log_end: watch::Sender<u64>,
}

impl Stage {
    async fn new(url: &str, roots: Option<RootCertStore>) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let clock = Arc::new(ManualClock::new(START));
        let webhooks = Webhooks { sinks: vec![sink(url)], schedule: at_once(), roots };
        let (store_, clock_, board) = (Arc::clone(&store), clock.clone(), WebhookBoard::default());
        let notifier = Notifier::prepare(webhooks, store_, clock_, board).await.expect("it can be prepared");
        let log_end = watch::Sender::new(0);
        let sending = notifier.expect("there is a sink").start(&log_end.subscribe());
        Self { journal: Journal::new(store, 1), clock, _sending: sending, log_end }
    }

    fn commit(&mut self, events: Vec<bailiwick::engine::event::Event>) {
        self.journal.commit(0, events);
        self.log_end.send_modify(|end| *end += 1);
    }
}

/// Checks a request as docs/webhooks.md tells receivers to; the time of sending, in seconds.
fn verify(received: &Received) -> u64 {
    let mut time = None;
    let mut signatures = Vec::new();
    for part in received.header("bailiwick-signature").split(',') {
        match part.split_once('=').expect("key=value") {
            ("t", seconds) => time = Some(seconds.to_owned()),
            ("v1", hex) => signatures.push(hex.to_owned()),
            other => panic!("unexpected: {other:?}"),
        }
    }
    let time = time.expect("a time");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let expected = hmac::sign(&key, format!("{time}.{}", received.body).as_bytes());
    let expected: String = expected.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(signatures, [expected]);
    time.parse().expect("seconds")
}

#[tokio::test]
async fn a_notice_is_signed_and_says_what_a_person_needs() {
    let receiver = Receiver::new().await;
    let mut stage = Stage::new(&receiver.url("/hooks/T1?key=2"), None).await;
    stage.commit(vec![submitted(None), asked(1)]);
    let received = receiver.after(1).await.remove(0);
    assert_eq!(received.line, "POST /hooks/T1?key=2 HTTP/1.1");
    assert_eq!(verify(&received), START.0 / 1_000_000);
    assert_eq!(received.header("content-type"), "application/json");
    let task = stage.journal.task;
    assert_eq!(received.header("bailiwick-event"), format!("{task}/2"));
    let expected = json!({
        "schema": 1, "event_id": format!("{task}/2"), "kind": "escalation_asked",
        "occurred_at": "2026-09-21T14:13:20.000000Z", "drill": false,
        "task": {"id": task.to_string(), "goal": "", "owner": "boss", "labels": {}},
        "escalation": {
            "id": format!("{task}.1"), "question": "May I delete the old index?", "cause": null,
            "has_candidate": false, "confidence": 0.25, "findings": ["unsure"],
            "asked_at": "2026-09-21T14:13:20.000000Z", "expires_at": "2026-09-21T14:23:20.000000Z",
            "default_answer": null,
            "how_to_answer": {
                "show": format!("bailiwick inbox --task {task}"),
                "approve": format!("bailiwick approve {task}.1 --as NAME"),
                "abort": format!("bailiwick abort {task}.1 --as NAME"),
                "rpc": "bailiwick.v1.OperatorService/AnswerEscalation",
            },
        },
    });
    assert_eq!(received.json(), expected);
}

#[tokio::test]
async fn what_is_sent_again_has_the_same_id_and_body_and_a_fresh_signature() {
    let receiver = Receiver::new().await;
    let mut stage = Stage::new(&receiver.url("/"), None).await;
    receiver.answer_next(&["500 No\r\n\r\nbroken", "302 Found\r\nlocation: /elsewhere"]);
    stage.commit(vec![submitted(None), dead_lettered()]);
    receiver.after(2).await;
    stage.clock.advance(Span::from_secs(100));
    let received = receiver.after(3).await;
    assert_eq!(received.iter().map(|one| one.status).collect::<Vec<_>>(), [500, 302, 200]);
    assert!(received.iter().all(|one| one.line == "POST / HTTP/1.1"), "redirects are not followed");
    assert!(received.iter().all(|one| one.body == received[0].body && one.kind() == "dead_letter"));
    assert!(received.iter().all(|one| verify(one) >= START.0 / 1_000_000));
    assert_eq!(received[0].json()["outcome"]["cause"], "ATTEMPTS_EXHAUSTED");
}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/sink.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/sink.key")).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they belong together");
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn over_tls_only_a_sink_with_a_trusted_certificate_is_told() {
    let receiver = Receiver::with_tls(acceptor()).await;
    let root = CertificateDer::from_pem_slice(include_bytes!("tls/ca.pem")).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(root).expect("a root");
    let mut stranger = Stage::new(&receiver.url("/stranger"), Some(RootCertStore::empty())).await;
    stranger.commit(vec![submitted(None), asked(1)]);
    let mut stage = Stage::new(&receiver.url("/friend"), Some(roots)).await;
    stage.commit(vec![submitted(None), asked(1), asked(2)]);
    let received = receiver.after(2).await;
    for one in &received {
        verify(one);
        assert_eq!(one.line, "POST /friend HTTP/1.1");
    }
}
