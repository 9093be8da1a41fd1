//! The opening handshake of RFC 6455 on our side: which requests ask for a socket, and how the connection becomes one.
//!
//! The framework has this, too, but keeps the connection below the socket to itself: nobody could count what arrives there, or
//! read on when a client has to be told that it sent too much.

use poem::error::{UpgradeError, WebSocketError};
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::web::headers::{Connection, HeaderMapExt};
use poem::{Body, FromRequest, IntoResponse, OnUpgrade, Request, RequestBody, Response, Result};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaResponse, MetaResponses, Registry};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_util::task::TaskTracker;

use super::wire::Wire;
use crate::http::under_way::BodyBudget;

/// An open socket of a client.
pub(super) type Socket = WebSocketStream<Wire>;

/// A request that asks for a socket.
pub(crate) struct SocketRequest {
    on_upgrade: OnUpgrade,
    key: HeaderValue,
    budget: Option<BodyBudget>,
}

/// The response after which the connection is a socket.
pub(crate) struct SocketOpened {
    accept: String,
}

impl<'a> FromRequest<'a> for SocketRequest {
    /// Fails with 426 for any other request.
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        Ok(Self::read(request)?)
    }
}

impl SocketRequest {
    fn read(request: &Request) -> Result<Self, WebSocketError> {
        let headers = request.headers();
        // A list of names, in any case (RFC 6455, section 4.2.1).
        let protocols = headers
            .get_all(header::UPGRADE)
            .iter()
            .filter_map(|list| list.to_str().ok());
        let mut protocols = protocols.flat_map(|list| list.split(','));
        let connection = headers.typed_get::<Connection>();
        let asks_for_a_socket = request.method() == Method::GET
            && protocols.any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
            && headers
                .get(header::SEC_WEBSOCKET_VERSION)
                .is_some_and(|version| version == "13")
            && connection.is_some_and(|connection| connection.contains(header::UPGRADE));
        let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asks_for_a_socket);
        Ok(Self {
            key: key.cloned().ok_or(WebSocketError::InvalidProtocol)?,
            on_upgrade: request.take_upgrade().map_err(|error: UpgradeError| error)?,
            budget: request.data::<BodyBudget>().cloned(),
        })
    }

    /// The client's key, valid or not.
    pub(super) fn key(&self) -> &HeaderValue {
        &self.key
    }

    /// Accepts the request, and serves the socket when the response is sent.
    pub(super) fn accept<F>(
        self,
        config: WebSocketConfig,
        max_message: usize,
        serve: impl FnOnce(Box<Socket>) -> F + Send + 'static,
    ) -> SocketOpened
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let accept = derive_accept_key(self.key.as_bytes());
        TaskTracker::new().spawn(async move {
            // Otherwise the connection was lost before.
            if let Ok(upgraded) = self.on_upgrade.await {
                let wire = Wire::new(upgraded, self.budget, max_message);
                let socket = Box::new(Socket::from_raw_socket(wire, Role::Server, Some(config)).await);
                serve(socket).await;
            }
        });
        SocketOpened { accept }
    }
}

impl IntoResponse for SocketOpened {
    fn into_response(self) -> Response {
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_ACCEPT, self.accept)
            .body(Body::empty())
    }
}

impl ApiResponse for SocketOpened {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "A websocket response",
                status: Some(101),
                status_range: None,
                content: Vec::new(),
                headers: Vec::new(),
            }],
        }
    }

    fn register(_registry: &mut Registry) {}
}
