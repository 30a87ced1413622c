//! `bailiwick chaos` as a process: a short run of its own crew with everything killed, and one at the edge of a server with a
//! worker of somebody's. Everything it starts is its own, below a temporary folder of the test.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use bailiwick::pb::{
    self, operator_service_client::OperatorServiceClient, task_service_client::TaskServiceClient,
};
use bailiwick_worker::{AgentSpec, Answer, Context, HandlerError, Worker};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tonic::transport::Endpoint;

fn bailiwick(place: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bailiwick"));
    command
        .args(args)
        .current_dir(place)
        .env("TMPDIR", place)
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .env_remove("BAILIWICK_ADDR");
    command
}

fn place() -> TempDir {
    tempfile::tempdir().expect("a folder for the test")
}

fn report(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("one JSON value, not {error}: {said}"))
}

/// Every check has passed, and there are twelve of them.
#[track_caller]
fn passed(report: &Value) {
    let checks = report["checks"].as_array().expect("checks");
    assert_eq!(checks.len(), 12);
    for check in checks {
        assert_eq!(check["passed"], true, "{check}");
    }
    assert_eq!(report["passed"], true);
}

#[test]
fn a_short_run_with_the_server_and_the_workers_killed_and_frozen_keeps_every_promise() {
    let place = place();
    let args = [
        "chaos",
        "--for",
        "5s",
        "--load",
        "12",
        "--workers",
        "2",
        "--kill-worker",
        "40/m",
        "--kill-server",
        "20/m",
        "--freeze-worker",
        "40/m",
        "--freeze-server",
        "20/m",
        "--freeze-for",
        "3s",
        "--seed",
        "11",
        "--json",
        "--junit",
        "chaos.xml",
    ];
    let output = bailiwick(place.path(), &args).output().expect("it runs");
    let report = report(&output);
    passed(&report);
    assert_eq!(output.status.code(), Some(0));
    assert!(report["tasks"]["acknowledged"].as_u64() > Some(20), "{report}");
    let times = |kind: &str| report["injected"][kind].as_u64().unwrap_or(0);
    for kind in ["server killed", "worker killed", "server frozen", "worker frozen"] {
        assert!(times(kind) >= 1, "{kind}: {report}");
    }
    for recovery in ["server_kill_to_assignment", "server_thaw_to_assignment"] {
        assert!(report[recovery]["count"].as_u64() >= Some(1), "{recovery}: {report}");
    }
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("freeze-server 20/m for 3s at most"), "{said}");
    let xml = std::fs::read_to_string(place.path().join("chaos.xml")).expect("it is written");
    assert!(xml.contains(r#"<testsuite name="chaos" tests="12" failures="0""#), "{xml}");
    let data = report["record"].as_str().expect("a database");
    assert!(Path::new(data).is_file(), "the record stays");
}

/// The letter that the system has for the state of a process (`T` while it is frozen), and the id of its parent. `None`: it is gone.
#[cfg(target_os = "linux")]
fn state(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = stat.rsplit(") ").next()?.split(' ');
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}

/// The processes that another one has started.
#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("it is there");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| state(*pid).is_some_and(|(_, its)| its == parent)).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_that_is_killed_leaves_nobody_behind_not_even_who_is_frozen() {
    let place = place();
    let args = ["chaos", "--for", "60s", "--workers", "2", "--kill-worker", "0", "--kill-server", "0"];
    let freezes = ["--freeze-worker", "600/m", "--freeze-server", "0", "--freeze-for", "60s"];
    let mut run =
        bailiwick(place.path(), &args).args(freezes).stderr(Stdio::null()).spawn().expect("it runs");
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    let wait = |what: &str, there: &mut dyn FnMut() -> bool| {
        while !there() {
            assert!(tokio::time::Instant::now() < until, "{what}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    let mut of_the_run = Vec::new();
    wait("both workers are frozen", &mut || {
        of_the_run = children(run.id());
        of_the_run.iter().filter(|pid| state(**pid).is_some_and(|(state, _)| state == 'T')).count() == 2
    });
    assert_eq!(of_the_run.len(), 3, "a server and two workers");
    run.kill().and_then(|()| run.wait()).expect("it is there");
    // Whoever takes up orphans may leave them as zombies: they have ended.
    let ended = |pid: &u32| state(*pid).is_none_or(|(state, _)| matches!(state, 'Z' | 'X'));
    wait("everybody has ended", &mut || of_the_run.iter().all(ended));
}

/// A server of this binary that is killed with the test.
struct Server {
    child: Child,
    addr: String,
}

impl Server {
    fn start(place: &Path, more: &[&str]) -> Self {
        let mut args =
            vec!["serve", "--in-memory", "--listen", "127.0.0.1:0", "--lease-time", "2s", "--log", "error"];
        args.extend(more);
        let mut child = bailiwick(place, &args).stdout(Stdio::piped()).spawn().expect("it starts");
        let stdout = child.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let addr = line.trim().rsplit('/').next().expect("an address").to_owned();
        Self { child, addr }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CONTRACT: &str = "goal: answer\nfirst_agent: solver\nowner: solver\nbudget: {max_tokens: 50000, \
    max_tokens_per_turn: 500}\nlimits: {deadline: 40s, max_attempts: 15}\ntermination: {result_schema: {type: object}}\n\
    retry: {initial_backoff: 0.02s, max_backoff: 0.1s}\n";

async fn solve(context: Context) -> Result<Answer, HandlerError> {
    context.usage(20, 5).await;
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    context.usage(20, 5).await;
    Ok(Answer::success(serde_json::json!({"turn": context.assignment().turn})).confidence(0.9))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_edge_of_a_server_a_workers_own_crew_is_tested_and_the_date_is_kept() {
    let place = place();
    std::fs::write(place.path().join("contract.yaml"), CONTRACT).expect("written");
    let server = Server::start(place.path(), &[]);
    let (end, ended) = oneshot::channel::<()>();
    let spec = AgentSpec { name: "solver".to_owned(), ..AgentSpec::default() };
    let worker = Worker::new(&server.addr).worker_id("own").concurrency(64).agent(spec, solve);
    let worker = tokio::spawn(worker.run_until(async { drop(ended.await) }));

    let mut args =
        vec!["chaos", "--server", &server.addr, "--contract", "contract.yaml", "--label", "chaos=on"];
    args.extend([
        "--for",
        "4s",
        "--load",
        "25",
        "--delay",
        "20%",
        "--delay-up-to",
        "50ms",
        "--duplicate",
        "20%",
    ]);
    args.extend(["--drop", "1%", "--lose-lease", "10%", "--kill-session", "1%", "--seed", "5", "--json"]);
    let mut command = bailiwick(place.path(), &args);
    let output =
        tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
    let report = report(&output);
    passed(&report);
    assert_eq!(output.status.code(), Some(0), "{report}");
    for kind in ["delayed", "doubled", "lease lost"] {
        assert!(report["injected"][kind].as_u64() > Some(0), "{kind}: {report}");
    }
    assert_eq!(report["agents"], serde_json::json!(["solver"]));

    let url = format!("http://{}", server.addr);
    let channel = Endpoint::from_shared(url).expect("a URL").connect_lazy();
    let mut operator = OperatorServiceClient::new(channel.clone());
    let kept = operator.get_chaos(pb::GetChaosRequest {}).await.expect("it says so").into_inner();
    assert!(kept.run.is_none(), "the run ended with its command");
    assert!(kept.records.len() == 1 && kept.records[0].passed_at.is_some(), "{kept:?}");
    let contract = bailiwick::cli::contract_file::parse("contract.yaml", CONTRACT).expect("it reads");
    let request = pb::CheckContractRequest { contract: Some(contract) };
    let checked = TaskServiceClient::new(channel).check_contract(request).await;
    let point = checked.expect("it is judged").into_inner().points.pop().expect("ten points");
    assert_eq!((point.number, point.readiness()), (10, pb::Readiness::Enforced), "{}", point.advice);
    drop(end);
    worker.await.expect("no panic").expect("it drains");
}

#[test]
fn a_server_that_forbids_it_is_left_alone() {
    let place = place();
    std::fs::write(place.path().join("contract.yaml"), CONTRACT).expect("written");
    let server = Server::start(place.path(), &["--forbid-chaos"]);
    let args = ["chaos", "--server", &server.addr, "--contract", "contract.yaml", "--for", "1s"];
    let output = bailiwick(place.path(), &args).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("forbid chaos runs"), "{said}");
}

#[test]
fn arguments_that_contradict_each_other_are_refused() {
    let place = place();
    for (args, says) in [
        (&["chaos", "--server", "127.0.0.1:1"][..], "--contract"),
        (&["chaos", "--kill-worker", "5"][..], "is no rate"),
        (&["chaos", "--drop", "200%"][..], "is no share"),
        (&["chaos", "--freeze-for", "1h"][..], "100ms to 60s"),
        (
            &["chaos", "--server", "127.0.0.1:1", "--contract", "x", "--freeze-worker", "1/m"][..],
            "cannot be used with",
        ),
        (
            &["chaos", "--server", "127.0.0.1:1", "--contract", "x", "--kill-server", "1/m"][..],
            "cannot be used with",
        ),
    ] {
        let output = bailiwick(place.path(), args).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(says), "{args:?}: {said}");
    }
}
