//! The HTTP client below every protocol. It keeps connections, and is not misled by one that the server closes just as the next
//! request goes out: that request is sent once more, on a new connection.
//!
//! The server may have read the request before it closed. Therefore it is only sent again when the connection was kept from an
//! earlier request, when it was closed at once, and only once: a server that closes every connection is unavailable.

use std::cell::Cell;
use std::task::{Context, Poll};
use std::time::Duration;

use reqwest::{Client, Request, Response, StatusCode};
use tokio::time::Instant;
use tower::{Layer, Service};

use super::endpoint::misconfigured;
use crate::ai::error::AiError;
use crate::ai::timeouts::Timeouts;

/// How long an unused connection is kept to a server without TLS, which costs little to reach anew: less than the five seconds
/// after which many of them (uvicorn, Node, llama.cpp) close it. Connections with TLS are kept for reqwest's 90 seconds.
const KEPT_WITHOUT_TLS: Duration = Duration::from_secs(4);
/// A kept connection that the server has closed fails within a round trip. Later, the server has begun to work on the request.
const CLOSED_AT_ONCE: Duration = Duration::from_secs(2);

tokio::task_local! {
    /// Whether a connection was opened for the request that this task sends.
    static HAS_CONNECTED: Cell<bool>;
}

/// Cheap to clone; clones share their connections.
#[derive(Clone)]
pub(crate) struct HttpClient {
    keeping: Client,
    /// Opens a connection for each request.
    anew: Client,
}

impl HttpClient {
    /// A client for servers at `base`, without redirects, proxies, compression and retries of its own.
    pub(crate) fn new(base: &str, timeouts: &Timeouts) -> Result<Self, AiError> {
        let builder = || {
            Client::builder()
                .connect_timeout(timeouts.connect)
                // The key must not follow a redirect or a proxy that happens to be in the environment.
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                // Compression delays small events, and inflates without a limit.
                .no_gzip()
                .retry(reqwest::retry::never())
                .tcp_nodelay(true)
        };
        let mut keeping = builder().connector_layer(NoteConnects);
        if base.starts_with("http://") {
            keeping = keeping.pool_idle_timeout(KEPT_WITHOUT_TLS);
        }
        let built =
            |client: reqwest::Result<Client>| client.map_err(|_| misconfigured("the HTTP client cannot be built"));
        Ok(Self {
            keeping: built(keeping.build())?,
            anew: built(builder().pool_max_idle_per_host(0).build())?,
        })
    }

    /// The client that keeps connections, to build requests with.
    pub(crate) const fn builder(&self) -> &Client {
        &self.keeping
    }

    /// Sends a request; once more on a new connection, if it went out on a kept one that was closed before any answer.
    pub(crate) async fn send(&self, request: Request) -> reqwest::Result<Response> {
        let again = request.try_clone();
        let sent = Instant::now();
        let (result, has_connected) = HAS_CONNECTED
            .scope(Cell::new(false), async {
                let result = self.keeping.execute(request).await;
                (result, HAS_CONNECTED.with(Cell::get))
            })
            .await;
        match (result, again) {
            (Err(error), Some(again)) if !has_connected && is_closed(&error) && sent.elapsed() < CLOSED_AT_ONCE => {
                tracing::debug!("a kept connection to the provider was closed; asking again on a new one");
                self.anew.execute(again).await
            }
            // HAProxy takes leave of an idle connection with this status, which a request may just miss.
            (Ok(response), Some(again))
                if !has_connected
                    && response.status() == StatusCode::REQUEST_TIMEOUT
                    && sent.elapsed() < CLOSED_AT_ONCE =>
            {
                tracing::debug!("a kept connection to the provider had timed out; asking again on a new one");
                self.anew.execute(again).await
            }
            (result, _) => result,
        }
    }
}

/// Whether no response came because the connection is gone.
fn is_closed(error: &reqwest::Error) -> bool {
    error.is_request() && !error.is_timeout() && !error.is_connect()
}

/// Notes for which requests a connection is opened.
#[derive(Clone, Copy)]
struct NoteConnects;

#[derive(Clone)]
struct NotesConnects<S>(S);

impl<S> Layer<S> for NoteConnects {
    type Service = NotesConnects<S>;

    fn layer(&self, connector: S) -> Self::Service {
        NotesConnects(connector)
    }
}

impl<S: Service<R>, R> Service<R> for NotesConnects<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, target: R) -> S::Future {
        // Connections that the pool opens in a task of their own are noted for no request.
        let _ = HAS_CONNECTED.try_with(|connected| connected.set(true));
        self.0.call(target)
    }
}
