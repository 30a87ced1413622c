//! The guards that read what is said and done: repetition (exact, in cycles, nearly the same), "already finished", steps.
//! Pure and incremental: constant time and bounded memory an observation, the same trips from the same observations.
//!
//! `apply` observes, `decide` looks at the trips. The backtest runs these very functions over recorded runs.
//! Never here: what follows from a trip (ownership), counters that the task keeps (hops, turns, tokens, time).
//!
//! Two rules that the recordings taught, beside the terms:
//! - *What came in between counts.* A tool call is compared with its result, and what an agent says again is a repetition
//!   only if nothing new was heard in between: a reviewer who says "fine" to three different drafts does not loop.
//! - *Repetition mostly means "already finished"*, so every trip goes to the owner with the last result.

mod answer;
pub mod convergence;
mod figures;
mod idle;
mod sketch;
mod standing;
mod stream;
mod text;
mod trip;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use answer::{Parts, Stated};
use idle::Idle;
use sketch::Sketch;
use standing::{Claim, Standing};
use stream::{Item, Round, Stream};
use text::{Hash, Word};
pub use trip::{GuardKind, GuardTrip};

use super::small_map::SmallMap;
use crate::types::guards::{GuardTerms, MAX_CYCLE};

/// Agents that are told apart; of more, the first ones in the alphabet give way.
const MAX_AGENTS: usize = 64;
/// Turns whose steps are followed at once; of more, the oldest give way.
const MAX_OPEN_TURNS: usize = 256;
/// Calls of a turn that wait for their results.
const MAX_PENDING: usize = 16;
/// Contents remembered to tell what is new.
const REMEMBERED: usize = 64;
/// A shorter message contests nothing: it agrees, or announces.
const NEWS_BYTES: usize = 20;
/// A message of no more words says little: it agrees, or announces. Of a tool's result that is one word.
const NOD_WORDS: usize = 2;
/// From this length on, saying the same again is a repetition even if something new was heard: it was ignored.
const LONG_BYTES: usize = 200;

/// What kind of thing was observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// Something said: a streamed message, or the reason of an answer that has no result.
    Message,
    /// A tool was called. Alone it never counts.
    ToolCall,
    /// What the tool gave back.
    ToolResult,
    /// The answer to a turn: its result, as JSON text.
    Answer,
    /// What came from outside the crew: a person's words, why the gate sent an answer back. It is heard, never counted.
    Input,
}

/// One thing said or done.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The turn it belongs to.
    pub turn: u32,
    /// Who.
    pub agent: &'a str,
    /// What kind of thing.
    pub kind: Observed,
    /// The tool, for calls and results; else empty.
    pub tool: &'a str,
    /// The content, or its fingerprint.
    pub content: &'a str,
    /// Whether `content` is a fingerprint: compared exactly only.
    pub fingerprint: bool,
    /// Whether it was made beside others, without having seen them (a parallel step): agreeing with them is no repetition.
    pub concurrent: bool,
}

/// How near each guard is to tripping: what the terms are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Levels {
    /// Times that equal content has come round.
    pub repetition: u32,
    /// Times that content at least nearly the same has come round.
    pub near_repetition: u32,
    /// Statements of one uncontested answer by one agent.
    pub restated: u32,
    /// Whether a tool has said what was already answered.
    pub confirmed: bool,
    /// Messages in a row that added nothing to what stands.
    pub idle: u32,
    /// Steps observed over the whole task.
    pub steps: u32,
}

/// Everything the guards remember of a task.
#[derive(Debug, Clone, Default)]
pub struct Guards {
    task: Stream,
    agents: SmallMap<Box<str>, Box<Agent>>,
    turns: BTreeMap<u32, Turn>,
    /// Hashes of the last contents, to tell what is new.
    seen: VecDeque<u64>,
    /// The figure that the last message answered, if nothing has come since.
    claim: Option<Claim>,
    idle: Idle,
    /// Whether there is an answer.
    stands: bool,
    steps: u32,
    levels: Levels,
    trips: Vec<GuardTrip>,
}

#[derive(Debug, Clone, Default)]
struct Agent {
    stream: Stream,
    /// Whether something new came from others since it last said or did something.
    heard: bool,
    standing: Option<Standing>,
}

#[derive(Debug, Clone, Default)]
struct Turn {
    stream: Stream,
    /// Calls without a result yet: tool and call.
    pending: VecDeque<(u64, u64)>,
}

/// An observation, read.
struct Reading {
    item: Item,
    stated: Option<Stated>,
    /// Whether its content was not there before.
    is_new: bool,
    /// Whether it is also more than a few letters.
    is_news: bool,
    is_long: bool,
    has_code: bool,
    words: Vec<Word>,
}

