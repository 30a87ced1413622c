//! A line of the traces' own format as a [`Trace`]. Fields that are not known are passed over; what is there must be of its
//! kind. Never here: OTLP, or a judgement.

use std::{fmt, path::Path};

use serde::{Deserialize, Deserializer, de};

use super::{
    fault::{Fault, Wrong},
    read::Document,
    trace::{RunOutcome, StepKind, StepRole, Trace, TraceStep},
};

/// The most tokens of a step, so that no sum over a run can overflow.
pub const MOST_TOKENS: u64 = 1_000_000_000_000;

#[derive(Deserialize)]
#[serde(expecting = "an object with trace_id and steps")]
struct Record {
    trace_id: String,
    #[serde(default)]
    dataset: Option<String>,
    #[serde(default)]
    outcome: Option<RunOutcome>,
    #[serde(default)]
    meta: Option<Meta>,
    steps: Vec<Step>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Meta {
    outcome_fixed_at: Option<u64>,
    topology: Option<Word>,
    config: Option<Word>,
}

#[derive(Deserialize)]
#[serde(expecting = "a step: an object with agent, role and kind")]
struct Step {
    #[serde(default)]
    i: Option<u64>,
    agent: String,
    role: StepRole,
    kind: StepKind,
    #[serde(default)]
    tool: Option<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    call: Option<Call>,
    #[serde(default)]
    templated: Option<bool>,
    #[serde(default)]
    prompt_tokens: Option<Tokens>,
    #[serde(default)]
    completion_tokens: Option<Tokens>,
}

/// Tokens of a step: more than [`MOST_TOKENS`] are no count.
struct Tokens(u64);

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tokens = u64::deserialize(deserializer)?;
        if tokens > MOST_TOKENS {
            return Err(de::Error::custom(format_args!(
                "{tokens} tokens in a step; {MOST_TOKENS} are the most"
            )));
        }
        Ok(Self(tokens))
    }
}

/// A label, where it is one; other people's `meta` may hold anything under that name.
struct Word(Option<String>);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Any {
            Text(String),
            Number(i64),
            Other(de::IgnoredAny),
        }
        Ok(Self(match Any::deserialize(deserializer)? {
            Any::Text(text) => Some(text),
            Any::Number(number) => Some(number.to_string()),
            Any::Other(_) => None,
        }))
    }
}

/// A call as text, or as the JSON it is.
struct Call(String);

