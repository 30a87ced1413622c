//! Chaos runs at the server's edge, with real sessions: what fails, on which tasks, for how long, and what is kept of it.

use std::collections::BTreeMap;

use bailiwick::{
    pb::{self, session_response::Message as Down, task_event::Event},
    runtime::RuntimeOptions,
    service::server::ServerOptions,
};
use tonic::Code;

use super::harness::{Stage, check, complete, contract, register, success, usage};

fn labelled(agent: &str) -> pb::Contract {
    pb::Contract { labels: BTreeMap::from([("chaos".to_owned(), "on".to_owned())]), ..contract(agent) }
}

fn asked(faults: pb::ChaosFaults) -> pb::StartChaosRequest {
    pb::StartChaosRequest {
        started_by: "ada".to_owned(),
        labels: BTreeMap::from([("chaos".to_owned(), "on".to_owned())]),
        faults: Some(faults),
        seed: 7,
        ttl: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
    }
}

/// Starts a run; gives its id.
async fn start(stage: &Stage, faults: pb::ChaosFaults) -> String {
    let started = stage.operator().start_chaos(asked(faults)).await.expect("it is allowed");
    started.into_inner().run.expect("a run").run_id
}

/// Stops it; gives what it has done.
async fn stop(stage: &Stage, run_id: String) -> pb::ChaosTally {
    let request = pb::StopChaosRequest { run_id, brakes_received: 0 };
    let stopped = stage.operator().stop_chaos(request).await.expect("it is on");
    stopped.into_inner().run.and_then(|run| run.tally).expect("a tally")
}

fn answers(events: &[pb::TaskEvent]) -> usize {
    events.iter().filter(|event| matches!(event.event, Some(Event::TurnAnswered(_)))).count()
}

#[tokio::test]
async fn what_arrives_twice_takes_effect_once_and_other_tasks_see_nothing() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    let run = start(&stage, pb::ChaosFaults { duplicate: 1.0, ..Default::default() }).await;
    let id = stage.submit(labelled("solver")).await;
    worker.credit(1).await;
    let (first, second) = (worker.assignment().await, worker.assignment().await);
    assert_eq!((&first.lease, &first.task_id), (&second.lease, &id));
    worker.complete(&first.lease, success("42")).await;
    assert_eq!(answers(&stage.events(&id, 0).await), 1);

    let other = stage.submit(contract("solver")).await;
    worker.credit(1).await;
    let only = worker.assignment().await;
    assert_eq!(only.task_id, other);
    worker.complete(&only.lease, success("42")).await;
    let tally = stop(&stage, run).await;
    // The assignment and its answer; of the other task nothing.
    assert_eq!((tally.messages, tally.duplicated), (2, 2));
    stage.shutdown().await;
}

#[tokio::test]
async fn a_lease_that_is_lost_is_cancelled_and_fenced_and_the_turn_goes_on() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    let faults = pb::ChaosFaults {
        lose_lease: 1.0,
        delay_up_to: Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 }),
        ..Default::default()
    };
    let run = start(&stage, faults).await;
    let id = stage.submit(labelled("solver")).await;
    worker.credit(1).await;
    let lost = worker.assignment().await;
    assert_eq!(worker.cancel().await.lease, lost.lease);
    assert_eq!(stop(&stage, run).await.leases_lost, 1);
    let late = worker.send(complete(&lost.lease, success("too late"))).await;
    assert_eq!(worker.refused(late).await.reason, "LEASE_NOT_LIVE");
    worker.credit(1).await;
    let again = worker.assignment().await;
    assert_eq!((again.attempt, &again.idempotency_key), (2, &lost.idempotency_key));
    worker.complete(&again.lease, success("42")).await;
    let events = stage.events(&id, 0).await;
    let end = events.iter().find_map(|event| match &event.event {
        Some(Event::AttemptEnded(it)) => Some(it.end()),
        _ => None,
    });
    assert_eq!((end, answers(&events)), (Some(pb::AttemptEnd::LeaseExpired), 1));
    stage.shutdown().await;
}

