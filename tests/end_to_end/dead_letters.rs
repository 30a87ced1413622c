//! Dead letters over real gRPC: listed, redriven with changed limits, discarded, one and many.

use bailiwick::{
    pb::{self, DeadLetterState, TaskState},
    runtime::RuntimeOptions,
    service::server::ServerOptions,
    types::time::Span,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{Session, Stage, check, contract, success};

/// A contract whose first attempt is its last.
fn fragile(agent: &str) -> pb::Contract {
    let limits = pb::Limits { max_attempts: 1, ..contract(agent).limits.unwrap_or_default() };
    pb::Contract { limits: Some(limits), ..contract(agent) }
}

fn broken() -> pb::StatusEnvelope {
    pb::StatusEnvelope {
        status: pb::Status::Failed as i32,
        retryable: true,
        reason: "the model is down".into(),
        usage: Some(pb::Usage { input_tokens: 7, ..Default::default() }),
        ..Default::default()
    }
}

/// Submits a task that dies with its only attempt.
async fn dies(stage: &Stage, worker: &mut Session, contract: pb::Contract) -> String {
    let task_id = stage.submit(contract).await;
    worker.credit(1).await;
    let work = worker.assignment().await;
    worker.complete(&work.lease, broken()).await;
    let outcome = stage.outcome(&task_id).await;
    assert_eq!(outcome.state, TaskState::DeadLettered as i32, "{outcome:?}");
    task_id
}

async fn stage() -> (Stage, Session) {
    let runtime = RuntimeOptions { lease_time: Span::from_secs(30), ..RuntimeOptions::default() };
    let stage = Stage::with(runtime, ServerOptions::default()).await;
    let worker = stage.worker("w1", &["solver", "helper"]).await;
    (stage, worker)
}

fn terms(changes: pb::Contract, paths: &[&str]) -> pb::RedriveTerms {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    let change_mask = Some(prost_types::FieldMask { paths });
    pb::RedriveTerms { changes: Some(changes), change_mask, by: "ada".into(), note: "the model is up".into() }
}

fn hops(max_hops: i32) -> pb::Contract {
    let limits = pb::Limits { max_hops: Some(max_hops), ..Default::default() };
    pb::Contract { limits: Some(limits), ..Default::default() }
}

async fn redrive(
    stage: &Stage,
    task_id: &str,
    terms: pb::RedriveTerms,
    dry_run: bool,
) -> Result<pb::DeadLetterResult, Status> {
    let request = pb::RedriveDeadLetterRequest { task_id: task_id.into(), terms: Some(terms), dry_run };
    let answer = stage.operator().redrive_dead_letter(request).await?.into_inner();
    Ok(answer.result.expect("it is sent"))
}

async fn discard(stage: &Stage, task_id: &str) -> Result<bool, Status> {
    let request =
        pb::DiscardDeadLetterRequest { task_id: task_id.into(), by: "bob".into(), note: "a test".into() };
    Ok(stage.operator().discard_dead_letter(request).await?.into_inner().already_discarded)
}

async fn list(stage: &Stage, request: pb::ListDeadLettersRequest) -> Vec<pb::DeadLetter> {
    stage.operator().list_dead_letters(request).await.expect("it lists").into_inner().dead_letters
}

async fn letter(stage: &Stage, task_id: &str) -> pb::DeadLetter {
    let request = pb::GetDeadLetterRequest { task_id: task_id.into() };
    let answer = stage.operator().get_dead_letter(request).await.expect("it is there");
    answer.into_inner().dead_letter.expect("it is sent")
}

#[tokio::test]
async fn a_dead_letter_tells_its_story_and_is_redriven_with_changed_limits() {
    let (stage, mut worker) = stage().await;
    let keyed = pb::Contract { idempotency_key: "order-7".into(), ..fragile("solver") };
    let task_id = dies(&stage, &mut worker, keyed.clone()).await;
    let listed = list(&stage, pb::ListDeadLettersRequest::default()).await;
    let [listed] = listed.as_slice() else { panic!("{listed:?}") };
    let attempt = &listed.attempts[0];
    assert_eq!((attempt.worker_id.as_str(), attempt.spent_tokens), ("w1", 7));
    assert!(attempt.reason.contains("the model is down"), "{attempt:?}");
    let plan = listed.redrive.as_ref().expect("it says what a redrive would do");
    assert!(plan.possible && plan.granted_tokens == 10_000 && plan.notes.is_empty(), "{plan:?}");
    assert!(letter(&stage, &task_id).await.task.expect("the full story").contract.is_some());

    let dry = redrive(&stage, &task_id, terms(hops(3), &["limits.max_hops"]), true).await.expect("it fits");
    let plan = dry.plan.expect("what would be done");
    assert_eq!(plan.changes, ["limits.max_hops: 12 -> 3"]);
    assert_eq!(letter(&stage, &task_id).await.status.expect("it is sent").state(), DeadLetterState::Open);

    let made = redrive(&stage, &task_id, terms(hops(3), &["limits.max_hops"]), false).await.expect("it fits");
    assert_eq!((made.successor_task_id.as_str(), made.existing), (dry.successor_task_id.as_str(), false));
    let again =
        redrive(&stage, &task_id, terms(hops(3), &["limits.max_hops"]), false).await.expect("the same");
    assert_eq!(again, pb::DeadLetterResult { existing: true, ..made.clone() });

    worker.credit(1).await;
    let work = worker.assignment().await;
    assert_eq!(work.task_id, made.successor_task_id);
    let notes = work.notes.join("\n");
    assert!(
        notes.contains(&task_id) && notes.contains("the model is up") && notes.contains("the model is down")
    );
    worker.complete(&work.lease, success("42")).await;
    let successor = stage.task(&made.successor_task_id).await;
    assert_eq!(successor.redrives.expect("it is linked").task_id, task_id);
    let limits = successor.contract.and_then(|contract| contract.limits).expect("it is sent");
    assert_eq!((limits.max_hops, limits.max_attempts), (Some(3), 1));
    let status = stage.task(&task_id).await.dead_letter.expect("a dead letter");
    assert_eq!((status.redriven_as, status.by.as_str()), (made.successor_task_id.clone(), "ada"));

    // The key stays the dead letter's: whoever submits again learns what became of it.
    let submitted = stage.try_submit(keyed).await.expect("the same contract");
    assert_eq!((submitted.task_id, submitted.existing), (task_id.clone(), true));

    let other = redrive(&stage, &task_id, terms(hops(4), &["limits.max_hops"]), false).await;
    let refused = check(other, Code::FailedPrecondition, "DEAD_LETTER_SETTLED");
    let info = refused.get_details_error_info().expect("details");
    assert_eq!(info.metadata["task_id"], made.successor_task_id);
    check(discard(&stage, &task_id).await, Code::FailedPrecondition, "DEAD_LETTER_SETTLED");
    assert!(list(&stage, pb::ListDeadLettersRequest::default()).await.is_empty());
    let all = pb::ListDeadLettersRequest { all_states: true, ..Default::default() };
    assert_eq!(list(&stage, all).await.len(), 1);
    assert!(stage.shutdown().await);
}

#[tokio::test]
async fn a_redrive_is_validated_as_any_submission_every_fault_at_once() {
    let (stage, mut worker) = stage().await;
    let task_id = dies(&stage, &mut worker, fragile("solver")).await;
    let wrong = pb::Contract {
        owner: "nobody".into(),
        limits: Some(pb::Limits { max_turns: -1, ..Default::default() }),
        ..Default::default()
    };
    let refused = redrive(&stage, &task_id, terms(wrong, &["owner", "limits.max_turns"]), false).await;
    let refused = check(refused, Code::InvalidArgument, "CONTRACT_REFUSED");
    let details = refused.get_details_bad_request().expect("each fault");
    let fields: Vec<_> = details.field_violations.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["limits.max_turns", "owner"]);

    let unknown = terms(pb::Contract::default(), &["limits.max_hop", "idempotency_key"]);
    let unknown = pb::RedriveTerms { by: String::new(), ..unknown };
    let refused =
        check(redrive(&stage, &task_id, unknown, false).await, Code::InvalidArgument, "INVALID_MESSAGE");
    assert!(refused.message().contains("limits.max_hop") && refused.message().contains("terms.by"));

    // A budget that grows takes with it what was derived from it.
    let budget = pb::Contract {
        budget: Some(pb::Budget { max_tokens: 100_000, ..Default::default() }),
        ..Default::default()
    };
    let made =
        redrive(&stage, &task_id, terms(budget, &["budget.max_tokens"]), false).await.expect("it fits");
    let task = stage.task(&made.successor_task_id).await;
    let budget = task.contract.and_then(|contract| contract.budget).expect("it is sent");
    assert_eq!(budget.finalization_reserve_tokens, 10_000, "{budget:?}");
    let running = redrive(&stage, &made.successor_task_id, terms(hops(1), &[]), false).await;
    check(running, Code::FailedPrecondition, "NOT_A_DEAD_LETTER");
    let nobody = "01890000-0000-7000-8000-000000000000";
    check(redrive(&stage, nobody, terms(hops(1), &[]), false).await, Code::NotFound, "TASK_NOT_FOUND");
    check(discard(&stage, nobody).await, Code::NotFound, "TASK_NOT_FOUND");
}

