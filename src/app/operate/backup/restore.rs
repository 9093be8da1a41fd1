//! Restoring: everything is looked at first; then the database is filled in one transaction, the migrations that it lacks are applied by
//! the caller, and a last transaction makes it safe.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use cura_backup::{AppliedMigration, BackupError, ClientProgram, Contents, Identities, Manifest, Nothing, Restoring};
use cura_domain::object_key::ObjectKey;
use cura_live::Live;
use cura_providers::files::FileStore;
use cura_queue::KNOWN_KINDS;
use cura_store::restores::UndoneAct;
use cura_store::{Database, PgConnection, Session, StoreError, in_transaction, restores};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::error::OperateBackupError;
use super::objects::{Putting, RestoredObjects};
use super::replay;
use crate::operate::acts::{Act, Acts};

/// How long others are waited for: the `pg_restore` of a restore that was killed, which ends when it notices that its input has, and
/// programs that a supervisor starts again and again, which are refused.
const LEFT_RESTORE_WAIT: Duration = Duration::from_secs(30);
/// The pause between two looks at it.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// How many undone acts are told.
const MAX_UNDONE_ACTS: i64 = 100;
/// Why queues are paused after a restore.
const REASON: &str = "restored from a backup";

/// An archive that is whole and can be restored by this version.
pub struct Checked {
    path: PathBuf,
    identities: Arc<Identities>,
    /// What it holds.
    pub manifest: Manifest,
}

impl Checked {
    /// Reads all of an archive. `known` are the migrations of this version.
    ///
    /// # Errors
    /// [`OperateBackupError`], when it is not whole, or was made by a newer version.
    pub async fn read(
        path: &Path,
        identities: Identities,
        known: &[AppliedMigration],
    ) -> Result<Self, OperateBackupError> {
        let (path, identities) = (path.to_owned(), Arc::new(identities));
        let (file, keys) = (path.clone(), Arc::clone(&identities));
        let reading = tokio::task::spawn_blocking(move || cura_backup::read(&file, &keys, &mut Nothing));
        let manifest = reading.await.map_err(|error| BackupError::Unreadable(error.into()))??;
        for migration in &manifest.migrations {
            let found = known
                .iter()
                .find(|known| known.set == migration.set && known.version == migration.version);
            match found {
                None => return Err(OperateBackupError::NewerMigration(migration.version)),
                Some(known) if known.checksum != migration.checksum => {
                    return Err(OperateBackupError::OtherMigration(migration.version));
                }
                Some(_) => {}
            }
        }
        Ok(Self {
            path,
            identities,
            manifest,
        })
    }

    /// The `pg_restore` that can restore it on a server of this version.
    pub(super) async fn find_program(&self, server: u32) -> Result<ClientProgram, OperateBackupError> {
        let manifest = self.manifest.clone();
        let finding = tokio::task::spawn_blocking(move || cura_backup::find_pg_restore(&manifest, server));
        Ok(finding.await.map_err(|error| BackupError::Unreadable(error.into()))??)
    }

    /// How many erasures it lists, which have the numbers up to that one.
    fn erasures(&self) -> i64 {
        let tables = self.manifest.tables.iter();
        let rows = tables
            .filter(|table| table.table == "public.erasures")
            .map(|table| table.rows);
        rows.sum()
    }

    /// Reads it again, and fills the database of this URL; objects are put into the store, if one is given. Returns what came of them.
    pub(super) async fn load(
        &self,
        program: ClientProgram,
        url: &str,
        objects: Option<(FileStore, bool)>,
    ) -> Result<RestoredObjects, OperateBackupError> {
        let (path, identities, url) = (self.path.clone(), Arc::clone(&self.identities), url.to_owned());
        let loading = tokio::task::spawn_blocking(move || {
            let mut loading = Loading {
                restoring: Restoring::begin(&program, &url)?,
                is_dumped: false,
                putting: objects.as_ref().map(|(store, replaces)| Putting {
                    store,
                    replaces: *replaces,
                    counts: RestoredObjects::default(),
                }),
            };
            let manifest = cura_backup::read(&path, &identities, &mut loading)?;
            loading.end_dump()?;
            let mut counts = loading.putting.map(|putting| putting.counts).unwrap_or_default();
            counts.missing += manifest.objects.missing;
            Ok::<_, BackupError>(counts)
        });
        let loaded = loading.await.map_err(|error| BackupError::Unreadable(error.into()))?;
        Ok(loaded?)
    }
}

