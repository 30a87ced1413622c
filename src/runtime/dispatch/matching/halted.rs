//! Halts within matching: agents that get nothing, and turns that are taken out for the label of their task. Pure.

use std::sync::Arc;

use super::{AgentName, DECIDES, HaltSet, Matching, Offer, Slot, Timestamp, TurnKey};

impl Matching {
    /// What is halted, as far as this knows.
    pub(in crate::runtime::dispatch) const fn halted(&self) -> &Arc<HaltSet> {
        &self.halted
    }

    /// Matches nothing from now on that the set stops. What it stops no longer is matched by `serve_all`.
    pub(in crate::runtime::dispatch) fn set_halted(&mut self, halted: Arc<HaltSet>) {
        self.halted = halted;
    }

    /// Takes out every turn of a task that a label halts.
    pub(in crate::runtime::dispatch) fn take_out_halted(&mut self) -> Vec<Offer> {
        let halted = Arc::clone(&self.halted);
        let stopped = self.turns.iter().filter(|(_, waiting)| halted.stops_marks(&waiting.marks));
        let keys: Vec<TurnKey> = stopped.map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| self.take_out(key)).collect()
    }

    fn take_out(&mut self, key: TurnKey) -> Option<Offer> {
        let waiting = self.turns.get(&key)?;
        let offer = Offer {
            key,
            agent: waiting.agent.clone(),
            namespace: waiting.namespace.clone(),
            priority: waiting.priority,
            decides: waiting.priority == DECIDES,
            not_before: waiting.not_before,
            marks: waiting.marks.clone(),
        };
        self.withdraw(key);
        Some(offer)
    }

    /// Matches whatever can be: something was lifted that kept turns and workers apart.
    pub(in crate::runtime::dispatch) fn serve_all(&mut self, now: Timestamp) -> Vec<Slot> {
        let agents: Vec<AgentName> = self.queues.keys().cloned().collect();
        self.serve(agents, now)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NOW, agent, offer, told, with_workers, worker};
    use super::*;
    use crate::types::{
        halt::{Halt, HaltScope, label_mark},
        time::Timestamp,
    };

    fn set(scopes: &[HaltScope]) -> Arc<HaltSet> {
        let mut set = HaltSet::default();
        for scope in scopes {
            set.insert(Arc::new(Halt {
                number: 1,
                scope: scope.clone(),
                by: "ann".to_owned(),
                reason: String::new(),
                at: Timestamp(0),
                cancel: false,
                ended: 0,
                swept: false,
                burn: None,
                lifted: None,
            }));
        }
        Arc::new(set)
    }

    #[test]
    fn a_halt_of_everything_keeps_turns_and_credit_until_it_is_lifted() {
        let mut matching = with_workers(&[(&["a"], 4), (&["b"], 4)]);
        matching.set_halted(set(&[HaltScope::All]));
        assert_eq!(matching.offer(offer(1, 1, "a"), NOW), []);
        assert_eq!(matching.credit(&worker("w1"), 4, None, NOW), []);
        assert_eq!(matching.credit(&worker("w2"), 4, None, NOW), []);
        assert_eq!(matching.offer(offer(2, 1, "b"), NOW), []);
        matching.set_halted(set(&[]));
        assert_eq!(told(&matching.serve_all(NOW)), [("w1", 1, 1), ("w2", 2, 1)]);
    }

    #[test]
    fn a_halted_agent_gets_nothing_and_others_do_not_wait_behind_it() {
        let mut matching = with_workers(&[(&["a", "b"], 4)]);
        matching.set_halted(set(&[HaltScope::Agent(agent("a"))]));
        matching.offer(offer(1, 1, "a"), NOW);
        matching.offer(offer(2, 1, "b"), NOW);
        assert_eq!(told(&matching.credit(&worker("w1"), 4, None, NOW)), [("w1", 2, 1)]);
        assert_eq!(matching.due(NOW), []);
        assert_eq!(
            matching.why(offer(1, 1, "a").key, NOW).map(|why| why.reason),
            Some(super::super::WaitReason::Halted)
        );
        matching.set_halted(set(&[]));
        assert_eq!(told(&matching.serve_all(NOW)), [("w1", 1, 1)]);
    }

    #[test]
    fn turns_of_a_halted_label_are_taken_out_those_that_back_off_too() {
        let mut matching = with_workers(&[(&["a"], 4)]);
        let marks: Box<[u64]> = Box::new([label_mark("team", "x")]);
        matching.offer(crate::runtime::dispatch::Offer { marks: marks.clone(), ..offer(1, 1, "a") }, NOW);
        let later = Offer { marks, not_before: Timestamp(9_000), ..offer(3, 1, "a") };
        matching.offer(later, NOW);
        matching.offer(offer(2, 1, "a"), NOW);
        matching.set_halted(set(&[HaltScope::Label { key: "team".to_owned(), value: "x".to_owned() }]));
        assert_eq!(matching.take_out_halted().len(), 2);
        assert_eq!(told(&matching.credit(&worker("w1"), 4, None, NOW)), [("w1", 2, 1)]);
        assert_eq!(matching.due(Timestamp(9_000)), []);
    }
}
