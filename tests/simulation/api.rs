//! What is called over the network, at the server's end: each call, then the law that its answer must keep.

use std::{sync::Arc, time::Duration};

use bailiwick::{
    engine::{
        event::{Record, TraceContext},
        intake,
        view::{EscalationView, TaskView},
    },
    runtime::{
        CommandError, Down, EscalationFilter, Grant, OpenError, Opened, PersonAnswer, ReadError,
        Registration, SessionError, SessionId, SubmitError,
    },
    types::{
        contract::ContractDraft,
        envelope::{Answer, WorkStep},
        ids::{EscalationId, Lease, TaskId, WorkerId},
        usage::Usage,
    },
};
use tokio::sync::mpsc;

use crate::{
    sim::{Node, Sim, Up},
    tape::note,
    time::{now, sleep, sleep_until},
};

/// Holds an answer against the laws if anybody can hear it, and notes it.
macro_rules! lawful {
    ($sim:expr, $up:expr, $what:expr, $result:expr, $law:expr) => {{
        let result = $result;
        if $up.life.is_alive() {
            match &result {
                Ok(said) => {
                    #[allow(clippy::redundant_closure_call)]
                    ($law)(said);
                    note!($sim, "api {} done", $what);
                }
                Err(error) => note!($sim, "api {}: {error}", $what),
            }
        }
        result
    }};
}
pub(crate) use lawful;

/// A name for a contract: equal drafts have equal ones.
pub(crate) fn fingerprint(draft: &ContractDraft) -> u128 {
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, format!("{draft:?}").as_bytes()).as_u128()
}

/// Why a submission was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsubmitted {
    #[error("the contract is refused: {0}")]
    Contract(String),
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

pub(crate) async fn submit(sim: Arc<Sim>, up: Up, draft: ContractDraft) -> Result<TaskId, Unsubmitted> {
    let known = |agent: &_| up.runtime.is_known(agent);
    let completed = intake::complete(&draft, up.runtime.ceilings(), &known);
    let mut kept_out = Vec::new();
    let result = match completed {
        Ok(contract) => {
            kept_out = sim.laws().brakes.keep_out(&contract, &[]);
            let submitted = up.runtime.submit(contract, fingerprint(&draft), TraceContext::default()).await;
            let submitted = submitted.map_err(Unsubmitted::from);
            if submitted.as_ref().is_ok_and(|submitted| submitted.existing) {
                // No new work: it was accepted before.
                kept_out.clear();
            }
            submitted.map(|submitted| submitted.task)
        }
        Err(faults) => Err(Unsubmitted::Contract(format!("{faults:?}"))),
    };
    lawful!(sim, up, format_args!("submit {}", draft.idempotency_key), result, |task: &TaskId| {
        let laws = sim.laws();
        assert_eq!(laws.case(*task).task.fingerprint(), fingerprint(&draft), "the task has this contract");
        laws.brakes.let_in(&kept_out);
    })
}

pub(crate) async fn submit_child(
    sim: Arc<Sim>,
    up: Up,
    lease: Lease,
    draft: ContractDraft,
) -> Result<TaskId, CommandError> {
    sim.laws().heard_under(&lease);
    let mut kept_out = match intake::complete(&draft, up.runtime.ceilings(), &|_| true) {
        Ok(contract) => {
            let laws = sim.laws();
            laws.brakes.keep_out(&contract, &laws.labels(lease.task))
        }
        Err(_) => Vec::new(),
    };
    let result = up.runtime.submit_child(lease, draft.clone(), fingerprint(&draft)).await;
    if result.as_ref().is_ok_and(|submitted| submitted.existing) {
        kept_out.clear();
    }
    let result = result.map(|submitted| submitted.task);
    lawful!(sim, up, format_args!("child of {lease}"), result, |child: &TaskId| {
        let laws = sim.laws();
        laws.child(&lease, *child);
        laws.brakes.let_in(&kept_out);
    })
}

