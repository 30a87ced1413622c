//! The room for what watchers hold and do not read: so many bytes of the journal over all of them, whatever they follow and
//! however many they are. A little each may always hold, so that those who read nothing hold up nobody who follows ordinary
//! tasks. Never here: waiting for a client, who may never come.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Bytes that a watcher may hold beside the shared room.
const FREE: usize = 64 << 10;
/// A permit stands for so many bytes.
const UNIT: usize = 1 << 10;
/// Pages that are read at once. What is read and does not fit is let go again, but until then it is there.
const READERS: usize = 8;

/// See the file's header. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::runtime) struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    left: Arc<Semaphore>,
    units: usize,
    readers: Semaphore,
}

impl Room {
    /// Room for so many bytes.
    pub(in crate::runtime) fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        let (left, readers) = (Arc::new(Semaphore::new(units)), Semaphore::new(READERS));
        Self(Arc::new(Inner { left, units, readers }))
    }

    /// Waits until a page may be read. It must be read at once: others wait. `None` never comes: nobody closes it.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.0.readers.acquire().await.ok()
    }
}

/// What one watcher holds of the room, nothing at first; given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Held {
    permits: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// Waits until so many bytes are covered; who came first is first. Whoever waits must have a limit of their own: those who
    /// hold the room may never read.
    pub(super) async fn wait(room: &Room, bytes: usize) -> Self {
        let Inner { left, units, readers: _ } = &*room.0;
        let wanted = u32::try_from(bytes.div_ceil(UNIT).min(*units)).unwrap_or(u32::MAX);
        // Nobody closes it.
        Self { permits: Arc::clone(left).acquire_many_owned(wanted).await.ok() }
    }

    /// Grows until it covers so many bytes; `false`: there is no room for that now. What is larger than all the room there is
    /// takes all of it.
    pub(super) fn cover(&mut self, room: &Room, bytes: usize) -> bool {
        if bytes <= FREE {
            return true;
        }
        let Inner { left, units, readers: _ } = &*room.0;
        let has = self.permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(UNIT).min(*units).saturating_sub(has);
        let Ok(more) = u32::try_from(more) else { return false };
        match Arc::clone(left).try_acquire_many_owned(more) {
            Ok(permits) => {
                match &mut self.permits {
                    Some(held) => held.merge(permits),
                    None => self.permits = Some(permits),
                }
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn what_all_hold_is_bounded_and_a_little_is_always_free() {
        let room = Room::new(2 * MIB);
        let (mut one, mut other, mut third) = (Held::default(), Held::default(), Held::default());
        assert!(one.cover(&room, MIB / 2) && one.cover(&room, MIB), "it grows");
        assert!(other.cover(&room, MIB) && !third.cover(&room, MIB), "the third has to wait");
        assert!(third.cover(&room, FREE), "but for a little");
        assert!(!other.cover(&room, MIB + 1) && other.cover(&room, MIB), "what it has it keeps");
        drop(one);
        assert!(third.cover(&room, MIB), "what is let go is there for others");
    }

    #[tokio::test]
    async fn who_waits_for_room_is_not_passed_by_those_who_come_later() {
        let room = Room::new(MIB);
        let (mut holder, mut late) = (Held::default(), Held::default());
        assert!(holder.cover(&room, MIB / 2));
        let waits = Held::wait(&room, MIB);
        tokio::pin!(waits);
        let pending = poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx).is_pending())).await;
        assert!(pending, "half of it is held");
        assert!(!late.cover(&room, FREE + 1), "the other half is kept for who waits");
        drop(holder);
        let mut first = waits.await;
        assert!(first.cover(&room, MIB) && !late.cover(&room, FREE + 1));
    }

    #[test]
    fn what_is_larger_than_the_room_takes_all_of_it() {
        let room = Room::new(MIB);
        let (mut large, mut small) = (Held::default(), Held::default());
        assert!(large.cover(&room, 10 * MIB) && !small.cover(&room, FREE + 1));
        drop(large);
        assert!(small.cover(&room, FREE + 1));
    }
}
