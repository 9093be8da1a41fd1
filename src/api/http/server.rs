//! The accept loop. hyper does HTTP; what it leaves open is decided here: how many connections there may be, how long a
//! client may take to say what it wants, and how a server goes away.

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
use poem::endpoint::{DynEndpoint, ToDynEndpoint};
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Response};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::parser_errors::ProblemWriter;

/// How many connections one server holds; more wait in the operating system's queue.
const MAX_CONNECTIONS: usize = 10_000;
/// How many connections may wait there; the system may allow fewer. Whoever does not fit in tries again after a second.
const QUEUE: i32 = 4096;
/// How long a client may take to send a request's head, and how long a connection may idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest head, in bytes, and the most headers of a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// How long sent bytes may stay unacknowledged before the peer counts as gone.
const PEER_GONE_MS: u32 = 60_000;
/// What the kernel may hold for a client that does not read, in bytes; by itself it goes up to megabytes for each.
const SEND_BUFFER: usize = 128 * 1024;
/// How long to wait when the process has no file descriptor left.
const NO_DESCRIPTORS: Duration = Duration::from_millis(100);

/// One of the [`MAX_CONNECTIONS`], until the last who holds it has gone. Every request carries it: HTTP lets go of a connection
/// that becomes a socket, and whoever goes on with it takes its place along.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// Serves `api` until `closing` is cancelled; then lets requests finish for at most `drain`, and gives back how many
/// connections had to be cut.
pub async fn serve(
    listener: TcpListener,
    api: impl Endpoint<Output = Response> + 'static,
    entropy: &Entropy,
    closing: CancellationToken,
    drain: Duration,
) -> usize {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    serve_in(&places, listener, api, entropy, closing, drain).await
}

async fn serve_in(
    places: &Arc<Semaphore>,
    listener: TcpListener,
    api: impl Endpoint<Output = Response> + 'static,
    entropy: &Entropy,
    closing: CancellationToken,
    drain: Duration,
) -> usize {
    let api: Arc<dyn DynEndpoint<Output = Response>> = Arc::new(ToDynEndpoint(api));
    // Listening again only changes the length of the queue, which the library sets to 128: fewer than come back at once.
    if let Err(error) = rustix::net::listen(&listener, QUEUE) {
        tracing::warn!(%error, "the queue of connections stays short");
    }
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    while let Some((socket, peer, place)) = next(&listener, places, &closing).await {
        let (api, entropy, closing, cut) = (Arc::clone(&api), entropy.clone(), closing.clone(), cut.clone());
        connections.spawn(async move {
            tokio::select! {
                // Made in its place: a future that is moved is kept room for twice.
                () = connection(socket, peer, place, api, entropy, closing) => {}
                () = cut.cancelled() => {}
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        let left = connections.len();
        cut.cancel();
        connections.wait().await;
        return left;
    }
    0
}

/// The next connection and its place; `None` when the server closes, also while every place is taken.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    closing: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, Place)> {
    let next = async {
        // Whoever finds no place waits in the operating system's queue.
        let permit = Arc::clone(places).acquire_owned().await.ok()?;
        let (socket, peer) = accept(listener).await;
        let place = Place {
            _permit: Arc::new(permit),
        };
        Some((socket, peer, place))
    };
    tokio::select! {
        next = next => next,
        () = closing.cancelled() => None,
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(NO_DESCRIPTORS).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(
    socket: TcpStream,
    peer: SocketAddr,
    place: Place,
    api: Arc<dyn DynEndpoint<Output = Response>>,
    entropy: Entropy,
    closing: CancellationToken,
) {
    if let Err(error) = prepare(&socket) {
        tracing::debug!(%error, "a connection was gone before it began");
        return;
    }
    let local = LocalAddr(socket.local_addr().unwrap_or(peer).into());
    let remote = RemoteAddr(peer.into());
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = poem::Request::from((request, local.clone(), remote.clone(), Scheme::HTTP));
        request.set_data(place.clone());
        let api = Arc::clone(&api);
        // On the heap while it is handled: hyper keeps room for it as long as the connection lives.
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
        () = closing.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection broke");
    }
}

/// Small frames leave at once, a client that does not read costs little, and a peer that vanished is noticed.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    sockopt::set_socket_send_buffer_size(socket, SEND_BUFFER)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(30))?;
    sockopt::set_tcp_user_timeout(socket, PEER_GONE_MS)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use poem::endpoint::make_sync;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;

    /// Longer than anything should take.
    const LIMIT: Duration = Duration::from_secs(10);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

    /// A server with one place. Its endpoint gives away the place of each request. It closes when `visit` is over, whose
    /// outcome is kept until then.
    async fn with_one_place<T>(
        visit: impl AsyncFnOnce(SocketAddr, &Arc<Semaphore>, mpsc::UnboundedReceiver<Place>) -> T,
    ) {
        let places = Arc::new(Semaphore::new(1));
        let (give, given) = mpsc::unbounded_channel();
        let api = make_sync(move |request| {
            let place = request.data::<Place>().cloned();
            give.send(place.expect("every request carries it")).expect("a test");
            Response::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let closing = CancellationToken::new();
        let entropy = Entropy::new(|buffer| buffer.fill(7));
        let serving = serve_in(&places, listener, api, &entropy, closing.clone(), Duration::ZERO);
        let visiting = async {
            let kept = visit(address, &places, given).await;
            closing.cancel();
            kept
        };
        let both = async { tokio::join!(serving, visiting) };
        timeout(LIMIT, both).await.expect("it closes");
    }

    async fn ask(address: SocketAddr) -> TcpStream {
        let mut client = TcpStream::connect(address).await.expect("a server");
        client.write_all(REQUEST).await.expect("a connection");
        client
    }

    async fn is_answered(mut client: TcpStream) -> bool {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("an end");
        answer.starts_with("HTTP/1.1 200 ")
    }

    #[tokio::test]
    async fn a_place_is_taken_until_whoever_took_it_along_lets_go() {
        with_one_place(async |address, places, mut given| {
            let first = ask(address).await;
            let place = given.recv().await.expect("a request");
            assert!(is_answered(first).await);
            assert_eq!(places.available_permits(), 0, "HTTP has let go of it, and nobody else");
            let second = ask(address).await;
            drop(place);
            assert!(is_answered(second).await);
        })
        .await;
    }

    #[tokio::test]
    async fn a_server_whose_places_are_all_taken_closes_as_any_other() {
        with_one_place(async |address, _, mut given| {
            let first = ask(address).await;
            let place = given.recv().await.expect("a request");
            let second = ask(address).await;
            // Long enough for the server to turn to it.
            tokio::time::sleep(Duration::from_millis(50)).await;
            (place, first, second)
        })
        .await;
    }
}
