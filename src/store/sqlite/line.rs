//! The line of an append, written. By hand, because every commit pays for it: most of it is numbers and plain words. What it
//! writes is JSON, read again by a parser that knows nothing of this. Never here: the texts that the line counts out.

use serde::Serialize;

use super::body::Part;
use crate::{
    store::{
        StoreError,
        record::{EscalationRow, StoredEvent, SummaryRow},
    },
    types::time::Timestamp,
};

/// JSON on its way into a row.
struct Json<'b>(&'b mut Vec<u8>);

impl Json<'_> {
    /// What stands there as it is.
    fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn number(&mut self, mut number: u64) -> &mut Self {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            // Less than ten.
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.0.extend_from_slice(&digits[at..]);
        self
    }

    fn size(&mut self, size: usize) -> &mut Self {
        self.number(size as u64)
    }

    fn time(&mut self, time: Timestamp) -> &mut Self {
        self.number(time.0)
    }

    fn text(&mut self, text: &str) -> Result<&mut Self, StoreError> {
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if !text.bytes().all(is_plain) {
            return self.value(&text);
        }
        Ok(self.raw("\"").raw(text).raw("\""))
    }

    fn value(&mut self, value: &impl Serialize) -> Result<&mut Self, StoreError> {
        serde_json::to_writer(&mut *self.0, value)
            .map_err(|error| StoreError::Corrupt(format!("a line to write: {error}")))?;
        Ok(self)
    }

    /// A list, with each item written by `write`.
    fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T) -> Result<(), StoreError>,
    ) -> Result<&mut Self, StoreError> {
        self.raw("[");
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.raw(",");
            }
            write(self, item)?;
        }
        Ok(self.raw("]"))
    }
}

/// Writes the line, without its end.
pub(super) fn write(body: &mut Vec<u8>, part: &Part<'_>) -> Result<(), StoreError> {
    let Part { task, after, events, summary, escalations, sums } = part;
    let mut json = Json(body);
    json.raw(r#"{"task":"#).value(task)?.raw(r#","after":"#).number(*after);
    let mut start = 0;
    json.raw(r#","events":"#).list(*events, |json, event| put_event(json, event, &mut start))?;
    if let Some(summary) = summary {
        put_summary(&mut json, summary)?;
    }
    if !escalations.is_empty() {
        json.raw(r#","questions":"#).list(*escalations, put_question)?;
    }
    if !sums.is_empty() {
        json.raw(r#","sums":"#).list(*sums, |json, (name, more)| {
            json.raw("[").text(name)?.raw(",").number(*more).raw("]");
            Ok(())
        })?;
    }
    json.raw("}");
    Ok(())
}

fn put_event(json: &mut Json<'_>, event: &StoredEvent, start: &mut usize) -> Result<(), StoreError> {
    let StoredEvent { seq: _, at, kind, version, body } = event;
    json.raw(r#"{"at":"#).time(*at).raw(r#","kind":"#).text(kind)?;
    json.raw(r#","version":"#).number(u64::from(*version));
    json.raw(r#","start":"#).size(*start).raw(r#","bytes":"#).size(body.len()).raw("}");
    *start += body.len() + 1;
    Ok(())
}

fn put_summary(json: &mut Json<'_>, row: &SummaryRow) -> Result<(), StoreError> {
    let SummaryRow { task: _, state, ended_by, cause, owner, agents, labels, .. } = row;
    let SummaryRow { created_at, updated_at, seq, parked, view, .. } = row;
    json.raw(r#","summary":{"state":"#).value(state)?;
    if let Some(ended_by) = ended_by {
        json.raw(r#","ended_by":"#).value(ended_by)?;
    }
    if let Some(cause) = cause {
        json.raw(r#","cause":"#).value(cause)?;
    }
    json.raw(r#","owner":"#).text(owner.as_str())?;
    json.raw(r#","agents":"#).list(agents.iter(), |json, agent| json.text(agent.as_str()).map(drop))?;
    json.raw(r#","labels":"#).list(labels, |json, (key, value)| {
        json.raw("[").text(key)?.raw(",").text(value)?.raw("]");
        Ok(())
    })?;
    json.raw(r#","created_at":"#).time(*created_at).raw(r#","updated_at":"#).time(*updated_at);
    json.raw(r#","seq":"#).number(*seq);
    if let Some(parked) = parked {
        json.raw(r#","parked":"#).size(parked.len());
    }
    json.raw(r#","bytes":"#).size(view.len()).raw("}");
    Ok(())
}

fn put_question(json: &mut Json<'_>, row: &EscalationRow) -> Result<(), StoreError> {
    let EscalationRow { id, open, state, asked_at, view } = row;
    json.raw(r#"{"number":"#).number(u64::from(id.number)).raw(r#","open":"#).value(open)?;
    json.raw(r#","state":"#).text(state)?.raw(r#","asked_at":"#).time(*asked_at);
    json.raw(r#","bytes":"#).size(view.len()).raw("}");
    Ok(())
}
