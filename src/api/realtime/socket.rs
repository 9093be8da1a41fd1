//! `/chat/ws/{conversation_id}`: one conversation on a WebSocket (RFC 6455). The events are those of `/events`, in the same
//! order and with the same cursors; a client may also say something.
//!
//! One task a socket, which reads no faster than it acts and takes no event before the last one has left: a slow reader
//! gets fewer, bigger chunks, and costs no memory.

mod close;
mod command;
mod connection;
mod context;
mod frame;
mod frame_rate;
mod heartbeat;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cura_app::App;
use cura_app::conversations::ReadConversationError;
use cura_domain::ConversationId;
use poem::Request;
use poem::http::{HeaderValue, header};
use poem::web::Data;
use poem::web::headers::authorization::Bearer;
use poem::web::headers::{Authorization, HeaderMapExt};
use poem::web::websocket::{BoxWebSocketUpgraded, WebSocket, WebSocketConfig};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};

use crate::http::problem::Problem;
use crate::http::rate_limit::Turn;
use crate::http::server::Place;
use crate::http::shutdown::Closing;
use crate::realtime::cursor::read_cursor;
use crate::routes::tag::Tag;
use close::{Opening, Talk};

/// The longest frame and message, in bytes, as the contract says.
const MAX_FRAME: usize = 64 * 1024;
/// What is read at once, and kept for it: most sockets are silent most of the time.
const READ_BUFFER: usize = 2 * 1024;
/// The longest text of an event, in bytes: that of an answer, which `jobs` lets grow no longer.
const MAX_TEXT: usize = 1024 * 1024;
/// The most that waits for the network, in bytes; what does not fit in ends the socket, so every event has to. One is the
/// longest text, of characters that JSON writes in six bytes each, and what surrounds it; a goodbye comes behind it.
const MAX_UNWRITTEN: usize = 6 * MAX_TEXT + 256 * 1024;

pub(crate) struct SocketApi;

#[OpenApi(tag = "Tag::Chat")]
impl SocketApi {
    /// Talk in a conversation, on a WebSocket
    ///
    /// Every text frame from the server is an `Event` as JSON; one that moves the cursor carries it as `cursor`, for
    /// `?after=`. A client sends `{"type": "message", "content", "client_message_id"?, "on_busy"?}`,
    /// `{"type": "cancel", "message_id"}`, `{"type": "typing", "is_typing"}`, `{"type": "read", "message_id"}`,
    /// `{"type": "auth", "token"}` with a fresh access token before the old one expires, and `{"type": "ping"}`. Whoever cancels
    /// an answer that had ended before the socket began, or says its message again, is told its end. Signed in by
    /// `Authorization`, `?ticket=` or `?token=`. Close codes: 1002 not RFC 6455, 1007 not UTF-8, 1008 too many frames or too slow a reader, 1009
    /// a frame over 64 KiB, 1012 the server restarts (reconnect), 1013 try again later, 4401 not signed in (any more), 4404
    /// not your conversation.
    #[oai(path = "/chat/ws/:conversation_id", method = "get", operation_id = "openSocket")]
    #[expect(clippy::too_many_arguments, reason = "one for each part of the request")]
    async fn open(
        &self,
        app: Data<&App>,
        turn: &Turn,
        closing: Data<&Closing>,
        request: &Request,
        websocket: WebSocket,
        conversation_id: Path<i64>,
        /// A ticket from `/auth/ticket`.
        ticket: Query<Option<String>>,
        /// An access token, for clients that can do nothing else.
        token: Query<Option<String>>,
        /// The cursor of the last event that was seen.
        after: Query<Option<String>>,
    ) -> Result<BoxWebSocketUpgraded, Problem> {
        let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
        if !key.is_some_and(is_key) {
            let detail = "Sec-WebSocket-Key has to be sixteen bytes in base64.";
            return Err(Problem::malformed("malformed_header", detail));
        }
        let cursor = read_cursor(after.0)?;
        let bearer = request.headers().typed_get::<Authorization<Bearer>>();
        let bearer = bearer.map(|bearer| bearer.token().to_owned()).or(token.0);
        let caller = match (bearer, ticket.0) {
            (Some(token), _) => Some(app.authenticate(&token).await),
            (None, Some(ticket)) => Some(app.use_ticket(&ticket).await),
            (None, None) => None,
        };
        let conversation = ConversationId(conversation_id.0);
        // A browser shows its page no status: that one may not talk here is said in the closing. Everything else that can be
        // known before there is a socket is a status.
        let opening = match caller.transpose().map_err(Problem::from) {
            Ok(Some(caller)) => {
                turn.of_caller(caller).await?;
                match app.conversation(caller, conversation).await {
                    Ok(_) => Opening::Admitted(caller),
                    Err(ReadConversationError::NotFound) => Opening::NotYours,
                    Err(error @ ReadConversationError::Store(_)) => return Err(error.into()),
                }
            }
            Ok(None) => Opening::NotSignedIn(Problem::not_signed_in()),
            Err(problem) if problem.is_about_who() => Opening::NotSignedIn(problem),
            Err(problem) => return Err(problem),
        };
        if matches!(opening, Opening::NotSignedIn(_)) {
            turn.of_address().await?;
        }
        let talk = Talk {
            app: app.clone(),
            turn: turn.clone(),
            closing: closing.clone(),
            conversation,
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            // Written at once.
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_UNWRITTEN)
            .max_frame_size(Some(MAX_FRAME))
            .max_message_size(Some(MAX_FRAME));
        let held = (closing.open_socket(), request.data::<Place>().cloned());
        let upgraded = websocket.config(config).on_upgrade(move |socket| async move {
            // On the heap: most of a socket's life is waiting.
            Box::pin(talk.run(socket, opening, cursor)).await;
            drop(held);
        });
        Ok(upgraded.boxed())
    }
}

/// Whether this proves anything: RFC 6455, section 4.2.1. poem takes whatever it is.
fn is_key(value: &HeaderValue) -> bool {
    BASE64_STANDARD
        .decode(value.as_bytes())
        .is_ok_and(|key| key.len() == 16)
}
