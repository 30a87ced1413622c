//! What people read: tables, ledgers, lines of events. Pure: wire messages in, text out.
//!
//! Nothing here prints, asks the terminal or the clock, or decides. Text that came from outside (goals, reasons, results)
//! goes through [`text::clean`] before it is shown, so that no agent can speak to anybody's terminal.

pub mod children;
pub mod circuit;
pub mod contract;
pub mod dead_letter;
pub mod events;
pub mod gate;
pub mod halt;
pub mod ledger;
pub mod operator;
pub mod paint;
pub mod question;
pub mod record;
pub mod tables;
pub mod task;
pub mod text;
pub mod trips;
pub mod turns;
pub mod words;

pub use paint::{Look, Tone};
