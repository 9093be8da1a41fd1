//! A server that speaks S3's protocol and checks signatures, in the test process: s3s-fs, a folder behind s3s.
//!
//! A server of our own would read the protocol as our client does. s3s is generated from Amazon's model of S3 and kept at
//! <https://github.com/Nugine/s3s>; 0.14.1, because 0.17 wants a newer toolchain than ours. Stores that fail are
//! [`HttpServer`](crate::HttpServer) and [`BrokenServer`](crate::BrokenServer), which fail as they are told to.

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Its only bucket.
pub const BUCKET: &str = "cura-files";
/// Who may use it.
pub const ACCESS_KEY_ID: &str = "test-key";
/// What requests must be signed with.
pub const SECRET_ACCESS_KEY: &str = "test-secret-with-/+=";

/// The server. It ends with the test's runtime.
pub struct S3Server {
    port: u16,
    folder: TempDir,
}

impl S3Server {
    /// Starts one with an empty bucket.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("made");
        let mut service = S3ServiceBuilder::new(FileSystem::new(folder.path()).expect("a folder"));
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
                tokio::spawn(async move {
                    // The client may disconnect at any time.
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Self { port, folder }
    }

    /// `http://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many objects it has.
    pub fn objects(&self) -> usize {
        let users = std::fs::read_dir(self.folder.path().join(BUCKET)).expect("there");
        let users = users
            .map(|user| user.expect("read").path())
            .filter(|path| path.is_dir());
        users.map(|user| std::fs::read_dir(user).expect("read").count()).sum()
    }
}
