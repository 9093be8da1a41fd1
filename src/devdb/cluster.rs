//! The cluster: creates it, starts its server, finds a server that runs already, and stops it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::binaries::Binaries;
use crate::error::{DevDbError, io};
use crate::profile::Profile;
use crate::server_user::ServerUser;
use crate::state_dir::StateDir;

/// A cluster and what is needed to run it.
pub(crate) struct Cluster {
    state_dir: StateDir,
    binaries: Binaries,
    user: Option<ServerUser>,
    sockets: PathBuf,
}

/// The server of a cluster.
pub(crate) struct RunningServer {
    pid: Pid,
    /// Whether it accepts connections.
    pub(crate) is_ready: bool,
}

impl Cluster {
    /// The cluster in `state_dir`; creates it if it does not exist.
    pub(crate) fn open(state_dir: StateDir, profile: Profile) -> Result<Self, DevDbError> {
        let binaries = Binaries::find(&state_dir.data())?;
        let user = ServerUser::to_become()?;
        let sockets = create_socket_dir(&state_dir, user.as_ref())?;
        let cluster = Self {
            state_dir,
            binaries,
            user,
            sockets,
        };
        if !cluster.state_dir.data().join("PG_VERSION").exists() {
            cluster.create(profile)?;
        }
        Ok(cluster)
    }

    /// The folder of the server's socket.
    pub(crate) fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// Creates the cluster and the database `cura`, in a folder that is renamed into place when it is complete.
    fn create(&self, profile: Profile) -> Result<(), DevDbError> {
        let (new, data) = (self.state_dir.new_data(), self.state_dir.data());
        for leftover in [&new, &data] {
            if leftover.exists() {
                fs::remove_dir_all(leftover).map_err(io(leftover.display().to_string()))?;
            }
        }
        let mut initdb = self.command(&self.binaries.initdb())?;
        initdb.arg("-D").arg(&new).args([
            "--username=postgres",
            // Only the owner can reach the socket in its closed folder.
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ]);
        if profile == Profile::Throwaway {
            initdb.arg("--no-sync");
        }
        let made = initdb.stdin(Stdio::null()).status().map_err(io("initdb"))?;
        if !made.success() {
            return Err(self.failed("initdb"));
        }
        let mut single = self.command(&self.binaries.postgres())?;
        single
            .arg("--single")
            .arg("-D")
            .arg(&new)
            .arg("postgres")
            .stdin(Stdio::piped());
        let mut single = single.spawn().map_err(io("postgres"))?;
        if let Some(mut stdin) = single.stdin.take() {
            stdin.write_all(b"CREATE DATABASE cura\n").map_err(io("postgres"))?;
        }
        if !single.wait().map_err(io("postgres"))?.success() {
            return Err(self.failed("postgres --single"));
        }
        fs::rename(&new, &data).map_err(io(data.display().to_string()))
    }

    /// Starts the server.
    pub(crate) fn start(&self, profile: Profile) -> Result<Child, DevDbError> {
        self.clear_reused_pid();
        let mut postgres = self.command(&self.binaries.postgres())?;
        postgres
            .arg("-D")
            .arg(self.state_dir.data())
            .arg("-k")
            .arg(&self.sockets)
            .args(["-c", "listen_addresses="]);
        let settings: &[&str] = match profile {
            Profile::Durable => &["max_connections=100"],
            Profile::Throwaway => &[
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
                "autovacuum=off",
                "max_connections=200",
            ],
        };
        for setting in settings {
            postgres.args(["-c", setting]);
        }
        postgres.stdin(Stdio::null()).spawn().map_err(io("postgres"))
    }

    /// The server of this cluster, if it runs.
    pub(crate) fn running(&self) -> Option<RunningServer> {
        let file = fs::read_to_string(self.state_dir.data().join("postmaster.pid")).ok()?;
        let mut lines = file.lines();
        let pid = lines.next()?.trim().parse().ok().and_then(Pid::from_raw)?;
        // Line 8 is the state (PostgreSQL, src/include/utils/pidfile.h).
        let is_ready = lines.nth(6).is_some_and(|state| state.trim() == "ready");
        self.is_ours(pid).then_some(RunningServer { pid, is_ready })
    }

    /// Removes the pid file of a dead server if its process id now belongs to another process, which PostgreSQL does not
    /// recognise. In other cases the file stays: it protects against processes that a killed server left behind.
    fn clear_reused_pid(&self) {
        let path = self.state_dir.data().join("postmaster.pid");
        let Ok(file) = fs::read_to_string(&path) else { return };
        let Some(pid) = file
            .lines()
            .next()
            .and_then(|line| line.trim().parse().ok())
            .and_then(Pid::from_raw)
        else {
            return;
        };
        let in_use = Path::new("/proc").join(pid.as_raw_nonzero().to_string()).exists();
        if in_use && !self.is_ours(pid) {
            let _ = fs::remove_file(&path);
        }
    }

    /// Whether `pid` is a running server of this cluster: the process id may have been reused.
    fn is_ours(&self, pid: Pid) -> bool {
        let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        // A zombie has no command line.
        let Ok(command) = fs::read(process.join("cmdline")) else {
            return false;
        };
        let data = self.state_dir.data();
        command
            .split(|byte| *byte == 0)
            .any(|argument| argument == data.as_os_str().as_encoded_bytes())
    }

    /// A command run as the server's user, in a process group of its own, which Ctrl-C does not reach, and without settings of
    /// the environment.
    fn command(&self, program: &Path) -> Result<Command, DevDbError> {
        let log = self.state_dir.server_log();
        let log = File::options()
            .append(true)
            .create(true)
            .open(&log)
            .map_err(io(log.display().to_string()))?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("PG") || text.starts_with("LC_") || text.starts_with("LANG") {
                command.env_remove(&name);
            }
        }
        command
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/")
            .process_group(0);
        let copy = log.try_clone().map_err(io("server.log"))?;
        command.stdout(copy).stderr(log);
        ServerUser::apply(self.user.as_ref(), &mut command);
        Ok(command)
    }

    fn failed(&self, program: &'static str) -> DevDbError {
        DevDbError::Failed {
            program,
            log: self.state_dir.server_log(),
        }
    }
}

impl RunningServer {
    /// Asks the server to stop fast: connections are closed, and everything committed is kept.
    pub(crate) fn ask_to_stop(&self) {
        // Fails only if the process has ended.
        let _ = kill_process(self.pid, Signal::INT);
    }
}

/// Creates a folder that only the server's user and root can open. It is below `/tmp`, because a socket's path has at most
/// 104 bytes.
fn create_socket_dir(state_dir: &StateDir, user: Option<&ServerUser>) -> Result<PathBuf, DevDbError> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hash = DefaultHasher::new();
    state_dir.data().hash(&mut hash);
    let uid = ServerUser::uid_of(user);
    let path = PathBuf::from(format!("/tmp/cura-pg-{uid}-{:016x}", hash.finish()));
    let wrong = || io(path.display().to_string());
    match fs::DirBuilder::new().mode(0o700).create(&path) {
        Ok(()) => {
            if let Some(user) = user {
                user.give(&path)?;
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(wrong()(error)),
    }
    // Another user of the machine may have created it first, to intercept connections.
    let meta = fs::symlink_metadata(&path).map_err(wrong())?;
    if !meta.is_dir() || meta.uid() != uid {
        return Err(wrong()(std::io::Error::other("it belongs to another user; remove it")));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(wrong())?;
    Ok(path)
}
