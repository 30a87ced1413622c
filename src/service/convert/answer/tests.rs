//! Answers in and out, and every bound of envelope.proto, through one helper each.

use prost_types::Value;
use serde_json::json;

use super::*;

fn envelope(status: pb::Status) -> pb::StatusEnvelope {
    pb::StatusEnvelope { status: status as i32, ..Default::default() }
}

fn work(wire: pb::StatusEnvelope) -> Result<(Answer, String), Vec<Violation>> {
    answer(Some(pb::complete::Answer::Envelope(wire)))
}

fn decide(wanted: Option<pb::decision::Decision>) -> Result<(Answer, String), Vec<Violation>> {
    answer(Some(pb::complete::Answer::Decision(pb::Decision { usage: None, decision: wanted })))
}

fn fields<T: std::fmt::Debug>(result: Result<T, Vec<Violation>>) -> Vec<String> {
    result.err().unwrap_or_default().into_iter().map(|v| v.field).collect()
}

/// A successful envelope, changed, must be refused for exactly these fields.
fn check(change: impl FnOnce(&mut pb::StatusEnvelope), expected: &[&str]) {
    let mut wire = envelope(pb::Status::Success);
    change(&mut wire);
    assert_eq!(fields(work(wire)), expected);
}

#[test]
fn every_bound_of_an_envelope_is_checked() {
    check(|_| {}, &[]);
    check(|e| e.status = 0, &["envelope.status"]);
    check(|e| e.status = 17, &["envelope.status"]);
    check(|e| e.confidence = Some(1.7), &["envelope.confidence"]);
    check(|e| e.confidence = Some(f64::NAN), &["envelope.confidence"]);
    check(|e| e.confidence = Some(-0.1), &["envelope.confidence"]);
    check(|e| e.status = pb::Status::Failed as i32, &["envelope.reason"]);
    check(|e| e.status = pb::Status::Partial as i32, &["envelope.reason"]);
    check(|e| e.reason = "x".repeat(MAX_TEXT_BYTES + 1), &["envelope.reason"]);
    check(|e| e.retryable = true, &["envelope.retryable"]);
    check(|e| e.result = Some(Value { kind: None }), &["envelope.result"]);
    check(|e| e.inputs_used = vec!["a".into(); MAX_INPUTS_USED + 1], &["envelope.inputs_used"]);
    check(|e| e.inputs_used = vec![String::new()], &["envelope.inputs_used[0]"]);
    check(|e| e.usage = Some(usage(-1, 0, 0, 0)), &["envelope.usage.input_tokens"]);
    check(|e| e.usage = Some(usage(1, i64::MAX, 0, 0)), &["envelope.usage.output_tokens"]);
    check(
        |e| e.usage = Some(usage(1, 1, 2, 2)),
        &["envelope.usage.cached_tokens", "envelope.usage.reasoning_tokens"],
    );
    let question =
        |text: String| Some(pb::status_envelope::Directive::AskHuman(pb::AskHuman { question: text }));
    check(|e| e.directive = question(String::new()), &["envelope.ask_human.question"]);
    check(|e| e.directive = question("x".repeat(MAX_TEXT_BYTES + 1)), &["envelope.ask_human.question"]);
    check(
        |e| {
            e.status = 0;
            e.confidence = Some(1.7);
        },
        &["envelope.confidence", "envelope.status"],
    );
}

fn usage(input: i64, output: i64, cached: i64, reasoning: i64) -> pb::Usage {
    pb::Usage {
        input_tokens: input,
        output_tokens: output,
        cached_tokens: cached,
        reasoning_tokens: reasoning,
        model: "m".into(),
    }
}

