//! A TCP proxy in front of Postgres or Redis that can cut connections or swallow everything.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

use crate::TestDatabase;

/// What the proxy does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Cut,
    /// Sockets stay open and nothing passes, as when a network loses every packet.
    Silent,
}

/// A running proxy; connections pass until a test changes that.
pub struct Proxy {
    port: u16,
    state: Arc<watch::Sender<State>>,
    listeners_are_silent: Arc<watch::Sender<bool>>,
    /// The port it leads to, if it leads to one.
    target: Option<Arc<AtomicU16>>,
}

impl Proxy {
    /// In front of Postgres.
    ///
    /// # Panics
    /// When the tests were given a server instead of a private one.
    pub async fn to_postgres(database: &TestDatabase) -> Self {
        let socket = database.socket().expect("the private Postgres; unset DATABASE_URL");
        Self::start(move || UnixStream::connect(socket.clone())).await
    }

    /// In front of a port of this machine.
    pub async fn to_port(target: u16) -> Self {
        let port = Arc::new(AtomicU16::new(target));
        let target = Arc::clone(&port);
        let mut proxy = Self::start(move || TcpStream::connect(("127.0.0.1", target.load(Ordering::Relaxed)))).await;
        proxy.target = Some(port);
        proxy
    }

    /// Closes every connection, and leads new ones to another port, as an address does that follows the primary.
    ///
    /// # Panics
    /// When it is not in front of a port.
    pub fn move_to(&self, target: u16) {
        self.cut();
        self.lead_new_ones_to(target);
        self.restore();
    }

    /// Leads new connections to another port, and leaves those that are open where they are.
    ///
    /// # Panics
    /// When it is not in front of a port.
    pub fn lead_new_ones_to(&self, target: u16) {
        let port = self.target.as_ref().expect("a proxy to a port");
        port.store(target, Ordering::Relaxed);
    }

    /// In front of a port of this machine that may change: new connections go to the new one.
    pub async fn to_changing_port(target: Arc<AtomicU16>) -> Self {
        Self::start(move || TcpStream::connect(("127.0.0.1", target.load(Ordering::Relaxed)))).await
    }

    async fn start<S, F>(connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = std::io::Result<S>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let state = Arc::new(watch::Sender::new(State::Open));
        let listeners_are_silent = Arc::new(watch::Sender::new(false));
        let (proxy, silent) = (Arc::clone(&state), Arc::clone(&listeners_are_silent));
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *proxy.borrow() != State::Cut {
                    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
                    tokio::spawn(carry(client, connect(), proxy.subscribe(), silent.subscribe()));
                }
            }
        });
        Self {
            port,
            state,
            listeners_are_silent,
            target: None,
        }
    }

    /// The URL that reaches `database` through the proxy.
    pub fn url(&self, database: &TestDatabase) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/{}?sslmode=disable",
            self.port,
            database.name()
        )
    }

    /// Closes every connection and refuses new ones.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Swallows everything sent from now on. Connections that are open now never work again.
    pub fn fall_silent(&self) {
        self.state.send_replace(State::Silent);
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Swallows everything on connections that listen for notifications, and on new ones that begin to. Others go on.
    pub fn silence_listeners(&self) {
        self.listeners_are_silent.send_replace(true);
    }

    /// Lets new connections through again.
    pub fn restore(&self) {
        self.state.send_replace(State::Open);
    }
}

async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    client: TcpStream,
    connecting: impl Future<Output = std::io::Result<S>>,
    mut state: watch::Receiver<State>,
    mut listeners_are_silent: watch::Receiver<bool>,
) {
    let Ok(mut server) = connecting.await else {
        return;
    };
    let now = *state.borrow_and_update();
    let mut silenced = false;
    let listens = watch::Sender::new(false);
    let mut listening = listens.subscribe();
    let mut client = Overheard { client, listens };
    if now == State::Open {
        tokio::select! {
            // Either end may close it.
            _ = copy_bidirectional(&mut client, &mut server) => return,
            () = until_silenced(&mut listening, &mut listeners_are_silent) => silenced = true,
            _ = state.wait_for(|state| *state != State::Open) => {}
        }
    }
    if silenced || *state.borrow() == State::Silent {
        std::future::pending::<()>().await;
    }
}

/// Waits until the client listens, and those that do are silenced.
async fn until_silenced(listens: &mut watch::Receiver<bool>, silent: &mut watch::Receiver<bool>) {
    for condition in [listens, silent] {
        if condition.wait_for(|holds| *holds).await.is_err() {
            // Its sender is gone: it will never hold.
            std::future::pending::<()>().await;
        }
    }
}

/// A client of Postgres, and whether it has sent a LISTEN.
struct Overheard {
    client: TcpStream,
    listens: watch::Sender<bool>,
}

impl AsyncRead for Overheard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.client).poll_read(context, buffer);
        if buffer.filled()[before..].windows(7).any(|bytes| bytes == b"LISTEN ") {
            self.listens.send_replace(true);
        }
        read
    }
}

impl AsyncWrite for Overheard {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.client).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.client).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.client).poll_shutdown(context)
    }
}
