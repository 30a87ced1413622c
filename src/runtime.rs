//! The runtime: the dull shell around the engine. Floor 2.
//!
//! It owns the clock, the random bits, the shards, the sessions and the timers. It takes what arrives, has the engine
//! decide it, makes the events durable, and only then answers and acts.
//!
//! Never here: a decision that belongs to the engine, a wire type, an event that is not the engine's. Nothing is said to
//! anyone about a change that is not durable, brakes (a cancel on its way to a worker) alone excepted.

pub mod acceptance;
mod answer_check;
mod burn;
mod clock;
mod codec;
mod courier;
pub mod dead_letters;
mod dispatch;
mod entropy;
mod error;
mod halter;
mod halts;
mod handle;
mod hands;
mod intake;
mod journal_health;
mod keeper;
mod options;
mod pattern;
mod pressure;
mod prices;
mod questions;
mod recovery;
mod registry;
pub mod schema;
mod shard;
mod start;
pub mod tallies;
mod tasks;
mod watch;
mod watchers;
mod words;

pub use crate::store::{
    StoreError,
    record::{AgentRow, PageAfter, TaskFilter},
};
pub use burn::{BURN_NOTES, BurnAction, BurnLimit, BurnOf, Burned};
pub use clock::{Clock, ManualClock, SystemClock};
pub use codec::TaskRows;
pub use dispatch::{BreakerInfo, BreakerState, BreakerTerms, Breaking, Bulkheads, WaitReason, Waits};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use error::{CommandError, HaltError, OpenError, Overloaded, ReadError, SessionError, SubmitError};
pub use halts::{HaltOrder, HaltProgress};
pub use handle::{
    Asking, CancelPage, Discard, HaltWatch, Halted, Heard, Lift, PersonAnswer, RedriveOf, Runtime, Saying,
};
pub use hands::{Hands, Pace, Wait, Work};
pub use journal_health::JournalFailing;
pub use options::{RuntimeOptions, StartError};
pub use prices::{Price, PriceTable};
pub use questions::{EscalationFilter, EscalationPage, QuestionNews, QuestionPlace, QuestionWatch};
pub use tallies::AgentRecord;
pub use tasks::{RuntimeTasks, ShutdownReport};
pub use watch::Watch;
pub use words::{
    AgentInfo, Cancelled, Down, Grant, NamespaceInfo, Opened, Registration, SessionId, Submitted, WorkerInfo,
};
