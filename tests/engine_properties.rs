//! For any interleaving of assignments, envelopes, directives, usage, lost leases, cancels, human answers and time: every
//! invariant holds after every event, the journal replays to the same state, and the task ends.

#[path = "support/engine.rs"]
mod support;

use std::sync::Arc;

use bailiwick::{
    engine::{
        command::{Command, Env, Findings, HumanAnswer},
        dead_letter::{Discarded, Redriven},
        event::{AttemptEnd, Event, Record},
        family::{ChildReport, Used},
        intake,
        parked::{Parked, ReadyTurn},
        task::Task,
    },
    types::{
        contract::{BudgetDraft, ContractDraft, ConvergenceDraft},
        envelope::{
            Answer, Confidence, Decision, Directive, Envelope, HandOff, Status, WorkStep, WorkStepKind,
        },
        extension::Extension,
        ids::{Lease, TaskId},
        limits::{Ceilings, fixed},
        outcome::TaskState,
        plan::{OnStepFailure, PlanDraft, StepDraft},
        time::Span,
    },
};
use proptest::prelude::*;
use serde_json::Value;
use support::{Bench, delegate, draft, failed, hand_off, json, name, plan, step, success, usage, verdict};

/// What the checks off the shard find against an answer.
#[derive(Debug, Clone, Copy)]
enum Bad {
    No,
    Result,
    Output,
    Inputs,
}

