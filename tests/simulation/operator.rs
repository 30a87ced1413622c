//! An operator: halts and resumes, cancels what fits a filter, redrives dead letters and discards them, twice if in doubt.

use std::sync::Arc;

use bailiwick::{
    runtime::{CommandError, HaltError, HaltOrder, Lift, TaskFilter, dead_letters::DeadLetterStory},
    types::{halt::HaltScope, ids::TaskId, outcome::TaskState},
};

use crate::{
    chance::Chance,
    contracts,
    orders::{self, Again},
    sim::{Answering, Node, Sim},
    time::sleep,
};

/// How often the same is sent until there is an answer.
const TRIES: u32 = 20;

struct Operator {
    sim: Arc<Sim>,
    node: Node,
    name: &'static str,
    chance: Chance,
    orders: u32,
}

pub(crate) async fn live(sim: Arc<Sim>, node: Node, name: &'static str, chance: Chance) {
    let mut operator = Operator { sim, node, name, chance, orders: 0 };
    loop {
        sleep(operator.chance.millis(1_000, 9_000)).await;
        if operator.sim.is_calm() {
            return;
        }
        operator.act().await;
    }
}

impl Operator {
    async fn act(&mut self) {
        let faults = self.sim.faults.clone();
        if self.chance.happens(faults.halt) {
            self.halt().await;
        }
        if self.chance.happens(faults.sweep) {
            self.cancel_many().await;
        }
        if self.chance.happens(faults.redrive) {
            self.look_at_letters().await;
        }
        if self.chance.happens(50) {
            drop(self.sim.call(self.node, "halts", |sim, up| Box::pin(orders::halts(sim, up))).await);
        }
    }

    fn scope(&mut self) -> HaltScope {
        match self.chance.below(10) {
            0..2 => HaltScope::All,
            2..6 => HaltScope::Agent(self.chance.pick(&contracts::AGENTS).parse().expect("a name")),
            _ => {
                let (key, value) = *self.chance.pick(&contracts::LABELS);
                HaltScope::Label { key: key.to_owned(), value: value.to_owned() }
            }
        }
    }

    /// What no other order says.
    fn reason(&mut self, what: &str) -> String {
        self.orders += 1;
        format!("{what} {} of {}", self.orders, self.name)
    }

    async fn halt(&mut self) {
        let (scope, cancel, reason) = (self.scope(), self.chance.happens(300), self.reason("halt"));
        let order = HaltOrder { scope, by: self.name.to_owned(), reason, cancel, burn: None };
        let said = order.clone();
        let ask = move |sim, up| -> Answering<_> { Box::pin(orders::halt(sim, up, said.clone())) };
        let told = self.sim.call(self.node, "halt", ask).await;
        let number = told.and_then(Result::ok).map(|halt| halt.number);
        sleep(self.chance.millis(200, 12_000)).await;
        // Some are left for the calm.
        if self.chance.happens(850) {
            let what = match (self.chance.below(4), number) {
                (0, _) => Lift::Everything,
                (1..3, Some(number)) => Lift::Number(number),
                _ => Lift::Scope(order.scope),
            };
            resume(&self.sim, self.node, what, self.name).await;
        }
    }

    async fn cancel_many(&mut self) {
        let states = TaskState::ALL.into_iter().filter(|state| !state.is_end()).collect();
        let (key, value) = *self.chance.pick(&contracts::LABELS);
        let filter = TaskFilter { states, ..TaskFilter::default() };
        let filter = match self.chance.below(5) {
            0 => filter,
            1..3 => TaskFilter { labels: vec![(key.to_owned(), value.to_owned())], ..filter },
            _ => {
                let agent = self.chance.pick(&contracts::AGENTS).parse().expect("a name");
                TaskFilter { agent: Some(agent), ..filter }
            }
        };
        let (reason, dry) = (self.reason("sweep"), self.chance.happens(200));
        let ask = move |sim, up| -> Answering<_> {
            Box::pin(orders::cancel_page(sim, up, filter.clone(), reason.clone(), dry))
        };
        drop(self.sim.call(self.node, "cancel by filter", ask).await);
    }

    async fn look_at_letters(&mut self) {
        let ask = |sim, up| -> Answering<_> { Box::pin(orders::letters(sim, up)) };
        let Some(Ok(letters)) = self.sim.call(self.node, "dead letters", ask).await else { return };
        for letter in letters {
            match self.chance.below(10) {
                0..6 => self.redrive(&letter).await,
                6..8 => self.discard(letter.task.summary.task).await,
                _ => {}
            }
        }
    }

    /// Until there is an answer, and sometimes once more.
    async fn redrive(&mut self, letter: &DeadLetterStory) {
        let mut contract = (*letter.task.contract).clone();
        contract.idempotency_key = None;
        let asked = u128::from(self.chance.below(3));
        contract.limits.max_attempts += u32::try_from(asked).unwrap_or(0);
        contract.budget.max_tokens += u64::try_from(asked).unwrap_or(0) * 10_000;
        let letter = letter.task.summary.task;
        let again = Again { letter, contract, asked, by: self.name.to_owned() };
        let mut successor = None;
        for _ in 0..TRIES {
            let said = again.clone();
            let ask = move |sim, up| -> Answering<_> { Box::pin(orders::redrive(sim, up, said.clone())) };
            match self.sim.call(self.node, "redrive", ask).await {
                Some(Ok(done)) => {
                    let first = *successor.get_or_insert(done.task);
                    assert_eq!(done.task, first, "the same redrive gives the same successor");
                    self.sim.books().redriven.insert(letter, done.task);
                    if !self.chance.happens(300) {
                        return;
                    }
                }
                Some(Err(CommandError::Rejected(_) | CommandError::Halted(_))) => {
                    assert_eq!(successor, None, "a redrive that was acknowledged is found again");
                    return;
                }
                _ => sleep(self.chance.millis(100, 1_500)).await,
            }
            if self.sim.is_over() {
                return;
            }
        }
    }

    async fn discard(&mut self, letter: TaskId) {
        let by = self.name.to_owned();
        let ask = move |sim, up| -> Answering<_> { Box::pin(orders::discard(sim, up, letter, by.clone())) };
        if let Some(Ok(_)) = self.sim.call(self.node, "discard", ask).await {
            self.sim.books().discarded.insert(letter);
        }
    }
}

/// Lifts halts until it is known that they are lifted.
pub(crate) async fn resume(sim: &Arc<Sim>, node: Node, what: Lift, by: &'static str) {
    for _ in 0..TRIES {
        let said = what.clone();
        let ask =
            move |sim, up| -> Answering<_> { Box::pin(orders::resume(sim, up, said.clone(), by.to_owned())) };
        match sim.call(node, "resume", ask).await {
            Some(Ok(_) | Err(HaltError::NothingToLift)) => return,
            _ => sleep(std::time::Duration::from_millis(500)).await,
        }
    }
}
