//! Following the questions to people: those that are open, then every one that is asked or ends. What is handed out is read
//! from the journal's projection, so nothing shows that is not durable; a slow reader is told so and costs nobody anything.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::broadcast::{self, error::RecvError};

use super::{Overloaded, ReadError, codec, hands::Hands};
use crate::{
    engine::view::EscalationView,
    store::{Store, StoreError},
    types::{
        ids::{EscalationId, TaskId},
        outcome::Cause,
        time::{Span, Timestamp},
    },
};

/// Changes that a reader may be behind.
const MAX_BEHIND: usize = 1_024;
/// Open questions read at once.
const PAGE: usize = 16;
/// Rows that one page of a filtered list looks at.
const MAX_SCANNED: usize = 4_096;
/// Rows read at once, and bytes of questions after which a page ends: each may hold a result of a megabyte.
const MAX_ROWS: usize = 64;
const MAX_PAGE_BYTES: usize = 4 << 20;
/// How long a reader that was too slow waits before it begins anew.
const SLOW_RETRY: Span = Span::from_secs(1);

/// Which questions are wanted.
#[derive(Debug, Clone, Default)]
pub struct EscalationFilter {
    /// In one of these states ("OPEN", "APPROVED", ...); empty: any.
    pub states: Vec<String>,
    /// Of this task.
    pub task: Option<TaskId>,
    /// For one of these causes, `None` being an agent's own question; empty: any.
    pub causes: Vec<Option<Cause>>,
    /// Whose task has all of these labels.
    pub labels: Vec<(String, String)>,
    /// Whose id begins with this.
    pub id_prefix: String,
}

impl EscalationFilter {
    /// Whether a question fits what the store does not filter by.
    fn fits(&self, view: &EscalationView) -> bool {
        let Self { states: _, task: _, causes, labels, id_prefix } = self;
        let id = EscalationId { task: view.task, number: view.asked.number };
        (causes.is_empty() || causes.contains(&view.asked.cause))
            && labels.iter().all(|(key, value)| view.labels.get(key) == Some(value))
            && (id_prefix.is_empty() || id.to_string().starts_with(id_prefix.as_str()))
    }
}

/// A place in the list of questions: behind this one.
pub type QuestionPlace = (Timestamp, EscalationId);

/// A page of questions.
#[derive(Debug, Clone)]
pub struct EscalationPage {
    /// Those that fit, oldest first.
    pub questions: Vec<EscalationView>,
    /// Where to go on, if the page ended before `limit` because enough had been looked at.
    pub scanned_to: Option<QuestionPlace>,
}

/// Reads a page. Blocks.
pub(super) fn page(
    store: &dyn Store,
    filter: &EscalationFilter,
    mut after: Option<QuestionPlace>,
    limit: usize,
) -> Result<EscalationPage, StoreError> {
    let (mut questions, mut scanned, mut bytes) = (Vec::new(), 0, 0);
    loop {
        let want = (limit - questions.len()).clamp(1, MAX_ROWS);
        let rows = store.escalations(&filter.states, filter.task, after, want)?;
        for row in &rows {
            after = Some((row.asked_at, row.id));
            if let Some(view) = Some(codec::escalation(row)?).filter(|view| filter.fits(view)) {
                questions.push(view);
                bytes += row.view.len();
            }
        }
        scanned += rows.len();
        if rows.len() < want || questions.len() >= limit {
            return Ok(EscalationPage { questions, scanned_to: None });
        }
        if scanned >= MAX_SCANNED || bytes >= MAX_PAGE_BYTES {
            return Ok(EscalationPage { questions, scanned_to: after });
        }
    }
}

/// Who is told of questions.
#[derive(Debug)]
pub(super) struct Questions {
    /// `None` once the runtime has stopped.
    changed: Mutex<Option<broadcast::Sender<EscalationId>>>,
}

impl Default for Questions {
    fn default() -> Self {
        Self { changed: Mutex::new(Some(broadcast::channel(MAX_BEHIND).0)) }
    }
}

impl Questions {
    /// These have changed, durably.
    pub(super) fn tell(&self, changed: &[EscalationId]) {
        if changed.is_empty() {
            return;
        }
        if let Some(sender) = &*self.changed.lock().unwrap_or_else(PoisonError::into_inner) {
            for id in changed {
                // Without a reader there is nobody to tell.
                let _ = sender.send(*id);
            }
        }
    }

    fn follow(&self) -> Option<broadcast::Receiver<EscalationId>> {
        let sender = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        sender.as_ref().map(broadcast::Sender::subscribe)
    }

