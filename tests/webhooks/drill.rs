//! `bailiwick drill` from end to end: the real command against a server, a person, a webhook, and what `check` then says.

use std::{path::Path, process::Stdio};

use bailiwick::pb;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use crate::{
    receiver::Receiver,
    serving::{Stage, webhooks},
};

const CONTRACT: &str = "\
goal: say hello
first_agent: asker
owner: asker
budget: {max_tokens: 10000}
limits: {deadline: 60s}
termination: {result_schema: {type: object}}
";

fn bailiwick(stage: &Stage, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bailiwick"));
    command.args(arguments).env("BAILIWICK_ADDR", stage.addr()).env("USER", "tester");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    command
}

/// Exit code and stdout of a command.
async fn run(stage: &Stage, arguments: &[&str]) -> (Option<i32>, String) {
    let output = bailiwick(stage, arguments).output().await.expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Point 8 of the readiness list: how well it is met, and why.
async fn point_eight(stage: &Stage, folder: &Path) -> (String, String) {
    let file = folder.join("contract.yaml");
    std::fs::write(&file, CONTRACT).expect("written");
    let (code, out) = run(stage, &["check", "--json", file.to_str().expect("a path")]).await;
    assert_eq!(code, Some(0), "{out}");
    let answer: Value = serde_json::from_str(&out).expect("JSON");
    let point = &answer["points"][7];
    let text = |key: &str| point[key].as_str().unwrap_or_default().to_owned();
    (text("readiness"), text("advice"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_reaches_a_person_and_check_shows_its_date() {
    let (folder, receiver) = (tempfile::tempdir().expect("a folder"), Receiver::new().await);
    let stage = Stage::start(folder.path(), webhooks(folder.path(), &[("chat", &receiver)])).await;
    let (readiness, advice) = point_eight(&stage, folder.path()).await;
    assert!(
        readiness == "READINESS_WEAK" && advice.starts_with("never drilled: run `bailiwick drill`"),
        "{advice}"
    );

    let mut drill = bailiwick(&stage, &["drill", "--wait", "60s"]).spawn().expect("it starts");
    let mut lines = BufReader::new(drill.stdout.take().expect("it is piped")).lines();
    let asked = lines.next_line().await.expect("text").expect("a line");
    let id = asked.strip_prefix("asked: ").expect("the id comes first").to_owned();
    // What the webhook brings is enough to answer.
    let told = receiver.after(1).await.remove(0).json();
    assert_eq!((told["drill"].as_bool(), told["escalation"]["id"].as_str()), (Some(true), Some(id.as_str())));
    let how =
        told["escalation"]["how_to_answer"]["approve"].as_str().expect("a command").replace("NAME", "ann");
    let words: Vec<&str> = how.split(' ').skip(1).collect();
    assert_eq!(run(&stage, &words).await.0, Some(0), "{how}");

    let mut said = String::new();
    while let Some(line) = lines.next_line().await.expect("text") {
        said.push_str(&line);
        said.push('\n');
    }
    assert_eq!(drill.wait().await.expect("it ends").code(), Some(0), "{said}");
    assert!(said.contains("approved by ann after "), "{said}");
    assert!(said.contains("webhook chat: http://localhost:"), "{said}");
    let (readiness, advice) = point_eight(&stage, folder.path()).await;
    assert_eq!(readiness, "READINESS_ENFORCED", "{advice}");
    assert!(advice.starts_with("drilled on 20") && advice.contains("ann answered after "), "{advice}");
    stage.stop().await;

    // It is in the journal: a server that starts again knows it.
    let stage = Stage::start(folder.path(), webhooks(folder.path(), &[])).await;
    assert_eq!(point_eight(&stage, folder.path()).await, (readiness, advice));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_answers_a_drill_too_and_silence_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let stage = Stage::start(folder.path(), webhooks(folder.path(), &[])).await;
    let (code, out) = run(&stage, &["drill", "--wait", "1s"]).await;
    assert_eq!(code, Some(7), "{out}");
    assert!(
        out.contains("no webhook hears of questions") && out.contains("nobody answered within 1s"),
        "{out}"
    );
    let (readiness, advice) = point_eight(&stage, folder.path()).await;
    assert!(
        readiness == "READINESS_WEAK" && advice.starts_with("nobody answered the last drill"),
        "{advice}"
    );

    let mut drill = bailiwick(&stage, &["drill", "--json"]).spawn().expect("it starts");
    let mut lines = BufReader::new(drill.stdout.take().expect("it is piped")).lines();
    let asked: Value =
        serde_json::from_str(&lines.next_line().await.expect("text").expect("a line")).expect("JSON");
    assert_eq!(asked["state"], "ESCALATION_STATE_OPEN");
    stage.answer(asked["escalation_id"].as_str().expect("an id"), pb::Answer::Abort).await;
    let ended: Value =
        serde_json::from_str(&lines.next_line().await.expect("text").expect("a line")).expect("JSON");
    assert_eq!((&ended["state"], &ended["answered_by"]), (&"ESCALATION_STATE_ABORTED".into(), &"ann".into()));
    assert_eq!(drill.wait().await.expect("it ends").code(), Some(0), "somebody was reached");
    assert_eq!(point_eight(&stage, folder.path()).await.0, "READINESS_ENFORCED");
    stage.stop().await;
}
