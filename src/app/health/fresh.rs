//! A value that is asked for once and then counts for a while, however many ask.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// The last value, and when it was asked for.
#[derive(Debug)]
pub(super) struct Fresh<T> {
    counts_for: Duration,
    last: Mutex<Option<(Instant, T)>>,
}

impl<T: Clone> Fresh<T> {
    /// No value yet; each counts from the moment it was there.
    pub(super) fn new(counts_for: Duration) -> Self {
        Self {
            counts_for,
            last: Mutex::new(None),
        }
    }

    /// The last value if it still counts, else what `ask` says. Callers that come meanwhile wait for that one answer; if the
    /// caller who asked goes away, the next one asks.
    pub(super) async fn get(&self, ask: impl AsyncFnOnce() -> T) -> T {
        let mut last = self.last.lock().await;
        if let Some((at, value)) = &*last
            && at.elapsed() < self.counts_for
        {
            return value.clone();
        }
        let value = ask().await;
        *last = Some((Instant::now(), value.clone()));
        value
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn however_many_ask_at_once_one_question_is_asked() {
        let (fresh, asked) = (Fresh::new(Duration::from_secs(60)), AtomicUsize::new(0));
        let ask = async || {
            tokio::task::yield_now().await;
            asked.fetch_add(1, Ordering::Relaxed)
        };
        let answers = join_all((0..100).map(|_| fresh.get(ask))).await;
        assert!(answers.iter().all(|answer| *answer == 0));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_question_whose_asker_went_away_is_asked_again() {
        let fresh = Fresh::new(Duration::from_secs(60));
        let never = fresh.get(async || std::future::pending::<u8>().await);
        assert!(tokio::time::timeout(Duration::from_millis(5), never).await.is_err());
        assert_eq!(fresh.get(async || 7).await, 7);
    }

    #[tokio::test]
    async fn an_old_answer_does_not_count() {
        let fresh = Fresh::new(Duration::ZERO);
        assert_eq!(fresh.get(async || 1).await, 1);
        assert_eq!(fresh.get(async || 2).await, 2);
    }
}
