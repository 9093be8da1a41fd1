//! A connection while it carries a stream of events. hyper holds two buffers of 8 KiB for a connection as long as a response lasts, and
//! a stream lasts for hours and says little: its response is taken from hyper, written here in chunks (RFC 9112, section 7.1), and
//! the connection is given back for the next request.

use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use hyper::body::{Body, Bytes};
use poem::http::{HeaderMap, HeaderValue, Method, Version, header};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::http::transport::Transport;
use crate::http::watching::Watching;

/// What is ready is written together until it has this many bytes.
const MAX_BATCH: usize = 16 * 1024;
/// A piece of this many bytes is not copied.
const MIN_LARGE: usize = 4 * 1024;
/// How large a buffer an idle stream keeps.
const MAX_KEPT_BUFFER: usize = 512;
/// How much is read of what a client sends before its stream has ended; the rest waits in the kernel.
const MAX_AHEAD: usize = 512;

/// In a response's data: its body lasts long, and is idle most of the time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LongLived;

/// A response that is written without hyper.
pub(super) struct StreamedResponse {
    response: hyper::Response<Pieces>,
    keeps_alive: bool,
    watching: Option<Watching>,
}

type Pieces = Pin<Box<dyn Body<Data = Bytes, Error = io::Error> + Send>>;

/// Whether the response to a request may be taken from hyper, and the connection be used again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streamable {
    in_chunks: bool,
    keeps_alive: bool,
}

impl Streamable {
    /// Of a request with this head. A body with a transfer coding is left to hyper, which closes the connection if it had a length as
    /// well (RFC 9112, section 6.1).
    pub(super) fn of<B>(request: &hyper::Request<B>) -> Self {
        let headers = request.headers();
        Self {
            in_chunks: request.version() == Version::HTTP_11
                && request.method() != Method::HEAD
                && !headers.contains_key(header::TRANSFER_ENCODING),
            keeps_alive: !closes(headers),
        }
    }

    /// Whether a response that lasts is taken from hyper.
    pub(super) fn is_in_chunks(self) -> bool {
        self.in_chunks
    }

    /// The connection is not used again.
    pub(super) fn closing(self) -> Self {
        Self {
            keeps_alive: false,
            ..self
        }
    }
}

/// Whether `Connection` says that the connection closes.
fn closes(headers: &HeaderMap) -> bool {
    let mut lists = headers.get_all(header::CONNECTION).iter();
    lists.any(|list| {
        let list = list.to_str().unwrap_or_default();
        list.split(',')
            .any(|option| option.trim().eq_ignore_ascii_case("close"))
    })
}

/// Where a request leaves a response that is to be taken from hyper. A connection has one request at a time.
#[derive(Clone, Default)]
pub(super) struct HandOver(Arc<Mutex<Option<StreamedResponse>>>);

