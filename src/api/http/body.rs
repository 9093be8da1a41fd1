//! Reading a request body within its limits. What was not sent takes no memory: the buffer grows by what has come, whatever
//! `Content-Length` promises, and is counted before it grows.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use hyper::body::Bytes;
use poem::http::StatusCode;
use poem::{Body, Request};
use tokio::time::Instant;

use crate::http::operation::Operation;
use crate::http::problem::Problem;
use crate::http::under_way::BodyBudget;

/// How much of a body that is too large is read before the connection is closed, in bytes.
pub(crate) const MAX_DISCARDED_BYTES: u64 = 16 * 1024 * 1024;
/// How long a body may be slower than [`MIN_BYTES_PER_SECOND`]: phones pause.
const SLOW_START: Duration = Duration::from_secs(3);
/// The slowest body that is waited for, on average, besides the timeout of its operation.
const MIN_BYTES_PER_SECOND: u64 = 1024;
/// What the first piece of a body allocates at least, in bytes.
const MIN_BUFFER: usize = 256;

/// The body.
///
/// # Errors
/// 413 if it is too large, 408 if it arrives too slowly, 400 if it breaks off, 429 or 503 if too many bodies are under way.
pub(crate) async fn read(request: &Request, body: Body) -> Result<Vec<u8>, Problem> {
    let limit = Operation::of(request).policy.body;
    let mut held = BodyBudget::of(request);
    let mut arriving = Arriving::new(body, limit.timeout);
    let mut bytes = Vec::new();
    while let Some(piece) = arriving.next().await? {
        let length = bytes.len() + piece.len();
        if length > limit.max_bytes {
            drop((bytes, held));
            return arriving.discard_too_large().await;
        }
        if length > bytes.capacity() {
            let capacity = length.next_power_of_two().clamp(MIN_BUFFER, limit.max_bytes);
            held.as_mut().map_or(Ok(()), |held| held.grow_to(capacity))?;
            bytes.reserve_exact(capacity - bytes.len());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Reads a body that is not needed, within the same limits, and keeps none of it.
pub(crate) async fn discard(request: &Request, body: Body) -> Result<(), Problem> {
    if body.is_empty() {
        return Ok(());
    }
    let limit = Operation::of(request).policy.body;
    let mut arriving = Arriving::new(body, limit.timeout);
    while arriving.next().await?.is_some() {
        if arriving.received > limit.max_bytes as u64 {
            return arriving.discard_too_large().await;
        }
    }
    Ok(())
}

/// A body of which more may come.
struct Arriving {
    pieces: Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>,
    begun: Instant,
    timeout: Duration,
    received: u64,
}

impl Arriving {
    fn new(body: Body, timeout: Duration) -> Self {
        Self {
            pieces: Box::pin(body.into_bytes_stream()),
            begun: Instant::now(),
            timeout,
            received: 0,
        }
    }

    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let earned = Duration::from_millis(self.received.saturating_mul(1000) / MIN_BYTES_PER_SECOND);
        let deadline = self.begun + self.timeout.min(SLOW_START.saturating_add(earned));
        let piece = tokio::time::timeout_at(deadline, self.pieces.next()).await;
        let piece = piece.map_err(|_| {
            let detail = "The body took too long to arrive.";
            Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail)
        })?;
        let broken = |_| Problem::malformed("malformed_body", "The body is incomplete.");
        let piece = piece.transpose().map_err(broken)?;
        self.received += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(piece)
    }

    /// Always 413, once the client has finished: one that is still sending would see a broken connection instead of the response.
    async fn discard_too_large<T>(mut self) -> Result<T, Problem> {
        while self.received <= MAX_DISCARDED_BYTES && self.next().await?.is_some() {}
        Err(Problem::too_large())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn a_body_without_an_end_is_too_large_and_not_kept() {
        let pieces = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 64 * 1024])));
        let body = Body::from_bytes_stream(pieces);
        let problem = read(&Request::default(), body).await.expect_err("it never ends");
        assert_eq!(problem.code(), "too_large");
    }
}
