//! Requests and orders, put to the engine one by one; and what its decisions ask for.

use super::{Answered, Asked, Outcome, Request, Shard, Submission, batch::Release, mailbox::GivenUp};
use crate::{
    engine::{
        answer_checks::AnswerChecks,
        command::{Command, Effect, Env, Findings, HumanAnswer, Reply},
        differs::differences,
        event::{AttemptEnd, TurnKind},
        family::Birth,
        task::{Decided, Task},
    },
    runtime::{
        CommandError, SubmitError, Submitted,
        courier::Errand,
        dispatch::{Ending, HeldUp, Offer, Order, Revoked, Slot, TurnKey, Verdict},
    },
    store::StoreError,
    types::{
        ids::{Lease, TaskId},
        outcome::Cause,
        time::Timestamp,
    },
};

impl Shard {
    /// Serves a request, now or once its task has been loaded.
    pub(super) fn serve(&mut self, request: Request, now: Timestamp) {
        let id = request.task();
        if self.residents.contains(id) {
            return self.serve_resident(request, now);
        }
        match request {
            Request::Submit(submission) if !submission.keyed => self.begin(*submission, now),
            request @ Request::Recall(..) => self.recall(request),
            request => self.load_for(request),
        }
    }

    /// Serves a request for a task that the journal does not have.
    pub(super) fn serve_absent(&mut self, request: Request, now: Timestamp) {
        match request {
            Request::Submit(submission) => self.begin(*submission, now),
            // A lease of a task that never was holds nothing.
            Request::End(ending) => {
                self.orders.extend(self.shared.dispatch.closed(&ending.lease, Verdict::Nothing, now));
            }
            Request::Assign(slot) => self.shared.dispatch.unused(slot, now),
            request => request.give_up(GivenUp::NotFound),
        }
    }

    pub(super) fn serve_resident(&mut self, request: Request, now: Timestamp) {
        match request {
            Request::Submit(submission) => self.submit_again(*submission),
            Request::Redrive(redrive) => self.redrive(*redrive, now),
            Request::Command(asked) => self.command(*asked, now),
            Request::End(ending) => self.end_lease(ending, now),
            // As an order like any other: it may have to wait all the same.
            Request::Assign(slot) => self.orders.push_front(Order::Assign(slot)),
            request @ Request::Recall(..) => self.recall(request),
            Request::HoldUp(held_up) => self.hold_up(held_up, now),
            Request::View(id, answer) => {
                let Some(resident) = self.residents.get(id) else { return };
                let view = resident.task.view();
                self.hold(
                    id,
                    Release::Answer(Box::new(move |failed| {
                        let _ = answer.send(failed.map_or(Ok(view), |error| Err(error.into())));
                    })),
                );
            }
            Request::Lineage(lease, answer) => {
                let Some(resident) = self.residents.get(lease.task) else { return };
                let lineage = resident.task.lineage(&lease).map_err(CommandError::Rejected);
                self.hold(
                    lease.task,
                    Release::Answer(Box::new(move |failed| {
                        let _ = answer.send(failed.map_or(lineage, |error| Err(error.into())));
                    })),
                );
            }
        }
    }

    /// Starts a task.
    fn begin(&mut self, submission: Submission, now: Timestamp) {
        let Submission { id, keyed: _, contract, fingerprint, trace, parent, place, answer, ticket } =
            submission;
        // It waits no longer.
        drop(ticket);
        if parent.is_none()
            && let Some(halt) = self.shared.halts.now().on_contract(&contract)
        {
            return drop(answer.send(Err(SubmitError::Halted(halt))));
        }
        let env = Env { now, agents: &*self.shared.registry };
        let (task, decided) = match parent {
            None => Task::submit(id, contract, fingerprint, trace, env),
            Some(parent) => {
                Task::submit_child(Birth { child: id, contract, fingerprint, parent: *parent }, env)
            }
        };
        self.note_seen(id);
        self.residents.insert(Box::new(task), Some(place));
        self.absorb(id, decided, None, now);
        self.residents.settle(id, now, false);
        self.hold(
            id,
            Release::Answer(Box::new(move |failed| {
                let _ = answer.send(accepted(Submitted { task: id, existing: false }, failed));
            })),
        );
    }

