//! A server whose connections break off in the middle.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// It is closed.
    Cut,
    /// Nothing moves on it any more, until the client closes it.
    Hang,
}

/// The server. It ends with the test's runtime.
pub struct BrokenServer {
    port: u16,
}

impl BrokenServer {
    /// Reads as many bytes of each connection, then breaks off.
    pub async fn reading(bytes: usize, then: Break) -> Self {
        Self::start(bytes, Vec::new(), then).await
    }

    /// Reads a request without a body and answers these bytes, then breaks off.
    pub async fn answering(answer: impl Into<Vec<u8>>, then: Break) -> Self {
        Self::start(0, answer.into(), then).await
    }

    async fn start(read: usize, answer: Vec<u8>, then: Break) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let answer = answer.clone();
                #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
                tokio::spawn(async move {
                    // The client may disconnect at any time.
                    let _ = converse(socket, read, &answer, then).await;
                });
            }
        });
        Self { port }
    }

    /// `http://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

async fn converse(mut socket: TcpStream, read: usize, answer: &[u8], then: Break) -> std::io::Result<()> {
    if read > 0 {
        socket.read_exact(&mut vec![0; read]).await?;
    } else {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await?);
        }
        socket.write_all(answer).await?;
    }
    if then == Break::Hang {
        // Not read any more: whoever sends finds the way full.
        std::future::pending::<()>().await;
    }
    Ok(())
}
