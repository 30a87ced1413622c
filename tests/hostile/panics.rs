//! Panics on whatever thread, counted: a server may catch one, and must have none. The interpreter of acceptance rules and
//! the matcher of patterns are other people's; a panic of theirs is caught and becomes a finding, so theirs are left out.

use std::{
    panic,
    sync::{Mutex, Once, PoisonError},
};

const OTHERS: &[&str] = &["/cel-", "/antlr4rust-", "/jsonschema-"];

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
static WATCHING: Once = Once::new();

/// From here on panics are counted.
pub fn watch() {
    WATCHING.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(|at| at.file().to_owned()).unwrap_or_default();
            // This file's own tests fail by panicking: they say so by themselves.
            if !place.starts_with("tests/") && !OTHERS.iter().any(|other| place.contains(other)) {
                SEEN.lock().unwrap_or_else(PoisonError::into_inner).push(info.to_string());
            }
            usual(info);
        }));
    });
}

/// There was none.
#[track_caller]
pub fn none() {
    let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(seen.is_empty(), "something panicked: {seen:?}");
}
