//! A value of the shape that a JSON Schema tells, for trying rules on. It need not fit the schema (no text is made for a
//! pattern): it has the fields and the types. Where the schema does not tell them, the sample says that it has holes. Never
//! here: validation.

use serde_json::{Map, Value, json};

/// References and nestings followed, at most; nodes made, at most.
const MAX_DEPTH: usize = 16;
const MAX_NODES: usize = 2_000;
/// Copies of an item, and characters of a text, at most, whatever the schema asks for.
const MAX_ITEMS: u64 = 4;
const MAX_CHARS: u64 = 64;

/// A value of a schema's shape.
pub(super) struct Sample {
    pub(super) value: Value,
    /// Whether the schema tells the whole shape.
    pub(super) is_whole: bool,
}

/// A sample; without a schema, null and a hole.
pub(super) fn of(schema: Option<&Value>) -> Sample {
    let Some(root) = schema else { return Sample { value: Value::Null, is_whole: false } };
    let mut maker = Maker { root, is_whole: true, nodes: 0 };
    let value = maker.value(root, 0);
    Sample { value, is_whole: maker.is_whole }
}

struct Maker<'a> {
    root: &'a Value,
    is_whole: bool,
    nodes: usize,
}

impl Maker<'_> {
    const fn hole(&mut self) -> Value {
        self.is_whole = false;
        Value::Null
    }

    /// A value that stands in the schema, unless it is too much: references may name it again and again.
    fn copy(&mut self, value: &Value) -> Value {
        self.nodes = self.nodes.saturating_add(size(value));
        if self.nodes > MAX_NODES { self.hole() } else { value.clone() }
    }

    fn value(&mut self, schema: &Value, depth: usize) -> Value {
        self.nodes += 1;
        let Some(fields) = schema.as_object() else { return self.hole() };
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return self.hole();
        }
        if let Some(value) = fields.get("const") {
            return self.copy(value);
        }
        if let Some(values) = fields.get("enum").and_then(Value::as_array) {
            let first = values.iter().find(|value| !value.is_null());
            return first.map_or(Value::Null, |value| self.copy(value));
        }
        if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
            let root = self.root;
            let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
            return match target {
                Some(target) => self.value(target, depth + 1),
                None => self.hole(),
            };
        }
        for word in ["anyOf", "oneOf"] {
            if let Some(ways) = fields.get(word).and_then(Value::as_array) {
                return self.one_of(ways, depth);
            }
        }
        if let Some(parts) = fields.get("allOf").and_then(Value::as_array) {
            return self.all_of(fields, parts, depth);
        }
        self.typed(fields, depth)
    }

    /// The first way that is not null. Where there are several, what a rule meets may be another.
    fn one_of(&mut self, ways: &[Value], depth: usize) -> Value {
        let is_null = |way: &&Value| way.get("type").and_then(Value::as_str) == Some("null");
        let mut ways = ways.iter().filter(|way| !is_null(way));
        let first = ways.next();
        if ways.next().is_some() {
            self.is_whole = false;
        }
        first.map_or(Value::Null, |way| self.value(way, depth + 1))
    }

    /// The parts of an object, put together; of anything else, the first part.
    fn all_of(&mut self, fields: &Map<String, Value>, parts: &[Value], depth: usize) -> Value {
        let mut made: Vec<Value> =
            kind_of(fields).map(|_| self.typed(fields, depth + 1)).into_iter().collect();
        made.extend(parts.iter().map(|part| self.value(part, depth + 1)));
        let mut whole = Map::new();
        for part in made {
            match part {
                Value::Object(fields) => whole.extend(fields),
                other => return other,
            }
        }
        Value::Object(whole)
    }

    fn typed(&mut self, fields: &Map<String, Value>, depth: usize) -> Value {
        if fields
            .get("type")
            .and_then(Value::as_array)
            .is_some_and(|kinds| kinds.iter().filter(|kind| kind.as_str() != Some("null")).count() > 1)
        {
            self.is_whole = false;
        }
        match kind_of(fields) {
            Some("object") => self.object(fields, depth),
            Some("array") => self.array(fields, depth),
            Some("string") => text(fields),
            Some("integer" | "number") => number(fields),
            Some("boolean") => Value::Bool(true),
            Some("null") => Value::Null,
            Some(_) | None => self.hole(),
        }
    }

    fn object(&mut self, fields: &Map<String, Value>, depth: usize) -> Value {
        let mut made = Map::new();
        let properties = fields.get("properties").and_then(Value::as_object);
        for (name, schema) in properties.into_iter().flatten() {
            if self.nodes > MAX_NODES {
                self.is_whole = false;
                break;
            }
            made.insert(name.clone(), self.value(schema, depth + 1));
        }
        for name in fields.get("required").and_then(Value::as_array).into_iter().flatten() {
            if let Some(name) = name.as_str().filter(|name| !made.contains_key(*name)) {
                self.nodes += 1;
                let hole = self.hole();
                if self.nodes > MAX_NODES {
                    break;
                }
                made.insert(name.to_owned(), hole);
            }
        }
        let is_closed = fields.get("additionalProperties") == Some(&Value::Bool(false));
        if (made.is_empty() && !is_closed) || fields.contains_key("patternProperties") {
            self.is_whole = false;
        }
        Value::Object(made)
    }

    fn array(&mut self, fields: &Map<String, Value>, depth: usize) -> Value {
        let first = fields.get("prefixItems").and_then(Value::as_array);
        let mut made: Vec<Value> =
            first.into_iter().flatten().map(|schema| self.value(schema, depth + 1)).collect();
        match fields.get("items") {
            Some(Value::Bool(false)) => {}
            Some(schema) => {
                let least = fields.get("minItems").and_then(Value::as_u64).unwrap_or(1).clamp(1, MAX_ITEMS);
                for _ in 0..least {
                    made.push(self.value(schema, depth + 1));
                }
            }
            None if made.is_empty() => self.is_whole = false,
            None => {}
        }
        Value::Array(made)
    }
}

