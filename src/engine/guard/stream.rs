//! Cycles in a stream of items: how often the last one to six have come round. Constant time and memory an item.
//! What is but alike, or was said again in spite of news, is weak evidence and counts half.
//! Never here: what an item is made of, or what follows from a cycle.

use std::{collections::VecDeque, sync::Arc};

use super::sketch::Sketch;
use crate::types::guards::{MAX_CYCLE, MAX_TIMES};

const CYCLES: usize = MAX_CYCLE as usize;
/// Turns remembered: those of the longest cycle, the most times it can be asked for.
const TURNS: usize = (MAX_CYCLE * MAX_TIMES) as usize;

/// Rounds of a word or two that count as one.
const NODS: u32 = 8;

/// One thing that was said or done.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Equal items have equal hashes.
    pub(super) hash: u64,
    /// What tells whether it is nearly the same as another; `None`: compared exactly only.
    pub(super) sketch: Option<Arc<Sketch>>,
    /// The turn it belongs to.
    pub(super) turn: u32,
    /// Whether it is a message of a word or two, or a tool's result of one: it says little.
    pub(super) is_nod: bool,
    /// Whether it was said although something new had been heard since the last.
    pub(super) is_deaf: bool,
}

/// The tail of a stream, and for each length of a cycle how many items in a row were as they were one cycle ago.
#[derive(Debug, Clone, Default)]
pub(super) struct Stream {
    recent: VecDeque<Item>,
    equal: [Run; CYCLES],
    alike: [Run; CYCLES],
    /// The least similarity in the run of alike items.
    least: [u16; CYCLES],
    turns: VecDeque<u32>,
}

/// Items in a row that are as they were one cycle ago.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    items: u32,
    /// What they count for, in halves of an item.
    halves: u32,
}

impl Run {
    const fn add(self, halves: u32) -> Self {
        Self { items: self.items.saturating_add(1), halves: self.halves.saturating_add(halves) }
    }
}

/// The strongest cycle at the end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Round {
    /// How many times it has come round, in full; 1: only once.
    pub(super) times: u32,
    /// How many times that counts for: what is compared with the terms.
    pub(super) level: u32,
    /// Its length.
    pub(super) cycle: u32,
    /// How alike its items are, in thousandths.
    pub(super) similarity_permille: u16,
}

impl Stream {
    pub(super) fn push(&mut self, item: Item, similar_permille: u16) {
        // Where nothing came before, nothing is as it was: no run goes on.
        let lags = if self.recent.is_empty() { 0 } else { CYCLES };
        for lag in 1..=lags {
            let before = self.recent.len().checked_sub(lag).map(|at| &self.recent[at]);
            let similarity = before.map_or(0, |before| similarity(&item, before));
            let slot = lag - 1;
            let is_equal = similarity > 1_000;
            let halves = if is_equal && !item.is_deaf { 2 } else { 1 };
            self.equal[slot] = if is_equal { self.equal[slot].add(halves) } else { Run::default() };
            if is_equal || (similarity >= similar_permille && !item.is_deaf) {
                let least = if self.alike[slot].items == 0 { 1_000 } else { self.least[slot] };
                self.least[slot] = least.min(similarity);
                self.alike[slot] = self.alike[slot].add(halves);
            } else {
                self.alike[slot] = Run::default();
            }
        }
        if self.turns.len() == TURNS {
            self.turns.pop_front();
        }
        self.turns.push_back(item.turn);
        if self.recent.len() == CYCLES {
            self.recent.pop_front();
        }
        self.recent.push_back(item);
    }

    /// What came before no longer counts as the same thing again: something new has been heard.
    pub(super) fn break_off(&mut self) {
        self.equal = [Run::default(); CYCLES];
        self.alike = [Run::default(); CYCLES];
        self.recent.clear();
        self.turns.clear();
    }

    /// The hash of the last item; 0 before there is one.
    pub(super) fn last(&self) -> u64 {
        self.recent.back().map_or(0, |item| item.hash)
    }