    /// Nothing more will change.
    pub(super) fn close(&self) {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// The open questions, then changes.
pub struct QuestionWatch {
    store: Arc<dyn Store>,
    hands: Hands,
    filter: EscalationFilter,
    /// `None` once nothing more will come.
    changed: Option<broadcast::Receiver<EscalationId>>,
    /// Where the reading of what is open has got to; `None` once it is done.
    reading: Option<Option<QuestionPlace>>,
    buffer: VecDeque<EscalationView>,
}

/// What a watch of questions says next.
#[derive(Debug, Clone, PartialEq)]
pub enum QuestionNews {
    /// A question, as it stands.
    Question(Box<EscalationView>),
    /// All that were open have been said.
    CaughtUp,
}

impl QuestionWatch {
    /// Watches from now on. Subscribed before anything is read, so that nothing falls between.
    pub(super) fn start(
        store: Arc<dyn Store>,
        questions: &Questions,
        hands: Hands,
        filter: EscalationFilter,
    ) -> Self {
        let filter = EscalationFilter { states: vec!["OPEN".to_owned()], ..filter };
        let changed = questions.follow();
        Self { store, hands, filter, changed, reading: Some(None), buffer: VecDeque::new() }
    }

    /// The next news. After an error nothing more comes.
    ///
    /// # Errors
    /// The store failed, the runtime has stopped, or the reader was too slow: watch again.
    pub async fn next(&mut self) -> Option<Result<QuestionNews, ReadError>> {
        self.changed.as_ref()?;
        let next = self.read_on().await;
        if next.is_err() {
            self.changed = None;
        }
        Some(next)
    }

    async fn read_on(&mut self) -> Result<QuestionNews, ReadError> {
        loop {
            if let Some(view) = self.buffer.pop_front() {
                return Ok(QuestionNews::Question(Box::new(view)));
            }
            let Some(after) = self.reading else { return self.change().await };
            let (store, filter) = (Arc::clone(&self.store), self.filter.clone());
            let page = self.hands.run(move || page(&*store, &filter, after, PAGE)).await??;
            let EscalationPage { questions, scanned_to } = page;
            let full = questions.len() >= PAGE;
            let last = questions
                .last()
                .map(|view| (view.asked_at, EscalationId { task: view.task, number: view.asked.number }));
            self.buffer = questions.into();
            self.reading = scanned_to.or_else(|| last.filter(|_| full)).map(Some);
            if self.reading.is_none() && self.buffer.is_empty() {
                return Ok(QuestionNews::CaughtUp);
            }
            if self.reading.is_none() {
                // One look more finds nothing and says so.
                self.reading = Some(last);
            }
        }
    }

    async fn change(&mut self) -> Result<QuestionNews, ReadError> {
        loop {
            let Some(changed) = self.changed.as_mut() else { return Err(ReadError::ShuttingDown) };
            let id = match changed.recv().await {
                Ok(id) => id,
                Err(RecvError::Closed) => return Err(ReadError::ShuttingDown),
                Err(RecvError::Lagged(missed)) => {
                    let what = format!("this reader is {missed} changes behind: watch again");
                    return Err(Overloaded::new(SLOW_RETRY, what).into());
                }
            };
            let store = Arc::clone(&self.store);
            let row = self.hands.run(move || store.escalation(id)).await??;
            let Some(row) = row else { continue };
            let view = codec::escalation(&row)?;
            if self.filter.fits(&view) {
                return Ok(QuestionNews::Question(Box::new(view)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::memory::MemoryStore;

    async fn watch(questions: &Questions) -> QuestionWatch {
        let store = Arc::new(MemoryStore::default());
        let mut watch = QuestionWatch::start(store, questions, Hands::default(), EscalationFilter::default());
        assert_eq!(watch.next().await, Some(Ok(QuestionNews::CaughtUp)));
        watch
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_told_so_and_holds_nothing() {
        let questions = Questions::default();
        let mut slow = watch(&questions).await;
        let id = EscalationId { task: TaskId::from(Uuid::from_u128(1)), number: 1 };
        for _ in 0..=MAX_BEHIND {
            questions.tell(&[id]);
        }
        assert!(matches!(slow.next().await, Some(Err(ReadError::Overloaded(_)))));
        assert_eq!(slow.next().await, None, "after an error nothing more comes");
    }

    #[tokio::test]
    async fn a_watch_ends_with_the_runtime() {
        let questions = Questions::default();
        let mut watch = watch(&questions).await;
        questions.close();
        assert_eq!(watch.next().await, Some(Err(ReadError::ShuttingDown)));
        let store = Arc::new(MemoryStore::default());
        let mut late = QuestionWatch::start(store, &questions, Hands::default(), EscalationFilter::default());
        assert_eq!(late.next().await, None);
    }
}