pub(crate) async fn cancel(sim: Arc<Sim>, up: Up, task: TaskId) -> Result<(), CommandError> {
    let result = up.runtime.cancel(task, String::new()).await.map(drop);
    lawful!(sim, up, format_args!("cancel {task}"), result, |(): &()| sim.laws().ended(task))
}

pub(crate) async fn get(sim: Arc<Sim>, up: Up, task: TaskId) -> Result<TaskView, ReadError> {
    let result = up.runtime.get(task).await;
    lawful!(sim, up, format_args!("get {task}"), result, |view: &TaskView| sim.laws().seen(view))
}

pub(crate) async fn complete(
    sim: Arc<Sim>,
    up: Up,
    lease: Lease,
    answer: Answer,
) -> Result<bool, CommandError> {
    sim.laws().heard_under(&lease);
    let result = up.runtime.complete(lease, answer.clone(), String::new()).await;
    lawful!(sim, up, format_args!("complete {lease}"), result, |_: &bool| {
        sim.laws().completed(&lease, &answer);
    })
}

pub(crate) async fn usage(sim: Arc<Sim>, up: Up, lease: Lease, usage: Usage) -> Result<u64, CommandError> {
    sim.laws().heard_under(&lease);
    let result = up.runtime.usage(lease, usage, String::new()).await;
    lawful!(sim, up, format_args!("usage {lease}"), result, |_: &u64| sim.laws().used(&lease, usage))
}

pub(crate) async fn progress(
    sim: Arc<Sim>,
    up: Up,
    lease: Lease,
    steps: Vec<WorkStep>,
) -> Result<(), CommandError> {
    let said: Vec<String> = steps.iter().map(|step| step.content.clone()).collect();
    sim.laws().heard_under(&lease);
    let result = up.runtime.progress(lease, steps, None).await;
    lawful!(sim, up, format_args!("progress {lease}"), result, |(): &()| sim.laws().progressed(&lease, &said))
}

pub(crate) async fn budget(sim: Arc<Sim>, up: Up, lease: Lease, tokens: u64) -> Result<Grant, CommandError> {
    sim.laws().heard_under(&lease);
    let result = up.runtime.request_budget(lease, tokens, "more".to_owned()).await;
    lawful!(sim, up, format_args!("budget {lease}"), result, |grant: &Grant| {
        if grant.allowance > 0 {
            sim.laws().granted(&lease, grant.allowance);
        }
    })
}

pub(crate) async fn questions(sim: Arc<Sim>, up: Up) -> Result<Vec<EscalationView>, ReadError> {
    let filter = EscalationFilter { states: vec!["OPEN".to_owned()], ..EscalationFilter::default() };
    let result = up.runtime.escalations(filter, None, 100).await.map(|page| page.questions);
    lawful!(sim, up, "questions", result, |asked: &Vec<EscalationView>| {
        let laws = sim.laws();
        for view in asked {
            assert!(laws.case(view.task).questions.contains_key(&view.asked.number));
        }
    })
}

pub(crate) async fn answer(
    sim: Arc<Sim>,
    up: Up,
    id: EscalationId,
    answer: PersonAnswer,
    by: String,
) -> Result<EscalationView, CommandError> {
    let result = up.runtime.answer(id, answer, by, String::new()).await;
    lawful!(sim, up, format_args!("answer {id}"), result, |view: &EscalationView| sim.laws().answered(view))
}

/// Follows a task from a cursor until its end, or until the stream breaks. What arrives goes to `to`.
pub(crate) async fn watch(
    sim: Arc<Sim>,
    up: Up,
    node: Node,
    task: TaskId,
    after: u64,
    to: mpsc::UnboundedSender<Record>,
) -> Result<(), ReadError> {
    let mut watch = up.runtime.watch(task, after).await?;
    let pump = async move {
        loop {
            let next = tokio::select! {
                biased;
                () = up.life.gone.cancelled() => return,
                () = to.closed() => return,
                next = watch.next() => next,
            };
            let Some(Ok((record, _))) = next.filter(|_| up.life.is_alive()) else { return };
            assert!(record.seq <= sim.laws().case(task).task.seq(), "nothing is shown before it is durable");
            let Ok(delay) = sim.stream_fate(node) else { return };
            sleep(delay).await;
            if to.send(record).is_err() {
                return;
            }
        }
    };
    tokio::spawn(pump);
    Ok(())
}

