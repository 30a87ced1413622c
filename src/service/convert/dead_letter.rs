//! Dead letters, in and out.

use crate::{
    engine::{
        dead_letter::{Discarded, Redriven, Redrives},
        intake::Violation,
        view::{DeadLetterView, Settled, SettledAs},
    },
    pb,
    runtime::dead_letters::{AttemptStory, DeadLetterStory},
};

use super::{
    enums, int32, int64, length,
    task::{outcome_out, summary_out, task_out},
    time::wire,
};

/// What was done with a dead letter, from a filter; `None` is nothing.
pub(crate) fn settled_in(number: i32) -> Option<Option<SettledAs>> {
    match pb::DeadLetterState::try_from(number).ok()? {
        pb::DeadLetterState::Unspecified => None,
        pb::DeadLetterState::Open => Some(None),
        pb::DeadLetterState::Redriven => Some(Some(SettledAs::Redriven)),
        pb::DeadLetterState::Discarded => Some(Some(SettledAs::Discarded)),
    }
}

/// What was done with a dead letter.
pub(crate) fn status_out(view: &DeadLetterView) -> pb::DeadLetterStatus {
    let DeadLetterView { settled, at } = view;
    let at = at.map(wire);
    match settled {
        None => pb::DeadLetterStatus { state: pb::DeadLetterState::Open as i32, at, ..Default::default() },
        Some(Settled::Redriven(redriven)) => {
            let Redriven { successor, fingerprint: _, changes, by, note } = redriven;
            pb::DeadLetterStatus {
                state: pb::DeadLetterState::Redriven as i32,
                redriven_as: successor.to_string(),
                changes: changes.clone(),
                by: by.clone(),
                note: note.clone(),
                at,
            }
        }
        Some(Settled::Discarded(Discarded { by, note })) => pb::DeadLetterStatus {
            state: pb::DeadLetterState::Discarded as i32,
            by: by.clone(),
            note: note.clone(),
            at,
            ..Default::default()
        },
    }
}

/// The dead letter that a task was made of.
pub(crate) fn redrives_out(redrives: &Redrives) -> pb::Redrives {
    let Redrives { task, by, note, story: _ } = redrives; // The first turn's notes have the story.
    pb::Redrives { task_id: task.to_string(), by: by.clone(), note: note.clone() }
}

/// What became of a redrive, as an event.
pub(crate) fn redriven_out(redriven: &Redriven) -> pb::Redriven {
    let Redriven { successor, fingerprint: _, changes, by, note } = redriven;
    pb::Redriven {
        successor_task_id: successor.to_string(),
        changes: changes.clone(),
        by: by.clone(),
        note: note.clone(),
    }
}

/// A dead letter; `whole`: with the task in full.
pub(crate) fn letter_out(story: &DeadLetterStory, redrive: pb::RedrivePlan, whole: bool) -> pb::DeadLetter {
    let DeadLetterStory { task, attempts, attempts_total } = story;
    pb::DeadLetter {
        summary: Some(summary_out(&task.summary)),
        outcome: task.outcome.as_ref().map(outcome_out),
        status: task.dead_letter.as_ref().map(status_out),
        attempts: attempts.iter().map(attempt_out).collect(),
        attempts_total: length(*attempts_total),
        redrive: Some(redrive),
        task: whole.then(|| task_out(task, &[])),
    }
}

fn attempt_out(story: &AttemptStory) -> pb::AttemptStory {
    let AttemptStory {
        turn,
        attempt,
        agent,
        worker,
        started_at,
        ended_at,
        end,
        answered,
        reason,
        allowance,
        spent,
    } = story;
    pb::AttemptStory {
        turn: int32(*turn),
        attempt: int32(*attempt),
        agent: agent.to_string(),
        worker_id: worker.to_string(),
        started_at: Some(wire(*started_at)),
        ended_at: ended_at.map(wire),
        end: end.map_or(pb::AttemptEnd::Unspecified, enums::attempt_end) as i32,
        answered: *answered,
        reason: reason.clone(),
        allowance_tokens: int64(*allowance),
        spent_tokens: int64(*spent),
    }
}

/// Faults of a contract.
pub(crate) fn violations_out(faults: &[Violation]) -> Vec<pb::ContractViolation> {
    let out = |Violation { field, description }: &Violation| pb::ContractViolation {
        field: field.clone(),
        description: description.clone(),
    };
    faults.iter().map(out).collect()
}
