//! What the guards over content know of a task. Fed by `apply` from journalled facts alone, so that a replay sees what the
//! live run saw. Never here: what follows from a trip.
//!
//! Steps of a plan run beside each other without having seen each other, so each has guards of its own; so have the owner's
//! decide turn and the validator's. What a step answers is news to the rest of the task, and never its repetition.

use std::collections::BTreeMap;

use super::{
    event::{EscalationEnd, Event, PlanKind, StepRef, Trip, TripScope, TurnKind},
    guard::{GuardTrip, Guards, Observation, Observed},
    rounds::{Draft, Rounds},
    task::Task,
    turn::Turn,
    view::Tripped,
};
use crate::types::{
    envelope::{Answer, Envelope, Status, WorkStep, WorkStepKind},
    guards::GuardTerms,
    ids::TurnNumber,
    outcome::Cause,
    time::Timestamp,
};

/// In whose name the server speaks. No agent can have it.
const SERVER: &str = "the server";

/// Guards and what they have seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Guarded {
    /// The turns that have the whole task in hand, one after the other.
    main: Place,
    steps: BTreeMap<StepRef, Place>,
    /// Few tasks come to a decide turn, and most have no validator: those that do not are smaller.
    decide: Option<Box<Place>>,
    /// The validator's turn: it judges the work and is no part of it.
    validate: Option<Box<Place>>,
    pub(super) rounds: Rounds,
}

/// The guards of one line of turns.
#[derive(Debug, Clone, Default)]
struct Place {
    guards: Guards,
    /// As they were before the live attempt of this turn streamed anything: if it is lost, another does the same again, and
    /// that is no repetition.
    before: Option<(TurnNumber, Box<Guards>)>,
    /// The last message that the attempt streamed: answering with it states nothing anew.
    said: String,
    /// The turn whose answer was the first thing here, while the guards have not looked at it: a first answer repeats nothing,
    /// and most lines end with it.
    first: Option<TurnNumber>,
}

impl Guarded {
    fn place(&mut self, turn: &Turn) -> &mut Place {
        match (turn.kind, turn.step) {
            (TurnKind::Decide, _) => self.decide.get_or_insert_default(),
            (TurnKind::Validate, _) => self.validate.get_or_insert_default(),
            (TurnKind::Work, Some(step)) => self.steps.entry(step).or_default(),
            (TurnKind::Work, None) => &mut self.main,
        }
    }

    fn seen(&self, turn: &Turn) -> &[GuardTrip] {
        let place = match (turn.kind, turn.step) {
            (TurnKind::Decide, _) => self.decide.as_deref(),
            (TurnKind::Validate, _) => self.validate.as_deref(),
            (TurnKind::Work, Some(step)) => self.steps.get(&step),
            (TurnKind::Work, None) => Some(&self.main),
        };
        place.map_or(&[], |place| place.guards.trips())
    }

    fn settle(&mut self) {
        self.main.settle();
        self.steps.clear();
        self.rounds.settle();
    }
}

impl Place {
    fn observe(&mut self, terms: &GuardTerms, observation: &Observation<'_>) {
        // The cap on steps is the whole task's: `Counters::steps`.
        self.guards.observe(&GuardTerms { max_steps: None, ..*terms }, observation);
    }

    /// After the owner's decision: only what comes now counts.
    fn settle(&mut self) {
        self.first = None;
        self.guards.settle();
    }

    /// Takes in what an attempt streamed; how many steps that makes.
    fn stream(&mut self, terms: &GuardTerms, turn: &Turn, steps: &[WorkStep]) -> u32 {
        if self.before.as_ref().is_none_or(|(of, _)| *of != turn.number) {
            self.before = Some((turn.number, Box::new(self.guards.clone())));
        }
        for step in steps {
            let kind = match step.kind {
                WorkStepKind::Message => Observed::Message,
                WorkStepKind::ToolCall => Observed::ToolCall,
                WorkStepKind::ToolResult => Observed::ToolResult,
            };
            if kind == Observed::Message {
                self.said.clone_from(&step.content);
            }
            let (content, fingerprint) = (step.content.as_str(), step.fingerprint);
            let told = observation(turn, kind, content);
            self.observe(terms, &Observation { tool: &step.tool, fingerprint, ..told });
        }
        // A call is one step with its result.
        let made = steps.iter().filter(|step| step.kind != WorkStepKind::ToolCall).count();
        u32::try_from(made).unwrap_or(u32::MAX)
    }

    /// The attempt is lost: what it streamed never counts.
    fn forget_attempt(&mut self, turn: TurnNumber) {
        if let Some((_, before)) = self.before.take_if(|(of, _)| *of == turn) {
            self.guards = *before;
        }
        self.said.clear();
    }

    fn end_turn(&mut self, turn: TurnNumber) {
        self.before = None;
        self.said.clear();
        self.guards.end_turn(turn);
    }

