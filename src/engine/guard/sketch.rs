//! Near-duplicates by a bottom-k sketch (MinHash with one hash function) over shingles of two words. Never here: what
//! counts as near enough.
//!
//! Why this and not SimHash: it estimates the share of common shingles itself, is exact for texts of up to `KEPT`
//! shingles (most messages), and costs one pass and at most 192 bytes. Why an own forty lines: the crates looked
//! at (simhash, schindel, lshdedup-core, txtfp) split and hash whole texts by themselves into signatures of a fixed size or
//! an index, where here the words are split already, and a journal must replay to the same sketch under any later version.

use super::{
    figures,
    text::{Hash, Word},
};

/// Shingles kept: the standard error of a similarity of 0.9 is then 0.04.
const KEPT: usize = 48;
/// Words of a shingle: with three, one changed word in a sentence of fifteen leaves but 0.6 of it.
const SHINGLE: usize = 2;
/// Shorter texts are compared exactly only: one word is too much of them.
const MIN_WORDS: u32 = 8;
/// Hashes collected before they are sorted and cut.
const BUFFER: usize = 1_024;

/// What is kept of a text to tell how alike another is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sketch {
    /// The smallest hashes of its shingles, ascending.
    hashes: Box<[u32]>,
    /// Words of its prose.
    words: u32,
    /// The code in it, which is never nearly the same: one character may turn its meaning.
    code: u64,
    /// The figures in it, in order: another figure is another message ("250 of 900 done").
    figures: u64,
}

impl Sketch {
    /// The sketch of a text of these words, unless they are too few. `code` is the hash of its code blocks.
    pub(super) fn of(text: &str, words: &[Word], code: u64) -> Option<Self> {
        let count = u32::try_from(words.len()).unwrap_or(u32::MAX);
        if count < MIN_WORDS {
            return None;
        }
        let mut hashes = Vec::with_capacity(words.len().min(BUFFER));
        let mut bound = u32::MAX;
        for shingle in words.windows(SHINGLE) {
            let hash = shingle.iter().fold(Hash::new(), |hash, word| hash.word(word.hash)).finish() as u32;
            if hash <= bound {
                hashes.push(hash);
                if hashes.len() == BUFFER {
                    bound = cut(&mut hashes);
                }
            }
        }
        cut(&mut hashes);
        let mut figures = Hash::new();
        figures::for_each(text, |figure| figures = figures.bytes(figure.as_bytes()));
        Some(Self { hashes: hashes.into(), words: count, code, figures: figures.finish() })
    }

    /// How alike two texts are, in thousandths of their common shingles.
    pub(super) fn similarity_permille(&self, other: &Self) -> u16 {
        let (mut a, mut b) = (self.hashes.iter().peekable(), other.hashes.iter().peekable());
        let (mut union, mut both) = (0_u32, 0_u32);
        // Beyond the shorter sketch's last hash, what is missing from it is unknown only if it was cut.
        while union < KEPT as u32 {
            match (a.peek(), b.peek()) {
                (Some(x), Some(y)) => {
                    let order = x.cmp(y);
                    both += u32::from(order.is_eq());
                    if order.is_le() {
                        a.next();
                    }
                    if order.is_ge() {
                        b.next();
                    }
                }
                (Some(_), None) => _ = a.next(),
                (None, Some(_)) => _ = b.next(),
                (None, None) => break,
            }
            union += 1;
        }
        u16::try_from(both * 1_000 / union.max(1)).unwrap_or(1_000)
    }

    /// Whether the other text brings something that similarity cannot see: other code, another figure, or whole sentences
    /// more or fewer, as a document that grows does.
    pub(super) fn is_of_other_substance(&self, other: &Self) -> bool {
        self.code != other.code
            || self.figures != other.figures
            || self.words.abs_diff(other.words) > MIN_WORDS
    }
}

/// Sorts and keeps the smallest; the greatest hash that could still get in.
fn cut(hashes: &mut Vec<u32>) -> u32 {
    hashes.sort_unstable();
    hashes.dedup();
    hashes.truncate(KEPT);
    if hashes.len() == KEPT { hashes[KEPT - 1] } else { u32::MAX }
}

#[cfg(test)]
mod tests {
    use super::{super::text, *};

    fn sketch(text: &str) -> Sketch {
        Sketch::of(text, &text::words(text), 0).expect("long enough")
    }

    fn sentence(range: std::ops::Range<u32>) -> String {
        let letter = |n: u32| char::from(b'a' + (n % 26) as u8);
        range.map(|n| format!("w{}{}{} ", letter(n / 676), letter(n / 26), letter(n))).collect()
    }

    #[test]
    fn a_text_is_like_itself_whatever_its_case_and_punctuation() {
        let a = sketch("The total comes to seven hundred, as both of us have found.");
        let b = sketch("the total comes to SEVEN hundred -- as both of us have found");
        assert_eq!(a.similarity_permille(&b), 1_000);
    }

    #[test]
    fn texts_without_a_common_shingle_are_not_alike() {
        assert_eq!(sketch(&sentence(0..60)).similarity_permille(&sketch(&sentence(100..160))), 0);
    }

    #[test]
    fn the_estimate_is_near_the_truth() {
        // 999 of 1,199 shingles in common: 833.
        let found = sketch(&sentence(0..1_100)).similarity_permille(&sketch(&sentence(100..1_200)));
        assert!((733..=933).contains(&found), "{found}");
    }

    #[test]
    fn short_texts_have_none() {
        assert_eq!(Sketch::of("yes, that is so", &text::words("yes, that is so"), 0), None);
    }

    #[test]
    fn more_sentences_or_other_code_are_of_other_substance() {
        let a = sketch(&sentence(0..100));
        assert!(a.is_of_other_substance(&sketch(&sentence(0..110))));
        assert!(!a.is_of_other_substance(&sketch(&sentence(0..102))));
        assert!(a.is_of_other_substance(&Sketch { code: 1, ..a.clone() }));
        let done =
            |n: u32| sketch(&format!("so far {n} of the 900 records that we were given have been copied"));
        assert!(done(250).is_of_other_substance(&done(251)));
    }
}
