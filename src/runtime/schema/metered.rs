//! What holding a value against a schema may cost. A schema is text from outside, and a few lines of it can ask for more
//! steps than there is time: two references at each level double the work level by level. So every part of a schema gets a
//! keyword of our own that counts, looks at the clock, and breaks the check off. Patterns are bounded by their size and by
//! the length of the texts they meet. Never here: what a schema means.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::{Duration, Instant},
};

use jsonschema::{Keyword, PatternOptions, ValidationError, Validator, paths::Location};
use serde_json::{Map, Value};

use crate::runtime::pattern;

/// The keyword that counts. Nobody's schema means anything by it.
const METER: &str = "bailiwick:meter";
/// Values which are compared as they are: no part of them is a schema.
const CONSTANTS: [&str; 2] = ["const", "enum"];
/// Keywords under which names of the user's own stand.
const MAPS: [&str; 7] = [
    "$defs",
    "definitions",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "patternProperties",
    "properties",
];
/// A text may be as long as a result.
const LONG_TEXT: usize = 1 << 20;
/// What a text may be under patterns that are too large for the longest, in bytes.
const SHORT_TEXT: usize = 32 << 10;
/// Steps between two looks at the clock.
const LOOK_EVERY: u64 = 64;

/// What one check may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// Parts of the schema that meet parts of the value.
    pub(super) steps: u64,
    pub(super) wall: Duration,
}

/// The check ran into its limit.
struct Spent;

#[derive(Clone, Copy)]
struct Used {
    left: u64,
    until: Option<Instant>,
}

thread_local! {
    static USED: Cell<Used> = const { Cell::new(Used { left: 0, until: None }) };
}

/// A schema whose checks end.
#[derive(Debug)]
pub struct Bounded {
    validator: Validator,
    /// The longest text that its patterns may meet, in bytes.
    longest: usize,
}

/// Compiles a schema, without references to other documents; the error says what is wrong.
pub(super) fn compile(schema: &Value) -> Result<Bounded, ValidationError<'static>> {
    if let Some(reference) = reference_into_constant(schema) {
        return Err(ValidationError::custom(format!(
            "the reference {reference:.80} leads into a constant: put the schema under $defs"
        )));
    }
    let mut metered = schema.clone();
    install(&mut metered);
    let build = |schema: &Value, longest| {
        let patterns = PatternOptions::regex().size_limit(pattern::size_for(longest));
        let options = jsonschema::options().offline().with_pattern_options(patterns);
        let validator = options.with_keyword(METER, meter).build(schema)?;
        Ok(Bounded { validator, longest })
    };
    build(&metered, LONG_TEXT).or_else(|_: ValidationError<'static>| {
        // What is wrong is said of the schema as it was written.
        build(&metered, SHORT_TEXT).map_err(|error| build(schema, SHORT_TEXT).err().unwrap_or(error))
    })
}

impl Bounded {
    /// At most `most` faults, each through `word`; `None`: the check ran into its limit.
    #[allow(clippy::disallowed_methods)] // A limit of time that the machine's work has, not the domain's.
    pub(super) fn faults<T>(
        &self,
        value: &Value,
        limit: Limit,
        most: usize,
        word: impl Fn(ValidationError<'_>) -> T,
    ) -> Option<Vec<T>> {
        let before = USED.replace(Used { left: limit.steps, until: Some(Instant::now() + limit.wall) });
        let check = || self.validator.iter_errors(value).take(most).map(&word).collect();
        let checked = catch_unwind(AssertUnwindSafe(check));
        USED.set(before);
        match checked {
            Ok(faults) => Some(faults),
            Err(spent) if is_spent(&*spent) => None,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Whether every single step is a short one on a small value.
    pub(super) const fn is_light(&self) -> bool {
        self.longest >= LONG_TEXT
    }

    /// The longest text in a value that its patterns may not meet, in bytes.
    pub(super) fn too_long(&self, value: &Value) -> Option<usize> {
        if self.is_light() { None } else { Some(longest(value)).filter(|most| *most > self.longest) }
    }
}

fn is_spent(panic: &(dyn Any + Send)) -> bool {
    panic.is::<Spent>()
}

fn longest(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(longest).max().unwrap_or(0),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| key.len().max(longest(value))).max().unwrap_or(0)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Counts one part of a schema that meets one part of a value.
struct Meter {
    /// Patterns that names of fields are held against.
    patterns: u64,
}

#[allow(clippy::unnecessary_wraps)] // The library's own form.
fn meter<'a>(
    schema: &'a Map<String, Value>,
    _: &'a Value,
    _: Location,
) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'a>> {
    let patterns = schema.get("patternProperties").and_then(Value::as_object).map_or(0, Map::len);
    Ok(Box::new(Meter { patterns: patterns as u64 }))
}

impl Meter {
    fn count(&self, value: &Value) {
        let names = match value {
            Value::Object(fields) if self.patterns > 0 => fields.keys().map(|key| key.len() as u64 + 1).sum(),
            _ => 0,
        };
        charge(1 + self.patterns * names, value.is_string());
    }
}

impl<'i> Keyword<'i> for Meter {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        self.count(instance);
        Ok(())
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        self.count(instance);
        true
    }
}

/// Breaks the check off where its limit is reached: unwound to [`Bounded::faults`], past everything that would go on.
#[allow(clippy::disallowed_methods)]
fn charge(steps: u64, may_be_slow: bool) {
    let Used { left, until } = USED.get();
    let looks = may_be_slow || steps >= LOOK_EVERY || left.is_multiple_of(LOOK_EVERY);
    if left < steps || (looks && until.is_some_and(|until| Instant::now() >= until)) {
        resume_unwind(Box::new(Spent));
    }
    USED.set(Used { left: left - steps, until });
}

