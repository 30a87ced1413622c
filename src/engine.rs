//! The engine: every decision of Bailiwick, pure. Floor 0.
//!
//! A command is decided against state at a given time; the answer is events or a rejection. Events are applied to staged
//! state and made durable by the runtime; only then are effects released.
//!
//! Never here: async, clocks, randomness, I/O, wire types. Same state, same command, same time: same events.

pub mod answer_checks;
mod apply;
mod check;
pub mod command;
pub mod dead_letter;
mod decide;
pub mod differs;
mod effects;
pub mod event;
pub mod family;
pub mod guard;
mod guarded;
mod halted;
mod inputs;
pub mod intake;
pub mod ledger;
mod lineage;
pub mod mast;
pub mod parked;
mod plan_run;
pub mod readiness;
mod recover;
mod render;
mod room;
mod rounds;
mod small_map;
mod story;
pub mod tally;
pub mod task;
mod too_late;
mod trip;
mod turn;
pub mod view;
mod words;
