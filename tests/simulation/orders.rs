//! What operators call, at the server's end: halts, resumes, cancels by filter, redrives and discards; each with the law that its
//! answer must keep.

use std::{sync::Arc, time::Duration};

use bailiwick::{
    engine::{event::TraceContext, view::Settled as SettledView},
    runtime::{
        CancelPage, CommandError, Discard, HaltError, HaltOrder, Lift, ReadError, RedriveOf, Submitted,
        TaskFilter,
        dead_letters::{DeadLetterFilter, DeadLetterStory},
    },
    types::{contract::Contract, halt::Halt, ids::TaskId},
};

use crate::{
    api::lawful,
    sim::{Sim, Up},
    tape::note,
    time::{now, sleep},
};

/// How soon whoever works under a halt with a cancel is told to stop, on a disk that does not fail.
const TOLD_IN: Duration = Duration::from_secs(6);

pub(crate) async fn halt(sim: Arc<Sim>, up: Up, order: HaltOrder) -> Result<Arc<Halt>, HaltError> {
    let (doing, to_tell) = {
        let mut laws = sim.laws();
        let to_tell = if order.cancel { laws.to_tell(&order.scope) } else { Vec::new() };
        (laws.brakes.halting(&order, up.life.number), to_tell)
    };
    let result = up.runtime.halt(order.clone()).await.map(|halted| halted.halt);
    let result = lawful!(sim, up, format_args!("halt {}", order.scope), result, |halt: &Arc<Halt>| {
        let mut laws = sim.laws();
        laws.brakes.halted(&doing, &order, halt, &up.runtime.halts());
        laws.met(if order.cancel { "halt with a cancel" } else { "halt" });
    });
    if result.is_ok() && !to_tell.is_empty() {
        let (sim, up, began) = (Arc::clone(&sim), up.clone(), now());
        tokio::spawn(async move {
            sleep(TOLD_IN).await;
            let mut laws = sim.laws();
            if up.life.is_alive() && laws.ears.sound_since(began) {
                laws.told(&to_tell, &order.scope);
                laws.met("halt whose attempts were told");
            }
        });
    }
    result
}

pub(crate) async fn resume(sim: Arc<Sim>, up: Up, what: Lift, by: String) -> Result<Vec<Halt>, HaltError> {
    let doing = {
        let set = up.runtime.halts();
        let meant = set.iter().filter(|halt| match &what {
            Lift::Everything => true,
            Lift::Scope(scope) => halt.scope == *scope,
            Lift::Number(number) => halt.number == *number,
        });
        sim.laws().brakes.lifting(up.life.number, meant.map(|halt| &**halt))
    };
    let result = up.runtime.resume(&what, by, String::new()).await;
    if up.life.is_alive() {
        let lifted = result.as_ref().ok().map(Vec::as_slice);
        let mut laws = sim.laws();
        laws.brakes.lifted(&doing, lifted, &up.runtime.halts());
        laws.met(if lifted.is_some() { "resume" } else { "resume that failed" });
    }
    lawful!(sim, up, format_args!("resume {what:?}"), result, |_: &Vec<Halt>| {})
}

pub(crate) async fn halts(sim: Arc<Sim>, up: Up) -> Result<Vec<Halt>, ReadError> {
    let before = sim.laws().brakes.known();
    let result = up.runtime.all_halts().await;
    lawful!(sim, up, "halts", result, |all: &Vec<Halt>| sim.laws().brakes.listed(&before, all))
}

pub(crate) async fn cancel_page(
    sim: Arc<Sim>,
    up: Up,
    filter: TaskFilter,
    reason: String,
    dry_run: bool,
) -> Result<CancelPage, ReadError> {
    let before = {
        let mut laws = sim.laws();
        laws.brakes.sweeping(&reason, &filter, dry_run);
        laws.fitting(&filter)
    };
    let result = up.runtime.cancel_page(&filter, None, &reason, dry_run).await;
    lawful!(sim, up, format_args!("cancel by filter, {reason}"), result, |page: &CancelPage| {
        let found: u64 = page.found.values().sum();
        let done = page.cancelled + page.already_ended + page.failed;
        assert_eq!(done, if dry_run { 0 } else { found }, "every task of a page is accounted for: {page:?}");
        assert_eq!(page.next, None, "a run has no second page");
        let mut laws = sim.laws();
        laws.met("cancel by filter");
        let open = before.iter().filter(|task| laws.case(**task).ended.is_none()).count() as u64;
        assert!(dry_run || open <= page.failed, "a cancel by filter leaves out what fits: {page:?}");
    })
}

/// Dead letters, the newest few, whatever was done with them.
pub(crate) async fn letters(sim: Arc<Sim>, up: Up) -> Result<Vec<DeadLetterStory>, ReadError> {
    let result = up.runtime.dead_letters(DeadLetterFilter::default(), None, 6).await;
    let result = result.map(|page| page.letters);
    lawful!(sim, up, "dead letters", result, |letters: &Vec<DeadLetterStory>| {
        let laws = sim.laws();
        for letter in letters {
            let case = laws.case(letter.task.summary.task);
            assert!(case.task.is_dead_letter(), "only dead letters are listed");
            if let Some(SettledView::Redriven(shown)) =
                letter.task.dead_letter.as_ref().and_then(|view| view.settled.as_ref())
            {
                laws.redriven(letter.task.summary.task, shown.successor, shown.fingerprint);
            }
        }
    })
}

/// What an operator wants of a dead letter.
#[derive(Clone)]
pub(crate) struct Again {
    pub(crate) letter: TaskId,
    pub(crate) contract: Contract,
    /// Which changes: equal ones have equal numbers.
    pub(crate) asked: u128,
    pub(crate) by: String,
}

pub(crate) async fn redrive(sim: Arc<Sim>, up: Up, again: Again) -> Result<Submitted, CommandError> {
    let Again { letter, contract, asked, by } = again;
    let (before, kept_out) = {
        let laws = sim.laws();
        (laws.case(letter).settled.clone(), laws.brakes.keep_out(&contract, &[]))
    };
    let redrive = RedriveOf {
        task: letter,
        contract,
        fingerprint: asked ^ 1,
        asked,
        changes: Vec::new(),
        by,
        note: String::new(),
        trace: TraceContext::default(),
    };
    let result = up.runtime.redrive(redrive).await;
    lawful!(sim, up, format_args!("redrive {letter}"), result, |done: &Submitted| {
        let mut laws = sim.laws();
        laws.redriven(letter, done.task, asked);
        laws.met(if done.existing { "redrive again" } else { "redrive" });
        assert!(done.existing || before.is_none(), "a second successor of {letter}");
        if !done.existing {
            laws.brakes.let_in(&kept_out);
        }
    })
}

pub(crate) async fn discard(sim: Arc<Sim>, up: Up, letter: TaskId, by: String) -> Result<bool, CommandError> {
    let discard = Discard { by, note: String::new() };
    let result = up.runtime.discard(letter, discard).await;
    lawful!(sim, up, format_args!("discard {letter}"), result, |_: &bool| sim.laws().discarded(letter))
}
