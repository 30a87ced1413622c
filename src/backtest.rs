//! Recorded runs through the very functions that guard live tasks: what a contract would have stopped, what that saves, what
//! it would have harmed. Never here: a rule of its own; those are the engine's.

pub mod calibrate;
pub mod fault;
pub mod html;
pub mod judge;
pub mod markdown;
pub mod otlp;
pub mod read;
pub mod record;
pub mod replay;
pub mod report;
pub mod run;
pub mod score;
pub mod sum;
pub mod terms;
pub mod text;
pub mod trace;
pub mod words;

#[cfg(test)]
mod strangers;
