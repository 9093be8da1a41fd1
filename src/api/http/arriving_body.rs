//! The body of an upload while it arrives, within its limits: of a form, one small piece at a time; of an upload in parts, as it comes.
//!
//! The parser of forms reads ahead as long as anything is there, into a buffer without an end. So whatever arrives is given to it in pieces, and
//! after each of them nothing is there for a moment.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use hyper::body::Bytes;
use poem::Body;
use poem::http::StatusCode;
use tokio::time::{Instant, Sleep};

use crate::http::body::MAX_DISCARDED_BYTES;
use crate::http::policy::BodyLimit;
use crate::http::problem::Problem;

/// The largest piece, in bytes.
pub(crate) const PIECE: usize = 4 * 1024;
/// How long nothing may arrive: phones lose their network for a while.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    /// Nothing arrived for a while, or all of it took too long.
    #[error("too slow")]
    TooSlow,
    /// It is larger than may be.
    #[error("too large")]
    TooLarge,
    /// The connection broke.
    #[error("broken off")]
    BrokenOff,
    /// More than is allowed comes before a part.
    #[error("too much before a part")]
    LongHead,
}

impl From<Stop> for Problem {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::TooSlow => {
                let detail = "The body took too long to arrive.";
                Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail)
            }
            Stop::TooLarge => Self::too_large(),
            Stop::BrokenOff => malformed_body("The body is incomplete."),
            Stop::LongHead => malformed_body("More than 8 KiB come before a part, or are headers of one."),
        }
    }
}

/// 400: the body is not what it says that it is.
pub(crate) fn malformed_body(detail: &str) -> Problem {
    Problem::malformed("malformed_body", detail)
}

/// How many bytes the parser may be given before it has found the next part.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allowance(Arc<AtomicUsize>);

impl Allowance {
    /// So many from now on.
    pub(crate) fn set(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// As many as come.
    pub(crate) fn lift(&self) {
        self.set(usize::MAX);
    }

    fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    fn spend(&self, bytes: usize) {
        let left = self.0.load(Ordering::Relaxed);
        if left < usize::MAX {
            self.set(left.saturating_sub(bytes));
        }
    }
}

/// A body that arrives.
pub(crate) struct Pieces {
    body: Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>,
    /// What has arrived and was not given.
    rest: Bytes,
    /// The parser was given a piece, and is to work on it.
    is_pausing: bool,
    allowance: Allowance,
    received: u64,
    max: u64,
    idle_timeout: Duration,
    deadline: Instant,
    silence: Pin<Box<Sleep>>,
}

impl Pieces {
    pub(crate) fn new(body: Body, limit: BodyLimit) -> Self {
        let now = Instant::now();
        Self {
            body: Box::pin(body.into_bytes_stream()),
            rest: Bytes::new(),
            is_pausing: false,
            allowance: Allowance::default(),
            received: 0,
            max: limit.max_bytes as u64,
            idle_timeout: IDLE_TIMEOUT,
            deadline: now + limit.timeout,
            silence: Box::pin(tokio::time::sleep_until(now + IDLE_TIMEOUT)),
        }
    }

    /// Waits for so long when nothing arrives.
    #[cfg(test)]
    fn with_idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.silence = Box::pin(tokio::time::sleep(idle_timeout));
        self.idle_timeout = idle_timeout;
        self
    }

    /// What the parser may be given.
    pub(crate) fn allowance(&self) -> Allowance {
        self.allowance.clone()
    }

    /// What arrives next, as the network has cut it; `None` at the end. Nothing is lost when this is dropped.
    ///
    /// # Errors
    /// [`Stop`].
    pub(crate) async fn next_bytes(&mut self) -> Result<Option<Bytes>, Stop> {
        std::future::poll_fn(|cx| self.poll_in_time(cx)).await
    }

    /// Reads and drops the rest of a body that is too large: a client that is still sending would see a broken connection instead of the
    /// response.
    pub(crate) async fn discard(&mut self) {
        while self.received <= MAX_DISCARDED_BYTES
            && std::future::poll_fn(|cx| self.poll_body(cx))
                .await
                .is_ok_and(|more| more.is_some())
        {}
    }

