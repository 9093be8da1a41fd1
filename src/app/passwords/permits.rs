//! Permits to hash: each stands for one core and owns the memory of one hash.
//!
//! A permit's memory is allocated when it is first needed and reused by every later holder; it is never given back to the
//! allocator, so hashing costs no page faults and memory does not grow beyond `permits × size`. What a hash leaves in it is
//! not zeroed: it stays until the next hash overwrites it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::Block;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;

/// How long a caller waits for a permit.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// How many callers may wait or hash, for each permit.
const CALLERS_PER_PERMIT: usize = 32;

/// A pool of permits. Cheap to clone.
#[derive(Clone)]
pub(super) struct Permits(Arc<Pool>);

struct Pool {
    callers: Semaphore,
    permits: Arc<Semaphore>,
    /// The memory of free permits, as far as it was needed before.
    idle: Mutex<Vec<Box<[Block]>>>,
    /// The memory of one permit, in blocks of 1 KiB.
    blocks: usize,
}

/// Why the work was not done.
#[derive(Debug, Error)]
pub(super) enum PermitError {
    /// Too many callers wait, or this one waited too long.
    #[error("no permit is free")]
    Busy,
    /// The work panicked, or the runtime is shutting down.
    #[error(transparent)]
    Lost(#[from] JoinError),
}

impl Permits {
    /// `count` permits with `blocks` of 1 KiB each.
    pub(super) fn new(count: usize, blocks: usize) -> Self {
        Self(Arc::new(Pool {
            callers: Semaphore::new(count * CALLERS_PER_PERMIT),
            permits: Arc::new(Semaphore::new(count)),
            idle: Mutex::new(Vec::with_capacity(count)),
            blocks,
        }))
    }

    /// Runs `work` on a blocking thread with the memory of a permit.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut [Block]) -> T + Send + 'static,
    ) -> Result<T, PermitError> {
        let _caller = self.0.callers.try_acquire().map_err(|_| PermitError::Busy)?;
        let permit = tokio::time::timeout(PERMIT_TIMEOUT, Arc::clone(&self.0.permits).acquire_owned())
            .await
            .map_err(|_| PermitError::Busy)?
            .map_err(|_| PermitError::Busy)?;
        let pool = Arc::clone(&self.0);
        // The permit goes with the work: a caller that hangs up does not free a core that is still busy.
        let done = tokio::task::spawn_blocking(move || work(&mut Permit::new(pool, permit).memory));
        Ok(done.await?)
    }
}

/// Memory and a core; given back when it is dropped.
struct Permit {
    memory: Box<[Block]>,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Permit {
    fn new(pool: Arc<Pool>, permit: OwnedSemaphorePermit) -> Self {
        let idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self {
            memory: idle.unwrap_or_else(|| vec![Block::new(); pool.blocks].into()),
            pool,
            _permit: permit,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // Before the semaphore's permit is released, which is a field: the next holder finds this memory.
        let memory = std::mem::take(&mut self.memory);
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn callers_beyond_the_queue_are_refused() {
        let permits = Permits::new(1, 1);
        let queue = permits.0.callers.acquire_many(32).await.unwrap();
        assert!(matches!(permits.run(|_| ()).await, Err(PermitError::Busy)));
        drop(queue);
        assert!(permits.run(|_| ()).await.is_ok());
    }

    #[tokio::test]
    async fn there_is_never_more_memory_than_permits() {
        let permits = Permits::new(2, 1);
        let work = || permits.run(|memory| memory.as_ptr() as usize);
        let used = futures_util::future::join_all((0..20).map(|_| work())).await;
        let distinct: std::collections::BTreeSet<_> = used.into_iter().map(Result::unwrap).collect();
        assert!(distinct.len() <= 2, "{distinct:?}");
        assert!(permits.0.idle.lock().unwrap().len() <= 2);
    }

    #[tokio::test]
    async fn a_caller_that_hangs_up_frees_nothing_that_is_still_used() {
        let permits = Permits::new(1, 1);
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let (started, running) = tokio::sync::oneshot::channel();
        let caller = permits.run(move |_| {
            let _ = started.send(());
            let _ = wait.recv();
        });
        tokio::select! {
            _ = caller => panic!("it cannot be done"),
            started = running => started.unwrap(),
        }
        assert_eq!(permits.0.permits.available_permits(), 0);
        release.send(()).unwrap();
        assert!(permits.run(|_| ()).await.is_ok());
    }

    #[tokio::test]
    async fn work_that_panics_gives_its_permit_back() {
        let permits = Permits::new(1, 1);
        let lost = permits.run(|_| panic!("as it does in this test")).await;
        assert!(matches!(lost, Err(PermitError::Lost(_))));
        assert!(permits.run(|_| ()).await.is_ok());
        assert_eq!(permits.0.idle.lock().unwrap().len(), 1);
    }
}
