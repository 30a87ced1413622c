//! Whether a result schema is one: compiled once at intake, so that no task starts under a schema nothing could be
//! checked against. Never fetches anything: a reference must stay within the schema.

use std::{
    collections::HashSet,
    sync::{LazyLock, Mutex, PoisonError},
};

use crate::{runtime::schema::compile, types::payload::Payload};

/// Schemas remembered as good. Beyond it, memory starts afresh: a schema is at most 64 KiB.
const REMEMBERED: usize = 256;

/// Texts of schemas that compiled. A pure function's memory, not state: nothing depends on what is in it.
static GOOD: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// Whether `schema` compiles; if not, the place and what is wrong there.
pub(crate) fn check(schema: &Payload) -> Result<(), String> {
    let text = schema.as_str();
    if GOOD.lock().unwrap_or_else(PoisonError::into_inner).contains(text) {
        return Ok(());
    }
    compile(schema).map_err(|fault| {
        format!("is no JSON Schema: {fault}. Remote references and look-around are not available")
    })?;
    let mut good = GOOD.lock().unwrap_or_else(PoisonError::into_inner);
    if good.len() >= REMEMBERED {
        good.clear();
    }
    good.insert(text.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_pass_or_name_the_place() {
        let check = |schema: serde_json::Value, fault: Option<&str>| {
            let payload = Payload::from_json(&schema);
            let found = super::check(&payload).err();
            let usable = crate::runtime::schema::compile(&payload).is_ok();
            assert_eq!(usable, fault.is_none(), "what intake accepts, the gate can use: {schema}");
            match (&found, fault) {
                (None, None) => {}
                (Some(found), Some(part)) => assert!(found.contains(part), "{found}"),
                _ => panic!("{schema}: {found:?}, not {fault:?}"),
            }
        };
        check(json!({}), None);
        check(json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}), None);
        check(json!({"$defs": {"n": {"type": "number"}}, "items": {"$ref": "#/$defs/n"}}), None);
        check(json!({"properties": {"a": {"type": "nonsense"}}}), Some("/properties/a/type"));
        check(json!({"$ref": "https://example.com/x.json"}), Some("example.com"));
        check(json!({"pattern": "(unclosed"}), Some("(unclosed"));
        check(json!({"$ref": "#/$defs/missing"}), Some("missing"));
    }

    #[test]
    fn a_good_schema_is_remembered_and_a_bad_one_is_not() {
        let bad = Payload::from_json(&json!({"type": "what"}));
        assert!(super::check(&bad).is_err());
        assert!(super::check(&bad).is_err());
        let good = Payload::from_json(&json!({"type": "string", "title": "remembered"}));
        assert_eq!((super::check(&good), super::check(&good)), (Ok(()), Ok(())));
    }
}
