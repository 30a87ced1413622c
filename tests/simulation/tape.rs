//! The transcript: every message, commit and fault of a run in a line, hashed; and printed where somebody wants to read it.

use std::{
    fmt::{self, Write},
    sync::Mutex,
};

use crate::time::now;

/// What a transcript came to: equal runs have equal sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) hash: u64,
    pub(crate) lines: u64,
}

pub(crate) struct Tape {
    state: Mutex<State>,
}

struct State {
    sum: Sum,
    line: String,
    how: Keep,
}

/// What becomes of the lines.
pub(crate) enum Keep {
    Hash,
    Print,
    Lines(Vec<String>),
}

/// After so many lines a run is taken for one that never ends.
const MAX_LINES: u64 = 2_000_000;

impl Tape {
    pub(crate) fn new(how: Keep) -> Self {
        let sum = Sum { hash: 0xcbf2_9ce4_8422_2325, lines: 0 };
        Self { state: Mutex::new(State { sum, line: String::new(), how }) }
    }

    pub(crate) fn note(&self, what: fmt::Arguments<'_>) {
        let millis = now().as_micros();
        let mut state = self.state.lock().expect("no panic under it");
        let State { sum, line, how } = &mut *state;
        line.clear();
        let _ = write!(line, "{:>9}.{:03} {what}", millis / 1_000, millis % 1_000);
        for byte in line.bytes() {
            sum.hash = (sum.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        sum.lines += 1;
        match how {
            Keep::Hash => {}
            Keep::Print => println!("{line}"),
            Keep::Lines(lines) => lines.push(line.clone()),
        }
        let too_long = sum.lines > MAX_LINES;
        drop(state);
        assert!(!too_long, "the run does not end");
    }

    pub(crate) fn sum(&self) -> Sum {
        self.state.lock().expect("no panic under it").sum
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        match &mut self.state.lock().expect("no panic under it").how {
            Keep::Lines(lines) => std::mem::take(lines),
            Keep::Hash | Keep::Print => Vec::new(),
        }
    }
}

/// Notes a line.
macro_rules! note {
    ($sim:expr, $($what:tt)*) => { $sim.tape.note(format_args!($($what)*)) };
}
pub(crate) use note;
