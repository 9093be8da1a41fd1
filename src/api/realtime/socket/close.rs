//! The closing handshake of a socket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::close_reason::{CloseReason, UNAUTHENTICATED};
use super::frame::event_frame;
use super::upgrade::Socket;
use crate::realtime::schema::{ErrorEvent, EventView};

/// How long closing may take, the client's reply included. The contract gives two seconds after the end of a session; noticing
/// the end takes up to one of them.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether a client that was told goodbye still has to be heard out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    /// It may be sending, and its frames cannot be read.
    Unreadable,
}

/// Sends what is to be sent last, closes the socket, and waits briefly for the client's close frame.
pub(super) async fn close(socket: &mut Socket, reason: CloseReason) {
    // A client that does not read or reply is dropped.
    if let Ok(Left::Unreadable) = timeout(CLOSE_TIMEOUT, say_last(socket, reason)).await {
        socket.get_mut().drop_rest().await;
    }
}

async fn say_last(socket: &mut Socket, reason: CloseReason) -> Left {
    let (last, code, why, is_broken) = match reason {
        CloseReason::NotSignedIn(problem) => {
            let refused = EventView::Error(ErrorEvent::from(problem));
            (
                Some(event_frame(&refused, None)),
                UNAUTHENTICATED,
                "not authenticated",
                false,
            )
        }
        CloseReason::SessionEnded(end, cursor) => {
            let ended = EventView::SessionEnded(end.into());
            let frame = event_frame(&ended, Some(&cursor));
            (Some(frame), UNAUTHENTICATED, "the session is over", false)
        }
        CloseReason::Close { code, why, is_broken } => (None, code, why, is_broken),
        // The library has queued the reply; flushing sends it.
        CloseReason::ClosedByClient => {
            let _ = socket.flush().await;
            return Left::Nothing;
        }
        CloseReason::Lost => return Left::Nothing,
    };
    let close = Message::Close(Some(CloseFrame {
        code: code.into(),
        reason: why.into(),
    }));
    for frame in last.into_iter().chain([close]) {
        if socket.send(frame).await.is_err() {
            return Left::Nothing;
        }
    }
    if is_broken {
        return Left::Unreadable;
    }
    // Frames that arrive before the client's close frame are ignored.
    loop {
        match socket.next().await {
            Some(Ok(_)) => socket.get_mut().finish_message(),
            Some(Err(_)) => return Left::Unreadable,
            None => return Left::Nothing,
        }
    }
}