/// A worker asks for work.
pub(crate) fn credit(
    sim: &Sim,
    up: &Up,
    session: SessionId,
    worker: &WorkerId,
    slots: u32,
) -> Result<(), SessionError> {
    let result = up.runtime.credit(session, slots, None);
    if result.is_ok() {
        sim.laws().heard(worker);
    }
    result
}

/// A worker is there.
pub(crate) fn heartbeat(
    sim: &Sim,
    up: &Up,
    session: SessionId,
    worker: &WorkerId,
) -> Result<(), SessionError> {
    let result = up.runtime.heartbeat(session);
    if result.is_ok() {
        sim.laws().heard(worker);
    }
    result
}

pub(crate) type Inbox = mpsc::UnboundedReceiver<Down>;

/// Opens a session; what the server says in it comes in order, until the stream breaks.
pub(crate) async fn open(
    sim: Arc<Sim>,
    up: Up,
    node: Node,
    registration: Registration,
) -> Result<(Opened, Inbox), OpenError> {
    let (worker, held) = (registration.worker.clone(), registration.held.clone());
    let result = up.runtime.open_session(registration).await;
    let result = lawful!(sim, up, format_args!("open {worker}"), result, |(opened, _): &(Opened, _)| {
        let mut laws = sim.laws();
        laws.opens(&worker, &held);
        opened.live.iter().for_each(|lease| laws.brakes.gives(*lease, opened.session));
    });
    let (opened, down) = result?;
    let (to, inbox) = mpsc::unbounded_channel();
    tokio::spawn(pump(sim, up, node, worker, opened.session, down, to));
    Ok((opened, inbox))
}

/// What a server's process sends, taken at once and carried in its order.
async fn pump(
    sim: Arc<Sim>,
    up: Up,
    node: Node,
    worker: WorkerId,
    session: SessionId,
    mut down: mpsc::Receiver<Down>,
    to: mpsc::UnboundedSender<Down>,
) {
    let (carried, cargo) = mpsc::unbounded_channel();
    tokio::spawn(carry(cargo, to));
    loop {
        let next = tokio::select! {
            biased;
            () = up.life.gone.cancelled() => return sim.laws().brakes.closes(session),
            () = carried.closed() => break,
            next = down.recv() => next,
        };
        let Some(next) = next.filter(|_| up.life.is_alive()) else {
            sim.laws().brakes.closes(session);
            return;
        };
        match &next {
            Down::Assignment(work) => {
                let mut laws = sim.laws();
                laws.assigned(work, &worker);
                laws.brakes.gives(work.lease, session);
                drop(laws);
                note!(sim, "down {worker} work {}", work.lease);
            }
            Down::Cancel { lease, .. } => {
                sim.laws().brakes.tells(*lease);
                note!(sim, "down {worker} cancel {lease}");
            }
            Down::Drain => note!(sim, "down {worker} drain"),
        }
        match sim.stream_fate(node) {
            Ok(delay) => drop(carried.send((now() + delay, next))),
            Err(true) => break,
            Err(false) => {
                // The stream is half open: nobody reads it any more, and the server does not know.
                note!(sim, "net {node} stream half open");
                sim.laws().brakes.closes(session);
                drop(carried);
                up.life.gone.cancelled().await;
                return;
            }
        }
    }
    note!(sim, "net {node} stream cut");
    sim.laws().brakes.closes(session);
    up.runtime.close_session(session);
}

async fn carry(mut cargo: mpsc::UnboundedReceiver<(Duration, Down)>, to: mpsc::UnboundedSender<Down>) {
    loop {
        let next = tokio::select! {
            biased;
            () = to.closed() => return,
            next = cargo.recv() => next,
        };
        let Some((at, next)) = next else { return };
        sleep_until(at).await;
        if to.send(next).is_err() {
            return;
        }
    }
}
