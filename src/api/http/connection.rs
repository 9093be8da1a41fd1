//! One HTTP connection: its timeouts, the limits of the parser, and its requests.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::http::uri::Scheme;
use poem::http::{HeaderValue, header};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Request, Response};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::Api;
use crate::http::address_budget::{AddressBudget, Exhausted, Held};
use crate::http::admission::{Admitted, is_probe};
use crate::http::client_address::{ClientNetwork, TrustedProxies};
use crate::http::connection_table::Seat;
use crate::http::middleware::cors::Origins;
use crate::http::parser_errors::{ProblemWriter, Refusals};
use crate::http::problem::Problem;
use crate::http::rate_limit_headers;
use crate::http::request_id::{REQUEST_ID, RequestId};
use crate::http::response_body::{ResponseBody, count_response};
use crate::http::stream_connection::{HandOver, LongLived, Streamable, StreamedResponse};
use crate::http::transport::Transport;
use crate::http::under_way::{RETRY_AFTER, UnderWay};
use crate::http::unread_body::UnreadBody;
use crate::http::watching::{BehindProxy, Watching};

/// How long a client may take to send the head of its first request; in the reserve for probes, less.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const PROBE_HEAD_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a client may take to send a later head, and how long a connection may idle between requests: longer than proxies keep theirs
/// (60 s by default), or they would send requests into connections that close.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// The largest head, in bytes, and the most headers of a request. Heads may have 64 KiB; with room for a little more, hyper can tell an
/// address that is too long (414) from headers that are (431).
const MAX_HEAD_BYTES: usize = 72 * 1024;
const MAX_HEADERS: usize = 100;

/// What all connections of a server share.
pub(super) struct Shared {
    pub(super) api: Api,
    pub(super) proxies: TrustedProxies,
    pub(super) origins: Origins,
    /// How many connections an address may have, and how many requests that came by a trusted proxy.
    pub(super) per_address: usize,
    /// Requests that came by a trusted proxy and are not done, by their client's address.
    pub(super) forwarded: AddressBudget,
    pub(super) under_way: UnderWay,
    pub(super) refusals: Refusals,
    pub(super) shutdown: CancellationToken,
}

/// A connection that was accepted.
pub(super) struct Accepted {
    pub(super) tcp: TcpStream,
    /// Held as long as the connection has its descriptor.
    pub(super) descriptor: OwnedSemaphorePermit,
    pub(super) peer: SocketAddr,
    pub(super) admitted: Admitted,
}

/// Serves a connection until it ends, or its place is given to another one. When the server shuts down, the current request is the
/// last.
pub(super) async fn serve_connection(accepted: Accepted, shared: Arc<Shared>) {
    let Accepted {
        tcp,
        descriptor,
        peer,
        admitted,
    } = accepted;
    let Admitted { seat, exhausted } = admitted;
    let local = LocalAddr(tcp.local_addr().unwrap_or(peer).into());
    let mut transport = match Transport::new(tcp, descriptor, Arc::clone(seat.signals())) {
        Ok(transport) => transport,
        Err(error) => {
            tracing::debug!(%error, "connection lost before its first request");
            return;
        }
    };
    let requests = Arc::new(Requests {
        shared: Arc::clone(&shared),
        seat: seat.clone(),
        exhausted,
        local,
        peer,
        hand_over: HandOver::default(),
        watched: Mutex::default(),
    });
    let mut shutdown = pin!(shared.shutdown.cancelled());
    loop {
        // Boxed, so that the memory is given back while a stream is written.
        let Some((below, streamed)) = Box::pin(requests.serve_with_hyper(transport, shutdown.as_mut())).await else {
            break;
        };
        let written = tokio::select! {
            written = streamed.write_to(below) => written,
            () = seat.closing() => break,
        };
        match written {
            Ok(Some(reusable)) if !shared.shutdown.is_cancelled() => transport = reusable,
            Ok(Some(mut last)) => {
                tokio::select! {
                    _ = last.shutdown() => {}
                    () = seat.closing() => {}
                }
                break;
            }
            Ok(None) => break,
            Err(error) => {
                tracing::debug!(%error, "connection broke");
                break;
            }
        }
    }
    requests.settle_watched(seat.signals().has_ended());
}

/// The requests of one connection.
struct Requests {
    shared: Arc<Shared>,
    seat: Seat,
    exhausted: Option<Exhausted>,
    local: LocalAddr,
    peer: SocketAddr,
    hand_over: HandOver,
    /// What the client watches on this connection, or has watched last.
    watched: Mutex<Option<Watching>>,
}

