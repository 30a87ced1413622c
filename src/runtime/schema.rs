//! Does a value fit its schema? Costly, so it runs off the shards, and its findings go into the command. Schemas are
//! compiled once for each text.

mod metered;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Semaphore;

use super::hands::Hands;
use crate::{store::StoreError, types::payload::Payload};
pub use metered::Bounded;
use metered::Limit;

/// Compiled schemas kept.
const MAX_COMPILED: usize = 512;
/// Results larger than this are checked off the async threads, in bytes; and so is the first against a schema.
const MAX_INLINE_BYTES: usize = 8 << 10;
/// Checks off the async threads at once: a few of the threads that may block, so that whatever is slow leaves the rest free.
const TURNS: usize = 8;
/// What a check on an async thread may take; what needs more is begun anew off them.
const INLINE: Limit = Limit { steps: 4_096, wall: Duration::from_millis(2) };
/// What any check may take.
const MOST: Limit = Limit { steps: 20_000_000, wall: Duration::from_secs(5) };
/// Findings listed for one result.
const MAX_FINDINGS: usize = 10;
/// The longest finding, in characters.
const MAX_FINDING_CHARS: usize = 400;

/// Compiles a schema, or says why it is none. Intake uses it too, so that what is accepted there compiles here. References to
/// other documents are refused.
///
/// # Errors
/// The place in the schema and what is wrong there.
pub fn compile(schema: &Payload) -> Result<Bounded, String> {
    metered::compile(&schema.to_json()).map_err(|error| {
        let path = error.instance_path().to_string();
        let place = if path.is_empty() { "its top".to_owned() } else { path };
        clipped(&format!("at {place}: {error}"))
    })
}

/// Schemas that are compiled already.
#[derive(Debug)]
pub(super) struct Schemas {
    compiled: Mutex<HashMap<String, Arc<Bounded>>>,
    turns: Arc<Semaphore>,
    hands: Hands,
}

impl Default for Schemas {
    fn default() -> Self {
        Self::new(Hands::default())
    }
}

impl Schemas {
    pub(super) fn new(hands: Hands) -> Self {
        Self { compiled: Mutex::default(), turns: Arc::new(Semaphore::new(TURNS)), hands }
    }

    /// The same as `check`, if it takes so little that it need not leave the async thread.
    pub(super) fn check_at_once(
        &self,
        schema: &Payload,
        result: &Payload,
        what: &'static str,
    ) -> Option<Vec<String>> {
        // In place nothing is off the async threads, and how fast the computer is must not matter.
        if self.hands.are_in_place() || result.as_str().len() > MAX_INLINE_BYTES {
            return None;
        }
        let known = self.compiled().get(schema.as_str()).cloned()?;
        if known.is_light() { findings(&known, result, what, INLINE) } else { None }
    }

    /// What is wrong with the value, called `what`; empty: it fits. A check that takes too much is a finding too.
    pub(super) async fn check(
        self: &Arc<Self>,
        schema: Payload,
        result: &Payload,
        what: &'static str,
    ) -> Result<Vec<String>, StoreError> {
        if let Some(found) = self.check_at_once(&schema, result, what) {
            return Ok(found);
        }
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let (schemas, result) = (Arc::clone(self), result.clone());
        let work = move || {
            // Held by the work, not by whoever waits for it: they may go away, and it still runs.
            let _turn = turn;
            schemas.findings(&schema, &result, what)
        };
        self.hands.run(work).await
    }

    fn findings(&self, schema: &Payload, result: &Payload, what: &str) -> Vec<String> {
        let schema = match self.validator(schema) {
            Ok(schema) => schema,
            Err(error) => return vec![format!("the schema of {what} is not usable: {error}")],
        };
        findings(&schema, result, what, MOST).unwrap_or_else(|| {
            vec![format!(
                "{what} cannot be held against its schema: that takes too many steps. Make it smaller, or have the schema \
                 say less by references to itself"
            )]
        })
    }

