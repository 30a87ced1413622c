//! Verdicts of validators, in and out, and what answers said of their inputs.

use crate::{
    engine::event::InputsCheck,
    pb,
    types::{
        envelope::{Answer, Confidence, Verdict},
        limits::fixed::{MAX_REASON_BYTES, MAX_REASONS},
    },
};

use super::{
    answer::{confidence, maybe_usage, usage_out},
    enums,
    faults::Faults,
};

/// The verdict of a `Complete`, and the model whose usage it reports (empty: not said).
pub(super) fn verdict(wire: pb::Verdict, faults: &mut Faults) -> Option<(Answer, String)> {
    let pb::Verdict { verdict, confidence: said, reasons, usage } = wire;
    let (usage, model) = maybe_usage("verdict.usage", usage, faults);
    let names = "JUDGEMENT_AGREE or JUDGEMENT_DISAGREE";
    let judged = faults.one_of("verdict.verdict", verdict, enums::judgement_in(verdict), names);
    let confidence = confidence("verdict.confidence", said, faults);
    faults.list("verdict.reasons", &reasons, MAX_REASONS);
    for (index, reason) in reasons.iter().enumerate().take(MAX_REASONS) {
        let field = format!("verdict.reasons[{index}]");
        faults.required(&field, reason, MAX_REASON_BYTES, "what stands against it, in a sentence");
    }
    if verdict == pb::Judgement::Disagree as i32 && reasons.is_empty() {
        faults.add("verdict.reasons", "is required with JUDGEMENT_DISAGREE: the author is told them");
    }
    Some((Answer::Verdict(Verdict { verdict: judged?, confidence, reasons, usage }), model))
}

/// A verdict for the wire.
pub(crate) fn verdict_out(verdict: &Verdict) -> pb::Verdict {
    let Verdict { verdict, confidence, reasons, usage } = verdict;
    pb::Verdict {
        verdict: enums::judgement(*verdict) as i32,
        confidence: confidence.map(Confidence::get),
        reasons: reasons.clone(),
        usage: usage.map(usage_out),
    }
}

/// What an answer said of its inputs, for the wire.
pub(crate) fn inputs_out(check: &InputsCheck) -> pb::InputsCheck {
    let InputsCheck { ignored, unknown, not_said } = check;
    pb::InputsCheck { ignored: ignored.clone(), unknown: unknown.clone(), not_said: *not_said }
}