impl Guards {
    /// The guards of a task of which nothing has been seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing has been seen yet.
    pub fn are_new(&self) -> bool {
        self.steps == 0 && self.seen.is_empty() && self.turns.is_empty()
    }

    /// Takes in one thing said or done. What trips is in `trips` afterwards.
    pub fn observe(&mut self, terms: &GuardTerms, o: &Observation<'_>) {
        if o.kind == Observed::ToolCall {
            self.call(o);
            return;
        }
        if o.kind != Observed::Answer && o.content.trim().is_empty() && !self.is_awaited(o) {
            self.silence(terms, o);
            return;
        }
        self.unanswered(o);
        let reading = self.read(terms, o);
        self.steps = self.steps.saturating_add(u32::from(o.kind != Observed::Input));
        self.levels = Levels { steps: self.steps, ..Levels::default() };
        if o.kind != Observed::Input {
            self.follow(terms, o, &reading);
        }
        self.stand(terms, o, &reading);
        self.spread(o, &reading);
        self.rest(terms, o, &reading);
        self.count(terms, o);
    }

    /// Whether it is the result of a call: with that, even an empty one says something.
    fn is_awaited(&self, o: &Observation<'_>) -> bool {
        o.kind == Observed::ToolResult && self.turns.get(&o.turn).is_some_and(|turn| !turn.pending.is_empty())
    }

    /// Whoever speaks on after a call has had its result, seen here or not: what is not seen may have been new. The answer to
    /// a turn is compared all the same: it is what the next one gets.
    fn unanswered(&mut self, o: &Observation<'_>) {
        if !matches!(o.kind, Observed::Message | Observed::Answer) {
            return;
        }
        let Some(turn) = self.turns.get_mut(&o.turn).filter(|turn| !turn.pending.is_empty()) else { return };
        turn.pending.clear();
        if o.kind == Observed::Answer {
            return;
        }
        turn.stream.break_off();
        self.task.break_off();
        self.claim = None;
        let agent = self.agent(o.agent);
        agent.heard = true;
        agent.standing = None;
    }

    /// A step without content: it counts, but it is not the same as any other.
    fn silence(&mut self, terms: &GuardTerms, o: &Observation<'_>) {
        self.steps = self.steps.saturating_add(1);
        self.levels = Levels { steps: self.steps, ..Levels::default() };
        self.count(terms, o);
    }

    /// What tripped since the last `settle`, in the order of `GuardKind`.
    pub fn trips(&self) -> &[GuardTrip] {
        &self.trips
    }

    /// How near each guard came with the last observation.
    pub const fn levels(&self) -> Levels {
        self.levels
    }

    /// After the owner's decision: forgets all but the count of steps, so that only what comes after is looked at. Calls
    /// that wait for their results are kept.
    pub fn settle(&mut self) {
        let steps = self.steps;
        let mut turns = std::mem::take(&mut self.turns);
        turns.retain(|_, turn| !turn.pending.is_empty());
        turns.values_mut().for_each(|turn| turn.stream = Stream::default());
        *self = Self { steps, turns, ..Self::default() };
    }

    /// Forgets a turn that has ended, and what tripped inside it.
    pub fn end_turn(&mut self, turn: u32) {
        self.turns.remove(&turn);
        self.trips.retain(|trip| trip.in_turn != Some(turn));
    }

    /// A call waits for its result.
    fn call(&mut self, o: &Observation<'_>) {
        // A tool that is given the figure says it back: that confirms nothing.
        self.claim.take_if(|claim| answer::says(o.content, &claim.value));
        let turn = self.turn(o.turn);
        if turn.pending.len() == MAX_PENDING {
            turn.pending.pop_front();
        }
        turn.pending.push_back((text::raw(o.tool), text::exact(o.content)));
    }

