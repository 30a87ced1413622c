//! The cases, in the order they are played: what they are called, what they ask of a worker, and who plays them.
//! docs/conformance.md says the same for people, and a test holds the two together.

mod children;
mod delivery;
mod leases;
mod lost;
mod session;
mod terms;
mod turns;

use std::{future::Future, pin::Pin};

use super::stage::{Stage, Verdict};

type Play = for<'a> fn(&'a mut Stage) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// A case, as it is listed.
#[derive(Clone, Copy, Debug)]
pub struct CaseInfo {
    /// Its name, for `--only`.
    pub name: &'static str,
    /// What it asks of a worker, in a sentence.
    pub what: &'static str,
}

/// A case, as it is played.
pub(super) struct Case {
    pub(super) info: CaseInfo,
    /// Whether it begins with a worker process of its own that has not registered yet.
    pub(super) fresh: bool,
    pub(super) play: Play,
}

/// Every case, in the order they are played.
pub fn list() -> Vec<CaseInfo> {
    ALL.iter().map(|case| case.info).collect()
}

const fn case(name: &'static str, what: &'static str, play: Play) -> Case {
    Case { info: CaseInfo { name, what }, fresh: false, play }
}

const fn fresh(name: &'static str, what: &'static str, play: Play) -> Case {
    Case { info: CaseInfo { name, what }, fresh: true, play }
}

/// See [`list`]. Those that end the process come last.
pub(super) const ALL: &[Case] = &[
    fresh("register", "registers first, validly, and says nothing more before Registered", |s| {
        Box::pin(session::register(s))
    }),
    case(
        "credit",
        "asks for max_concurrency assignments, never for more, and again as answers are acknowledged",
        |s| Box::pin(session::credit(s)),
    ),
    case("concurrency", "runs no more than max_concurrency attempts at once, even if it is sent more", |s| {
        Box::pin(session::concurrency(s))
    }),
    case("heartbeat", "sends heartbeats on time while a handler works", |s| Box::pin(session::heartbeat(s))),
    case("answer", "answers with status, result, confidence, inputs_used and usage", |s| {
        Box::pin(turns::answer(s))
    }),
    case("score", "passes a score on, and none where none was said", |s| Box::pin(terms::score(s))),
    case("revision", "shows the handler why its answer came back", |s| Box::pin(terms::revision(s))),
    case("step", "shows the handler its step, and hands off from it", |s| Box::pin(terms::step(s))),
    case("termination", "shows the handler what will count as done", |s| Box::pin(terms::termination(s))),
    case("partial-and-failed", "answers PARTIAL and FAILED with their reasons", |s| {
        Box::pin(turns::partial_and_failed(s))
    }),
    case("directives", "hands off and asks a person", |s| Box::pin(turns::directives(s))),
    case("context", "gives the handler attempt, notes, allowance and idempotency key", |s| {
        Box::pin(turns::context(s))
    }),
    case("progress", "reports steps and partial results while it works", |s| Box::pin(turns::progress(s))),
    case("usage", "reports usage as it grows, cumulatively, and in the answer", |s| {
        Box::pin(turns::usage(s))
    }),
    case("budget-granted", "asks for budget and works on with what is granted", |s| {
        Box::pin(turns::budget_granted(s))
    }),
    case("budget-denied", "takes a denial and works on", |s| Box::pin(turns::budget_denied(s))),
    case("budget-lost", "asks for budget again when the connection breaks before the answer", |s| {
        Box::pin(lost::budget(s))
    }),
    case("lineage", "fetches every page of the lineage when an assignment carries only part of it", |s| {
        Box::pin(turns::lineage(s))
    }),
    case("traceparent", "continues the trace: same trace id, a span id of its own", |s| {
        Box::pin(turns::traceparent(s))
    }),
    case("decide", "answers a decide turn with a decision", |s| Box::pin(turns::decide(s))),
    case("trips", "shows the owner what tripped, with the evidence", |s| Box::pin(terms::trips(s))),
    case("validate", "answers a validate turn with a verdict on the candidate", |s| {
        Box::pin(turns::validate(s))
    }),
    case("error", "turns a handler's error into FAILED, not retryable", |s| Box::pin(turns::error(s))),
    case("retryable-error", "turns a technical error into FAILED, retryable", |s| {
        Box::pin(turns::retryable_error(s))
    }),
    case("cancel", "stops at once on Cancel: no answer, the last usage sent, the slot free again", |s| {
        Box::pin(leases::cancel(s))
    }),
    case("repetition", "stops streaming when a guard cancels it", |s| Box::pin(leases::repetition(s))),
    case("child", "submits a task under its lease and waits for its outcome", |s| {
        Box::pin(children::child(s))
    }),
    case("child-refused", "lets the handler go on when its child is refused", |s| {
        Box::pin(children::child_refused(s))
    }),
    case("child-cancel", "ends the wait for a child when the attempt is cancelled", |s| {
        Box::pin(children::child_cancel(s))
    }),
    case("duplicate-assignment", "runs an assignment once even if it comes twice", |s| {
        Box::pin(delivery::duplicate_assignment(s))
    }),
    case("unknown-message", "ignores what it does not know and goes on", |s| {
        Box::pin(delivery::unknown_message(s))
    }),
    case("refusal-retryable", "sends a refused answer again after retry_after", |s| {
        Box::pin(delivery::refusal_retryable(s))
    }),
    case("refusal-final", "drops an answer that is refused for good", |s| {
        Box::pin(delivery::refusal_final(s))
    }),
    case("refusal-invalid", "answers FAILED, once, in place of an answer that the server cannot take", |s| {
        Box::pin(delivery::refusal_invalid(s))
    }),
    case("resend", "keeps an answer until its Ack: claims its lease and sends it again after a cut", |s| {
        Box::pin(delivery::resend(s))
    }),
    case("reconnect", "comes back after a cut, claims its leases, and finishes the turn", |s| {
        Box::pin(leases::reconnect(s))
    }),
    case("superseded", "comes back as well when the server ends the session with an error", |s| {
        Box::pin(leases::superseded(s))
    }),
    case("lease-not-live", "stops what the server no longer calls live after a reconnect", |s| {
        Box::pin(leases::not_live(s))
    }),
    case("lease-lapsed", "stops by its own clock when nothing got through for the lease time", |s| {
        Box::pin(leases::lapsed(s))
    }),
    case("backoff", "tries again with growing waits when the server refuses sessions", |s| {
        Box::pin(session::backoff(s))
    }),
    case("backoff-restart", "begins again with short waits after a session that lasted", |s| {
        Box::pin(session::backoff_restart(s))
    }),
    case("register-unanswered", "gives a session up on which Register is not answered", |s| {
        Box::pin(lost::registered(s))
    }),
    case("server-drain", "gives no credit once the server drains, finishes, and comes back", |s| {
        Box::pin(session::server_drain(s))
    }),
    case("sigterm", "drains on SIGTERM: finishes, waits for the Ack, exits 0", |s| {
        Box::pin(session::sigterm(s))
    }),
    case("drain-crossing", "turns work away that crosses its Drain, and spoils no decide turn", |s| {
        Box::pin(lost::crossing(s))
    }),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_its_own_name_and_stands_in_the_document() {
        let page = include_str!("../../docs/conformance.md");
        let names: BTreeSet<_> = list().iter().map(|c| c.name).collect();
        assert_eq!(names.len(), ALL.len());
        for name in names {
            assert!(page.contains(&format!("| `{name}` |")), "docs/conformance.md does not name {name}");
        }
    }
}
