//! What goes wrong in a run: each seed picks which faults there are, and how often. Rates are times in a thousand.

use crate::chance::Chance;

#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    // Messages of the network.
    pub(crate) lost: u32,
    pub(crate) twice: u32,
    pub(crate) slow: u32,
    /// A worker's stream is cut at a message; half of these are noticed by the server.
    pub(crate) cut: u32,
    // Commits.
    pub(crate) refused: u32,
    pub(crate) torn: u32,
    pub(crate) unsynced: u32,
    pub(crate) unanswered: u32,
    pub(crate) slow_disk: u32,
    /// Looks into the store.
    pub(crate) unreadable: u32,
    // Over the whole run, so many times each.
    pub(crate) stops: u64,
    pub(crate) crashes: u64,
    pub(crate) partitions: u64,
    pub(crate) jumps: u64,
    // Workers, at each turn.
    pub(crate) hang: u32,
    pub(crate) lie: u32,
    pub(crate) repeat: u32,
    pub(crate) overspend: u32,
    pub(crate) garbage: u32,
    pub(crate) stubborn: u32,
    /// At each turn that ends, its worker's process dies; some come back with their old leases.
    pub(crate) die: u32,
    // Clients and people.
    pub(crate) cancel: u32,
    pub(crate) absent: u32,
    // Operators, each time they look.
    pub(crate) halt: u32,
    /// Cancels by filter.
    pub(crate) sweep: u32,
    pub(crate) redrive: u32,
}

impl Faults {
    pub(crate) fn of(chance: &mut Chance) -> Self {
        let mut up_to = |most: u64| {
            let rate = u32::try_from(chance.between(1, most)).unwrap_or(0);
            if chance.happens(500) { rate } else { 0 }
        };
        let faults = Self {
            lost: up_to(100),
            twice: up_to(100),
            slow: up_to(100),
            cut: up_to(40),
            refused: up_to(100),
            torn: up_to(60),
            unsynced: up_to(60),
            unanswered: up_to(60),
            slow_disk: up_to(60),
            unreadable: up_to(60),
            stops: up_to(2).into(),
            crashes: up_to(6).into(),
            partitions: up_to(5).into(),
            jumps: up_to(4).into(),
            hang: up_to(60),
            lie: up_to(150),
            repeat: up_to(200),
            overspend: up_to(80),
            garbage: up_to(150),
            stubborn: up_to(500),
            die: up_to(50),
            cancel: up_to(200),
            absent: up_to(700),
            halt: up_to(500),
            sweep: up_to(60),
            redrive: up_to(1_000),
        };
        // Of what a disk does a little goes far: many runs have a sound one.
        if chance.happens(250) { faults.with_sound_disk() } else { faults }
    }

    fn with_sound_disk(self) -> Self {
        Self { refused: 0, torn: 0, unsynced: 0, unanswered: 0, unreadable: 0, ..self }
    }
}
