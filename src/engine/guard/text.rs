//! Text as the guards compare it: hashes, normal forms, excerpts. Never here: what a comparison means.

/// Characters of an excerpt.
const EXCERPT_CHARS: usize = 120;
/// An odd constant with well-spread bits (the fractional part of the golden ratio).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A running 64-bit hash: fast, seedless, the same on every machine. Not for anything that must resist an attacker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hash(u64);

impl Hash {
    pub(super) const fn new() -> Self {
        Self(SPREAD)
    }

    pub(super) const fn word(mut self, word: u64) -> Self {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(SPREAD);
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self = self.word(u64::from_le_bytes(word));
        }
        let mut last = [0; 8];
        let rest = chunks.remainder();
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last)).word(bytes.len() as u64)
    }

    /// The hash; every bit of it depends on every bit that went in.
    pub(super) const fn finish(self) -> u64 {
        let mut h = self.0;
        h ^= h >> 32;
        h = h.wrapping_mul(0xd6e8_feb8_6659_fd93);
        h ^= h >> 32;
        h = h.wrapping_mul(0xd6e8_feb8_6659_fd93);
        h ^ (h >> 32)
    }
}

/// The hash of what is read as it stands, a fingerprint for one.
pub(super) fn raw(text: &str) -> u64 {
    Hash::new().bytes(text.as_bytes()).finish()
}

/// The hash of a text in which only the ends of lines and the blank lines around it do not count.
///
/// Blank lines inside, indentation and letter case do: drafts that differ in them are still moving. Of recorded runs that
/// stated one program twice, those that agreed to this degree changed it later in 0.8 % of cases, those that agreed only
/// without their blank lines in 3 to 4 %.
pub(super) fn exact(text: &str) -> u64 {
    let mut hash = Hash::new();
    let mut blank = 0_u64;
    for line in text.trim().lines() {
        let line = line.trim_end();
        if line.is_empty() {
            blank += 1;
            continue;
        }
        hash = hash.word(blank).bytes(line.as_bytes());
        blank = 0;
    }
    hash.finish()
}

/// Whether a text is running prose: no JSON, no table, no list, no `name: value` lines. In what has a form, a small change
/// may be all that matters: a box ticked, a state that moved on.
pub(super) fn is_prose(text: &str) -> bool {
    let has_marks =
        text.bytes().any(|byte| matches!(byte, b'{' | b'}' | b'[' | b']' | b'|' | b'<' | b'>' | b'=' | b'`'));
    let is_item = |line: &str| {
        let line = line.trim_start();
        line.starts_with(['-', '*', '#', '+', '\u{2022}'])
            || line.find(": ").is_some_and(|at| at > 0 && !line[..at].trim().contains(' '))
    };
    !has_marks && !text.lines().any(is_item)
}

/// The hash of a text without any white space.
pub(super) fn dense(text: &str) -> u64 {
    text.split_whitespace().fold(Dense::new(), |dense, part| dense.add(part.as_bytes())).finish()
}

/// Hashes bytes that come in pieces, wherever they are cut.
struct Dense {
    hash: Hash,
    word: u64,
    held: u32,
}

impl Dense {
    const fn new() -> Self {
        Self { hash: Hash::new(), word: 0, held: 0 }
    }

    fn add(mut self, bytes: &[u8]) -> Self {
        for &byte in bytes {
            self.word = (self.word << 8) | u64::from(byte);
            self.held += 1;
            if self.held == 8 {
                self.hash = self.hash.word(self.word);
                self.word = 0;
                self.held = 0;
            }
        }
        self
    }

    const fn finish(self) -> u64 {
        self.hash.word(self.word).word(self.held as u64).finish()
    }
}

/// A word of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    /// Its hash, letter case apart.
    pub(super) hash: u64,
    /// Whether it may carry a thought: letters only, and more of them than grammar needs; in scripts that do not part their
    /// words, two letters in a row.
    pub(super) is_long: bool,
}