    /// The same key again: the same contract is the same task, another one is refused.
    fn submit_again(&mut self, submission: Submission) {
        let Submission { id, contract, fingerprint, answer, .. } = submission;
        let Some(resident) = self.residents.get(id) else { return };
        // As it was sent, or in what it means: a default may be written out or left out.
        let differs = if resident.task.fingerprint() == fingerprint {
            Vec::new()
        } else {
            differences(resident.task.contract(), &contract)
        };
        // Whoever asks whether a child is there may not have heard that it has ended.
        self.send_errand(id, &Effect::TellParent);
        self.hold(
            id,
            Release::Answer(Box::new(move |failed| {
                let found = if differs.is_empty() {
                    accepted(Submitted { task: id, existing: true }, failed)
                } else {
                    Err(failed.map_or(SubmitError::KeyTaken { task: id, differs }, SubmitError::Store))
                };
                let _ = answer.send(found);
            })),
        );
    }

    fn command(&mut self, asked: Asked, now: Timestamp) {
        let Asked { task: id, command, checked, arrived, answer } = asked;
        let command = match self.with_findings(id, command, checked) {
            Ok(command) => command,
            // Nobody has seen anything yet: the checks are the contract's and the turn's.
            Err(checks) => return drop(answer.send(Ok(Answered::Check(checks)))),
        };
        let cancels = matches!(command, Command::Cancel { .. });
        let metered = self.metered(&command);
        let Some(decided) = self.with_task(id, now, |task, env| task.decide(command, env)) else { return };
        let result = match decided {
            Ok(decided) => {
                let escalations = decided.escalations.clone();
                let reply = self.absorb(id, decided, Some(arrived), now);
                self.residents.settle(id, now, false);
                if let Some((lease, before)) = metered {
                    self.meter(lease, before, now);
                }
                match reply {
                    Reply::Refused(rejection) => Err(CommandError::Rejected(rejection)),
                    reply => {
                        let resident = self.residents.get(id).filter(|_| cancels);
                        let summary = resident.map(|resident| resident.task.summary());
                        let birth = match &reply {
                            Reply::ChildStarted { number, .. } => {
                                self.residents.get(id).and_then(|resident| resident.task.birth(*number))
                            }
                            _ => None,
                        };
                        let birth = birth.map(Box::new);
                        Ok(Answered::Decided(Box::new(Outcome { reply, summary, escalations, birth })))
                    }
                }
            }
            Err(rejection) => Err(CommandError::Rejected(rejection)),
        };
        self.hold(
            id,
            Release::Answer(Box::new(move |failed| {
                let _ = answer.send(failed.map_or(result, |error| Err(error.into())));
            })),
        );
    }

    /// Makes sure that the answer in a `Complete` was checked against the very things that the engine wants it checked
    /// against; otherwise says which those are.
    fn with_findings(
        &self,
        id: TaskId,
        command: Command,
        checked: Option<AnswerChecks>,
    ) -> Result<Command, Box<AnswerChecks>> {
        if let Command::AnswerEscalation { number, answer: HumanAnswer::Amend { .. }, .. } = &command {
            let wanted =
                self.residents.get(id).and_then(|resident| resident.task.checks_for_amendment(*number));
            return match wanted {
                Some(wanted) if checked.as_ref() != Some(&wanted) => Err(Box::new(wanted)),
                Some(_) | None => Ok(command),
            };
        }
        let Command::Complete { lease, answer, findings } = command else { return Ok(command) };
        let wanted = self.residents.get(id).and_then(|resident| resident.task.checks_for(&lease));
        match wanted {
            Some(wanted) if checked.as_ref() != Some(&wanted) => Err(Box::new(wanted)),
            Some(_) => Ok(Command::Complete { lease, answer, findings }),
            None => Ok(Command::Complete { lease, answer, findings: Findings::default() }),
        }
    }

    fn end_lease(&mut self, ending: Ending, now: Timestamp) {
        let Ending { lease, end, reason } = ending.clone();
        let command = Command::EndLease { lease, end, reason };
        if let Some(Ok(decided)) = self.with_task(lease.task, now, |task, env| task.decide(command, env)) {
            self.batch.regardless.push(ending);
            self.absorb(lease.task, decided, None, now);
            self.residents.settle(lease.task, now, false);
        }
        // Whatever the task says of it: nobody holds it any more.
        self.orders.extend(self.shared.dispatch.closed(&lease, Verdict::Nothing, now));
    }

