//! Every unary method of the three services, and the opening of those that stream down: made up, valid but for one thing,
//! and twisted requests get an answer of their kind or a typed refusal.

use std::time::Duration;

use bailiwick::pb;
use futures_util::StreamExt as _;
use prost::Message as _;
use tokio::time::timeout;

use crate::{
    cases, corpus,
    dice::Dice,
    harness::{Stage, contract},
    methods::{self, Method},
    panics, raw, seed,
    shape::{self, Known},
};

/// Requests under way at once.
const AT_ONCE: usize = 16;
/// How long a method that waits for work or news is given: no answer is its answer.
const WAITS: Duration = Duration::from_millis(250);

fn methods() -> Vec<Method> {
    methods::all(&shape::pool())
}

/// A server with a task under way, and the names of what is on it.
async fn stage() -> (Stage, Known, crate::harness::Session) {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(1).await;
    let task_id = stage.submit(contract("solver")).await;
    let lease = worker.assignment().await.lease;
    let known = Known(vec![
        ("lease", lease),
        ("escalation_id", format!("{task_id}.1")),
        ("task_id", task_id),
        ("session_id", worker.registered.session_id.clone()),
        ("worker_id", "w1".into()),
        ("agent", "solver".into()),
        ("owner", "solver".into()),
    ]);
    (stage, known, worker)
}

/// The bytes of one case.
fn request(dice: &mut Dice, number: u64, method: &Method, known: &Known) -> Vec<u8> {
    let (of, kept) = (method.method.input(), corpus::messages(method.name(), &method.method.input()));
    let mut message = match kept.is_empty() || number.is_multiple_of(3) {
        true => shape::shaped(dice, &of, known),
        false => dice.pick(&kept).clone(),
    };
    (0..dice.below(3)).for_each(|_| shape::nudge(dice, &mut message, known));
    let mut bytes = message.encode_to_vec();
    if number % 2 == 1 {
        shape::twist(dice, &mut bytes);
    }
    bytes
}

/// Sends one and says what is wrong with the answer; of a stream, with its first message.
async fn fault(stage: &Stage, method: &Method, bytes: Vec<u8>) -> Option<String> {
    let path = method.path();
    let answer = if method.method.is_server_streaming() {
        let first = async {
            let mut down = raw::streaming(&stage.channel, &path, tokio_stream::iter([bytes.into()])).await?;
            down.message().await
        };
        timeout(WAITS, first).await.ok()?.transpose()?
    } else if method.waits() {
        timeout(WAITS, raw::unary(&stage.channel, &path, bytes.into())).await.ok()?
    } else {
        raw::unary(&stage.channel, &path, bytes.into()).await
    };
    raw::fault(&method.method.output(), &answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_answers_or_refuses_in_type() {
    panics::watch();
    let (stage, known, _worker) = stage().await;
    let _honest = stage.worker("honest", &["quiet"]).await;
    let methods = methods();
    assert!(methods.len() > 25, "the protos hold the methods of three services");
    let mut faults = Vec::new();
    for method in &methods {
        let many = if method.waits() { cases() / 4 } else { cases() };
        let tries = (0..many).map(|number| {
            let (stage, known) = (&stage, &known);
            async move {
                let mut dice = Dice::new(seed(), method.name(), number);
                let bytes = request(&mut dice, number, method, known);
                let wrong = fault(stage, method, bytes).await?;
                Some(format!("HOSTILE_SEED={} {} case {number} {wrong}", seed(), method.name()))
            }
        });
        let wrong: Vec<_> = tokio_stream::iter(tries).buffer_unordered(AT_ONCE).collect().await;
        faults.extend(wrong.into_iter().flatten());
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    panics::none();
    // And it still does what it is there for.
    let request = pb::CheckContractRequest { contract: Some(contract("quiet")) };
    let checked = stage.tasks().check_contract(request).await.expect("it answers").into_inner();
    assert!(checked.violations.is_empty(), "{:?}", checked.violations);
}

#[tokio::test]
async fn what_was_once_found_is_refused() {
    panics::watch();
    let (stage, ..) = stage().await;
    let methods = methods();
    let found = corpus::found();
    assert!(!found.is_empty(), "the corpus is kept");
    for (name, bytes) in found {
        let method = methods.iter().find(|method| method.name() == name).expect("a method of this protocol");
        let answer = raw::unary(&stage.channel, &method.path(), bytes.into()).await;
        let status = answer.expect_err("it is refused");
        assert_eq!(
            (raw::untyped(&status), status.code()),
            (None, tonic::Code::InvalidArgument),
            "{name}: {status:?}"
        );
    }
    panics::none();
}

/// `HOSTILE_SEEDS=DIR` has what a coverage-guided search starts from written there.
#[test]
fn the_kept_corpus_is_of_this_protocol() {
    let pool = shape::pool();
    let contract = pool.get_message_by_name("bailiwick.v1.Contract").expect("it is in the protos");
    let requests = methods().into_iter().enumerate();
    let requests: Vec<_> = requests.map(|(at, m)| (at, m.name().to_owned(), m.method.input())).collect();
    assert!(!corpus::contracts(&contract).is_empty());
    assert!(requests.iter().any(|(_, name, of)| !corpus::messages(name, of).is_empty()));
    if let Some(to) = std::env::var_os("HOSTILE_SEEDS") {
        corpus::write_seeds(std::path::Path::new(&to), &contract, &requests);
    }
}
