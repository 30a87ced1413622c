//! Questions to a person, for people: the list, and one with its whole story and what to type. The time is handed in.

use prost_types::Timestamp;

use crate::pb;

use super::{
    Look, Tone,
    text::{between, clean, clip, confidence, date, duration, number, value},
    words,
};

/// Characters of a candidate that are shown; `--json` has the whole.
const CANDIDATE_SHOWN: usize = 1_200;
/// Characters of a candidate that is offered for changing on the command line.
const CANDIDATE_TYPED: usize = 160;
/// Below this much time a person is offered more of it, in seconds.
const SHORT_OF_TIME: i64 = 30;

/// A question in a line, to tell it from others.
#[must_use]
pub fn short(asked: &pb::Escalation) -> String {
    format!("{} {}", clean(&asked.escalation_id), clip(&asked.question, 100))
}

/// Questions, one block each. `flag` goes behind every command that is printed: it says where the server is.
#[must_use]
pub fn list(look: Look, questions: &[pb::Escalation], now: &Timestamp, flag: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for asked in questions {
        lines.extend(head(look, asked));
        if is_open(asked) {
            lines.push(format!("  {}", waiting(asked, now)));
            lines.push(format!("  bailiwick show {}{flag}", clean(&asked.escalation_id)));
        } else {
            lines.extend(end(asked, flag).into_iter().map(|line| format!("  {line}")));
        }
        lines.push(String::new());
    }
    lines.pop();
    lines
}

/// One question: why, what, the story so far, what is used, and what to type for each answer. `flag`
/// as in [`list`].
#[must_use]
pub fn full(look: Look, asked: &pb::Escalation, now: &Timestamp, flag: &str) -> Vec<String> {
    let section = |title: &str, body: Vec<String>| {
        let mut lines = Vec::new();
        if !body.is_empty() {
            lines.push(String::new());
            lines.push(look.paint(Tone::Strong, title));
            lines.extend(body.into_iter().map(|line| format!("  {line}")));
        }
        lines
    };
    let mut lines = head(look, asked);
    if is_open(asked) {
        lines.push(format!("  {}", waiting(asked, now)));
    }
    lines.extend(section("candidate", candidate(asked)));
    lines.extend(section("so far", asked.story.iter().map(|line| clip(line, 240)).collect()));
    lines.extend(section("used", asked.room.as_ref().map(room).into_iter().collect()));
    if is_open(asked) {
        lines.extend(section("answer with one of", commands(asked, flag)));
    } else {
        lines.extend(section("answer", end(asked, flag)));
    }
    lines
}

fn is_open(asked: &pb::Escalation) -> bool {
    asked.state == pb::EscalationState::Open as i32
}

fn head(look: Look, asked: &pb::Escalation) -> Vec<String> {
    let why = if asked.cause == 0 { "asked by the agent".to_owned() } else { words::cause(asked.cause) };
    vec![
        format!(
            "{} {} ({why})",
            look.paint(Tone::Strong, &clean(&asked.escalation_id)),
            words::escalation(asked.state)
        ),
        format!("  goal: {}", clip(&asked.goal, 200)),
        format!("  question: {}", clip(&asked.question, 1_000)),
    ]
}

fn waiting(asked: &pb::Escalation, now: &Timestamp) -> String {
    format!(
        "asked {} ago; without an answer within {}: {}",
        between(asked.asked_at.as_ref(), Some(now)),
        between(Some(now), asked.expires_at.as_ref()),
        default_answer(asked.default_answer)
    )
}

fn candidate(asked: &pb::Escalation) -> Vec<String> {
    let shown = value(asked.candidate.as_ref(), CANDIDATE_SHOWN);
    if shown.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("{shown} {}", confidence(asked.confidence)).trim_end().to_owned()];
    lines.extend(asked.findings.iter().map(|finding| format!("- {}", clip(finding, 300))));
    lines
}

fn room(room: &pb::Room) -> String {
    // Destructured, so that a new cap cannot be forgotten here.
    let pb::Room {
        tokens,
        hops,
        turns,
        rounds,
        replans,
        revisions,
        decides,
        cost_nano_usd,
        time_left,
        steps,
    } = room;
    let mut parts: Vec<String> = [
        ("tokens", tokens),
        ("nano-USD", cost_nano_usd),
        ("hops", hops),
        ("turns", turns),
        ("rounds", rounds),
        ("re-plans", replans),
        ("revisions", revisions),
        ("decides", decides),
        ("steps", steps),
    ]
    .into_iter()
    .filter_map(|(what, used)| {
        let pb::Use { used, cap } = used.as_ref()?;
        Some(format!("{what} {}/{}", number(*used), number(*cap)))
    })
    .collect();
    parts.push(format!("time left {}", duration(time_left.as_ref())));
    parts.join(", ")
}

