//! WebSocket frames: what a received one says, and how an event becomes one.

use std::sync::Arc;

use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::close_reason::{CloseReason, MESSAGE_TOO_BIG, NOT_UTF8, PROTOCOL_ERROR};
use super::frame_rate::FrameRate;
use super::upgrade::Socket;
use super::wire::Refusal;
use crate::realtime::schema::EventView;

/// The text of a frame that `socket` has received. `None` if the frame only shows that the client is alive.
///
/// # Errors
/// The reason to end the socket: it is lost, closed, or the client breaks the rules.
pub(super) fn read_frame(
    frame: Option<Result<Message, Error>>,
    rate: &mut FrameRate,
    socket: &mut Socket,
) -> Result<Option<String>, CloseReason> {
    let frame = match frame {
        None => return Err(CloseReason::Lost),
        Some(Err(error)) => return Err(reason_of(&error)),
        Some(Ok(frame)) => frame,
    };
    match &frame {
        Message::Ping(payload) | Message::Pong(payload) => socket.get_mut().finish_control_frame(payload.len()),
        _ => socket.get_mut().finish_message(),
    }
    if !rate.admit() {
        return Err(CloseReason::FLOOD);
    }
    match frame {
        Message::Text(text) => Ok(Some(text.as_str().to_owned())),
        // Handled like a text that is not JSON.
        Message::Binary(_) => Ok(Some(String::new())),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
        Message::Close(_) => Err(CloseReason::ClosedByClient),
    }
}

/// Why a socket ends that cannot be read any more.
pub(super) fn reason_of(error: &Error) -> CloseReason {
    match error {
        Error::Capacity(_) => CloseReason::broken(MESSAGE_TOO_BIG, "the frame is too large"),
        Error::Utf8(_) => CloseReason::broken(NOT_UTF8, "the text is not UTF-8"),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => CloseReason::Lost,
        Error::Protocol(_) => CloseReason::broken(PROTOCOL_ERROR, "the frame is not of RFC 6455"),
        Error::Io(error) => match error.get_ref().and_then(|source| source.downcast_ref::<Refusal>()) {
            Some(Refusal::TooManyPieces) => CloseReason::BROKEN_FLOOD,
            Some(Refusal::TooMuchUnderWay) => CloseReason::BROKEN_TRY_LATER,
            None => CloseReason::Lost,
        },
        _ => CloseReason::Lost,
    }
}

/// The event as a frame, with the cursor if the event moves it.
pub(super) fn event_frame(event: &EventView, cursor: Option<&Arc<str>>) -> Message {
    let mut line = event.to_line();
    if let Some(cursor) = cursor
        && line.pop() == Some('}')
    {
        line.push_str(",\"cursor\":\"");
        line.push_str(cursor);
        line.push_str("\"}");
    }
    Message::text(line)
}
