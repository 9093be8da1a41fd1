//! A primary with a synchronous standby, and an address that follows the primary: what a failover is made of.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection};

use crate::redis::free_port;
use crate::{Proxy, TestDatabase};

/// The longest a start may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Two servers; stopped when dropped.
pub struct PostgresPair {
    primary: Server,
    standby: Server,
    /// Leads to the primary.
    pub proxy: Proxy,
    folder: PathBuf,
}

struct Server {
    process: Option<Child>,
    data: PathBuf,
    port: u16,
}

impl PostgresPair {
    /// Starts both.
    pub async fn start() -> Self {
        let folder = PathBuf::from(format!("/tmp/cura-test-pair-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder for the servers");
        if is_root() {
            let owned = Command::new("chown").arg(user()).arg(&folder).status();
            assert!(owned.expect("chown is there").success());
        }
        let data = |name: &str| folder.join(name).display().to_string();
        let (first, second) = (data("primary"), data("standby"));
        run(
            "initdb",
            &[
                "-D",
                &first,
                "-U",
                "postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-sync",
            ],
        );
        // What is committed is on the standby, too.
        let primary = Server::start(&first, &["synchronous_standby_names=*"]);
        let copied_from = format!("host=127.0.0.1 port={} user=postgres", primary.port);
        let copy = ["-D", &second, "-d", &copied_from, "-R", "-c", "fast", "--no-sync"];
        run("pg_basebackup", &copy);
        let standby = Server::start(&second, &[]);
        let proxy = Proxy::to_port(primary.port).await;
        Self {
            primary,
            standby,
            proxy,
            folder,
        }
    }

    /// A database with all migrations, reached through the address that follows the primary.
    pub async fn database(&self) -> TestDatabase {
        let url = format!(
            "postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable",
            self.proxy.port()
        );
        TestDatabase::on_own_server(url).await
    }

    /// The port of the standby.
    pub fn standby_port(&self) -> u16 {
        self.standby.port
    }

    /// Kills the primary with all of its sessions.
    pub fn kill_primary(&mut self) {
        self.primary.stop();
    }

    /// Makes the primary read only, its open sessions, too, as what fences a server does that it cannot stop.
    pub async fn make_primary_read_only(&self) {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", self.primary.port);
        let mut admin = PgConnection::connect(&url).await.expect("it answers");
        for statement in [
            "ALTER SYSTEM SET default_transaction_read_only = on",
            "SELECT pg_reload_conf()",
        ] {
            admin.execute(statement).await.expect("it is done");
        }
    }

    /// Makes the standby the primary. Returns when it accepts writes.
    pub fn promote_standby(&self) {
        // Nobody is left for whom it could wait at a commit.
        run(
            "pg_ctl",
            &["promote", "-w", "-D", &self.standby.data.display().to_string()],
        );
    }
}

impl Drop for PostgresPair {
    fn drop(&mut self) {
        self.primary.stop();
        self.standby.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Server {
    fn start(data: &str, settings: &[&str]) -> Self {
        let port = free_port();
        let mut postgres = command("postgres");
        postgres.args(["-D", data, "-p", &port.to_string(), "-k", ""]);
        let own = [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "full_page_writes=off",
            "max_connections=150",
        ];
        for setting in own.iter().chain(settings) {
            postgres.args(["-c", setting]);
        }
        let log = std::fs::File::create(format!("{data}.log")).expect("a log");
        let process = postgres.stdout(Stdio::null()).stderr(log).spawn().expect("it starts");
        let server = Self {
            process: Some(process),
            data: data.into(),
            port,
        };
        server.wait();
        server
    }

    fn wait(&self) {
        let until = Instant::now() + LIMIT;
        let ready = || {
            let mut ask = command("pg_isready");
            ask.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
            ask.status().is_ok_and(|status| status.success())
        };
        while !ready() {
            assert!(
                Instant::now() < until,
                "Postgres does not start; see {}.log",
                self.data.display()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            run(
                "pg_ctl",
                &["stop", "-m", "immediate", "-D", &self.data.display().to_string()],
            );
            process.wait().expect("it is gone");
        }
    }
}

fn run(program: &str, arguments: &[&str]) {
    let done = command(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    assert!(
        done.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// A program of PostgreSQL, as a user it accepts.
fn command(program: &str) -> Command {
    let path = binaries().join(program);
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", user(), "--regid", user(), "--clear-groups"])
            .arg(path);
        command
    } else {
        Command::new(path)
    };
    command.current_dir("/").env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user of Debian's package.
fn user() -> &'static str {
    "postgres"
}

/// The folder of the newest PostgreSQL.
fn binaries() -> PathBuf {
    if let Some(chosen) = std::env::var_os("CURA_PG_BIN") {
        return chosen.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|version| version.file_name().to_string_lossy().parse::<u32>().ok())
        .max();
    newest.map_or_else(
        || {
            let found = Command::new("pg_config").arg("--bindir").output();
            let text = found.map(|output| output.stdout).unwrap_or_default();
            PathBuf::from(String::from_utf8_lossy(&text).trim())
        },
        |version| Path::new("/usr/lib/postgresql").join(version.to_string()).join("bin"),
    )
}
