//! People over the wire and at the terminal: every answer, two at once, too late, and what does not fit.

use std::process::{Command, Stdio};

use bailiwick::{
    pb::{self, answer_escalation_request::What, session_request::Message as Up, task_event::Event},
    runtime::RuntimeOptions,
    service::server::ServerOptions,
};
use tokio::task::JoinSet;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use super::harness::{Session, Stage, check, contract, result, soon, success, text, why};

/// A contract whose gate asks a person about everything that is not quite sure.
fn strict(team: &str) -> pb::Contract {
    pb::Contract {
        gate: Some(pb::Gate { min_confidence: 0.95, max_revisions: Some(0), ..Default::default() }),
        labels: [("team".to_owned(), team.to_owned())].into(),
        ..contract("solver")
    }
}

/// Submits a contract and lets its gate refuse an answer; the question.
async fn asked(stage: &Stage, worker: &mut Session, contract: pb::Contract) -> pb::Escalation {
    worker.credit(1).await;
    let task_id = stage.submit(contract).await;
    let work = worker.assignment().await;
    assert_eq!(work.task_id, task_id);
    worker.complete(&work.lease, success("perhaps")).await;
    let watched = pb::WatchTaskRequest { task_id, after_seq: 0 };
    let mut watch = stage.tasks().watch_task(watched).await.expect("it is there").into_inner();
    loop {
        let next = soon("the question", watch.message()).await.expect("no error").expect("it goes on");
        if let Some(Event::Escalated(asked)) = next.event.and_then(|event| event.event) {
            return asked.escalation.expect("it is sent");
        }
    }
}

async fn answer(stage: &Stage, id: &str, by: &str, what: What) -> Result<pb::Escalation, Status> {
    let request = pb::AnswerEscalationRequest {
        escalation_id: id.to_owned(),
        answered_by: by.to_owned(),
        note: format!("says {by}"),
        what: Some(what),
        ..Default::default()
    };
    let answered = stage.operator().answer_escalation(request).await?;
    Ok(answered.into_inner().escalation.expect("it is sent"))
}

const fn approve() -> What {
    What::Approve(pb::Approve {})
}

const fn amend(result: prost_types::Value) -> What {
    What::Amend(pb::Amend { result: Some(result) })
}

async fn list(stage: &Stage, request: pb::ListEscalationsRequest) -> Vec<pb::Escalation> {
    stage.operator().list_escalations(request).await.expect("a list").into_inner().escalations
}

fn violations(status: &Status) -> Vec<String> {
    let bad = status.get_details_bad_request().expect("violations");
    bad.field_violations.into_iter().map(|violation| violation.field).collect()
}

#[tokio::test]
async fn of_many_people_who_answer_at_once_one_wins_and_the_others_are_told_who() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    let id = asked(&stage, &mut worker, strict("a")).await.escalation_id;
    let mut people = JoinSet::new();
    for n in 0..8 {
        let mut operator = stage.operator();
        let what = match n % 3 {
            0 => approve(),
            1 => amend(result("mine")),
            _ => What::Abort(pb::Abort {}),
        };
        let request = pb::AnswerEscalationRequest {
            escalation_id: id.clone(),
            answered_by: format!("person-{n}"),
            what: Some(what),
            ..Default::default()
        };
        people.spawn(async move { operator.answer_escalation(request).await });
    }
    let answers = soon("all answers", people.join_all()).await;
    let won: Vec<_> = answers.iter().flatten().filter_map(|won| won.get_ref().escalation.clone()).collect();
    assert_eq!(won.len(), 1, "the first commit wins");
    for lost in answers.into_iter().filter_map(Result::err) {
        assert_eq!(why(&lost), (Code::FailedPrecondition, "ESCALATION_CLOSED".to_owned()));
        let told = lost.get_details_error_info().expect("ErrorInfo").metadata;
        assert_eq!(told["answered_by"], won[0].answered_by);
        let state = pb::EscalationState::try_from(won[0].state).expect("known").as_str_name();
        assert_eq!(format!("ESCALATION_STATE_{}", told["state"]), state);
        assert_eq!(told["answered_at"], won[0].answered_at.expect("it is said").to_string());
        assert!(lost.message().contains(&won[0].answered_by), "{}", lost.message());
    }
}

