//! Recorded runs through the very functions that guard live tasks: what a contract would have stopped, what that saves, what
//! it would have harmed. Never here: a rule of its own; those are the engine's.

pub mod calibrate;
pub mod replay;
pub mod score;
pub mod trace;
