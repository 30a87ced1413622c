//! What an operator does with a dead letter: redrive or discard, once. The outcome and the books stay as they are.

use super::Txn;
use crate::{
    engine::{
        command::{Rejection, Reply, SettledLetter},
        dead_letter::{Discarded, Redriven},
        event::Event,
        view::Settled,
    },
    types::ids::TaskId,
};

impl Txn<'_> {
    /// Names the successor of a dead letter. The same redrive again names the same one.
    pub(super) fn redrive(&mut self, redriven: Redriven) -> Result<Reply, Rejection> {
        let (by, note) = (redriven.by.clone(), redriven.note.clone());
        if !self.task.is_dead_letter() {
            return Err(Rejection::NotADeadLetter(self.task.state()));
        }
        if let Some(parent) = &self.task.parent {
            return Err(Rejection::RedriveOfChild { parent: parent.task });
        }
        match self.settled() {
            Some(Settled::Redriven(before)) if before.fingerprint == redriven.fingerprint => {
                let successor = before.successor;
                Ok(Reply::Redriven { successor, begun: None })
            }
            Some(_) => Err(self.already()),
            None => {
                let successor: TaskId = redriven.successor;
                let begun = Some(Box::new(self.task.redrives(by, note)));
                self.emit(Event::Redriven(Box::new(redriven)));
                Ok(Reply::Redriven { successor, begun })
            }
        }
    }

    /// Says that nothing more is to come of a dead letter. Saying it again is harmless.
    pub(super) fn discard(&mut self, discarded: Discarded) -> Result<Reply, Rejection> {
        if !self.task.is_dead_letter() {
            return Err(Rejection::NotADeadLetter(self.task.state()));
        }
        match self.settled() {
            Some(Settled::Discarded(_)) => Ok(Reply::Discarded { already: true }),
            Some(Settled::Redriven(_)) => Err(self.already()),
            None => {
                self.emit(Event::Discarded(Box::new(discarded)));
                Ok(Reply::Discarded { already: false })
            }
        }
    }

    fn settled(&self) -> Option<&Settled> {
        self.task.settled.as_ref().map(|settlement| &settlement.what)
    }

    fn already(&self) -> Rejection {
        let settled = self
            .task
            .settled
            .as_ref()
            .map(|settlement| SettledLetter { what: settlement.what.clone(), at: settlement.at });
        settled.map_or(Rejection::TaskEnded, |settled| Rejection::LetterSettled(Box::new(settled)))
    }
}