#[tokio::test]
async fn an_amended_result_is_checked_and_the_question_stays_open_until_one_fits() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    let id = asked(&stage, &mut worker, strict("a")).await.escalation_id;
    let bad = answer(&stage, &id, "ada", amend(text("no object"))).await;
    let bad = check(bad, Code::InvalidArgument, "AMENDMENT_REFUSED");
    assert!(violations(&bad).iter().all(|field| field == "amend.result") && !violations(&bad).is_empty());
    let missing = answer(&stage, &id, "ada", What::Amend(pb::Amend { result: None })).await;
    assert_eq!(violations(&check(missing, Code::InvalidArgument, "INVALID_MESSAGE")), ["amend.result"]);
    assert_eq!(list(&stage, pb::ListEscalationsRequest::default()).await.len(), 1, "still open");
    let amended = answer(&stage, &id, "ada", amend(result("mine"))).await.expect("it fits");
    assert_eq!(amended.state, pb::EscalationState::Amended as i32);
    assert_eq!((amended.candidate, amended.result), (Some(result("perhaps")), Some(result("mine"))));
    let outcome = stage.outcome(&amended.task_id).await;
    assert_eq!((outcome.state(), outcome.ended_by()), (pb::TaskState::Succeeded, pb::EndedBy::Human));
    assert_eq!(
        (outcome.result, outcome.reason.as_str()),
        (Some(result("mine")), "ada amended the result: says ada")
    );
}

#[tokio::test]
async fn an_extension_within_the_ceilings_gives_the_owner_another_turn() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    let id = asked(&stage, &mut worker, strict("a")).await.escalation_id;
    let more = |hops, tokens| What::Extend(pb::Extension { hops, tokens, ..Default::default() });
    let beyond = answer(&stage, &id, "ada", more(1_000, 1 << 40)).await;
    let beyond = check(beyond, Code::InvalidArgument, "EXTENSION_REFUSED");
    assert_eq!(violations(&beyond), ["extend.hops", "extend.tokens"]);
    assert!(beyond.message().contains("ceiling is 100"), "{}", beyond.message());
    worker.credit(1).await;
    let extended = answer(&stage, &id, "ada", more(1, 5_000)).await.expect("there is room");
    assert_eq!(extended.extension.map(|added| (added.hops, added.tokens)), Some((1, 5_000)));
    let decide = worker.assignment().await;
    assert_eq!(decide.kind(), pb::TurnKind::Decide);
    assert_eq!(decide.notes, ["ada extended the task by 5000 tokens, 1 hop: says ada"]);
    let task = stage.task(&extended.task_id).await;
    let budget = task.contract.and_then(|contract| contract.budget).expect("it is sent");
    assert_eq!(budget.max_tokens, 15_000, "the caps as they stand");
    let partial = pb::CompletePartial { result: None, reason: "enough".into() };
    let decision = pb::Decision {
        decision: Some(pb::decision::Decision::CompletePartial(partial)),
        ..Default::default()
    };
    let done = pb::Complete { lease: decide.lease, answer: Some(pb::complete::Answer::Decision(decision)) };
    let sent = worker.send(Up::Complete(done)).await;
    worker.acked(sent).await;
    let events = stage.events(&extended.task_id, 0).await;
    let added = events.iter().find_map(|event| match &event.event {
        Some(Event::Extended(extended)) => Some((extended.answered_by.as_str(), extended.added.clone())),
        _ => None,
    });
    let (by, added) = added.expect("the journal says so");
    assert_eq!((by, added.map(|added| added.tokens)), ("ada", Some(5_000)));
}

#[tokio::test]
async fn a_question_that_expired_says_what_the_default_answer_did() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    let policy = pb::EscalationPolicy {
        timeout: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    let brief = pb::Contract { escalation: Some(policy), ..strict("a") };
    let question = asked(&stage, &mut worker, brief).await;
    let outcome = stage.outcome(&question.task_id).await;
    assert_eq!((outcome.state(), outcome.cause()), (pb::TaskState::Partial, pb::Cause::EscalationExpired));
    for what in
        [approve(), amend(result("late")), What::Extend(pb::Extension { hops: 1, ..Default::default() })]
    {
        let late = answer(&stage, &question.escalation_id, "ada", what).await;
        let late = check(late, Code::FailedPrecondition, "ESCALATION_CLOSED");
        let told = late.get_details_error_info().expect("ErrorInfo").metadata;
        assert_eq!((told["state"].as_str(), told["task_state"].as_str()), ("EXPIRED", "PARTIAL"));
        assert!(late.message().contains("nobody answered in time"), "{}", late.message());
    }
    assert_eq!(stage.outcome(&question.task_id).await.result, Some(result("perhaps")), "nothing is lost");
}

