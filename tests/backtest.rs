//! `bailiwick backtest` as a process, on small files made here: what it finds, what it says of what is broken, what its
//! reports hold. `backtest/recorded.rs` holds its figures on recorded runs, where somebody has them.

// A test that cannot set up its stage is to stop there.
#![allow(clippy::unwrap_used)]

#[path = "backtest/recorded.rs"]
mod recorded;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tempfile::TempDir;

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

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect(&self.out)
    }
}

fn backtest_with(args: &[&str], stdin: &[u8]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bailiwick"));
    command.arg("backtest").args(args).env_remove("NO_COLOR");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that does not read stdin closes it; that is its right.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn backtest(args: &[&str]) -> Ran {
    backtest_with(args, b"")
}

/// A folder with files of these names and contents.
struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

fn examples() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/runs.jsonl");
    path.to_str().unwrap().to_owned()
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A run of `set` whose steps are messages of one agent, 10 tokens each.
fn run(id: &str, set: &str, outcome: &str, fixed_at: Option<usize>, texts: &[&str]) -> String {
    let steps: Vec<Value> = (0..)
        .zip(texts)
        .map(|(i, text): (u64, _)| {
            json!({"i": i, "agent": "writer", "role": "assistant", "kind": "message", "tool": null, "text": text,
                "prompt_tokens": 7, "completion_tokens": 3})
        })
        .collect();
    let record = json!({"trace_id": id, "dataset": set, "outcome": outcome, "steps": steps,
        "meta": {"outcome_fixed_at": fixed_at}});
    format!("{record}\n")
}

const SAME: &str = "The report is ready and I am passing it on to the next of us.";

#[test]
fn the_third_equal_answer_in_a_row_is_the_last() {
    let found = backtest(&["--json", &examples()]).exits(0).json();
    assert_eq!(found["schema"], "bailiwick.backtest/1");
    assert_eq!(found["skipped"]["faults"], 0);
    let set = &found["sets"][0];
    assert_eq!((&set["set"], &set["all"]["runs"]), (&json!("desk"), &json!(5)));
    assert_eq!((&set["all"]["harmful"], &set["all"]["successes"]), (&json!(0), &json!(3)));

    let failures =
        set["outcomes"].as_array().unwrap().iter().find(|one| one["outcome"] == "failure").unwrap();
    assert_eq!((&failures["runs"], &failures["stopped"]), (&json!(2), &json!(1)));
    let guard = &failures["guards"][0];
    // Steps 3, 4 and 5 say the same: nothing after the third is paid for.
    assert_eq!((&guard["guard"], &guard["stop_step"]["median"]), (&json!("repetition"), &json!(5)));
    // What ran away is told apart from what only was wrong.
    assert_eq!((&failures["runaway"]["runs"], &failures["runaway"]["stopped"]), (&json!(1), &json!(1)));
    assert_eq!((&failures["orderly"]["runs"], &failures["orderly"]["stopped"]), (&json!(1), &json!(0)));
    assert!(failures["runaway"]["saved_of_savable"].as_f64().unwrap() > 0.9);
}

#[test]
fn tokens_are_counted_as_they_were_billed() {
    let text = run("1", "s", "failure", None, &["a plan of it", SAME, SAME, SAME, SAME, SAME])
        + &run("2", "s", "success", Some(5), &["a plan of it", SAME, SAME, SAME, SAME, SAME])
        + &run("3", "s", "success", Some(1), &["a plan of it", SAME, SAME, SAME, SAME, SAME]);
    let found = backtest_with(&["--json", "-"], text.as_bytes()).exits(0).json();
    let all = &found["sets"][0]["all"];
    assert_eq!((&all["tokens"], &all["savable"]), (&json!(180), &json!(60 + 40)));
    // Each stops at the third equal message, after which two are left. The second run was stopped to its harm.
    assert_eq!((&all["saved"], &all["saved_savable"]), (&json!(60), &json!(40)));
    assert_eq!((&all["harmful"], &all["harm_rate"]), (&json!(1), &json!(0.5)));
}

#[test]
fn a_broken_line_is_named_and_nothing_else_is_lost() {
    let good = |id: &str| run(id, "s", "failure", None, &[SAME]);
    let mut text = good("1").into_bytes();
    text.extend(b"{\"trace_id\": \"2\", \"steps\": [}\n");
    text.extend(good("3").into_bytes());
    text.extend(b"{\"trace_id\": \"4\", \"outcome\": \"won\", \"steps\": []}\n\xff\xfe\n\n");
    text.extend(good("5").into_bytes());
    let mut cut = packed(&good("6").repeat(2_000).into_bytes());
    cut.truncate(cut.len() - 20);
    let files = Files::new(&[("runs.jsonl", &text), ("cut.jsonl.gz", &cut), ("empty.jsonl", b"")]);
    let names = ["runs.jsonl", "cut.jsonl.gz", "empty.jsonl"].map(|name| files.path(name));
    let ran = backtest(&[&names[0], &names[1], &names[2]]).exits(8);
    let lines: Vec<&str> = ran.err.lines().collect();
    let check = |at: usize, file: &str, begin: &str| {
        let expected = format!("{file}:{begin}");
        assert!(lines[at].starts_with(&expected), "{expected}: {lines:?}");
    };
    check(0, &names[0], "2:29: is not JSON: ");
    check(1, &names[0], "4:34: is not a trace: unknown variant `won`, expected one of");
    check(2, &names[0], "5:1: is not JSON: ");
    check(3, &names[1], "");
    assert!(lines[3].contains("cannot be read any further"), "{lines:?}");
    let last_line = lines[3][names[1].len() + 1..].split(':').next().unwrap().parse::<u64>().unwrap();
    assert_eq!(lines[4], "4 faults left out; everything else is in the report");

    let ran = backtest(&["--json", &names[0], &names[1], &names[2]]).exits(8);
    let first: Value = serde_json::from_str(ran.err.lines().next().unwrap()).unwrap();
    assert_eq!(first["fault"], lines[0]);
    let found = ran.json();
    assert_eq!(found["skipped"]["faults"], 4);
    assert_eq!(found["skipped"]["listed"][0], lines[0]);
    assert_eq!(found["sets"][0]["all"]["runs"], 3 + last_line - 1);
}

#[test]
fn how_a_file_is_packed_and_how_many_work_on_it_changes_nothing() {
    let text: String = (0..400)
        .map(|id: u32| {
            let set = format!("s{}", id % 3);
            let outcome = ["success", "failure", "unknown"][id as usize % 3];
            let texts: Vec<&str> = std::iter::repeat_n(SAME, id as usize % 7).collect();
            run(&id.to_string(), &set, outcome, Some(2), &texts)
        })
        .collect();
    let plain = Files::new(&[("a.jsonl", text.as_bytes()), ("b", &packed(text.as_bytes()))]);
    let first = backtest(&["--json", "--jobs", "1", &plain.path("a.jsonl")]).exits(0).out;
    assert!(first.contains("\"stopped\":"), "{first}");
    assert_eq!(backtest(&["--json", "--jobs", "7", &plain.path("b")]).exits(0).out, first);
    assert_eq!(backtest_with(&["--json", "-"], &packed(text.as_bytes())).exits(0).out, first);
}

/// Spans as an exporter writes them, one document a line.
fn spans(count: u64) -> String {
    (0..count)
        .map(|at| {
            let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
            let said =
                json!([{"role": "assistant", "parts": [{"type": "text", "content": SAME}]}]).to_string();
            let span = json!({"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": format!("{at:016x}"),
                "name": "chat", "startTimeUnixNano": at.to_string(), "endTimeUnixNano": (at + 1).to_string(),
                "attributes": [attribute("gen_ai.operation.name", "chat"),
                    attribute("gen_ai.agent.name", "writer"), attribute("gen_ai.output.messages", &said),
                    {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "7"}},
                    {"key": "gen_ai.usage.output_tokens", "value": {"intValue": 3}}]});
            let resource = json!({"attributes": [attribute("service.name", "shop")]});
            let document =
                json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]});
            format!("{document}\n")
        })
        .collect()
}

