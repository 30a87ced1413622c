//! What the demo says while it runs: sentences, and a live view of one task. On a terminal in colour the view is a block
//! that is redrawn; elsewhere one line an event, without control characters; with --json nothing but notes on stderr.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::{
    cli::{Failure, terminal::Terminal},
    console::{
        Look, Tone,
        events::Story,
        text::{clean, clip, number, tokens},
        turns, words,
    },
    pb::{self, task_event::Event},
};

/// The block is not redrawn more often than this.
const FRAME: Duration = Duration::from_millis(80);
/// Turns in the block at most; older ones make room.
const ROWS: usize = 12;
/// Columns of the ledger's bar.
const BAR: i64 = 32;

/// The demo's voice.
pub(super) struct Show<'a> {
    terminal: &'a mut Terminal,
    json: bool,
}

impl<'a> Show<'a> {
    pub(super) const fn new(terminal: &'a mut Terminal, json: bool) -> Self {
        Self { terminal, json }
    }

    pub(super) fn look(&self) -> Look {
        self.terminal.look()
    }

    pub(super) const fn terminal(&self) -> &Terminal {
        self.terminal
    }

    /// Says a line.
    pub(super) fn say(&self, text: impl std::fmt::Display) -> Result<(), Failure> {
        if self.json {
            self.terminal.note(text);
            return Ok(());
        }
        self.terminal.line(text)
    }

    pub(super) fn heading(&self, text: &str) -> Result<(), Failure> {
        self.say("")?;
        self.say(self.look().paint(Tone::Strong, text))
    }

    /// Says something that takes long; taken away by [`Self::progress_done`].
    pub(super) fn progress(&mut self, text: &str) {
        self.terminal.progress(text);
    }

    pub(super) fn progress_done(&mut self) {
        self.terminal.progress_done();
    }

    /// Whether the view is a block that is redrawn.
    pub(super) fn redraws(&self) -> bool {
        !self.json && self.look().color && self.look().width.is_some()
    }
}

/// The live view of one task.
#[derive(Default)]
pub(super) struct Live {
    story: Story,
    board: Board,
    drawn: usize,
    last: Option<Instant>,
}

impl Live {
    /// Shows what a watch brought.
    pub(super) fn show(&mut self, show: &Show<'_>, message: &pb::WatchTaskResponse) -> Result<(), Failure> {
        self.board.take(message);
        if show.redraws() {
            if self.last.is_none_or(|last| last.elapsed() >= FRAME) {
                self.draw(show)?;
            }
            return Ok(());
        }
        let Some(event) = &message.event else { return Ok(()) };
        let line = self.story.tell(show.look(), event);
        // A usage report is a figure that the ledger repeats; there may be thousands.
        if show.json || matches!(event.event, Some(Event::UsageRecorded(_))) {
            return Ok(());
        }
        show.say(format!("  {line}"))
    }

    /// Draws the block once more and leaves it where it is; what comes later is drawn below.
    pub(super) fn leave(&mut self, show: &Show<'_>) -> Result<(), Failure> {
        if show.redraws() {
            self.draw(show)?;
        }
        self.drawn = 0;
        Ok(())
    }

    fn draw(&mut self, show: &Show<'_>) -> Result<(), Failure> {
        let lines = self.board.lines(show.look());
        let back = match self.drawn {
            0 => String::new(),
            lines => format!("\u{1b}[{lines}A\u{1b}[J"),
        };
        self.drawn = lines.len();
        self.last = Some(Instant::now());
        show.say(format!("{back}{}", lines.join("\n")))
    }
}

#[derive(Default)]
struct Row {
    agent: String,
    worker: String,
    said: String,
    tone: Option<Tone>,
    state: String,
    tokens: i64,
}

/// What the block shows.
#[derive(Default)]
struct Board {
    rows: BTreeMap<i32, Row>,
    limits: pb::Limits,
    summary: pb::TaskSummary,
    guards: VecDeque<String>,
}

impl Board {
    fn take(&mut self, message: &pb::WatchTaskResponse) {
        if let Some(summary) = &message.summary {
            self.summary = summary.clone();
        }
        let Some(event) = message.event.as_ref().and_then(|event| event.event.as_ref()) else { return };
        match event {
            Event::Submitted(it) => {
                self.limits = it.contract.as_ref().and_then(|c| c.limits).unwrap_or_default();
            }
            Event::TurnOpened(it) => {
                let row = Row { agent: clean(&it.agent), state: "waits".into(), ..Row::default() };
                self.rows.insert(it.turn, row);
            }
            Event::AttemptStarted(it) => self.row(it.turn, |row| {
                row.worker = clean(&it.worker_id);
                row.state =
                    if it.attempt > 1 { format!("works, try {}", it.attempt) } else { "works".into() };
                row.tone = None;
            }),
            Event::Progressed(it) => self.row(it.turn, |row| {
                if let Some(step) = it.steps.last() {
                    row.said = clip(&step.content, 60);
                }
            }),
            Event::LateUsage(it) if !it.child_task_id.is_empty() => {}
            Event::UsageRecorded(pb::UsageRecorded { turn, usage, .. })
            | Event::LateUsage(pb::LateUsage { turn, usage, .. }) => {
                let tokens = tokens(usage.as_ref());
                self.row(*turn, |row| row.tokens = tokens);
            }
            Event::TurnAnswered(it) => self.row(it.turn, |row| row.answered(it)),
            Event::AttemptEnded(it) => self.row(it.turn, |row| {
                row.state = words::small(&words::attempt_end(it.end));
                row.said = clip(&it.reason, 60);
                row.tone = Some(Tone::Warn);
            }),
            Event::TurnClosed(it) => self.row(it.turn, |row| {
                row.state = "stopped".into();
                row.said = clip(&it.reason, 60);
                row.tone = Some(Tone::Bad);
            }),
            Event::GuardsTripped(it) => {
                let trips = it.trips.iter();
                self.guards
                    .extend(trips.map(|t| format!("{}: {}", words::cause(t.cause), clip(&t.evidence, 120))));
            }
            Event::Escalated(it) => {
                let question = it.escalation.as_ref().map(|e| clip(&e.question, 120)).unwrap_or_default();
                self.guards.push_back(format!("a person is asked: {question}"));
            }
            _ => {}
        }
        while self.guards.len() > 2 {
            self.guards.pop_front();
        }
    }