impl HandOver {
    /// Never returns if the response is one that lasts: whoever polls the connection finds it by [`Self::take`]. Else it is
    /// returned, for hyper.
    pub(super) async fn filter<B>(
        &self,
        streamable: Streamable,
        is_long_lived: bool,
        response: hyper::Response<B>,
    ) -> hyper::Response<B>
    where
        B: Body<Data = Bytes, Error = io::Error> + Send + 'static,
    {
        if !is_long_lived || !streamable.in_chunks {
            return response;
        }
        let mut response = response.map(|body| Box::pin(body) as Pieces);
        let watching = response.extensions_mut().remove::<Watching>();
        let keeps_alive = streamable.keeps_alive && !closes(response.headers());
        if !keeps_alive {
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(StreamedResponse {
            response,
            keeps_alive,
            watching,
        });
        std::future::pending().await
    }

    /// The response that was left.
    pub(super) fn take(&self) -> Option<StreamedResponse> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl StreamedResponse {
    /// Writes the response to its end. Returns the connection if it may be used again, with what the client has sent meanwhile.
    ///
    /// # Errors
    /// When the client has gone, takes nothing for too long, or the body breaks off.
    pub(super) async fn write_to(self, mut transport: Transport) -> io::Result<Option<Transport>> {
        let (keeps_alive, watching) = (self.keeps_alive, self.watching.clone());
        let mut writing = Writing::new(self);
        std::future::poll_fn(|cx| writing.poll(cx, Pin::new(&mut transport))).await?;
        let Writing { pieces, ahead, .. } = writing;
        // With it goes what makes the connection a busy one.
        drop(pieces);
        match watching {
            Some(watching) if ahead.is_empty() => watching.pause(),
            // The next request was on its way before this response had ended, and says nothing about it.
            Some(watching) => watching.lose(),
            None => {}
        }
        if !keeps_alive {
            transport.shutdown().await?;
            return Ok(None);
        }
        transport.read_again(Bytes::from(ahead));
        Ok(Some(transport))
    }
}

/// A response on its way.
struct Writing {
    pieces: Pieces,
    has_ended: bool,
    /// What is written next, and how much of it was.
    buffer: Vec<u8>,
    written: usize,
    /// Comes behind the buffer; the end of its chunk is not in the buffer yet.
    large: Option<Bytes>,
    /// What the client has sent already: the beginning of its next request.
    ahead: Vec<u8>,
}

impl Writing {
    fn new(streamed: StreamedResponse) -> Self {
        let (head, pieces) = streamed.response.into_parts();
        let mut buffer = Vec::with_capacity(1024);
        buffer.extend_from_slice(b"HTTP/1.1 ");
        buffer.extend_from_slice(head.status.as_str().as_bytes());
        buffer.push(b' ');
        buffer.extend_from_slice(head.status.canonical_reason().unwrap_or_default().as_bytes());
        buffer.extend_from_slice(b"\r\n");
        let date = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())).ok();
        let added = [
            (header::TRANSFER_ENCODING, Some(HeaderValue::from_static("chunked"))),
            (header::DATE, date),
        ];
        let added = added.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        for (name, value) in head.headers.iter().chain(added) {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                buffer.extend_from_slice(part);
            }
        }
        buffer.extend_from_slice(b"\r\n");
        Self {
            pieces,
            has_ended: false,
            buffer,
            written: 0,
            large: None,
            ahead: Vec::new(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, mut transport: Pin<&mut Transport>) -> Poll<io::Result<()>> {
        self.watch_client(cx, transport.as_mut())?;
        loop {
            self.fill(cx)?;
            if self.is_written() {
                return if self.has_ended {
                    Poll::Ready(Ok(()))
                } else {
                    Poll::Pending
                };
            }
            ready!(self.poll_write(cx, transport.as_mut()))?;
        }
    }

    /// Notices a client that has gone, unless it sent something before.
    fn watch_client(&mut self, cx: &mut Context<'_>, transport: Pin<&mut Transport>) -> io::Result<()> {
        if !self.ahead.is_empty() {
            return Ok(());
        }
        let mut space = [const { MaybeUninit::uninit() }; MAX_AHEAD];
        let mut received = ReadBuf::uninit(&mut space);
        match transport.poll_read(cx, &mut received) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) if received.filled().is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            Poll::Ready(Ok(())) => {
                self.ahead.extend_from_slice(received.filled());
                Ok(())
            }
            Poll::Ready(Err(error)) => Err(error),
        }
    }

    /// Takes what is ready.
    fn fill(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.has_ended && self.large.is_none() && self.buffer.len() < MAX_BATCH {
            match self.pieces.as_mut().poll_frame(cx) {
                Poll::Ready(Some(piece)) => {
                    if let Ok(bytes) = piece?.into_data() {
                        self.add(bytes)?;
                    }
                }
                Poll::Ready(None) => {
                    self.has_ended = true;
                    self.buffer.extend_from_slice(b"0\r\n\r\n");
                }
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    fn add(&mut self, bytes: Bytes) -> io::Result<()> {
        // A chunk without bytes would be the last one.
        if bytes.is_empty() {
            return Ok(());
        }
        write!(self.buffer, "{:x}\r\n", bytes.len())?;
        if bytes.len() >= MIN_LARGE {
            self.large = Some(bytes);
        } else {
            self.buffer.extend_from_slice(&bytes);
            self.buffer.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    fn is_written(&self) -> bool {
        self.written == self.buffer.len() && self.large.is_none()
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, transport: Pin<&mut Transport>) -> Poll<io::Result<()>> {
        let left = self.buffer.get(self.written..).unwrap_or_default();
        let large = self.large.as_deref().unwrap_or_default();
        let taken = ready!(transport.poll_write_vectored(cx, &[IoSlice::new(left), IoSlice::new(large)]))?;
        if taken == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let of_buffer = taken.min(left.len());
        let of_large = taken - of_buffer;
        self.written += of_buffer;
        if self.written < self.buffer.len() {
            return Poll::Ready(Ok(()));
        }
        if self.buffer.capacity() > MAX_KEPT_BUFFER {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        self.written = 0;
        if let Some(large) = &mut self.large {
            *large = large.split_off(of_large);
            if large.is_empty() {
                self.large = None;
                self.buffer.extend_from_slice(b"\r\n");
            }
        }
        Poll::Ready(Ok(()))
    }
}
