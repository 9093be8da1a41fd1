//! Which uploads bytes are arriving for at this server. A connection that died without a word has its place until it is given up, after
//! fifteen seconds; a client that comes back sooner takes it over, or it would be stopped by its own dead connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cura_domain::FileId;
use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// After how long without a byte a request may be taken over. One that is alive goes on, and whoever comes later gets 409.
const SILENCE: Duration = Duration::from_secs(1);
/// How long to wait for one that was told to end: it may be writing.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// The uploads of this server that bytes are arriving for. Cheap to clone; clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct ArrivingParts(Arc<Mutex<HashMap<FileId, Vec<Arc<Part>>>>>);

#[derive(Debug)]
struct Part {
    last_arrival: Mutex<Instant>,
    taken_over: CancellationToken,
    ended: CancellationToken,
}

/// One request that brings bytes. Dropping it says that it has ended.
#[derive(Debug)]
pub(crate) struct ArrivingPart {
    all: ArrivingParts,
    upload: FileId,
    part: Arc<Part>,
}

impl ArrivingParts {
    /// Ends the requests that bring nothing for this upload, and gives back their places, once they have written what they had. One that
    /// has brought something a moment ago is waited for, until it brings more or is silent as well: a client that comes back at once has
    /// its own place, too. Returns whether any has ended.
    pub(crate) async fn take_over(&self, upload: FileId) -> bool {
        let parts: Vec<Arc<Part>> = self.lock().get(&upload).cloned().unwrap_or_default();
        let ending = parts.iter().map(|part| part.end_if_silent());
        join_all(ending).await.contains(&true)
    }

    /// Another request brings bytes.
    pub(crate) fn enter(&self, upload: FileId) -> ArrivingPart {
        let part = Arc::new(Part {
            last_arrival: Mutex::new(Instant::now()),
            taken_over: CancellationToken::new(),
            ended: CancellationToken::new(),
        });
        self.lock().entry(upload).or_default().push(Arc::clone(&part));
        ArrivingPart {
            all: self.clone(),
            upload,
            part,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FileId, Vec<Arc<Part>>>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// Ends it once nothing has come for a while; `false` if something comes before that.
    async fn end_if_silent(&self) -> bool {
        let last = self.last_arrival();
        tokio::select! {
            () = tokio::time::sleep_until(last + SILENCE) => {}
            () = self.ended.cancelled() => return true,
        }
        if self.last_arrival() != last {
            return false;
        }
        self.taken_over.cancel();
        // If it does not end: no more than a place is missing.
        let _ = tokio::time::timeout(END_TIMEOUT, self.ended.cancelled()).await;
        true
    }

    fn last_arrival(&self) -> Instant {
        *self.last_arrival.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ArrivingPart {
    /// Bytes have come.
    pub(crate) fn note_arrival(&self) {
        let mut last = self.part.last_arrival.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Instant::now();
    }

    /// Waits until another request takes over.
    pub(crate) async fn is_taken_over(&self) {
        self.part.taken_over.cancelled().await;
    }
}

impl Drop for ArrivingPart {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(parts) = all.get_mut(&self.upload) {
            parts.retain(|part| !Arc::ptr_eq(part, &self.part));
            if parts.is_empty() {
                all.remove(&self.upload);
            }
        }
        drop(all);
        self.part.ended.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_request_that_brings_nothing_is_taken_over() {
        let all = ArrivingParts::default();
        let (upload, other) = (FileId(1), FileId(2));
        let (dead, alive, elsewhere) = (all.enter(upload), all.enter(upload), all.enter(other));
        tokio::time::advance(SILENCE).await;
        alive.note_arrival();
        let taking = all.take_over(upload);
        let ending = async {
            dead.is_taken_over().await;
            drop(dead);
        };
        let going_on = async {
            tokio::time::sleep(SILENCE / 2).await;
            alive.note_arrival();
        };
        let (is_taken, (), ()) = tokio::join!(taking, ending, going_on);
        assert!(is_taken);
        assert!(!alive.part.taken_over.is_cancelled() && !elsewhere.part.taken_over.is_cancelled());
        // The one that has just brought something dies at this moment.
        let begun = Instant::now();
        let (is_taken, ()) = tokio::join!(all.take_over(upload), async {
            alive.is_taken_over().await;
            drop(alive);
        });
        assert!(is_taken && begun.elapsed() <= SILENCE);
        drop(elsewhere);
        assert!(all.lock().is_empty());
        assert!(!all.take_over(upload).await);
    }
}
