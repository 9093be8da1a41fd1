//! A clamd that follows a script: it reads as much of a file as it is told to, and answers what it is told to.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::Break;

/// What becomes of a file that is sent.
#[derive(Debug, Clone, Default)]
pub struct ClamdScript {
    /// How many pieces are read; all of them if there is no number.
    pub pieces: Option<usize>,
    /// How often it must have been pinged before it answers.
    pub pings: usize,
    /// What is answered then, with the zero byte if there is to be one.
    pub answer: Vec<u8>,
    /// What becomes of the connection then; without a word, it is closed.
    pub then: Option<Break>,
}

/// The server. It ends with the test's runtime.
pub struct ClamdServer {
    port: u16,
    folder: TempDir,
    shared: Arc<Shared>,
}

struct Shared {
    script: ClamdScript,
    /// What is answered to a ping, and to being asked for the version. Nothing: it hangs.
    calls: Option<(&'static [u8], &'static [u8])>,
    pings: watch::Sender<usize>,
    /// The files that were read, up to where reading ended.
    files: Mutex<Vec<Vec<u8>>>,
}

impl ClamdServer {
    /// One that answers `answer` to each file, and to pings.
    pub async fn answering(answer: &[u8]) -> Self {
        let answer = answer.to_vec();
        Self::start(ClamdScript {
            answer,
            ..ClamdScript::default()
        })
        .await
    }

    /// One that follows a script, and answers pings.
    pub async fn start(script: ClamdScript) -> Self {
        Self::start_with(
            script,
            Some((b"PONG\0", b"ClamAV 1.4.6/27800/Sat Nov 28 09:00:00 2026\0")),
        )
        .await
    }

    /// One that answers this to a ping, and to being asked for the version; with `None` it hangs then.
    pub async fn start_with(script: ClamdScript, calls: Option<(&'static [u8], &'static [u8])>) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = tcp.local_addr().expect("bound").port();
        let folder = tempfile::tempdir().expect("a folder");
        let unix = UnixListener::bind(socket(folder.path())).expect("a socket");
        let shared = Arc::new(Shared {
            script,
            calls,
            pings: watch::Sender::new(0),
            files: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Ok((connection, _)) = tcp.accept() => serve(&serving, connection),
                    Ok((connection, _)) = unix.accept() => serve(&serving, connection),
                    else => return,
                }
            }
        });
        Self { port, folder, shared }
    }

    /// Its two addresses: a port, and a Unix socket.
    pub fn addresses(&self) -> [String; 2] {
        let socket = socket(self.folder.path());
        [format!("127.0.0.1:{}", self.port), socket.display().to_string()]
    }

    /// What was read of each file, in the order in which reading ended.
    pub fn files(&self) -> Vec<Vec<u8>> {
        self.shared.files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often it was pinged.
    pub fn pings(&self) -> usize {
        *self.shared.pings.borrow()
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("clamd")
}

fn serve(shared: &Arc<Shared>, connection: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let shared = Arc::clone(shared);
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    tokio::spawn(async move {
        // The client may disconnect at any time.
        let _ = converse(&shared, connection).await;
    });
}

async fn converse(shared: &Shared, mut connection: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    let mut command = Vec::new();
    while !command.ends_with(b"\0") {
        command.push(connection.read_u8().await?);
    }
    let Some((pong, version)) = shared.calls else {
        if command != b"zINSTREAM\0" {
            return std::future::pending().await;
        }
        return scan(shared, connection).await;
    };
    match command.as_slice() {
        b"zPING\0" => {
            connection.write_all(pong).await?;
            shared.pings.send_modify(|pings| *pings += 1);
            Ok(())
        }
        b"zVERSION\0" => connection.write_all(version).await,
        b"zINSTREAM\0" => scan(shared, connection).await,
        _ => connection.write_all(b"UNKNOWN COMMAND\0").await,
    }
}

async fn scan(shared: &Shared, mut connection: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    let mut file = Vec::new();
    let mut pieces = 0;
    while shared.script.pieces.is_none_or(|limit| pieces < limit) {
        let length = connection.read_u32().await?;
        if length == 0 {
            break;
        }
        let at = file.len();
        file.resize(at + length as usize, 0);
        connection.read_exact(&mut file[at..]).await?;
        pieces += 1;
    }
    shared.files.lock().unwrap_or_else(PoisonError::into_inner).push(file);
    let mut pings = shared.pings.subscribe();
    let _ = pings.wait_for(|pings| *pings >= shared.script.pings).await;
    connection.write_all(&shared.script.answer).await?;
    if shared.script.then == Some(Break::Hang) {
        std::future::pending::<()>().await;
    }
    Ok(())
}
