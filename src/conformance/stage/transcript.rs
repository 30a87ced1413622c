//! What was said last, for the report of a case that failed. Keeps a few lines, each a message in brief; never judges.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::kind;
use crate::pb::{self, session_request::Message as Up, session_response::Message as Down};

/// Lines kept.
const LINES: usize = 15;
/// Characters kept of what a worker wrote into a message.
const TEXT: usize = 60;

struct Line {
    after: Duration,
    text: String,
    times: u32,
}

/// The last messages of a case, up (`->`) and down (`<-`), and what happened to the session (`--`).
pub(super) struct Transcript {
    started: Instant,
    lines: VecDeque<Line>,
}

impl Transcript {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), lines: VecDeque::new() }
    }

    /// What the worker said.
    pub(super) fn up(&mut self, request: &pb::SessionRequest) {
        let text = up(request.message.as_ref());
        // Heartbeats one after the other shall make one line.
        let id = request.message_id;
        let numbered = !matches!(request.message, Some(Up::Heartbeat(_)));
        self.note(if numbered { format!("-> {id} {text}") } else { format!("-> {text}") });
    }

    /// What the server said.
    pub(super) fn down(&mut self, response: &pb::SessionResponse) {
        self.note(format!("<- {}", down(response.message.as_ref())));
    }

    /// What happened.
    pub(super) fn happened(&mut self, what: &str) {
        self.note(format!("-- {what}"));
    }

    /// The lines, oldest first, with the seconds since the case began.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |line: &Line| {
            let times = if line.times > 1 { format!(" ({} times)", line.times) } else { String::new() };
            format!("{:7.3} s {}{times}", line.after.as_secs_f64(), line.text)
        };
        self.lines.iter().map(line).collect()
    }

    fn note(&mut self, text: String) {
        if let Some(last) = self.lines.back_mut().filter(|last| last.text == text) {
            last.times += 1;
            return;
        }
        self.lines.push_back(Line { after: self.started.elapsed(), text, times: 1 });
        if self.lines.len() > LINES {
            self.lines.pop_front();
        }
    }
}

fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(TEXT).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    format!("{short:?}")
}

fn used(usage: Option<&pb::Usage>) -> String {
    usage.map_or_else(|| "no usage".to_owned(), |u| format!("usage {} + {}", u.input_tokens, u.output_tokens))
}

fn up(message: Option<&Up>) -> String {
    match message {
        None => "an empty message".into(),
        Some(Up::Register(m)) => format!("Register, held_leases {:?}", m.held_leases),
        Some(Up::Credit(m)) => format!("Credit {}", m.slots),
        Some(Up::Heartbeat(_)) => "Heartbeat".into(),
        Some(Up::Progress(m)) => {
            let said = m.steps.iter().map(|s| cut(&s.content)).collect::<Vec<_>>().join(", ");
            format!("Progress {} {said}", m.lease)
        }
        Some(Up::Usage(m)) => format!("UsageReport {} {}", m.lease, used(m.usage.as_ref())),
        Some(Up::BudgetRequest(m)) => format!("BudgetRequest {} {} tokens", m.lease, m.tokens),
        Some(Up::Complete(m)) => format!("Complete {} {}", m.lease, answer(m.answer.as_ref())),
        Some(Up::Drain(_)) => "Drain".into(),
    }
}

fn answer(answer: Option<&pb::complete::Answer>) -> String {
    match answer {
        Some(pb::complete::Answer::Envelope(e)) => {
            let retryable = if e.retryable { ", retryable" } else { "" };
            let status = e.status().as_str_name().trim_start_matches("STATUS_");
            format!("{status}{retryable}, {}, reason {}", used(e.usage.as_ref()), cut(&e.reason))
        }
        Some(pb::complete::Answer::Decision(d)) => {
            format!("{}, {}", kind(answer), used(d.usage.as_ref()))
        }
        Some(pb::complete::Answer::Verdict(v)) => {
            let verdict = v.verdict().as_str_name().trim_start_matches("JUDGEMENT_");
            format!("{}, {verdict}, {}", kind(answer), used(v.usage.as_ref()))
        }
        None => kind(answer).into(),
    }
}

fn down(message: Option<&Down>) -> String {
    match message {
        None => "an empty message".into(),
        Some(Down::Registered(m)) => format!("Registered, live_leases {:?}", m.live_leases),
        Some(Down::Assignment(m)) => format!("Assignment {} for {}", m.lease, m.agent),
        Some(Down::Cancel(m)) => format!("Cancel {}", m.lease),
        Some(Down::BudgetGrant(m)) => format!("BudgetGrant {} of {} tokens", m.lease, m.granted_tokens),
        Some(Down::Ack(m)) => format!("Ack {:?}", m.message_ids),
        Some(Down::Drain(_)) => "Drain".into(),
        Some(Down::Refusal(m)) => {
            let retryable = if m.retryable { ", retryable" } else { "" };
            format!("Refusal of {} {}{retryable}", m.message_id, m.reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_last_lines_and_counts_repetitions() {
        let mut transcript = Transcript::new();
        for id in 0..20 {
            let credit = Up::Credit(pb::Credit { slots: 1, agent: String::new() });
            transcript.up(&pb::SessionRequest { message_id: id, message: Some(credit) });
        }
        for id in 20..23 {
            let beat = Some(Up::Heartbeat(pb::Heartbeat {}));
            transcript.up(&pb::SessionRequest { message_id: id, message: beat });
        }
        transcript.down(&pb::SessionResponse { message: None });
        let lines = transcript.lines();
        assert_eq!(lines.len(), LINES);
        assert!(lines[LINES - 3].ends_with("-> 19 Credit 1"), "{lines:?}");
        assert!(lines[LINES - 2].ends_with("-> Heartbeat (3 times)"), "{lines:?}");
        assert!(lines[LINES - 1].ends_with("<- an empty message"), "{lines:?}");
    }
}
