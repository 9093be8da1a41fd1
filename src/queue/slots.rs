//! Slots: how many jobs of a queue this process runs at a time.
//!
//! A slot is a permit inside the claimed job. It stays with the job through its execution and until its outcome is written,
//! and is given back when it is dropped, wherever that happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The slots of one queue.
pub(crate) struct QueueSlots {
    permits: Arc<Semaphore>,
    total: u32,
    freed: Arc<Freed>,
}

/// Wakes the producer when a slot is given back that it has missed.
#[derive(Debug)]
struct Freed {
    /// Whether the last reservation found no free slot, so that jobs may wait for one.
    missed: AtomicBool,
    wake: Arc<Notify>,
}

impl QueueSlots {
    /// `total` free slots; `wake` is notified when one is given back after a reservation that found none. While there are free
    /// slots, nothing waits for one: claiming after each job would only find out that there is none to claim.
    pub(crate) fn new(total: usize, wake: Arc<Notify>) -> Self {
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        Self {
            permits: Arc::new(Semaphore::new(usize::try_from(total).unwrap_or(Semaphore::MAX_PERMITS))),
            total,
            freed: Arc::new(Freed {
                missed: AtomicBool::new(false),
                wake,
            }),
        }
    }

    /// Reserves the slots that are free now, at most `most`.
    pub(crate) fn reserve(&self, most: u32) -> ReservedSlots {
        let mut free = self.free();
        if free == 0 && most > 0 {
            self.freed.missed.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            // One may have been given back before that could be seen.
            free = self.free();
        }
        let permits = Arc::clone(&self.permits).try_acquire_many_owned(free.min(most));
        ReservedSlots {
            // Fails only if another claim reserved in between; the next one finds what is free then.
            permits: permits.ok(),
            freed: Arc::clone(&self.freed),
        }
    }

    fn free(&self) -> u32 {
        u32::try_from(self.permits.available_permits()).unwrap_or(u32::MAX)
    }

    /// Waits until every slot has been given back: every outcome is written.
    pub(crate) async fn all_free(&self) {
        // Fails only when the semaphore is closed, which it never is.
        let _ = self.permits.acquire_many(self.total).await;
    }
}

/// Slots reserved for a claim. Those that no job needs are given back without waking the producer, which reserved them.
pub(crate) struct ReservedSlots {
    permits: Option<OwnedSemaphorePermit>,
    freed: Arc<Freed>,
}

impl ReservedSlots {
    /// How many are left.
    pub(crate) fn len(&self) -> usize {
        self.permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// One of them, for a job that was claimed.
    pub(crate) fn take(&mut self) -> Option<Slot> {
        let permit = self.permits.as_mut()?.split(1)?;
        Some(Slot {
            permit: Some(permit),
            freed: Arc::clone(&self.freed),
        })
    }
}

/// The slot of one claimed job.
#[derive(Debug)]
pub(crate) struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    freed: Arc<Freed>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        // The permit first, so that the producer finds it free.
        self.permit = None;
        fence(Ordering::SeqCst);
        if self.freed.missed.swap(false, Ordering::SeqCst) {
            self.freed.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_slot_is_given_back_when_it_is_dropped() {
        let slots = QueueSlots::new(3, Arc::default());
        let mut reserved = slots.reserve(2);
        let slot = reserved.take();
        assert_eq!((reserved.len(), slots.reserve(9).len()), (1, 1));
        drop(reserved);
        assert_eq!(slots.reserve(9).len(), 2, "what was not taken is free again");
        drop(slot);
        assert_eq!(slots.reserve(9).len(), 3);
    }

    #[test]
    fn only_the_slot_of_a_job_wakes_the_producer() {
        let freed = Arc::new(Notify::new());
        let woken = || freed.notified().now_or_never().is_some();
        let slots = QueueSlots::new(1, Arc::clone(&freed));
        drop(slots.reserve(1));
        assert!(!woken(), "the producer would claim without end");
        drop(slots.reserve(1).take());
        assert!(!woken(), "it found a free slot and claimed all that was ready");
        let slot = slots.reserve(1).take();
        assert_eq!(slots.reserve(1).len(), 0);
        drop(slot);
        assert!(woken(), "a job may wait for this slot");
        drop(slots.reserve(1).take());
        assert!(!woken());
    }
}