    fn compiled(&self) -> MutexGuard<'_, HashMap<String, Arc<Bounded>>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn validator(&self, schema: &Payload) -> Result<Arc<Bounded>, String> {
        if let Some(validator) = self.compiled().get(schema.as_str()) {
            return Ok(Arc::clone(validator));
        }
        // Compiled outside the lock: two at once may do it twice, none waits.
        let validator = Arc::new(compile(schema)?);
        let mut compiled = self.compiled();
        if compiled.len() >= MAX_COMPILED {
            compiled.clear();
        }
        compiled.insert(schema.as_str().to_owned(), Arc::clone(&validator));
        Ok(validator)
    }
}

/// `None`: the limit is reached.
fn findings(schema: &Bounded, result: &Payload, what: &str, limit: Limit) -> Option<Vec<String>> {
    let value = result.to_json();
    if let Some(bytes) = schema.too_long(&value) {
        return Some(vec![format!(
            "{what} has a text of {bytes} bytes, and the patterns of its schema are too large for that: write shorter texts"
        )]);
    }
    schema.faults(&value, limit, MAX_FINDINGS, |error| {
        let path = error.instance_path().to_string();
        let place = if path.is_empty() { what.to_owned() } else { path };
        clipped(&format!("{place}: {error}"))
    })
}

fn clipped(text: &str) -> String {
    text.chars().take(MAX_FINDING_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn payload(value: serde_json::Value) -> Payload {
        Payload::from_json(&value)
    }

    #[tokio::test]
    async fn findings_name_the_place_and_are_bounded() {
        let schemas = Arc::new(Schemas::default());
        let schema = payload(json!({
            "type": "object", "required": ["n"],
            "properties": {"n": {"type": "integer"}, "list": {"items": {"type": "string"}}}
        }));
        let check = |value| {
            let (schemas, schema, result) = (Arc::clone(&schemas), schema.clone(), payload(value));
            async move { schemas.check(schema, &result, "the result").await.expect("nothing panics") }
        };
        assert_eq!(check(json!({"n": 1})).await, Vec::<String>::new());
        let wrong = check(json!({"n": "one"})).await;
        assert!(wrong.len() == 1 && wrong[0].starts_with("/n: "), "{wrong:?}");
        let many: Vec<u32> = (0..50).collect();
        assert_eq!(check(json!({"n": 1, "list": many})).await.len(), MAX_FINDINGS);
    }

    #[tokio::test]
    async fn a_check_that_takes_too_much_is_a_finding_and_holds_up_nobody_else() {
        let schemas = Arc::new(Schemas::default());
        let field = json!({"properties": {"a": {"$ref": "#/$defs/n"}}});
        let hostile = payload(json!({"$defs": {"n": {"allOf": vec![field; 50]}}, "$ref": "#/$defs/n"}));
        let deep = payload((0..27).fold(json!(1), |inner, _| json!({"a": inner})));
        let check = |schema: &Payload, value: &Payload| {
            let (schemas, schema, value) = (Arc::clone(&schemas), schema.clone(), value.clone());
            tokio::spawn(async move { schemas.check(schema, &value, "the result").await })
        };
        let slow: Vec<_> = (0..TURNS).map(|_| check(&hostile, &deep)).collect();
        // Whoever waited has gone: the work still has its turn.
        let gone: Vec<_> = (0..64).map(|_| check(&hostile, &deep)).collect();
        gone.iter().for_each(tokio::task::JoinHandle::abort);
        let small = payload(json!({"type": "integer"}));
        drop(schemas.validator(&small).expect("a schema"));
        let found = check(&small, &payload(json!(1))).await.expect("it runs").expect("nothing panics");
        assert_eq!(found, Vec::<String>::new());
        for slow in slow {
            let found = slow.await.expect("it ends").expect("nothing panics");
            assert!(found.len() == 1 && found[0].contains("takes too many steps"), "{found:?}");
        }
    }

    #[test]
    fn what_is_no_schema_is_refused_with_the_reason() {
        assert!(compile(&payload(json!({"type": "no such type"}))).is_err());
        assert!(compile(&payload(json!({"$ref": "https://example.com/other.json"}))).is_err());
        assert!(compile(&payload(json!({"type": "string", "pattern": "^a+$"}))).is_ok());
    }
}
