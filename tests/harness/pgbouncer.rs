//! A private PgBouncer in front of a test's database.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;

use crate::TestDatabase;
use crate::redis::free_port;

/// The longest a start may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// For how long a client has a session of Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    /// As long as it is connected.
    Session,
    /// For one transaction. There are three sessions for all, so that clients share them.
    Transaction,
}

/// A running PgBouncer; stopped when dropped.
pub struct PgBouncer {
    pooler: Child,
    port: u16,
    folder: PathBuf,
}

impl PgBouncer {
    /// Starts one in front of the server of this database, of which it knows no other.
    pub fn start(database: &TestDatabase, mode: PoolMode) -> Self {
        Self::start_at(database, mode, "postgres")
    }

    /// Starts one that signs in to Postgres as this user.
    pub fn start_as(database: &TestDatabase, user: &str) -> Self {
        Self::start_at(database, PoolMode::Session, user)
    }

    fn start_at(database: &TestDatabase, mode: PoolMode, user: &str) -> Self {
        let options = PgConnectOptions::from_str(&database.url()).expect("a URL");
        let host = options.get_socket().map(|path| path.display().to_string());
        let host = host.unwrap_or_else(|| options.get_host().to_owned());
        Self::start_to(&host, options.get_port(), database.name(), mode, user)
    }

    /// Starts one in front of a port of this machine where no Postgres is.
    pub fn start_to_nothing(mode: PoolMode) -> Self {
        Self::start_to("127.0.0.1", 1, "cura", mode, "postgres")
    }

    fn start_to(host: &str, to: u16, database: &str, mode: PoolMode, user: &str) -> Self {
        let (mode, size) = match mode {
            PoolMode::Session => ("session", 60),
            PoolMode::Transaction => ("transaction", 3),
        };
        for _ in 0..20 {
            let port = free_port();
            let folder = PathBuf::from(format!("/tmp/cura-test-pgbouncer-{}-{port}", std::process::id()));
            std::fs::create_dir_all(&folder).expect("a folder for PgBouncer");
            let users = folder.join("users");
            std::fs::write(&users, "\"postgres\" \"\"\n").expect("written");
            let settings = format!(
                "[databases]\n{database} = host={host} port={to} user={user}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\n\
                 default_pool_size = {size}\nmax_client_conn = 200\nserver_login_retry = 1\n",
                users.display()
            );
            let file = folder.join("pgbouncer.ini");
            std::fs::write(&file, settings).expect("written");
            let mut command = Command::new(program());
            // It refuses to be root; the folder of the private Postgres' socket is open to its owner only.
            if rustix::process::geteuid().is_root() {
                command.args(["-u", &owner_of(Path::new(host))]);
            }
            let mut pooler = command
                .arg(&file)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("pgbouncer is installed; `make test` installs it");
            if answers(&mut pooler, port) {
                return Self { pooler, port, folder };
            }
            // Another process may have bound the port in the meantime; try the next one.
            let _ = pooler.kill();
            let _ = pooler.wait();
            let _ = std::fs::remove_dir_all(&folder);
        }
        panic!("PgBouncer does not start");
    }

    /// The URL that reaches this database through it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.pooler.kill();
        let _ = self.pooler.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Debian installs it where only root's `PATH` leads.
fn program() -> &'static str {
    let sbin = "/usr/sbin/pgbouncer";
    if Path::new(sbin).exists() { sbin } else { "pgbouncer" }
}

/// The name of the user to run as: the owner of the socket's folder, else the one that has nothing.
fn owner_of(folder: &Path) -> String {
    let uid = std::fs::metadata(folder).map(|meta| std::os::unix::fs::MetadataExt::uid(&meta));
    let Ok(uid) = uid else {
        return "nobody".to_owned();
    };
    let name = Command::new("id")
        .args(["-nu", &uid.to_string()])
        .output()
        .expect("id is there");
    String::from_utf8(name.stdout).expect("a name").trim().to_owned()
}

fn answers(pooler: &mut Child, port: u16) -> bool {
    let until = Instant::now() + LIMIT;
    while Instant::now() < until {
        if matches!(pooler.try_wait(), Ok(Some(_))) {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}