#[test]
fn every_bound_of_a_decision_is_checked() {
    use pb::decision::Decision as Wire;
    assert_eq!(fields(answer(None)), ["answer"]);
    assert_eq!(fields(decide(None)), ["decision"]);
    let replan = |next| Some(Wire::Replan(pb::Replan { next, reason: String::new() }));
    assert_eq!(fields(decide(replan(None))), ["decision.replan.next"]);
    let escalate = pb::EscalateDecision { question: String::new() };
    assert_eq!(fields(decide(Some(Wire::Escalate(escalate)))), ["decision.escalate.question"]);
    let abort = pb::AbortDecision { reason: " ".into() };
    assert_eq!(fields(decide(Some(Wire::Abort(abort)))), ["decision.abort.reason"]);
    let partial = pb::CompletePartial { result: Some(Value { kind: None }), reason: "x".repeat(5_000) };
    assert_eq!(
        fields(decide(Some(Wire::CompletePartial(partial)))),
        ["decision.complete_partial.reason", "decision.complete_partial.result"]
    );
}

fn directive_of(wanted: pb::status_envelope::Directive) -> Option<Directive> {
    let wire = pb::StatusEnvelope { directive: Some(wanted), ..envelope(pb::Status::Success) };
    match work(wire).expect("the envelope itself is well formed").0 {
        Answer::Envelope(envelope) => envelope.directive,
        Answer::Decision { .. } | Answer::Verdict(_) => None,
    }
}

#[test]
fn what_the_model_got_wrong_becomes_a_directive_to_be_refused() {
    let delegate = |plan| directive_of(pb::status_envelope::Directive::Delegate(pb::Delegate { plan }));
    for (plan, says) in [
        (None, "plan"),
        (Some(pb::Plan::default()), "plan.steps"),
        (Some(pb::Plan { on_step_failure: 9, ..Default::default() }), "plan.on_step_failure"),
    ] {
        let Some(Directive::InvalidPlan(reasons)) = delegate(plan) else { panic!("not refused: {says}") };
        assert!(reasons.iter().any(|reason| reason.starts_with(says)), "{says}: {reasons:?}");
    }
    let to = |agent: &str| pb::HandOff { agent: agent.into(), input: None };
    let handed = directive_of(pb::status_envelope::Directive::HandOff(to("Bob Smith")));
    assert!(matches!(handed, Some(Directive::InvalidPlan(_))), "{handed:?}");
    let replanned = decide(Some(pb::decision::Decision::Replan(pb::Replan {
        next: Some(pb::replan::Next::Agent(to(""))),
        reason: String::new(),
    })));
    let refused =
        matches!(replanned, Ok((Answer::Decision { decision: Decision::InvalidReplan(_), usage: None }, _)));
    assert!(refused, "{replanned:?}");
}

/// A wire answer must come out as it went in, but for the model's name.
fn round_trip(wire: pb::complete::Answer) {
    let (answer, model) = answer(Some(wire.clone())).expect("it is well formed");
    let (envelope, decision, verdict) = answer_out(&answer);
    let name = |usage: Option<pb::Usage>| usage.map(|usage| pb::Usage { model: model.clone(), ..usage });
    let out = match (envelope, decision, verdict) {
        (Some(e), None, None) => {
            pb::complete::Answer::Envelope(pb::StatusEnvelope { usage: name(e.usage.clone()), ..e })
        }
        (None, Some(d), None) => {
            pb::complete::Answer::Decision(pb::Decision { usage: name(d.usage.clone()), ..d })
        }
        (None, None, Some(v)) => {
            pb::complete::Answer::Verdict(pb::Verdict { usage: name(v.usage.clone()), ..v })
        }
        other => panic!("none or several: {other:?}"),
    };
    assert_eq!(out, wire);
}

