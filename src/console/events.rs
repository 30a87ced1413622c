//! Events of a task as lines for people: one line an event, in the order they come.
//!
//! Events name turns by number; [`Story`] remembers which agent each turn is, so that every line can say who. A story that
//! begins in the middle still reads: it then says the number alone.

use std::collections::BTreeMap;

use crate::pb::{self, task_event::Event};

use super::{
    Look, Tone, circuit, dead_letter, gate, halt, question,
    text::{clean, clip, clock, confidence, number, plural, tokens, value},
    trips, turns, words,
};

/// What a line says and how it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How it is meant.
    pub tone: Tone,
    /// The sentence, cleaned, without time or number.
    pub text: String,
}

/// Tells the events of one task.
#[derive(Clone, Debug, Default)]
pub struct Story {
    agents: BTreeMap<i32, String>,
    /// What a printed command needs after it, to find the server.
    flag: String,
}

pub(super) fn line(tone: Tone, text: impl Into<String>) -> Line {
    Line { tone, text: text.into() }
}

/// "a: b", or "a" where there is no b.
pub(super) fn with(text: String, reason: &str) -> String {
    if reason.is_empty() { text } else { format!("{text}: {}", clip(reason, 300)) }
}

impl Story {
    /// A story whose commands are printed with this flag behind them, which says where the server is.
    #[must_use]
    pub fn beside(flag: String) -> Self {
        Self { flag, ..Self::default() }
    }

    /// The whole line: time (UTC), number, sentence. An event this version does not know is said to be one.
    pub fn tell(&mut self, look: Look, event: &pb::TaskEvent) -> String {
        let Line { tone, text } = self.line(event);
        let place = format!("{} {:>5} ", clock(event.at.as_ref()), format!("#{}", event.seq));
        format!("{}{}", look.paint(Tone::Faint, &place), look.paint(tone, &text))
    }

    /// The sentence alone.
    pub fn line(&mut self, event: &pb::TaskEvent) -> Line {
        let Some(event) = &event.event else {
            return line(Tone::Faint, "an event that this version of bailiwick does not know");
        };
        match event {
            Event::Submitted(it) => submitted(it),
            Event::TurnOpened(it) => self.turn_opened(it),
            Event::AttemptStarted(_)
            | Event::Progressed(_)
            | Event::UsageRecorded(_)
            | Event::BudgetAnswered(_)
            | Event::AttemptEnded(_)
            | Event::LateUsage(_) => self.attempt(event),
            Event::TurnAnswered(it) => self.turn_answered(it),
            Event::TurnClosed(it) => {
                let text = format!("{} closed, {}", self.turn(it.turn), words::cause(it.cause));
                line(Tone::Bad, with(text, &it.reason))
            }
            Event::HandedOff(it) => line(
                Tone::Plain,
                format!(
                    "{} hands off: {} -> {}, hop {}",
                    self.turn(it.turn),
                    clean(&it.from),
                    clean(&it.to),
                    it.hop
                ),
            ),
            Event::PlanStarted(_) | Event::StepEnded(_) | Event::PlanEnded(_) => plan(event),
            Event::DirectiveRefused(it) => line(
                Tone::Warn,
                with(format!("{}: directive refused", self.turn(it.turn)), &it.reasons.join("; ")),
            ),
            Event::GateJudged(it) if it.passed => {
                line(Tone::Good, format!("gate: {} passes{}", self.turn(it.turn), gate::judge(it)))
            }
            Event::GateJudged(it) => line(
                Tone::Warn,
                with(
                    format!("gate: {} is refused{}", self.turn(it.turn), gate::judge(it)),
                    &it.findings.join("; "),
                ),
            ),
            Event::GuardsTripped(it) => guards(it),
            Event::Escalated(it) => escalated(it, &self.flag),
            Event::EscalationEnded(it) => escalation_ended(it),
            Event::Extended(it) => extended(it),
            Event::Ended(it) => ended(it),
            Event::Redriven(it) => line(Tone::Warn, dead_letter::redriven(it)),
            Event::Discarded(it) => {
                line(Tone::Faint, with(format!("discarded by {}", clean(&it.by)), &it.note))
            }
            Event::ChildStarted(it) => child_started(it, &self.turn(it.turn)),
            Event::ChildEnded(it) => child_ended(it),
            Event::Halted(it) => line(Tone::Bad, halt::halted(it)),
            Event::TurnHeldUp(it) => circuit::held_up(it, &self.turn(it.turn)),
        }
    }

    fn turn(&self, turn: i32) -> String {
        match self.agents.get(&turn) {
            Some(agent) => format!("turn {turn} {agent}"),
            None => format!("turn {turn}"),
        }
    }

