//! What a row of the journal holds, as text that people can read: for each append a line of JSON, then the texts that this
//! line counts out. Never looks into those texts: a body is kept byte for byte, whatever it is.

use std::{borrow::Cow, fmt::Write as _, sync::Arc};

use serde::{Deserialize, Serialize};

use super::line;
use crate::{
    store::{
        StoreError,
        record::{Append, EscalationRow, StoredEvent, SummaryRow, Text},
    },
    types::{
        ids::{AgentName, EscalationId, TaskId},
        outcome::{Cause, EndedBy, TaskState},
        time::Timestamp,
    },
};

/// Bytes at which a row of the journal ends and the commit goes on in another one: whoever reads one task's events reads the
/// whole row.
const ROW_BYTES: usize = 64 * 1_024;
/// Bytes of a row that tell it from any other: they hold a task's id, a number and a time.
const OPENING: usize = 256;

/// A row of the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// The position of its first event.
    pub(super) first: u64,
    /// How many events it has.
    pub(super) count: u64,
    /// Where each append starts in `body`, the bytes of its line, the place of its first event: a JSON list of lists.
    pub(super) parts: String,
    pub(super) body: Vec<u8>,
}

impl Row {
    /// What the row is known by.
    pub(super) fn opening(&self) -> &[u8] {
        opening(&self.body)
    }
}

/// What a row with this body is known by.
pub(super) fn opening(body: &[u8]) -> &[u8] {
    &body[..body.len().min(OPENING)]
}

/// Where the events of one append are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 5]", into = "[u64; 5]")]
pub(super) struct Place {
    /// The number of the task's last event before these.
    pub(super) after: u64,
    /// How many events.
    pub(super) count: u64,
    /// The key of the journal's row.
    pub(super) row: u64,
    /// Where the append's line starts in the row's body.
    pub(super) start: u64,
    /// From there to the end of the last event.
    pub(super) bytes: u64,
}

impl Place {
    /// The number of the last event there.
    pub(super) const fn last(&self) -> u64 {
        self.after.saturating_add(self.count)
    }
}

impl From<[u64; 5]> for Place {
    fn from([after, count, row, start, bytes]: [u64; 5]) -> Self {
        Self { after, count, row, start, bytes }
    }
}

impl From<Place> for [u64; 5] {
    fn from(place: Place) -> Self {
        [place.after, place.count, place.row, place.start, place.bytes]
    }
}

/// What is written of one append.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) task: TaskId,
    /// The number of the task's last event before these.
    pub(super) after: u64,
    pub(super) events: &'a [StoredEvent],
    /// Missing where it can be had from the events; and in what was converted from a table of events, where a task's first
    /// part has it as it was at the end.
    pub(super) summary: Option<&'a SummaryRow>,
    pub(super) escalations: &'a [EscalationRow],
    pub(super) sums: &'a [(String, u64)],
}

impl<'a> From<&'a Append> for Part<'a> {
    fn from(append: &'a Append) -> Self {
        let Append { task, expected_seq, events, summary, escalations, sums } = append;
        Self { task: *task, after: *expected_seq, events, summary: Some(summary), escalations, sums }
    }
}

/// What was written of one append, read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadPart {
    pub(super) task: TaskId,
    pub(super) events: Vec<StoredEvent>,
    pub(super) summary: Option<SummaryRow>,
    pub(super) escalations: Vec<EscalationRow>,
    pub(super) sums: Vec<(String, u64)>,
    pub(super) place: Place,
}

/// The line of an append. The texts follow it in the order of their mention.
#[derive(Deserialize)]
struct Line<'a> {
    task: TaskId,
    after: u64,
    #[serde(borrow)]
    events: Vec<EventHead<'a>>,
    #[serde(default)]
    summary: Option<SummaryHead>,
    #[serde(borrow, default)]
    questions: Vec<QuestionHead<'a>>,
    #[serde(default)]
    sums: Vec<(String, u64)>,
}

#[derive(Deserialize)]
struct EventHead<'a> {
    at: Timestamp,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    version: u16,
    bytes: usize,
}

#[derive(Deserialize)]
struct SummaryHead {
    state: TaskState,
    #[serde(default)]
    ended_by: Option<EndedBy>,
    #[serde(default)]
    cause: Option<Cause>,
    owner: AgentName,
    agents: Arc<[AgentName]>,
    labels: Vec<(String, String)>,
    created_at: Timestamp,
    updated_at: Timestamp,
    seq: u64,
    /// Of the text that tells how the task stands, if there is one; it comes before the other.
    #[serde(default)]
    parked: Option<usize>,
    bytes: usize,
}

#[derive(Deserialize)]
struct QuestionHead<'a> {
    number: u32,
    open: bool,
    #[serde(borrow)]
    state: Cow<'a, str>,
    asked_at: Timestamp,
    bytes: usize,
}

impl SummaryHead {
    fn row(self, task: TaskId, parked: Option<Text>, view: Text) -> SummaryRow {
        let Self {
            state,
            ended_by,
            cause,
            owner,
            agents,
            labels,
            created_at,
            updated_at,
            seq,
            parked: _,
            bytes: _,
        } = self;
        SummaryRow {
            task,
            state,
            ended_by,
            cause,
            owner,
            agents,
            labels,
            created_at,
            updated_at,
            seq,
            parked,
            view,
        }
    }
}

/// Rows in the making.
#[derive(Debug)]
pub(super) struct Rows {
    done: Vec<Row>,
    open: Row,
}

