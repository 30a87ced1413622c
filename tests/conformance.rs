//! The conformance suite against a worker that keeps to the protocol and against workers that do not. The workers are this
//! very executable, started anew: see `worker_process`.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../workers-examples/rust/src/bin/conformance/agent.rs"]
mod agent;

#[path = "conformance/broken.rs"]
mod broken;

use bailiwick::conformance::{self, CaseReport, Options, Report};

/// Names the part that `worker_process` plays. Unset in an ordinary test run.
const ROLE: &str = "BAILIWICK_TEST_ROLE";

/// Not a test: the worker process of the others.
#[test]
fn worker_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match role.as_str() {
            "sound" => {
                let worker = bailiwick_worker::Worker::from_env();
                worker.agent(agent::spec(), agent::handle).run().await.unwrap();
            }
            "deaf" => broken::work(broken::Fault::IgnoresCancel).await.unwrap(),
            "silent" => broken::work(broken::Fault::NoHeartbeats).await.unwrap(),
            "greedy" => broken::work(broken::Fault::TooMuchCredit).await.unwrap(),
            other => panic!("no role {other}"),
        }
    });
}

fn options(role: &str, only: &[&str]) -> Options {
    let me = std::env::current_exe().unwrap().display().to_string();
    let role = format!("{ROLE}={role}");
    let mut options = Options::new(
        ["env", &role, &me, "--exact", "worker_process", "--nocapture"].map(str::to_owned).to_vec(),
    );
    options.only = only.iter().map(|&name| name.to_owned()).collect();
    options
}

async fn run(role: &str, only: &[&str]) -> Report {
    conformance::run(options(role, only)).await.unwrap()
}

fn case<'a>(report: &'a Report, name: &str) -> &'a CaseReport {
    report.cases.iter().find(|c| c.name == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_worker_passes_every_case() {
    let report = run("sound", &[]).await;
    let failed: Vec<_> = report.cases.iter().filter(|c| !c.passed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(report.cases.len(), conformance::list().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ignores_cancel_fails_that_case_only() {
    let report = run("deaf", &["progress", "heartbeat", "cancel"]).await;
    assert!(case(&report, "progress").passed, "{report:#?}");
    assert!(case(&report, "heartbeat").passed, "{report:#?}");
    let cancel = case(&report, "cancel");
    assert!(!cancel.passed && cancel.saw.contains("after Cancel"), "{cancel:#?}");
    assert!(cancel.saw.contains("neither the usage nor the slot"), "{cancel:#?}");
    assert!(cancel.transcript.iter().any(|line| line.contains("<- Cancel lease-")), "{cancel:#?}");
    assert!(case(&report, "progress").transcript.is_empty(), "{report:#?}");
    assert_eq!(report.failed(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_only_the_plain_turn_fails_whatever_asks_for_more() {
    let more = [
        "concurrency",
        "answer",
        "directives",
        "context",
        "traceparent",
        "decide",
        "error",
        "retryable-error",
        "duplicate-assignment",
        "refusal-invalid",
        "reconnect",
        "superseded",
        "backoff",
        "backoff-restart",
        "sigterm",
    ];
    let report = run("deaf", &more).await;
    let passed: Vec<_> = report.cases.iter().filter(|c| c.passed).collect();
    assert!(passed.is_empty(), "{passed:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_heartbeats_fails_that_case_only() {
    let report = run("silent", &["progress", "heartbeat"]).await;
    assert!(case(&report, "progress").passed, "{report:#?}");
    let heartbeat = case(&report, "heartbeat");
    assert!(!heartbeat.passed && heartbeat.saw.contains("0 heartbeats"), "{heartbeat:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_asks_for_more_than_it_may_is_told_so() {
    let report = run("greedy", &["register"]).await;
    let register = case(&report, "register");
    assert!(!register.passed && register.saw.contains("credit of 4 slots"), "{register:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_gives_a_slot_back_with_its_answer_is_told_when() {
    let report = run("deaf", &["progress", "credit"]).await;
    assert!(case(&report, "progress").passed, "{report:#?}");
    let credit = case(&report, "credit");
    assert!(!credit.passed && credit.saw.contains("a slot is free at the Ack"), "{credit:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_started_fails_its_cases_with_the_reason() {
    let mut missing = options("sound", &["answer"]);
    missing.command = vec!["./there-is-no-such-worker".into()];
    let report = conformance::run(missing).await.unwrap();
    assert!(case(&report, "answer").saw.contains("cannot be started"), "{report:#?}");

    let mut leaving = options("sound", &["answer"]);
    leaving.command = ["sh", "-c", "echo no toolchain here >&2; exit 69"].map(str::to_owned).to_vec();
    let report = conformance::run(leaving).await.unwrap();
    let answer = case(&report, "answer");
    assert!(answer.saw.contains("no toolchain here") && answer.saw.contains("exit code 69"), "{report:#?}");
}

#[tokio::test]
async fn an_unknown_case_and_an_empty_command_are_refused() {
    let unknown = conformance::run(options("sound", &["no-such-case"])).await;
    assert!(matches!(unknown, Err(conformance::Error::UnknownCase(name)) if name == "no-such-case"));
    let empty = conformance::run(Options::new(Vec::new())).await;
    assert!(matches!(empty, Err(conformance::Error::NoCommand)));
}