    /// A turn waits for an agent whose circuit is open. A turn that does not wait, after all, is none of its business.
    fn hold_up(&mut self, held_up: HeldUp, now: Timestamp) {
        let HeldUp { key: TurnKey { task: id, turn }, reason } = held_up;
        let command = Command::HoldUp { turn, reason };
        if let Some(Ok(decided)) = self.with_task(id, now, |task, env| task.decide(command, env)) {
            self.absorb(id, decided, None, now);
            self.residents.settle(id, now, false);
        }
    }

    /// Serves what the dispatcher wants, what comes of that included. All of it goes into the batch at hand.
    pub(super) fn serve_orders(&mut self, now: Timestamp) {
        while self.has_room()
            && let Some(order) = self.orders.pop_front()
        {
            match order {
                Order::Assign(slot) if self.shared.health.failing().is_some() => self.kept_slots.push(slot),
                Order::Assign(slot) if self.parked.contains(slot.key.task) => {
                    self.load_for(Request::Assign(slot));
                }
                Order::Assign(slot) => self.assign(slot, now),
                Order::End(ending) => self.serve(Request::End(ending), now),
                Order::Barrier(_, passed) => self.pass_barrier(passed),
                Order::HoldUp(held_up) => self.serve(Request::HoldUp(held_up), now),
            }
        }
    }

    fn assign(&mut self, slot: Slot, now: Timestamp) {
        let TurnKey { task: id, turn } = slot.key;
        if self.is_halted(&slot) {
            // The halt came while the slot was on its way.
            self.shared.dispatch.unused(slot, now);
            return self.offer_again(slot_key(id, turn), now);
        }
        let secret = self.shared.entropy.bits();
        let lease = Lease { task: id, turn, attempt: 0, secret };
        let command = Command::Assign { lease, worker: slot.worker.clone() };
        match self.with_task(id, now, |task, env| task.decide(command, env)) {
            Some(Ok(mut decided)) => {
                match std::mem::replace(&mut decided.reply, Reply::Done) {
                    Reply::Assigned(assignment) => {
                        let resident = self.residents.get(id);
                        let checks =
                            resident.and_then(|resident| resident.task.checks_for(&assignment.lease));
                        if let Some(halting) = self.halting(id) {
                            self.shared.dispatch.leased(slot, assignment.lease, checks, halting, now);
                        }
                        self.absorb(id, decided, None, now);
                        self.hold(id, Release::Deliver(assignment));
                    }
                    reply => {
                        self.absorb(id, decided, None, now);
                        self.shared.dispatch.unused(slot, now);
                        if matches!(reply, Reply::Refused(_)) {
                            self.offer_again(slot_key(id, turn), now);
                        }
                    }
                }
                self.residents.settle(id, now, false);
            }
            Some(Err(_)) => {
                self.shared.dispatch.unused(slot, now);
                self.offer_again(slot_key(id, turn), now);
            }
            None => self.shared.dispatch.unused(slot, now),
        }
    }

    /// A turn that was refused to a worker is offered again if it does wait after all, be it for a later time.
    fn offer_again(&mut self, key: TurnKey, now: Timestamp) {
        let Some(resident) = self.residents.get(key.task) else { return };
        let waits = |effect: &Effect| matches!(effect, Effect::Ready { turn, .. } if *turn == key.turn);
        if let Some(effect) = resident.task.outstanding().ready.into_iter().find(waits) {
            self.perform(key.task, effect, None, now);
        }
    }

    /// Takes a decision's events into the batch and does what it asks for, as far as that may be done before the commit.
    pub(super) fn absorb(
        &mut self,
        id: TaskId,
        decided: Decided,
        arrived: Option<Timestamp>,
        now: Timestamp,
    ) -> Reply {
        let Decided { reply, records, effects, escalations, tallies } = decided;
        if !records.is_empty() {
            self.batch.add(id, &records, escalations, &tallies);
            let number = self.batch.number;
            if let Some(resident) = self.residents.get_mut(id) {
                resident.batch = number;
            }
        }
        for effect in effects {
            self.perform(id, effect, arrived, now);
        }
        reply
    }

