//! For any interleaving of assignments, envelopes, directives, usage, lost leases, cancels, human answers and time: every
//! invariant holds after every event, the journal replays to the same state, and the task ends.

#[path = "support/engine.rs"]
mod support;

use std::sync::Arc;

use bailiwick::{
    engine::{
        command::{Command, HumanAnswer},
        event::AttemptEnd,
        intake,
    },
    types::{
        contract::ContractDraft,
        envelope::{Answer, Decision, Directive, Envelope, HandOff, Status},
        ids::Lease,
        plan::{OnStepFailure, PlanDraft, StepDraft},
        time::Span,
    },
};
use proptest::prelude::*;
use support::{Bench, delegate, draft, failed, hand_off, json, name, plan, step, success, usage};

/// What the world does next; numbers pick among what is possible then.
#[derive(Debug, Clone)]
enum Move {
    Assign(usize),
    Answer {
        pick: usize,
        envelope: usize,
        tokens: u64,
        bad: bool,
    },
    Decide {
        pick: usize,
        decision: usize,
    },
    Usage {
        pick: usize,
        tokens: u64,
    },
    Budget {
        pick: usize,
        tokens: u64,
    },
    Progress {
        pick: usize,
    },
    Lose {
        pick: usize,
    },
    Late {
        pick: usize,
        tokens: u64,
    },
    Human {
        number: u32,
        approve: bool,
    },
    Pass {
        millis: u64,
    },
    Unserved(bool),
    /// Only a 0 cancels, so that most runs end in other ways.
    Cancel(u8),
}

fn moves() -> impl Strategy<Value = Move> {
    let pick = 0..8_usize;
    prop_oneof![
        8 => pick.clone().prop_map(Move::Assign),
        8 => (pick.clone(), 0..15_usize, 0..30_000_u64, any::<bool>())
            .prop_map(|(pick, envelope, tokens, bad)| Move::Answer { pick, envelope, tokens, bad }),
        3 => (pick.clone(), 0..9_usize).prop_map(|(pick, decision)| Move::Decide { pick, decision }),
        3 => (pick.clone(), 0..30_000_u64).prop_map(|(pick, tokens)| Move::Usage { pick, tokens }),
        2 => (pick.clone(), 1..30_000_u64).prop_map(|(pick, tokens)| Move::Budget { pick, tokens }),
        1 => pick.clone().prop_map(|pick| Move::Progress { pick }),
        2 => pick.clone().prop_map(|pick| Move::Lose { pick }),
        2 => (pick, 0..30_000_u64).prop_map(|(pick, tokens)| Move::Late { pick, tokens }),
        2 => (1..4_u32, any::<bool>()).prop_map(|(number, approve)| Move::Human { number, approve }),
        3 => (0..3_000_u64).prop_map(|millis| Move::Pass { millis }),
        1 => (0..400_000_u64).prop_map(|millis| Move::Pass { millis }),
        1 => any::<bool>().prop_map(Move::Unserved),
        1 => (0..60_u8).prop_map(Move::Cancel),
    ]
}

