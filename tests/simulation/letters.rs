//! The laws of dead letters: each has one successor at most, linked both ways in one commit, or is discarded; and what an
//! operator was told of it is so.

use std::collections::BTreeMap;

use bailiwick::{
    engine::{event::Event, event::Record},
    store::record::Append,
    types::{ids::TaskId, outcome::TaskState},
};

use crate::laws::{Case, Laws, record};

/// What was done with a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settled {
    Redriven { successor: TaskId, asked: u128 },
    Discarded,
}

impl Case {
    /// What follows an outcome: late usage, and once what was done with a dead letter.
    pub(crate) fn follows(&mut self, event: &Event) {
        let settled = match event {
            Event::LateUsage { .. } => return,
            Event::Redriven(redriven) => {
                Settled::Redriven { successor: redriven.successor, asked: redriven.fingerprint }
            }
            Event::Discarded(_) => Settled::Discarded,
            _ => panic!("only late usage follows an outcome: {event:?}"),
        };
        assert_eq!(self.task.state(), TaskState::DeadLettered, "only a dead letter is redriven or discarded");
        assert!(self.parent.is_none() || settled == Settled::Discarded, "a child is not redriven");
        assert_eq!(self.settled, None, "a dead letter is settled once");
        self.settled = Some(settled);
    }
}

/// The links that a commit makes: from dead letters to successors, and back.
#[derive(Default)]
pub(crate) struct Links {
    forth: BTreeMap<TaskId, TaskId>,
    back: BTreeMap<TaskId, TaskId>,
}

impl Links {
    pub(crate) fn of(appends: &[Append]) -> Self {
        let mut links = Self::default();
        for append in appends {
            // Most events have nothing of the kind, and are not decoded for it.
            for event in append.events.iter().filter(|event| event.body.contains("redriv")) {
                let Record { event, .. } = record(event);
                match event {
                    Event::Redriven(redriven) => {
                        let before = links.forth.insert(append.task, redriven.successor);
                        assert_eq!(before, None, "a dead letter has one successor");
                    }
                    Event::Submitted { redrives: Some(redrives), .. } => {
                        let before = links.back.insert(redrives.task, append.task);
                        assert_eq!(before, None, "a dead letter has one successor");
                    }
                    _ => {}
                }
            }
        }
        links
    }

    pub(crate) fn hold(&self) {
        assert_eq!(self.forth, self.back, "a dead letter and its successor are linked in one commit");
    }
}

impl Laws {
    /// A redrive was acknowledged.
    pub(crate) fn redriven(&self, letter: TaskId, successor: TaskId, asked: u128) {
        let settled = Some(Settled::Redriven { successor, asked });
        assert_eq!(self.case(letter).settled, settled, "a redrive that was acknowledged is in the journal");
        assert_eq!(self.case(successor).redrives, Some(letter), "a successor knows what it was made of");
    }

    /// A discard was acknowledged.
    pub(crate) fn discarded(&self, letter: TaskId) {
        let settled = &self.case(letter).settled;
        assert_eq!(*settled, Some(Settled::Discarded), "a discard that was acknowledged is in the journal");
    }

    /// Dead letters that nothing was done with.
    pub(crate) fn open_letters(&self) -> u64 {
        let open = |case: &&Case| case.task.is_dead_letter() && case.settled.is_none();
        self.cases.values().filter(open).count() as u64
    }
}