/// How a question ended.
fn end(asked: &pb::Escalation, flag: &str) -> Vec<String> {
    let state = words::small(&words::escalation(asked.state));
    let by = if asked.answered_by.is_empty() {
        String::new()
    } else {
        format!(" by {}", clean(&asked.answered_by))
    };
    let note = if asked.note.is_empty() { String::new() } else { format!(": {}", clip(&asked.note, 1_000)) };
    let mut lines = vec![format!("{state}{by} at {} UTC{note}", date(asked.answered_at.as_ref()))];
    if asked.state == pb::EscalationState::Expired as i32 {
        lines.push(format!("nobody answered in time: {}", default_answer(asked.default_answer)));
    }
    let result = value(asked.result.as_ref(), CANDIDATE_SHOWN);
    if !result.is_empty() {
        lines.push(format!("result: {result}"));
    }
    if let Some(added) = &asked.extension {
        lines.push(format!("added: {}", extension(added)));
    }
    lines.push(format!("what came of it: bailiwick get {}{flag}", clean(&asked.task_id)));
    lines
}

fn default_answer(answer: i32) -> &'static str {
    match pb::DefaultAnswer::try_from(answer) {
        Ok(pb::DefaultAnswer::Abort) => "it ends FAILED",
        Ok(pb::DefaultAnswer::Partial | pb::DefaultAnswer::Unspecified) => {
            "it ends PARTIAL with the best result so far, or FAILED where there is none"
        }
        Err(_) => "an answer that this version does not know",
    }
}

/// What to type for each possible answer, and what it does.
fn commands(asked: &pb::Escalation, flag: &str) -> Vec<String> {
    let id = clean(&asked.escalation_id);
    let own = asked.cause == 0 && asked.candidate.is_none();
    let mut rows = Vec::new();
    if asked.candidate.is_some() {
        rows.push((format!("bailiwick approve {id}"), "the candidate becomes the result: SUCCEEDED"));
    } else if own {
        rows.push((
            format!("bailiwick approve {id} --note 'YOUR ANSWER'"),
            "the agent goes on with your note",
        ));
    }
    rows.push((
        format!("bailiwick amend {id} --result {}", typed(asked)),
        "your own result, checked, in its place: SUCCEEDED",
    ));
    let goes_on =
        if own { "caps rise and the agent goes on" } else { "caps rise and the owner decides anew" };
    rows.push((format!("bailiwick extend {id} {}", suggested(asked)), goes_on));
    rows.push((format!("bailiwick abort {id}"), "the task ends FAILED, its best result attached"));
    let mut lines = Vec::new();
    for (command, meaning) in rows {
        lines.push(format!("# {meaning}"));
        lines.push(format!("{command}{flag}"));
    }
    lines.push("# each takes --note TEXT and --by NAME; the first answer counts".to_owned());
    lines
}

/// The candidate as an argument, where a shell takes it as it stands; else a file.
fn typed(asked: &pb::Escalation) -> String {
    let text = value(asked.candidate.as_ref(), CANDIDATE_TYPED);
    if text.is_empty() || text.ends_with('…') || text.contains('\'') {
        return "FILE".to_owned();
    }
    format!("'{text}'")
}

/// What helps against the cause.
fn suggested(asked: &pb::Escalation) -> String {
    use pb::Cause;
    let room = asked.room.unwrap_or_default();
    let granted = room.tokens.map_or(0, |tokens| tokens.cap);
    let mut flags = match Cause::try_from(asked.cause) {
        Ok(Cause::Hops) => vec!["--hops 5".to_owned()],
        Ok(Cause::Turns) => vec!["--turns 10".to_owned()],
        Ok(Cause::NotConverged) => vec!["--rounds 2 --replans 1".to_owned()],
        Ok(Cause::Deadline | Cause::OwnerUnavailable) => vec!["--time 10m".to_owned()],
        Ok(Cause::GateRejected) => vec!["--revisions 1".to_owned()],
        Ok(Cause::Budget | Cause::Unspecified) => vec![format!("--tokens {}", (granted / 2).max(1_000))],
        _ => vec!["--replans 1".to_owned()],
    };
    let time_left = room.time_left.map_or(i64::MAX, |left| left.seconds);
    if time_left < SHORT_OF_TIME && !flags[0].contains("--time") {
        flags.push("--time 10m".to_owned());
    }
    flags.join(" ")
}

/// What was added to the caps, in words.
#[must_use]
pub fn extension(added: &pb::Extension) -> String {
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
        steps,
    } = added;
    let mut parts = Vec::new();
    for (amount, what) in [
        (*tokens, "tokens"),
        (i64::from(*hops), "hops"),
        (i64::from(*turns), "turns"),
        (i64::from(*rounds), "rounds"),
        (i64::from(*replans), "re-plans"),
        (i64::from(*revisions), "revisions"),
        (i64::from(*steps), "steps"),
        (*cost_nano_usd, "nano-USD"),
        (*tokens_per_turn, "tokens a turn"),
    ] {
        if amount > 0 {
            let what =
                if amount == 1 { what.strip_suffix('s').unwrap_or(what).to_owned() } else { what.to_owned() };
            parts.push(format!("{} {what}", number(amount)));
        }
    }
    parts.extend(time.as_ref().map(|time| duration(Some(time))));
    parts.extend(
        tokens_by_agent
            .iter()
            .map(|(agent, tokens)| format!("{} tokens for {}", number(*tokens), clean(agent))),
    );
    parts.join(", ")
}
