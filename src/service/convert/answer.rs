//! Answers of workers: envelopes, decisions, usage, streamed steps. In: every bound of envelope.proto is checked here,
//! and what breaks one is refused while the lease stays live. What a model, not its worker, got wrong (a plan that is no
//! plan, the name of an agent that cannot exist) is no error but a directive to be refused, so that the agent is told.

use crate::{
    engine::intake::Violation,
    pb,
    types::{
        envelope::{Answer, Confidence, Decision, Directive, Envelope, HandOff, Status, WorkStep},
        ids::{AgentName, MAX_NAME_BYTES},
        limits::fixed::{MAX_TEXT_BYTES, MAX_WORK_STEP_BYTES, MAX_WORK_STEPS},
        payload::Payload,
        usage::{MAX_REPORTED_TOKENS, Usage},
    },
};

use super::{enums, faults::Faults, int64, plan, value::value, verdict};

/// Lineage entries an answer may name.
const MAX_INPUTS_USED: usize = 1_000;
/// The longest name of a model or a tool, in characters.
const MAX_LABEL_CHARS: usize = 128;

/// The answer of a `Complete`, and the model whose usage it reports (empty: not said).
pub(crate) fn answer(wire: Option<pb::complete::Answer>) -> Result<(Answer, String), Vec<Violation>> {
    let mut faults = Faults::default();
    let answer = match wire {
        None => {
            faults.add("answer", "is required: set envelope on a WORK turn, decision on a DECIDE turn, verdict on a VALIDATE turn");
            None
        }
        Some(pb::complete::Answer::Envelope(wire)) => envelope(wire, &mut faults),
        Some(pb::complete::Answer::Decision(wire)) => decision_answer(wire, &mut faults),
        Some(pb::complete::Answer::Verdict(wire)) => verdict::verdict(wire, &mut faults),
    };
    faults.finish(answer)
}

fn envelope(wire: pb::StatusEnvelope, faults: &mut Faults) -> Option<(Answer, String)> {
    let pb::StatusEnvelope {
        status,
        result,
        confidence,
        reason,
        usage,
        inputs_used,
        retryable,
        directive: wanted,
        score,
    } = wire;
    let status = faults.one_of(
        "envelope.status",
        status,
        enums::status_in(status),
        "STATUS_SUCCESS, STATUS_PARTIAL or STATUS_FAILED",
    );
    check_envelope(status, &reason, &inputs_used, retryable, faults);
    let confidence = self::confidence("envelope.confidence", confidence, faults);
    let score = score.and_then(|number| {
        let found = Confidence::new(number);
        if found.is_none() {
            faults.add("envelope.score", format!("{number} is no score: write a number from 0 to 1"));
        }
        found
    });
    let (usage, model) = maybe_usage("envelope.usage", usage, faults);
    let result = faults.payload("envelope.result", result.as_ref());
    let directive = wanted.map(|wanted| directive(wanted, faults));
    let envelope = Envelope {
        status: status?,
        result,
        confidence,
        reason,
        usage,
        inputs_used,
        retryable,
        directive,
        score,
    };
    Some((Answer::Envelope(envelope), model))
}

/// A confidence that may be absent. One that is no number from 0 to 1 is a fault that names the field.
pub(super) fn confidence(field: &str, said: Option<f64>, faults: &mut Faults) -> Option<Confidence> {
    let number = said?;
    let found = Confidence::new(number);
    if found.is_none() {
        faults.add(field, format!("{number} is no confidence: write a number from 0 to 1"));
    }
    found
}

fn check_envelope(
    status: Option<Status>,
    reason: &str,
    inputs_used: &[String],
    retryable: bool,
    faults: &mut Faults,
) {
    match status {
        Some(Status::Partial | Status::Failed) => {
            faults.required("envelope.reason", reason, MAX_TEXT_BYTES, "why, in a sentence");
        }
        Some(Status::Success) | None => faults.text("envelope.reason", reason, MAX_TEXT_BYTES),
    }
    if retryable && matches!(status, Some(Status::Success | Status::Partial)) {
        faults.add("envelope.retryable", "goes with STATUS_FAILED only: leave it out");
    }
    faults.list("envelope.inputs_used", inputs_used, MAX_INPUTS_USED);
    for (index, id) in inputs_used.iter().enumerate().take(MAX_INPUTS_USED) {
        faults.required(
            &format!("envelope.inputs_used[{index}]"),
            id,
            MAX_NAME_BYTES,
            "the id of a lineage entry",
        );
    }
}

