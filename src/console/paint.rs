//! Colour, and how wide things may be. Colour is never the only bearer of a meaning.

/// How text may look on the terminal at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether escape sequences may be written.
    pub color: bool,
    /// Columns of the terminal; None where it is none, and lines may be as long as they like.
    pub width: Option<u16>,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    Plain,
    /// Went well.
    Good,
    /// Deserves a look.
    Warn,
    /// Went wrong.
    Bad,
    /// Beside the point.
    Faint,
    /// A heading.
    Strong,
}

impl Look {
    /// `text` in the colour of its tone, where colour is allowed.
    #[must_use]
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
