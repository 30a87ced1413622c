//! The disk: what survives the server's process. It refuses, tears, forgets and keeps in silence, as it is told; and every
//! commit that it has kept is held against the laws before anybody else hears of it.

use std::sync::{Arc, Mutex};

use bailiwick::{
    store::{
        Store, StoreError,
        memory::MemoryStore,
        record::{
            AgentRow, Append, EscalationRow, LogEntry, OpenTask, PageAfter, ParkedNote, StoredEvent,
            SummaryRow, TaskFilter,
        },
    },
    types::{
        ids::{EscalationId, TaskId},
        time::Timestamp,
    },
};

use crate::{
    chance::Chance,
    faults::Faults,
    laws::Laws,
    life::Life,
    tape::{Tape, note},
};

pub(crate) struct Disk {
    pub(crate) kept: MemoryStore,
    pub(crate) tape: Arc<Tape>,
    laws: Arc<Mutex<Laws>>,
    state: Mutex<State>,
}

struct State {
    chance: Chance,
    faults: Faults,
    /// A commit that was written and not synced: the next one overwrites it, a crash may bring it to light.
    unsynced: Option<Vec<Append>>,
}

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    /// Nothing was written.
    Refused,
    /// A part was written, and taken back.
    Torn,
    /// Written; the sync failed.
    Unsynced,
    /// Kept, but whoever asked is told otherwise.
    Unanswered,
}

impl Disk {
    pub(crate) fn new(tape: Arc<Tape>, laws: Arc<Mutex<Laws>>, chance: Chance, faults: Faults) -> Self {
        let state = Mutex::new(State { chance, faults, unsynced: None });
        Self { kept: MemoryStore::new(), tape, laws, state }
    }

    /// From now on nothing fails.
    pub(crate) fn calm(&self) {
        self.state.lock().expect("no panic under it").faults = Faults::default();
    }

    /// A new process looks at what the last one left.
    pub(crate) fn reopen(&self) {
        let found = {
            let mut state = self.state.lock().expect("no panic under it");
            let found = state.unsynced.take();
            found.filter(|_| state.chance.happens(500))
        };
        if let Some(found) = found {
            note!(self, "disk a commit that was not synced is found again");
            self.keep(&found).expect("nothing was written since");
        }
    }

    fn keep(&self, appends: &[Append]) -> Result<u64, StoreError> {
        let end = self.kept.commit(appends)?;
        self.state.lock().expect("no panic under it").unsynced = None;
        for append in appends {
            for event in &append.events {
                note!(self, "disk {} {} {}", append.task, event.seq, event.body);
            }
        }
        self.laws.lock().expect("no law is broken").commit(appends);
        Ok(end)
    }

    fn fate(&self) -> Fate {
        let mut state = self.state.lock().expect("no panic under it");
        let State { chance, faults, unsynced: _ } = &mut *state;
        let fates = [
            (faults.refused, Fate::Refused),
            (faults.torn, Fate::Torn),
            (faults.unsynced, Fate::Unsynced),
            (faults.unanswered, Fate::Unanswered),
        ];
        fates.into_iter().find(|(rate, _)| chance.happens(*rate)).map_or(Fate::Kept, |(_, fate)| fate)
    }

    fn commit(&self, appends: &[Append]) -> Result<u64, StoreError> {
        let fate = self.fate();
        if fate == Fate::Kept {
            return self.keep(appends);
        }
        note!(self, "disk {fate:?}");
        self.laws.lock().expect("no law is broken").ears.trouble();
        let failed = Err(StoreError::Unavailable(format!("the disk: {fate:?}")));
        match fate {
            Fate::Kept | Fate::Refused => {}
            Fate::Torn => self.state.lock().expect("no panic under it").unsynced = None,
            Fate::Unsynced => {
                let sound = self.fits(appends);
                self.state.lock().expect("no panic under it").unsynced = sound.then(|| appends.to_vec());
            }
            Fate::Unanswered => drop(self.keep(appends)?),
        }
        failed
    }

    /// A note by its name: kept, refused, or kept although whoever asked is told otherwise.
    fn set_text(&self, name: &str, value: Option<&str>) -> Result<(), StoreError> {
        let fate = self.fate();
        if matches!(fate, Fate::Kept | Fate::Unanswered) {
            note!(self, "disk {name} {}", value.unwrap_or("forgotten"));
            self.kept.set_text(name, value)?;
        }
        if fate == Fate::Kept {
            return Ok(());
        }
        note!(self, "disk {fate:?} {name}");
        self.laws.lock().expect("no law is broken").ears.trouble();
        Err(StoreError::Unavailable(format!("the disk: {fate:?}")))
    }

