//! What the server says about itself: traces out of the journal, and logs. Floor 4.
//!
//! Never here: decisions, and anything the work of a task waits for. A sink that is slow, wrong or away costs traces, not
//! tasks.

pub mod cursor;
pub mod exporter;
pub(crate) mod follower;
pub mod logging;
mod otlp;
pub mod semconv;
pub mod settings;
pub mod span;
pub mod spans;