impl<'de> Deserialize<'de> for Call {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> de::Visitor<'de> for Reader {
            type Value = Call;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a call, as text or as an object")
            }

            fn visit_str<E>(self, text: &str) -> Result<Call, E> {
                Ok(Call(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Call, E> {
                Ok(Call(text))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Call, A::Error> {
                let value = serde_json::Value::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Call(value.to_string()))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// Reads one record.
///
/// # Errors
/// When it is no JSON, or no trace; with line and column.
pub fn parse(document: &Document) -> Result<Trace, Fault> {
    if document.bytes.trim_ascii_start().first() == Some(&b'[') {
        let what = Wrong::NotATrace("it is a list. Write one object a line, without the brackets".to_owned());
        return Err(Fault { place: document.place.clone(), what });
    }
    let record: Record = serde_json::from_slice(&document.bytes).map_err(|error| Fault {
        place: document.place.within(&error),
        what: Wrong::of_json(&error, Wrong::NotATrace),
    })?;
    let Record { trace_id, dataset, outcome, meta, steps } = record;
    let Meta { outcome_fixed_at, topology, config } = meta.unwrap_or_default();
    let word = |word: Option<Word>| word.and_then(|Word(word)| word);
    Ok(Trace {
        trace_id,
        dataset: dataset.unwrap_or_else(|| set_of(&document.place.file)),
        topology: word(topology).or_else(|| word(config)).unwrap_or_default(),
        outcome: outcome.unwrap_or(RunOutcome::Unknown),
        outcome_fixed_at,
        steps: (0..).zip(steps).map(|(at, step)| step.into_step(at)).collect(),
    })
}

impl Step {
    fn into_step(self, at: u64) -> TraceStep {
        let Self { i, agent, role, kind, tool, text, call, templated, prompt_tokens, completion_tokens } =
            self;
        TraceStep {
            i: i.unwrap_or(at),
            agent,
            role,
            kind,
            tool,
            text: text.unwrap_or_default(),
            call: call.map(|Call(call)| call),
            templated: templated.unwrap_or(false),
            prompt_tokens: prompt_tokens.map(|Tokens(tokens)| tokens),
            completion_tokens: completion_tokens.map(|Tokens(tokens)| tokens),
        }
    }
}

/// The set of a file whose records name none: its name without folder and endings.
#[must_use]
pub fn set_of(file: &str) -> String {
    let name = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or(file);
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let endings = [".jsonl", ".ndjson", ".json"];
    endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{super::fault::Place, *};

    fn read(text: &str) -> Result<Trace, String> {
        let place = Place::line(&"dir/runs.jsonl.gz".into(), 7);
        parse(&Document { place, bytes: text.as_bytes().to_vec() }).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_record_in_full_and_the_least_there_is() {
        let full = read(
            r#"{"trace_id": "a", "dataset": "d", "framework": "f", "outcome": "success", "first_bad_step": null,
              "meta": {"outcome_fixed_at": 4, "topology": "star", "config": "c", "more": [1]},
              "steps": [{"i": 3, "agent": "x", "role": "assistant", "kind": "tool_call", "tool": "t", "text": "t({})",
                "call": {"b": 1, "a": 2}, "templated": true, "prompt_tokens": 5, "completion_tokens": null,
                "thought": "ignored"}]}"#,
        )
        .unwrap();
        assert_eq!((full.topology.as_str(), full.outcome_fixed_at), ("star", Some(4)));
        let step = &full.steps[0];
        assert_eq!((step.i, step.templated, step.prompt_tokens), (3, true, Some(5)));
        assert_eq!(step.call.as_deref(), Some(r#"{"a":2,"b":1}"#));

        let least = read(
            r#"{"trace_id":"a","meta":{"topology":{"x":1},"config":7},"steps":[{"agent":"x","role":"tool",
                "kind":"tool_result","text":null}]}"#,
        )
        .unwrap();
        assert_eq!((least.dataset.as_str(), least.topology.as_str()), ("runs", "7"));
        assert_eq!((least.outcome, least.steps[0].i), (RunOutcome::Unknown, 0));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let check = |text: &str, says: &str| {
            let told = read(text).unwrap_err();
            assert!(told.starts_with("dir/runs.jsonl.gz:7:") && told.contains(says), "{told}");
        };
        check(r#"{"trace_id": "a", "st"#, "7:21: is not JSON: EOF while parsing a string");
        check(r#"{"trace_id": "a"}"#, "7:17: is not a trace: missing field `steps`");
        check(
            r#"{"trace_id": 1, "steps": []}"#,
            "is not a trace: invalid type: integer `1`, expected a string",
        );
        check(r#"{"trace_id": "a", "outcome": "won", "steps": []}"#, "unknown variant `won`");
        check(
            r#"{"trace_id":"a","steps":[{"agent":"x","role":"tool","kind":"message","prompt_tokens":9000000000000}]}"#,
            "9000000000000 tokens in a step; 1000000000000 are the most",
        );
        check("7", "is not a trace: invalid type: integer `7`, expected an object with trace_id and steps");
        assert!(
            read(" [{}]")
                .unwrap_err()
                .ends_with("7: is not a trace: it is a list. Write one object a line, without the brackets")
        );
        check("\u{0}", "is not JSON");
        let deep = format!(r#"{{"trace_id":"a","steps":[],"meta":{{"topology":{}}}}}"#, "[".repeat(200_000));
        check(&deep, "recursion limit");
        let over_lines = read("{\"trace_id\": \"a\",\n\"steps\": 7}").unwrap_err();
        assert!(over_lines.starts_with("dir/runs.jsonl.gz:8:10: "), "{over_lines}");
    }

    #[test]
    fn sets_are_named_after_files() {
        assert_eq!(
            ["a/b.jsonl.gz", "b.ndjson", "<stdin>", "x.y.json"].map(set_of),
            ["b", "b", "<stdin>", "x.y"]
        );
    }
}