    fn turn_opened(&mut self, it: &pb::TurnOpened) -> Line {
        let step =
            if it.step_id.is_empty() { String::new() } else { format!(" (step {})", clean(&it.step_id)) };
        self.agents.insert(it.turn, format!("{}{step}", clean(&it.agent)));
        let verb = match pb::TurnKind::try_from(it.kind) {
            Ok(pb::TurnKind::Decide) => "is to decide",
            Ok(pb::TurnKind::Validate) => "is to validate",
            Ok(pb::TurnKind::Work | pb::TurnKind::Unspecified) | Err(_) if it.fallback => "is to take over",
            Ok(pb::TurnKind::Work | pb::TurnKind::Unspecified) | Err(_) => "is ready",
        };
        line(Tone::Plain, with(format!("{} {verb}", self.turn(it.turn)), &it.notes.join("; ")))
    }

    fn turn_answered(&self, it: &pb::TurnAnswered) -> Line {
        let turn = self.turn(it.turn);
        let cost = plural(it.charged_tokens, "token");
        if let Some(decision) = &it.decision {
            let (word, reason) = turns::decision_words(decision);
            return line(Tone::Warn, with(format!("{turn} decides to {word}, {cost}"), &reason));
        }
        if let Some(verdict) = &it.verdict {
            let text = format!("{turn} {}, {cost}", gate::verdict(verdict));
            return line(Tone::Plain, with(text, &verdict.reasons.join("; ")));
        }
        let Some(envelope) = &it.envelope else {
            return line(Tone::Plain, format!("{turn} answers, {cost}"));
        };
        let mut parts = vec![format!("{turn} answers {}", words::status(envelope.status))];
        parts.extend([confidence(envelope.confidence), cost].into_iter().filter(|part| !part.is_empty()));
        parts.extend(turns::directive(envelope).map(|directive| clip(&directive, 200)));
        parts.extend(Some(gate::inputs(it.inputs.as_ref())).filter(|said| !said.is_empty()));
        line(words::status_tone(envelope.status), with(parts.join(", "), &envelope.reason))
    }

    /// What happens inside an attempt.
    fn attempt(&self, event: &Event) -> Line {
        match event {
            Event::AttemptStarted(it) => line(
                Tone::Plain,
                format!(
                    "{} starts at {}, attempt {}, may use {}",
                    self.turn(it.turn),
                    clip(&it.worker_id, 128),
                    it.attempt,
                    plural(it.allowance_tokens, "token")
                ),
            ),
            Event::Progressed(it) => line(Tone::Faint, with(self.turn(it.turn), &progress(it))),
            Event::UsageRecorded(it) => line(
                Tone::Faint,
                format!(
                    "{} has used {} so far",
                    self.turn(it.turn),
                    plural(tokens(it.usage.as_ref()), "token")
                ),
            ),
            Event::BudgetAnswered(it) if it.granted_tokens > 0 => line(
                Tone::Plain,
                format!(
                    "{} gets {} more, may use {}",
                    self.turn(it.turn),
                    plural(it.granted_tokens, "token"),
                    number(it.allowance_tokens)
                ),
            ),
            Event::BudgetAnswered(it) => line(
                Tone::Warn,
                format!(
                    "{} asked for {} more and gets none: {} left",
                    self.turn(it.turn),
                    plural(it.asked_tokens, "token"),
                    number(it.left_tokens)
                ),
            ),
            Event::AttemptEnded(it) => {
                let end = words::small(&words::attempt_end(it.end));
                let next = if it.retries { ", another attempt follows" } else { "" };
                let text = format!("{} attempt {} ends: {end}{next}", self.turn(it.turn), it.attempt);
                line(Tone::Warn, with(text, &it.reason))
            }
            Event::LateUsage(it) if !it.child_task_id.is_empty() => line(
                Tone::Faint,
                format!(
                    "child {} reports late: {} in all",
                    clean(&it.child_task_id),
                    plural(tokens(it.usage.as_ref()), "token")
                ),
            ),
            Event::LateUsage(it) => line(
                Tone::Faint,
                format!(
                    "{} attempt {} reports late: {} in all",
                    self.turn(it.turn),
                    it.attempt,
                    plural(tokens(it.usage.as_ref()), "token")
                ),
            ),
            _ => line(Tone::Faint, "something happened inside an attempt"),
        }
    }
}

fn child_started(it: &pb::ChildStarted, turn: &str) -> Line {
    let (tokens, hops, turns) =
        (plural(it.tokens, "token"), plural(i64::from(it.hops), "hop"), plural(i64::from(it.turns), "turn"));
    let child = clean(&it.child_task_id);
    let text = format!("{turn} submits child {} {child} ({tokens}, {hops}, {turns})", it.number);
    line(Tone::Plain, with(text, &it.goal))
}

