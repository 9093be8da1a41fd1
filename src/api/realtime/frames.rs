//! The body of a stream of events: one future writes it from beginning to end, a frame at a time. What it waits for beside the next event
//! is set up once for a stream, not once for an event.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;

/// Where the future puts a frame.
pub(super) struct FrameSlot(Arc<Mutex<Option<Vec<u8>>>>);

/// The frames of a stream.
pub(super) struct Frames<F> {
    /// `None` when it has written everything.
    writing: Option<Pin<Box<F>>>,
    slot: Arc<Mutex<Option<Vec<u8>>>>,
}

impl FrameSlot {
    /// Gives a frame to the client; returns when it is taken. Of the last one it need not be waited for.
    pub(super) fn put(&self, frame: Vec<u8>) -> impl Future<Output = ()> {
        *lock(&self.0) = Some(frame);
        // Whoever takes the frame polls again.
        std::future::poll_fn(|_| match *lock(&self.0) {
            Some(_) => Poll::Pending,
            None => Poll::Ready(()),
        })
    }
}

impl<F: Future<Output = ()>> Frames<F> {
    /// What the future that `write` returns puts into its slot.
    pub(super) fn written_by(write: impl FnOnce(FrameSlot) -> F) -> Self {
        let slot = Arc::default();
        Self {
            writing: Some(Box::pin(write(FrameSlot(Arc::clone(&slot))))),
            slot,
        }
    }
}

impl<F: Future<Output = ()>> Stream for Frames<F> {
    type Item = io::Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(writing) = &mut self.writing
            && writing.as_mut().poll(context).is_ready()
        {
            self.writing = None;
        }
        match (lock(&self.slot).take(), &self.writing) {
            (Some(frame), _) => Poll::Ready(Some(Ok(frame))),
            (None, Some(_)) => Poll::Pending,
            (None, None) => Poll::Ready(None),
        }
    }
}

fn lock(slot: &Mutex<Option<Vec<u8>>>) -> MutexGuard<'_, Option<Vec<u8>>> {
    // Nothing panics while it holds the lock.
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn every_frame_comes_once_in_order_and_the_last_one_too() {
        let frames = Frames::written_by(|slot| async move {
            for n in 0..3 {
                slot.put(vec![n]).await;
                tokio::task::yield_now().await;
            }
            drop(slot.put(vec![9]));
        });
        let all: Vec<Vec<u8>> = frames.map(Result::unwrap).collect().await;
        assert_eq!(all, [[0], [1], [2], [9]]);
    }
}
