//! The client that most web apps use (tus-js-client), behind a line that is cut ten times.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cura_tests::Cura;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use super::{assert_is_file, picture, rows};

/// Longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(120);
const CUTS: usize = 10;
/// How much passes before a line is cut.
const PASSES: usize = 400_000;

/// Where it is installed; `None` if it is not.
fn installed() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tus-js-client/node_modules");
    let has_node = std::process::Command::new("node").arg("--version").output().is_ok();
    (has_node && folder.join("tus-js-client").is_dir()).then_some(folder)
}

/// A line to the server at `base` that is cut in the middle of what a client sends, ten times; returns its port, and counts its cuts.
async fn cut_line(base: &str) -> (u16, Arc<AtomicUsize>) {
    let server = base.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let cuts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&cuts);
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (server, counted) = (TcpStream::connect(&server).await.unwrap(), Arc::clone(&counted));
            #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
            tokio::spawn(async move {
                let (from_client, mut to_client) = client.into_split();
                let (mut from_server, to_server) = server.into_split();
                tokio::select! {
                    () = pass(from_client, to_server, counted) => {}
                    _ = copy(&mut from_server, &mut to_client) => {}
                }
            });
        }
    });
    (port, cuts)
}

/// Passes on what the client sends, until so much has passed, while there are cuts to make.
async fn pass(mut from_client: OwnedReadHalf, mut to_server: OwnedWriteHalf, cuts: Arc<AtomicUsize>) {
    let (mut passed, mut buffer) = (0, vec![0; 16 * 1024]);
    while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
        if to_server.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        passed += read;
        let is_to_cut = |made| (passed >= PASSES && made < CUTS).then_some(made + 1);
        if cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, is_to_cut).is_ok() {
            // The server gets what has passed.
            let _ = to_server.shutdown().await;
            return;
        }
    }
}

#[tokio::test]
async fn tus_js_client_uploads_through_a_line_that_is_cut_ten_times() {
    let Some(modules) = installed() else {
        println!("skipped: no tus-js-client; `make test-tus` installs it");
        return;
    };
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let (port, cuts) = cut_line(&cura.servers[0].base).await;
    let folder = tempfile::tempdir().unwrap();
    let (content, photo) = (picture(6_000_000), folder.path().join("photo.png"));
    std::fs::write(&photo, &content).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/files/resumable/tus-js-client/upload.cjs");
    let mut node = Command::new("node");
    node.arg(script)
        .arg(format!("http://127.0.0.1:{port}/uploads/resumable"))
        .arg(user.token.as_ref().unwrap())
        .arg(&photo)
        .env("NODE_PATH", modules)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let done = tokio::time::timeout(PATIENCE, node.output())
        .await
        .expect("it ends")
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(cuts.load(Ordering::SeqCst), CUTS);
    assert!(said["resumed"].as_u64() >= Some(10), "{said}");
    let url = said["url"].as_str().unwrap();
    let path = &url[url.find("/uploads").unwrap()..];
    assert_is_file(&cura, &user, path, &content).await;
    assert_eq!(user.get(&super::file_of(path)).await.body["filename"], "photo.png");
    assert_eq!(rows(&cura).await, 1);
}