    /// Whether a commit goes on from what is kept.
    fn fits(&self, appends: &[Append]) -> bool {
        let mut last = std::collections::BTreeMap::new();
        appends.iter().all(|append| {
            let stored = || self.kept.summary(append.task).ok().flatten().map_or(0, |row| row.seq);
            let known = last.insert(append.task, append.last_seq()).unwrap_or_else(stored);
            known == append.expected_seq
        })
    }

    fn look(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock().expect("no panic under it");
        let rate = state.faults.unreadable;
        if state.chance.happens(rate) {
            drop(state);
            self.laws.lock().expect("no law is broken").ears.trouble();
            note!(self, "disk Unreadable");
            return Err(StoreError::Unavailable("the disk: unreadable".to_owned()));
        }
        Ok(())
    }
}

/// The disk as one process has it.
pub(crate) struct Mount {
    pub(crate) disk: Arc<Disk>,
    pub(crate) life: Arc<Life>,
}

impl Mount {
    fn alive(&self) -> Result<(), StoreError> {
        self.life.step();
        if self.life.is_alive() {
            return Ok(());
        }
        Err(StoreError::Unavailable("this process is dead".to_owned()))
    }

    fn read(&self) -> Result<&MemoryStore, StoreError> {
        self.alive()?;
        self.disk.look()?;
        Ok(&self.disk.kept)
    }
}

impl Store for Mount {
    fn commit(&self, appends: &[Append]) -> Result<u64, StoreError> {
        self.alive()?;
        let result = self.disk.commit(appends);
        // It may die with a commit that is kept and not yet told.
        self.life.step();
        result
    }

    fn events(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<StoredEvent>, StoreError> {
        self.read()?.events(task, after, limit)
    }

    fn log(&self, after: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        self.read()?.log(after, limit)
    }

    fn log_end(&self) -> Result<u64, StoreError> {
        self.read()?.log_end()
    }

    fn summary(&self, task: TaskId) -> Result<Option<SummaryRow>, StoreError> {
        self.read()?.summary(task)
    }

    fn list(
        &self,
        filter: &TaskFilter,
        after: Option<PageAfter>,
        limit: usize,
    ) -> Result<Vec<SummaryRow>, StoreError> {
        self.read()?.list(filter, after, limit)
    }

    fn open_tasks(&self, after: Option<PageAfter>, limit: usize) -> Result<Vec<OpenTask>, StoreError> {
        self.read()?.open_tasks(after, limit)
    }

    fn open_count(&self) -> Result<u64, StoreError> {
        self.read()?.open_count()
    }

    fn note_parked(&self, notes: &[ParkedNote]) -> Result<(), StoreError> {
        self.read()?.note_parked(notes)
    }

    fn escalation(&self, id: EscalationId) -> Result<Option<EscalationRow>, StoreError> {
        self.read()?.escalation(id)
    }

    fn escalations(
        &self,
        states: &[String],
        task: Option<TaskId>,
        after: Option<(Timestamp, EscalationId)>,
        limit: usize,
    ) -> Result<Vec<EscalationRow>, StoreError> {
        self.read()?.escalations(states, task, after, limit)
    }

    fn upsert_agents(&self, agents: &[AgentRow]) -> Result<(), StoreError> {
        self.read()?.upsert_agents(agents)
    }

    fn agents(&self) -> Result<Vec<AgentRow>, StoreError> {
        self.read()?.agents()
    }

    fn number(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.read()?.number(name)
    }

    fn numbers(&self, prefix: &str) -> Result<Vec<(String, u64)>, StoreError> {
        self.read()?.numbers(prefix)
    }

    fn set_number(&self, name: &str, value: u64) -> Result<(), StoreError> {
        self.read()?.set_number(name, value)
    }

    fn texts(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.read()?.texts(prefix)
    }

    fn set_text(&self, name: &str, value: Option<&str>) -> Result<(), StoreError> {
        self.alive()?;
        let result = self.disk.set_text(name, value);
        // It may die with what is kept and not yet told.
        self.life.step();
        result
    }
}