/// The words of a text: runs of letters and digits; in scripts that do not part their words, each letter with the one
/// before it.
pub(super) fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::with_capacity(text.len() / 8);
    let mut word = Letters::default();
    let mut before = ' ';
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        if byte.is_ascii_alphanumeric() {
            word.add(u64::from(byte.to_ascii_lowercase()), byte.is_ascii_digit());
        } else if byte.is_ascii() {
            words.extend(word.end());
        } else if text.is_char_boundary(at)
            && let Some(char) = text[at..].chars().next()
        {
            if is_unparted(char) {
                words.extend(word.end());
                words.push(pair(before, char));
                before = char;
                continue;
            }
            if char.is_alphanumeric() {
                char.to_lowercase().for_each(|lower| word.add(u64::from(lower), char.is_numeric()));
            } else {
                words.extend(word.end());
            }
        }
    }
    words.extend(word.end());
    words
}

/// Letters of scripts that put no space between words: Thai to Khmer, kana, Han.
const fn is_unparted(char: char) -> bool {
    matches!(char, '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

const fn pair(before: char, char: char) -> Word {
    Word { hash: Hash::new().word(before as u64).word(char as u64).finish(), is_long: true }
}

/// Shorter words are grammar.
const LONG_WORD: u32 = 5;

#[derive(Default)]
struct Letters {
    hash: u64,
    count: u32,
    has_digit: bool,
}

impl Letters {
    const fn add(&mut self, letter: u64, is_digit: bool) {
        self.hash = (self.hash ^ letter).wrapping_mul(SPREAD).rotate_left(29);
        self.count += 1;
        self.has_digit |= is_digit;
    }

    fn end(&mut self) -> Option<Word> {
        let Self { hash, count, has_digit } = std::mem::take(self);
        (count > 0).then(|| Word { hash: Hash(hash).finish(), is_long: count >= LONG_WORD && !has_digit })
    }
}

/// The beginning of a text, on one line.
pub(super) fn excerpt(text: &str) -> String {
    let mut short = String::new();
    let mut chars = 0;
    for part in text.split_whitespace() {
        if chars > 0 {
            short.push(' ');
            chars += 1;
        }
        for char in part.chars() {
            if chars >= EXCERPT_CHARS {
                short.push('…');
                return short;
            }
            short.push(char);
            chars += 1;
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_forgives_the_ends_of_lines_and_nothing_else() {
        let text = "a line\n\n  another line";
        assert_eq!(
            exact(text),
            exact("\n a line  \r\n\r\n  another line\n\n".trim_start_matches(['\n', ' ']))
        );
        for other in
            ["a line\n  another line", "a line\n\nanother line", "A line\n\n  another line", "a line"]
        {
            assert_ne!(exact(text), exact(other), "{other:?}");
        }
    }

    #[test]
    fn dense_forgives_white_space_wherever_it_stands() {
        assert_eq!(dense("def f ( x ):\n    return x + 1"), dense("def f(x):\n\n  return x+1\n"));
        assert_ne!(dense("return x+1"), dense("return x+2"));
        assert_ne!(dense("a"), dense("aa"));
        assert_ne!(dense(""), dense("a"));
    }

    #[test]
    fn words_are_the_same_in_any_case_and_script() {
        assert_eq!(words("Größe, ZÄHLT; 42x"), words("größe zählt 42X"));
        assert_eq!(words("one two").len(), 2);
        assert_eq!(words(" — … \n"), []);
        let long: Vec<bool> = words("four fives fiv55 größe").iter().map(|word| word.is_long).collect();
        assert_eq!(long, [false, true, false, true]);
    }

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(excerpt("  one\n\ntwo\tthree "), "one two three");
        let long = "word ".repeat(100);
        assert!(excerpt(&long).chars().count() <= EXCERPT_CHARS + 1);
        assert!(excerpt("äöü".repeat(100).as_str()).ends_with('…'));
    }
}