fn child_ended(it: &pb::ChildEnded) -> Line {
    let child = format!("child {} {}", it.number, clean(&it.child_task_id));
    let text = match (it.heard, it.state) {
        (false, _) => return line(Tone::Warn, with(format!("{child} is stopped"), &it.reason)),
        (true, 0) => return line(Tone::Warn, with(format!("{child} never started"), &it.reason)),
        (true, state) => {
            let used = plural(tokens(it.usage.as_ref()), "token");
            format!("{child} ends {}: {used}", words::state(state))
        }
    };
    line(words::state_tone(it.state), text)
}

fn submitted(it: &pb::Submitted) -> Line {
    let contract = it.contract.clone().unwrap_or_default();
    let budget = contract.budget.map_or(0, |budget| budget.max_tokens);
    line(
        Tone::Strong,
        format!(
            "submitted: {} (owner {}, {})",
            clip(&contract.goal, 120),
            clean(&contract.owner),
            plural(budget, "token")
        ),
    )
}

fn progress(it: &pb::Progressed) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(step) = it.steps.last() {
        let said = if step.fingerprint { "(private)".to_owned() } else { clip(&step.content, 160) };
        parts.push(match pb::WorkStepKind::try_from(step.kind) {
            Ok(pb::WorkStepKind::ToolCall) => format!("calls {} {said}", clean(&step.tool)),
            Ok(pb::WorkStepKind::ToolResult) => format!("{} gives {said}", clean(&step.tool)),
            Ok(pb::WorkStepKind::Message | pb::WorkStepKind::Unspecified) | Err(_) => said,
        });
    }
    if it.steps.len() > 1 {
        parts.push(format!("({} steps)", it.steps.len()));
    }
    if it.partial_result.is_some() {
        parts.push(format!("best so far {}", value(it.partial_result.as_ref(), 80)));
    }
    parts.join(" ")
}

fn plan(event: &Event) -> Line {
    match event {
        Event::PlanStarted(it) => {
            let steps = it.plan.as_ref().map_or(&[][..], |plan| &plan.steps);
            let names: Vec<String> =
                steps.iter().map(|step| format!("{}:{}", clean(&step.id), clean(&step.agent))).collect();
            let kind = if it.replan { " (re-plan)" } else { "" };
            let text = format!(
                "plan {}{kind} of {}, {} held",
                it.plan_number,
                plural(i64::try_from(steps.len()).unwrap_or(i64::MAX), "step"),
                plural(it.held_tokens, "token")
            );
            line(Tone::Plain, with(text, &names.join(" ")))
        }
        Event::StepEnded(it) => {
            let tone = match pb::StepEnd::try_from(it.end) {
                Ok(pb::StepEnd::Success) => Tone::Good,
                Ok(pb::StepEnd::Failed) if !it.optional => Tone::Bad,
                _ => Tone::Warn,
            };
            let mut end = words::small(&words::step_end(it.end));
            if it.optional {
                end.push_str(", the plan goes on without it");
            }
            line(
                tone,
                with(format!("plan {} step {}: {end}", it.plan_number, clean(&it.step_id)), &it.reason),
            )
        }
        Event::PlanEnded(it) => line(
            if it.succeeded { Tone::Good } else { Tone::Bad },
            format!(
                "plan {} {}, {} released",
                it.plan_number,
                if it.succeeded { "is done" } else { "has failed" },
                plural(it.released_tokens, "token")
            ),
        ),
        _ => line(Tone::Faint, "something happened to a plan"),
    }
}

fn guards(it: &pb::GuardsTripped) -> Line {
    line(Tone::Warn, format!("guard tripped: {}", trips::sentence(&it.trips)))
}

fn escalated(it: &pb::Escalated, flag: &str) -> Line {
    let asked = it.escalation.clone().unwrap_or_default();
    let id = clean(&asked.escalation_id);
    line(Tone::Warn, format!("a person is asked: {} (bailiwick show {id}{flag})", clip(&asked.question, 300)))
}

fn escalation_ended(it: &pb::EscalationEnded) -> Line {
    let tone = match pb::EscalationState::try_from(it.state) {
        Ok(pb::EscalationState::Approved | pb::EscalationState::Amended | pb::EscalationState::Extended) => {
            Tone::Good
        }
        _ => Tone::Warn,
    };
    let by =
        if it.answered_by.is_empty() { String::new() } else { format!(" by {}", clean(&it.answered_by)) };
    let state = words::small(&words::escalation(it.state));
    line(tone, with(format!("question {} {state}{by}", clean(&it.escalation_id)), &it.note))
}

fn extended(it: &pb::Extended) -> Line {
    let added = it.added.as_ref().map(question::extension).unwrap_or_default();
    let refill = match it.reserve_tokens {
        0 => String::new(),
        tokens => format!(", {} of them into the finalization reserve", number(tokens)),
    };
    line(Tone::Good, format!("{} added {added}{refill}", clean(&it.answered_by)))
}

