//! What must hold at the end, when nothing has failed for a while: every task has one outcome, the books of the server and
//! those of everybody else agree to the token, nothing that was acknowledged is gone, and nothing is stuck.

use std::{sync::Arc, time::Duration};

use bailiwick::{
    engine::event::{AttemptEnd, Event},
    store::Store,
    types::{ids::TaskId, outcome::TaskState},
};
use tokio::task::JoinSet;

use crate::{
    attempt, client, contracts,
    laws::{Attempt, Case, Standing, record},
    silence,
    sim::Sim,
    tape::note,
    time::{now, sleep},
    worker::Spec,
};

/// After so long in calm a task that has not ended never will.
const PATIENCE: Duration = Duration::from_secs(3 * 3_600);
/// How soon everything that runs a probe must have one.
const SOON: Duration = Duration::from_secs(150);

/// Waits until every task has ended and has heard of its children.
pub(crate) async fn wait_for_ends(sim: &Sim, specs: &[Spec], failed: &impl Fn() -> bool) {
    let limit = now() + PATIENCE;
    loop {
        if failed() {
            return;
        }
        let open: Vec<TaskId> = {
            let laws = sim.laws();
            let is_open = |case: &&Case| case.ended.is_none() || case.task.summary().unsettled;
            laws.cases.values().filter(is_open).map(|case| case.task.id()).collect()
        };
        let unsubmitted = sim.books().tasks.len();
        if open.is_empty() && unsubmitted > 0 {
            return;
        }
        assert!(now() < limit, "these tasks never end: {open:?}");
        sleep(Duration::from_secs(1)).await;
        silence::look(sim, specs);
    }
}

/// When nothing has failed for longer than a lease lasts, every lease that is live is somebody's: whoever was to have it has
/// it, and works.
pub(crate) fn no_ghosts(sim: &Sim) {
    let (laws, books) = (sim.laws(), sim.books());
    for attempt in laws.cases.values().flat_map(|case| case.attempts.values()) {
        let is_ghost = attempt.standing == Standing::Live && !books.leases.contains_key(&attempt.lease);
        let young = attempt.since + Duration::from_secs(30) > now();
        assert!(!is_ghost || young, "nobody has {}, and it lives on", attempt.lease);
    }
}

/// Every worker says once more what it has used.
pub(crate) async fn settle(sim: &Arc<Sim>) {
    let said: Vec<_> =
        sim.books().leases.iter().map(|(lease, entry)| (*lease, entry.node, entry.sent)).collect();
    let mut reports = JoinSet::new();
    for (lease, node, usage) in said {
        let sim = Arc::clone(sim);
        reports.spawn(async move {
            let told = attempt::report(&sim, node, lease, usage).await;
            assert!(matches!(told, Some(Ok(_))), "usage is never refused: {told:?} under {lease}");
        });
        if reports.len() >= 16 {
            reports.join_next().await.expect("there are some").expect("no panic");
        }
    }
    while let Some(done) = reports.join_next().await {
        done.expect("no panic");
    }
}

/// As many tasks as all workers together can work on at once: each gets a worker soon, and succeeds. Nothing is stuck then.
pub(crate) async fn probe(sim: &Arc<Sim>, specs: &[Spec]) {
    let mut probes = JoinSet::new();
    let mut number = 0;
    for spec in specs {
        for _ in 0..spec.max {
            number += 1;
            let draft = contracts::probe(&format!("only-{}", spec.node), format!("probe-{number}"));
            let (sim, node) = (Arc::clone(sim), spec.node);
            probes.spawn(async move { client::submit(&sim, node, &draft).await });
        }
    }
    let mut tasks = Vec::new();
    while let Some(task) = probes.join_next().await {
        tasks.extend(task.expect("no panic"));
    }
    sleep(SOON).await;
    let laws = sim.laws();
    for task in tasks {
        let case = laws.case(task);
        assert_eq!(
            case.task.state(),
            TaskState::Succeeded,
            "a worker is stuck: its probe {task} does not end"
        );
        assert_eq!(case.attempts.len(), 1, "a probe takes one attempt");
    }
}

