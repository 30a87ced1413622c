//! Virtual time: it stands still while anybody has something to do, and then goes to where somebody waits for it. One for
//! each thread, as each run has its thread to itself.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

#[derive(Default)]
struct Time {
    now: Duration,
    next: u64,
    /// Who waits until when, in order.
    waiting: BTreeMap<(Duration, u64), Waker>,
}

thread_local! {
    static TIME: RefCell<Time> = RefCell::default();
}

/// Begins anew, at zero.
pub(crate) fn reset() {
    // Wakers are dropped outside the borrow: what they wake may look at the time.
    drop(TIME.take());
}

/// Goes on to when the next ones wait for. To be called when nobody has anything to do.
pub(crate) fn advance() {
    let due = TIME.with_borrow_mut(|time| {
        let Some((&(at, _), _)) = time.waiting.first_key_value() else { return BTreeMap::new() };
        time.now = time.now.max(at);
        let later = time.waiting.split_off(&(at, u64::MAX));
        std::mem::replace(&mut time.waiting, later)
    });
    assert!(!due.is_empty(), "everybody waits for somebody else");
    due.into_values().for_each(Waker::wake);
}

/// Since the beginning.
pub(crate) fn now() -> Duration {
    TIME.with_borrow(|time| time.now)
}

/// A wait.
pub(crate) struct Sleep {
    until: Duration,
    id: Option<u64>,
}

pub(crate) const fn sleep_until(until: Duration) -> Sleep {
    Sleep { until, id: None }
}

pub(crate) fn sleep(span: Duration) -> Sleep {
    sleep_until(now() + span)
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        TIME.with_borrow_mut(|time| {
            if time.now >= self.until {
                return Poll::Ready(());
            }
            let id = *self.id.get_or_insert_with(|| {
                time.next += 1;
                time.next
            });
            time.waiting.insert((self.until, id), context.waker().clone());
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        // The thread may be at its end, and the borrow must be over before the waker goes.
        let waker = TIME.try_with(|time| time.try_borrow_mut().ok()?.waiting.remove(&(self.until, id)));
        drop(waker);
    }
}

/// What a future comes to, unless it takes too long.
pub(crate) async fn timeout<T>(span: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        said = future => Some(said),
        () = sleep(span) => None,
    }
}