/// An archive on its way into a database and a file store.
struct Loading<'s> {
    restoring: Restoring,
    is_dumped: bool,
    putting: Option<Putting<'s>>,
}

impl Loading<'_> {
    /// The dump is whole: `pg_restore` commits.
    fn end_dump(&mut self) -> Result<(), BackupError> {
        if std::mem::replace(&mut self.is_dumped, true) {
            return Ok(());
        }
        self.restoring.end()
    }
}

impl Contents for Loading<'_> {
    fn dump(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.restoring.write(bytes)
    }

    fn object(&mut self, key: &ObjectKey, _: u64, bytes: &mut dyn Read) -> Result<(), BackupError> {
        match &mut self.putting {
            Some(putting) => putting.put(key, bytes),
            None => Ok(()),
        }
    }

    fn elsewhere(&mut self, key: &ObjectKey, size: u64) -> Result<(), BackupError> {
        match &mut self.putting {
            Some(putting) => putting.look(key, size),
            None => Ok(()),
        }
    }
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The moment that the database is of now.
    pub taken_at: DateTime<Utc>,
    /// How many rows it has from the archive.
    pub rows: i64,
    /// What became of the objects.
    pub objects: RestoredObjects,
    /// How many people were erased again.
    pub erased_again: usize,
    /// What operators did since the backup, which is undone by it: suspensions, passwords, switches. The first hundred.
    pub undone_acts: Vec<UndoneAct>,
    /// How many queues are paused until `jobs resume`.
    pub queues_paused: usize,
}

/// What an operator has allowed.
#[derive(Debug, Clone, Copy)]
pub struct Allowed {
    /// To delete what is in the database, and to replace other bytes under the keys of files.
    pub replace: bool,
    /// That people who were erased since the backup come back, because the list of them is lost.
    pub no_erasure_list: bool,
}

/// A database that a restore works with, and nobody else.
pub struct Restore {
    acts: Acts,
    files: FileStore,
    live: Option<Live>,
    /// Holds the lock, on a session without limits of time.
    session: Session,
    program: ClientProgram,
    url: String,
    replaces: bool,
}

impl Restore {
    /// Looks whether the database can be filled with this archive, and everything that it needs is there. `unlimited` is the database without
    /// limits of time, `url` the same for `pg_restore`. Nothing is changed.
    ///
    /// # Errors
    /// [`OperateBackupError`], when it is not empty and not to be replaced, in use, or something is missing.
    pub async fn look(
        acts: Acts,
        files: FileStore,
        live: Option<Live>,
        (unlimited, url): (&Database, &str),
        archive: &Checked,
        allowed: Allowed,
    ) -> Result<Self, OperateBackupError> {
        let mut session = unlimited.session().await?;
        if !restores::try_lock(&mut session).await? {
            return Err(OperateBackupError::Restoring);
        }
        wait_until_alone(&mut session, Patience::WithLeftRestores).await?;
        let occupancy = restores::look(&mut session).await?;
        if occupancy.is_occupied && !occupancy.is_unfinished && !allowed.replace {
            return Err(OperateBackupError::NotEmpty);
        }
        // Whatever would stop it later stops it before anything is deleted.
        let program = archive
            .find_program(restores::server_major(&mut session).await?)
            .await?;
        if let Some(live) = &live {
            live.check().await.map_err(|_| OperateBackupError::Redis)?;
        }
        let (known, kept) = (archive.erasures(), restores::count_erasures(&mut session).await?);
        let is_listed = cura_backup::has_erasures_until(&files, known)
            .await
            .map_err(BackupError::from)?;
        if known > kept && !is_listed && !allowed.no_erasure_list {
            return Err(OperateBackupError::NoErasureList(known));
        }
        Ok(Self {
            acts,
            files,
            live,
            session,
            program,
            url: url.to_owned(),
            replaces: allowed.replace,
        })
    }

