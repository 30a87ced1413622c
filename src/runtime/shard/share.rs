//! What is new gets its share beside what runs. A task that is accepted is work to come: under overload a server that accepts
//! as fast as it is offered does little else, and what it has accepted waits. So while there is more to do than can be done, as
//! much is accepted as is done: one for one, and a little more so that nothing ever stands still. Pure.

/// New requests that may be taken at once after a while without any.
const MOST: usize = 256;
/// New requests that may be taken in any case, when it is time for them.
const LEAST: usize = 8;

/// Rounds without anything that runs after which nothing does.
const IDLE: u32 = 8;

/// What may be taken of what is new.
#[derive(Debug)]
pub(super) struct Share {
    tokens: usize,
    /// Rounds since there was anything that ran.
    idle: u32,
}

impl Default for Share {
    fn default() -> Self {
        Self { tokens: MOST, idle: IDLE }
    }
}

impl Share {
    /// So many requests of what runs are served now.
    pub(super) fn ran(&mut self, count: usize) {
        self.idle = if count > 0 { 0 } else { self.idle.saturating_add(1) };
        self.tokens = (self.tokens + count).min(MOST);
    }

    /// How many new ones may be served now, with more to do than can be done or not. Where nothing runs, nothing is kept from
    /// running.
    pub(super) fn room(&self, pressed: bool) -> usize {
        if pressed && self.idle < IDLE { self.tokens } else { usize::MAX }
    }

    /// So many new ones were taken.
    pub(super) fn took(&mut self, count: usize) {
        self.tokens = self.tokens.saturating_sub(count);
    }

    /// It has been a while.
    pub(super) fn passed(&mut self) {
        self.tokens = self.tokens.max(LEAST);
        self.idle = IDLE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_pressure_as_much_is_taken_as_is_done_and_never_nothing_for_long() {
        let mut share = Share::default();
        share.ran(3);
        assert_eq!(share.room(false), usize::MAX, "there is room for all");
        assert_eq!(share.room(true), MOST);
        share.took(MOST);
        assert_eq!(share.room(true), 0);
        share.ran(5);
        assert_eq!(share.room(true), 5, "one for one");
        share.took(5);
        share.passed();
        assert_eq!(share.room(true), usize::MAX, "nothing ran for a while");
        share.ran(1);
        assert_eq!(share.room(true), LEAST + 1);
        (0..IDLE).for_each(|_| share.ran(0));
        assert_eq!(share.room(true), usize::MAX, "nothing runs that it could keep waiting");
    }
}