#[tokio::test]
async fn what_is_lost_takes_the_session_with_it_and_comes_again_on_the_next() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    let run = start(&stage, pb::ChaosFaults { drop: 1.0, ..Default::default() }).await;
    let id = stage.submit(labelled("solver")).await;
    worker.credit(1).await;
    check(Err::<(), _>(worker.ended().await), Code::Aborted, "SESSION_ENDED");
    assert_eq!(stop(&stage, run).await.dropped, 1);
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(1).await;
    let assignment = worker.assignment().await;
    assert_eq!(assignment.attempt, 2, "the first was given back: nobody had heard of it");

    // An answer that is lost, or whose acknowledgement is: sent again, it counts once.
    let run = start(&stage, pb::ChaosFaults { kill_session: 1.0, ..Default::default() }).await;
    worker.send(complete(&assignment.lease, success("42"))).await;
    check(Err::<(), _>(worker.ended().await), Code::Aborted, "SESSION_ENDED");
    assert_eq!(stop(&stage, run).await.sessions_killed, 1);
    let held = vec![assignment.lease.clone()];
    let mut worker = super::harness::Session::open(stage.workers(), "w1", &["solver"], held).await;
    assert_eq!(
        worker.registered.live_leases,
        std::slice::from_ref(&assignment.lease),
        "its lease outlived the session"
    );
    worker.complete(&assignment.lease, success("42")).await;
    assert_eq!(answers(&stage.events(&id, 0).await), 1);
    stage.shutdown().await;
}

#[tokio::test]
async fn delays_keep_the_order_of_an_attempt_and_brakes_are_measured() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    let faults = pb::ChaosFaults {
        delay: 1.0,
        delay_up_to: Some(prost_types::Duration { seconds: 0, nanos: 20_000_000 }),
        ..Default::default()
    };
    let run = start(&stage, faults).await;
    let mut tight = labelled("solver");
    tight.escalation = Some(pb::EscalationPolicy { max_escalations: Some(0), ..Default::default() });
    stage.submit(tight).await;
    worker.credit(1).await;
    let assignment = worker.assignment().await;
    worker.send(usage(&assignment.lease, assignment.allowance_tokens)).await;
    worker.send(usage(&assignment.lease, assignment.allowance_tokens + 1)).await;
    let cancel = worker.cancel().await;
    assert_eq!((cancel.lease.as_str(), cancel.cause()), (assignment.lease.as_str(), pb::Cause::Budget));
    let renew = pb::RenewChaosRequest { run_id: run.clone(), ..Default::default() };
    let brakes = async {
        loop {
            let renewed = stage.operator().renew_chaos(renew.clone()).await.expect("it is on").into_inner();
            if let Some(brake) = renewed.brakes.first() {
                return *brake;
            }
            tokio::task::yield_now().await;
        }
    };
    let brake = super::harness::soon("a brake", brakes).await;
    assert!(brake.to_cancel_us > 0, "{brake:?}");
    let tally = stop(&stage, run).await;
    assert_eq!(tally.delayed, tally.messages);
    stage.shutdown().await;
}

#[tokio::test]
async fn a_worker_that_polls_meets_the_same() {
    let stage = Stage::new().await;
    let mut client = stage.workers();
    let register = Some(register("w1", &["solver"], Vec::new()));
    let session = client.register(pb::RegisterRequest { register }).await.expect("it registers").into_inner();
    let session_id = session.registered.expect("it is sent").session_id;
    let poll = |credit, received| pb::PollRequest {
        session_id: session_id.clone(),
        credit,
        wait: Some(prost_types::Duration { seconds: 20, nanos: 0 }),
        received_batch: Some(received),
    };
    let run = start(&stage, pb::ChaosFaults { drop: 1.0, ..Default::default() }).await;
    let id = stage.submit(labelled("solver")).await;
    check(client.poll(poll(1, 0)).await, Code::Unavailable, "INJECTED_FAILURE");
    stop(&stage, run).await;
    let again = client.poll(poll(1, 0)).await.expect("its batch comes again").into_inner();
    let Some(Down::Assignment(assignment)) = again.messages.into_iter().find_map(|down| down.message) else {
        panic!("an assignment comes first");
    };
    let run = start(&stage, pb::ChaosFaults { drop: 1.0, ..Default::default() }).await;
    let answer = Some(pb::complete::Answer::Envelope(success("42")));
    let complete = Some(pb::Complete { lease: assignment.lease.clone(), answer });
    let request = pb::CompleteTurnRequest { complete };
    check(client.complete_turn(request.clone()).await, Code::Unavailable, "INJECTED_FAILURE");
    stop(&stage, run).await;
    client.complete_turn(request).await.expect("sent again, it is there");
    assert_eq!(answers(&stage.events(&id, 0).await), 1);
    stage.shutdown().await;
}

