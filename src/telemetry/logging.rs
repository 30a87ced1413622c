//! The server's own logs: to stderr, as text for people or JSON for machines. Tasks are told by traces, not by logs.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// The variable that says what is logged, where no filter is given: `bailiwick=debug`.
pub const FILTER_VARIABLE: &str = "BAILIWICK_LOG";
/// What is logged where nothing says so.
pub const DEFAULT_FILTER: &str = "warn,bailiwick=info";

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Logs cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter makes no sense.
    #[error(
        "the log filter {filter:?} is not valid: write a level, or targets with levels, like {DEFAULT_FILTER:?} ({source})"
    )]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something else in this process has set up logs before.
    #[error("logs are set up already")]
    Twice,
}

/// Sets up the logs of this process, once. `filter`: see [`DEFAULT_FILTER`], which `None` stands for.
///
/// # Errors
/// The filter is not valid, or logs were set up before.
pub fn init(format: LogFormat, filter: Option<&str>) -> Result<(), LoggingError> {
    let filter = parse_filter(filter.unwrap_or(DEFAULT_FILTER))?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let done = match format {
        LogFormat::Text => {
            let colours =
                std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            registry.with(lines.with_ansi(colours)).try_init()
        }
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    done.map_err(|_| LoggingError::Twice)
}

fn parse_filter(filter: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::try_new(filter).map_err(|source| LoggingError::Filter { filter: filter.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_makes_no_sense_is_refused_with_an_example() {
        assert!(parse_filter(DEFAULT_FILTER).is_ok());
        let error = parse_filter("bailiwick=loud").expect_err("must be refused").to_string();
        assert!(error.contains("bailiwick=loud") && error.contains(DEFAULT_FILTER), "{error}");
    }

    #[test]
    fn logs_are_set_up_once() {
        // The first may fail too, if another test of this process was quicker.
        let _ = init(LogFormat::Json, Some("off"));
        assert!(matches!(init(LogFormat::Text, None), Err(LoggingError::Twice)));
    }
}
