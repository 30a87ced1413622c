//! Bailiwick over real gRPC, on a loopback port: tasks from submission to outcome, people, workers with a stream and
//! without, and what bad input gets.

#[path = "end_to_end/bad_input.rs"]
mod bad_input;
#[path = "end_to_end/chaos.rs"]
mod chaos;
#[path = "end_to_end/children.rs"]
mod children;
#[path = "end_to_end/circuits.rs"]
mod circuits;
#[path = "end_to_end/dead_letters.rs"]
mod dead_letters;
#[path = "end_to_end/gate.rs"]
mod gate;
#[path = "end_to_end/guards.rs"]
mod guards;
#[path = "end_to_end/halts.rs"]
mod halts;
#[path = "end_to_end/harness.rs"]
#[allow(unreachable_pub)]
mod harness;
#[path = "end_to_end/person.rs"]
mod person;
#[path = "end_to_end/polling.rs"]
mod polling;
#[path = "end_to_end/sessions.rs"]
mod sessions;
#[path = "end_to_end/stream.rs"]
mod stream;

use bailiwick::{
    pb::{self, TaskState, session_request::Message as Up, task_event::Event},
    runtime::RuntimeOptions,
    service::server::ServerOptions,
};
use harness::{Stage, check, contract, result, soon, success, usage, why};
use tonic::Code;
use tonic_types::StatusExt as _;

const SUCCEEDED: i32 = TaskState::Succeeded as i32;

#[tokio::test]
async fn a_task_runs_from_submission_to_outcome() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(1).await;
    let task_id = stage.submit(contract("solver")).await;
    let work = worker.assignment().await;
    assert_eq!((work.task_id.as_str(), work.turn, work.attempt), (task_id.as_str(), 1, 1));
    assert_eq!(work.goal, "find the answer");
    assert!(work.allowance_tokens > 0 && work.deadline.is_some() && work.termination.is_some());
    let reported = worker.send(usage(&work.lease, 20)).await;
    worker.acked(reported).await;
    worker.complete(&work.lease, success("42")).await;

    let events = stage.events(&task_id, 0).await;
    let numbers: Vec<_> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=events.len() as i64).collect::<Vec<_>>());
    assert!(matches!(events[0].event, Some(Event::Submitted(_))), "{:?}", events[0]);
    assert!(matches!(events.last().and_then(|e| e.event.as_ref()), Some(Event::Ended(_))));
    assert_eq!(stage.events(&task_id, 2).await, events[2..]);

    let task = stage.task(&task_id).await;
    let outcome = task.outcome.expect("it has ended");
    assert_eq!((outcome.state, outcome.result), (SUCCEEDED, Some(result("42"))));
    let summary = task.summary.expect("it is sent");
    let ledger = summary.ledger.expect("it is sent");
    assert_eq!((ledger.spent_tokens, ledger.input_tokens, ledger.output_tokens), (42, 30, 12));
    assert_eq!(task.turns.len(), 1);
    assert_eq!(task.turns[0].worker_id, "w1");
    assert!(stage.shutdown().await);
}

#[tokio::test]
async fn a_contract_can_be_checked_without_submitting() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", &["solver"]).await;
    let check = |wire| {
        let request = pb::CheckContractRequest { contract: Some(wire) };
        let mut tasks = stage.tasks();
        async move { tasks.check_contract(request).await.expect("it answers").into_inner() }
    };
    let good = check(contract("solver")).await;
    assert_eq!((good.violations.len(), good.points.len(), good.modes.len()), (0, 10, 14));
    let effective = good.effective.expect("every default is shown");
    assert_eq!(effective.limits.and_then(|limits| limits.max_hops), Some(12));
    let bad = check(pb::Contract { goal: String::new(), ..contract("solver") }).await;
    let fields: Vec<_> = bad.violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!((fields, bad.effective), (vec!["goal"], None));
    let none = stage.tasks().list_tasks(pb::ListTasksRequest::default()).await.expect("it answers");
    assert!(none.into_inner().tasks.is_empty());
}

#[tokio::test]
async fn one_key_is_one_task() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", &["solver"]).await;
    let keyed = pb::Contract { idempotency_key: "order-17".into(), ..contract("solver") };
    let first = stage.try_submit(keyed.clone()).await.expect("it is accepted");
    let again = stage.try_submit(keyed.clone()).await.expect("it is accepted");
    assert_eq!((first.existing, again.existing, &again.task_id), (false, true, &first.task_id));
    let other = pb::Contract { goal: "something else".into(), ..keyed };
    let status = check(stage.try_submit(other).await, Code::AlreadyExists, "KEY_TAKEN");
    let info = status.get_details_error_info().expect("always there");
    assert_eq!(info.metadata["task_id"], first.task_id);
}

