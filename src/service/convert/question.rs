//! Questions to people and their answers, both ways.

use crate::{
    engine::{
        event::{Escalated, Extended, Room, Used},
        view::EscalationView,
    },
    pb::{self, answer_escalation_request::What},
    runtime::PersonAnswer,
    types::{
        contract::DefaultAnswer,
        envelope::Confidence,
        extension::Extension,
        ids::{EscalationId, TaskId},
        limits::fixed::MAX_LIST,
        time::{Span, Timestamp},
    },
};

use super::{
    enums,
    faults::Faults,
    int32, int64,
    time::{duration, span, wire},
    value::value,
};

/// A question, as it stands.
pub fn escalation_out(view: &EscalationView) -> pb::Escalation {
    let EscalationView {
        task,
        goal,
        asked,
        asked_at,
        default_answer,
        end,
        by,
        note,
        ended_at,
        labels,
        result,
        extended,
    } = view;
    pb::Escalation {
        state: enums::escalation_state(*end) as i32,
        answered_by: by.clone(),
        note: note.clone(),
        answered_at: ended_at.map(wire),
        result: result.as_ref().map(value),
        extension: extended.as_ref().map(|extended| extension_out(&extended.added)),
        labels: labels.clone(),
        ..asked_out(*task, goal, asked, *asked_at, *default_answer)
    }
}

/// A question, as it was asked: open, without the task's labels.
pub(crate) fn asked_out(
    task: TaskId,
    goal: &str,
    asked: &Escalated,
    asked_at: Timestamp,
    default_answer: DefaultAnswer,
) -> pb::Escalation {
    let Escalated {
        number,
        turn: _,
        question,
        cause,
        candidate,
        confidence,
        findings,
        expires_at,
        story,
        room,
    } = asked;
    pb::Escalation {
        escalation_id: EscalationId { task, number: *number }.to_string(),
        task_id: task.to_string(),
        goal: goal.to_owned(),
        question: question.clone(),
        cause: enums::maybe_cause(*cause),
        candidate: candidate.as_ref().map(value),
        confidence: confidence.map(Confidence::get),
        findings: findings.clone(),
        asked_at: Some(wire(asked_at)),
        expires_at: Some(wire(*expires_at)),
        default_answer: enums::default_answer(default_answer) as i32,
        state: enums::escalation_state(None) as i32,
        story: story.clone(),
        room: room.as_ref().map(room_out),
        ..pb::Escalation::default()
    }
}

fn room_out(room: &Room) -> pb::Room {
    let Room { tokens, cost_nano_usd, hops, turns, rounds, replans, revisions, decides, time_left } = room;
    let used = |Used { used, cap }: &Used| Some(pb::Use { used: int64(*used), cap: int64(*cap) });
    pb::Room {
        tokens: used(tokens),
        hops: used(hops),
        turns: used(turns),
        rounds: used(rounds),
        replans: used(replans),
        revisions: used(revisions),
        decides: used(decides),
        cost_nano_usd: cost_nano_usd.as_ref().and_then(used),
        time_left: Some(duration(*time_left)),
    }
}

/// What a person added to the caps, for the wire.
pub(crate) fn extended_out(task: TaskId, extended: &Extended) -> pb::Extended {
    let Extended { number, by, added, reserve_tokens, decides } = extended;
    pb::Extended {
        escalation_id: EscalationId { task, number: *number }.to_string(),
        answered_by: by.clone(),
        added: Some(extension_out(added)),
        reserve_tokens: int64(*reserve_tokens),
        decides: int32(*decides),
    }
}

fn extension_out(added: &Extension) -> pb::Extension {
    let Extension {
        tokens,
        tokens_per_turn,
        tokens_by_agent,
        cost_nano_usd,
        time,
        hops,
        turns,
        rounds,
        replans,
        revisions,
    } = added;
    pb::Extension {
        tokens: int64(*tokens),
        hops: int32(*hops),
        time: (*time > Span::ZERO).then(|| duration(*time)),
        turns: int32(*turns),
        rounds: int32(*rounds),
        replans: int32(*replans),
        revisions: int32(*revisions),
        cost_nano_usd: int64(*cost_nano_usd),
        tokens_per_turn: int64(*tokens_per_turn),
        tokens_by_agent: tokens_by_agent
            .iter()
            .map(|(agent, tokens)| (agent.to_string(), int64(*tokens)))
            .collect(),
    }
}

/// A person's answer: one of the messages, or the bare word that older clients send.
pub(crate) fn answer_in(word: i32, what: Option<What>, faults: &mut Faults) -> Option<PersonAnswer> {
    match (pb::Answer::try_from(word), what) {
        (Ok(pb::Answer::Unspecified), None) => {
            faults.add("answer", "is required: set one of approve, amend, extend and abort");
            None
        }
        (Ok(pb::Answer::Unspecified), Some(what)) => what_in(what, faults),
        (Ok(pb::Answer::Approve), None) => Some(PersonAnswer::Approve),
        (Ok(pb::Answer::Abort), None) => Some(PersonAnswer::Abort),
        (Ok(_), Some(_)) => {
            faults.add("answer", "stands beside another answer: set one of them");
            None
        }
        (Err(_), _) => {
            faults.add("answer", format!("{word} is not a value of this enum: leave it out and set one of approve, amend, extend and abort"));
            None
        }
    }
}