impl Requests {
    /// Lets hyper serve the connection, until it ends or a response is to be written without hyper: then it is returned, with the
    /// connection.
    async fn serve_with_hyper(
        self: &Arc<Self>,
        transport: Transport,
        mut shutdown: Pin<&mut WaitForCancellationFuture<'_>>,
    ) -> Option<(Transport, StreamedResponse)> {
        let (seat, refusals) = (&self.seat, &self.shared.refusals);
        let requests = Arc::clone(self);
        let service = service_fn(move |request| {
            let requests = Arc::clone(&requests);
            // Boxed while it runs: hyper reserves room for this future as long as the connection lives.
            Box::pin(async move { requests.serve(request).await })
        });
        let io = ProblemWriter::new(TokioIo::new(transport), refusals.clone(), self.peer.ip());
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .keep_alive(self.exhausted.is_none());
        let first_head_timeout = if self.exhausted.is_some() {
            PROBE_HEAD_TIMEOUT
        } else {
            FIRST_HEAD_TIMEOUT
        };
        let mut served = builder.serve_connection(io, service).with_upgrades();
        let mut first_head = pin!(tokio::time::sleep(first_head_timeout));
        let (mut is_waiting, mut is_closing) = (!seat.signals().has_begun(), false);
        let streamed = loop {
            let step = std::future::poll_fn(|cx| match Pin::new(&mut served).poll(cx) {
                Poll::Ready(outcome) => Poll::Ready(Err(outcome)),
                // What hyper has written before leaves first.
                Poll::Pending if seat.signals().has_unsent() => Poll::Pending,
                Poll::Pending => self
                    .hand_over
                    .take()
                    .map_or(Poll::Pending, |streamed| Poll::Ready(Ok(streamed))),
            });
            tokio::select! {
                step = step => match step {
                    Ok(streamed) => break streamed,
                    Err(outcome) => {
                        if let Err(error) = outcome {
                            tracing::debug!(%error, "connection broke");
                        }
                        return None;
                    }
                },
                () = seat.closing() => return None,
                () = &mut first_head, if is_waiting => {
                    if !seat.signals().has_begun() {
                        refusals.report_slow_head(self.peer.ip(), seat.signals().has_received());
                        return None;
                    }
                    is_waiting = false;
                }
                () = &mut shutdown, if !is_closing => {
                    Pin::new(&mut served).graceful_shutdown();
                    is_closing = true;
                }
            }
        };
        let parts = served.into_parts()?;
        let mut transport = parts.io.into_inner().into_inner();
        transport.read_again(parts.read_buf);
        Some((transport, streamed))
    }

    async fn serve(
        &self,
        request: hyper::Request<Incoming>,
    ) -> io::Result<hyper::Response<ResponseBody<impl Body<Data = Bytes, Error = io::Error> + Unpin + Send + use<>>>>
    {
        // Who asks for something else has taken what came before.
        self.settle_watched(true);
        let peer = self.peer.into();
        let streamable = Streamable::of(&request);
        let address = self.shared.proxies.client(&peer, request.headers());
        let client = ClientNetwork::from(address);
        let admitted = self.admit(&request, address);
        let (forwarded, refusal) = match admitted {
            Ok(forwarded) => (forwarded, None),
            Err(exhausted) => (None, Some(exhausted)),
        };
        // The place was given away, and the connection closes: nothing of this request may be done.
        let aborted = || io::Error::from(io::ErrorKind::ConnectionAborted);
        let permit = self.seat.begin_request(forwarded).ok_or_else(aborted)?;
        let mut request = Request::from((request, self.local.clone(), RemoteAddr(peer), Scheme::HTTP));
        let unread = UnreadBody::watch(&mut request);
        let under_way = &self.shared.under_way;
        let mut response = match refusal {
            Some(exhausted) => self.refuse(&request, exhausted),
            None => {
                if self.is_proxy() {
                    request.set_data(BehindProxy);
                }
                request.set_data(permit.clone());
                request.set_data(under_way.body_of(client));
                request.set_data(under_way.frames_of(client));
                self.shared.api.get_response(request).await
            }
        };
        if let Some(unread) = unread {
            unread.settle(&mut response).await;
        }
        let is_long_lived = response.data::<LongLived>().is_some();
        let watching = response.data::<Watching>().cloned();
        let is_last = self.shared.shutdown.is_cancelled();
        let streamable = if is_last { streamable.closing() } else { streamable };
        let counted = count_response(response, &under_way.responses, client, permit);
        match watching {
            Some(watching) if is_long_lived && streamable.is_in_chunks() => *self.watched() = Some(watching),
            Some(watching) if !is_long_lived && counted.status().is_success() => {
                watching.pause();
                *self.watched() = Some(watching);
            }
            // Its watcher is lost when the body ends.
            Some(_) | None => {}
        }
        Ok(self.hand_over.filter(streamable, is_long_lived, counted).await)
    }

    /// What a request holds that came by a trusted proxy.
    ///
    /// # Errors
    /// The limit that is reached, unless the health of the server is asked for.
    fn admit(&self, request: &hyper::Request<Incoming>, address: IpAddr) -> Result<Option<Held>, Exhausted> {
        if is_probe(request.method(), request.uri().path()) {
            return Ok(None);
        }
        if let Some(exhausted) = self.exhausted {
            return Err(exhausted);
        }
        if address == self.peer.ip().to_canonical() || !self.is_proxy() {
            return Ok(None);
        }
        let mut forwarded = self.shared.forwarded.open(address.into());
        forwarded.grow_to(1).map(|()| Some(forwarded))
    }

    /// Decides how the last watcher has left. `is_in_order`: the client has closed the connection, or asks for
    /// something else; but what a proxy does with its connections says nothing about the client behind it.
    fn settle_watched(&self, is_in_order: bool) {
        let Some(watching) = self.watched().take() else {
            return;
        };
        let is_in_order = is_in_order && !self.is_proxy();
        if is_in_order {
            watching.leave_in_order();
        } else {
            watching.lose();
        }
        tracing::debug!(is_in_order, "a watched response is settled");
    }

    fn is_proxy(&self) -> bool {
        self.shared.proxies.trusts(self.peer.ip().to_canonical())
    }

    fn watched(&self) -> MutexGuard<'_, Option<Watching>> {
        // Nothing panics while it holds the lock.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, request: &Request, exhausted: Exhausted) -> Response {
        let id = RequestId::choose(request.headers(), &self.shared.refusals.entropy);
        let mut response = Problem::from(exhausted).render(id.as_str());
        let headers = response.headers_mut();
        if let (Exhausted::Address, Ok(limit)) = (exhausted, u64::try_from(self.shared.per_address)) {
            rate_limit_headers::insert(headers, limit, 0, RETRY_AFTER.as_secs());
        }
        headers.insert(REQUEST_ID, id.0);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        self.shared.origins.announce(request, headers);
        response
    }
}