#[tokio::test]
async fn a_cancel_ends_the_task_and_fences_its_worker() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(1).await;
    let task_id = stage.submit(contract("solver")).await;
    let work = worker.assignment().await;
    let cancel = || {
        let request = pb::CancelTaskRequest { task_id: task_id.clone(), reason: "not needed".into() };
        let mut tasks = stage.tasks();
        async move { tasks.cancel_task(request).await.expect("it is there").into_inner() }
    };
    let cancelled = cancel().await;
    assert!(!cancelled.already_ended);
    assert_eq!(cancelled.summary.map(|s| s.state), Some(TaskState::Cancelled as i32));
    let told = worker.cancel().await;
    assert_eq!((told.lease.as_str(), told.cause), (work.lease.as_str(), pb::Cause::Cancelled as i32));

    let late = worker.send(harness::complete(&work.lease, success("late"))).await;
    let refusal = worker.refused(late).await;
    assert_eq!((refusal.reason.as_str(), refusal.lease.as_str()), ("LEASE_NOT_LIVE", work.lease.as_str()));
    let late = worker.send(usage(&work.lease, 70)).await;
    worker.acked(late).await;
    assert!(cancel().await.already_ended);
    let ledger = stage.task(&task_id).await.summary.and_then(|s| s.ledger).expect("it is sent");
    assert!(ledger.spent_tokens >= 70, "usage is never refused: {ledger:?}");
}

#[tokio::test]
async fn a_plan_runs_its_steps_and_the_planner_reads_them() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["planner", "reader"]).await;
    worker.credit(4).await;
    let task_id = stage.submit(contract("planner")).await;
    let first = worker.assignment().await;
    let step = |id: &str, needs: &[&str]| pb::Step {
        id: id.into(),
        agent: "reader".into(),
        max_tokens: 500,
        depends_on: needs.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    let delegate = |steps| {
        let plan = Some(pb::Plan { steps, ..Default::default() });
        let directive = Some(pb::status_envelope::Directive::Delegate(pb::Delegate { plan }));
        pb::StatusEnvelope { result: None, directive, ..success("") }
    };
    // A plan with a cycle is the model's mistake: it gets a correction turn, not an error.
    worker.complete(&first.lease, delegate(vec![step("a", &["b"]), step("b", &["a"])])).await;
    let corrected = worker.assignment().await;
    assert!(corrected.notes.iter().any(|note| note.contains("cycle")), "{:?}", corrected.notes);
    worker.complete(&corrected.lease, delegate(vec![step("a", &[]), step("b", &["a"])])).await;
    for id in ["a", "b"] {
        let work = worker.assignment().await;
        assert_eq!((work.step_id.as_str(), work.agent.as_str()), (id, "reader"));
        if id == "b" {
            assert_eq!(work.lineage.first().map(|entry| entry.id.as_str()), Some("a"));
        }
        worker.complete(&work.lease, success(id)).await;
        worker.credit(1).await;
    }
    let last = worker.assignment().await;
    let read: Vec<_> = last.lineage.iter().map(|entry| entry.id.as_str()).collect();
    assert!(read.contains(&"a") && read.contains(&"b"), "{read:?}");
    worker.complete(&last.lease, success("both")).await;
    assert_eq!(stage.outcome(&task_id).await.state, SUCCEEDED);
    let steps: Vec<_> = stage
        .events(&task_id, 0)
        .await
        .into_iter()
        .filter_map(|e| match e.event {
            Some(Event::TurnOpened(opened)) if !opened.step_id.is_empty() => Some(opened.step_id),
            _ => None,
        })
        .collect();
    assert_eq!(steps, ["a", "b"]);
}

