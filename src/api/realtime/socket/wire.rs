//! The bytes below a socket. What has arrived of a message that is not whole is counted: as memory, which the client's address has a
//! budget of, and as work, because a message in very small pieces costs much and never counts as a frame.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use poem::Upgraded;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::http::address_budget::Held;
use crate::http::under_way::BodyBudget;

/// Less of a message is not counted as memory: every socket may have so much.
const MIN_COUNTED: usize = 16 * 1024;
/// The most bytes of one message, as a multiple of the longest: in pieces of one byte each, a message has seven times its length.
const MAX_OVERHEAD: usize = 8;
/// How many bytes are read and dropped at the end, and for how long, so that a client that still sends hears why it ends.
const MAX_DROPPED_BYTES: usize = 32 * 1024 * 1024;
const DROP_TIMEOUT: Duration = Duration::from_secs(1);
/// A client that sends nothing for so long has sent it all.
const DROP_SILENCE: Duration = Duration::from_millis(200);
/// What a socket that drops holds of its address's budget: a few may at once.
const HELD_WHILE_DROPPING: usize = 512 * 1024;

/// The connection below one socket.
pub(super) struct Wire {
    upgraded: Upgraded,
    /// Bytes of the message that is not whole yet, frames around its pieces included.
    unfinished: usize,
    max_message: usize,
    budget: Option<BodyBudget>,
    held: Option<Held>,
}

/// Why nothing more is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    /// The message has more pieces than any message needs.
    #[error("a message in too many pieces")]
    TooManyPieces,
    /// The client's address holds as much as it may.
    #[error("too much under way from this address")]
    TooMuchUnderWay,
}

impl Wire {
    /// `max_message` is the longest message of a client, in bytes.
    pub(super) fn new(upgraded: Upgraded, budget: Option<BodyBudget>, max_message: usize) -> Self {
        Self {
            upgraded,
            unfinished: 0,
            max_message,
            budget,
            held: None,
        }
    }

    /// A message is whole.
    pub(super) fn finish_message(&mut self) {
        (self.unfinished, self.held) = (0, None);
    }

    /// A frame of this length came between the pieces of a message, or alone.
    pub(super) fn finish_control_frame(&mut self, length: usize) {
        /// A client's frame of less than 126 bytes: two bytes and a mask.
        const HEAD: usize = 6;
        self.unfinished = self.unfinished.saturating_sub(HEAD + length);
    }

    /// Reads what the client still sends and drops it, for a moment: if the connection were closed while it sends, it would see a
    /// broken connection instead of the reason that was sent to it.
    pub(super) async fn drop_rest(&mut self) {
        self.held = None;
        let mut held = self.budget.as_ref().map(BodyBudget::open);
        if held
            .as_mut()
            .is_some_and(|held| held.grow_to(HELD_WHILE_DROPPING).is_err())
        {
            return;
        }
        // Whoever still sends after that is cut off.
        let _ = timeout(DROP_TIMEOUT, self.drop_until_silence()).await;
        // Says that nothing more comes, and waits for the client to say the same.
        let _ = timeout(DROP_TIMEOUT, self.upgraded.shutdown()).await;
    }

    async fn drop_until_silence(&mut self) {
        let (mut dropped, mut buffer) = (0, [0; 4096]);
        while dropped < MAX_DROPPED_BYTES {
            match timeout(DROP_SILENCE, self.upgraded.read(&mut buffer)).await {
                Ok(Ok(read @ 1..)) => dropped += read,
                _ => return,
            }
        }
    }

    fn count(&mut self, read: usize) -> Result<(), Refusal> {
        self.unfinished += read;
        if self.unfinished > MAX_OVERHEAD * self.max_message {
            return Err(Refusal::TooManyPieces);
        }
        let memory = self.unfinished.min(self.max_message);
        let Some(budget) = self.budget.as_ref().filter(|_| memory >= MIN_COUNTED) else {
            return Ok(());
        };
        let held = self.held.get_or_insert_with(|| budget.open());
        held.grow_to(memory).map_err(|_| Refusal::TooMuchUnderWay)
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.upgraded).poll_read(cx, buffer))?;
        let read = buffer.filled().len() - before;
        Poll::Ready(self.count(read).map_err(io::Error::other))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.upgraded).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.upgraded).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.upgraded).poll_shutdown(cx)
    }
}