/// The books, after everything has come to rest.
pub(crate) fn audit(sim: &Sim) {
    let (laws, books) = (sim.laws(), sim.books());
    note!(sim, "end {} tasks, {} attempts known to workers", laws.cases.len(), books.leases.len());
    for task in &books.tasks {
        assert!(laws.cases.contains_key(task), "an acknowledged task is lost");
    }
    for (child, parent) in &books.children {
        assert!(laws.cases.contains_key(child), "an acknowledged child of {parent} is lost");
    }
    for task in &books.cancelled {
        assert!(laws.case(*task).ended.is_some(), "an acknowledged cancel is lost");
    }
    for (id, by) in &books.answered {
        let end = laws.case(id.task).questions.get(&id.number).expect("a question that was asked");
        assert_eq!(end.as_ref().map(|(_, by)| by), Some(by), "an acknowledged answer to {id} is lost");
    }
    for (letter, successor) in &books.redriven {
        assert_eq!(laws.case(*successor).redrives, Some(*letter), "an acknowledged redrive is lost");
    }
    for letter in &books.discarded {
        laws.discarded(*letter);
    }
    for (id, case) in &laws.cases {
        outcome(sim, *id, case);
        ledger(*id, case, &laws.cases);
    }
    for (lease, entry) in &books.leases {
        let known = &laws.case(lease.task).attempts[&(lease.turn, lease.attempt)];
        assert_eq!(known.lease, *lease, "work was given under a lease that is not in the journal");
        if entry.unsaid {
            assert_eq!(known.usage.max(entry.sent), known.usage, "what {lease} used is forgotten");
        } else {
            assert_eq!(known.usage, entry.sent, "what {lease} used, as its worker said");
        }
        assert!(entry.steps.iter().all(|step| known.steps.contains(step)), "an acknowledged step is lost");
        match &known.standing {
            Standing::Answered(answer) => {
                assert!(entry.answers.contains(answer), "an answer that nobody gave: {lease}");
            }
            Standing::Ended(end) => {
                let technical = *end == AttemptEnd::Retryable;
                assert!(technical || entry.accepted.is_none(), "an acknowledged answer is lost: {lease}");
                assert_ne!(*end, AttemptEnd::Undelivered, "a worker had what was undelivered: {lease}");
            }
            Standing::Live => panic!("{lease} is live in a task that has ended"),
        }
    }
}

/// The server counts the dead letters that nobody has looked at.
pub(crate) async fn letters(sim: &Sim) {
    let up = sim.up().expect("the server is up");
    let counted = up.runtime.open_dead_letters().await.expect("the disk is sound");
    assert_eq!(counted, sim.laws().open_letters(), "dead letters that are open");
}

/// The journal, read once more from the disk, says what was committed, and ends once.
fn outcome(sim: &Sim, id: TaskId, case: &Case) {
    let stored = sim.disk.kept.events(id, 0, usize::MAX).expect("memory reads");
    assert_eq!(stored.len() as u64, case.task.seq(), "what was committed is all there");
    let ends = stored.iter().filter(|event| matches!(record(event).event, Event::Ended { .. })).count();
    assert_eq!(ends, 1, "exactly one outcome: {id}");
    let asked = case.questions.values().all(Option::is_some);
    assert!(asked, "no question outlives its task");
}

/// The server's ledger against what it was told, attempt by attempt.
fn ledger(id: TaskId, case: &Case, cases: &std::collections::BTreeMap<TaskId, Case>) {
    let ledger = case.task.summary().ledger;
    let own: u64 = case.attempts.values().map(|attempt| attempt.usage.tokens()).sum();
    let (mut below, mut unheard_below) = (0, 0);
    for (child, used) in case.children.values() {
        let used = used.as_ref().expect("every child has been heard of");
        if let Some(child) = cases.get(child) {
            let known = child.task.summary().ledger;
            below += known.spent + known.overrun;
            unheard_below += known.unheard;
            assert_eq!(
                used.usage.tokens(),
                known.spent + known.overrun,
                "a parent knows what its child used"
            );
        }
    }
    assert_eq!(ledger.spent + ledger.overrun, own + below, "the books balance to the token: {id}");
    let unheard: u64 = case.attempts.values().map(Attempt::unheard).sum();
    // Of what vanished below, only what the child's share still covers: a child may have spent more than that.
    let within = (unheard..=unheard + unheard_below).contains(&ledger.unheard);
    assert!(
        within,
        "what vanished stays charged in full: {unheard} and {unheard_below} below {ledger:?} of {id}"
    );
    assert_eq!(ledger.reserved, ledger.unheard, "nothing else stays reserved: {id}");
}

/// Nothing is left over in the server's memory.
pub(crate) fn leftovers(sim: &Sim, specs: &[Spec]) {
    let up = sim.up().expect("the server is up");
    assert_eq!(up.runtime.open_tasks(), 0, "every place is given back");
    for agent in up.runtime.agents() {
        assert_eq!((agent.waiting, agent.leased), (0, 0), "{} has nothing left", agent.row.name);
    }
    let workers = up.runtime.workers();
    assert_eq!(workers.len(), specs.len(), "every worker is connected");
    for worker in workers {
        assert_eq!(worker.leased, 0, "{} holds nothing", worker.id);
    }
}