fn directive(wire: pb::status_envelope::Directive, faults: &mut Faults) -> Directive {
    match wire {
        pb::status_envelope::Directive::HandOff(wire) => match hand_off(wire, "envelope.hand_off", faults) {
            Ok(hand_off) => Directive::HandOff(hand_off),
            Err(reason) => Directive::InvalidPlan(vec![reason]),
        },
        pb::status_envelope::Directive::Delegate(pb::Delegate { plan: wire }) => {
            match plan::agents_plan(wire, "plan") {
                Ok(plan) => Directive::Delegate(plan),
                Err(reasons) => Directive::InvalidPlan(reasons),
            }
        }
        pb::status_envelope::Directive::AskHuman(pb::AskHuman { question }) => {
            faults.required("envelope.ask_human.question", &question, MAX_TEXT_BYTES, "the question");
            Directive::AskHuman(question)
        }
    }
}

/// A hand-off, or why the name of its agent cannot be one. Its input is a fault like any other.
fn hand_off(wire: pb::HandOff, path: &str, faults: &mut Faults) -> Result<HandOff, String> {
    let pb::HandOff { agent, input } = wire;
    let input: Option<Payload> = faults.payload(&format!("{path}.input"), input.as_ref());
    let agent: AgentName = agent.parse().map_err(|error| format!("hand_off.agent: {error}"))?;
    Ok(HandOff { agent, input })
}

fn decision_answer(wire: pb::Decision, faults: &mut Faults) -> Option<(Answer, String)> {
    let pb::Decision { usage, decision: wanted } = wire;
    let (usage, model) = maybe_usage("decision.usage", usage, faults);
    let Some(wanted) = wanted else {
        faults.add("decision", "is required: set one of replan, complete_partial, escalate and abort");
        return None;
    };
    let decision = decision(wanted, faults)?;
    Some((Answer::Decision { decision, usage }, model))
}

fn decision(wire: pb::decision::Decision, faults: &mut Faults) -> Option<Decision> {
    Some(match wire {
        pb::decision::Decision::Replan(wire) => replan(wire, faults)?,
        pb::decision::Decision::CompletePartial(pb::CompletePartial { result, reason }) => {
            faults.text("decision.complete_partial.reason", &reason, MAX_TEXT_BYTES);
            let result = faults.payload("decision.complete_partial.result", result.as_ref());
            Decision::CompletePartial { result, reason }
        }
        pb::decision::Decision::Escalate(pb::EscalateDecision { question }) => {
            faults.required("decision.escalate.question", &question, MAX_TEXT_BYTES, "the question");
            Decision::Escalate(question)
        }
        pb::decision::Decision::Abort(pb::AbortDecision { reason }) => {
            faults.required("decision.abort.reason", &reason, MAX_TEXT_BYTES, "why, in a sentence");
            Decision::Abort(reason)
        }
    })
}

fn replan(wire: pb::Replan, faults: &mut Faults) -> Option<Decision> {
    let pb::Replan { next, reason } = wire;
    faults.text("decision.replan.reason", &reason, MAX_TEXT_BYTES);
    Some(match next {
        None => {
            faults.add("decision.replan.next", "is required: set plan or agent");
            return None;
        }
        Some(pb::replan::Next::Plan(wire)) => match plan::agents_plan(Some(wire), "plan") {
            Ok(plan) => Decision::ReplanWith(plan),
            Err(reasons) => Decision::InvalidReplan(reasons),
        },
        Some(pb::replan::Next::Agent(wire)) => match hand_off(wire, "decision.replan.agent", faults) {
            Ok(to) => Decision::ReplanTo(to),
            Err(reason) => Decision::InvalidReplan(vec![reason]),
        },
    })
}

pub(super) fn maybe_usage(
    path: &str,
    wire: Option<pb::Usage>,
    faults: &mut Faults,
) -> (Option<Usage>, String) {
    wire.map_or_else(
        || (None, String::new()),
        |wire| {
            let (usage, model) = usage(path, wire, faults);
            (Some(usage), model)
        },
    )
}

/// A usage report without its price, and the model it names (empty: not said).
pub(crate) fn usage(path: &str, wire: pb::Usage, faults: &mut Faults) -> (Usage, String) {
    let pb::Usage { input_tokens, output_tokens, cached_tokens, reasoning_tokens, model } = wire;
    let mut tokens = |field: &str, number: i64, most: u64| match u64::try_from(number) {
        Ok(number) if number <= most => number,
        _ => {
            faults.add(format!("{path}.{field}"), format!("is {number}: write a number from 0 to {most}"));
            0
        }
    };
    let input = tokens("input_tokens", input_tokens, MAX_REPORTED_TOKENS);
    let output = tokens("output_tokens", output_tokens, MAX_REPORTED_TOKENS);
    let cached = tokens("cached_tokens", cached_tokens, input);
    let reasoning = tokens("reasoning_tokens", reasoning_tokens, output);
    faults.short(&format!("{path}.model"), &model, MAX_LABEL_CHARS);
    (Usage { input, output, cached, reasoning, cost_nano_usd: 0 }, model)
}

