//! Frames: what one that was heard says, and how an event becomes one.

use std::sync::Arc;

use poem::web::websocket::Message;

use super::close::End;
use super::frame_rate::Flood;
use crate::realtime::schema::EventView;

const POLICY: u16 = 1008;
const TOO_BIG: u16 = 1009;
const NOT_UTF8: u16 = 1007;
const PROTOCOL: u16 = 1002;

/// What a frame says; nothing, when it only shows that somebody is there.
pub(super) fn hear(frame: Option<std::io::Result<Message>>, flood: &mut Flood) -> Result<Option<String>, End> {
    let frame = match frame {
        None => return Err(End::Gone),
        Some(Err(error)) => return Err(broken(&error.to_string())),
        Some(Ok(frame)) => frame,
    };
    if !flood.admit() {
        return Err(End::Close(POLICY, "too many frames"));
    }
    match frame {
        Message::Text(text) => Ok(Some(text)),
        // Read as one that is no JSON.
        Message::Binary(_) => Ok(Some(String::new())),
        Message::Ping(_) | Message::Pong(_) => Ok(None),
        Message::Close(_) => Err(End::Answer),
    }
}

/// What is to be said to a peer that broke the protocol. The library gives its reason as a sentence only.
fn broken(reason: &str) -> End {
    if reason.starts_with("Space limit exceeded") {
        End::Close(TOO_BIG, "the frame is too large")
    } else if reason.starts_with("UTF-8 encoding error") {
        End::Close(NOT_UTF8, "the text is not UTF-8")
    } else if reason.starts_with("WebSocket protocol error") && !reason.contains("without closing handshake") {
        End::Close(PROTOCOL, "the frame is not of RFC 6455")
    } else {
        End::Gone
    }
}

/// An event, with the cursor after it if it moves it.
pub(super) fn frame_of(event: &EventView, cursor: Option<&Arc<str>>) -> Message {
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