#[tokio::test]
async fn many_are_redriven_and_discarded_by_filter_page_by_page() {
    let (stage, mut worker) = stage().await;
    let labelled = |team: &str| pb::Contract {
        labels: [("team".to_owned(), team.to_owned())].into(),
        namespace: format!("of-{team}"),
        ..fragile("solver")
    };
    for team in ["a", "a", "b", "a"] {
        dies(&stage, &mut worker, labelled(team)).await;
    }
    let filter =
        pb::DeadLetterFilter { labels: [("team".to_owned(), "a".to_owned())].into(), ..Default::default() };
    let of = |namespace: &str| pb::ListDeadLettersRequest {
        filter: Some(pb::DeadLetterFilter { namespace: namespace.into(), ..Default::default() }),
        ..Default::default()
    };
    assert_eq!(list(&stage, of("of-b")).await.len(), 1);
    assert!(list(&stage, of("default")).await.is_empty());
    let refused = stage.operator().list_dead_letters(of("No Name")).await.map(drop);
    check(refused, Code::InvalidArgument, "INVALID_MESSAGE");
    let mut request = pb::RedriveDeadLettersRequest {
        filter: Some(filter.clone()),
        terms: Some(terms(hops(2), &["limits.max_hops"])),
        page_size: 2,
        ..Default::default()
    };
    let mut results = Vec::new();
    loop {
        let page = stage.operator().redrive_dead_letters(request.clone()).await.expect("a page").into_inner();
        results.extend(page.results);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(results.len(), 3);
    assert!(results.iter().all(|result| result.refusal.is_none() && !result.existing), "{results:?}");
    let again = pb::RedriveDeadLettersRequest { page_token: String::new(), ..request };
    let again = stage.operator().redrive_dead_letters(again).await.expect("a page").into_inner();
    assert!(again.results.is_empty(), "what was done is done: {again:?}");

    let request = pb::DiscardDeadLettersRequest { by: "bob".into(), dry_run: true, ..Default::default() };
    let would = stage.operator().discard_dead_letters(request.clone()).await.expect("a page").into_inner();
    let done = pb::DiscardDeadLettersRequest { dry_run: false, ..request };
    let done = stage.operator().discard_dead_letters(done).await.expect("a page").into_inner();
    assert_eq!((would.results.len(), done.results), (1, would.results));
    assert!(list(&stage, pb::ListDeadLettersRequest::default()).await.is_empty());
    let discarded =
        pb::ListDeadLettersRequest { states: vec![DeadLetterState::Discarded as i32], ..Default::default() };
    assert_eq!(list(&stage, discarded).await.len(), 1);
    let too_many = pb::ListDeadLettersRequest { page_size: 101, ..Default::default() };
    let refused = stage.operator().list_dead_letters(too_many).await.map(drop);
    check(refused, Code::InvalidArgument, "INVALID_MESSAGE");
}

#[tokio::test]
async fn one_that_is_refused_does_not_stop_the_others() {
    let (stage, mut worker) = stage().await;
    let good = dies(&stage, &mut worker, fragile("solver")).await;
    let capped = pb::Contract {
        limits: Some(pb::Limits {
            max_turns: 5,
            max_attempts: 1,
            ..contract("solver").limits.unwrap_or_default()
        }),
        allowed_hand_offs: vec![pb::AllowedHandOff { from: "solver".into(), to: vec!["helper".into()] }],
        ..contract("solver")
    };
    let other = dies(&stage, &mut worker, capped).await;
    // A plan with an agent that nobody knows is refused for both; a discard of one then leaves the other.
    let wrong = pb::Contract { owner: "nobody".into(), ..Default::default() };
    let request =
        pb::RedriveDeadLettersRequest { terms: Some(terms(wrong, &["owner"])), ..Default::default() };
    let page = stage.operator().redrive_dead_letters(request).await.expect("a page").into_inner();
    assert_eq!(page.results.len(), 2);
    for result in &page.results {
        let refusal = result.refusal.as_ref().expect("refused");
        assert_eq!(
            (refusal.reason.as_str(), refusal.violations[0].field.as_str()),
            ("CONTRACT_REFUSED", "owner")
        );
    }
    assert!(!discard(&stage, &other).await.expect("discarded"), "for the first time");
    assert!(discard(&stage, &other).await.expect("harmless"), "it was discarded already");
    let open = list(&stage, pb::ListDeadLettersRequest::default()).await;
    let ids: Vec<_> =
        open.iter().filter_map(|letter| Some(letter.summary.as_ref()?.task_id.as_str())).collect();
    assert_eq!(ids, [good]);
}
