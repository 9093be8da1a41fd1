//! File stores: what they guarantee, the same for all of them, and what is said when they fail.

mod disk;
mod failures;
mod s3;
mod suite;
mod supabase;

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::time::Duration;

use cura_bin::wiring;
use cura_domain::UserId;
use cura_domain::object_key::ObjectKey;
use cura_providers::files::{FileStore, FileStoreError, FileStoreTimeouts, S3Config, SupabaseConfig};
use cura_tests::{s3_server, supabase_server};
use futures_util::TryStreamExt;

/// Waits that a test can wait for.
const SHORT: FileStoreTimeouts = FileStoreTimeouts {
    connect: Duration::from_secs(1),
    idle: Duration::from_secs(1),
    call: Duration::from_secs(1),
    check: Duration::from_secs(1),
    put: Duration::from_secs(20),
};

/// A key that no file has.
fn key() -> ObjectKey {
    ObjectKey::new(UserId(7), wiring::entropy().bytes(), "pdf").unwrap()
}

/// So many bytes that do not repeat.
fn content(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut content = Vec::with_capacity(size + 8);
    while content.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend_from_slice(&state.to_le_bytes());
    }
    content.truncate(size);
    content
}

/// A file without a name, its cursor at its end.
fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

async fn put(store: &FileStore, key: &ObjectKey, content: &[u8]) -> Result<(), FileStoreError> {
    store
        .put(key, file(content), content.len() as u64, "application/pdf")
        .await
}

/// The size of a file, and its bytes in the range.
async fn read(store: &FileStore, key: &ObjectKey, range: Option<Range<u64>>) -> Result<(u64, Vec<u8>), FileStoreError> {
    let opened = store.open(key, range).await?;
    let pieces: Vec<_> = opened.bytes.try_collect().await?;
    assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= 64 * 1024));
    Ok((opened.size, pieces.concat()))
}

fn s3_at(url: &str, secret: &str, timeouts: FileStoreTimeouts) -> FileStore {
    let config = S3Config {
        endpoint: Some(url.parse().unwrap()),
        region: "us-east-1".parse().unwrap(),
        bucket: s3_server::BUCKET.parse().unwrap(),
        access_key_id: s3_server::ACCESS_KEY_ID.into(),
        secret_access_key: secret.into(),
    };
    FileStore::s3(&config, timeouts).unwrap()
}

fn supabase_at(url: &str, key: &str, bucket: &str, timeouts: FileStoreTimeouts) -> FileStore {
    let config = SupabaseConfig {
        url: url.parse().unwrap(),
        key: key.into(),
        bucket: bucket.parse().unwrap(),
    };
    FileStore::supabase(&config, timeouts).unwrap()
}

/// Both kinds of stores that are reached by HTTP, at one address.
fn both_at(url: &str) -> [FileStore; 2] {
    [
        s3_at(url, s3_server::SECRET_ACCESS_KEY, SHORT),
        supabase_at(url, supabase_server::KEY, supabase_server::BUCKET, SHORT),
    ]
}
