//! The accept loop: who is let in, and how a server shuts down.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cura_app::log_key::LogKey;
use cura_domain::Entropy;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Api;
use crate::http::address_budget::AddressBudget;
use crate::http::admission::{Admission, ConnectionLimits};
use crate::http::client_address::TrustedProxies;
use crate::http::connection::{Accepted, Shared, serve_connection};
use crate::http::middleware::cors::Origins;
use crate::http::parser_errors::Refusals;
use crate::http::under_way::UnderWay;

/// How many connections may wait in the listen backlog; the system may allow fewer. Beyond that, clients retry after a second.
const BACKLOG: i32 = 4096;
/// How long to wait when the process is out of file descriptors.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// How a server treats its connections.
pub struct Edge {
    /// How many there may be.
    pub limits: ConnectionLimits,
    /// Who names clients' addresses, and how.
    pub proxies: TrustedProxies,
    /// Whose pages may read why a request is refused.
    pub origins: Origins,
    /// Hides addresses in log lines.
    pub log_key: LogKey,
    /// For request ids.
    pub entropy: Entropy,
}

/// Serves `api` until `shutdown` is cancelled, then lets requests finish for at most `drain`. Returns how many connections had
/// to be dropped.
pub async fn serve(listener: TcpListener, api: Api, edge: Edge, shutdown: CancellationToken, drain: Duration) -> usize {
    // Listening again only changes the backlog, which the library sets to 128: fewer clients than reconnect at once.
    if let Err(error) = rustix::net::listen(&listener, BACKLOG) {
        tracing::warn!(%error, "cannot lengthen the listen backlog; bursts of connections may be refused");
    }
    let admission = Admission::new(edge.limits, edge.proxies.clone());
    let shared = Arc::new(Shared {
        api,
        proxies: edge.proxies,
        origins: edge.origins,
        per_address: edge.limits.per_address(),
        forwarded: AddressBudget::new(usize::MAX, edge.limits.per_address()),
        under_way: UnderWay::new(),
        refusals: Refusals {
            unreported: Arc::default(),
            entropy: edge.entropy,
            log_key: edge.log_key,
        },
        shutdown: shutdown.clone(),
    });
    let connections = TaskTracker::new();
    let drop_all = CancellationToken::new();
    let descriptors = Arc::new(Semaphore::new(edge.limits.descriptors()));
    while let Some((descriptor, tcp, peer)) = next(&descriptors, &listener, &shutdown).await {
        let Some(admitted) = admission.admit(peer) else {
            continue;
        };
        let accepted = Accepted {
            tcp,
            descriptor,
            peer,
            admitted,
        };
        let (shared, drop_all) = (Arc::clone(&shared), drop_all.clone());
        connections.spawn(async move {
            tokio::select! {
                // Created here: a future that is moved in takes its memory twice.
                () = serve_connection(accepted, shared) => {}
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

/// The next connection, with a permit for its descriptor. `None` when the server shuts down.
///
/// Whoever opens connections faster than the ones that they push out are closed waits here, and the process keeps descriptors for
/// Postgres and Redis.
async fn next(
    descriptors: &Arc<Semaphore>,
    listener: &TcpListener,
    shutdown: &CancellationToken,
) -> Option<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
    let next = async {
        let descriptor = Arc::clone(descriptors).acquire_owned().await.ok()?;
        let (tcp, peer) = accept(listener).await;
        Some((descriptor, tcp, peer))
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
    use std::collections::HashSet;

    use poem::endpoint::{ToDynEndpoint, make_sync};
    use poem::{Request, Response};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;
    use crate::http::admission::{CLOSING_RESERVE, PROBE_RESERVE};
    use crate::http::connection_table::ConnectionPermit;

    /// Longer than anything should take.
    const LIMIT: Duration = Duration::from_secs(10);

    /// A server with room for one connection. Its endpoint sends away the permit of each request. It shuts down when `visit` is
    /// done, whose outcome is kept until then.
    async fn with_room_for_one<T>(
        visit: impl AsyncFnOnce(SocketAddr, mpsc::UnboundedReceiver<ConnectionPermit>) -> T,
    ) -> T {
        let (give, given) = mpsc::unbounded_channel();
        let api = make_sync(move |request: Request| {
            if let Some(permit) = request
                .data::<ConnectionPermit>()
                .filter(|_| request.uri().path() == "/")
            {
                give.send(permit.clone()).expect("a test");
            }
            Response::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shutdown = CancellationToken::new();
        let edge = Edge {
            limits: ConnectionLimits {
                total: 1,
                per_address: 0,
            },
            proxies: TrustedProxies::default(),
            origins: Origins::new(&[]),
            log_key: LogKey::new(b"secret"),
            entropy: Entropy::new(|buffer| buffer.fill(7)),
        };
        let api = Arc::new(ToDynEndpoint(api));
        let serving = serve(listener, api, edge, shutdown.clone(), Duration::ZERO);
        let visiting = async {
            let kept = visit(address, given).await;
            shutdown.cancel();
            kept
        };
        let both = async { tokio::join!(serving, visiting) };
        timeout(LIMIT, both).await.expect("a shutdown").1
    }

    async fn ask(address: SocketAddr, path: &str) -> TcpStream {
        let mut client = TcpStream::connect(address).await.expect("a server");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.expect("a connection");
        client
    }

    async fn status(mut client: TcpStream) -> String {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("an end");
        answer.get(9..12).unwrap_or("none").to_owned()
    }

    #[tokio::test]
    async fn a_place_is_taken_until_the_last_holder_of_its_permit_drops_it() {
        with_room_for_one(async |address, mut given| {
            let first = ask(address, "/").await;
            let permit = given.recv().await.expect("a request");
            assert_eq!(
                status(first).await,
                "200",
                "hyper has given it up, and the test holds it"
            );
            assert_eq!(status(ask(address, "/other").await).await, "503");
            drop(permit);
            assert_eq!(status(ask(address, "/other").await).await, "200");
        })
        .await;
    }

    #[tokio::test]
    async fn a_full_server_tells_its_health_and_shuts_down() {
        with_room_for_one(async |address, mut given| {
            let first = ask(address, "/").await;
            let permit = given.recv().await.expect("a request");
            assert_eq!(status(ask(address, "/health/live").await).await, "200");
            (permit, first)
        })
        .await;
    }

    #[tokio::test]
    async fn the_idlest_connection_leaves_when_there_is_no_room_for_a_new_one() {
        with_room_for_one(async |address, _given| {
            let mut silent = TcpStream::connect(address).await.expect("a server");
            assert_eq!(status(ask(address, "/other").await).await, "200");
            assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0, "it was closed");
        })
        .await;
    }

    /// How many connections of this server have a descriptor in this process: the others are not accepted yet, or closed.
    fn descriptors(server: SocketAddr) -> usize {
        let sockets = std::fs::read_to_string("/proc/self/net/tcp").expect("Linux");
        let port = format!(":{:04X}", server.port());
        let of_server = sockets.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, remote, .., inode] = fields.get(..10)? else {
                return None;
            };
            (local.ends_with(&port) && !remote.ends_with(":0000")).then_some(*inode)
        });
        // Sockets that other processes open meanwhile make Linux list some twice.
        let inodes: HashSet<&str> = of_server.filter(|inode| *inode != "0").collect();
        inodes.len()
    }

    #[test]
    fn connections_that_come_faster_than_others_are_closed_wait_for_their_descriptors() {
        // The one thread returns to accepting after each step of another task.
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().event_interval(1).build().expect("a runtime");
        let most = runtime.block_on(with_room_for_one(async |address, _given| {
            let flood: Vec<_> = (0..300).map(|_| std::net::TcpStream::connect(address)).collect();
            let mut most = 0;
            while most < 2 || descriptors(address) > 1 {
                most = most.max(descriptors(address));
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
            }
            assert_eq!(status(ask(address, "/other").await).await, "200");
            drop(flood);
            most
        }));
        assert!(most <= 1 + PROBE_RESERVE + CLOSING_RESERVE, "{most}");
    }
}
