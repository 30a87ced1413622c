//! `bailiwick amend`: a person gives the result. The server checks that it fits; nothing else is checked here but that it is
//! JSON.

use std::{io::Read as _, path::Path};

use clap::Args;
use serde_json::Value;

use super::{
    Exit, Failure,
    question::{AnswerArgs, answer},
    terminal::Terminal,
};
use crate::pb::{self, answer_escalation_request::What};

/// Every whole number up to here has a float of its own, which is what JSON travels as.
const LARGEST_WHOLE: u64 = 1 << 53;

/// What `amend` can be told.
#[derive(Args, Debug)]
pub struct AmendArgs {
    /// The result: a file with JSON, `-` for stdin, or the JSON itself.
    #[arg(long, value_name = "FILE|JSON")]
    pub result: String,
    /// Which question, who, and why.
    #[command(flatten)]
    pub answer: AnswerArgs,
}

/// Runs `amend`.
///
/// # Errors
/// When the result cannot be read or is no JSON; otherwise as [`answer`].
pub async fn run(args: AmendArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let AmendArgs { result, answer: args } = args;
    let value = read(&result)?;
    let result = Some(bailiwick_worker::from_json(value));
    answer(args, What::Amend(pb::Amend { result }), terminal).await
}

fn read(given: &str) -> Result<Value, Failure> {
    if given == "-" {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map_err(|error| Failure::new(Exit::Usage, format!("stdin cannot be read: {error}")))?;
        return parse("stdin", &text);
    }
    if Path::new(given).is_file() {
        let text = std::fs::read_to_string(given)
            .map_err(|error| Failure::new(Exit::Usage, format!("{given} cannot be read: {error}")))?;
        return parse(given, &text);
    }
    parse("--result", given).map_err(|failure| failure.hint("and no file has that name"))
}

fn parse(place: &str, text: &str) -> Result<Value, Failure> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Failure::new(Exit::Usage, format!("{place} is not JSON: {error}")))?;
    match too_large(&value) {
        None => Ok(value),
        Some(number) => Err(Failure::new(
            Exit::Usage,
            format!("{place}: {number} would lose digits on the way: write it as a text"),
        )),
    }
}

/// A whole number that a float cannot hold, if there is one.
fn too_large(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => {
            let whole = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
            whole.filter(|whole| *whole > LARGEST_WHOLE).map(|_| number.to_string())
        }
        Value::Array(items) => items.iter().find_map(too_large),
        Value::Object(fields) => fields.values().find_map(too_large),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_result_is_a_file_or_json() {
        assert_eq!(read(r#"{"a": [1, 2.5]}"#), Ok(json!({"a": [1, 2.5]})));
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "[null]").expect("it is written");
        assert_eq!(read(file.path().to_str().expect("a name")), Ok(json!([null])));
        let none = read("no-such-file.json").expect_err("neither");
        assert_eq!((none.exit, none.hints.len()), (Exit::Usage, 1));
        let wide = read("[9007199254740993]").expect_err("it would lose digits");
        assert!(wide.message.contains("9007199254740993"), "{}", wide.message);
    }
}