#[tokio::test]
async fn a_person_approves_what_the_gate_refused() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(1).await;
    let gate = pb::Gate { min_confidence: 0.8, max_revisions: Some(0), ..Default::default() };
    let task_id = stage.submit(pb::Contract { gate: Some(gate), ..contract("solver") }).await;
    let work = worker.assignment().await;
    worker.complete(&work.lease, pb::StatusEnvelope { confidence: Some(0.3), ..success("perhaps") }).await;
    let watched = pb::WatchTaskRequest { task_id: task_id.clone(), after_seq: 0 };
    let mut watch = stage.tasks().watch_task(watched).await.expect("it is there").into_inner();
    let asked = loop {
        let next = soon("the question", watch.message()).await.expect("no error").expect("it goes on");
        if let Some(Event::Escalated(asked)) = next.event.and_then(|event| event.event) {
            break asked.escalation.expect("it is sent");
        }
    };
    assert_eq!((asked.goal.as_str(), asked.candidate), ("find the answer", Some(result("perhaps"))));
    let list = || {
        let mut operator = stage.operator();
        let request = pb::ListEscalationsRequest::default();
        async move { operator.list_escalations(request).await.expect("it answers").into_inner().escalations }
    };
    let open = list().await;
    assert_eq!(open.iter().map(|e| &e.escalation_id).collect::<Vec<_>>(), [&asked.escalation_id]);
    let answer = |answer: pb::Answer| {
        let request = pb::AnswerEscalationRequest {
            escalation_id: asked.escalation_id.clone(),
            answer: answer as i32,
            answered_by: "ada".into(),
            note: "good enough".into(),
            ..Default::default()
        };
        let mut operator = stage.operator();
        async move { operator.answer_escalation(request).await }
    };
    let approved = answer(pb::Answer::Approve).await.expect("it is open").into_inner();
    let approved = approved.escalation.expect("it is sent");
    assert_eq!(
        (approved.state, approved.answered_by.as_str()),
        (pb::EscalationState::Approved as i32, "ada")
    );
    let outcome = stage.outcome(&task_id).await;
    assert_eq!((outcome.state, outcome.ended_by), (SUCCEEDED, pb::EndedBy::Human as i32));
    check(answer(pb::Answer::Abort).await, Code::FailedPrecondition, "ESCALATION_CLOSED");
    assert!(list().await.is_empty());
}

#[tokio::test]
async fn lists_are_paged_and_filtered() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", &["solver"]).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let labels = [("n".to_owned(), (n % 2).to_string())].into();
        ids.push(stage.submit(pb::Contract { labels, ..contract("solver") }).await);
    }
    ids.reverse();
    let list = |request| {
        let mut tasks = stage.tasks();
        async move { tasks.list_tasks(request).await.map(tonic::Response::into_inner) }
    };
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListTasksRequest { page_size: 2, page_token: token.clone(), ..Default::default() };
        let page = list(request).await.expect("it answers");
        assert!(page.tasks.len() <= 2);
        seen.extend(page.tasks.into_iter().map(|task| task.task_id));
        if page.next_page_token.is_empty() {
            break;
        }
        token = page.next_page_token;
    }
    assert_eq!(seen, ids, "newest first, each once");
    let odd =
        pb::ListTasksRequest { labels: [("n".to_owned(), "1".to_owned())].into(), ..Default::default() };
    assert_eq!(list(odd.clone()).await.expect("it answers").tasks.len(), 2);
    let foreign = pb::ListTasksRequest { page_token: token, ..odd };
    check(list(foreign).await, Code::InvalidArgument, "INVALID_MESSAGE");
}

#[tokio::test]
async fn the_trace_of_the_submitter_goes_on_in_the_worker() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(1).await;
    let mut request = tonic::Request::new(pb::SubmitTaskRequest {
        contract: Some(contract("solver")),
        parent_lease: String::new(),
    });
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.metadata_mut().insert("traceparent", parent.parse().expect("ASCII"));
    request.metadata_mut().insert("tracestate", "vendor=1".parse().expect("ASCII"));
    let task_id = stage.tasks().submit_task(request).await.expect("it is accepted").into_inner().task_id;
    let work = worker.assignment().await;
    assert!(work.traceparent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{}", work.traceparent);
    assert_ne!(work.traceparent, parent, "the attempt's own span is the parent");
    assert_eq!(work.tracestate, "vendor=1");
    let task = stage.task(&task_id).await;
    assert_eq!(
        (task.trace_id.as_str(), task.traceparent.as_str()),
        ("4bf92f3577b34da6a3ce929d0e0e4736", parent)
    );
}

#[tokio::test]
async fn a_full_server_says_when_to_come_back() {
    let runtime = RuntimeOptions { max_open_tasks: 1, ..Default::default() };
    let stage = Stage::with(runtime, ServerOptions::default()).await;
    let _worker = stage.worker("w1", &["solver"]).await;
    stage.submit(contract("solver")).await;
    let status = check(stage.try_submit(contract("solver")).await, Code::ResourceExhausted, "OVERLOADED");
    let wait = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(wait.is_some_and(|wait| !wait.is_zero()));
}

