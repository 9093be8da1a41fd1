//! Redis, the file store, clamd, Firebase, the AI provider, and the disk.

use std::io::Write as _;
use std::time::Duration;

use cura_domain::UserId;
use cura_domain::object_key::ObjectKey;
use cura_providers::files::{FileStore, FileStoreError};
use cura_store::object_deletions;
use futures_util::future::join_all;

use super::Check;
use crate::settings::{Settings, StoreSettings};
use crate::wiring;

/// Nobody has this id: the object that is kept to try the file store is in a folder of its own.
const NOBODY: UserId = UserId(i64::MAX);
/// After how long a worker deletes that object, should this program be killed before it does.
const LEFT_FOR: Duration = Duration::from_secs(15 * 60);
/// What is kept to try the file store.
const TRIED: &[u8] = b"cura-admin doctor";
/// How much of the disk must be free, in bytes: some hundred uploads that arrive at once.
const FREE_BYTES: u64 = 1 << 30;

pub(super) async fn redis(settings: &Settings) -> Check {
    if settings.redis.url.is_none() {
        return Check::fail("redis", "REDIS_URL is not set")
            .cure("name a Redis; only `cura-server dev` runs without one");
    }
    let live = match wiring::redis_live(settings) {
        Ok(live) => live,
        Err(error) => return Check::failed_with("redis", &error.to_string()),
    };
    match live.check().await {
        Ok(()) => Check::ok("redis", "it was written, read and published to"),
        Err(trouble) => Check::failed_with("redis", &format!("REDIS_URL names a Redis {trouble}")),
    }
}

/// Puts an object, reads it and deletes it.
pub(super) async fn files(settings: &Settings) -> Check {
    let of_store = settings.clone();
    // A mount that is gone may never answer.
    let found = tokio::task::spawn_blocking(move || wiring::file_store_if_there(&of_store)).await;
    let store = match found.unwrap_or(Ok(None)) {
        Ok(Some(store)) => store,
        Ok(None) => {
            let detail = "DATA_DIR/files is not on this machine";
            return Check::skipped("files", detail).cure("run this where a server or worker runs, as its user");
        }
        Err(error) => return Check::failed_with("files", &error.to_string()),
    };
    match try_store(settings, &store).await {
        Ok(()) => Check::ok(
            "files",
            format!("{}: an object was put, read and deleted", store.name()),
        ),
        Err(TryError::NotListed) => match store.check().await {
            Ok(()) => Check::warn("files", format!("{}: it answers; nothing was put", store.name()))
                .cure("repair Postgres first: what is put has to be listed there"),
            Err(error) => Check::fail("files", format!("{}: {error}", store.name())),
        },
        Err(TryError::Store(error)) => {
            let cure = match settings.files.store {
                StoreSettings::Disk => "let the user of servers and workers write DATA_DIR",
                StoreSettings::Supabase(_) => "check SUPABASE_URL, SUPABASE_KEY and SUPABASE_STORAGE_BUCKET",
                StoreSettings::S3(_) => "check S3_ENDPOINT, S3_BUCKET and the keys",
            };
            Check::fail("files", format!("{}: {error}", store.name())).cure(cure)
        }
    }
}

enum TryError {
    /// Postgres could not be told of the object, so it was not put.
    NotListed,
    Store(FileStoreError),
}

impl From<FileStoreError> for TryError {
    fn from(error: FileStoreError) -> Self {
        Self::Store(error)
    }
}