    fn read(&mut self, terms: &GuardTerms, o: &Observation<'_>) -> Reading {
        let content = if o.fingerprint { text::raw(o.content) } else { text::exact(o.content) };
        let is_talk = matches!(o.kind, Observed::Message | Observed::Answer) && !o.fingerprint;
        let parts = Parts::of(if is_talk { o.content } else { "" });
        let hash = match o.kind {
            Observed::ToolResult => self.result(o, content),
            _ => content,
        };
        let near =
            terms.repetition.on && terms.repetition.similarity_permille < 1_000 && text::is_prose(o.content);
        let words = if o.fingerprint { Vec::new() } else { text::words(o.content) };
        let sketch = if is_talk && near { Sketch::of(o.content, &words, parts.code_hash) } else { None };
        let stated = match o.kind {
            Observed::Message if is_talk => answer::in_message(o.content, &parts),
            Observed::Answer if is_talk => Some(answer::in_result(o.content)),
            Observed::Answer => {
                Some(Stated { substance: content, letter: content, draft: false, value: None })
            }
            _ => None,
        };
        let is_message = o.kind == Observed::Message && !o.fingerprint;
        let is_nod = match o.kind {
            Observed::Message => is_message && words.len() <= NOD_WORDS,
            Observed::ToolResult => !o.fingerprint && words.len() < NOD_WORDS,
            _ => false,
        };
        let is_short = is_message && o.content.trim().len() < NEWS_BYTES;
        // What a tool says of another call is new, whatever its words.
        let what = if o.kind == Observed::ToolResult { hash } else { content };
        let is_known = self.seen.contains(&what);
        if !is_known {
            if self.seen.len() == REMEMBERED {
                self.seen.pop_front();
            }
            self.seen.push_back(what);
        }
        Reading {
            item: Item { hash, sketch: sketch.map(Arc::new), turn: o.turn, is_nod, is_deaf: false },
            stated,
            is_new: !is_known,
            is_news: !is_known && !is_short,
            is_long: o.content.len() >= LONG_BYTES || o.fingerprint,
            has_code: parts.code_hash != 0,
            words,
        }
    }

    /// A result's hash takes in its call; where the call was not recorded, what came last before it stands in.
    fn result(&mut self, o: &Observation<'_>, content: u64) -> u64 {
        let tool = text::raw(o.tool);
        let before = self.task.last();
        let pending = &mut self.turn(o.turn).pending;
        let at = pending
            .iter()
            .position(|(called, _)| *called == tool)
            .or_else(|| (!pending.is_empty()).then_some(0));
        let call = at.and_then(|at| pending.remove(at)).map_or(before, |(_, call)| call);
        Hash::new().word(tool).word(call).word(content).finish()
    }

    fn turn(&mut self, turn: u32) -> &mut Turn {
        if self.turns.len() >= MAX_OPEN_TURNS && !self.turns.contains_key(&turn) {
            self.turns.pop_first();
        }
        self.turns.entry(turn).or_default()
    }

    fn agent(&mut self, agent: &str) -> &mut Agent {
        if self.agents.len() >= MAX_AGENTS && self.agents.get(agent).is_none() {
            self.agents.remove_first();
        }
        self.agents.value_of(agent, || (agent.into(), Box::default()))
    }

    /// Repetition: inside the turn, by the agent, regardless of agent; the first that trips is named.
    fn follow(&mut self, terms: &GuardTerms, o: &Observation<'_>, reading: &Reading) {
        let similar = terms.repetition.similarity_permille;
        let is_step = o.kind != Observed::Answer;
        if is_step {
            self.turn(o.turn).stream.push(reading.item.clone(), similar);
        }
        let agent = self.agent(o.agent);
        let has_heard = std::mem::take(&mut agent.heard);
        if has_heard && !reading.is_long {
            agent.stream.break_off();
        }
        agent.stream.push(Item { is_deaf: has_heard, ..reading.item.clone() }, similar);
        if !o.concurrent {
            self.task.push(reading.item.clone(), similar);
        }
        let mut found: Option<GuardTrip> = None;
        let agent = self.agents.get(o.agent).map(|agent| &agent.stream);
        let streams = [
            (is_step.then(|| &self.turns[&o.turn].stream), true, Some(o.agent)),
            (agent, false, Some(o.agent)),
            ((!o.concurrent).then_some(&self.task), false, None),
        ];
        for (stream, inside, by) in streams {
            let Some(stream) = stream else { continue };
            let (equal, alike) = (stream.equal(MAX_CYCLE), stream.alike(MAX_CYCLE));
            self.levels.repetition = self.levels.repetition.max(equal.level);
            self.levels.near_repetition = self.levels.near_repetition.max(alike.level);
            // Inside a turn first; of the others the longer cycle says more.
            let longer = |round: &Round| {
                found
                    .as_ref()
                    .is_none_or(|found: &GuardTrip| found.in_turn.is_none() && round.cycle > found.cycle)
            };
            let tripped = repetition(terms, stream).filter(|(round, _)| terms.repetition.on && longer(round));
            found = tripped
                .map(|(round, is_equal)| GuardTrip {
                    guard: GuardKind::of_repetition(round.cycle, is_equal),
                    turns: stream.turns(round.times.saturating_mul(round.cycle)),
                    agent: by.map(str::to_owned),
                    repeated: text::excerpt(o.content),
                    times: round.times,
                    cycle: round.cycle,
                    similarity_permille: round.similarity_permille,
                    in_turn: inside.then_some(o.turn),
                })
                .or(found);
        }
        if let Some(trip) = found {
            self.trip(trip);
        }
    }

