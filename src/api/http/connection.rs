//! One HTTP connection: socket options, limits of the parser, and its requests.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cura_domain::Entropy;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::endpoint::DynEndpoint;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Response};
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::http::connection_permit::ConnectionPermit;
use crate::http::parser_errors::ProblemWriter;

/// How long a client may take to send a request's head, and how long a connection may idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest head, in bytes, and the most headers of a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// How long sent bytes may stay unacknowledged before the connection counts as lost.
const UNACKNOWLEDGED_TIMEOUT_MS: u32 = 60_000;
/// What the kernel may buffer for a client that does not read, in bytes; its default grows to megabytes per connection.
const SEND_BUFFER: usize = 128 * 1024;

/// A connection that was accepted.
pub(super) struct Accepted {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) permit: ConnectionPermit,
}

/// Serves a connection until it ends. When `shutdown` is cancelled, the current request is the last.
pub(super) async fn serve_connection(
    accepted: Accepted,
    api: Arc<dyn DynEndpoint<Output = Response>>,
    entropy: Entropy,
    shutdown: CancellationToken,
) {
    let Accepted { socket, peer, permit } = accepted;
    if let Err(error) = configure(&socket) {
        tracing::debug!(%error, "connection lost before its first request");
        return;
    }
    let local = LocalAddr(socket.local_addr().unwrap_or(peer).into());
    let remote = RemoteAddr(peer.into());
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = poem::Request::from((request, local.clone(), remote.clone(), Scheme::HTTP));
        request.set_data(permit.clone());
        let api = Arc::clone(&api);
        // Boxed while it runs: hyper reserves room for this future as long as the connection lives.
        Box::pin(async move {
            let response = api.get_response(request).await;
            Ok::<_, std::convert::Infallible>(hyper::Response::from(response))
        })
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS);
    let mut served = pin!(
        builder
            .serve_connection(ProblemWriter::new(TokioIo::new(socket), entropy), service)
            .with_upgrades()
    );
    let outcome = tokio::select! {
        outcome = &mut served => outcome,
        () = shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "connection broke");
    }
}

/// Small frames are sent at once, a client that does not read costs little memory, and a lost peer is noticed.
fn configure(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    sockopt::set_socket_send_buffer_size(socket, SEND_BUFFER)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(30))?;
    sockopt::set_tcp_user_timeout(socket, UNACKNOWLEDGED_TIMEOUT_MS)?;
    Ok(())
}
