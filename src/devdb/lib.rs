//! A private Postgres: started when the first process wants it, shared by all that do, stopped when the last one is gone.
//!
//! Every process that uses it holds a shared file lock, which the kernel drops even on SIGKILL. A small *keeper* process
//! (the same executable with a hidden argument) owns the server and watches the lock. Whichever of them is killed, the
//! next start, or the watch every user keeps, puts things right; what was committed is kept.

mod binaries;
mod cluster;
mod folder;
mod keeper;
mod server_user;
mod watch;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use folder::{Folder, Held};
use thiserror::Error;
use watch::Watch;

/// The hidden argument that makes a program a keeper.
const KEEPER_ARGUMENT: &str = "--keep-private-postgres";
/// How long a start may take: recovery after a crash included.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Why there is no private Postgres. One sentence that names the cure.
#[derive(Debug, Error)]
pub enum DevDbError {
    /// No usable Postgres is installed.
    #[error(
        "no PostgreSQL 14 or newer was found; install it (Debian: apt-get install postgresql) or set CURA_PG_BIN to its bin folder"
    )]
    NotInstalled,
    /// The data was made by a version that is not installed.
    #[error(
        "the data in {data} was made by PostgreSQL {major}, which is not installed; install postgresql-{major} or move the folder away"
    )]
    OtherMajor {
        /// The data.
        data: PathBuf,
        /// The version that made it.
        major: u32,
    },
    /// The user the server runs as cannot reach the data.
    #[error(
        "{folder} is closed to the user {user}, as which PostgreSQL runs; choose another DATA_DIR or open it (chmod o+x)"
    )]
    Closed {
        /// The folder that is closed.
        folder: PathBuf,
        /// The user.
        user: String,
    },
    /// A program failed.
    #[error("{program} failed; see {log}")]
    Failed {
        /// Which.
        program: &'static str,
        /// Where it says why.
        log: PathBuf,
    },
    /// A file or process cannot be used.
    #[error("{what} cannot be used: {error}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        error: std::io::Error,
    },
    /// It takes too long.
    #[error("the private PostgreSQL did not start within a minute; see {log}")]
    TooSlow {
        /// Where the server says why.
        log: PathBuf,
    },
    /// The keeper gave up and left these words.
    #[error("{0}")]
    Keeper(String),
}

/// How much a crash of the machine may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Nothing.
    Durable,
    /// Everything: for tests. Lingers for a while, because tests are many short processes.
    Throwaway,
}

/// A running private Postgres; it runs as long as somebody holds one of these.
pub struct PrivatePostgres {
    sockets: PathBuf,
    _watch: Watch,
    _held: Held,
}

impl PrivatePostgres {
    /// Starts the server whose data lives below `data_root`, or joins it. Blocks until it answers.
    ///
    /// `keeper` is an executable that calls [`run_keeper_if_asked`] first thing; `None` is the running one.
    ///
    /// # Errors
    /// See [`DevDbError`].
    pub fn start(data_root: &Path, profile: Profile, keeper: Option<&Path>) -> Result<Self, DevDbError> {
        let folder = Folder::open(data_root)?;
        let until = Instant::now() + START_TIMEOUT;
        let held = folder.hold(until)?;
        let program = match keeper {
            Some(program) => program.to_owned(),
            None => std::env::current_exe().map_err(io("this program's own file"))?,
        };
        let watch = Watch::new(folder.clone(), profile, program);
        watch.ensure_keeper()?;
        loop {
            if let Some(sockets) = folder.ready()? {
                watch.begin();
                return Ok(Self {
                    sockets,
                    _watch: watch,
                    _held: held,
                });
            }
            if let Some(words) = folder.failure() {
                return Err(DevDbError::Keeper(words));
            }
            if Instant::now() > until {
                return Err(DevDbError::TooSlow {
                    log: folder.server_log(),
                });
            }
            watch.ensure_keeper()?;
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// The URL of a database on it; `cura` is there from the start.
    pub fn url(&self, database: &str) -> String {
        let sockets = self.sockets.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{sockets}/{database}")
    }
}

/// Call first thing in `main`, before any runtime: if this process was started as a keeper, it keeps, and never returns.
pub fn run_keeper_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != KEEPER_ARGUMENT) {
        return;
    }
    let profile = match arguments.next() {
        Some(word) if word == "throwaway" => Profile::Throwaway,
        _ => Profile::Durable,
    };
    let Some(data_root) = arguments.next() else {
        std::process::exit(2)
    };
    std::process::exit(keeper::keep(Path::new(&data_root), profile));
}

/// How a keeper is started.
fn keeper_command(program: &Path, profile: Profile, folder: &Folder) -> Command {
    let mut command = Command::new(program);
    let profile = match profile {
        Profile::Durable => "durable",
        Profile::Throwaway => "throwaway",
    };
    command.arg(KEEPER_ARGUMENT).arg(profile).arg(folder.data_root());
    command
}

/// Where the data lives when nobody says: as root `/var/lib/cura`, because PostgreSQL runs as another user who must reach
/// it; else `./.cura`.
pub fn default_data_root() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        "/var/lib/cura".into()
    } else {
        ".cura".into()
    }
}

fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> DevDbError {
    let what = what.into();
    move |error| DevDbError::Io { what, error }
}
