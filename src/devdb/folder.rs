//! The folder below the data root: the cluster, three locks, and what the keeper has to say.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::server_user::ServerUser;
use crate::{DevDbError, io};

const KEEPER_LOCK: &str = "keeper.lock";

/// Where everything is. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    data_root: PathBuf,
    own: PathBuf,
}

/// A lock, until it is dropped or the process ends, however it ends.
pub(crate) struct Held(File);

impl Folder {
    /// Opens the folder, and makes it when it is not there.
    pub(crate) fn open(data_root: &Path) -> Result<Self, DevDbError> {
        fs::create_dir_all(data_root).map_err(io(data_root.display().to_string()))?;
        let data_root = data_root.canonicalize().map_err(io(data_root.display().to_string()))?;
        let own = data_root.join("postgres");
        match fs::DirBuilder::new().mode(0o755).create(&own) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io(own.display().to_string())(error)),
        }
        if let Some(user) = ServerUser::to_become()? {
            user.check_reach(&own)?;
            user.give(&own)?;
        }
        Ok(Self { data_root, own })
    }

    pub(crate) fn data_root(&self) -> &Path {
        &self.data_root
    }

    /// The cluster.
    pub(crate) fn data(&self) -> PathBuf {
        self.own.join("data")
    }

    /// A cluster that is being made.
    pub(crate) fn new_data(&self) -> PathBuf {
        self.own.join("data.new")
    }

    /// What the server says.
    pub(crate) fn server_log(&self) -> PathBuf {
        self.own.join("server.log")
    }

    /// Held by everybody who uses the server.
    pub(crate) fn hold(&self, until: Instant) -> Result<Held, DevDbError> {
        let file = self.lock_file("users.lock")?;
        loop {
            match file.try_lock_shared() {
                Ok(()) => return Ok(Held(file)),
                // A keeper that is stopping the server: it is gone in a moment.
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Err(DevDbError::TooSlow { log: self.server_log() }),
                Err(TryLockError::Error(error)) => return Err(io("users.lock")(error)),
            }
        }
    }

    /// Held when nobody uses the server; nobody begins to while it is.
    pub(crate) fn hold_against_users(&self) -> Result<Option<Held>, DevDbError> {
        self.try_exclusive("users.lock")
    }

    /// Held by the keeper, and bears its number.
    pub(crate) fn hold_as_keeper(&self) -> Result<Option<Held>, DevDbError> {
        let held = self.try_exclusive(KEEPER_LOCK)?;
        if let Some(Held(file)) = &held {
            let number = std::process::id().to_string();
            file.set_len(0)
                .and_then(|()| file.write_all_at(number.as_bytes(), 0))
                .map_err(io(KEEPER_LOCK))?;
        }
        Ok(held)
    }

    /// Whether a keeper is there.
    pub(crate) fn has_keeper(&self) -> Result<bool, DevDbError> {
        Ok(self.try_exclusive(KEEPER_LOCK)?.is_none())
    }

    /// Held while looking for a keeper and starting one.
    pub(crate) fn hold_to_start(&self) -> Result<Option<Held>, DevDbError> {
        self.try_exclusive("start.lock")
    }

    fn try_exclusive(&self, name: &str) -> Result<Option<Held>, DevDbError> {
        let file = self.lock_file(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Held(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(io(name)(error)),
        }
    }

    fn lock_file(&self, name: &str) -> Result<File, DevDbError> {
        let path = self.own.join(name);
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io(path.display().to_string()))
    }

    /// The folder of the server's socket, if a living keeper says that the server is ready.
    pub(crate) fn ready(&self) -> Result<Option<PathBuf>, DevDbError> {
        let read = |name| fs::read_to_string(self.own.join(name)).unwrap_or_default();
        let said = read("ready");
        let Some((keeper, sockets)) = said.split_once(' ') else {
            return Ok(None);
        };
        // What a killed keeper said is not true any more.
        let current = self.has_keeper()? && read(KEEPER_LOCK) == keeper;
        Ok(current.then(|| PathBuf::from(sockets)))
    }

    /// Says that the server is ready.
    pub(crate) fn say_ready(&self, sockets: &Path) -> Result<(), DevDbError> {
        self.say("ready", &format!("{} {}", std::process::id(), sockets.display()))
    }

    /// Why the keeper gave up.
    pub(crate) fn failure(&self) -> Option<String> {
        fs::read_to_string(self.own.join("failure")).ok()
    }

    /// Says why the keeper gives up.
    pub(crate) fn say_failure(&self, words: &str) -> Result<(), DevDbError> {
        self.say("failure", words)
    }

    /// The server is not ready any more.
    pub(crate) fn unsay_ready(&self) {
        // It may not be there.
        let _ = fs::remove_file(self.own.join("ready"));
    }

    /// A new keeper speaks for itself.
    pub(crate) fn unsay_failure(&self) {
        // It may not be there.
        let _ = fs::remove_file(self.own.join("failure"));
    }

    fn say(&self, name: &str, words: &str) -> Result<(), DevDbError> {
        let path = self.own.join(name);
        let new = path.with_extension("new");
        // Renamed, so that nobody reads half of it.
        fs::write(&new, words)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(io(path.display().to_string()))
    }
}