#[test]
fn spans_are_judged_like_any_run() {
    let check = |bytes: &[u8]| {
        let found = backtest_with(&["--json", "-"], bytes).exits(0).json();
        let all = &found["sets"][0]["all"];
        assert_eq!((&found["sets"][0]["set"], &all["runs"]), (&json!("shop"), &json!(1)));
        assert_eq!((&all["tokens"], &all["stopped"], &all["saved"]), (&json!(60), &json!(1), &json!(30)));
    };
    let text = spans(6);
    check(text.as_bytes());
    check(&packed(text.as_bytes()));
    let documents: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["resourceSpans"][0].clone())
        .collect();
    check(serde_json::to_string_pretty(&json!({"resourceSpans": documents})).unwrap().as_bytes());
}

#[test]
fn spans_without_content_are_no_repetition() {
    let text = spans(40).replace("gen_ai.output.messages", "gen_ai.request.model");
    let found = backtest_with(&["--json", "-"], text.as_bytes()).exits(0).json();
    let all = &found["sets"][0]["all"];
    assert_eq!((&all["tokens"], &all["stopped"]), (&json!(400), &json!(0)));
}

#[test]
fn a_contract_or_a_part_of_one_says_what_is_allowed() {
    let files = Files::new(&[
        ("off.yaml", b"guards:\n  repetition:\n    off: true\n  finished:\n    off: true\n"),
        ("steps.yaml", b"guards:\n  max_steps: 2\n"),
        ("tokens.json", br#"{"budget": {"max_tokens": 30}, "guards": {"repetition": {"off": true}}}"#),
        ("bad.yaml", b"guards:\n  repetition:\n    times: 1\n"),
        ("typo.yaml", b"guards:\n  repetitions:\n    times: 4\n"),
    ]);
    let text = run("1", "s", "failure", None, &[SAME; 6]);
    let judged = |contract: &str| {
        let path = files.path(contract);
        backtest_with(&["--json", "--contract", &path, "-"], text.as_bytes())
    };
    assert_eq!(judged("off.yaml").exits(0).json()["sets"][0]["all"]["stopped"], 0);
    let stopped = |contract: &str| {
        let found = judged(contract).exits(0).json();
        let guard = found["sets"][0]["all"]["guards"][0].clone();
        (guard["guard"].as_str().unwrap().to_owned(), guard["stop_step"]["median"].as_u64().unwrap())
    };
    assert_eq!(stopped("steps.yaml"), ("steps".to_owned(), 1));
    assert_eq!(stopped("tokens.json"), ("tokens".to_owned(), 3));
    let refused = judged("bad.yaml").exits(3);
    assert!(refused.err.contains("guards.repetition.times"), "{refused:?}");
    let typo = judged("typo.yaml").exits(3);
    assert!(typo.err.contains("typo.yaml:2:3") && typo.err.contains("Write repetition"), "{typo:?}");
}

#[test]
fn what_calibration_prints_can_be_pasted() {
    let mut text = String::new();
    for id in 0..1_200 {
        let (outcome, length) = if id % 2 == 0 { ("success", 4) } else { ("failure", 20) };
        let lines: Vec<String> = (0..length)
            .map(|step| format!("Step {step} of task {id} brought the figure {}.", id * 31 + step * 7))
            .collect();
        let texts: Vec<&str> = lines.iter().map(String::as_str).collect();
        text += &run(&id.to_string(), "s", outcome, Some(3), &texts);
    }
    let args = ["--json", "--calibrate", "--max-harm", "1%", "-"];
    let ran = backtest_with(&args, text.as_bytes()).exits(0);
    assert_eq!(backtest_with(&args, text.as_bytes()).exits(0).out, ran.out, "it has no dice");
    let found = ran.json();
    let set = &found["calibration"]["sets"][0];
    let (fitted, held_out) = (&set["fitted"], &set["held_out"]);
    assert_eq!(fitted["runs"].as_u64().unwrap() + held_out["runs"].as_u64().unwrap(), 1_200);
    assert!(held_out["saved_of_savable"].as_f64().unwrap() > 0.5, "failures are five times as long: {set}");
    assert!(held_out["harm_rate"].as_f64().unwrap() <= 0.01, "{set}");
    let interval = held_out["saved_interval"].as_array().unwrap();
    let share = held_out["saved_of_savable"].as_f64().unwrap();
    assert!(interval[0].as_f64().unwrap() <= share && share <= interval[1].as_f64().unwrap(), "{set}");

    let fragment = set["groups"][0]["fragment"].as_str().unwrap();
    let files = Files::new(&[("pasted.yaml", fragment.as_bytes())]);
    let again = backtest_with(&["--json", "--contract", &files.path("pasted.yaml"), "-"], text.as_bytes());
    let all = again.exits(0).json()["sets"][0]["all"].clone();
    let halves = fitted["stopped"].as_u64().unwrap() + held_out["stopped"].as_u64().unwrap();
    assert_eq!(all["stopped"].as_u64().unwrap(), halves, "the same terms stop the same runs");
}

#[test]
fn the_page_needs_nothing_from_anywhere_and_escapes_what_came_from_outside() {
    let files = Files::new(&[]);
    let page = files.path("report.html");
    let set = "<img src=x onerror=alert(1)>&\"'";
    let text = run("1", set, "failure", None, &[SAME; 6])
        + &run("2", set, "success", Some(1), &[SAME; 6])
        + "{broken <b>\n";
    let markdown = files.path("page.md");
    backtest_with(&["--html", &page, "--markdown", &markdown, "-"], text.as_bytes()).exits(8);
    let page = fs::read_to_string(page).unwrap();
    for never in ["<script", "<link", "<img", "http://", "https://", "@import", "url("] {
        assert!(!page.contains(never), "{never}");
    }
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#39;"));
    assert!(page.matches("<svg").count() >= 3 && page.contains("prefers-color-scheme: dark"));
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    let markdown = fs::read_to_string(markdown).unwrap();
    assert!(markdown.contains("## Each guard alone") && !markdown.contains("<img"), "{markdown}");
}

#[test]
fn what_cannot_be_done_is_said_before_anything_is_read() {
    let missing = backtest(&[&examples(), "no-such-file.jsonl"]).exits(2);
    assert!(missing.err.starts_with("error: no-such-file.jsonl cannot be read: "), "{missing:?}");
    assert_eq!(missing.out, "");
    let folder = backtest(&["."]).exits(2);
    assert!(folder.err.contains("it is a folder"), "{folder:?}");
    backtest(&[]).exits(2);
    backtest(&["--calibrate", "--max-harm", "1", &examples()]).exits(2);
    let nowhere = PathBuf::from("no-such-folder/page.html");
    backtest(&["--html", nowhere.to_str().unwrap(), &examples()]).exits(1);
    let nothing = backtest_with(&["-"], b"").exits(0);
    assert_eq!(nothing.out, "no runs\n");
}
