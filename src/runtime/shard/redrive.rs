//! Redrives: a dead letter and its successor in one batch, and so in one commit. Either both are in the journal or neither
//! is, whatever breaks. Never here: two commits.

use super::{Redrive, Shard, batch::Release};
use crate::{
    engine::{
        command::{Command, Env, Reply},
        dead_letter::Redrives,
        task::Task,
    },
    runtime::{CommandError, Submitted},
    types::{ids::TaskId, time::Timestamp},
};

impl Shard {
    /// Makes a successor of a resident dead letter, or finds the one that was made by the same redrive.
    pub(super) fn redrive(&mut self, redrive: Redrive, now: Timestamp) {
        let Redrive { redriven, task: id, contract, fingerprint, trace, place, answer } = redrive;
        // A successor is new work, unless it was made before.
        let resident = self.residents.get(id);
        let is_open = resident.is_some_and(|resident| {
            resident.task.is_dead_letter() && resident.task.summary().settled.is_none()
        });
        if is_open && let Some(halt) = self.shared.halts.now().on_contract(&contract) {
            return drop(answer.send(Err(CommandError::Halted(halt))));
        }
        let command = Command::Redrive(Box::new(redriven));
        let Some(decided) = self.with_task(id, now, |task, env| task.decide(command, env)) else { return };
        let result = match decided {
            Ok(decided) => {
                let reply = self.absorb(id, decided, None, now);
                self.residents.settle(id, now, false);
                match reply {
                    Reply::Redriven { successor, begun } => {
                        let existing = begun.is_none();
                        if let Some(redrives) = begun {
                            let made = |env: Env<'_>| {
                                let redrives: Box<Redrives> = redrives;
                                Task::submit_redrive(successor, contract, fingerprint, trace, redrives, env)
                            };
                            let (task, decided) = made(Env { now, agents: &*self.shared.registry });
                            self.note_seen(successor);
                            self.residents.insert(Box::new(task), Some(place));
                            self.absorb(successor, decided, None, now);
                            self.residents.settle(successor, now, false);
                        }
                        Ok(Submitted { task: successor, existing })
                    }
                    Reply::Refused(rejection) => Err(CommandError::Rejected(rejection)),
                    _ => Err(CommandError::NotFound { task: id }), // No reply to a redrive.
                }
            }
            Err(rejection) => Err(CommandError::Rejected(rejection)),
        };
        self.answer_when_durable(id, move |failed| {
            let _ = answer.send(failed.map_or(result, |error| Err(error.into())));
        });
    }

    fn answer_when_durable(
        &mut self,
        id: TaskId,
        answer: impl FnOnce(Option<crate::store::StoreError>) + Send + 'static,
    ) {
        self.hold(id, Release::Answer(Box::new(answer)));
    }
}