impl Rows {
    /// Rows from position `first` on, about `bytes` long.
    pub(super) fn new(first: u64, bytes: usize) -> Self {
        let mut rows = Self { done: Vec::new(), open: Row::default() };
        rows.begin(first, bytes);
        rows
    }

    /// Adds an append.
    pub(super) fn push(&mut self, part: &Part<'_>) -> Result<Place, StoreError> {
        if self.open.body.len() >= ROW_BYTES {
            let next = self.open.first + self.open.count;
            self.cut(next, ROW_BYTES);
        }
        let Row { first, count, parts, body } = &mut self.open;
        let start = body.len();
        line::write(body, part)?;
        parts.push(if parts.is_empty() { '[' } else { ',' });
        let end = body.len() - start;
        write!(parts, "[{start},{end},{count}]").expect("a text takes any number");
        body.push(b'\n');
        for event in part.events {
            put(body, &event.body);
        }
        let end = body.len();
        if let Some(summary) = part.summary {
            summary.parked.iter().for_each(|parked| put(body, parked));
            put(body, &summary.view);
        }
        for row in part.escalations {
            put(body, &row.view);
        }
        let events = part.events.len() as u64;
        *count += events;
        Ok(Place {
            after: part.after,
            count: events,
            row: *first,
            start: start as u64,
            bytes: (end - start) as u64,
        })
    }

    /// The next append's first event has position `position`: where that leaves a gap, a new row begins.
    pub(super) fn go_on_at(&mut self, position: u64) {
        if self.open.first + self.open.count != position {
            self.cut(position, ROW_BYTES);
        }
    }

    /// Ends the row; the next one begins at position `first` and will have about so many bytes.
    fn cut(&mut self, first: u64, bytes: usize) {
        if self.open.count > 0 {
            self.open.parts.push(']');
            self.done.push(std::mem::take(&mut self.open));
        }
        self.begin(first, bytes);
    }

    fn begin(&mut self, first: u64, bytes: usize) {
        // The last append of a row may reach beyond its end.
        let body = Vec::with_capacity(bytes.min(ROW_BYTES + ROW_BYTES / 4));
        self.open = Row { first, body, ..Row::default() };
    }

    /// Takes the rows that are done.
    pub(super) fn take(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.done)
    }

    /// All rows.
    pub(super) fn finish(mut self) -> Vec<Row> {
        self.cut(0, 0);
        self.done
    }
}

fn put(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(text.as_bytes());
    body.push(b'\n');
}

/// Reads a row's body from its beginning.
struct Reader<'b> {
    body: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn wrong(&self, why: &str) -> StoreError {
        StoreError::Corrupt(format!("byte {} of a row of the journal: {why}", self.at))
    }

    fn line(&mut self) -> Result<Line<'b>, StoreError> {
        let rest = self.body.get(self.at..).unwrap_or_default();
        let mut lines = serde_json::Deserializer::from_slice(rest).into_iter();
        let line = lines.next().ok_or_else(|| self.wrong("it ends there"))?;
        let line = line.map_err(|error| self.wrong(&error.to_string()))?;
        self.at += lines.byte_offset() + 1;
        Ok(line)
    }

    fn text(&mut self, bytes: usize) -> Result<String, StoreError> {
        let text = self.at.checked_add(bytes).and_then(|end| self.body.get(self.at..end));
        let text = text.ok_or_else(|| self.wrong("a text is cut off"))?;
        let text = std::str::from_utf8(text).map_err(|error| self.wrong(&error.to_string()))?.to_owned();
        self.at += bytes + 1;
        Ok(text)
    }

    fn events(&mut self, after: u64, heads: Vec<EventHead<'_>>) -> Result<Vec<StoredEvent>, StoreError> {
        let mut events = Vec::with_capacity(heads.len());
        for (seq, EventHead { at, kind, version, bytes }) in (after.saturating_add(1)..).zip(heads) {
            let (kind, body) = (Cow::Owned(kind.into_owned()), self.text(bytes)?);
            events.push(StoredEvent { seq, at, kind, version, body });
        }
        Ok(events)
    }
}

/// The events at a place, given the bytes there.
pub(super) fn events_at(bytes: &[u8]) -> Result<Vec<StoredEvent>, StoreError> {
    let mut reader = Reader { body: bytes, at: 0 };
    let line = reader.line()?;
    reader.events(line.after, line.events)
}

/// All appends of the row `first`, given its body.
pub(super) fn parts(first: u64, body: &[u8]) -> Result<Vec<ReadPart>, StoreError> {
    let mut reader = Reader { body, at: 0 };
    let mut parts = Vec::new();
    while reader.at < body.len() {
        let start = reader.at;
        let Line { task, after, events, summary, questions, sums } = reader.line()?;
        let events = reader.events(after, events)?;
        let bytes = (reader.at - start) as u64;
        let place = Place { after, count: events.len() as u64, row: first, start: start as u64, bytes };
        let summary = match summary {
            Some(head) => Some({
                let parked = head.parked.map(|bytes| reader.text(bytes)).transpose()?;
                let view = reader.text(head.bytes)?;
                head.row(task, parked.map(Text::from), view.into())
            }),
            None => None,
        };
        let mut escalations = Vec::with_capacity(questions.len());
        for QuestionHead { number, open, state, asked_at, bytes } in questions {
            let (id, view) = (EscalationId { task, number }, reader.text(bytes)?);
            escalations.push(EscalationRow { id, open, state: state.into_owned(), asked_at, view });
        }
        parts.push(ReadPart { task, events, summary, escalations, sums, place });
    }
    Ok(parts)
}