#[tokio::test]
async fn questions_that_do_not_exist_are_not_found() {
    let stage = Stage::new().await;
    let id = "00000000-0000-0000-0000-000000000001.1";
    let get = |id: &str| {
        let request = pb::GetEscalationRequest { escalation_id: id.to_owned() };
        let mut operator = stage.operator();
        async move { operator.get_escalation(request).await }
    };
    check(get(id).await, Code::NotFound, "ESCALATION_NOT_FOUND");
    check(get("nonsense").await, Code::InvalidArgument, "INVALID_MESSAGE");
    for what in [approve(), amend(result("x")), What::Extend(pb::Extension { hops: 1, ..Default::default() })]
    {
        check(answer(&stage, id, "ada", what).await, Code::NotFound, "ESCALATION_NOT_FOUND");
    }
}

#[tokio::test]
async fn questions_are_listed_by_label_cause_state_and_beginning_page_by_page() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    let mut ids = Vec::new();
    for team in ["a", "b", "b"] {
        ids.push(asked(&stage, &mut worker, strict(team)).await.escalation_id);
    }
    answer(&stage, &ids[2], "ada", approve()).await.expect("it is open");
    let found = |request| async {
        list(&stage, request).await.into_iter().map(|q| q.escalation_id).collect::<Vec<_>>()
    };
    let none = pb::ListEscalationsRequest::default;
    let team = |team: &str| [("team".to_owned(), team.to_owned())].into();
    assert_eq!(found(none()).await, ids[..2]);
    assert_eq!(found(pb::ListEscalationsRequest { labels: team("b"), ..none() }).await, ids[1..2]);
    let all = pb::ListEscalationsRequest { labels: team("b"), all_states: true, ..none() };
    assert_eq!(found(all).await, ids[1..]);
    let causes = |cause: pb::Cause| pb::ListEscalationsRequest { causes: vec![cause as i32], ..none() };
    assert_eq!(found(causes(pb::Cause::GateRejected)).await, ids[..2]);
    assert!(
        found(causes(pb::Cause::Budget)).await.is_empty()
            && found(causes(pb::Cause::Unspecified)).await.is_empty()
    );
    let begins = pb::ListEscalationsRequest { id_prefix: ids[1][..36].to_ascii_uppercase(), ..none() };
    assert_eq!(found(begins).await, ids[1..2]);
    let both = pb::ListEscalationsRequest { states: vec![1], all_states: true, ..none() };
    check(stage.operator().list_escalations(both).await, Code::InvalidArgument, "INVALID_MESSAGE");
    let mut page = pb::ListEscalationsRequest { page_size: 1, all_states: true, ..none() };
    for id in &ids {
        let got = stage.operator().list_escalations(page.clone()).await.expect("a page").into_inner();
        assert_eq!(got.escalations.iter().map(|q| &q.escalation_id).collect::<Vec<_>>(), [id]);
        page.page_token = got.next_page_token;
    }
    assert!(page.page_token.is_empty());
}

/// The next question of a watch; `None`: all that were open have been sent.
async fn news(stream: &mut Streaming<pb::WatchEscalationsResponse>) -> Option<(String, pb::EscalationState)> {
    let next = soon("news", stream.message()).await.expect("no error").expect("it goes on");
    next.escalation.map(|question| (question.escalation_id.clone(), question.state()))
}

