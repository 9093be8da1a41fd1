//! The accept loop: how many connections there may be, and how a server shuts down.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cura_domain::Entropy;
use poem::endpoint::{DynEndpoint, ToDynEndpoint};
use poem::{Endpoint, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::connection::{Accepted, serve_connection};
use crate::http::connection_permit::ConnectionPermit;

/// How many connections one server holds; more wait in the listen backlog.
const MAX_CONNECTIONS: usize = 10_000;
/// How many connections may wait in the listen backlog; the system may allow fewer. Beyond that, clients retry after a second.
const BACKLOG: i32 = 4096;
/// How long to wait when the process is out of file descriptors.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Serves `api` until `shutdown` is cancelled, then lets requests finish for at most `drain`. Returns how many connections had
/// to be dropped.
pub async fn serve(
    listener: TcpListener,
    api: impl Endpoint<Output = Response> + 'static,
    entropy: &Entropy,
    shutdown: CancellationToken,
    drain: Duration,
) -> usize {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    serve_with(&permits, listener, api, entropy, shutdown, drain).await
}

async fn serve_with(
    permits: &Arc<Semaphore>,
    listener: TcpListener,
    api: impl Endpoint<Output = Response> + 'static,
    entropy: &Entropy,
    shutdown: CancellationToken,
    drain: Duration,
) -> usize {
    let api: Arc<dyn DynEndpoint<Output = Response>> = Arc::new(ToDynEndpoint(api));
    // Listening again only changes the backlog, which the library sets to 128: fewer clients than reconnect at once.
    if let Err(error) = rustix::net::listen(&listener, BACKLOG) {
        tracing::warn!(%error, "cannot lengthen the listen backlog; bursts of connections may be refused");
    }
    let connections = TaskTracker::new();
    let drop_all = CancellationToken::new();
    while let Some(accepted) = next(&listener, permits, &shutdown).await {
        let (api, entropy) = (Arc::clone(&api), entropy.clone());
        let (shutdown, drop_all) = (shutdown.clone(), drop_all.clone());
        connections.spawn(async move {
            tokio::select! {
                // Created here: a future that is moved in takes its memory twice.
                () = serve_connection(accepted, api, entropy, shutdown) => {}
                () = drop_all.cancelled() => {}
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        let left = connections.len();
        drop_all.cancel();
        connections.wait().await;
        return left;
    }
    0
}

/// The next connection. `None` when the server shuts down, even if no permit is free.
async fn next(listener: &TcpListener, permits: &Arc<Semaphore>, shutdown: &CancellationToken) -> Option<Accepted> {
    let next = async {
        // Without a permit, connections wait in the listen backlog.
        let permit = ConnectionPermit::acquire(permits).await?;
        let (socket, peer) = accept(listener).await;
        Some(Accepted { socket, peer, permit })
    };
    tokio::select! {
        next = next => next,
        () = shutdown.cancelled() => None,
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
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

    /// A server with one permit. Its endpoint sends away the permit of each request. It shuts down when `visit` is done, whose
    /// outcome is kept until then.
    async fn with_one_permit<T>(
        visit: impl AsyncFnOnce(SocketAddr, &Arc<Semaphore>, mpsc::UnboundedReceiver<ConnectionPermit>) -> T,
    ) {
        let permits = Arc::new(Semaphore::new(1));
        let (give, given) = mpsc::unbounded_channel();
        let api = make_sync(move |request| {
            let permit = request.data::<ConnectionPermit>().cloned();
            give.send(permit.expect("every request carries it")).expect("a test");
            Response::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shutdown = CancellationToken::new();
        let entropy = Entropy::new(|buffer| buffer.fill(7));
        let serving = serve_with(&permits, listener, api, &entropy, shutdown.clone(), Duration::ZERO);
        let visiting = async {
            let kept = visit(address, &permits, given).await;
            shutdown.cancel();
            kept
        };
        let both = async { tokio::join!(serving, visiting) };
        timeout(LIMIT, both).await.expect("a shutdown");
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
    async fn a_permit_is_in_use_until_its_last_holder_drops_it() {
        with_one_permit(async |address, permits, mut given| {
            let first = ask(address).await;
            let permit = given.recv().await.expect("a request");
            assert!(is_answered(first).await);
            assert_eq!(
                permits.available_permits(),
                0,
                "hyper has given it up, and the test holds it"
            );
            let second = ask(address).await;
            drop(permit);
            assert!(is_answered(second).await);
        })
        .await;
    }

    #[tokio::test]
    async fn a_server_without_a_free_permit_shuts_down() {
        with_one_permit(async |address, _, mut given| {
            let first = ask(address).await;
            let permit = given.recv().await.expect("a request");
            let second = ask(address).await;
            // Long enough for the server to turn to it.
            tokio::time::sleep(Duration::from_millis(50)).await;
            (permit, first, second)
        })
        .await;
    }
}
