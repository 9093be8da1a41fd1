//! WebSocket frames: what a received one says, and how an event becomes one.

use std::sync::Arc;

use poem::web::websocket::Message;

use super::close_reason::{CloseReason, MESSAGE_TOO_BIG, NOT_UTF8, PROTOCOL_ERROR};
use super::frame_rate::FrameRate;
use crate::realtime::schema::EventView;

/// The text of a received frame. `None` if the frame only shows that the client is alive.
///
/// # Errors
/// The reason to end the socket: it is lost, closed, or the client breaks the rules.
pub(super) fn read_frame(
    frame: Option<std::io::Result<Message>>,
    rate: &mut FrameRate,
) -> Result<Option<String>, CloseReason> {
    let frame = match frame {
        None => return Err(CloseReason::Lost),
        Some(Err(error)) => return Err(protocol_error(&error.to_string())),
        Some(Ok(frame)) => frame,
    };
    if !rate.admit() {
        return Err(CloseReason::FLOOD);
    }
    match frame {
        Message::Text(text) => Ok(Some(text)),
        // Handled like a text that is not JSON.
        Message::Binary(_) => Ok(Some(String::new())),
        Message::Ping(_) | Message::Pong(_) => Ok(None),
        Message::Close(_) => Err(CloseReason::ClosedByClient),
    }
}

/// The close code for a client that broke the protocol. The library gives its reason as a sentence only.
fn protocol_error(reason: &str) -> CloseReason {
    if reason.starts_with("Space limit exceeded") {
        CloseReason::Close(MESSAGE_TOO_BIG, "the frame is too large")
    } else if reason.starts_with("UTF-8 encoding error") {
        CloseReason::Close(NOT_UTF8, "the text is not UTF-8")
    } else if reason.starts_with("WebSocket protocol error") && !reason.contains("without closing handshake") {
        CloseReason::Close(PROTOCOL_ERROR, "the frame is not of RFC 6455")
    } else {
        CloseReason::Lost
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
    Message::Text(line)
}