fn what_in(what: What, faults: &mut Faults) -> Option<PersonAnswer> {
    match what {
        What::Approve(pb::Approve {}) => Some(PersonAnswer::Approve),
        What::Abort(pb::Abort {}) => Some(PersonAnswer::Abort),
        What::Amend(pb::Amend { result }) => {
            if result.is_none() {
                faults.add("amend.result", "is required: write the result, any JSON value");
            }
            faults.payload("amend.result", result.as_ref()).map(PersonAnswer::Amend)
        }
        What::Extend(extension) => Some(PersonAnswer::Extend(extension_in(extension, faults))),
    }
}

fn extension_in(extension: pb::Extension, faults: &mut Faults) -> Extension {
    let pb::Extension {
        tokens,
        hops,
        time,
        turns,
        rounds,
        replans,
        revisions,
        cost_nano_usd,
        tokens_per_turn,
        tokens_by_agent,
    } = extension;
    if tokens_by_agent.len() > MAX_LIST {
        faults.add(
            "extend.tokens_by_agent",
            format!("has {} entries: write at most {MAX_LIST}", tokens_by_agent.len()),
        );
    }
    let mut by_agent = std::collections::BTreeMap::new();
    for (name, tokens) in tokens_by_agent {
        let field = format!("extend.tokens_by_agent.{name}");
        let agent = faults.name(&field, &name);
        by_agent.extend(agent.zip(Some(amount(&field, tokens, faults))));
    }
    Extension {
        tokens: amount("extend.tokens", tokens, faults),
        tokens_per_turn: amount("extend.tokens_per_turn", tokens_per_turn, faults),
        tokens_by_agent: by_agent,
        cost_nano_usd: amount("extend.cost_nano_usd", cost_nano_usd, faults),
        time: span(faults, "extend.time", time).unwrap_or(Span::ZERO),
        hops: count("extend.hops", hops, faults),
        turns: count("extend.turns", turns, faults),
        rounds: count("extend.rounds", rounds, faults),
        replans: count("extend.replans", replans, faults),
        revisions: count("extend.revisions", revisions, faults),
    }
}

fn amount(field: &str, given: i64, faults: &mut Faults) -> u64 {
    u64::try_from(given).unwrap_or_else(|_| {
        faults.add(field, format!("is {given}: caps only rise, write 0 or more"));
        0
    })
}

fn count(field: &str, given: i32, faults: &mut Faults) -> u32 {
    u32::try_from(given).unwrap_or_else(|_| {
        faults.add(field, format!("is {given}: caps only rise, write 0 or more"));
        0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(word: pb::Answer, what: Option<What>) -> Result<PersonAnswer, Vec<String>> {
        let mut faults = Faults::default();
        let answer = answer_in(word as i32, what, &mut faults);
        faults.finish(answer).map_err(|faults| faults.into_iter().map(|fault| fault.field).collect())
    }

    fn check(what: What, expected: Result<PersonAnswer, &str>) {
        let expected = expected.map_err(|field| vec![field.to_owned()]);
        assert_eq!(read(pb::Answer::Unspecified, Some(what)), expected);
    }

    #[test]
    fn an_answer_is_a_word_or_a_message_and_never_both() {
        assert_eq!(read(pb::Answer::Approve, None), Ok(PersonAnswer::Approve));
        assert_eq!(read(pb::Answer::Abort, None), Ok(PersonAnswer::Abort));
        let both = read(pb::Answer::Abort, Some(What::Approve(pb::Approve {})));
        assert_eq!(both, Err(vec!["answer".to_owned()]));
        assert_eq!(read(pb::Answer::Unspecified, None), Err(vec!["answer".to_owned()]));
        let mut faults = Faults::default();
        assert_eq!(answer_in(9, None, &mut faults), None);
        assert_eq!(faults.sorted().len(), 1);
    }

    #[test]
    fn what_cannot_be_added_is_named_by_its_field() {
        check(What::Approve(pb::Approve {}), Ok(PersonAnswer::Approve));
        check(What::Amend(pb::Amend { result: None }), Err("amend.result"));
        let hops = |hops| What::Extend(pb::Extension { hops, ..Default::default() });
        check(hops(2), Ok(PersonAnswer::Extend(Extension { hops: 2, ..Extension::default() })));
        check(hops(-1), Err("extend.hops"));
        let tokens = |tokens| What::Extend(pb::Extension { tokens, ..Default::default() });
        check(tokens(i64::MIN), Err("extend.tokens"));
        let time = Some(prost_types::Duration { seconds: -1, nanos: 0 });
        check(What::Extend(pb::Extension { time, ..Default::default() }), Err("extend.time"));
        let tokens_by_agent = [("No Such".to_owned(), 5)].into();
        let bad = What::Extend(pb::Extension { tokens_by_agent, ..Default::default() });
        check(bad, Err("extend.tokens_by_agent.No Such"));
    }

    #[test]
    fn an_extension_comes_back_as_it_went() {
        let added = Extension {
            tokens: 1,
            tokens_per_turn: 2,
            tokens_by_agent: [("alpha".parse().expect("a name"), 3)].into(),
            cost_nano_usd: 4,
            time: Span::from_secs(5),
            hops: 6,
            turns: 7,
            rounds: 8,
            replans: 9,
            revisions: 10,
        };
        check(What::Extend(extension_out(&added)), Ok(PersonAnswer::Extend(added)));
    }
}