#[test]
fn answers_survive_the_way_in_and_out() {
    use pb::{complete::Answer as Wire, decision::Decision as Decided, status_envelope::Directive as Wanted};
    let json = |json| Some(value(&Payload::from_json(&json)));
    let full = pb::StatusEnvelope {
        score: Some(0.5),
        status: pb::Status::Failed as i32,
        result: json(json!({"a": [1, 2.5, "x", null, true]})),
        confidence: Some(0.25),
        reason: "upstream is away".into(),
        usage: Some(usage(10, 5, 3, 2)),
        inputs_used: vec!["turn-1".into()],
        retryable: true,
        directive: None,
    };
    round_trip(Wire::Envelope(full.clone()));
    let hand_off = pb::HandOff { agent: "writer".into(), input: json(json!("go")) };
    let plan = pb::Plan {
        steps: vec![pb::Step { id: "a".into(), agent: "writer".into(), max_tokens: 7, ..Default::default() }],
        on_step_failure: pb::OnStepFailure::Wait as i32,
        result_step: String::new(),
    };
    for wanted in [
        Wanted::HandOff(hand_off.clone()),
        Wanted::Delegate(pb::Delegate { plan: Some(plan.clone()) }),
        Wanted::AskHuman(pb::AskHuman { question: "which?".into() }),
    ] {
        round_trip(Wire::Envelope(pb::StatusEnvelope {
            directive: Some(wanted),
            ..envelope(pb::Status::Success)
        }));
    }
    let replan = |next| Decided::Replan(pb::Replan { next: Some(next), reason: String::new() });
    for decided in [
        replan(pb::replan::Next::Plan(plan)),
        replan(pb::replan::Next::Agent(hand_off)),
        Decided::CompletePartial(pb::CompletePartial { result: json(json!(1)), reason: "late".into() }),
        Decided::Escalate(pb::EscalateDecision { question: "which?".into() }),
        Decided::Abort(pb::AbortDecision { reason: "no use".into() }),
    ] {
        let usage = Some(usage(1, 1, 0, 0));
        round_trip(Wire::Decision(pb::Decision { usage, decision: Some(decided) }));
    }
}

#[test]
fn steps_are_bounded() {
    let step = |kind, tool: &str, content: String| pb::WorkStep {
        kind,
        tool: tool.into(),
        content,
        fingerprint: false,
    };
    let check = |steps: Vec<pb::WorkStep>, expected: &[&str]| {
        let mut faults = Faults::default();
        let kept = work_steps(steps.clone(), &mut faults);
        let found: Vec<_> = faults.sorted().into_iter().map(|v| v.field).collect();
        assert_eq!(found, expected);
        assert!(!found.is_empty() || kept.len() == steps.len());
    };
    check(vec![step(0, "", "hello".into()), step(3, "search", String::new())], &[]);
    check(vec![step(9, "", String::new())], &["progress.steps[0].kind"]);
    check(vec![step(1, &"t".repeat(129), String::new())], &["progress.steps[0].tool"]);
    check(vec![step(1, "", "x".repeat(MAX_WORK_STEP_BYTES + 1))], &["progress.steps[0].content"]);
    check(vec![step(1, "", String::new()); MAX_WORK_STEPS + 1], &["progress.steps"]);
}

#[test]
fn verdicts_are_held_to_their_bounds_and_survive_the_way() {
    let verdict = |wire: pb::Verdict| answer(Some(pb::complete::Answer::Verdict(wire)));
    let fields = |wire| -> Vec<String> {
        verdict(wire).err().unwrap_or_default().into_iter().map(|v| v.field).collect()
    };
    let agree = || pb::Verdict { verdict: pb::Judgement::Agree as i32, ..Default::default() };
    let disagree = |reasons: &[&str]| pb::Verdict {
        verdict: pb::Judgement::Disagree as i32,
        reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
        ..Default::default()
    };
    assert_eq!(fields(pb::Verdict::default()), ["verdict.verdict"]);
    assert_eq!(fields(disagree(&[])), ["verdict.reasons"]);
    assert_eq!(fields(disagree(&[" "])), ["verdict.reasons[0]"]);
    assert_eq!(fields(disagree(&["x"; 21])), ["verdict.reasons"]);
    for wrong in [1.7, -0.1, f64::NAN, f64::INFINITY] {
        assert_eq!(fields(pb::Verdict { confidence: Some(wrong), ..agree() }), ["verdict.confidence"]);
    }
    round_trip(pb::complete::Answer::Verdict(pb::Verdict {
        confidence: Some(0.5),
        usage: Some(usage(10, 5, 3, 2)),
        ..disagree(&["the goal asks for two", "and this is one"])
    }));
    round_trip(pb::complete::Answer::Verdict(agree()));
}
