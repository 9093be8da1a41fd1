//! A wire that can be cut: a TCP port in front of the test server.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

use crate::TestDatabase;

/// What the wire does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Cut,
}

/// The wire.
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
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let state = Arc::new(watch::Sender::new(State::Open));
        let wire = Arc::clone(&state);
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *wire.borrow() == State::Open {
                    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
                    tokio::spawn(carry(client, socket.clone(), wire.subscribe()));
                }
            }
        });
        Self { port, state }
    }

    /// The URL of `database` through the wire.
    pub fn url(&self, database: &TestDatabase) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/{}?sslmode=disable",
            self.port,
            database.name()
        )
    }

    /// Cuts every connection and refuses new ones.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Lets connections through again.
    pub fn restore(&self) {
        self.state.send_replace(State::Open);
    }
}

async fn carry(mut client: TcpStream, socket: PathBuf, mut state: watch::Receiver<State>) {
    let Ok(mut server) = UnixStream::connect(socket).await else {
        return;
    };
    tokio::select! {
        // Either end may go as it likes.
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = state.wait_for(|state| *state == State::Cut) => {}
    }
}
