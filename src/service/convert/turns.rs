//! The turns of a task, out. A task may have ten thousand, each with a megabyte: what they answered goes out as far as there
//! is room, the newest first. Never here: a turn left out, or an answer left out without a word.

use prost::Message as _;

use crate::{engine::view::TurnView, pb};

use super::{answer::answer_out, enums, int32, int64, time::wire, verdict::inputs_out};

/// Every turn; what they answered within `room` bytes. From the first that does not fit on, older ones come without.
pub(super) fn turns_out(views: &[TurnView], room: usize) -> Vec<pb::Turn> {
    let mut turns: Vec<_> = views.iter().map(bare).collect();
    let bare: usize = turns.iter().map(framed).sum();
    let mut room = room.saturating_sub(bare);
    for (turn, view) in turns.iter_mut().zip(views).rev().filter(|(_, view)| view.answer.is_some()) {
        let whole = if room == 0 { None } else { Some(turn_out(view)) };
        match whole.filter(|whole| framed(whole) - framed(turn) <= room) {
            Some(whole) => {
                room -= framed(&whole) - framed(turn);
                *turn = whole;
            }
            None => {
                room = 0;
                turn.answer_left_out = true;
            }
        }
    }
    turns
}

/// Its bytes in a list: a key and a length come before it.
fn framed(turn: &pb::Turn) -> usize {
    const HEAD: usize = 6;
    turn.encoded_len() + HEAD
}

fn bare(view: &TurnView) -> pb::Turn {
    turn_out(&TurnView { answer: None, ..view.clone() })
}

fn turn_out(view: &TurnView) -> pb::Turn {
    let TurnView {
        turn,
        agent,
        kind,
        state,
        step,
        attempts,
        worker,
        allowance,
        spent,
        opened_at,
        started_at,
        ended_at,
        answer,
        notes,
        judges,
        inputs,
    } = view;
    let (envelope, decision, verdict) = answer.as_deref().map(answer_out).unwrap_or_default();
    pb::Turn {
        turn: int32(*turn),
        agent: agent.to_string(),
        kind: enums::turn_kind(*kind) as i32,
        state: enums::turn_state(*state) as i32,
        step_id: step.as_ref().map(ToString::to_string).unwrap_or_default(),
        attempts: int32(*attempts),
        worker_id: worker.as_ref().map(ToString::to_string).unwrap_or_default(),
        allowance_tokens: int64(*allowance),
        spent_tokens: int64(*spent),
        opened_at: Some(wire(*opened_at)),
        started_at: started_at.map(wire),
        ended_at: ended_at.map(wire),
        envelope,
        decision,
        notes: notes.clone(),
        verdict,
        judges: int32(judges.unwrap_or_default()),
        inputs: inputs.as_ref().map(inputs_out),
        answer_left_out: false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::answer, *};
    use crate::{
        engine::{event::TurnKind, view::TurnState},
        types::time::Timestamp,
    };

    fn view(turn: u32, reason: &str) -> TurnView {
        let envelope = pb::StatusEnvelope {
            status: pb::Status::Failed as i32,
            reason: reason.into(),
            ..Default::default()
        };
        let answer = answer::answer(Some(pb::complete::Answer::Envelope(envelope))).expect("it is whole").0;
        TurnView {
            turn,
            agent: "solver".parse().expect("a name"),
            kind: TurnKind::Work,
            state: TurnState::Answered,
            step: None,
            attempts: 1,
            worker: None,
            allowance: 1,
            spent: 1,
            opened_at: Timestamp(1),
            started_at: None,
            ended_at: None,
            answer: Some(Arc::new(answer)),
            notes: Vec::new(),
            judges: None,
            inputs: None,
        }
    }

    #[test]
    fn the_newest_answers_stay_and_no_turn_is_missing() {
        let views: Vec<_> = (1..=10).map(|turn| view(turn, &"x".repeat(1_000))).collect();
        let check = |room: usize, whole: usize| {
            let turns = turns_out(&views, room);
            assert_eq!(turns.len(), views.len());
            for (at, turn) in turns.iter().enumerate() {
                let is_whole = at >= views.len() - whole;
                assert_eq!(
                    (turn.envelope.is_some(), turn.answer_left_out),
                    (is_whole, !is_whole),
                    "{at} in {room}"
                );
            }
            assert!(whole == 0 || turns.iter().map(framed).sum::<usize>() <= room, "{room}");
        };
        check(1 << 20, 10);
        check(5_000, 4);
        check(0, 0);
    }
}
