//! The turns of a task as a table: who answered what, how surely, at what cost, in what time.

use crate::pb;

use super::{
    Look, gate, ledger,
    tables::table,
    text::{between, clean, clip, number},
    words,
};

/// One row a turn: number, agent, status, confidence, tokens, time, attempts, worker, what it said.
#[must_use]
pub fn turns(look: Look, turns: &[pb::Turn]) -> String {
    let rows = turns.iter().map(row).collect();
    table(look, &["turn", "agent", "answer", "conf", "tokens", "time", "tries", "worker", "said"], rows)
}

fn row(turn: &pb::Turn) -> Vec<String> {
    let judged = turn.verdict.as_ref().and_then(|verdict| verdict.confidence);
    let confidence = turn.envelope.as_ref().and_then(|envelope| envelope.confidence).or(judged);
    vec![
        turn.turn.to_string(),
        who(turn),
        answer(turn),
        confidence.map(|value| format!("{value:.2}")).unwrap_or_default(),
        number(turn.spent_tokens),
        between(turn.started_at.as_ref(), turn.ended_at.as_ref()),
        turn.attempts.to_string(),
        clip(&turn.worker_id, 24),
        clip(&said(turn), 100),
    ]
}

fn who(turn: &pb::Turn) -> String {
    if turn.step_id.is_empty() {
        clean(&turn.agent)
    } else {
        format!("{} ({})", clean(&turn.agent), clean(&turn.step_id))
    }
}

fn answer(turn: &pb::Turn) -> String {
    match (&turn.envelope, &turn.decision) {
        (Some(envelope), _) => words::status(envelope.status),
        (None, Some(decision)) => decision_words(decision).0.to_owned(),
        (None, None) if turn.verdict.is_some() => {
            turn.verdict.as_ref().map(gate::verdict_word).unwrap_or_default().to_owned()
        }
        (None, None) => words::small(&words::turn_state(turn.state)),
    }
}

fn said(turn: &pb::Turn) -> String {
    if let Some(envelope) = &turn.envelope {
        let said = directive(envelope).unwrap_or_else(|| envelope.reason.clone());
        let parts = [said, gate::inputs(turn.inputs.as_ref())];
        return parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    }
    if let Some(verdict) = &turn.verdict {
        return verdict.reasons.join("; ");
    }
    match &turn.decision {
        Some(decision) => decision_words(decision).1,
        None if turn.answer_left_out => {
            "its answer is left out of so large a task: `watch` shows it".to_owned()
        }
        None => turn.notes.join("; "),
    }
}

/// What an envelope wants next, in words; None without a directive.
#[must_use]
pub fn directive(envelope: &pb::StatusEnvelope) -> Option<String> {
    use pb::status_envelope::Directive;
    Some(match envelope.directive.as_ref()? {
        Directive::HandOff(hand_off) => format!("hands off to {}", clean(&hand_off.agent)),
        Directive::Delegate(delegate) => {
            let steps = delegate.plan.as_ref().map_or(0, |plan| plan.steps.len());
            format!("delegates a plan of {steps} step{}", if steps == 1 { "" } else { "s" })
        }
        Directive::AskHuman(ask) => format!("asks a person: {}", clean(&ask.question)),
    })
}

/// A decision in a word, and the reason that came with it.
#[must_use]
pub fn decision_words(decision: &pb::Decision) -> (&'static str, String) {
    use pb::decision::Decision;
    match &decision.decision {
        None => ("nothing", String::new()),
        Some(Decision::Replan(replan)) => ("replan", clean(&replan.reason)),
        Some(Decision::CompletePartial(partial)) => ("complete partial", clean(&partial.reason)),
        Some(Decision::Escalate(escalate)) => ("escalate", clean(&escalate.question)),
        Some(Decision::Abort(abort)) => ("abort", clean(&abort.reason)),
    }
}

/// A page of tasks: id, state, cause, owner, turns, hops, tokens, age of the last event.
#[must_use]
pub fn tasks(look: Look, tasks: &[pb::TaskSummary]) -> String {
    let rows = tasks
        .iter()
        .map(|task| {
            let counters = task.counters.unwrap_or_default();
            vec![
                clean(&task.task_id),
                words::state(task.state),
                if task.cause == 0 { String::new() } else { words::cause(task.cause) },
                clean(&task.owner),
                counters.turns.to_string(),
                counters.hops.to_string(),
                ledger::short(task.ledger.as_ref()),
                super::text::date(task.created_at.as_ref()),
                clip(&task.goal, 60),
            ]
        })
        .collect();
    table(
        look,
        &["task", "state", "cause", "owner", "turns", "hops", "tokens", "submitted (UTC)", "goal"],
        rows,
    )
}