fn ended(it: &pb::Ended) -> Line {
    let outcome = it.outcome.clone().unwrap_or_default();
    let ledger = it.ledger.clone().unwrap_or_default();
    let text = format!(
        "ended {}, {} by {}, {} spent",
        words::state(outcome.state),
        words::cause(outcome.cause),
        words::small(&words::ended_by(outcome.ended_by)),
        plural(ledger.spent_tokens, "token")
    );
    line(words::state_tone(outcome.state), with(text, &outcome.reason))
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn event(seq: i64, event: Event) -> pb::TaskEvent {
        let at = Some(Timestamp { seconds: 1_795_179_439, nanos: 5_000_000 });
        pb::TaskEvent { task_id: "t".into(), seq, at, event: Some(event) }
    }

    fn opened(turn: i32, agent: &str, step: &str) -> Event {
        Event::TurnOpened(pb::TurnOpened {
            turn,
            agent: agent.into(),
            kind: pb::TurnKind::Work as i32,
            step_id: step.into(),
            ..Default::default()
        })
    }

    fn answered(turn: i32, directive: Option<pb::status_envelope::Directive>) -> Event {
        let envelope = pb::StatusEnvelope {
            status: pb::Status::Success as i32,
            confidence: Some(0.825),
            directive,
            ..Default::default()
        };
        Event::TurnAnswered(pb::TurnAnswered {
            turn,
            attempt: 1,
            envelope: Some(envelope),
            charged_tokens: 1_204,
            ..Default::default()
        })
    }

    fn check(events: Vec<Event>, expected: &str) {
        let mut story = Story::default();
        let mut last = None;
        for (seq, it) in (1..).zip(events) {
            last = Some(story.line(&event(seq, it)));
        }
        assert_eq!(last.unwrap().text, expected);
    }

    #[test]
    fn a_turn_is_told_by_its_agent() {
        let hand_off =
            pb::status_envelope::Directive::HandOff(pb::HandOff { agent: "writer".into(), input: None });
        check(vec![opened(3, "reviewer", "")], "turn 3 reviewer is ready");
        check(
            vec![opened(3, "reviewer", ""), answered(3, None)],
            "turn 3 reviewer answers SUCCESS, confidence 0.82, 1,204 tokens",
        );
        check(
            vec![opened(3, "reviewer", "s1"), answered(3, Some(hand_off))],
            "turn 3 reviewer (step s1) answers SUCCESS, confidence 0.82, 1,204 tokens, hands off to writer",
        );
        check(vec![answered(9, None)], "turn 9 answers SUCCESS, confidence 0.82, 1,204 tokens");
    }

    #[test]
    fn guards_gate_and_ends() {
        check(
            vec![Event::GuardsTripped(pb::GuardsTripped {
                trips: vec![pb::Trip {
                    cause: pb::Cause::Hops as i32,
                    evidence: "12 of 12\u{1b}[2J".into(),
                    ..Default::default()
                }],
            })],
            "guard tripped: HOPS (12 of 12 [2J)",
        );
        check(
            vec![Event::GateJudged(pb::GateJudged {
                turn: 1,
                passed: false,
                findings: vec!["a".into(), "b".into()],
                ..Default::default()
            })],
            "gate: turn 1 is refused: a; b",
        );
        check(
            vec![Event::AttemptEnded(pb::AttemptEnded {
                turn: 1,
                attempt: 2,
                end: pb::AttemptEnd::LeaseExpired as i32,
                retries: true,
                ..Default::default()
            })],
            "turn 1 attempt 2 ends: lease expired, another attempt follows",
        );
        check(
            vec![Event::Ended(pb::Ended {
                outcome: Some(pb::Outcome {
                    state: pb::TaskState::Partial as i32,
                    ended_by: pb::EndedBy::Owner as i32,
                    cause: pb::Cause::Budget as i32,
                    reason: "what there is".into(),
                    ..Default::default()
                }),
                ledger: Some(pb::Ledger { spent_tokens: 1, ..Default::default() }),
            })],
            "ended PARTIAL, BUDGET by owner, 1 token spent: what there is",
        );
    }

    #[test]
    fn a_line_has_time_and_number_and_no_colour_unless_allowed() {
        let mut story = Story::default();
        let plain = story.tell(Look::default(), &event(7, opened(1, "a", "")));
        assert_eq!(plain, "12:57:19.005    #7 turn 1 a is ready");
        let colored = story.tell(Look { color: true, width: None }, &event(7, opened(1, "a", "")));
        assert!(colored.contains("\u{1b}[2m"), "{colored:?}");
    }

    #[test]
    fn an_unknown_event_is_said_to_be_one() {
        let unknown = pb::TaskEvent { event: None, ..event(1, opened(1, "a", "")) };
        assert_eq!(Story::default().line(&unknown).tone, Tone::Faint);
    }
}
