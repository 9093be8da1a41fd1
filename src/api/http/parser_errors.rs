//! Requests that hyper cannot parse never reach the router: hyper answers them with a bare status line. Here that becomes a problem
//! like every other.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use cura_app::log_key::LogKey;
use cura_domain::Entropy;
use hyper::rt::{Read, ReadBufCursor, Write};
use poem::http::StatusCode;
use tokio::time::Instant;

use crate::http::client_address::client_key;
use crate::http::problem::Problem;

/// How many refusals are reported in an interval, each with a line of its own; the others are only counted.
const MAX_REPORTS: u32 = 10;
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// What refused requests need that never reach the router. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Refusals {
    pub(crate) entropy: Entropy,
    /// Hides addresses in log lines.
    pub(crate) log_key: LogKey,
    pub(crate) unreported: Arc<Mutex<Unreported>>,
}

/// Refusals that were not reported. Whoever sends garbage writes no line for each.
#[derive(Debug, Default)]
pub(crate) struct Unreported {
    since: Option<Instant>,
    /// Lines written in this interval.
    reports: u32,
    refusals: u64,
}

impl Unreported {
    /// Counts one. If it is to be reported: how many before it were not.
    fn count(&mut self) -> Option<u64> {
        if self.since.is_none_or(|since| since.elapsed() >= REPORT_INTERVAL) {
            (self.since, self.reports) = (Some(Instant::now()), 0);
        }
        if self.reports == MAX_REPORTS {
            self.refusals += 1;
            return None;
        }
        self.reports += 1;
        Some(std::mem::take(&mut self.refusals))
    }
}

impl Refusals {
    /// Reports a client that did not complete its first head in time. One that sent nothing is no news: browsers open connections
    /// in advance.
    pub(crate) fn report_slow_head(&self, peer: IpAddr, has_sent: bool) {
        if has_sent && let Some(unreported) = self.count() {
            let address = self.log_key.hide(&client_key(peer));
            tracing::info!(
                address,
                unreported,
                "a connection was closed: the head of its first request took too long"
            );
        }
    }

    fn count(&self) -> Option<u64> {
        self.unreported.lock().unwrap_or_else(PoisonError::into_inner).count()
    }

    fn report(&self, peer: IpAddr, status: StatusCode, code: &str) {
        let Some(unreported) = self.count() else {
            return;
        };
        let address = self.log_key.hide(&client_key(peer));
        let status = status.as_u16();
        tracing::info!(
            address,
            status,
            code,
            unreported,
            "refused what is not a valid HTTP request"
        );
    }
}

/// A connection on which bare refusals of hyper are replaced by problems.
pub(crate) struct ProblemWriter<S> {
    inner: S,
    refusals: Refusals,
    peer: IpAddr,
    /// The problem that is being written, and how many bytes of it are written.
    problem: Vec<u8>,
    gone: usize,
}

impl<S> ProblemWriter<S> {
    pub(crate) fn new(inner: S, refusals: Refusals, peer: IpAddr) -> Self {
        Self {
            inner,
            refusals,
            peer,
            problem: Vec::new(),
            gone: 0,
        }
    }

    /// The connection below.
    pub(crate) fn into_inner(self) -> S {
        self.inner
    }
}

/// The status of a response that hyper wrote by itself: a whole head without a body, and without the request id that every
/// other response has.
fn bare_refusal(written: &[u8]) -> Option<StatusCode> {
    let rest = written
        .strip_prefix(b"HTTP/1.1 ")
        .or_else(|| written.strip_prefix(b"HTTP/1.0 "))?;
    if rest.first() != Some(&b'4') || !written.ends_with(b"\r\n\r\n") {
        return None;
    }
    let head = std::str::from_utf8(rest).ok()?;
    let ours = head.to_ascii_lowercase().contains("\r\nx-request-id:");
    let status = StatusCode::from_bytes(head.as_bytes().get(..3)?).ok()?;
    (!ours).then_some(status)
}

fn explain(status: StatusCode) -> Problem {
    let (code, detail) = match status {
        StatusCode::URI_TOO_LONG => ("uri_too_long", "The URI is too long."),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
            "headers_too_large",
            "There are too many headers, or they are too large.",
        ),
        StatusCode::REQUEST_TIMEOUT => ("request_timeout", "The request took too long to arrive."),
        _ => ("malformed_request", "This is not an HTTP request."),
    };
    Problem::new(status, code, detail)
}

impl<S: Write + Unpin> ProblemWriter<S> {
    fn poll_problem(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left) = self.problem.get(self.gone..).filter(|left| !left.is_empty()) {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, left))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gone += written;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Write + Unpin> Write for ProblemWriter<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_problem(cx))?;
        let Some(status) = bare_refusal(bytes) else {
            return Pin::new(&mut self.inner).poll_write(cx, bytes);
        };
        let problem = explain(status);
        self.refusals.report(self.peer, status, problem.code());
        self.problem = problem.render_raw(&self.refusals.entropy);
        self.gone = 0;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_problem(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_problem(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A bare refusal is one part.
        match parts {
            [only] => self.poll_write(cx, only),
            _ => {
                ready!(self.poll_problem(cx))?;
                Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
            }
        }
    }
}

impl<S: Read + Unpin> Read for ProblemWriter<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_response_that_hyper_writes_by_itself_is_a_bare_refusal() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        assert_eq!(bare_refusal(bare), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        for other in [
            &b"HTTP/1.1 404 Not Found\r\nx-request-id: 1\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"data: HTTP/1.1 400",
            b"",
        ] {
            assert_eq!(bare_refusal(other), None);
        }
    }
}