    /// Takes in an answer; how many steps that makes.
    fn answer(&mut self, terms: &GuardTerms, turn: &Turn, envelope: &Envelope) -> u32 {
        let (kind, content) = match &envelope.result {
            Some(result) => (Observed::Answer, result.as_str()),
            None => (Observed::Message, envelope.reason.as_str()),
        };
        let is_said = says(&self.said, content);
        let is_new = !content.is_empty() && !is_said;
        if is_new && kind == Observed::Answer && self.guards.are_new() && !terms.may_trip_at_first() {
            self.first = Some(turn.number);
        } else if is_new {
            self.observe(terms, &observation(turn, kind, content));
        }
        u32::from(!is_said)
    }

    /// The gate has refused what the guards may have taken for finished. A loop stays one.
    fn refused(&mut self) {
        let is_loop = |trip: &GuardTrip| trip.guard.is_loop();
        if !self.guards.trips().is_empty() && !self.guards.trips().iter().any(is_loop) {
            self.settle();
        }
    }

    /// Has the guards look at the first answer, now that more comes.
    fn look_back(&mut self, terms: &GuardTerms, task: &Task) {
        let Some(first) = self.first.take().and_then(|turn| task.turn(turn)) else { return };
        if let Some(result) = first.envelope().and_then(|envelope| envelope.result.as_ref()) {
            self.observe(terms, &observation(first, Observed::Answer, result.as_str()));
        }
    }
}

fn server_says(turn: TurnNumber) -> Observation<'static> {
    let (agent, kind) = (SERVER, Observed::Input);
    Observation { turn, agent, kind, tool: "", content: "", fingerprint: false, concurrent: false }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// Goes on with a fingerprint (FNV-1a): what a plan has brought may be too large to be kept.
