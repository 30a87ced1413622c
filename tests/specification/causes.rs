//! How a task is brought to each cause for which an owner or a person can be asked.

use bailiwick::{
    engine::command::{Command, Reply},
    types::{
        contract::{ContractDraft, ConvergenceDraft, LimitsDraft, TerminationDraft},
        envelope::{Confidence, Envelope},
        outcome::{Cause, TaskState},
        time::Span,
    },
};

use crate::support::{Bench, delegate, draft, failed, hand_off, json, plan, step, success, usage};

/// A task whose owner has just been asked for `cause`, with the decide turn waiting. `tweak` sets what the ending needs;
/// `best` gives it a result on the way.
pub(crate) fn asked_for(cause: Cause, best: bool, tweak: &dyn Fn(&mut ContractDraft)) -> Bench {
    let mut draft = draft();
    limits(&mut draft).max_corrections = Some(0);
    tweak(&mut draft);
    prepare(cause, &mut draft);
    let mut bench = Bench::new(&draft);
    if best {
        leave_a_result(&mut bench);
    }
    drive(cause, &mut bench);
    assert_eq!(bench.state(), TaskState::OwnerDecides, "{cause:?}");
    bench
}

fn limits(draft: &mut ContractDraft) -> &mut LimitsDraft {
    draft.limits.as_mut().expect("the draft has limits")
}

fn prepare(cause: Cause, draft: &mut ContractDraft) {
    match cause {
        Cause::Hops => limits(draft).max_hops = Some(1),
        Cause::Turns => limits(draft).max_turns = 2,
        Cause::Replans => limits(draft).max_replans = Some(0),
        Cause::NotConverged => limits(draft).max_rounds = 1,
        Cause::Converged => {
            draft.termination.as_mut().expect("the draft has one").convergence =
                Some(ConvergenceDraft { min_gain: 0.05, patience: 1 });
        }
        Cause::NoWorker | Cause::AttemptsExhausted => {
            draft.gate.validator = "judge".to_owned();
            // Without a schema an answer may pass to the validator without a result.
            let acceptance = vec!["confidence > 0.5".to_owned()];
            draft.termination = Some(TerminationDraft { acceptance, ..TerminationDraft::default() });
        }
        Cause::GateRejected => draft.gate.max_revisions = Some(0),
        Cause::PlanFailed => {
            let mut fixed = plan(vec![step("find", "alpha", &[])]);
            fixed.result_step = "find".to_owned();
            draft.first_agent = None;
            draft.plan = Some(fixed);
        }
        _ => {}
    }
}

/// The first turn hands on after it has reported a result on the way, so that the task has a best result so far.
fn leave_a_result(bench: &mut Bench) {
    let turn = bench.ready()[0];
    let assignment = bench.assign(turn).expect("the first turn is assigned");
    let partial = Some(json(r#"{"half":true}"#));
    bench.send(Command::Progress { lease: assignment.lease, steps: Vec::new(), partial }).expect("live");
    bench.lose(assignment.lease);
    bench.pass(Span::from_secs(1));
}

fn drive(cause: Cause, bench: &mut Bench) {
    match cause {
        Cause::Budget => {
            let assignment = bench.next();
            let over = usage(assignment.allowance + 1);
            let reply = bench.send(Command::Usage { lease: assignment.lease, usage: over, priced: true });
            assert_eq!(reply, Ok(Reply::UsageRecorded { allowance: 0 }));
        }
        Cause::Hops => {
            bench.turn(hand_off("alpha"));
            bench.turn(hand_off("beta"));
        }
        Cause::Turns => {
            bench.turn(hand_off("alpha"));
            bench.turn(hand_off("beta"));
        }
        Cause::Replans => {
            bench.turn(delegate(vec![step("one", "alpha", &[])]));
            bench.turn(failed("nothing there", 1));
            bench.turn(delegate(vec![step("two", "beta", &[])]));
        }
        Cause::NotConverged | Cause::Converged => {
            bench.turn(delegate(vec![step("one", "alpha", &[])]));
            bench.turn(success("1", 1));
            bench.turn(delegate(vec![step("two", "beta", &[])]));
        }
        Cause::Deadline => bench.pass(Span::from_secs(590)),
        Cause::GateRejected => {
            bench.turn(without_result());
        }
        Cause::NoWorker => {
            bench.turn(without_result());
            (bench.known.served, bench.known.since) = (false, bench.now);
            bench.pass(Span::from_secs(300));
            bench.known.served = true;
        }
        Cause::AttemptsExhausted => {
            bench.turn(without_result());
            for _ in 0..3 {
                let lease = bench.next().lease;
                bench.lose(lease);
                bench.pass(Span::from_secs(10));
            }
        }
        Cause::Role => drop(bench.turn(hand_off("planner"))),
        Cause::AgentFailed | Cause::PlanFailed => drop(bench.turn(failed("nothing there", 1))),
        Cause::Repetition => repeat(bench),
        other => unreachable!("{other:?} asks nobody"),
    }
}

/// A success without a result: there is nothing that a person could approve, so the owner is asked.
fn without_result() -> Envelope {
    Envelope { result: None, confidence: Confidence::new(0.9), ..success("null", 1) }
}

/// The same words, each time to the next agent.
fn repeat(bench: &mut Bench) {
    for to in ["alpha", "beta", "gamma"] {
        let reason = "the quarter closed with a profit of four million".to_owned();
        bench.turn(Envelope { reason, ..hand_off(to) });
    }
}
