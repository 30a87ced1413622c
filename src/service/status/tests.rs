//! The map: every fault there is has a reason of its own, a code that fits it, and the details that code promises.

use std::collections::BTreeMap;

use tonic::Code;
use uuid::Uuid;

use super::*;
use crate::{
    engine::{command::ClosedQuestion, event::EscalationEnd},
    types::{
        halt::HaltScope,
        outcome::{Cause, TaskState},
        time::Timestamp,
    },
};

/// One of each. The match makes a new fault break the build here, so that it is added below.
fn every_fault() -> Vec<Fault> {
    let task = TaskId::from(Uuid::from_u128(7));
    let faults = vec![Violation { field: "goal".into(), description: "is missing".into() }];
    let rejections = [
        Rejection::LeaseUnknown,
        Rejection::LeaseNotLive("revoked".into()),
        Rejection::AlreadyAnswered,
        Rejection::NotADecideTurn,
        Rejection::TurnNotReady,
        Rejection::EscalationClosed(Box::new(closed(EscalationEnd::Approved, "ada"))),
        Rejection::NothingToApprove,
        Rejection::AmendmentRefused(vec!["/n: is no number".into()]),
        Rejection::ExtensionRefused(faults.clone()),
        Rejection::TaskEnded,
    ];
    let stores = [
        StoreError::Conflict { task, expected: 1, found: 2 },
        StoreError::Unavailable("full".into()),
        StoreError::Corrupt("odd".into()),
    ];
    let mut all = vec![
        Fault::ContractRefused(faults.clone()),
        Fault::InvalidMessage(faults),
        Fault::Undecodable("bad wire type".into()),
        Fault::TooLarge(4),
        Fault::UnknownMethod,
        Fault::RegisterFirst,
        Fault::AlreadyRegistered,
        Fault::MessageId(3),
        Fault::SessionEnded,
        Fault::SessionUnknown,
        Fault::TaskNotFound("no such task".into()),
        Fault::EscalationNotFound("no such question".into()),
        Fault::AgentNotFound("nobody".parse().expect("a valid name")),
        Fault::KeyTaken(task, vec!["owner: a -> b".to_owned()]),
        Fault::NamespaceFull {
            namespace: "team".parse().expect("a valid name"),
            limit: 2,
            retry_after: Span::from_secs(1),
        },
        Fault::Overloaded(Overloaded { retry_after: Span::from_millis(250), what: "full".into() }),
        Fault::ChaosForbidden,
        Fault::ChaosRunning("ada".into()),
        Fault::ChaosNotRunning,
        Fault::Injected,
        Fault::ShuttingDown,
        Fault::Halted(Arc::new(halt())),
        Fault::Halt(HaltError::TooMany),
        Fault::Halt(HaltError::NothingToLift),
    ];
    all.extend(rejections.map(Fault::Rejected));
    all.extend(stores.map(Fault::Store));
    all
}

fn halt() -> Halt {
    Halt {
        number: 3,
        scope: HaltScope::All,
        by: "ada".into(),
        reason: "the bill".into(),
        at: Timestamp(1_700_000_000_000_000),
        cancel: false,
        ended: 0,
        swept: false,
        burn: None,
        lifted: None,
    }
}

#[test]
fn whoever_is_kept_out_by_a_halt_is_told_who_halted_what_since_when_and_why() {
    let status = Fault::Halted(Arc::new(halt())).to_status();
    let said =
        "everything is halted by ada since 2023-11-14T22:13:20.000000Z (halt 3): the bill: nothing new";
    assert!(status.message().starts_with(said), "{}", status.message());
    let info = status.get_details_error_info().expect("always there");
    assert_eq!((info.reason.as_str(), info.metadata["halted_by"].as_str()), ("HALTED", "ada"));
}

fn closed(end: EscalationEnd, by: &str) -> ClosedQuestion {
    let (note, at) = (String::new(), Timestamp(1_700_000_000_000_000));
    let outcome = Some((TaskState::Partial, Cause::EscalationExpired));
    ClosedQuestion { end, by: by.into(), note, at, outcome }
}

