//! The private Postgres as a process uses it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{DevDbError, io};
use crate::profile::Profile;
use crate::state_dir::{LockGuard, StateDir};
use crate::supervisor_watch::SupervisorWatch;

/// How long a start may take, including recovery after a crash.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause between two checks whether the server is ready.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A running private Postgres. It runs while any process holds one of these.
pub struct PrivatePostgres {
    sockets: PathBuf,
    _watch: SupervisorWatch,
    _user_lock: LockGuard,
}

impl PrivatePostgres {
    /// Starts the server whose data is below `data_root`, or joins it. Blocks until it accepts connections.
    ///
    /// `supervisor` is an executable that calls [`run_supervisor_if_asked`](crate::run_supervisor_if_asked) first in `main`;
    /// `None` is the running one.
    pub fn start(data_root: &Path, profile: Profile, supervisor: Option<&Path>) -> Result<Self, DevDbError> {
        let state_dir = StateDir::open(data_root)?;
        let deadline = Instant::now() + START_TIMEOUT;
        let user_lock = state_dir.lock_as_user(deadline)?;
        let program = match supervisor {
            Some(program) => program.to_owned(),
            None => std::env::current_exe().map_err(io("this program's own file"))?,
        };
        let watch = SupervisorWatch::new(state_dir.clone(), profile, program);
        watch.ensure_supervisor()?;
        loop {
            if let Some(sockets) = state_dir.ready_sockets()? {
                watch.start();
                return Ok(Self {
                    sockets,
                    _watch: watch,
                    _user_lock: user_lock,
                });
            }
            if let Some(message) = state_dir.failure() {
                return Err(DevDbError::Supervisor(message));
            }
            if Instant::now() > deadline {
                return Err(DevDbError::StartTimeout {
                    log: state_dir.server_log(),
                });
            }
            watch.ensure_supervisor()?;
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// The URL of a database on the server. The database `cura` always exists.
    pub fn url(&self, database: &str) -> String {
        let sockets = self.sockets.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{sockets}/{database}")
    }
}

/// The default place of the data: `./.cura`; for root `/var/lib/cura`, because PostgreSQL then runs as another user, who
/// must reach it.
pub fn default_data_root() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        "/var/lib/cura".into()
    } else {
        ".cura".into()
    }
}
