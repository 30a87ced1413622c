//! Talk that adds nothing: messages without a figure, a piece of code or more than a few words that were not there before.
//! Never here: reading what the words mean.

use super::{
    figures,
    text::{self, Hash},
};

/// Shorter words are grammar.
const MIN_WORD_CHARS: usize = 5;
/// So many new words are polite variation; more are a thought.
const FEW_NEW_WORDS: u32 = 16;
/// Figures and words remembered. Talk that has brought more of either is beyond this judge.
const MOST: usize = 2_048;

/// What was said so far, and for how long nothing new.
#[derive(Debug, Clone, Default)]
pub(super) struct Idle {
    figures: Vec<u32>,
    words: Vec<u32>,
    turns: Vec<u32>,
    run: u32,
}

/// Turns named in the evidence.
const TURNS: usize = 60;

impl Idle {
    /// Takes in what brings something by its nature: code, a tool's result, a new answer.
    pub(super) fn brought(&mut self, text: &str) {
        self.is_new(text);
        self.end();
    }

    /// Takes in a message; `stands` says whether there is a result that it could add to.
    pub(super) fn said(&mut self, text: &str, turn: u32, stands: bool) {
        if self.is_new(text) || !stands {
            self.end();
            return;
        }
        self.run = self.run.saturating_add(1);
        if self.turns.len() < TURNS && self.turns.last() != Some(&turn) {
            self.turns.push(turn);
        }
    }

    /// Something came that cannot be judged, or that was new.
    pub(super) fn end(&mut self) {
        self.run = 0;
        self.turns.clear();
    }

    /// Messages in a row that added nothing.
    pub(super) const fn run(&self) -> u32 {
        self.run
    }

    /// Their turns.
    pub(super) fn turns(&self) -> Vec<u32> {
        self.turns.clone()
    }

    fn is_new(&mut self, text: &str) -> bool {
        let mut new_figure = false;
        let seen = &mut self.figures;
        figures::for_each(text, |figure| new_figure |= insert(seen, text::raw(figure) as u32));
        let mut new_words = 0;
        for word in text.split(|c: char| !c.is_alphabetic()) {
            if word.len() >= MIN_WORD_CHARS && word.chars().count() >= MIN_WORD_CHARS {
                new_words += u32::from(insert(&mut self.words, lower_hash(word)));
            }
        }
        let full = self.figures.len() >= MOST || self.words.len() >= MOST;
        new_figure || new_words > FEW_NEW_WORDS || full
    }
}

fn lower_hash(word: &str) -> u32 {
    let lower = word.chars().flat_map(char::to_lowercase);
    lower.fold(Hash::new(), |hash, char| hash.word(u64::from(char))).finish() as u32
}

/// Whether it was not there yet.
fn insert(sorted: &mut Vec<u32>, hash: u32) -> bool {
    match sorted.binary_search(&hash) {
        Ok(_) => false,
        Err(_) if sorted.len() >= MOST => true,
        Err(at) => {
            sorted.insert(at, hash);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn praise_adds_nothing_and_a_new_figure_does() {
        let mut idle = Idle::default();
        idle.brought("The total is 288 cookies, rounded from 287.83.");
        for (turn, text) in (1..).zip([
            "Great work, everyone! It comes to 288.",
            "Agreed. Great teamwork, everyone!",
            "Indeed, great work.",
        ]) {
            idle.said(text, turn, true);
            assert_eq!(idle.run(), turn);
        }
        assert_eq!(idle.turns(), [1, 2, 3]);
        idle.said("Should it not be 289?", 4, true);
        assert_eq!(idle.run(), 0);
    }

    #[test]
    fn nothing_is_idle_before_something_stands() {
        let mut idle = Idle::default();
        for turn in 0..20 {
            idle.said("Hello, shall we begin?", turn, false);
        }
        assert_eq!(idle.run(), 0);
    }

    #[test]
    fn memory_is_bounded_and_when_it_is_full_nothing_is_called_idle() {
        let mut idle = Idle::default();
        for number in 0..10_000 {
            idle.brought(&format!("{number}"));
        }
        assert_eq!(idle.figures.len(), MOST);
        idle.said("yes", 1, true);
        assert_eq!(idle.run(), 0);
    }
}