    /// The cycle of equal items, no longer than this, that has come round most often; of several, the shortest.
    pub(super) fn equal(&self, max_cycle: u32) -> Round {
        self.strongest(&self.equal, max_cycle, |_| 1_000)
    }

    /// The same of items that are at least alike.
    pub(super) fn alike(&self, max_cycle: u32) -> Round {
        self.strongest(&self.alike, max_cycle, |slot| self.least[slot])
    }

    /// The turns of the last `items` items, each once, in order.
    pub(super) fn turns(&self, items: u32) -> Vec<u32> {
        let from = self.turns.len().saturating_sub(items as usize);
        let mut turns: Vec<u32> = self.turns.range(from..).copied().collect();
        turns.sort_unstable();
        turns.dedup();
        turns
    }

    /// Rounds of nothing but a word or two count by the eight: agents that agree in a word, or a worker that streams one as
    /// it goes, are no loop yet. Of twelve recorded runs with one word three times in a row ten had agreed and went on at
    /// once, and the two that said it twenty times succeeded all the same.
    fn strongest(&self, runs: &[Run; CYCLES], max_cycle: u32, similarity: impl Fn(usize) -> u16) -> Round {
        let mut best = Round { times: 1, level: 1, cycle: 1, similarity_permille: 1_000 };
        if self.recent.len() < 2 {
            return best;
        }
        for (slot, &run) in runs.iter().enumerate().take(max_cycle as usize) {
            let cycle = slot as u32 + 1;
            let (times, mut level) = (run.items / cycle + 1, run.halves / (2 * cycle) + 1);
            if level > 1 && self.recent.iter().rev().take(slot + 1).all(|item| item.is_nod) {
                level = (level / NODS).max(1);
            }
            if level > best.level {
                best = Round { times, level, cycle, similarity_permille: similarity(slot) };
            }
        }
        best
    }
}

/// 1,001 for equal items, else their likeness in thousandths, 0 where it cannot be told.
fn similarity(one: &Item, other: &Item) -> u16 {
    if one.hash == other.hash {
        return 1_001;
    }
    match (&one.sketch, &other.sketch) {
        (Some(a), Some(b)) if !a.is_of_other_substance(b) => a.similarity_permille(b),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn item_of(hash: u64, turn: u32) -> Item {
        Item { hash, sketch: None, turn, is_nod: false, is_deaf: false }
    }

    fn after(items: &str) -> Round {
        let mut stream = Stream::default();
        for (turn, item) in (0..).zip(items.bytes()) {
            stream.push(item_of(u64::from(item), turn), 900);
        }
        stream.equal(MAX_CYCLE)
    }

    #[test]
    fn cycles_of_one_to_six_are_counted_in_full_rounds() {
        let check = |items: &str, times: u32, cycle: u32| {
            let round = after(items);
            assert_eq!((round.times, round.cycle), (times, cycle), "{items}");
        };
        check("xaaa", 3, 1);
        check("xababab", 3, 2);
        check("xababa", 2, 2);
        check("abcabcabc", 3, 3);
        check("abcdabcdabcd", 3, 4);
        check("abcdeabcdeabcde", 3, 5);
        check("abcdefabcdefabcdef", 3, 6);
        check("abcdefgabcdefgabcdefg", 1, 1);
        check("aaab", 1, 1);
    }

    #[test]
    fn what_is_said_in_spite_of_news_counts_half() {
        let mut stream = Stream::default();
        for turn in 0..5 {
            stream.push(Item { is_deaf: true, ..item_of(1, turn) }, 900);
        }
        assert_eq!((stream.equal(MAX_CYCLE).times, stream.equal(MAX_CYCLE).level), (5, 3));
    }

    #[test]
    fn the_turns_of_a_cycle_are_remembered_and_bounded() {
        let mut stream = Stream::default();
        for turn in 0..1_000 {
            stream.push(item_of(1, turn), 900);
        }
        assert_eq!(stream.turns(3), [997, 998, 999]);
        assert_eq!(stream.turns(1_000).len(), TURNS);
        let round = Round { times: 1_000, level: 1_000, cycle: 1, similarity_permille: 1_000 };
        assert_eq!(stream.equal(MAX_CYCLE), round);
    }
}