#[tokio::test]
async fn a_watch_begins_with_what_is_open_and_goes_on_with_what_changes() {
    use pb::EscalationState::{Amended, Approved, Open};
    let stage =
        Stage::with(RuntimeOptions::default(), ServerOptions { max_watches: 2, ..ServerOptions::default() })
            .await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    let first = asked(&stage, &mut worker, strict("a")).await.escalation_id;
    let watch = |labels| {
        let request = pb::WatchEscalationsRequest { causes: Vec::new(), labels };
        let mut operator = stage.operator();
        async move { operator.watch_escalations(request).await }
    };
    let mut all = watch([].into()).await.expect("a place").into_inner();
    assert_eq!(news(&mut all).await, Some((first.clone(), Open)));
    assert_eq!(news(&mut all).await, None);
    let mut of_b = watch([("team".to_owned(), "b".to_owned())].into()).await.expect("a place").into_inner();
    assert_eq!(news(&mut of_b).await, None);
    check(watch([].into()).await, Code::ResourceExhausted, "OVERLOADED");
    answer(&stage, &first, "ada", approve()).await.expect("it is open");
    assert_eq!(news(&mut all).await, Some((first, Approved)));
    let second = asked(&stage, &mut worker, strict("b")).await.escalation_id;
    answer(&stage, &second, "ada", amend(result("mine"))).await.expect("it is open");
    for stream in [&mut all, &mut of_b] {
        assert_eq!(news(stream).await.map(|(id, _)| id), Some(second.clone()));
        assert_eq!(news(stream).await, Some((second.clone(), Amended)));
    }
    let stopped = tokio::spawn(async move {
        let end = soon("the end", all.message()).await;
        why(&end.expect_err("the server goes away"))
    });
    drop((of_b, worker));
    assert!(stage.shutdown().await);
    assert_eq!(stopped.await.expect("no panic"), (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
}

/// How a command at the terminal went: its exit code, and everything it wrote.
async fn type_in(stage: &Stage, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bailiwick"));
    command.args(args).args(["--addr", &stage.addr()]).env("USER", "grace").stdin(Stdio::null());
    let ran = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    let ran = ran.expect("it runs");
    let text = [ran.stdout, ran.stderr].map(|out| String::from_utf8_lossy(&out).into_owned()).concat();
    (ran.status.code().unwrap_or(-1), text)
}

#[tokio::test]
async fn at_the_terminal_every_answer_is_one_line_and_late_ones_are_told_what_happened() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    let check = async |args: &[&str], code: i32, says: &[&str]| {
        let (exit, text) = type_in(&stage, args).await;
        assert_eq!(exit, code, "{args:?}: {text}");
        says.iter().for_each(|part| assert!(text.contains(part), "{part:?} of {args:?} in {text}"));
    };
    let question = asked(&stage, &mut worker, strict("a")).await;
    let (id, task) = (question.escalation_id.as_str(), question.task_id.as_str());
    check(&["inbox", "--cause", "gate-rejected", "--label", "team=a"], 0, &[&format!("bailiwick show {id}")])
        .await;
    let typed = format!("bailiwick amend {id} --result '{{\"answer\":\"perhaps\"}}'");
    check(&["show"], 0, &["turn 1 solver answered SUCCESS", "tokens 42/10,000", &typed]).await;
    check(&["amend", "--result", "7"], 2, &["amend.result", "AMENDMENT_REFUSED"]).await;
    check(&["extend", "--hops", "1000"], 2, &["extend.hops", "so add at most 88", "EXTENSION_REFUSED"]).await;
    check(&["amend", task, "--result", r#"{"answer":"mine"}"#, "--note", "ok"], 0, &["amended by grace"])
        .await;
    check(&["abort", id, "--by", "ada"], 6, &["grace amended the result (", "): ok", "ESCALATION_CLOSED"])
        .await;
    check(&["abort", task], 6, &["grace amended the result ("]).await;
    check(&["show", task], 0, &["AMENDED", "amended by grace at ", "result: {\"answer\":\"mine\"}"]).await;
    check(&["approve"], 4, &["nobody waits for an answer"]).await;
    check(&["approve", "00000000-0000-0000-0000-000000000001.1"], 4, &["ESCALATION_NOT_FOUND"]).await;
    check(&["approve", "ffffffff"], 4, &["begins with ffffffff"]).await;
    let policy = pb::EscalationPolicy {
        timeout: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    let brief = pb::Contract { escalation: Some(policy), ..strict("a") };
    let expired = asked(&stage, &mut worker, brief).await;
    stage.outcome(&expired.task_id).await;
    let says =
        ["nobody answered in time", "ended PARTIAL with its best result so far", "task_state: PARTIAL"];
    check(&["approve", &expired.escalation_id], 6, &says).await;
    check(&["show", &expired.task_id], 0, &["EXPIRED", "what came of it: bailiwick get"]).await;
}
