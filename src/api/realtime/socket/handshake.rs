//! Opening a socket: the opening handshake of RFC 6455, and who may pass it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cura_app::conversations::ConversationError;
use cura_domain::answer::MAX_ANSWER_BYTES;
use poem::Request;
use poem::http::HeaderValue;
use poem::web::headers::authorization::Bearer;
use poem::web::headers::{Authorization, HeaderMapExt};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::admission::{self, Admission};
use super::context::Context;
use super::upgrade::{SocketOpened, SocketRequest};
use crate::http::caller;
use crate::http::connection_table::ConnectionPermit;
use crate::http::middleware::cors::{self, OriginClass};
use crate::http::own_host;
use crate::http::problem::Problem;
use crate::realtime::last_event_id::read_cursor;

/// The longest frame and message of a client, in bytes, as the contract says: any valid message fits, however escaped.
const MAX_FRAME: usize = 128 * 1024;
/// The read buffer of a socket, in bytes. It is kept, and most sockets are idle most of the time.
const READ_BUFFER: usize = 1024;
/// How much may wait for the network, in bytes. An event that does not fit ends the socket, so the largest has to: the longest
/// answer, of characters that JSON escapes to six bytes each, the fields around it, and a last event.
const MAX_WRITE_BUFFER: usize = 6 * MAX_ANSWER_BYTES + 256 * 1024;

/// How a client identifies itself. A token wins over a ticket.
pub(crate) struct Credentials {
    token: Option<String>,
    ticket: Option<String>,
}

impl Credentials {
    /// The token of the `Authorization` header, `?token=`, and `?ticket=`.
    pub(crate) fn new(request: &Request, token: Option<String>, ticket: Option<String>) -> Self {
        let bearer = request.headers().typed_get::<Authorization<Bearer>>();
        let bearer = bearer.map(|bearer| bearer.token().to_owned());
        Self {
            token: bearer.or(token),
            ticket,
        }
    }
}

/// Upgrades the request to a socket in the conversation of `context`. The events after the cursor `after` are sent first.
///
/// # Errors
/// Whatever can be known before there is a socket, except for who may use it: browsers do not show a status to the page, so
/// that is said by a close code.
pub(crate) async fn open(
    context: Context,
    request: &Request,
    socket: SocketRequest,
    credentials: Credentials,
    after: Option<String>,
) -> Result<SocketOpened, Problem> {
    refuse_foreign(&context, request)?;
    if !is_valid_key(socket.key()) {
        let detail = "Sec-WebSocket-Key must be sixteen bytes in base64.";
        return Err(Problem::malformed("malformed_header", detail));
    }
    let cursor = read_cursor(after)?;
    let admission = admit(&context, credentials).await?;
    // Held until the socket ends: hyper gives up a connection that becomes a socket.
    let held = (
        context.shutdown.open_socket(),
        request.data::<ConnectionPermit>().cloned(),
    );
    Ok(socket.accept(config(), MAX_FRAME, move |mut socket| async move {
        // Boxed, because a socket is idle most of the time.
        Box::pin(admission::run(&context, &mut socket, admission, cursor)).await;
        drop(socket);
        drop(held);
    }))
}

/// 403 for a page of an origin that may not call this server: browsers open sockets for any page, without asking first.
fn refuse_foreign(context: &Context, request: &Request) -> Result<(), Problem> {
    let is_foreign = matches!(request.data::<OriginClass>(), Some(OriginClass::Refused));
    if is_foreign && !own_host::is_origin(request, context.rate_limit.trusts_peer(request)) {
        return Err(cors::origin_not_allowed());
    }
    Ok(())
}

async fn admit(context: &Context, credentials: Credentials) -> Result<Admission, Problem> {
    let (app, rate_limit) = (&context.app, &context.rate_limit);
    let caller = match (credentials.token, credentials.ticket) {
        (Some(token), _) => Some(caller::authenticate_token(app, rate_limit, &token).await),
        (None, Some(ticket)) => Some(caller::redeem(app, rate_limit, &ticket).await),
        (None, None) => None,
    };
    let problem = match caller.transpose() {
        Ok(Some(caller)) => {
            rate_limit.charge_caller(caller).await?;
            let Some(place) = context.connections.open_socket(caller.user) else {
                return Ok(Admission::TooMany);
            };
            return match app.conversations.get(caller, context.conversation).await {
                Ok(_) => Ok(Admission::Admitted(caller, place)),
                Err(ConversationError::NotFound) => Ok(Admission::NotFound),
                Err(error @ ConversationError::Store(_)) => Err(error.into()),
            };
        }
        Ok(None) => Problem::not_signed_in(),
        Err(problem) if problem.is_about_identity() => problem,
        Err(problem) => return Err(problem),
    };
    rate_limit.charge_address().await?;
    Ok(Admission::NotSignedIn(problem))
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        // Every frame is written at once.
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_frame_size(Some(MAX_FRAME))
        .max_message_size(Some(MAX_FRAME))
}

/// Whether the key is valid (RFC 6455, section 4.2.1). poem accepts any.
fn is_valid_key(value: &HeaderValue) -> bool {
    BASE64_STANDARD
        .decode(value.as_bytes())
        .is_ok_and(|key| key.len() == 16)
}