    /// What arrives next, within its limits.
    fn poll_in_time(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Stop>> {
        let arrived = std::task::ready!(self.poll_body(cx));
        if self.received > self.max {
            return Poll::Ready(Err(Stop::TooLarge));
        }
        // Bytes that keep coming do not keep a slow body alive.
        if matches!(arrived, Ok(Some(_))) && Instant::now() >= self.deadline {
            return Poll::Ready(Err(Stop::TooSlow));
        }
        Poll::Ready(arrived)
    }

    /// What arrives next, whatever its limits; `None` at the end.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Stop>> {
        loop {
            match self.body.poll_next_unpin(cx) {
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Stop::BrokenOff)),
                // Nothing has come.
                Poll::Ready(Some(Ok(bytes))) if bytes.is_empty() => {}
                Poll::Ready(Some(Ok(bytes))) => {
                    self.received += bytes.len() as u64;
                    let patience = (Instant::now() + self.idle_timeout).min(self.deadline);
                    self.silence.as_mut().reset(patience);
                    return Poll::Ready(Ok(Some(bytes)));
                }
                Poll::Pending => return self.silence.as_mut().poll(cx).map(|()| Err(Stop::TooSlow)),
            }
        }
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, Stop>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.is_pausing) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.rest.is_empty() {
            match std::task::ready!(self.poll_in_time(cx)) {
                Err(stop) => return Poll::Ready(Some(Err(stop))),
                Ok(None) => return Poll::Ready(None),
                Ok(Some(bytes)) => self.rest = bytes,
            }
        }
        if self.allowance.is_spent() {
            return Poll::Ready(Some(Err(Stop::LongHead)));
        }
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        self.allowance.spend(length);
        self.is_pausing = true;
        Poll::Ready(Some(Ok(piece)))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    const LIMIT: BodyLimit = BodyLimit {
        is_read: true,
        max_bytes: 100_000,
        timeout: Duration::from_secs(60),
    };

    fn pieces(body: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static) -> Pieces {
        let pieces = Pieces::new(Body::from_bytes_stream(body), LIMIT);
        pieces.allowance().lift();
        pieces
    }

    fn of(bytes: usize) -> std::io::Result<Bytes> {
        Ok(Bytes::from(vec![b'x'; bytes]))
    }

    #[tokio::test]
    async fn whoever_reads_as_long_as_anything_is_there_gets_one_piece() {
        let mut pieces = pieces(stream::iter([of(10_000), of(10)]));
        let mut lengths = Vec::new();
        loop {
            let read = std::future::poll_fn(|cx| {
                let mut read = Vec::new();
                loop {
                    match pieces.poll_next_unpin(cx) {
                        Poll::Ready(Some(piece)) => read.push(piece.unwrap().len()),
                        Poll::Ready(None) => return Poll::Ready(None),
                        Poll::Pending => return Poll::Ready(Some(read)),
                    }
                }
            });
            match read.await {
                Some(read) => lengths.push(read),
                None => break,
            }
        }
        lengths.retain(|read| !read.is_empty());
        assert_eq!(lengths, [vec![PIECE], vec![PIECE], vec![10_000 - 2 * PIECE], vec![10]]);
    }

    #[tokio::test]
    async fn a_body_without_an_end_is_too_large_and_its_rest_is_dropped() {
        let mut pieces = pieces(stream::repeat_with(|| of(50_000)));
        let stop = loop {
            if let Err(stop) = pieces.next().await.unwrap() {
                break stop;
            }
        };
        assert_eq!(stop, Stop::TooLarge);
        pieces.discard().await;
        assert!(pieces.received > MAX_DISCARDED_BYTES && pieces.received < MAX_DISCARDED_BYTES + 100_000);
    }

    #[tokio::test]
    async fn what_comes_before_a_part_has_its_limit() {
        let mut pieces = pieces(stream::repeat_with(|| of(1000)));
        pieces.allowance().set(2500);
        for _ in 0..3 {
            assert_eq!(pieces.next().await.unwrap().unwrap().len(), 1000);
        }
        assert_eq!(pieces.next().await.unwrap(), Err(Stop::LongHead));
    }

    #[tokio::test]
    async fn silence_and_a_body_without_haste_have_their_limits() {
        let body = stream::iter([of(1)]).chain(stream::pending());
        let silence = Duration::from_millis(20);
        let mut silent = Pieces::new(Body::from_bytes_stream(body), LIMIT).with_idle_timeout(silence);
        silent.allowance().lift();
        assert!(silent.next().await.unwrap().is_ok());
        assert_eq!(silent.next().await.unwrap(), Err(Stop::TooSlow));
        // It never pauses for long, and never ends.
        let drops = stream::unfold((), |()| async {
            tokio::task::yield_now().await;
            Some((of(1), ()))
        });
        let limit = BodyLimit {
            max_bytes: usize::MAX,
            timeout: Duration::from_millis(50),
            ..LIMIT
        };
        let mut slow = Pieces::new(Body::from_bytes_stream(drops), limit);
        slow.allowance().lift();
        let stop = loop {
            if let Err(stop) = slow.next().await.unwrap() {
                break stop;
            }
        };
        assert_eq!(stop, Stop::TooSlow);
    }
}