    /// Does one effect. None of these shows anything to anyone but a brake: an offer is acted on inside, and the work goes out
    /// only after the commit of its own lease.
    pub(super) fn perform(&mut self, id: TaskId, effect: Effect, arrived: Option<Timestamp>, now: Timestamp) {
        match effect {
            Effect::Ready { .. } => {
                let marks = self.marks(id);
                self.offer(id, effect, marks, now);
            }
            Effect::Withdraw { turn } => self.shared.dispatch.withdraw(slot_key(id, turn)),
            Effect::Revoke { lease, worker: _, end, reason, cause } => {
                let revoked = Revoked { lease, end, reason, cause };
                let (told, orders) = self.shared.dispatch.revoked(revoked, now);
                self.orders.extend(orders);
                if told {
                    self.note_kill(lease, cause, arrived);
                    let reason = "it was told to stop, but the reason could not be made durable".to_owned();
                    self.batch.regardless.push(Ending { lease, end: AttemptEnd::Released, reason });
                }
            }
            Effect::Close { lease, worker: _, technical } => {
                let verdict = if technical { Verdict::Bad } else { Verdict::Good };
                self.orders.extend(self.shared.dispatch.closed(&lease, verdict, now));
            }
            // Seen from the task's own state, where it is settled.
            Effect::Ended => {}
            Effect::StartChild { .. } | Effect::CancelChild { .. } | Effect::TellParent => {
                self.send_errand(id, &effect);
            }
        }
    }

    /// Offers a turn that is ready; `marks` are those of the task's labels.
    pub(super) fn offer(&mut self, id: TaskId, ready: Effect, marks: Box<[u64]>, now: Timestamp) {
        let Effect::Ready { turn, agent, kind, namespace, priority, not_before } = ready else { return };
        let (key, decides) = (slot_key(id, turn), kind == TurnKind::Decide);
        let offer = Offer { key, agent, namespace, priority, decides, not_before, marks };
        self.orders.extend(self.shared.dispatch.offer(offer, now));
    }

    /// Has parent and child hear of each other, once what it is about is durable.
    fn send_errand(&mut self, id: TaskId, effect: &Effect) {
        let Some(task) = self.residents.get(id).map(|resident| &resident.task) else { return };
        let errand = match effect {
            Effect::StartChild { number } => task.birth(*number).map(|birth| Errand::start(birth, None)),
            Effect::CancelChild { number } => {
                let number = *number;
                let stopped = task.stopped_child(number);
                stopped.map(|(child, reason)| Errand::Cancel { parent: id, number, child, reason })
            }
            Effect::TellParent => {
                task.report().map(|(parent, report)| Errand::Tell { parent, report: Box::new(report) })
            }
            _ => None, // Deeds of the shard itself.
        };
        if let Some(errand) = errand {
            self.hold(id, Release::Errand(errand));
        }
    }

    /// The hard kill is measured: from the arrival of the report that crossed the line to the cancel on its way.
    fn note_kill(&self, lease: Lease, cause: Option<Cause>, arrived: Option<Timestamp>) {
        let (Some(Cause::Budget), Some(arrived)) = (cause, arrived) else { return };
        let micros = self.shared.now.read().since(arrived).0;
        let Lease { task, turn, attempt, secret: _ } = lease;
        tracing::info!(target: "bailiwick::kill", %task, turn, attempt, micros, "killed for its budget");
    }

    /// Holds something back until everything it may be based on is durable: the newest batch that has something of the task.
    pub(super) fn hold(&mut self, id: TaskId, release: Release) {
        let newest = self.residents.get(id).map_or(0, |resident| resident.batch);
        if newest == self.batch.number {
            return self.batch.releases.push(release);
        }
        match self.in_flight.iter_mut().find(|batch| batch.number == newest) {
            Some(batch) => batch.releases.push(release),
            None => self.release(release, None),
        }
    }
}

const fn slot_key(task: TaskId, turn: u32) -> TurnKey {
    TurnKey { task, turn }
}

fn accepted(submitted: Submitted, failed: Option<StoreError>) -> Result<Submitted, SubmitError> {
    failed.map_or(Ok(submitted), |error| Err(error.into()))
}
