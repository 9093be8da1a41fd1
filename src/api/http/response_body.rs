//! The body of a response on its way to the client: it keeps its connection busy, and what it holds in memory is counted for the
//! client's address until the kernel has taken it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use poem::Response;
use poem::http::{HeaderMap, header};

use crate::http::address_budget::{AddressBudget, Exhausted, Held};
use crate::http::client_address::ClientNetwork;
use crate::http::connection_table::ConnectionPermit;
use crate::http::problem::Problem;
use crate::http::request_id::REQUEST_ID;

/// Smaller pieces are not counted: a connection holds few of them at a time.
const MIN_COUNTED: usize = 16 * 1024;

/// In a response's data: all clients share its bytes, so they cost nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedBytes;

/// The body of a response.
pub(super) struct ResponseBody<B> {
    inner: B,
    /// `None` if the bytes cost nothing.
    budget: Option<Budget>,
    _permit: ConnectionPermit,
}

/// What a response may hold.
struct Budget {
    responses: AddressBudget,
    client: ClientNetwork,
    /// What is held for a body that was whole from the beginning, until its bytes leave.
    whole: Option<Held>,
}

/// Bytes that are counted until the last part of them is gone.
struct CountedBytes {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The response for hyper. A response that is whole, and too large for what the client's address has not taken yet, is replaced by a
/// 429 or 503: waiting would keep it in memory.
pub(super) fn count_response(
    response: Response,
    responses: &AddressBudget,
    client: ClientNetwork,
    permit: ConnectionPermit,
) -> hyper::Response<ResponseBody<impl Body<Data = Bytes, Error = io::Error> + Unpin + Send + use<>>> {
    let is_shared = response.data::<SharedBytes>().is_some();
    let mut response = hyper::Response::from(response);
    let mut held = responses.open(client);
    let whole = response
        .body()
        .size_hint()
        .exact()
        .and_then(|length| usize::try_from(length).ok());
    let counted = whole.filter(|length| !is_shared && *length >= MIN_COUNTED);
    if let Some(Err(exhausted)) = counted.map(|length| held.grow_to(length)) {
        response = refused(response.headers(), exhausted).into();
    }
    let budget = (!is_shared).then(|| Budget {
        responses: responses.clone(),
        client,
        whole: counted.map(|_| held),
    });
    response.map(|inner| ResponseBody {
        inner,
        budget,
        _permit: permit,
    })
}

/// The refusal, with what the headers of the response say about the request rather than about its body.
fn refused(headers: &HeaderMap, exhausted: Exhausted) -> Response {
    let request_id = headers
        .get(REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default();
    let mut refusal = Problem::from(exhausted).render(request_id);
    let of_body = [
        header::CONTENT_ENCODING,
        header::CONTENT_DISPOSITION,
        header::CONTENT_LENGTH,
        header::ETAG,
        header::LINK,
        header::LOCATION,
    ];
    for (name, value) in headers.iter().filter(|(name, _)| !of_body.contains(name)) {
        refusal.headers_mut().entry(name).or_insert_with(|| value.clone());
    }
    refusal
}

impl<B> ResponseBody<B> {
    /// Counts a piece that is on its way. A stream breaks off if its client's address has not taken enough of what it was sent.
    fn count(&mut self, frame: Frame<Bytes>) -> io::Result<Frame<Bytes>> {
        let Some(budget) = &mut self.budget else {
            return Ok(frame);
        };
        let bytes = match frame.into_data() {
            Ok(bytes) if bytes.len() >= MIN_COUNTED => bytes,
            Ok(bytes) => return Ok(Frame::data(bytes)),
            Err(frame) => return Ok(frame),
        };
        let held = match budget.whole.take() {
            Some(held) => held,
            None => {
                let mut held = budget.responses.open(budget.client);
                held.grow_to(bytes.len()).map_err(|_| {
                    tracing::info!("a download breaks off: its address does not take what it was sent");
                    io::Error::from(io::ErrorKind::QuotaExceeded)
                })?;
                held
            }
        };
        Ok(Frame::data(Bytes::from_owner(CountedBytes { bytes, _held: held })))
    }
}

impl<B: Body<Data = Bytes, Error = io::Error> + Unpin> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        polled.map(|piece| piece.map(|piece| piece.and_then(|frame| self.count(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
