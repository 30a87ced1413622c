//! What matching a text with a pattern may cost. A pattern from outside is matched in time that grows with its own size times
//! the text's, so their product is what is bounded. Never here: an engine that goes back over what it has read.

use regex::RegexBuilder;

/// The size of a compiled pattern times the length of a text, both in bytes, at most: seconds at the very worst.
const MAX_WORK: usize = 1 << 34;
/// The greatest compiled pattern, in bytes, however short the text is.
const MAX_SIZE: usize = 1 << 20;

/// The greatest size of a compiled pattern that a text of so many bytes may be matched with.
pub(super) const fn size_for(text_bytes: usize) -> usize {
    let text_bytes = if text_bytes == 0 { 1 } else { text_bytes };
    let size = MAX_WORK / text_bytes;
    if size < MAX_SIZE { size } else { MAX_SIZE }
}

/// Whether the text has a match. An error says why the pattern is none, or is too large for this text.
pub(super) fn matches(pattern: &str, text: &str) -> Result<bool, String> {
    let size = size_for(text.len());
    match RegexBuilder::new(pattern).size_limit(size).dfa_size_limit(MAX_SIZE).build() {
        Ok(pattern) => Ok(pattern.is_match(text)),
        Err(regex::Error::CompiledTooBig(_)) => Err(format!(
            "the pattern is too large for a text of {} bytes: repeat less, or match a shorter text",
            text.len()
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// Why a pattern is none, or is too large for any text.
pub(super) fn fault(pattern: &str) -> Option<String> {
    matches(pattern, "").err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_the_text_the_smaller_the_pattern() {
        let wide = "a(?:[ab]{300}){30}[0-9]";
        assert_eq!(matches(wide, "abc"), Ok(false));
        let refused = matches(wide, &"ab".repeat(1 << 19)).expect_err("it could take hours");
        assert!(refused.contains("too large for a text of 1048576 bytes"), "{refused}");
        assert_eq!(matches("^a.*b$", &"ab".repeat(1 << 19)), Ok(true));
        assert!(matches("(open", "x").is_err());
        assert!(size_for(0) == MAX_SIZE && size_for(1 << 20) == 16 << 10);
    }
}
