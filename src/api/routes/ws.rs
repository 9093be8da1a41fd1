//! `/chat/ws/{conversation_id}`: one conversation on a WebSocket.

use cura_app::App;
use cura_domain::ConversationId;
use poem::Request;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};

use crate::http::origin::Origin;
use crate::http::problem::Problem;
use crate::http::rate_limit::RateLimit;
use crate::http::shutdown::Shutdown;
use crate::http::under_way::FrameBudget;
use crate::realtime::socket::Context;
use crate::realtime::socket::handshake::{self, Credentials};
use crate::realtime::socket::upgrade::{SocketOpened, SocketRequest};
use crate::realtime::user_connections::UserConnections;
use crate::routes::tag::Tag;

pub(crate) struct WsApi;

#[OpenApi(tag = "Tag::Chat")]
impl WsApi {
    /// Open a WebSocket for one conversation
    ///
    /// A page of an origin that is not allowed is a 403 `origin_not_allowed`. Every text frame from the server is an
    /// `Event` as JSON. An event that moves the cursor carries it as `cursor`, for `?after=`. The client sends
    /// `{"type": "message", "content", "client_message_id"?, "on_busy"?}`, `{"type": "cancel", "message_id"}`,
    /// `{"type": "typing", "is_typing"}`, `{"type": "read", "message_id"}`, `{"type": "visible", "visible"}` when the
    /// person begins or ceases to see the conversation (one who does not, or whose client has sent no frame for 25
    /// seconds, is sent push notifications), `{"type": "auth", "token"}` with a new access token before the old one
    /// expires, and `{"type": "ping"}`. A client that cancels an answer that had ended before the socket was opened, or
    /// repeats its message, is sent the end of that answer. Authenticate with `Authorization`, `?ticket=` or `?token=`.
    /// Close codes: 1002 not RFC 6455, 1007 not UTF-8, 1008 too many frames or too slow a reader, 1009 a frame over 128
    /// KiB, 1012 the server restarts (reconnect), 1013 try again later, or too many sockets of yours, 4401 not signed
    /// in, or no longer, 4404 not your conversation.
    #[oai(path = "/chat/ws/:conversation_id", method = "get", operation_id = "openSocket")]
    #[expect(clippy::too_many_arguments, reason = "one for each part of the request")]
    async fn open(
        &self,
        app: Data<&App>,
        rate_limit: &RateLimit,
        shutdown: Data<&Shutdown>,
        connections: Data<&UserConnections>,
        request: &Request,
        socket: SocketRequest,
        conversation_id: Path<i64>,
        /// A ticket from `/auth/ticket`.
        ticket: Query<Option<String>>,
        /// An access token, for clients that cannot send headers or get a ticket.
        token: Query<Option<String>>,
        /// The cursor of the last event that was received.
        after: Query<Option<String>>,
    ) -> Result<SocketOpened, Problem> {
        let context = Context {
            app: app.clone(),
            rate_limit: rate_limit.clone(),
            shutdown: shutdown.clone(),
            connections: connections.clone(),
            frames: request.data::<FrameBudget>().cloned(),
            conversation: ConversationId(conversation_id.0),
            origin: Origin::of(request).0,
        };
        let credentials = Credentials::new(request, token.0, ticket.0);
        handshake::open(context, request, socket, credentials, after.0).await
    }
}
