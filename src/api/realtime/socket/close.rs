//! The closing handshake of a socket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use poem::web::websocket::{CloseCode, Message, WebSocketStream};
use tokio::time::timeout;

use super::close_reason::{CloseReason, UNAUTHENTICATED};
use super::frame::event_frame;
use crate::realtime::schema::{ErrorEvent, EventView};

/// How long closing may take, the client's reply included. The contract gives two seconds after the end of a session; noticing
/// the end takes up to one of them.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends what is to be sent last, closes the socket, and waits briefly for the client's close frame.
pub(super) async fn close(socket: &mut WebSocketStream, reason: CloseReason) {
    // A client that does not read or reply is dropped.
    let _ = timeout(CLOSE_TIMEOUT, say_last(socket, reason)).await;
}

async fn say_last(socket: &mut WebSocketStream, reason: CloseReason) {
    let (last, code, why) = match reason {
        CloseReason::NotSignedIn(problem) => {
            let refused = EventView::Error(ErrorEvent::from(problem));
            (Some(event_frame(&refused, None)), UNAUTHENTICATED, "not authenticated")
        }
        CloseReason::SessionEnded(end, cursor) => {
            let ended = EventView::SessionEnded(end.into());
            let frame = event_frame(&ended, Some(&cursor));
            (Some(frame), UNAUTHENTICATED, "the session is over")
        }
        CloseReason::Close(code, why) => (None, code, why),
        // The library has queued the answer_response; flushing sends it.
        CloseReason::ClosedByClient => return drop(socket.flush().await),
        CloseReason::Lost => return,
    };
    let close = Message::Close(Some((CloseCode::from(code), why.to_owned())));
    for frame in last.into_iter().chain([close]) {
        if socket.send(frame).await.is_err() {
            return;
        }
    }
    // Frames that arrive before the client's close frame are ignored.
    while let Some(Ok(_)) = socket.next().await {}
}
