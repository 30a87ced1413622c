//! The process's two outputs: results on stdout, everything else on stderr. Decides once whether colour is welcome, shows a
//! progress line where something takes over a second, and takes a closed stdout for what it is: the end, not an error.

use std::{
    env, fmt,
    future::Future,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use super::failure::Failure;
use crate::console::{Look, Tone};

/// Waits longer than this are shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// When to write in colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Whatever is at the other end.
    Always,
    /// Never.
    Never,
}

/// The process's outputs.
pub struct Terminal {
    look: Look,
    watched: bool,
    bar: Option<ProgressBar>,
}

impl Terminal {
    /// The outputs of this process.
    #[must_use]
    pub fn new(color: Color) -> Self {
        let plain = env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty())
            || env::var_os("TERM").is_some_and(|kind| kind == "dumb");
        let tty = io::stdout().is_terminal();
        let color = match color {
            Color::Auto => tty && !plain,
            Color::Always => true,
            Color::Never => false,
        };
        // A terminal that does not know its width says 0.
        let width = if tty { comfy_table::Table::new().width().filter(|width| *width > 0) } else { None };
        Self { look: Look { color, width }, watched: io::stderr().is_terminal(), bar: None }
    }

    /// How text may look on stdout.
    #[must_use]
    pub fn look(&self) -> Look {
        self.look
    }

    /// Writes a line to stdout.
    ///
    /// # Errors
    /// When stdout is gone or full.
    pub fn line(&self, text: impl fmt::Display) -> Result<(), Failure> {
        self.beside_bar(|| write_line(io::stdout().lock(), &text))
    }

    /// Writes lines to stdout.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub fn lines(&self, lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
        lines.into_iter().try_for_each(|line| self.line(line))
    }

    /// Says something beside the result, on stderr. Whether it arrives does not matter.
    pub fn note(&self, text: impl fmt::Display) {
        self.beside_bar(|| {
            let _ = writeln!(io::stderr(), "{text}");
        });
    }

    /// Says what went wrong, on stderr.
    pub fn fail(&self, failure: &Failure, json: bool) {
        if json {
            return self.note(failure.json());
        }
        // Colour is decided for stdout; an error in colour would surprise in a redirected stderr.
        let look = Look { color: self.look.color && self.watched, width: None };
        let mut lines = failure.lines().into_iter();
        self.note(format!("{} {}", look.paint(Tone::Bad, "error:"), lines.next().unwrap_or_default()));
        lines.for_each(|line| self.note(line));
    }

    /// Waits for `work`, and says so on stderr once it has taken over a second.
    pub async fn waiting<F: Future>(&self, what: &str, work: F) -> F::Output {
        tokio::pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(PATIENCE) => {}
        }
        if self.bar.is_some() {
            return work.await;
        }
        let bar = self.watched.then(|| spinner(what));
        if bar.is_none() {
            self.note(format!("{what} ..."));
        }
        let done = work.await;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        done
    }

    /// Whether somebody watches stderr.
    #[must_use]
    pub const fn is_watched(&self) -> bool {
        self.watched
    }

    /// Shows, or changes, a progress line that stays below what is written, where somebody watches.
    pub fn progress(&mut self, text: &str) {
        if self.watched {
            self.bar.get_or_insert_with(|| spinner(text)).set_message(text.to_owned());
        }
    }

    /// Takes the progress line away.
    pub fn progress_done(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn beside_bar<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

fn write_line(mut out: impl Write, text: &impl fmt::Display) -> Result<(), Failure> {
    writeln!(out, "{text}").map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::reader_gone(),
        _ => Failure::from(format!("stdout cannot be written: {error}")),
    })
}

fn spinner(text: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(text.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