/// Parts of a value, and a part more for each of the longest texts that a sample has.
fn size(value: &Value) -> usize {
    let long = |text: &str| 1 + text.len() / usize::try_from(MAX_CHARS).unwrap_or(1);
    match value {
        Value::String(text) => long(text),
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(fields) => 1 + fields.iter().map(|(key, value)| long(key) + size(value)).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    }
}

/// The type a schema names, or that its other words give away.
fn kind_of(fields: &Map<String, Value>) -> Option<&str> {
    match fields.get("type") {
        Some(Value::String(kind)) => return Some(kind),
        Some(Value::Array(kinds)) => {
            let kinds = kinds.iter().filter_map(Value::as_str);
            return kinds.clone().find(|kind| *kind != "null").or_else(|| kinds.clone().next());
        }
        _ => {}
    }
    let tells = |words: &[&str]| words.iter().any(|word| fields.contains_key(*word));
    if tells(&["properties", "required", "additionalProperties"]) {
        Some("object")
    } else if tells(&["items", "prefixItems", "minItems"]) {
        Some("array")
    } else if tells(&["minLength", "maxLength", "pattern", "format"]) {
        Some("string")
    } else if tells(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]) {
        Some("number")
    } else {
        None
    }
}

fn text(fields: &Map<String, Value>) -> Value {
    let text = match fields.get("format").and_then(Value::as_str) {
        Some("date") => "2026-01-31",
        Some("date-time") => "2026-01-31T12:00:00Z",
        Some("email") => "somebody@example.com",
        Some("uri") => "https://example.com/",
        _ => "text",
    };
    let length = |word: &str| fields.get(word).and_then(Value::as_u64);
    let least = usize::try_from(length("minLength").unwrap_or(0).min(MAX_CHARS)).unwrap_or(0);
    let most = usize::try_from(length("maxLength").unwrap_or(MAX_CHARS).min(MAX_CHARS)).unwrap_or(0);
    Value::String(text.chars().chain(std::iter::repeat('x')).take(text.len().max(least).min(most)).collect())
}

fn number(fields: &Map<String, Value>) -> Value {
    let bound = |word: &str| fields.get(word).and_then(Value::as_f64);
    let mut number = bound("multipleOf").unwrap_or(1.0);
    if let Some(least) = bound("minimum").or_else(|| bound("exclusiveMinimum").map(|over| over + 1.0)) {
        number = number.max(least);
    }
    if let Some(most) = bound("maximum").or_else(|| bound("exclusiveMaximum").map(|under| under - 1.0)) {
        number = number.min(most);
    }
    json!(number)
}