#[tokio::test]
async fn a_run_is_refused_where_it_is_forbidden_doubled_or_about_everything() {
    let server = ServerOptions { forbid_chaos: true, ..ServerOptions::default() };
    let stage = Stage::with(RuntimeOptions::default(), server).await;
    let faults = pb::ChaosFaults { delay: 0.1, ..Default::default() };
    let refused = stage.operator().start_chaos(asked(faults)).await;
    check(refused, Code::PermissionDenied, "CHAOS_FORBIDDEN");
    let shown = stage.operator().get_chaos(pb::GetChaosRequest {}).await.expect("it says so").into_inner();
    assert!(shown.forbidden && shown.run.is_none());
    stage.shutdown().await;

    let stage = Stage::new().await;
    let everything = pb::StartChaosRequest { labels: BTreeMap::new(), ..asked(faults) };
    check(stage.operator().start_chaos(everything).await, Code::InvalidArgument, "INVALID_MESSAGE");
    let wild = asked(pb::ChaosFaults { drop: 1.5, ..Default::default() });
    check(stage.operator().start_chaos(wild).await, Code::InvalidArgument, "INVALID_MESSAGE");
    let run = start(&stage, faults).await;
    check(stage.operator().start_chaos(asked(faults)).await, Code::FailedPrecondition, "CHAOS_RUNNING");
    let shown = stage.operator().get_chaos(pb::GetChaosRequest {}).await.expect("it shows it").into_inner();
    assert_eq!(shown.run.map(|run| (run.run_id, run.started_by)), Some((run.clone(), "ada".to_owned())));
    stop(&stage, run.clone()).await;
    let over = pb::RenewChaosRequest { run_id: run, ..Default::default() };
    check(stage.operator().renew_chaos(over).await, Code::NotFound, "CHAOS_NOT_RUNNING");
    stage.shutdown().await;
}

#[tokio::test]
async fn point_ten_shows_the_last_verdict_of_the_crew() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", &["solver"]).await;
    let point = async || {
        let request = pb::CheckContractRequest { contract: Some(contract("solver")) };
        let checked = stage.tasks().check_contract(request).await.expect("it is judged").into_inner();
        checked.points.into_iter().find(|point| point.number == 10).expect("ten points")
    };
    let record = async |passed| {
        let request = pb::RecordChaosRequest {
            recorded_by: "ada".to_owned(),
            agents: vec!["solver".to_owned()],
            passed,
            run_id: "r1".to_owned(),
        };
        stage.operator().record_chaos(request).await.expect("it is kept");
    };
    assert_eq!(point().await.readiness(), pb::Readiness::Absent);
    record(true).await;
    let passed = point().await;
    assert_eq!(passed.readiness(), pb::Readiness::Enforced, "{}", passed.advice);
    record(false).await;
    let failed = point().await;
    assert!(
        failed.readiness() == pb::Readiness::Absent && failed.advice.contains("failed"),
        "{}",
        failed.advice
    );
    let stranger = pb::RecordChaosRequest {
        recorded_by: "ada".to_owned(),
        agents: vec!["stranger".to_owned()],
        passed: true,
        run_id: String::new(),
    };
    check(stage.operator().record_chaos(stranger).await, Code::InvalidArgument, "INVALID_MESSAGE");
    let shown = stage.operator().get_chaos(pb::GetChaosRequest {}).await.expect("it says so").into_inner();
    assert_eq!(shown.records.len(), 1);
    assert!(shown.records[0].passed_at.is_some() && shown.records[0].failed_at.is_some());
    stage.shutdown().await;
}
