//! Notices about burn-rate limits that were passed. They are no events of a task: the runtime keeps a numbered note of each,
//! and a sink has a place among these notes as it has one in the log.

use serde::Serialize;

use super::{
    kind::NoticeKind,
    notice::{Notice, SCHEMA},
};
use crate::{
    runtime::{BURN_NOTES, BurnAction, Burned},
    store::{Store, StoreError},
};

/// Seconds in a microsecond's million.
const MICROS: f64 = 1e6;

#[derive(Serialize)]
struct Body<'a> {
    schema: u32,
    event_id: &'a str,
    kind: &'static str,
    occurred_at: String,
    drill: bool,
    burn_rate: Part,
}

#[derive(Serialize)]
struct Part {
    limit: String,
    of: String,
    tokens: u64,
    cost_nano_usd: u64,
    window_seconds: f64,
    tokens_per_minute: u64,
    cost_nano_usd_per_minute: u64,
    action: BurnAction,
    #[serde(skip_serializing_if = "Option::is_none")]
    halt: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    how_to_resume: Option<String>,
}

/// The name of the number that holds a sink's place among the notes.
pub(super) fn cursor_name(sink: &str) -> String {
    format!("webhook_burn_cursor.{sink}")
}

/// The number of the newest note; 0: there is none. Blocks.
pub(super) fn last(store: &dyn Store) -> Result<u64, StoreError> {
    Ok(store.texts(BURN_NOTES)?.last().and_then(|(name, _)| number(name)).unwrap_or(0))
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix(BURN_NOTES)?.parse().ok()
}

/// The notices after a place, oldest first. Blocks.
pub(super) fn after(store: &dyn Store, place: u64) -> Result<Vec<Notice>, StoreError> {
    let mut notices = Vec::new();
    for (name, text) in store.texts(BURN_NOTES)? {
        if number(&name).is_some_and(|number| number > place) {
            let burned = serde_json::from_str(&text)
                .map_err(|error| StoreError::Corrupt(format!("the note {name}: {error}")))?;
            notices.push(notice(burned)?);
        }
    }
    Ok(notices)
}

fn notice(burned: Burned) -> Result<Notice, StoreError> {
    let Burned { number, at, scope, burn, action, halt } = burned;
    let id = format!("{BURN_NOTES}{number}");
    let burn_rate = Part {
        limit: burn.limit,
        of: scope.to_string(),
        tokens: burn.tokens,
        cost_nano_usd: burn.cost_nano_usd,
        window_seconds: burn.window.0 as f64 / MICROS,
        tokens_per_minute: burn.tokens_per_minute,
        cost_nano_usd_per_minute: burn.cost_per_minute,
        action,
        halt,
        how_to_resume: halt.map(|halt| format!("bailiwick resume --halt {halt}")),
    };
    let (kind, occurred_at) = (NoticeKind::BurnRate, at.to_string());
    let (schema, drill) = (SCHEMA, false);
    let body = Body { schema, event_id: &id, kind: kind.name(), occurred_at, drill, burn_rate };
    let body = serde_json::to_string(&body)
        .map_err(|error| StoreError::Corrupt(format!("note {id} makes no body: {error}")))?;
    Ok(Notice { position: number, id, kind, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::memory::MemoryStore,
        types::{
            halt::{Burn, HaltScope},
            time::{Span, Timestamp},
        },
    };

    #[test]
    fn a_note_makes_a_notice_with_its_figures_once() {
        let store = MemoryStore::new();
        let burn = Burn {
            limit: "agents".to_owned(),
            tokens: 1_200,
            cost_nano_usd: 0,
            window: Span::from_secs(60),
            tokens_per_minute: 1_000,
            cost_per_minute: 0,
        };
        let (scope, action) = (HaltScope::Agent("a".parse().expect("a valid name")), BurnAction::Halt);
        for number in [1, 2] {
            let burned = Burned {
                number,
                at: Timestamp(0),
                scope: scope.clone(),
                burn: burn.clone(),
                action,
                halt: Some(7),
            };
            let text = serde_json::to_string(&burned).expect("it encodes");
            store.set_text(&format!("{BURN_NOTES}{number:020}"), Some(&text)).expect("set");
        }
        assert_eq!(last(&store), Ok(2));
        let notices = after(&store, 1).expect("a read");
        assert_eq!((notices.len(), notices[0].id.as_str(), notices[0].position), (1, "burn/2", 2));
        let body: serde_json::Value = serde_json::from_str(&notices[0].body).expect("JSON");
        assert_eq!(body["burn_rate"]["of"], "agent a");
        assert_eq!(body["burn_rate"]["tokens"], 1_200);
        assert_eq!(body["burn_rate"]["action"], "halt");
        assert_eq!(body["burn_rate"]["how_to_resume"], "bailiwick resume --halt 7");
    }
}
