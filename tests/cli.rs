//! The command line as scripts meet it: the real binary, its exit codes, its two outputs, against a server that only plays.

// A test that cannot set up its stage is to stop there.
#![allow(clippy::unwrap_used)]

#[path = "cli/dead_letters.rs"]
mod dead_letters;
#[path = "cli/fake.rs"]
#[allow(unreachable_pub)]
mod fake;
#[path = "cli/halts.rs"]
mod halts;
#[path = "cli/person.rs"]
mod person;

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Command, Stdio},
};

use bailiwick::pb::{self, TaskState};
use fake::{Fake, TASK};
use serde_json::Value;

/// How a command went.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    fn says(self, part: &str) -> Self {
        assert!(self.out.contains(part) || self.err.contains(part), "{part:?} in {self:?}");
        self
    }

    /// Stdout as one JSON value a line.
    fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

fn bailiwick(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bailiwick"));
    let inherited = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BAILIWICK_"));
    inherited.for_each(|(name, _)| {
        command.env_remove(name);
    });
    command.args(args).env_remove("NO_COLOR").env("USER", "tester");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn finish(mut command: Command, stdin: &str) -> Ran {
    let mut child = command.spawn().unwrap();
    // A command that does not read stdin closes it; that is its right.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

async fn ask_with(addr: SocketAddr, args: &[&str], stdin: &str) -> Ran {
    let mut command = bailiwick(args);
    command.env("BAILIWICK_ADDR", addr.to_string());
    let stdin = stdin.to_owned();
    tokio::task::spawn_blocking(move || finish(command, &stdin)).await.unwrap()
}

async fn ask(addr: SocketAddr, args: &[&str]) -> Ran {
    ask_with(addr, args, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_says_how_a_watched_task_ended() {
    for (state, code) in [
        (TaskState::Succeeded, 0),
        (TaskState::Partial, 10),
        (TaskState::Failed, 11),
        (TaskState::Cancelled, 12),
        (TaskState::DeadLettered, 13),
    ] {
        let addr = Fake::in_state(state).serve().await;
        ask(addr, &["watch", TASK]).await.exits(code).says("turn 1 greeter is ready").says("all is said");
        ask_with(addr, &["submit", "-", "--watch"], "goal: g").await.exits(code).says(TASK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_watch_goes_on_where_it_was() {
    let fake = Fake::in_state(TaskState::Succeeded);
    fake.0.lock().unwrap().breaks = vec![2, 0];
    let ran = ask(fake.serve().await, &["watch", TASK, "--json"]).await.exits(0);
    assert_eq!(fake.0.lock().unwrap().cursors, [0, 2, 2]);
    let seen: Vec<i64> = ran.json().iter().map(|line| line["event"]["seq"].as_i64().unwrap()).collect();
    assert_eq!(seen, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_may_begin_behind_the_end() {
    let addr = Fake::in_state(TaskState::Failed).serve().await;
    ask(addr, &["watch", TASK, "--after", "3"]).await.exits(11);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_field_by_field() {
    let addr = Fake::default().serve().await;
    ask_with(addr, &["submit", "-"], "goal: refuse")
        .await
        .exits(3)
        .says(
            "error: the contract is refused\n  limits.deadline: is missing. Write a duration, like \"90s\"\n",
        )
        .says("  owner: is missing. Name an agent\n");
    ask_with(addr, &["submit", "-"], "goal: full").await.exits(5).says("try again in 2s");
    ask_with(addr, &["submit", "-"], "goal: taken").await.exits(6);
    ask(addr, &["get", "nothing"]).await.exits(4).says("there is no task nothing").says("TASK_NOT_FOUND");
    let ran = ask_with(addr, &["submit", "-", "--json"], "goal: refuse").await.exits(3);
    let error: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["error"]["violations"][0]["field"], "limits.deadline");
    assert_eq!(error["error"]["exit_code"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_contracts_go_at_once_and_each_is_answered_in_its_place() {
    let fake = Fake::default();
    let addr = fake.serve().await;
    let ran = ask_with(addr, &["submit", "-"], "goal: a\n---\ngoal: busy\n---\ngoal: c\n").await.exits(0);
    assert_eq!(ran.out, format!("{TASK}\n{TASK}\n{TASK}\n"));
    assert!(fake.0.lock().unwrap().was_busy, "the second was sent again");
    let lines = "{\"goal\":\"a\"}\n{\"goal\":\"refuse\"}\n{\"goal\":\"taken\"}\n{\"goal\":\"b\"}\n";
    let ran = ask_with(addr, &["submit", "-", "--json"], lines).await.exits(3);
    let tasks: Vec<_> = ran.json().iter().map(|line| line["task_id"].clone()).collect();
    assert_eq!(tasks, [TASK, TASK]);
    let errors: Vec<Value> = ran.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said = |index: usize| errors[index]["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(
        (said(0).as_str(), said(1).as_str()),
        ("<stdin>:2: the contract is refused", "<stdin>:3: the key names another contract",)
    );
    assert_eq!(errors[0]["error"]["violations"][1]["field"], "owner");
    ask_with(addr, &["submit", "-", "--watch"], "goal: a\n---\ngoal: b\n").await.exits(2).says("one task");
    ask_with(addr, &["submit", "-"], "goal: a\n---\ngaol: b\n").await.exits(3).says("<stdin>:3:1: gaol:");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_cannot_be_read_never_reaches_the_server() {
    let addr = Fake::default().serve().await;
    ask_with(addr, &["submit", "-"], "goal: g\nbudget:\n  max_token: 5\n")
        .await
        .exits(3)
        .says("<stdin>:3:3: budget.max_token: there is no such field. Write max_tokens");
    let ran = ask_with(addr, &["submit", "-", "--json"], "{\"goal\": \"g\",\n\"prio\": 1}").await.exits(3);
    let error: Value = serde_json::from_str(&ran.err).unwrap();
    let violation = &error["error"]["violations"][0];
    assert_eq!((&violation["field"], &violation["place"]), (&"prio".into(), &"<stdin>:2:6".into()));
    ask(addr, &["check", "no-such-file.yaml"]).await.exits(2).says("no-such-file.yaml cannot be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_shows_violations_points_and_the_effective_contract() {
    let addr = Fake::default().serve().await;
    ask_with(addr, &["check", "-"], "goal: g").await.exits(3).says("1 violation").says("owner: is missing");
    let good = "{goal: g, owner: me}";
    ask_with(addr, &["check", "-"], good).await.exits(3).says("<stdin>:1:2: is not JSON");
    let good = "goal: g\nowner: me\n";
    ask_with(addr, &["check", "-"], good)
        .await
        .exits(0)
        .says("would be accepted")
        .says("readiness: 1 weak\n   4 weak     explicit owner: name one\n")
        .says("failure modes: 1 enforced, 2 absent\n 1.3 enforced step repetition: 3 times in a row\n")
        .says(" 2.2 absent   fail to ask for clarification: set max_escalations\n")
        .says("no verification: add [2Jrules\n");
    let ran = ask_with(addr, &["check", "-", "--effective"], good).await.exits(0);
    assert_eq!(ran.out, "goal: g\nowner: me\npriority: 3\n");
    let ran = ask_with(addr, &["check", "-", "--json"], good).await.exits(0);
    assert_eq!(ran.json()[0]["points"][0]["readiness"], "READINESS_WEAK");
    let mode = &ran.json()[0]["modes"][1];
    assert_eq!((&mode["code"], &mode["readiness"]), (&"2.2".into(), &"READINESS_ABSENT".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_are_contracts() {
    let addr = Fake::default().serve().await;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "yaml" || ending == "json") {
            ask(addr, &["check", path.to_str().unwrap()]).await.exits(0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn get_shows_the_whole_task_and_nothing_raw() {
    let addr = Fake::in_state(TaskState::Partial).serve().await;
    let ran = ask(addr, &["get", TASK]).await.exits(0).says("PARTIAL: COMPLETED by gate after 2.0s");
    let ran = ran.says("spent 1,234 of 10,000 tokens (12%)").says("0.75");
    assert!(!ran.out.contains('\u{1b}'), "{}", ran.out);
    let ran = ask(addr, &["get", TASK, "--color", "always"]).await.exits(0);
    assert!(ran.out.contains("\u{1b}[33mPARTIAL\u{1b}[0m"), "{}", ran.out);
    let ran = ask(addr, &["get", TASK, "--json"]).await.exits(0);
    assert_eq!(ran.json()[0]["summary"]["ledger"]["spent_tokens"], 1_234);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_filter_and_page() {
    let fake = Fake::in_state(TaskState::Running);
    let addr = fake.serve().await;
    let filters =
        ["--state", "running,failed", "--cause", "hops", "--agent", "a", "--label", "k=v", "--since", "2h"];
    let ran = ask(addr, &[&["list", "--json", "--limit", "7"][..], &filters].concat()).await.exits(0);
    assert_eq!(ran.json().len(), 1);
    let ran = ran.says("--page-token two");
    assert!(!ran.out.contains("page-token"));
    let asked = fake.0.lock().unwrap().lists.pop().unwrap();
    assert_eq!(asked.states, [TaskState::Running as i32, TaskState::Failed as i32]);
    assert_eq!((asked.causes, asked.page_size), (vec![pb::Cause::Hops as i32], 7));
    assert_eq!((asked.agent.as_str(), asked.labels["k"].as_str()), ("a", "v"));
    assert!(asked.since.is_some());
    let ran = ask(addr, &["list", "--all", "--json"]).await.exits(0);
    assert_eq!(ran.json().len(), 2);
    ask(addr, &["list"]).await.exits(0).says("1,234/10,000").says("say [31mhello");
    ask(addr, &["list", "--state", "runing"]).await.exits(2).says("write one of queued, running");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_lists_and_the_cancel() {
    let addr = Fake::in_state(TaskState::Failed).serve().await;
    ask(addr, &["agents"]).await.exits(0).says("greeter");
    let ran = ask(addr, &["workers", "--json"]).await.exits(0);
    assert_eq!(ran.json()[0]["worker_id"], "w1");
    ask(addr, &["webhooks"]).await.exits(0).says("https://pager.example").says("status 503");
    let ran = ask(addr, &["webhooks", "--json"]).await.exits(0);
    assert_eq!(ran.json()[0]["failing"]["tries"], 3);
    ask(addr, &["cancel", TASK, "--reason", "enough"]).await.exits(0).says("had already ended FAILED");
}

#[test]
fn without_a_server_the_exit_code_says_so() {
    // A port that was free a moment ago, and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    finish(bailiwick(&["list", "--addr", &port]), "").exits(5).says("start one with `bailiwick serve`");
    finish(bailiwick(&["list", "--addr", "nowhere"]), "").exits(2).says("Write HOST:PORT");
    finish(bailiwick(&["lits"]), "").exits(2);
    finish(bailiwick(&["watch", TASK, "--after", "-1"]), "").exits(2);
}

#[test]
fn a_server_that_does_not_answer_is_waited_for_aloud_and_not_for_ever() {
    // The kernel takes the connection; nobody ever answers on it.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let ran = finish(bailiwick(&["list", "--addr", &addr, "--timeout", "1500ms"]), "").exits(5);
    ran.says("waiting for the server ...\n").says("has not answered within 1s 500ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_is_no_error() {
    let addr = Fake::in_state(TaskState::Running).serve().await;
    let mut command = bailiwick(&["list"]);
    command.env("BAILIWICK_ADDR", addr.to_string());
    let ran = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        child.wait_with_output().unwrap()
    });
    let output = ran.await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        output.stderr.is_empty() || !String::from_utf8_lossy(&output.stderr).contains("panicked"),
        "{output:?}"
    );
}

#[test]
fn settings_come_from_defaults_file_environment_and_flags() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bailiwick.toml"), "shards = 3\nmax_queue = 3\nmax_sessions = 3\n")
        .unwrap();
    let mut command = bailiwick(&["serve", "--show-settings", "--shards", "5", "--in-memory"]);
    command.current_dir(folder.path()).env("BAILIWICK_SHARDS", "4").env("BAILIWICK_MAX_QUEUE", "4");
    let ran = finish(command, "").exits(0);
    let shown: Vec<(String, String)> = ran
        .out
        .lines()
        .filter_map(|line| line.split_once(" # "))
        .map(|(setting, origin)| (setting.trim().to_owned(), origin.to_owned()))
        .collect();
    for (setting, origin) in [
        ("shards = 5", "--shards"),
        ("max_queue = 4", "BAILIWICK_MAX_QUEUE"),
        ("max_sessions = 3", "./bailiwick.toml:3"),
        ("in_memory = true", "--in-memory"),
        ("lease_time = \"15s\"", "default"),
    ] {
        assert!(shown.contains(&(setting.into(), origin.into())), "{setting} # {origin} in {shown:?}");
    }
    // What was shown is a file that gives the same settings.
    std::fs::write(folder.path().join("shown.toml"), &ran.out).unwrap();
    let mut command = bailiwick(&["serve", "--show-settings", "--config", "shown.toml"]);
    command.current_dir(folder.path());
    let again = finish(command, "").exits(0);
    let values =
        |out: &str| out.lines().map(|line| line.split(" # ").next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(values(&again.out), values(&ran.out));
}

#[test]
fn settings_that_cannot_be_used_are_refused_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |args: &[&str], env: Option<(&str, &str)>| {
        let mut command = bailiwick(&[&["serve", "--show-settings"], args].concat());
        command.current_dir(folder.path()).envs(env);
        finish(command, "").exits(2)
    };
    refused(&["--listen", "0.0.0.0:7400"], None).says("--insecure");
    refused(&["--shards", "0", "--lease-time", "15"], None).says("--shards: ").says("--lease-time: ");
    refused(&[], Some(("BAILIWICK_LEASE_TIM", "1s"))).says("the nearest is BAILIWICK_LEASE_TIME");
    std::fs::write(folder.path().join("bailiwick.toml"), "[ceilings]\nmax_hop = 1\n").unwrap();
    refused(&[], None).says("bailiwick.toml:2: ceilings.max_hop").says("the nearest is ceilings.max_hops");
}

#[test]
fn help_shows_every_setting_with_its_default_and_names() {
    let ran = finish(bailiwick(&["serve", "--help"]), "").exits(0);
    let text = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
    for row in bailiwick::config::table::ROWS {
        let default = format!("[default: {}]", row.default_words());
        let names = format!("[env: {}] [file: {}]", row.env(), row.key);
        assert!(text.contains(&format!("--{}", row.flag())), "{}", row.key);
        assert!(text.contains(&default) && text.contains(&names), "{}: {text}", row.key);
    }
    finish(bailiwick(&["--help"]), "").exits(0).says("Exit codes:").says("DEAD_LETTERED");
    finish(bailiwick(&["completions", "bash"]), "").exits(0).says("bailiwick");
}

#[test]
fn a_server_that_is_told_to_stop_says_so_at_once() {
    let mut child = bailiwick(&["serve", "--in-memory", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.starts_with("bailiwick listens on "), "{line}");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("stopping: "), "{said}");
}
