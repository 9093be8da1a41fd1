//! A timer whose moment is moved on again and again, and nearly never comes.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::time::{Instant, Sleep, sleep_until};

/// Waits for a moment. Moving that on costs nothing: the timer goes off at the old one, and is set again only then.
pub(super) struct LazyTimer(Pin<Box<Sleep>>);

impl LazyTimer {
    /// A timer that will mostly be asked for this moment, or later ones.
    pub(super) fn new(at: Instant) -> Self {
        Self(Box::pin(sleep_until(at)))
    }

    /// Waits until `at`. Cancel-safe.
    pub(super) async fn at(&mut self, at: Instant) {
        poll_fn(|context| {
            let timer = &mut self.0;
            if timer.deadline() > at {
                timer.as_mut().reset(at);
            }
            while timer.as_mut().poll(context).is_ready() {
                if timer.deadline() >= at {
                    return Poll::Ready(());
                }
                timer.as_mut().reset(at);
            }
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_goes_off_at_the_moment_that_was_asked_for_last() {
        let began = Instant::now();
        let mut timer = LazyTimer::new(began + Duration::from_secs(3600));
        for milliseconds in [10, 30, 20] {
            let at = began + Duration::from_millis(milliseconds);
            let asked = tokio::time::timeout(Duration::ZERO, timer.at(at)).await;
            assert!(asked.is_err() || Instant::now() >= at);
        }
        let later = began + Duration::from_millis(40);
        timer.at(later).await;
        assert!(Instant::now() >= later, "not when an earlier one has passed");
    }
}