fn fingerprint(hash: u64, content: &str) -> u64 {
    content.bytes().chain([0]).fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn observation<'a>(turn: &'a Turn, kind: Observed, content: &'a str) -> Observation<'a> {
    let (turn, agent) = (turn.number, turn.agent.as_str());
    Observation { turn, agent, kind, tool: "", content, fingerprint: false, concurrent: false }
}

/// Whether a streamed message is the answer itself: as it stands, as the JSON it is, or as the text in a JSON string.
fn says(said: &str, answer: &str) -> bool {
    let said = said.trim();
    if said.is_empty() || said == answer.trim() {
        return !said.is_empty();
    }
    match (serde_json::from_str::<serde_json::Value>(said), serde_json::from_str::<serde_json::Value>(answer))
    {
        (Ok(said), Ok(answer)) if said == answer => true,
        (_, Ok(serde_json::Value::String(answer))) => answer.trim() == said,
        _ => false,
    }
}

impl Task {
    /// Shows an event to the guards, the state being the one after it.
    pub(super) fn watch(&mut self, event: &Event) {
        match event {
            Event::Progressed { turn, steps, .. } => {
                let mut made = 0;
                self.watch_turn(*turn, |place, terms, turn| {
                    let streamed = place.stream(terms, turn, steps);
                    // The owner's decision is not the work that the cap is for.
                    made = if turn.kind == TurnKind::Work { streamed } else { 0 };
                });
                self.counters.steps = self.counters.steps.saturating_add(made);
            }
            Event::TurnAnswered { turn, answer, .. } => self.watch_answer(*turn, answer),
            Event::AttemptEnded { turn, .. } => self.watch_turn(*turn, |place, _, turn| {
                place.forget_attempt(turn.number);
            }),
            Event::TurnClosed { turn, .. } => {
                self.watch_turn(*turn, |place, _, turn| place.end_turn(turn.number))
            }
            // A refusal is no news to the guards: who gives the same answer again in spite of it repeats itself.
            Event::GateJudged { turn, passed: false, .. } => {
                self.watch_turn(*turn, |place, _, _| place.refused());
            }
            Event::StepEnded { plan, step, .. } => {
                self.guarded.steps.remove(&StepRef { plan: *plan, step: *step });
            }
            // A re-plan is no round: that a plan failed says nothing of the draft.
            Event::PlanStarted { planner_turn, kind: PlanKind::Round, .. } => {
                self.record_round(*planner_turn)
            }
            Event::EscalationEnded {
                number, end: EscalationEnd::Approved | EscalationEnd::Extended, ..
            } => self.watch_go_on(*number),
            Event::PlanEnded { .. } => {
                self.guarded.steps.clear();
                self.watch_plan();
            }
            Event::TurnOpened { kind: TurnKind::Decide, .. } => self.guarded.decide = None,
            Event::TurnOpened { kind: TurnKind::Validate, .. } => self.guarded.validate = None,
            _ => {}
        }
    }

    fn watch_turn(&mut self, turn: TurnNumber, look: impl FnOnce(&mut Place, &GuardTerms, &Turn)) {
        let terms = self.contract.guards;
        let mut guarded = std::mem::take(&mut self.guarded);
        if let Some(turn) = self.turn(turn) {
            let place = guarded.place(turn);
            place.look_back(&terms, self);
            look(place, &terms, turn);
        }
        self.guarded = guarded;
    }

    fn watch_answer(&mut self, turn: TurnNumber, answer: &Answer) {
        let Answer::Envelope(envelope) = answer else { return };
        let mut made = 0;
        self.watch_turn(turn, |place, terms, turn| {
            if turn.kind == TurnKind::Work {
                made = place.answer(terms, turn, envelope);
            }
            place.end_turn(turn.number);
        });
        self.counters.steps = self.counters.steps.saturating_add(made);
    }

    /// What the steps of a plan have brought stands between the turns that have the whole task in hand, as one thing said:
    /// rounds that each bring something else are no repetition.
    fn watch_plan(&mut self) {
        let Some(plan) = &self.plan else { return };
        let envelopes = (0..plan.plan.steps.len())
            .filter_map(|step| self.turn(plan.turn_of(step)).and_then(Turn::lineage_envelope));
        let said = envelopes.fold(FNV_OFFSET, |hash, envelope| match &envelope.result {
            Some(result) => fingerprint(hash, result.as_str()),
            None => fingerprint(hash, &envelope.reason),
        });
        let (turn, content) = (plan.planner_turn, format!("{said:016x}"));
        // A name of its own each time: in whatever order steps end, no plan repeats itself.
        let agent = format!("(plan {})", plan.number);
        let told = Observation { agent: &agent, content: &content, fingerprint: true, ..server_says(turn) };
        let terms = self.contract.guards;
        let mut main = std::mem::take(&mut self.guarded.main);
        main.look_back(&terms, self);
        main.observe(&terms, &Observation { kind: Observed::Answer, ..told });
        self.guarded.main = main;
    }

    /// A person who says "go on" has answered what the guards saw before where it was asked: of the one step that asked, or
    /// of everything. Other steps that run meanwhile have not been spoken of.
    fn watch_go_on(&mut self, number: u32) {
        let question = self.questions.iter().find(|question| question.asked.number == number);
        match question.and_then(|question| self.turn(question.asked.turn)?.step) {
            Some(step) if self.running_plan().is_some() => drop(self.guarded.steps.remove(&step)),
            Some(_) | None => self.guarded.settle(),
        }
    }

    /// What the guards see in the line of turns that this one is of.
    pub(super) fn guard_trips(&self, turn: TurnNumber) -> Vec<Trip> {
        let Some(turn) = self.turn(turn) else { return Vec::new() };
        self.guarded.seen(turn).iter().cloned().map(Trip::of_guard).collect()
    }

    /// Whether the task goes on after a turn's answer, so that guards have something to stop: a step that has answered is
    /// over, and of a success without a directive the gate is the judge.
    pub(super) fn goes_on(&self, turn: TurnNumber) -> bool {
        let Some((turn, envelope)) = self.turn(turn).and_then(|t| Some((t, t.envelope()?))) else {
            return false;
        };
        let is_over = turn.step.is_some() || envelope.status == Status::Success;
        envelope.directive.is_some() || !is_over
    }

    /// The cap on steps, if the turn's last one reached it.
    pub(super) fn steps_trip(&self, turn: TurnNumber) -> Option<Trip> {
        let most = self.contract.guards.max_steps.filter(|&most| self.counters.steps >= most)?;
        let evidence = format!("{} steps were made, {most} are the most", self.counters.steps);
        Some(Trip::new(Cause::Turns, evidence).on(turn))
    }

    /// Guards tripped. What the owner is asked about is answered with that: from here on only what comes after counts.
    pub(super) fn on_tripped(&mut self, trips: &[Trip], at: Timestamp) {
        self.tripped.push(Tripped { at, seq: self.seq, trips: trips.to_vec() });
        for trip in trips {
            match trip.scope {
                TripScope::Task => {
                    self.trips = trips.to_vec();
                    return self.guarded.settle();
                }
                // The step is over; if another turn of it comes, it begins anew.
                TripScope::Step => {
                    let step = trip.turns.last().and_then(|&turn| self.turn(turn)?.step);
                    step.map(|step| self.guarded.steps.remove(&step));
                }
                TripScope::Decision | TripScope::Validation => {}
            }
        }
    }

    /// A round has begun: the draft its planner sent with it belongs to it.
    fn record_round(&mut self, planner_turn: TurnNumber) {
        let mut guarded = std::mem::take(&mut self.guarded);
        if let Some(draft) = self.draft_of(planner_turn) {
            guarded.rounds.record(draft);
        }
        self.guarded = guarded;
    }

    /// What a delegating turn carries: its result, where it could be the task's, is a draft.
    pub(super) fn draft_of(&self, turn: TurnNumber) -> Option<Draft<'_>> {
        let state = self.turn(turn).filter(|t| t.kind == TurnKind::Work && t.step.is_none())?;
        let envelope = state.envelope()?;
        let result = envelope.result.as_ref().filter(|_| state.findings().is_empty());
        Some(Draft { turn, score: result.map(|_| envelope.score().get()), result })
    }
}

#[cfg(test)]
mod tests {
    use super::says;

    #[test]
    fn a_message_is_the_answer_as_it_stands_as_json_or_as_text() {
        assert!(says("{\"a\": 1}\n", "{\"a\":1}"));
        assert!(says("It is done. ", "\"It is done.\""));
        assert!(says("done", "done"));
        assert!(!says("", ""));
        assert!(!says("", "\"\""));
        assert!(!says("{\"a\": 2}", "{\"a\":1}"));
    }
}
