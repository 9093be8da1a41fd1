//! The folder `postgres` below the data root: the cluster, the locks, and the supervisor's reports to users.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{DevDbError, io};
use crate::server_user::ServerUser;

const USERS_LOCK: &str = "users.lock";
const SUPERVISOR_LOCK: &str = "supervisor.lock";
const START_LOCK: &str = "start.lock";

/// Where everything is. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct StateDir {
    data_root: PathBuf,
    path: PathBuf,
}

/// A file lock; released when it is dropped, or when the process ends in any way.
pub(crate) struct LockGuard(File);

impl StateDir {
    /// Opens the folder; creates it if it does not exist.
    pub(crate) fn open(data_root: &Path) -> Result<Self, DevDbError> {
        fs::create_dir_all(data_root).map_err(io(data_root.display().to_string()))?;
        let data_root = data_root.canonicalize().map_err(io(data_root.display().to_string()))?;
        let path = data_root.join("postgres");
        match fs::DirBuilder::new().mode(0o755).create(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io(path.display().to_string())(error)),
        }
        if let Some(user) = ServerUser::to_become()? {
            user.check_reach(&path)?;
            user.give(&path)?;
        }
        Ok(Self { data_root, path })
    }

    pub(crate) fn data_root(&self) -> &Path {
        &self.data_root
    }

    /// The cluster's data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The data directory of a cluster that is being created.
    pub(crate) fn new_data(&self) -> PathBuf {
        self.path.join("data.new")
    }

    /// The server's log.
    pub(crate) fn server_log(&self) -> PathBuf {
        self.path.join("server.log")
    }

    /// Takes the lock that every user of the server holds. Waits until `deadline` while a supervisor stops the server.
    pub(crate) fn lock_as_user(&self, deadline: Instant) -> Result<LockGuard, DevDbError> {
        let file = self.lock_file(USERS_LOCK)?;
        loop {
            match file.try_lock_shared() {
                Ok(()) => return Ok(LockGuard(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Err(DevDbError::StartTimeout { log: self.server_log() }),
                Err(TryLockError::Error(error)) => return Err(io(USERS_LOCK)(error)),
            }
        }
    }

    /// Locks out users; `None` while there are any.
    pub(crate) fn try_lock_out_users(&self) -> Result<Option<LockGuard>, DevDbError> {
        self.try_lock(USERS_LOCK)
    }

    /// Takes the supervisor's lock and writes the process id into it; `None` while another supervisor runs.
    pub(crate) fn try_lock_as_supervisor(&self) -> Result<Option<LockGuard>, DevDbError> {
        let lock = self.try_lock(SUPERVISOR_LOCK)?;
        if let Some(LockGuard(file)) = &lock {
            let pid = std::process::id().to_string();
            file.set_len(0)
                .and_then(|()| file.write_all_at(pid.as_bytes(), 0))
                .map_err(io(SUPERVISOR_LOCK))?;
        }
        Ok(lock)
    }

    pub(crate) fn has_supervisor(&self) -> Result<bool, DevDbError> {
        Ok(self.try_lock(SUPERVISOR_LOCK)?.is_none())
    }

    /// Takes the lock that a user holds while it starts a supervisor; `None` while another user does.
    pub(crate) fn try_lock_for_start(&self) -> Result<Option<LockGuard>, DevDbError> {
        self.try_lock(START_LOCK)
    }

    fn try_lock(&self, name: &str) -> Result<Option<LockGuard>, DevDbError> {
        let file = self.lock_file(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(LockGuard(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(io(name)(error)),
        }
    }

    fn lock_file(&self, name: &str) -> Result<File, DevDbError> {
        let path = self.path.join(name);
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io(path.display().to_string()))
    }

    /// The folder of the server's socket, if a running supervisor reports that the server is ready.
    pub(crate) fn ready_sockets(&self) -> Result<Option<PathBuf>, DevDbError> {
        let read = |name| fs::read_to_string(self.path.join(name)).unwrap_or_default();
        let report = read("ready");
        let Some((supervisor, sockets)) = report.split_once(' ') else {
            return Ok(None);
        };
        // The report of a killed supervisor is out of date.
        let current = self.has_supervisor()? && read(SUPERVISOR_LOCK) == supervisor;
        Ok(current.then(|| PathBuf::from(sockets)))
    }

    /// Reports that the server is ready.
    pub(crate) fn report_ready(&self, sockets: &Path) -> Result<(), DevDbError> {
        self.report("ready", &format!("{} {}", std::process::id(), sockets.display()))
    }

    /// Withdraws the report that the server is ready.
    pub(crate) fn clear_ready(&self) {
        // It may not exist.
        let _ = fs::remove_file(self.path.join("ready"));
    }

    /// Why the last supervisor gave up.
    pub(crate) fn failure(&self) -> Option<String> {
        fs::read_to_string(self.path.join("failure")).ok()
    }

    /// Reports why this supervisor gives up.
    pub(crate) fn report_failure(&self, message: &str) -> Result<(), DevDbError> {
        self.report("failure", message)
    }

    /// Withdraws the failure of the last supervisor, before a new one starts.
    pub(crate) fn clear_failure(&self) {
        // It may not exist.
        let _ = fs::remove_file(self.path.join("failure"));
    }

    fn report(&self, name: &str, content: &str) -> Result<(), DevDbError> {
        let path = self.path.join(name);
        let new = path.with_extension("new");
        // Renamed into place, so that a reader never sees half of it.
        fs::write(&new, content)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(io(path.display().to_string()))
    }
}