/// Puts the meter into everything that is a schema, or that a reference could make one.
fn install(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(install),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match field {
                    _ if CONSTANTS.contains(&name.as_str()) => {}
                    Value::Object(named) if MAPS.contains(&name.as_str()) => {
                        named.values_mut().for_each(install);
                    }
                    field => install(field),
                }
            }
            fields.insert(METER.to_owned(), Value::Bool(true));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A reference into a value that is compared as it is: what it leads to would not be counted.
fn reference_into_constant(value: &Value) -> Option<&str> {
    match value {
        Value::Array(items) => items.iter().find_map(reference_into_constant),
        Value::Object(fields) => fields.iter().find_map(|(name, field)| match field.as_str() {
            Some(reference) if name.starts_with('$') => Some(reference).filter(|it| leads_into_constant(it)),
            _ => reference_into_constant(field),
        }),
        _ => None,
    }
}

fn leads_into_constant(reference: &str) -> bool {
    let Some((_, fragment)) = reference.split_once('#') else { return false };
    let decoded = percent_decoded(fragment);
    let parts: Vec<&str> = decoded.split('/').collect();
    parts.windows(2).any(|pair| CONSTANTS.contains(&pair[1]) && !MAPS.contains(&pair[0]))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let mut ahead = bytes.clone();
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                bytes = ahead;
            }
            _ => decoded.push(byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LIMIT: Limit = Limit { steps: 100_000, wall: Duration::from_secs(3_600) };

    fn faults(schema: &Value, value: &Value) -> Option<Vec<String>> {
        compile(schema).expect("a schema").faults(value, LIMIT, 10, |fault| fault.to_string())
    }

    /// As deep as JSON comes in.
    fn deep() -> Value {
        (0..27).fold(json!("x"), |inner, _| json!({"a": inner}))
    }

    #[test]
    fn work_that_doubles_from_level_to_level_is_broken_off() {
        let twice = |to: &str| json!({"allOf": [{"$ref": to}, {"$ref": to}]});
        let mut chain = Map::new();
        for level in 0..40 {
            chain.insert(format!("n{level}"), twice(&format!("#/$defs/n{}", level + 1)));
        }
        chain.insert("n40".to_owned(), json!({}));
        let by_refs = json!({"$defs": chain, "$ref": "#/$defs/n0"});
        let field = json!({"properties": {"a": {"$ref": "#/$defs/n"}}});
        let by_fields = json!({"$defs": {"n": {"allOf": [field.clone(), field]}}, "$ref": "#/$defs/n"});
        let mut seven = by_fields.clone();
        seven["$schema"] = json!("http://json-schema.org/draft-07/schema#");
        let hidden = json!({
            "x": {"y": {"anyOf": [{"properties": {"a": {"$ref": "#/x/y"}}, "required": ["b"]},
                                  {"properties": {"a": {"$ref": "#/x/y"}}, "required": ["b"]}]}},
            "$ref": "#/x/y"
        });
        for schema in [by_refs, by_fields, seven, hidden] {
            assert_eq!(faults(&schema, &deep()), None, "{schema}");
        }
    }

    #[test]
    fn what_is_within_its_limits_means_what_it_meant() {
        let schema = json!({
            "type": "object",
            "properties": {"a": {"const": {"k": 1}}, "e": {"enum": [{"k": 1}, "const"]}, "const": {"type": "null"}},
            "patternProperties": {"^p": {"type": "integer"}},
            "dependentRequired": {"a": ["e"]},
            "additionalProperties": false,
            "unevaluatedProperties": false,
            "$defs": {"const": {"type": "string"}},
            "allOf": [{"properties": {"s": true}}]
        });
        assert_eq!(
            faults(&schema, &json!({"a": {"k": 1}, "e": {"k": 1}, "const": null, "p1": 2})),
            Some(vec![])
        );
        for wrong in
            [json!({"a": {"k": 1}}), json!({"a": 1, "e": "const"}), json!({"p": "x"}), json!({"z": 1})]
        {
            assert!(!faults(&schema, &wrong).expect("cheap").is_empty(), "{wrong}");
        }
        assert!(
            !faults(&json!({"$ref": "#/$defs/const", "$defs": {"const": {"type": "string"}}}), &json!(1))
                .expect("cheap")
                .is_empty()
        );
        assert_eq!(faults(&json!({"$ref": "#"}), &json!(1)), Some(vec![]));
    }

    #[test]
    fn a_reference_does_not_lead_past_the_meter() {
        for reference in ["#/const/x", "#/%63onst/x", "#/x/enum/0", "#/properties/a/const"] {
            let schema = json!({"const": {"x": {"type": "string"}}, "x": {"enum": [{}]}, "allOf": [{"$ref": reference}]});
            let error = compile(&schema).expect_err("refused").to_string();
            assert!(error.contains("leads into a constant"), "{reference}: {error}");
        }
    }

    #[test]
    fn a_large_pattern_meets_short_texts_only() {
        let small = compile(&json!({"pattern": "^[a-z]+$"})).expect("a schema");
        assert_eq!(small.too_long(&json!("x".repeat(1 << 20))), None);
        let large = compile(&json!({"pattern": "a(?:[ab]{100}){30}[0-9]"})).expect("a schema");
        assert_eq!(large.too_long(&json!(["x", "ab".repeat(100)])), None);
        assert_eq!(large.too_long(&json!({"k": ["x".repeat(40_000)]})), Some(40_000));
        assert!(compile(&json!({"pattern": "a(?:[ab]{1000}){1000}[0-9]"})).is_err());
    }
}
