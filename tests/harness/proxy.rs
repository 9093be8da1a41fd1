//! A TCP proxy in front of Postgres or Redis that can cut connections or swallow everything.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Notify, watch};

use crate::TestDatabase;

/// What the proxy does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Cut,
    /// Sockets stay open and nothing passes, as when a network loses every packet.
    Silent,
}

/// What the proxy does with connections that listen for notifications.
#[derive(Default)]
struct Listeners {
    are_silent: watch::Sender<bool>,
    cut: Notify,
}

/// A running proxy; connections pass until a test changes that.
pub struct Proxy {
    port: u16,
    state: Arc<watch::Sender<State>>,
    listeners: Arc<Listeners>,
    opened: Arc<AtomicUsize>,
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

    /// In front of Postgres, where it takes so long to open a connection.
    ///
    /// # Panics
    /// When the tests were given a server instead of a private one.
    pub async fn to_slow_postgres(database: &TestDatabase, pause: Duration) -> Self {
        let socket = database.socket().expect("the private Postgres; unset DATABASE_URL");
        Self::start(move || {
            let socket = socket.clone();
            async move {
                tokio::time::sleep(pause).await;
                UnixStream::connect(socket).await
            }
        })
        .await
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
        let listeners = Arc::new(Listeners::default());
        let opened = Arc::new(AtomicUsize::new(0));
        let (proxy, count, listening) = (Arc::clone(&state), Arc::clone(&opened), Arc::clone(&listeners));
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *proxy.borrow() != State::Cut {
                    count.fetch_add(1, Ordering::Relaxed);
                    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
                    tokio::spawn(carry(client, connect(), proxy.subscribe(), Arc::clone(&listening)));
                }
            }
        });
        Self {
            port,
            state,
            listeners,
            opened,
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
        self.listeners.are_silent.send_replace(true);
    }

    /// Closes every connection that listens for notifications, and swallows everything on new ones that begin to, until
    /// [`Self::restore_listeners`].
    pub fn cut_listeners(&self) {
        self.listeners.cut.notify_waiters();
        self.silence_listeners();
    }

    /// Lets connections through that begin to listen from now on.
    pub fn restore_listeners(&self) {
        self.listeners.are_silent.send_replace(false);
    }

    /// How many connections were opened through it.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
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
    listeners: Arc<Listeners>,
) {
    let Ok(mut server) = connecting.await else {
        return;
    };
    let now = *state.borrow_and_update();
    let mut silenced = false;
    let listens = watch::Sender::new(false);
    let (cut_off, mut listening) = (listens.subscribe(), listens.subscribe());
    let mut silent = listeners.are_silent.subscribe();
    let mut client = Overheard { client, listens };
    if now == State::Open {
        tokio::select! {
            biased;
            // What is cut is not silenced.
            () = until_cut(&cut_off, &listeners.cut) => return,
            () = until_silenced(&mut listening, &mut silent) => silenced = true,
            _ = state.wait_for(|state| *state != State::Open) => {}
            // Either end may close it.
            _ = copy_bidirectional(&mut client, &mut server) => return,
        }
    }
    if silenced || *state.borrow() == State::Silent {
        std::future::pending::<()>().await;
    }
}

/// Waits until those that listen are cut, and the client does.
async fn until_cut(listens: &watch::Receiver<bool>, cut: &Notify) {
    loop {
        cut.notified().await;
        if *listens.borrow() {
            return;
        }
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
