//! A folder of this machine, or one that servers and workers mount.
//!
//! A file is written elsewhere in the folder, synced and renamed: there is no moment at which half of it can be read, and none after
//! the answer at which a loss of power loses it.

use std::fs::{self, DirBuilder, DirEntry, File, Permissions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use cura_domain::UserId;
use cura_domain::object_key::ObjectKey;
use tempfile::NamedTempFile;

use super::error::FileStoreError;
use super::opened::{OpenedFile, within};
use super::pieces::{blocking, copy, read};
use super::timeouts::FileStoreTimeouts;

/// Where files are that are not whole yet. Folders of users are numbers.
const INCOMING: &str = "incoming";
/// What has not been written to for so long was left by a crash: putting a file takes ten minutes at most.
const LEFT_AFTER: Duration = Duration::from_secs(60 * 60);
/// How much is copied before the time limit begins anew.
const COPIED_AT_ONCE: u64 = 1024 * 1024;
/// How often the folder of a user is made for one file: whoever deletes the last file deletes the folder.
const FOLDER_ATTEMPTS: usize = 5;

/// A folder with files.
#[derive(Clone)]
pub(super) struct Disk {
    folder: Arc<Path>,
    timeouts: FileStoreTimeouts,
}

impl Disk {
    pub(super) fn new(folder: &Path, timeouts: FileStoreTimeouts) -> Result<Self, FileStoreError> {
        prepare(folder).map_err(|error| FileStoreError::of_disk(&error).never_missing())?;
        Ok(Self {
            folder: folder.into(),
            timeouts,
        })
    }

    pub(super) async fn put(&self, key: &ObjectKey, source: File, size: u64) -> Result<(), FileStoreError> {
        tokio::time::timeout(self.timeouts.put, self.write(key, source, size))
            .await
            .unwrap_or_else(|_| Err(FileStoreError::timed_out()))
            .map_err(FileStoreError::never_missing)
    }

    async fn write(&self, key: &ObjectKey, source: File, size: u64) -> Result<(), FileStoreError> {
        let (incoming, prefix) = (self.folder.join(INCOMING), incoming_prefix(key));
        let idle = self.timeouts.idle;
        // Dropped when nobody waits any more: then what a disk that hung does later must not come into being.
        let waiting = Arc::new(());
        let waited_for = Arc::downgrade(&waiting);
        let begin = move || {
            remove_leftovers(&incoming)?;
            let private = Permissions::from_mode(0o600);
            tempfile::Builder::new()
                .prefix(&prefix)
                .permissions(private)
                .tempfile_in(incoming)
        };
        let mut parts = (blocking(idle, begin).await?, source);
        let mut copied = 0;
        while copied < size {
            let piece = copied..size.min(copied + COPIED_AT_ONCE);
            copied = piece.end;
            let (target, source) = parts;
            let work = move || copy(&source, target.as_file(), piece).map(|()| (target, source));
            parts = blocking(idle, work).await?;
        }
        let (place, folder) = (self.place(key), Arc::clone(&self.folder));
        let kept = blocking(idle, move || {
            keep(parts.0, &folder, &place, &waited_for)?;
            // It has hung in between.
            if waited_for.strong_count() == 0 {
                remove(&folder, &place)?;
            }
            Ok(())
        });
        let kept = kept.await;
        drop(waiting);
        kept
    }

    pub(super) async fn open(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<OpenedFile, FileStoreError> {
        let path = self.place(key).path();
        let opening = blocking(self.timeouts.idle, move || {
            let file = File::open(path)?;
            let size = file.metadata()?.len();
            Ok((file, size))
        });
        let (file, size) = opening.await?;
        Ok(OpenedFile::new(
            size,
            read(file, within(range, size), self.timeouts.idle),
        ))
    }

    pub(super) async fn delete(&self, key: &ObjectKey) -> Result<(), FileStoreError> {
        let (place, folder, prefix) = (self.place(key), Arc::clone(&self.folder), incoming_prefix(key));
        let deleting = blocking(self.timeouts.call, move || {
            remove_incoming(&folder.join(INCOMING), |_, name| name.starts_with(&prefix))?;
            remove(&folder, &place)
        });
        deleting.await.map_err(FileStoreError::never_missing)
    }

    pub(super) async fn count_in_folder(&self, user: UserId) -> Result<u64, FileStoreError> {
        let folder = self.folder.join(user.to_string());
        let counting = blocking(self.timeouts.call, move || match fs::read_dir(folder) {
            Ok(files) => Ok(files.count() as u64),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        });
        counting.await.map_err(FileStoreError::never_missing)
    }

    pub(super) async fn check(&self) -> Result<(), FileStoreError> {
        let incoming = self.folder.join(INCOMING);
        let writing = blocking(self.timeouts.check, move || {
            // It has no name, so a crash leaves nothing.
            io::Write::write_all(&mut tempfile::tempfile_in(incoming)?, b"check")
        });
        writing.await.map_err(FileStoreError::never_missing)
    }

    fn place(&self, key: &ObjectKey) -> Place {
        let (user, name) = key.parts();
        Place {
            user: self.folder.join(user),
            name: name.to_owned(),
        }
    }
}

/// Where a file is.
struct Place {
    /// The folder of its user.
    user: PathBuf,
    name: String,
}

impl Place {
    fn path(&self) -> PathBuf {
        self.user.join(&self.name)
    }
}

/// Makes the folder, and removes what a crash has left.
fn prepare(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        // Others keep things there, too: it has the usual permissions.
        fs::create_dir_all(parent)?;
        make_folder(folder)?;
        sync(parent)?;
    }
    let incoming = folder.join(INCOMING);
    make_folder(&incoming)?;
    remove_leftovers(&incoming)
}

/// Makes a folder that only its owner can enter, if there is none.
fn make_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// How the name begins that a file has while it is written: so that deleting it deletes what a crash has left of it, too.
fn incoming_prefix(key: &ObjectKey) -> String {
    let (user, name) = key.parts();
    format!("{user}-{name}.")
}

fn remove_leftovers(incoming: &Path) -> io::Result<()> {
    remove_incoming(incoming, |entry, _| {
        // One that is gone meanwhile was finished, or removed by another process.
        let age = entry.metadata().and_then(|about| about.modified()).ok();
        age.is_some_and(|written| written.elapsed().is_ok_and(|age| age > LEFT_AFTER))
    })
}

/// Removes those files that are not whole for which this says so, by their names.
fn remove_incoming(incoming: &Path, is_to_go: impl Fn(&DirEntry, &str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(incoming)? {
        let entry = entry?;
        if is_to_go(&entry, &entry.file_name().to_string_lossy()) {
            match fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Gives a whole file its name, if anybody still waits for that.
fn keep(mut file: NamedTempFile, folder: &Path, place: &Place, waited_for: &Weak<()>) -> io::Result<()> {
    file.as_file().sync_all()?;
    if waited_for.strong_count() == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    for _ in 0..FOLDER_ATTEMPTS {
        make_folder(&place.user)?;
        match file.persist(place.path()) {
            Ok(_) => {
                sync(&place.user)?;
                return sync(folder);
            }
            // Its last file was deleted meanwhile, and the folder with it.
            Err(failed) if failed.error.kind() == io::ErrorKind::NotFound => file = failed.file,
            Err(failed) => return Err(failed.error),
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Removes a file, and the folder of its user if it was the last one.
fn remove(folder: &Path, place: &Place) -> io::Result<()> {
    let unless_gone = |done: io::Result<()>| match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    };
    unless_gone(fs::remove_file(place.path()))?;
    // Also if the file was gone: an attempt before may have ended here.
    unless_gone(sync(&place.user))?;
    match fs::remove_dir(&place.user) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(()),
        done => unless_gone(done)?,
    }
    sync(folder)
}

/// Makes the names in a folder last.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