    /// An answer is stated, or a tool says what was answered.
    fn stand(&mut self, terms: &GuardTerms, o: &Observation<'_>, reading: &Reading) {
        let claim = self.claim.take();
        if let Some(stated) = reading.stated.clone() {
            if let Some(value) = stated.value.clone().filter(|_| o.kind == Observed::Message) {
                self.claim = Some(Claim { value, turn: o.turn });
            }
            let agent = self.agent(o.agent);
            match &mut agent.standing {
                Some(standing) => standing.state(stated, o.turn),
                none => *none = Some(Standing::new(stated, o.turn)),
            }
            let standing = agent.standing.as_ref().expect("it was put there");
            let (times, turns) = (standing.times(), standing.turns());
            self.levels.restated = times;
            if terms.finished.on && terms.finished.restated.is_some_and(|most| times >= most) {
                self.trip(GuardTrip::finished(GuardKind::Restated, o, turns, times));
            }
        }
        let confirmed = o.kind == Observed::ToolResult
            && !o.fingerprint
            && claim.as_ref().is_some_and(|claim| answer::says(o.content, &claim.value));
        if confirmed {
            self.levels.confirmed = true;
            let turn = claim.map_or(o.turn, |claim| claim.turn);
            if terms.finished.on && terms.finished.confirmed {
                let mut turns = vec![turn, o.turn];
                turns.dedup();
                self.trip(GuardTrip::finished(GuardKind::Confirmed, o, turns, 2));
            }
        }
    }

    /// What is new is heard by the others, and contests what stands; another answer does even if it is not new.
    fn spread(&mut self, o: &Observation<'_>, reading: &Reading) {
        let from_outside = matches!(o.kind, Observed::ToolResult | Observed::Input);
        if o.kind == Observed::Input && reading.is_new {
            self.task.break_off();
        }
        for (name, agent) in self.agents.iter_mut() {
            let is_own = &**name == o.agent && o.kind != Observed::Input;
            agent.heard |= !is_own && reading.is_new;
            let Some(standing) = &mut agent.standing else { continue };
            if !is_own && o.kind != Observed::ToolResult {
                standing.is_answered();
            }
            if !reading.is_news && reading.stated.is_none() {
                continue;
            }
            if o.kind == Observed::ToolResult && !o.fingerprint {
                standing.see(o.content);
            } else if from_outside || !is_own {
                standing.hear(reading.stated.as_ref().map(|stated| stated.substance));
            }
        }
    }

    /// Talk that adds nothing.
    fn rest(&mut self, terms: &GuardTerms, o: &Observation<'_>, reading: &Reading) {
        let is_message = o.kind == Observed::Message;
        if o.kind == Observed::Input {
            self.idle.brought(o.content, &reading.words);
            return;
        }
        if o.fingerprint {
            self.idle.end();
        } else if !is_message || reading.has_code {
            self.idle.brought(o.content, &reading.words);
        } else {
            self.idle.said(o.content, &reading.words, o.turn, self.stands);
        }
        self.stands |= reading.stated.is_some();
        self.levels.idle = self.idle.run();
        if terms.finished.on && terms.finished.idle.is_some_and(|most| self.idle.run() >= most) {
            let (turns, run) = (self.idle.turns(), self.idle.run());
            self.trip(GuardTrip::finished(GuardKind::Idle, o, turns, run));
        }
    }

    fn count(&mut self, terms: &GuardTerms, o: &Observation<'_>) {
        if terms.max_steps.is_some_and(|most| self.steps >= most) {
            self.trip(GuardTrip::finished(GuardKind::Steps, o, vec![o.turn], self.steps));
        }
    }

    /// Notes a trip: each guard once until it is settled, and once for each turn it trips inside of.
    fn trip(&mut self, trip: GuardTrip) {
        let is_noted = |noted: &GuardTrip| noted.guard == trip.guard && noted.in_turn == trip.in_turn;
        if !self.trips.iter().any(is_noted) {
            self.trips.push(trip);
            self.trips.sort_by_key(|trip| (trip.guard, trip.in_turn));
        }
    }
}

/// The cycle of a stream that trips the guard, and whether its items are equal.
fn repetition(terms: &GuardTerms, stream: &Stream) -> Option<(Round, bool)> {
    let terms = &terms.repetition;
    let rounds = [(stream.equal(terms.max_cycle), true), (stream.alike(terms.max_cycle), false)];
    rounds.into_iter().find(|(round, _)| round.level >= terms.times)
}

#[cfg(test)]
mod tests;