/// What the world does next; numbers pick among what is possible then.
#[derive(Debug, Clone)]
enum Move {
    Assign(usize),
    Answer {
        pick: usize,
        envelope: usize,
        tokens: u64,
        bad: Bad,
    },
    Judge {
        pick: usize,
        agrees: bool,
        tokens: u64,
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
    /// Streamed steps, from a few things that agents say again and again.
    Stream {
        pick: usize,
        said: Vec<usize>,
    },
    Lose {
        pick: usize,
    },
    /// The circuit of a turn's agent is open.
    HoldUp {
        pick: usize,
    },
    Late {
        pick: usize,
        tokens: u64,
    },
    Human {
        number: u32,
        answer: usize,
        more: u64,
    },
    Child {
        pick: usize,
        name: u8,
        tokens: i64,
    },
    /// A child says what it used, again or for the first time.
    Hear {
        pick: usize,
        tokens: u64,
        unheard: u64,
        counts: u32,
        never: bool,
    },
    Pass {
        millis: u64,
    },
    Unserved(bool),
    /// An operator redrives, mostly with the same changes, or discards.
    Settle {
        redrive: bool,
        asked: u128,
    },
    /// Only a 0 cancels, so that most runs end in other ways.
    Cancel(u8),
}

fn bad() -> impl Strategy<Value = Bad> {
    prop_oneof![4 => Just(Bad::No), 2 => Just(Bad::Result), 1 => Just(Bad::Output), 1 => Just(Bad::Inputs)]
}

fn moves() -> impl Strategy<Value = Move> {
    let pick = 0..8_usize;
    prop_oneof![
        8 => pick.clone().prop_map(Move::Assign),
        8 => (pick.clone(), 0..21_usize, 0..30_000_u64, bad())
            .prop_map(|(pick, envelope, tokens, bad)| Move::Answer { pick, envelope, tokens, bad }),
        4 => (pick.clone(), any::<bool>(), 0..3_000_u64)
            .prop_map(|(pick, agrees, tokens)| Move::Judge { pick, agrees, tokens }),
        3 => (pick.clone(), 0..9_usize).prop_map(|(pick, decision)| Move::Decide { pick, decision }),
        3 => (pick.clone(), 0..30_000_u64).prop_map(|(pick, tokens)| Move::Usage { pick, tokens }),
        2 => (pick.clone(), 1..30_000_u64).prop_map(|(pick, tokens)| Move::Budget { pick, tokens }),
        1 => pick.clone().prop_map(|pick| Move::Progress { pick }),
        3 => (pick.clone(), proptest::collection::vec(0..7_usize, 1..6))
            .prop_map(|(pick, said)| Move::Stream { pick, said }),
        2 => pick.clone().prop_map(|pick| Move::Lose { pick }),
        1 => pick.clone().prop_map(|pick| Move::HoldUp { pick }),
        2 => (pick.clone(), 0..30_000_u64).prop_map(|(pick, tokens)| Move::Late { pick, tokens }),
        3 => (pick.clone(), 0..6_u8, 0..40_000_i64)
            .prop_map(|(pick, name, tokens)| Move::Child { pick, name, tokens }),
        3 => (pick, 0..40_000_u64, 0..20_000_u64, 0..20_u32, 0..10_u8).prop_map(
            |(pick, tokens, unheard, counts, never)| Move::Hear { pick, tokens, unheard, counts, never: never == 0 }
        ),
        5 => (1..4_u32, 0..9_usize, 0..40_000_u64)
            .prop_map(|(number, answer, more)| Move::Human { number, answer, more }),
        3 => (0..3_000_u64).prop_map(|millis| Move::Pass { millis }),
        1 => (0..400_000_u64).prop_map(|millis| Move::Pass { millis }),
        1 => any::<bool>().prop_map(Move::Unserved),
        1 => (0..60_u8).prop_map(Move::Cancel),
        1 => (any::<bool>(), 0..3_u128).prop_map(|(redrive, asked)| Move::Settle { redrive, asked }),
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
        11 => Envelope { result: base.result, ..hand_off("beta") },
        // A round whose draft and score depend on how much it cost: some rounds pay, some do not, some repeat themselves.
        12 | 13 => Envelope {
            result: Some(json(&format!(r#"{{"draft":{}}}"#, tokens % 4))),
            score: Confidence::new((tokens % 10) as f64 / 10.0),
            ..delegate(vec![step("a", "alpha", &[])])
        },
        14 => delegate(wild_steps()),
        15 => {
            let wild = PlanDraft { on_step_failure: OnStepFailure::Cancel, ..plan(wild_steps()) };
            let wild = intake::plan(&wild, "plan").expect("a valid plan");
            Envelope { directive: Some(Directive::Delegate(wild)), ..base }
        }
        16 => hand_off("gamma"),
        17 => hand_off("judge"),
        18 => {
            let named = ["a", "b", "turn-1", "turn-99"].map(str::to_owned);
            Envelope { inputs_used: named.to_vec(), ..base }
        }
        _ => Envelope { directive: Some(Directive::AskHuman("may I?".to_owned())), ..base },
    }
}

fn work_step(pick: usize) -> WorkStep {
    let (kind, content) = match pick {
        0 | 1 => (WorkStepKind::Message, "I will have another look at the report before I answer."),
        2 => (WorkStepKind::Message, "I will have another look at the report, before I answer you."),
        3 => (WorkStepKind::Message, r#"{"a":1}"#),
        4 => (WorkStepKind::ToolCall, "open the next page"),
        5 => (WorkStepKind::ToolResult, "there is no next page to be opened"),
        _ => (WorkStepKind::Message, "9f2b7c1de0aa41c7"),
    };
    let tool = if kind == WorkStepKind::Message { String::new() } else { "browser".to_owned() };
    WorkStep { kind, tool, content: content.to_owned(), fingerprint: pick == 6 }
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

fn child_id(name: u8) -> TaskId {
    TaskId::from_key(&format!("child {name}"), 1)
}

/// Ceilings that extensions soon meet.
fn ceilings() -> Ceilings {
    Ceilings {
        max_tokens: 250_000,
        deadline: Span::from_secs(900),
        max_hops: 4,
        max_turns: 16,
        max_replans: 5,
        max_rounds: 7,
        ..Ceilings::default()
    }
}

/// A person's answer: each kind, extensions with room for everything or for little.
fn human(which: usize, more: u64) -> HumanAnswer {
    let count = u32::try_from(more % 4).unwrap_or(0);
    let extend = |by| HumanAnswer::Extend { by, ceilings: Box::new(ceilings()) };
    match which {
        0 => HumanAnswer::Approve,
        1 => HumanAnswer::Abort,
        2 => HumanAnswer::Amend { result: json(r#"{"by":"a person"}"#), findings: Vec::new() },
        3 => HumanAnswer::Amend { result: json("7"), findings: vec!["is no object".to_owned()] },
        4 => extend(Extension { tokens: more, ..Extension::default() }),
        5 => extend(Extension { hops: count, turns: count, replans: count, ..Extension::default() }),
        // Refused where the contract sets no cap on steps.
        8 => extend(Extension { steps: count, ..Extension::default() }),
        6 => extend(Extension { time: Span::from_millis(more * 10), tokens: 500, ..Extension::default() }),
        _ => extend(Extension {
            tokens: more,
            tokens_per_turn: more / 8,
            tokens_by_agent: [(name("alpha"), more / 4)].into(),
            time: Span::from_millis(more),
            hops: 1,
            turns: 2,
            rounds: 1,
            replans: 1,
            revisions: count,
            ..Extension::default()
        }),
    }
}

/// Extensions never lead past a ceiling, whatever was asked for; the caps of the contract itself may stand above it.
fn check_ceilings(bench: &Bench, draft: &ContractDraft) {
    let (given, now, most) = (support::contract(draft), bench.task.contract(), ceilings());
    let held = |given: u64, now: u64, ceiling: u64| assert!(now <= given.max(ceiling), "{now} > {ceiling}");
    held(given.budget.max_tokens, now.budget.max_tokens, most.max_tokens);
    held(given.limits.deadline.0, now.limits.deadline.0, most.deadline.0);
    for (given, now, ceiling) in [
        (given.limits.max_hops, now.limits.max_hops, most.max_hops),
        (given.limits.max_turns, now.limits.max_turns, most.max_turns),
        (given.limits.max_rounds, now.limits.max_rounds, most.max_rounds),
        (given.limits.max_replans, now.limits.max_replans, most.max_replans),
        (given.gate.max_revisions, now.gate.max_revisions, fixed::MAX_REVISIONS),
        (given.limits.max_decides, now.limits.max_decides, fixed::MAX_DECIDES),
    ] {
        held(u64::from(given), u64::from(now), u64::from(ceiling));
    }
    assert_eq!(given.limits.max_lifetime, now.limits.max_lifetime, "nobody extends a lifetime");
    assert_eq!(
        bench.task.summary().ledger.granted,
        now.budget.max_tokens,
        "the ledger grants what the contract says"
    );
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
            let word = || vec!["does not fit".to_owned()];
            let findings = match bad {
                Bad::No => Findings::default(),
                Bad::Result => Findings { result: word(), ..Findings::default() },
                Bad::Output => Findings { output: word(), ..Findings::default() },
                Bad::Inputs => Findings { inputs: word(), ..Findings::default() },
            };
            let answer = Arc::new(Answer::Envelope(envelope(which, tokens)));
            let _ = bench.send(Command::Complete { lease, answer, findings });
        }
        Move::Judge { pick, agrees, tokens } => {
            let Some(lease) = nth(&live, pick) else { return };
            let answer = Arc::new(verdict(if agrees { &[] } else { &["off the goal"] }, tokens));
            let _ = bench.send(Command::Complete { lease, answer, findings: Findings::default() });
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
        Move::Stream { pick, said } => {
            let Some(lease) = nth(&live, pick) else { return };
            let steps = said.into_iter().map(work_step).collect();
            let _ = bench.send(Command::Progress { lease, steps, partial: None });
        }
        Move::Lose { pick } => {
            let Some(lease) = nth(&live, pick) else { return };
            let end = AttemptEnd::LeaseExpired;
            let _ = bench.send(Command::EndLease { lease, end, reason: "lost".to_owned() });
        }
        Move::HoldUp { pick } => {
            if let Some(turn) = nth(&bench.ready(), pick) {
                let reason = "unavailable: circuit open".to_owned();
                let _ = bench.send(Command::HoldUp { turn, reason });
            }
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
        Move::Child { pick, name, tokens } => {
            let Some(lease) = nth(seen, pick) else { return };
            let mut draft = ContractDraft { budget: None, limits: None, ..draft() };
            if tokens % 2 == 0 {
                draft.budget = Some(BudgetDraft { max_tokens: tokens, ..BudgetDraft::default() });
            }
            let _ = bench.send(Command::StartChild {
                lease,
                child: child_id(name),
                draft: Arc::new(draft),
                ceilings: Box::default(),
                fingerprint: u128::from(tokens % 7 == 0),
            });
        }
        Move::Hear { pick, tokens, unheard, counts, never } => {
            let children = bench.task.view().children;
            let Some(child) = (!children.is_empty()).then(|| &children[pick % children.len()]) else {
                return;
            };
            let used = Used {
                usage: usage(tokens),
                unheard,
                hops: counts,
                turns: counts,
                escalations: counts,
                by_agent: [(name("alpha"), tokens / 2)].into(),
            };
            let (state, used) =
                if never { (None, Used::default()) } else { (Some(TaskState::Succeeded), used) };
            let report = ChildReport { number: child.number, child: child.child, state, used };
            let _ = bench.send(Command::HearChild(Box::new(report.clone())));
            let events = bench.records.len();
            let _ = bench.send(Command::HearChild(Box::new(report)));
            assert_eq!(bench.records.len(), events, "a report twice is one report");
        }
        Move::Human { number, answer: which, more } => {
            let before = bench.records.len();
            let answered = bench.human(number, human(which, more));
            assert!(
                answered.is_ok() || bench.records.len() == before,
                "a refused answer leaves nothing behind"
            );
        }
        Move::Pass { millis } => bench.pass(Span::from_millis(millis)),
        Move::Unserved(unserved) => bench.known.served = !unserved,
        Move::Settle { redrive, asked } => settle(bench, redrive, asked),
        Move::Cancel(0) => {
            bench.send(Command::Cancel { reason: String::new() }).expect("never rejected");
        }
        Move::Cancel(_) => {}
    }
}

/// An operator redrives or discards: only a dead letter, once, and neither its outcome nor its books change by it.
fn settle(bench: &mut Bench, redrive: bool, asked: u128) {
    // What is due by now happens whatever is asked: look only at what the command itself does.
    bench.send(Command::Tick).expect("never rejected");
    let before = bench.task.view();
    let events = bench.records.len();
    let note = String::new();
    let command = if redrive {
        let successor = bench.task.id().of_redrive();
        let by = "ada".to_owned();
        Command::Redrive(Box::new(Redriven { successor, fingerprint: asked, changes: Vec::new(), by, note }))
    } else {
        Command::Discard(Box::new(Discarded { by: "bob".to_owned(), note }))
    };
    let answered = bench.send(command.clone());
    let (after, settled) = (bench.task.view(), bench.records.len() > events);
    assert_eq!((after.outcome, after.summary.ledger), (before.outcome, before.summary.ledger));
    let is_dead = before.summary.state == TaskState::DeadLettered;
    assert!(is_dead || answered.is_err(), "only a dead letter is redriven or discarded");
    let was_open = before.dead_letter.is_some_and(|letter| letter.settled.is_none());
    assert_eq!(settled, was_open && answered.is_ok(), "once");
    let now = bench.records.len();
    assert_eq!(bench.send(command).is_ok(), answered.is_ok(), "the same again is the same");
    assert_eq!(bench.records.len(), now, "and changes nothing");
}

/// With nobody doing anything any more, time alone ends the task.
fn run_out(bench: &mut Bench) {
    for _ in 0..200 {
        if let Some(ended_at) = bench.task.summary().ended_at {
            // A clock that was not looked at for as long as `Pass` jumps sees the end that much later.
            let most = bench.task.contract().limits.max_lifetime.0 + Span::from_secs(400).0;
            assert!(
                ended_at.since(bench.task.summary().created_at) <= Span(most),
                "it ends within its lifetime"
            );
            return;
        }
        let next = bench.task.next_timer(bench.now).expect("an open task has a timer");
        bench.now = bench.now.max(next);
        bench.pass(Span::from_millis(1));
    }
    panic!("the task did not end in 200 timers: {:?}", bench.story());
}

fn drafts() -> impl Strategy<Value = ContractDraft> {
    (any::<bool>(), 1_000..200_000_i64, 0..3_i32, 0..6_i32, 1..12_i32, 0..3_i32, any::<bool>()).prop_map(
        |(is_static, tokens, hops, revisions, turns, escalations, judged)| {
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
            if tokens % 4 < 2 {
                let terms = ConvergenceDraft { min_gain: 0.1, patience: revisions.max(1) };
                draft.termination.as_mut().expect("termination").convergence = Some(terms);
            }
            if tokens % 5 == 0 {
                draft.guards.max_steps = turns;
            }
            draft.gate.min_confidence = 0.5;
            draft.escalation.max_escalations = Some(escalations);
            if judged {
                draft.gate.validator = "judge".to_owned();
                draft.gate.spot_check_rate = if escalations > 0 { 0.5 } else { 0.0 };
            }
            draft
        },
    )
}

/// Takes from an event what journals had not before guards over content, the gate's checks, stories and children.
fn as_before(event: &Event) -> Event {
    let mut json = serde_json::to_value(event).expect("an event encodes");
    let without = |at: &str, keys: &[&str], json: &mut Value| {
        if let Some(object) = json.pointer_mut(at).and_then(Value::as_object_mut) {
            object.retain(|key, _| !keys.contains(&key.as_str()));
        }
    };
    without("/submitted/contract", &["guards"], &mut json);
    without("/turn_answered", &["inputs", "output_findings"], &mut json);
    without("/turn_answered/answer/envelope", &["score"], &mut json);
    without("/gate_judged", &["check", "validate_turn"], &mut json);
    without("/escalated", &["story", "room"], &mut json);
    without("/ended/ledger", &["children", "children_reserved"], &mut json);
    let trips = json.pointer_mut("/guards_tripped/trips").and_then(Value::as_array_mut);
    trips.into_iter().flatten().for_each(|trip| without("", &["turns", "pattern"], trip));
    serde_json::from_value(json).expect("an older event decodes")
}

/// A task of an older journal comes back as it was, and goes on to its end.
fn check_as_before(bench: &Bench) {
    let records =
        bench.records.iter().map(|record| Record { event: as_before(&record.event), ..record.clone() });
    let mut task = Task::replay(bench.task.id(), records).expect("an older journal replays");
    let (summary, now) = (task.summary(), bench.task.summary());
    assert_eq!((summary.counters, &summary.ledger), (now.counters, &now.ledger));
    assert_eq!((summary.state, summary.cause), (now.state, now.cause));
    let mut at = bench.now;
    for _ in 0..200 {
        let Some(next) = task.next_timer(at) else { break };
        at = at.max(next).plus(Span::from_millis(1));
        task.decide(Command::Tick, Env { now: at, agents: &bench.known }).expect("a tick is never rejected");
    }
    assert!(task.is_ended(), "{:?}", bench.story());
}

/// What is kept of a task that is not in memory says of it what the task itself would say.
fn check_parked(bench: &Bench) {
    let (task, env) = (&bench.task, Env { now: bench.now, agents: &bench.known });
    let Some(sleep) = task.sleep() else { return assert!(task.is_ended() && task.parked().is_none()) };
    assert_eq!(Some(sleep.next_look(env.now)), task.next_timer(env.now), "when to look");
    if !sleep.may_be_due(env) {
        let ticked = task.clone().decide(Command::Tick, env).expect("a tick is never rejected");
        assert!(ticked.records.is_empty(), "{:?} was due all the same", ticked.records);
    }
    let outstanding = task.outstanding();
    let open = outstanding.ready.len() + outstanding.leases.len();
    let Some(parked) = task.parked() else { return assert!(!outstanding.family.is_empty() || open > 16) };
    let text = serde_json::to_string(&parked).expect("it encodes");
    assert_eq!(Parked::parse(&text, task.seq()).as_ref(), Some(&parked), "as it was written");
    assert_eq!(Parked::parse(&text, task.seq() + 1), None, "of no use after another event");
    assert_eq!(parked.sleep(), sleep);
    let leases: Vec<Lease> = parked.leases.iter().map(|parked| parked.lease).collect();
    assert_eq!(leases, bench.leases());
    let offered: Vec<_> =
        parked.ready.into_iter().map(|turn: ReadyTurn| turn.effect(&parked.namespace)).collect();
    assert_eq!((offered, Vec::new()), (outstanding.ready, outstanding.family));
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
            check_parked(&bench);
        }
        bench.check_replay();
        check_as_before(&bench);
        check_ceilings(&bench, &draft);
        run_out(&mut bench);
        bench.check_replay();
    }
}
