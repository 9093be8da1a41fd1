//! The bytes of one connection: a client that takes nothing of a response for a while is let go, and one that is refused while it
//! still sends hears why.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Bytes;
use rustix::net::sockopt;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use crate::http::connection_table::Signals;

/// How long a response may wait without the client taking a single byte of it.
const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a client may pause, go on in all, and how many bytes it may send after the last response was written. If the connection
/// were closed while it sends, it would see a broken connection instead of the response: a phone that uploads a picture with an access
/// token that has expired has to learn that.
/// 10 MiB take 80 s at 1 Mbit/s.
const LINGER_PAUSE_TIMEOUT: Duration = Duration::from_secs(5);
const LINGER_TIMEOUT: Duration = Duration::from_secs(90);
const MAX_LINGER_BYTES: usize = 16 * 1024 * 1024;
/// How long sent bytes may stay unacknowledged before the connection counts as lost.
const UNACKNOWLEDGED_TIMEOUT_MS: u32 = 60_000;
/// What the kernel may buffer for a client that does not read, in bytes; its default grows to megabytes per connection.
const SEND_BUFFER: usize = 128 * 1024;
/// How much of it may be unsent, in bytes: so little that a slow client's progress is seen before it counts as stalled.
const MAX_UNSENT: u32 = 32 * 1024;

/// The most that one read takes, in bytes. hyper doubles its buffer whenever a read fills it, and keeps it as long as the connection
/// lives: a client that sends much would hold 200 KiB.
const MAX_READ: usize = 4096;

/// A TCP connection that does not wait for ever.
pub(super) struct Transport {
    /// Before its permit: the descriptor is closed first.
    tcp: TcpStream,
    _descriptor: OwnedSemaphorePermit,
    signals: Arc<Signals>,
    /// Runs while the kernel takes no more, and while the client may go on sending.
    timer: Option<Pin<Box<Sleep>>>,
    /// Since the last response was written.
    lingering: Option<Lingering>,
    /// What was read before its time.
    ahead: Bytes,
    /// After an error the kernel says that the client has closed its side, whether it has or not.
    is_broken: bool,
}

/// What a client sends although the connection is at its end.
struct Lingering {
    until: Instant,
    discarded: usize,
}

impl Transport {
    /// The connection with its options set. It holds the permit for its descriptor as long as it is open.
    ///
    /// # Errors
    /// When it is lost already.
    pub(super) fn new(tcp: TcpStream, descriptor: OwnedSemaphorePermit, signals: Arc<Signals>) -> io::Result<Self> {
        configure(&tcp)?;
        Ok(Self {
            tcp,
            _descriptor: descriptor,
            signals,
            timer: None,
            lingering: None,
            ahead: Bytes::new(),
            is_broken: false,
        })
    }

    /// Lets these bytes be read next: they came before somebody wanted them.
    pub(super) fn read_again(&mut self, bytes: Bytes) {
        // Without any, they may still own a buffer.
        if !bytes.is_empty() {
            self.ahead = [bytes, std::mem::take(&mut self.ahead)].concat().into();
        }
    }

    /// The outcome of a write; an error if the client has taken nothing for too long.
    fn watch(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.signals.set_has_unsent(written.is_pending());
        self.is_broken |= matches!(written, Poll::Ready(Err(_)));
        if written.is_ready() {
            self.timer = None;
            return written;
        }
        ready!(self.poll_timer(cx, WRITE_STALL_TIMEOUT));
        tracing::debug!("a client took nothing of its response for too long; its connection is closed");
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Notes that the client has closed its side.
    fn note_end(&self) {
        if !self.is_broken {
            self.signals.set_has_ended();
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, after: Duration) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        timer.as_mut().poll(cx)
    }

    /// Discards what the client still sends, until it has finished.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut discarded = [0; MAX_READ];
        while let Some(lingering) = &mut self.lingering
            && lingering.discarded < MAX_LINGER_BYTES
        {
            let left = lingering.until.saturating_duration_since(Instant::now());
            let mut buffer = ReadBuf::new(&mut discarded);
            match Pin::new(&mut self.tcp).poll_read(cx, &mut buffer) {
                Poll::Pending => return self.poll_timer(cx, LINGER_PAUSE_TIMEOUT.min(left)),
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() && !left.is_zero() => {
                    lingering.discarded += buffer.filled().len();
                    self.timer = None;
                }
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    self.note_end();
                    return Poll::Ready(());
                }
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    }
}

/// Small frames are sent at once, a client that does not read costs little memory, and a lost peer is noticed.
fn configure(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    sockopt::set_socket_send_buffer_size(tcp, SEND_BUFFER)?;
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, Duration::from_secs(30))?;
    sockopt::set_tcp_user_timeout(tcp, UNACKNOWLEDGED_TIMEOUT_MS)?;
    SockRef::from(tcp).set_tcp_notsent_lowat(MAX_UNSENT)
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let length = buffer.remaining().min(self.ahead.len());
            buffer.put_slice(&self.ahead.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let mut piece = [const { MaybeUninit::uninit() }; MAX_READ];
        let length = buffer.remaining().min(MAX_READ);
        let mut piece = ReadBuf::uninit(&mut piece[..length]);
        let read = ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut piece));
        self.is_broken |= read.is_err();
        read?;
        if !piece.filled().is_empty() {
            self.signals.set_has_received();
            buffer.put_slice(piece.filled());
        } else if length > 0 {
            self.note_end();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, parts);
        self.watch(cx, written)
    }

    /// So that a large response is not copied into one buffer.
    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.tcp).poll_shutdown(cx))?;
            let until = Instant::now() + LINGER_TIMEOUT;
            (self.lingering, self.timer) = (Some(Lingering { until, discarded: 0 }), None);
        }
        ready!(self.poll_linger(cx));
        Poll::Ready(Ok(()))
    }
}
