//! `bailiwick demo` as a process, on a small folder, with the crew of the binary alone: what it finds, what its scenes show,
//! how it ends. Its server, its workers and its files are its own, below a temporary folder of the test.

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

const MARK: &str = concat!("TO", "DO");

/// A folder with material whose findings are known.
fn material() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder for the test");
    for (path, text) in [
        ("src/main.rs", format!("fn main() {{\n    // {MARK}: say hello\n}}\n")),
        ("docs/guide.md", "# Guide\n\nOne line.\n".to_owned()),
        (".gitignore", "*.log\n".to_owned()),
        ("noise.log", format!("{MARK}: ignored\n")),
        ("target/made.rs", format!("// {MARK}: made by a tool\n")),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("folders can be made");
        fs::write(path, text).expect("files can be written");
    }
    folder
}

fn demo(folder: &Path, place: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bailiwick"))
        .arg("demo")
        .arg(folder)
        .args(args)
        .current_dir(place)
        .env("TMPDIR", place)
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .output()
        .expect("the binary can be run")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_audit_finds_what_is_there_and_every_scene_shows_what_it_should() {
    let (folder, place) = (material(), tempfile::tempdir().expect("a folder for the test"));
    let output = demo(folder.path(), place.path(), &["--languages", "rust", "--json"]);
    let said = text(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON value on stdout");
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(report["ok"], true, "{said}");

    let audit = &report["audit"];
    assert_eq!((&audit["state"], &audit["ended_by"]), (&"SUCCEEDED".into(), &"GATE".into()), "{said}");
    let findings = audit["findings"].as_array().expect("findings");
    let marks: Vec<_> = findings.iter().filter(|f| f["kind"] == "unfinished").collect();
    assert_eq!(marks.len(), 1, "{findings:?}");
    assert_eq!((&marks[0]["path"], &marks[0]["line"]), (&"src/main.rs".into(), &2.into()));
    assert!(findings.iter().all(|finding| finding["verified"] == true), "{findings:?}");
    assert_eq!(audit["specialists"]["structure"]["facts"]["files"], 3);
    let spent: i64 = audit["envelopes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|envelope| envelope["tokens_estimated"].as_i64())
        .sum();
    assert_eq!(audit["ledger"]["spent"], spent);

    let scenes = report["scenes"].as_array().expect("scenes");
    assert_eq!(scenes.len(), 4);
    for scene in scenes {
        assert_eq!(scene["holds"], true, "{scene}");
    }
    assert_eq!(scenes[1]["figures"]["hops"], 6);
    assert!(scenes[2]["figures"]["tokens_beyond"].as_i64() > Some(0), "{}", scenes[2]);
    let addr = report["addr"].as_str().expect("an address");
    assert!(TcpStream::connect(addr).is_err(), "the server has ended");
    let data = report["database"].as_str().expect("a database");
    assert!(Path::new(data).is_file(), "the record stays");
    for log in fs::read_dir(Path::new(data).with_file_name("logs")).expect("logs").flatten() {
        let (name, log) = (log.file_name(), fs::read_to_string(log.path()).expect("a log"));
        let killed = name == "demo-structure-2.log" || name == "demo-structure-1.log";
        assert!(log.contains("drained") || killed, "{name:?} was told to end, and did: {log}");
    }
}

#[test]
fn languages_that_cannot_take_part_are_named_and_no_control_character_is_written() {
    let (folder, place) = (material(), tempfile::tempdir().expect("a folder for the test"));
    let script = place.path().join("workers/go/run");
    fs::create_dir_all(script.parent().expect("below the folder")).expect("folders can be made");
    fs::write(&script, "#!/bin/sh\necho 'this worker needs Go' >&2\nexit 69\n").expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("may be run");
    let args = ["--audit-only", "--languages", "rust,go,java", "--workers", "workers"];
    let output = demo(folder.path(), place.path(), &args);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    assert!(said.contains("Go          skipped: this worker needs Go"), "{said}");
    assert!(said.contains("Java        skipped: no java/run in"), "{said}");
    assert!(said.contains("src/main.rs:2  unfinished"), "{said}");
    assert!(said.contains("SUCCEEDED: COMPLETED by gate"), "{said}");
    assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{said:?}");
}

#[test]
fn what_cannot_be_audited_is_refused_before_anything_is_started() {
    let place = tempfile::tempdir().expect("a folder for the test");
    for (folder, reason) in [("nowhere", "is no folder"), (".", "holds no text file")] {
        let output = demo(Path::new(folder), place.path(), &[]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(reason), "{}", text(&output.stderr));
    }
    assert_eq!(fs::read_dir(place.path()).expect("the folder").count(), 0, "nothing was left");
}
