//! Does a value fit its schema? Costly, so it runs off the shards, and its findings go into the command. Schemas are
//! compiled once for each text.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jsonschema::{PatternOptions, Validator};

use super::blocking::blocking;
use crate::{store::StoreError, types::payload::Payload};

/// Compiled schemas kept.
const MAX_COMPILED: usize = 512;
/// Results larger than this are checked off the async threads, in bytes; and so is the first against a schema.
const MAX_INLINE_BYTES: usize = 8 << 10;
/// Findings listed for one result.
const MAX_FINDINGS: usize = 10;
/// The longest finding, in characters.
const MAX_FINDING_CHARS: usize = 400;

/// Compiles a schema, or says why it is none. Intake uses it too, so that what is accepted there compiles here. Patterns are
/// matched in linear time: a schema cannot hold the server up. References to other documents are refused.
///
/// # Errors
/// The place in the schema and what is wrong there.
pub fn compile(schema: &Payload) -> Result<Validator, String> {
    jsonschema::options()
        .offline()
        .with_pattern_options(PatternOptions::regex())
        .build(&schema.to_json())
        .map_err(|error| {
            let path = error.instance_path().to_string();
            let place = if path.is_empty() { "its top".to_owned() } else { path };
            clipped(&format!("at {place}: {error}"))
        })
}

/// Schemas that are compiled already.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    compiled: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Schemas {
    /// What is wrong with the value, called `what`; empty: it fits.
    pub(super) async fn check(
        self: &Arc<Self>,
        schema: Payload,
        result: &Payload,
        what: &'static str,
    ) -> Result<Vec<String>, StoreError> {
        let compiled = self.compiled().contains_key(schema.as_str());
        if compiled && result.as_str().len() <= MAX_INLINE_BYTES {
            return Ok(self.findings(&schema, result, what));
        }
        let (schemas, result) = (Arc::clone(self), result.clone());
        blocking(move || schemas.findings(&schema, &result, what)).await
    }

    fn findings(&self, schema: &Payload, result: &Payload, what: &str) -> Vec<String> {
        let validator = match self.validator(schema) {
            Ok(validator) => validator,
            Err(error) => return vec![format!("the schema of {what} is not usable: {error}")],
        };
        let value = result.to_json();
        let found = |error: jsonschema::ValidationError<'_>| {
            let path = error.instance_path().to_string();
            let place = if path.is_empty() { what.to_owned() } else { path };
            clipped(&format!("{place}: {error}"))
        };
        validator.iter_errors(&value).take(MAX_FINDINGS).map(found).collect()
    }

    fn compiled(&self) -> MutexGuard<'_, HashMap<String, Arc<Validator>>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn validator(&self, schema: &Payload) -> Result<Arc<Validator>, String> {
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

    #[test]
    fn what_is_no_schema_is_refused_with_the_reason() {
        assert!(compile(&payload(json!({"type": "no such type"}))).is_err());
        assert!(compile(&payload(json!({"$ref": "https://example.com/other.json"}))).is_err());
        assert!(compile(&payload(json!({"type": "string", "pattern": "^a+$"}))).is_ok());
    }
}
