//! A text of a row that is made only when somebody reads it. Most summaries are replaced by the next commit before anybody
//! does, and a commit must not pay for them. Never here: a text that could come out differently later.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

/// A text, made at the first look. Cheap to clone; all clones are the same one.
#[derive(Clone)]
pub struct Text {
    made: Arc<dyn Made>,
    weight: usize,
}

trait Made: Send + Sync {
    fn text(&self) -> &str;
}

impl Made for String {
    fn text(&self) -> &str {
        self
    }
}

struct Later<T> {
    text: OnceLock<String>,
    of: T,
    make: fn(&T) -> String,
}

impl<T: Send + Sync> Made for Later<T> {
    fn text(&self) -> &str {
        self.text.get_or_init(|| (self.make)(&self.of))
    }
}

impl Text {
    /// About how many bytes a text counts for that may not be made yet.
    const UNMADE: usize = 1_024;

    /// The text that `make` gives of `of` when it is looked at first.
    pub fn later<T: Send + Sync + 'static>(of: T, make: fn(&T) -> String) -> Self {
        Self { made: Arc::new(Later { text: OnceLock::new(), of, make }), weight: Self::UNMADE }
    }

    /// A text that is still to be had elsewhere.
    pub fn missing() -> Self {
        Self::from(String::new())
    }

    /// Whether it is still to be had elsewhere. Makes nothing.
    pub const fn is_missing(&self) -> bool {
        self.weight == 0
    }

    /// About how many bytes it takes, without making it.
    pub const fn weight(&self) -> usize {
        self.weight
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self { weight: text.len(), made: Arc::new(text) }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.made.text()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_text_is_made_once_and_only_when_it_is_read() {
        let looks = Arc::new(AtomicUsize::new(0));
        let count = |looks: &Arc<AtomicUsize>| {
            looks.fetch_add(1, Ordering::Relaxed);
            "made".to_owned()
        };
        let text = Text::later(Arc::clone(&looks), count);
        let other = text.clone();
        assert_eq!(looks.load(Ordering::Relaxed), 0);
        assert_eq!((&*text, &*other), ("made", "made"));
        assert_eq!(looks.load(Ordering::Relaxed), 1, "clones share it");
        assert_eq!(text, Text::from("made"));
    }
}