    /// Empties our schemas and fills them from the archive; puts the objects. From here on the database is not used before
    /// [`Self::finish`].
    ///
    /// # Errors
    /// [`OperateBackupError`]; it can be begun again.
    pub async fn load(&mut self, archive: &Checked) -> Result<RestoredObjects, OperateBackupError> {
        // Somebody may have been asked for a long time whether to go on.
        wait_until_alone(&mut self.session, Patience::WithLeftRestores).await?;
        restores::begin(&mut self.session).await?;
        // Whoever begins now is refused, and whoever began before is seen.
        wait_until_alone(&mut self.session, Patience::WithAll).await?;
        restores::make_schemas(&mut self.session, &archive.manifest.extension_schemas).await?;
        let objects = Some((self.files.clone(), self.replaces));
        archive.load(self.program.clone(), &self.url, objects).await
    }

    /// Makes the database safe, when it has every migration, and says that the restore has ended.
    ///
    /// # Errors
    /// [`OperateBackupError`]; it can be begun again.
    pub async fn finish(
        &mut self,
        archive: &Checked,
        objects: RestoredObjects,
    ) -> Result<Restored, OperateBackupError> {
        wait_until_alone(&mut self.session, Patience::WithAll).await?;
        if let Some(live) = &self.live {
            live.forget_all().await.map_err(|_| OperateBackupError::Redis)?;
        }
        let kept = restores::list_kept_erasures(&mut self.session).await?;
        let stored = cura_backup::read_erasures(&self.files)
            .await
            .map_err(BackupError::from)?;
        replay::join_lists(&mut self.session, &self.files, kept, stored).await?;
        let (acts, now, replaces) = (&self.acts, self.acts.now(), self.replaces);
        in_transaction(&mut self.session, async |connection| {
            restores::settle(connection, now).await?;
            let erased_again = replay::erase(connection, now).await?;
            for kind in KNOWN_KINDS {
                let paused = cura_queue::pause(connection, kind.queue, REASON, acts.operator().as_str(), now);
                paused.await.map_err(StoreError::from)?;
            }
            let taken_at = archive.manifest.taken_at;
            let restored = Restored {
                taken_at,
                rows: archive.manifest.tables.iter().map(|table| table.rows).sum(),
                objects,
                erased_again,
                undone_acts: restores::list_acts_since(connection, taken_at, MAX_UNDONE_ACTS).await?,
                queues_paused: KNOWN_KINDS.len(),
            };
            let act = Act::new("restore")
                .with("taken_at", restored.taken_at)
                .with("replaced", replaces)
                .with("erased_again", erased_again);
            acts.done(connection, act).await?;
            restores::end(connection).await?;
            Ok(restored)
        })
        .await
    }
}

/// Waits until nobody works with the database. [`Patience::WithAll`]: whoever begins now is refused and gone in a moment; else only the `pg_restore` of
/// a restore that was killed is waited for.
async fn wait_until_alone(session: &mut PgConnection, patience: Patience) -> Result<(), OperateBackupError> {
    let until = Instant::now() + LEFT_RESTORE_WAIT;
    loop {
        let connected = restores::list_connected(session).await?;
        if connected.is_empty() {
            return Ok(());
        }
        let goes = |program: &String| patience == Patience::WithAll || program == "pg_restore";
        if !connected.iter().all(goes) || Instant::now() >= until {
            return Err(OperateBackupError::InUse(connected.join(", ")));
        }
        sleep(LOOK_PAUSE).await;
    }
}

/// Who is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    WithLeftRestores,
    WithAll,
}