async fn try_store(settings: &Settings, store: &FileStore) -> Result<(), TryError> {
    let not_listed = |_| TryError::NotListed;
    let random = wiring::entropy().bytes::<16>();
    let key = ObjectKey::new(NOBODY, random, "txt").map_err(|_| TryError::NotListed)?;
    let database = wiring::database(settings, "cura-admin").map_err(|_| TryError::NotListed)?;
    // Listed for deletion first: whatever happens here, a worker deletes it.
    let listed = database
        .connection(async |connection| object_deletions::list_unnamed(connection, NOBODY, &key, 0, LEFT_FOR).await);
    listed.await.map_err(not_listed)?;
    let source = || {
        let mut file = tempfile::tempfile()?;
        file.write_all(TRIED)?;
        Ok::<_, std::io::Error>(file)
    };
    let source = source().map_err(|_| TryError::NotListed)?;
    store.put(&key, source, TRIED.len() as u64, "text/plain").await?;
    let opened = store.open(&key, None).await?;
    if opened.size != TRIED.len() as u64 {
        return Err(FileStoreError::Missing.into());
    }
    store.delete(&key).await?;
    Ok(())
}

pub(super) async fn clamd(settings: &Settings) -> Check {
    let scanner = wiring::scanner(settings);
    if settings.files.clamd.is_none() {
        return Check::skipped(
            "clamd",
            "CLAMD_ADDRESS is not set: files go through our own checks only",
        );
    }
    match scanner.check().await {
        Ok(version) => Check::ok("clamd", version.unwrap_or_else(|| "it answers".to_owned())),
        Err(error) => Check::fail("clamd", error.to_string()).cure("start it, or correct CLAMD_ADDRESS"),
    }
}

pub(super) async fn fcm(settings: &Settings) -> Check {
    let providers = match wiring::push_providers(settings) {
        Ok(providers) => providers,
        Err(error) => return Check::failed_with("fcm", &error.to_string()),
    };
    match providers.fcm() {
        None => Check::skipped("fcm", "FIREBASE_CREDENTIALS_PATH is not set: phones are not pushed to"),
        Some(fcm) if fcm.is_authorized().await => {
            Check::ok("fcm", "Google gives an access token for this service account")
        }
        Some(_) => Check::fail("fcm", "Google gives no access token for this service account")
            .cure("see the log line above; the key may be revoked, or oauth2.googleapis.com cannot be reached"),
    }
}

pub(super) fn web_push(settings: &Settings) -> Check {
    if settings.push.vapid_key.is_some() && settings.push.vapid_subject.is_some() {
        Check::ok(
            "web_push",
            "a key and a subject are set; services are only reached with a subscription",
        )
    } else {
        Check::skipped("web_push", "VAPID_PRIVATE_KEY is not set: browsers are not pushed to")
    }
}

pub(super) async fn ai(settings: &Settings) -> Check {
    if settings.ai.providers.is_empty() {
        return Check::skipped("ai", "AI_MODEL_URL is not set: the demo answers");
    }
    // Each by itself: one that fails is not to be hidden by the other.
    let providers: Result<Vec<_>, _> = wiring::ai_providers(settings).collect();
    let providers = match providers {
        Ok(providers) => providers,
        Err(error) => return Check::failed_with("ai", &error.to_string()),
    };
    let names = ["AI_MODEL_URL", "AI_FALLBACK_URL"];
    let probes = names.into_iter().zip(&providers).map(async |(name, provider)| {
        let failed = provider.probe().await.err();
        failed.map(|error| format!("{name} fails: {}", error.code()))
    });
    let failed: Vec<String> = join_all(probes).await.into_iter().flatten().collect();
    if failed.is_empty() {
        return Check::ok("ai", format!("{} can be reached and take their keys", providers.len()));
    }
    Check::fail("ai", failed.join("; ")).cure("check its URL and key, and the provider's status page")
}

pub(super) async fn disk(settings: &Settings) -> Check {
    let folder = settings.process.data_dir.clone();
    // A mount that is gone may never answer.
    let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&folder)).await;
    let Ok(Ok(stat)) = asked else {
        return Check::skipped("disk", "DATA_DIR is not on this machine");
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let told = format!("{} MiB are free in DATA_DIR", free >> 20);
    if free < FREE_BYTES {
        return Check::warn("disk", told).cure("make room: uploads arrive there");
    }
    Check::ok("disk", told)
}
