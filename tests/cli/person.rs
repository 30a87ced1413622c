//! The person at a terminal: which question is meant, what each answer sends, and what is said when it is not clear.

use bailiwick::pb::{self, TaskState, answer_escalation_request::What};
use prost_types::value::Kind;

use super::{
    ask, ask_with, bailiwick,
    fake::{Fake, TASK, question},
    finish,
};

fn waiting() -> Fake {
    Fake::in_state(TaskState::AwaitingHuman)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_named_by_its_id_by_a_beginning_or_by_being_the_only_one() {
    let fake = waiting();
    let addr = fake.serve().await;
    let id = format!("{TASK}.1");
    ask(addr, &["approve", &id, "--note", "fine"]).await.exits(0).says("approved by tester");
    ask(addr, &["approve", &TASK[..8]]).await.exits(0);
    ask(addr, &["approve", &TASK.to_ascii_uppercase()]).await.exits(0);
    ask(addr, &["abort", "--by", "boss"])
        .await
        .exits(0)
        .says("the only open question: ")
        .says("aborted by boss");
    ask(addr, &["approve", "ffff"]).await.exits(4).says("begins with ffff").says("bailiwick inbox");
    let other = TASK.replace('0', "2");
    ask(addr, &["abort", &format!("{other}.1")]).await.exits(6).says("answered already");
    let answers = fake.0.lock().unwrap().answers.clone();
    assert_eq!(answers.len(), 4);
    assert!(answers.iter().all(|answer| answer.escalation_id == id));
    assert_eq!((answers[0].note.as_str(), answers[0].answered_by.as_str()), ("fine", "tester"));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_open_questions_are_named_and_none_is_answered() {
    let fake = waiting();
    fake.0.lock().unwrap().questions.push(question(2));
    let addr = fake.serve().await;
    for args in [&["approve"][..], &["abort", TASK], &["show", &TASK[..4]]] {
        ask(addr, args).await.exits(2).says(&format!("{TASK}.1 Is it good")).says(&format!("{TASK}.2"));
    }
    assert!(fake.0.lock().unwrap().answers.is_empty());
    fake.0.lock().unwrap().questions.clear();
    ask(addr, &["approve"]).await.exits(4).says("nobody waits for an answer");
    ask(addr, &["inbox"]).await.exits(0).says("nobody waits for an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amended_result_comes_from_the_command_line_a_file_or_stdin() {
    let fake = waiting();
    let addr = fake.serve().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "\"mine\"").unwrap();
    ask(addr, &["amend", "--result", "\"mine\""]).await.exits(0).says("amended by tester");
    ask(addr, &["amend", "--result", file.path().to_str().unwrap()]).await.exits(0);
    ask_with(addr, &["amend", TASK, "--result", "-"], "\"mine\"").await.exits(0);
    for answer in fake.0.lock().unwrap().answers.drain(..) {
        let Some(What::Amend(pb::Amend { result })) = answer.what else { panic!("{answer:?}") };
        assert_eq!(result.and_then(|value| value.kind), Some(Kind::StringValue("mine".into())));
    }
    ask(addr, &["amend", "--result", "{not json"]).await.exits(2).says("is not JSON");
    ask(addr, &["amend"]).await.exits(2);
    assert!(fake.0.lock().unwrap().answers.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_says_by_what() {
    let fake = waiting();
    let addr = fake.serve().await;
    let caps = ["--tokens", "5000", "--hops", "2", "--time", "10m", "--turns", "3", "--replans", "1"];
    let more = ["--agent-tokens", "a=7", "--rounds", "4", "--revisions", "5", "--note", "go"];
    ask(addr, &[&["extend"][..], &caps, &more].concat()).await.exits(0).says("extended by tester");
    let answer = fake.0.lock().unwrap().answers.remove(0);
    let expected = pb::Extension {
        tokens: 5_000,
        hops: 2,
        time: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
        turns: 3,
        replans: 1,
        rounds: 4,
        revisions: 5,
        tokens_by_agent: [("a".to_owned(), 7)].into(),
        ..Default::default()
    };
    assert_eq!(answer.what, Some(What::Extend(expected)));
    ask(addr, &["extend"]).await.exits(2).says("say by what: --tokens N");
    ask(addr, &["extend", "--tokens", "-5"]).await.exits(2);
    ask(addr, &["extend", "--time", "soon"]).await.exits(2);
    assert!(fake.0.lock().unwrap().answers.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn show_has_the_whole_story_and_what_to_type_on_one_screen() {
    let addr = waiting().serve().await;
    let id = format!("{TASK}.1");
    let ran = ask(addr, &["show"]).await.exits(0);
    for part in [
        "OPEN (GATE_REJECTED)",
        "goal: say hello",
        "question: Is it good [2J enough?",
        "\"hello\" confidence 0.50",
        "- confidence 0.5 is below min_confidence 0.8",
        "turn 1 greeter answered SUCCESS",
        "tokens 1,234/10,000, hops 1/12",
        &format!("bailiwick approve {id}\n"),
        &format!("bailiwick amend {id} --result '\"hello\"'\n"),
        &format!("bailiwick extend {id} --revisions 1"),
        &format!("bailiwick abort {id}\n"),
    ] {
        assert!(ran.out.contains(part), "{part:?} in {}", ran.out);
    }
    assert!(!ran.out.contains('\u{1b}') && ran.out.lines().count() <= 40, "{}", ran.out);
    let ran = ask(addr, &["show", "--json"]).await.exits(0);
    assert_eq!(ran.json()[0]["story"][0], "turn 1 greeter answered SUCCESS, confidence 0.5 [1234 tokens]");
    let listed = ask(addr, &["inbox"]).await.exits(0);
    assert!(listed.out.contains(&format!("bailiwick show {id}")), "{}", listed.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_inbox_shows_what_is_open_once_and_what_becomes_of_it() {
    let fake = waiting();
    fake.0.lock().unwrap().breaks = vec![0];
    let ran =
        ask(fake.serve().await, &["inbox", "--watch", "--json"]).await.exits(1).says("the fake ends here");
    let seen: Vec<_> = ran.json().iter().map(|line| line["state"].as_str().unwrap().to_owned()).collect();
    assert_eq!(seen, ["ESCALATION_STATE_OPEN", "ESCALATION_STATE_APPROVED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_for_pasting_finds_the_same_server() {
    let fake = waiting();
    let addr = fake.serve().await;
    let plain = |args: &[&str]| {
        let mut command = bailiwick(args);
        command.args(["--addr", &addr.to_string()]);
        tokio::task::spawn_blocking(move || finish(command, "goal: g"))
    };
    let flag = format!(" --addr {addr}\n");
    for args in [&["show"][..], &["inbox"], &["get", TASK], &["approve"], &["submit", "-"]] {
        let ran = plain(args).await.unwrap().exits(0);
        let said = format!("{}{}", ran.out, ran.err);
        let printed: Vec<_> = said.split_inclusive('\n').filter(|line| line.contains("bailiwick ")).collect();
        assert!(!printed.is_empty() && printed.iter().all(|line| line.ends_with(&flag)), "{args:?}: {said}");
    }
    // BAILIWICK_ADDR is known to the shell already.
    let ran = ask(addr, &["show"]).await.exits(0);
    assert!(ran.out.contains("bailiwick abort") && !ran.out.contains("--addr"), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_waits_shows_no_deadline_that_passes() {
    let addr = waiting().serve().await;
    let ran = ask(addr, &["get", TASK]).await.exits(0).says("AWAITING_HUMAN").says("it waits for a person");
    assert!(ran.out.contains("deadline stands still"), "{}", ran.out);
    let addr = Fake::in_state(TaskState::Running).serve().await;
    let ran = ask(addr, &["get", TASK]).await.exits(0);
    assert!(ran.out.contains(", deadline ") && !ran.out.contains("stands still"), "{}", ran.out);
}