/// The steps of a progress report.
pub(crate) fn work_steps(wire: Vec<pb::WorkStep>, faults: &mut Faults) -> Vec<WorkStep> {
    faults.list("progress.steps", &wire, MAX_WORK_STEPS);
    let step = |(index, step): (usize, pb::WorkStep)| {
        let pb::WorkStep { kind, tool, content, fingerprint } = step;
        let path = format!("progress.steps[{index}]");
        let names = "WORK_STEP_KIND_MESSAGE, WORK_STEP_KIND_TOOL_CALL or WORK_STEP_KIND_TOOL_RESULT";
        let kind = faults.one_of(&format!("{path}.kind"), kind, enums::work_step_kind_in(kind), names)?;
        faults.short(&format!("{path}.tool"), &tool, MAX_LABEL_CHARS);
        faults.text(&format!("{path}.content"), &content, MAX_WORK_STEP_BYTES);
        Some(WorkStep { kind, tool, content, fingerprint })
    };
    wire.into_iter().take(MAX_WORK_STEPS).enumerate().filter_map(step).collect()
}

/// Usage for the wire. The journal keeps figures, not the model's name.
pub(crate) fn usage_out(usage: Usage) -> pb::Usage {
    let Usage { input, output, cached, reasoning, cost_nano_usd: _ } = usage;
    pb::Usage {
        input_tokens: int64(input),
        output_tokens: int64(output),
        cached_tokens: int64(cached),
        reasoning_tokens: int64(reasoning),
        model: String::new(),
    }
}

/// One of the three.
type AnswerOut = (Option<pb::StatusEnvelope>, Option<pb::Decision>, Option<pb::Verdict>);

/// An answer for the wire: as an envelope, as a decision or as a verdict.
pub(crate) fn answer_out(answer: &Answer) -> AnswerOut {
    match answer {
        Answer::Envelope(envelope) => (Some(envelope_out(envelope)), None, None),
        Answer::Decision { decision, usage } => {
            let decision = Some(decision_out(decision));
            (None, Some(pb::Decision { usage: usage.map(usage_out), decision }), None)
        }
        Answer::Verdict(verdict) => (None, None, Some(verdict::verdict_out(verdict))),
    }
}

/// An envelope for the wire.
pub(crate) fn envelope_out(envelope: &Envelope) -> pb::StatusEnvelope {
    let Envelope { status, result, confidence, reason, usage, inputs_used, retryable, directive, score } =
        envelope;
    pb::StatusEnvelope {
        status: enums::status(*status) as i32,
        result: result.as_ref().map(value),
        confidence: confidence.map(Confidence::get),
        reason: reason.clone(),
        usage: usage.map(usage_out),
        inputs_used: inputs_used.clone(),
        retryable: *retryable,
        directive: directive.as_ref().map(directive_out),
        score: score.map(Confidence::get),
    }
}

fn directive_out(directive: &Directive) -> pb::status_envelope::Directive {
    use pb::status_envelope::Directive as Wire;
    match directive {
        Directive::HandOff(to) => Wire::HandOff(hand_off_out(to)),
        Directive::Delegate(plan) => Wire::Delegate(pb::Delegate { plan: Some(plan::plan_out(plan)) }),
        // What was sent is not kept: the reasons stand in the DirectiveRefused event.
        Directive::InvalidPlan(_) => Wire::Delegate(pb::Delegate { plan: None }),
        Directive::AskHuman(question) => Wire::AskHuman(pb::AskHuman { question: question.clone() }),
    }
}

fn hand_off_out(to: &HandOff) -> pb::HandOff {
    let HandOff { agent, input } = to;
    pb::HandOff { agent: agent.to_string(), input: input.as_ref().map(value) }
}

fn decision_out(decision: &Decision) -> pb::decision::Decision {
    use pb::{decision::Decision as Wire, replan::Next};
    let replan = |next| Wire::Replan(pb::Replan { next, reason: String::new() });
    match decision {
        Decision::ReplanWith(plan) => replan(Some(Next::Plan(plan::plan_out(plan)))),
        Decision::ReplanTo(to) => replan(Some(Next::Agent(hand_off_out(to)))),
        Decision::InvalidReplan(_) => replan(None),
        Decision::CompletePartial { result, reason } => Wire::CompletePartial(pb::CompletePartial {
            result: result.as_ref().map(value),
            reason: reason.clone(),
        }),
        Decision::Escalate(question) => Wire::Escalate(pb::EscalateDecision { question: question.clone() }),
        Decision::Abort(reason) => Wire::Abort(pb::AbortDecision { reason: reason.clone() }),
    }
}

#[cfg(test)]
mod tests;
