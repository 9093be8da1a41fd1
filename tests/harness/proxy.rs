//! A TCP proxy in front of Postgres or Redis that can cut connections or swallow everything.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
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
        Self::start(move || TcpStream::connect(("127.0.0.1", target))).await
    }

    async fn start<S, F>(connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = std::io::Result<S>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let state = Arc::new(watch::Sender::new(State::Open));
        let proxy = Arc::clone(&state);
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *proxy.borrow() != State::Cut {
                    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
                    tokio::spawn(carry(client, connect(), proxy.subscribe()));
                }
            }
        });
        Self { port, state }
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

    /// Lets new connections through again.
    pub fn restore(&self) {
        self.state.send_replace(State::Open);
    }
}

async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: TcpStream,
    connecting: impl Future<Output = std::io::Result<S>>,
    mut state: watch::Receiver<State>,
) {
    let Ok(mut server) = connecting.await else {
        return;
    };
    let now = *state.borrow_and_update();
    if now == State::Open {
        tokio::select! {
            // Either end may close it.
            _ = copy_bidirectional(&mut client, &mut server) => return,
            _ = state.wait_for(|state| *state != State::Open) => {}
        }
    }
    if *state.borrow() == State::Silent {
        std::future::pending::<()>().await;
    }
}