fn envelope(pick: usize, tokens: u64) -> Envelope {
    let base = success(r#"{"a":1}"#, tokens);
    match pick {
        0..=2 => base,
        3 => Envelope { status: Status::Partial, reason: "half".to_owned(), ..base },
        4 => failed("no", tokens),
        5 => Envelope { retryable: true, ..failed("outage", tokens) },
        6 => Envelope { usage: None, ..base },
        7 => hand_off("alpha"),
        8 => hand_off("nobody"),
        9 => delegate(vec![
            step("a", "alpha", &[]),
            step("b", "beta", &["a"]),
            step("c", "gamma", &["a"]),
            step("d", "alpha", &["b", "c"]),
        ]),
        10 => delegate(vec![step("a", "alpha", &[]), step("z", "nobody", &[])]),
        11 => delegate(wild_steps()),
        12 => {
            let wild = PlanDraft { on_step_failure: OnStepFailure::Cancel, ..plan(wild_steps()) };
            let wild = intake::plan(&wild, "plan").expect("a valid plan");
            Envelope { directive: Some(Directive::Delegate(wild)), ..base }
        }
        13 => hand_off("gamma"),
        _ => Envelope { directive: Some(Directive::AskHuman("may I?".to_owned())), ..base },
    }
}

/// Steps with everything a step can have.
fn wild_steps() -> Vec<StepDraft> {
    let with = |step: StepDraft, fallbacks: &[&str], optional| {
        let fallback_agents = fallbacks.iter().map(|agent| (*agent).to_owned()).collect();
        StepDraft { fallback_agents, optional, ..step }
    };
    vec![
        with(step("a", "alpha", &[]), &["beta", "gamma"], false),
        with(step("b", "beta", &[]), &["alpha"], true),
        with(step("c", "gamma", &["b"]), &[], true),
        StepDraft { max_tokens: 0, ..with(step("d", "beta", &["a", "c"]), &["owner"], false) },
    ]
}

fn decision(pick: usize) -> Decision {
    let to = |agent| HandOff { agent: name(agent), input: None };
    match pick {
        0 => Decision::CompletePartial { result: None, reason: String::new() },
        1 => Decision::CompletePartial { result: Some(json("{}")), reason: "enough".to_owned() },
        2 => Decision::Abort("no use".to_owned()),
        3 => Decision::Escalate("what now?".to_owned()),
        4 => Decision::ReplanTo(to("beta")),
        5 => Decision::ReplanTo(to("nobody")),
        6 => Decision::InvalidReplan(vec!["no plan".to_owned()]),
        7 => Decision::ReplanWith(intake::plan(&plan(wild_steps()), "plan").expect("a valid plan")),
        _ => Decision::ReplanWith(
            intake::plan(&plan(vec![step("a", "alpha", &[]), step("b", "beta", &[])]), "plan")
                .expect("a valid plan"),
        ),
    }
}

fn nth<T: Copy>(items: &[T], pick: usize) -> Option<T> {
    (!items.is_empty()).then(|| items[pick % items.len()])
}

fn play(bench: &mut Bench, seen: &mut Vec<Lease>, step: Move) {
    let live = bench.leases();
    match step {
        Move::Assign(pick) => {
            if let Some(turn) = nth(&bench.ready(), pick) {
                seen.extend(bench.assign(turn).map(|a| a.lease));
            }
        }
        Move::Answer { pick, envelope: which, tokens, bad } => {
            let Some(lease) = nth(&live, pick) else { return };
            let findings = if bad { vec!["does not fit".to_owned()] } else { Vec::new() };
            let answer = Arc::new(Answer::Envelope(envelope(which, tokens)));
            let _ = bench.send(Command::Complete { lease, answer, findings });
        }
        Move::Decide { pick, decision: which } => {
            let Some(lease) = nth(&live, pick) else { return };
            let answer = Arc::new(Answer::Decision { decision: decision(which), usage: Some(usage(50)) });
            let _ = bench.send(Command::Complete { lease, answer, findings: Vec::new().into() });
        }
        Move::Usage { pick, tokens } => {
            let Some(lease) = nth(&live, pick) else { return };
            let _ = bench.send(Command::Usage { lease, usage: usage(tokens), priced: true });
        }
        Move::Budget { pick, tokens } => {
            let Some(lease) = nth(&live, pick) else { return };
            let _ = bench.send(Command::RequestBudget { lease, tokens, reason: String::new() });
        }
        Move::Progress { pick } => {
            let Some(lease) = nth(&live, pick) else { return };
            let partial = Some(json(r#"{"p":1}"#));
            let _ = bench.send(Command::Progress { lease, steps: Vec::new(), partial });
        }
        Move::Lose { pick } => {
            let Some(lease) = nth(&live, pick) else { return };
            let end = AttemptEnd::LeaseExpired;
            let _ = bench.send(Command::EndLease { lease, end, reason: "lost".to_owned() });
        }
        Move::Late { pick, tokens } => {
            let Some(lease) = nth(seen, pick) else { return };
            let answer = Arc::new(Answer::Envelope(success("2", tokens)));
            if tokens % 2 == 0 && !live.contains(&lease) {
                let _ = bench.send(Command::Complete { lease, answer, findings: Vec::new().into() });
            } else {
                let _ = bench.send(Command::Usage { lease, usage: usage(tokens), priced: true });
            }
        }
        Move::Human { number, approve } => {
            let answer = if approve { HumanAnswer::Approve } else { HumanAnswer::Abort };
            let _ = bench.human(number, answer);
        }
        Move::Pass { millis } => bench.pass(Span::from_millis(millis)),
        Move::Unserved(unserved) => bench.known.served = !unserved,
        Move::Cancel(0) => {
            bench.send(Command::Cancel { reason: String::new() }).expect("never rejected");
        }
        Move::Cancel(_) => {}
    }
}

/// With nobody doing anything any more, time alone ends the task.
fn run_out(bench: &mut Bench) {
    for _ in 0..200 {
        if bench.task.is_ended() {
            return;
        }
        let next = bench.task.next_timer(bench.now).expect("an open task has a timer");
        bench.now = bench.now.max(next);
        bench.pass(Span::from_millis(1));
    }
    panic!("the task did not end in 200 timers: {:?}", bench.story());
}

fn drafts() -> impl Strategy<Value = ContractDraft> {
    (any::<bool>(), 1_000..200_000_i64, 0..3_i32, 0..3_i32, 1..12_i32, 0..3_i32).prop_map(
        |(is_static, tokens, hops, revisions, turns, escalations)| {
            let mut draft = draft();
            if is_static {
                let mut fixed = plan(vec![
                    step("a", "alpha", &[]),
                    step("b", "beta", &[]),
                    step("c", "gamma", &["a", "b"]),
                ]);
                for step in &mut fixed.steps {
                    step.max_tokens = 150;
                }
                if tokens % 2 == 0 {
                    fixed.steps[0].fallback_agents = vec!["gamma".to_owned(), "beta".to_owned()];
                    fixed.steps[1].optional = true;
                    fixed.steps[2].fallback_agents = vec!["alpha".to_owned()];
                }
                fixed.result_step = "c".to_owned();
                draft.first_agent = None;
                draft.plan = Some(fixed);
            }
            if let Some(budget) = &mut draft.budget {
                budget.max_tokens = tokens;
                if tokens % 3 == 0 && !is_static {
                    budget.max_tokens_by_agent.insert("alpha".to_owned(), tokens / 3);
                }
            }
            if let Some(limits) = &mut draft.limits {
                limits.max_hops = Some(hops);
                limits.max_turns = turns;
                limits.max_attempts = 2;
            }
            draft.gate.max_revisions = Some(revisions);
            draft.gate.min_confidence = 0.5;
            draft.escalation.max_escalations = Some(escalations);
            draft
        },
    )
}

/// Interleavings that are played: 400, or as many as PROPTEST_CASES says.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_interleaving_keeps_the_books_and_ends(
        draft in drafts(),
        steps in proptest::collection::vec(moves(), 1..120),
    ) {
        let mut bench = Bench::new(&draft);
        let mut seen = Vec::new();
        for step in steps {
            play(&mut bench, &mut seen, step);
        }
        bench.check_replay();
        run_out(&mut bench);
        bench.check_replay();
    }
}
