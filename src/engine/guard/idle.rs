//! Talk that adds nothing: messages that together bring no figure, no code and but a few words that were not there before.
//! Never here: reading what the words mean.

use super::{
    figures,
    text::{self, Word},
};

/// So many new long words in a row of messages are polite variation; more are a thought.
const FEW_NEW_WORDS: u32 = 8;
/// Figures and words remembered. Talk that has brought more of either is beyond this judge.
const MOST: usize = 2_048;

/// What was said so far, and for how long nothing new.
#[derive(Debug, Clone, Default)]
pub(super) struct Idle {
    figures: Vec<u32>,
    words: Vec<u32>,
    turns: Vec<u32>,
    run: u32,
    /// New words since the run began.
    new_words: u32,
}

/// Turns named in the evidence.
const TURNS: usize = 60;

impl Idle {
    /// Takes in what brings something by its nature: code, a tool's result, a new answer.
    pub(super) fn brought(&mut self, text: &str, words: &[Word]) {
        self.new_in(text, words);
        self.end();
    }

    /// Takes in a message; `stands` says whether there is a result that it could add to.
    pub(super) fn said(&mut self, text: &str, words: &[Word], turn: u32, stands: bool) {
        match self.new_in(text, words) {
            Some(new_words) if stands && self.new_words + new_words <= FEW_NEW_WORDS => {
                self.new_words += new_words;
            }
            _ => return self.end(),
        }
        self.run = self.run.saturating_add(1);
        if self.turns.len() < TURNS && self.turns.last() != Some(&turn) {
            self.turns.push(turn);
        }
    }

    /// Something came that cannot be judged, or that was new.
    pub(super) fn end(&mut self) {
        self.run = 0;
        self.new_words = 0;
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

    /// New long words in a text; `None`: it also brings a figure, or there is no telling.
    fn new_in(&mut self, text: &str, words: &[Word]) -> Option<u32> {
        let mut new_figure = false;
        let seen = &mut self.figures;
        figures::for_each(text, |figure| new_figure |= insert(seen, text::raw(figure) as u32));
        let mut new_words = 0;
        for word in words.iter().filter(|word| word.is_long) {
            new_words += u32::from(insert(&mut self.words, word.hash as u32));
        }
        let full = self.figures.len() >= MOST || self.words.len() >= MOST;
        (!new_figure && !full).then_some(new_words)
    }
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

    fn brought(idle: &mut Idle, text: &str) {
        idle.brought(text, &text::words(text));
    }

    fn said(idle: &mut Idle, text: &str, turn: u32, stands: bool) {
        idle.said(text, &text::words(text), turn, stands);
    }

    #[test]
    fn praise_adds_nothing_and_a_new_figure_does() {
        let mut idle = Idle::default();
        brought(&mut idle, "The total is 288 cookies, rounded from 287.83.");
        for (turn, text) in (1..).zip([
            "Great work, everyone! It comes to 288.",
            "Agreed. Great teamwork, everyone!",
            "Indeed, great work.",
        ]) {
            said(&mut idle, text, turn, true);
            assert_eq!(idle.run(), turn);
        }
        assert_eq!(idle.turns(), [1, 2, 3]);
        said(&mut idle, "Should it not be 289?", 4, true);
        assert_eq!(idle.run(), 0);
    }

    #[test]
    fn nothing_is_idle_before_something_stands() {
        let mut idle = Idle::default();
        for turn in 0..20 {
            said(&mut idle, "Hello, shall we begin?", turn, false);
        }
        assert_eq!(idle.run(), 0);
    }

    #[test]
    fn memory_is_bounded_and_when_it_is_full_nothing_is_called_idle() {
        let mut idle = Idle::default();
        for number in 0..10_000 {
            brought(&mut idle, &format!("{number}"));
        }
        assert_eq!(idle.figures.len(), MOST);
        said(&mut idle, "yes", 1, true);
        assert_eq!(idle.run(), 0);
    }
}