    fn row(&mut self, turn: i32, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.rows.get_mut(&turn) {
            change(row);
        }
    }

    /// The block, no line wider than the terminal.
    fn lines(&self, look: Look) -> Vec<String> {
        let width = usize::from(look.width.unwrap_or(200)).saturating_sub(1);
        let counters = self.summary.counters.unwrap_or_default();
        let state = words::state(self.summary.state);
        let head = format!(
            "{state:<15} turns {}/{}  hops {}/{}  rounds {}  decisions {}",
            counters.turns,
            self.limits.max_turns,
            counters.hops,
            self.limits.max_hops.unwrap_or_default(),
            counters.rounds,
            counters.decides,
        );
        let tone = words::state_tone(self.summary.state);
        let mut lines = vec![look.paint(tone, &cut(&head, width)), cut(&self.ledger(), width)];
        for (turn, row) in self.rows.iter().skip(self.rows.len().saturating_sub(ROWS)) {
            let line = format!(
                "{turn:>3} {:<11} {:<16} {:>10}  {:<19} {}",
                row.agent,
                row.state,
                number(row.tokens),
                row.worker,
                row.said
            );
            lines.push(look.paint(row.tone.unwrap_or(Tone::Plain), &cut(&line, width)));
        }
        lines.extend(
            self.guards.iter().map(|guard| look.paint(Tone::Warn, &clip(&format!("! {guard}"), width))),
        );
        lines
    }

    fn ledger(&self) -> String {
        let ledger = self.summary.ledger.clone().unwrap_or_default();
        let columns = |tokens: i64| {
            let share =
                i128::from(tokens.max(0)) * i128::from(BAR) / i128::from(ledger.granted_tokens.max(1));
            usize::try_from(share).unwrap_or(0)
        };
        let all = usize::try_from(BAR).unwrap_or(0);
        // What is spent or reserved at all is seen.
        let spent = columns(ledger.spent_tokens).max(usize::from(ledger.spent_tokens > 0)).min(all);
        let reserved =
            columns(ledger.reserved_tokens).max(usize::from(ledger.reserved_tokens > 0)).min(all - spent);
        let bar =
            format!("{}{}{}", "#".repeat(spent), "=".repeat(reserved), ".".repeat(all - spent - reserved));
        format!(
            "[{bar}] spent {} (#), reserved {} (=) of {} tokens (est.)",
            number(ledger.spent_tokens),
            number(ledger.reserved_tokens),
            number(ledger.granted_tokens)
        )
    }
}

impl Row {
    fn answered(&mut self, it: &pb::TurnAnswered) {
        self.tokens = it.charged_tokens;
        if let Some(decision) = &it.decision {
            let (word, reason) = turns::decision_words(decision);
            self.state = word.to_owned();
            self.said = clip(&reason, 60);
            self.tone = Some(Tone::Warn);
        }
        if let Some(envelope) = &it.envelope {
            let confidence = envelope.confidence.map(|c| format!(" {c:.2}")).unwrap_or_default();
            self.state = format!("{}{confidence}", words::status(envelope.status));
            self.said = turns::directive(envelope).unwrap_or_else(|| clip(&envelope.reason, 60));
            self.tone = Some(words::status_tone(envelope.status));
        }
    }
}

/// At most `most` characters; keeps blanks, unlike [`clip`]. The text is clean already.
fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(event: Event, summary: Option<pb::TaskSummary>) -> pb::WatchTaskResponse {
        let event = Some(pb::TaskEvent { seq: 1, event: Some(event), ..Default::default() });
        pb::WatchTaskResponse { event, summary }
    }

    #[test]
    fn the_block_fits_the_terminal_and_shows_the_ledger() {
        let mut board = Board::default();
        for turn in 1..40 {
            let agent = "unfinished".to_owned();
            board.take(&message(
                Event::TurnOpened(pb::TurnOpened { turn, agent, ..Default::default() }),
                None,
            ));
        }
        let ledger =
            pb::Ledger { granted_tokens: 1_000, spent_tokens: 1, reserved_tokens: 999, ..Default::default() };
        let summary = pb::TaskSummary { ledger: Some(ledger), state: 3, ..Default::default() };
        let reason = "no \u{1b}[31m escape".to_owned();
        let closed = pb::TurnClosed { turn: 39, cause: 9, reason };
        board.take(&message(Event::TurnClosed(closed), Some(summary)));
        let lines = board.lines(Look { color: false, width: Some(60) });
        assert_eq!(lines.len(), 2 + ROWS);
        assert!(lines.iter().all(|line| line.chars().count() < 60), "{lines:#?}");
        assert!(lines[1].starts_with(&format!("[#{}]", "=".repeat(31))), "{}", lines[1]);
        assert!(!lines.join("").contains('\u{1b}'));
    }
}
