//! A request that is refused before its body was read: what is left of a small body is read and dropped, so that the connection
//! stays usable; otherwise the response says that the connection closes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use hyper::body::Bytes;
use poem::http::{HeaderValue, header};
use poem::{Body, Request, Response};

/// How much of an unread body is read and dropped, in bytes, and how long that may take.
const MAX_DROPPED_BYTES: usize = 64 * 1024;
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

type Pieces = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// What is left of a request's body when its handler has let go of it.
pub(super) struct UnreadBody {
    left: Shared,
    /// The client waits until somebody wants the body: reading it would ask for it.
    is_held_back: bool,
}

type Shared = Arc<Mutex<Option<Pieces>>>;

/// The body that the handler reads.
struct Lent {
    pieces: Option<Pieces>,
    returned_to: Shared,
}

impl UnreadBody {
    /// Puts the body of `request` under watch. `None` if it has none.
    pub(super) fn watch(request: &mut Request) -> Option<Self> {
        let body = request.take_body();
        if body.is_empty() {
            return None;
        }
        let left = Shared::default();
        request.set_body(Body::from_bytes_stream(Lent {
            pieces: Some(Box::pin(body.into_bytes_stream())),
            returned_to: Arc::clone(&left),
        }));
        Some(Self {
            left,
            is_held_back: request.headers().contains_key(header::EXPECT),
        })
    }

    /// Reads and drops what is left, or tells the client in `response` that the connection closes.
    pub(super) async fn settle(self, response: &mut Response) {
        let Some(left) = self.left.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        if self.is_held_back
            || !tokio::time::timeout(DROP_TIMEOUT, is_short(left))
                .await
                .unwrap_or(false)
        {
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Whether the body ended, within what may be dropped.
async fn is_short(mut pieces: Pieces) -> bool {
    let mut dropped = 0;
    while let Some(piece) = pieces.next().await {
        dropped = piece.map_or(usize::MAX, |piece| dropped + piece.len());
        if dropped > MAX_DROPPED_BYTES {
            return false;
        }
    }
    true
}

impl Stream for Lent {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(pieces) = &mut self.pieces else {
            return Poll::Ready(None);
        };
        let next = pieces.as_mut().poll_next(cx);
        if let Poll::Ready(None | Some(Err(_))) = next {
            self.pieces = None;
        }
        next
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(left) = self.pieces.take() {
            *self.returned_to.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
        }
    }
}