#[tokio::test]
async fn agents_and_workers_are_listed() {
    let stage = Stage::new().await;
    let worker = stage.worker("w1", &["solver", "writer"]).await;
    let agents = stage.operator().list_agents(pb::ListAgentsRequest {}).await.expect("it answers");
    let names: Vec<_> =
        agents.into_inner().agents.into_iter().filter_map(|a| a.spec).map(|spec| spec.name).collect();
    assert_eq!(names, ["solver", "writer"]);
    let workers = stage.operator().list_workers(pb::ListWorkersRequest {}).await.expect("it answers");
    let ids: Vec<_> = workers.into_inner().workers.into_iter().map(|worker| worker.worker_id).collect();
    assert_eq!(ids, ["w1"]);
    assert_eq!(worker.registered.max_concurrency, 64);
}

#[tokio::test]
async fn a_shutdown_tells_everybody_and_ends_every_stream() {
    let stage = Stage::with(
        RuntimeOptions::default(),
        ServerOptions { drain: std::time::Duration::from_millis(50), ..Default::default() },
    )
    .await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(1).await;
    stage.submit(contract("solver")).await;
    let work = worker.assignment().await;
    let waits = stage.submit(contract("solver")).await;
    let watched = pb::WatchTaskRequest { task_id: waits, after_seq: 0 };
    let mut watch = stage.tasks().watch_task(watched).await.expect("it is there").into_inner();
    let watched = tokio::spawn(async move {
        loop {
            match watch.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without a word"),
                Err(status) => return status,
            }
        }
    });
    let heard = tokio::spawn(async move {
        let told = match worker.next().await {
            Ok(Some(pb::session_response::Message::Drain(drain))) => drain.grace.is_some(),
            other => panic!("Drain comes first, not {other:?}"),
        };
        // What is under way may still be answered.
        worker.complete(&work.lease, success("just in time")).await;
        (told, worker.ended().await)
    });
    assert!(stage.shutdown().await);
    let (told, ended) = soon("the worker", heard).await.expect("it does not panic");
    assert!(told);
    assert_eq!(why(&ended), (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
    let ended = soon("the watcher", watched).await.expect("it does not panic");
    assert_eq!(ended.code(), Code::Unavailable, "{ended:?}");
}

#[tokio::test]
async fn health_and_reflection_are_served() {
    use tonic_health::pb::{
        HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
    };
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let stage = Stage::new().await;
    for service in ["", "bailiwick.v1.TaskService", "bailiwick.v1.WorkerService"] {
        let request = HealthCheckRequest { service: service.into() };
        let health = HealthClient::new(stage.channel.clone()).check(request).await.expect("it answers");
        assert_eq!(health.into_inner().status(), ServingStatus::Serving, "{service}");
    }
    let request = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut answers = ServerReflectionClient::new(stage.channel.clone())
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .expect("it answers")
        .into_inner();
    let answer = soon("the services", answers.message()).await.expect("no error").expect("one answer");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("not a list: {answer:?}")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for service in ["TaskService", "OperatorService", "WorkerService"] {
        assert!(names.contains(&format!("bailiwick.v1.{service}").as_str()), "{names:?}");
    }
}

/// An empty heartbeat.
fn heartbeat() -> Up {
    Up::Heartbeat(pb::Heartbeat {})
}

/// A hundred submits under one key, over several connections: one task, whoever comes first.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_submits_under_one_key_make_one_task() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", &["solver"]).await;
    let keyed = |hops| {
        let limits = pb::Limits { max_hops: hops, ..contract("solver").limits.unwrap_or_default() };
        pb::Contract { idempotency_key: "order-9".into(), limits: Some(limits), ..contract("solver") }
    };
    let mut racing = tokio::task::JoinSet::new();
    for n in 0..100 {
        let url = format!("http://{}", stage.addr());
        // Half of them write a default out: they mean the same.
        let contract = Some(keyed((n % 2 == 0).then_some(12)));
        racing.spawn(async move {
            let channel = tonic::transport::Endpoint::from_shared(url).expect("a URL").connect_lazy();
            let mut client = pb::task_service_client::TaskServiceClient::new(channel);
            let request = pb::SubmitTaskRequest { contract, ..Default::default() };
            client.submit_task(request).await.expect("accepted").into_inner()
        });
    }
    let made = soon("all of them", racing.join_all()).await;
    assert_eq!(made.iter().filter(|made| !made.existing).count(), 1);
    assert!(made.iter().all(|each| each.task_id == made[0].task_id));
    let listed = stage.tasks().list_tasks(pb::ListTasksRequest::default()).await.expect("it lists");
    assert_eq!(listed.into_inner().tasks.len(), 1);

    let refused = check(stage.try_submit(keyed(Some(3))).await, Code::AlreadyExists, "KEY_TAKEN");
    let info = refused.get_details_error_info().expect("details");
    assert_eq!(info.metadata["task_id"], made[0].task_id);
    assert_eq!(info.metadata["differs"], "limits.max_hops: 12 -> 3");
}
