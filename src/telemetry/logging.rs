//! The server's own logs: to stderr, as text for people or JSON for machines. Tasks are told by traces, not by logs.
//!
//! Never here: what a task was given or answered.

use std::io::IsTerminal as _;

use tracing_subscriber::{
    EnvFilter, filter::ParseError, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::config::LogFormat;

/// Logs cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter makes no sense.
    #[error(
        "the log filter {filter:?} is not valid: {source}. Write a level, like info, or info,bailiwick=debug"
    )]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Something else in this process has set up logs before.
    #[error("logs are set up already")]
    Twice,
}

/// Sets up the logs of this process, once. `filter`: `Settings::log`. Colours only on a terminal, and not with `NO_COLOR`.
///
/// # Errors
/// The filter is not valid, or logs were set up before.
pub fn init(format: LogFormat, filter: &str) -> Result<(), LoggingError> {
    let parsed = EnvFilter::try_new(filter);
    let parsed = parsed.map_err(|source| LoggingError::Filter { filter: filter.to_owned(), source })?;
    let registry = tracing_subscriber::registry().with(parsed);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let done = match format {
        LogFormat::Text => registry.with(lines.with_ansi(wants_colours())).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    done.map_err(|_| LoggingError::Twice)
}

fn wants_colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_makes_no_sense_is_refused_with_an_example() {
        let error = init(LogFormat::Text, "bailiwick=loud").expect_err("must be refused").to_string();
        assert!(error.contains("bailiwick=loud") && error.contains("bailiwick=debug"), "{error}");
    }

    #[test]
    fn logs_are_set_up_once() {
        // The first may fail too, if another test of this process was quicker.
        let _ = init(LogFormat::Json, "off");
        assert!(matches!(init(LogFormat::Text, "off"), Err(LoggingError::Twice)));
    }
}