#[test]
fn a_late_answer_is_told_who_was_first_when_and_how_or_what_the_default_answer_did() {
    let told = |end, by| {
        let status = Fault::Rejected(Rejection::EscalationClosed(Box::new(closed(end, by)))).to_status();
        let info = status.get_details_error_info().expect("ErrorInfo is always there");
        let get = |key: &str| info.metadata.get(key).cloned();
        (status.message().to_owned(), get("state"), get("answered_by"), get("answered_at"), get("task_state"))
    };
    let at = Some("2023-11-14T22:13:20Z".to_owned());
    let partial = Some("PARTIAL".to_owned());
    let (message, state, by, when, task) = told(EscalationEnd::Extended, "ada");
    assert_eq!(message, "the question is no longer open: ada extended the task (2023-11-14T22:13:20Z)");
    assert_eq!(
        (state, by, when, task),
        (Some("EXTENDED".into()), Some("ada".into()), at.clone(), partial.clone())
    );
    let (message, state, by, when, task) = told(EscalationEnd::Expired, "");
    assert!(message.contains("nobody answered in time") && message.contains("ended PARTIAL"), "{message}");
    assert_eq!((state, by, when, task), (Some("EXPIRED".into()), None, at, partial));
}

#[test]
fn every_fault_has_a_reason_of_its_own_and_the_details_its_code_promises() {
    let mut reasons = BTreeMap::new();
    for fault in every_fault() {
        let status = fault.to_status();
        let details = status.get_error_details();
        let info = details.error_info().expect("ErrorInfo is always there");
        assert_eq!(info.domain, DOMAIN);
        assert!(info.reason.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{}", info.reason);
        assert!(reasons.insert(info.reason.clone(), status.code()).is_none(), "twice: {}", info.reason);
        let retryable = details.retry_info().is_some();
        assert_eq!(info.metadata["retryable"], retryable.to_string());
        assert_eq!(details.resource_info().is_some(), status.code() == Code::NotFound, "{fault:?}");
        match status.code() {
            Code::Unavailable => assert!(retryable, "{fault:?}"),
            Code::ResourceExhausted => assert_eq!(retryable, info.reason != "MESSAGE_TOO_LARGE"),
            code => assert!(!retryable, "{code:?}: waiting does not help"),
        }
        let violations = status.code() == Code::InvalidArgument
            && !matches!(fault, Fault::Undecodable(_) | Fault::MessageId(_));
        assert_eq!(details.bad_request().is_some(), violations);
        assert!(!status.message().is_empty());
    }
    assert!(!reasons.contains_key("INTERNAL"));
}

#[test]
fn every_reason_is_in_the_documentation() {
    let text = include_str!("../../../docs/errors.md");
    for fault in every_fault() {
        let Verdict { code, reason, .. } = fault.verdict();
        let row = text.lines().find(|line| line.starts_with(&format!("| `{reason}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/errors.md has no row for {reason}"));
        let name = format!("{code:?}");
        let cell = row.split('|').nth(2).unwrap_or_default().replace('_', "").to_lowercase();
        assert!(cell.contains(&name.to_lowercase()), "{reason} is {name}: {row}");
    }
}

#[test]
fn a_refusal_says_what_the_status_says() {
    for fault in every_fault() {
        let (status, refusal) = (fault.to_status(), fault.to_refusal(5, None));
        assert_eq!(refusal.message_id, 5);
        assert_eq!(Code::from(refusal.code), status.code());
        assert_eq!(refusal.message, status.message());
        let info = status.get_details_error_info().expect("always there");
        assert_eq!(refusal.reason, info.reason);
        let wait = status.get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!(refusal.retryable, wait.is_some());
        assert_eq!(refusal.retry_after.is_some(), wait.is_some());
    }
}

#[test]
fn a_status_fits_into_headers_however_much_is_wrong() {
    let many: Vec<_> = (0..1_000)
        .map(|n| Violation { field: format!("plan.steps[{n}].agent"), description: "ü".repeat(2_000) })
        .collect();
    let status = Fault::ContractRefused(many).to_status();
    assert!(status.details().len() + status.message().len() < 6 << 10);
    let request = status.get_details_bad_request().expect("violations");
    let last = request.field_violations.last().expect("one at least");
    assert!(last.description.contains("more"), "{last:?}");
    let five: Vec<_> =
        (0..5).map(|n| Violation { field: format!("f{n}"), description: "what to write".into() }).collect();
    let request = Fault::ContractRefused(five).to_status().get_details_bad_request().expect("violations");
    assert_eq!(request.field_violations.len(), 5);
}
