//! What can be wrong with a file of traces, and where it stands. Never here: what is done about it.

use std::{fmt, sync::Arc};

/// Characters of a message of the JSON reader that are passed on.
const MOST_QUOTED: usize = 240;

/// Where something stands in what was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as the user named it; `<stdin>` for standard input.
    pub file: Arc<str>,
    /// The line, from 1; 0 where it is the file as a whole.
    pub line: u64,
    /// The column in bytes, from 1; 0 where it is the line as a whole.
    pub column: u64,
}

impl Place {
    /// The file as a whole.
    #[must_use]
    pub fn file(name: &Arc<str>) -> Self {
        Self { file: Arc::clone(name), line: 0, column: 0 }
    }

    /// A line of it, from 1.
    #[must_use]
    pub fn line(name: &Arc<str>, line: u64) -> Self {
        Self { file: Arc::clone(name), line, column: 0 }
    }

    /// Where the JSON reader stood when it gave up on a document that began here.
    #[must_use]
    pub fn within(&self, error: &serde_json::Error) -> Self {
        let line = self.line + (error.line() as u64).saturating_sub(1);
        Self { file: Arc::clone(&self.file), line, column: error.column() as u64 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}", self.file),
            (line, 0) => write!(f, "{}:{line}", self.file),
            (line, column) => write!(f, "{}:{line}:{column}", self.file),
        }
    }
}

/// Something that could not be read. What it names is left out of the report and counted; everything else is in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What.
    pub what: Wrong,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Wrong {
    /// The file ends here for us: a damaged archive, a disk that fails. The rest of it is lost.
    #[error("cannot be read any further: {0}")]
    Unreadable(String),
    /// Longer than is held in memory.
    #[error("is longer than {} MiB. Write one trace a line, or fewer spans a document", .limit / 1_048_576)]
    TooLong {
        /// In bytes.
        limit: usize,
    },
    /// No JSON.
    #[error("is not JSON: {0}")]
    NotJson(String),
    /// JSON, but no trace record.
    #[error("is not a trace: {0}")]
    NotATrace(String),
    /// Another signal of OpenTelemetry.
    #[error("holds OTLP {0}, not spans. Export traces")]
    OtherSignal(&'static str),
    /// A document of spans that does not fit OTLP/JSON.
    #[error("is not OTLP/JSON: {0}")]
    NotSpans(String),
    /// Spans without an id cannot be told apart.
    #[error("spans without traceId or spanId, left out: {0}")]
    SpansWithoutId(u64),
    /// Spans of a trace that had to be let go, because too much was held.
    #[error(
        "a span of trace {0} comes after that trace was judged: its file holds too many traces at once. Sort it by trace"
    )]
    LateSpan(String),
}

impl Wrong {
    /// What the JSON reader said of a document, sorted into broken JSON and JSON of another shape.
    #[must_use]
    pub fn of_json(error: &serde_json::Error, shape: fn(String) -> Self) -> Self {
        let text = error.to_string();
        // The place stands before our message; the reader writes it behind its own.
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        // The reader quotes what it met, at any length.
        let text = text.chars().take(MOST_QUOTED).collect();
        if error.is_data() { shape(text) } else { Self::NotJson(text) }
    }
}
