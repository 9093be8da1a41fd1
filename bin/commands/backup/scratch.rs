//! The database in which an archive is verified: next to ours, or on a private PostgreSQL if we may not make one.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use cura_devdb::{PrivatePostgres, Profile};
use cura_store::{Database, Session, scratch};
use tempfile::TempDir;

use super::super::failure::{Exit, Failure};
use crate::program::StartError;
use crate::settings::Settings;
use crate::wiring;

/// How long the private server may take to stop, before its folder is removed.
const STOP_WAIT: Duration = Duration::from_secs(10);
/// How long our own Postgres may take to make a database.
const MAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// An empty database.
pub(super) struct ScratchDatabase {
    url: String,
    place: Place,
}

enum Place {
    /// Of this name, on our own server, for as long as this session is open.
    NextToOurs(Session, String),
    /// On a server of its own, in this folder.
    Private(PrivatePostgres, TempDir),
}

impl ScratchDatabase {
    pub(super) async fn make(settings: &Settings) -> Result<Self, Failure> {
        match tokio::time::timeout(MAKE_TIMEOUT, next_to_ours(settings)).await {
            Ok(Some(made)) => Ok(made),
            Ok(None) | Err(_) => {
                let made = tokio::task::spawn_blocking(private).await;
                made.map_err(|error| StartError::Other(error.to_string()))?
            }
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn connect(&self) -> Result<Database, Failure> {
        Ok(Database::connect_for_migrations(&self.url, "cura-admin")?)
    }

    /// Removes it. What cannot be removed is removed by the next one.
    pub(super) async fn remove(self) {
        match self.place {
            Place::NextToOurs(mut session, name) => {
                if let Err(error) = scratch::drop(&mut session, &name).await {
                    tracing::warn!(%error, name, "the database in which the archive was verified could not be dropped");
                }
            }
            Place::Private(server, folder) => {
                let pid: PathBuf = folder.path().join("postgres/data/postmaster.pid");
                drop(server);
                let stopped = async {
                    while pid.exists() {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                };
                let _ = tokio::time::timeout(STOP_WAIT, stopped).await;
            }
        }
    }
}

/// A database on the server of `DATABASE_URL`; `None` if that is not set, is away, or does not let us.
async fn next_to_ours(settings: &Settings) -> Option<ScratchDatabase> {
    let (_, ours) = settings.database.session_url().ok()?;
    let database = wiring::database_for_migrations(settings, "cura-admin").ok()?;
    let mut session = database.session().await.ok()?;
    let name = scratch::make(&mut session, wiring::entropy().bytes()).await.ok()??;
    Some(ScratchDatabase {
        url: cura_postgres::with_database(ours, &name)?,
        place: Place::NextToOurs(session, name),
    })
}

/// A server of its own. Blocks.
fn private() -> Result<ScratchDatabase, Failure> {
    let failed = |what: String| Failure::new(Exit::Failed, "no_scratch_database", what);
    let mut builder = tempfile::Builder::new();
    // PostgreSQL may run as another user, who passes through it.
    builder
        .prefix("cura-verify-")
        .permissions(Permissions::from_mode(0o711));
    let folder = builder
        .tempdir()
        .map_err(|error| failed(format!("no folder can be made: {error}")))?;
    let server = PrivatePostgres::start(folder.path(), Profile::Durable, None);
    let server = server.map_err(|error| {
        failed(format!("no database can be made to verify the archive in: {error}"))
            .cure("let the user of DATABASE_URL make databases (CREATEDB), or install PostgreSQL on this machine")
    })?;
    Ok(ScratchDatabase {
        url: server.url("cura"),
        place: Place::Private(server, folder),
    })
}
