//! The specification, as tests: every cell of the outcome matrix that can occur, every arrow of the life-cycle picture, every
//! point of the readiness list and every failure mode of the MAST list. Each name is a sentence; read together they say what
//! Bailiwick promises. Never here: a detail that no promise names (those are in engine_life.rs and engine_edges.rs).

#[path = "../support/engine.rs"]
mod support;

mod causes;
mod lifecycle;
mod modes;
mod outcomes;
mod points;
