//! Effects: what the runtime must do about events, derived from them. Replaying a journal drops them; `recover` says
//! which are still outstanding.

use super::{
    command::Effect,
    event::{AttemptEnd, Event},
    task::Task,
    turn::Stage,
};
use crate::types::{ids::TurnNumber, outcome::Cause};

/// The effects of one event, `task` being the state after it.
pub(super) fn of(event: &Event, task: &Task) -> Vec<Effect> {
    match event {
        Event::TurnOpened { turn, .. } => ready(task, *turn).into_iter().collect(),
        Event::TurnAnswered { turn, .. } => close(task, *turn, false).into_iter().collect(),
        Event::AttemptEnded { turn, end, reason, cause, .. } => {
            let ended = match end {
                AttemptEnd::Retryable => close(task, *turn, true),
                AttemptEnd::LeaseExpired
                | AttemptEnd::Released
                | AttemptEnd::Revoked
                | AttemptEnd::Undelivered => revoke(task, *turn, *end, reason, *cause),
            };
            ended.into_iter().chain(ready(task, *turn)).collect()
        }
        Event::TurnClosed { turn, .. } => vec![Effect::Withdraw { turn: *turn }],
        Event::Ended { .. } => vec![Effect::Ended],
        Event::ChildStarted(started) => vec![Effect::StartChild { number: started.number }],
        Event::ChildEnded(ended) if ended.used.is_none() => {
            vec![Effect::CancelChild { number: ended.number }]
        }
        _ => Vec::new(),
    }
}

fn revoke(
    task: &Task,
    turn: TurnNumber,
    end: AttemptEnd,
    reason: &str,
    cause: Option<Cause>,
) -> Option<Effect> {
    let attempt = task.turn(turn)?.attempts.last()?;
    let (lease, worker) = (attempt.lease, attempt.worker.clone());
    Some(Effect::Revoke { lease, worker, end, reason: reason.to_owned(), cause })
}

fn close(task: &Task, turn: TurnNumber, technical: bool) -> Option<Effect> {
    let attempt = task.turn(turn)?.attempts.last()?;
    Some(Effect::Close { technical, lease: attempt.lease, worker: attempt.worker.clone() })
}

/// The offer of a turn that waits.
pub(super) fn ready(task: &Task, turn: TurnNumber) -> Option<Effect> {
    let turn = task.turn(turn)?;
    let Stage::Ready { not_before, .. } = turn.stage else { return None };
    Some(Effect::Ready {
        turn: turn.number,
        agent: turn.agent.clone(),
        kind: turn.kind,
        namespace: task.contract.namespace.clone(),
        priority: task.contract.priority,
        not_before,
    })
}

/// The effects of a whole decision: those of its events, with every turn that waits at the end offered once and none that
/// was closed on the way.
pub(super) fn net(effects: Vec<Effect>, task: &Task) -> Vec<Effect> {
    let mut kept = Vec::with_capacity(effects.len());
    for effect in effects {
        let stands = match &effect {
            Effect::Ready { turn, .. } => ready(task, *turn).is_some(),
            _ => true,
        };
        if stands {
            kept.push(effect);
        }
    }
    kept
}
