//! A private Redis for each test: a server, a cluster, or a master with replicas and sentinels.

mod cluster;
mod sentinels;

use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The range ports are drawn from. It lies below the system's ephemeral ports, so the port of a dead Redis is not reused.
const PORTS: Range<u16> = 10_000..32_768;
/// The longest a start may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

pub use cluster::TestRedisCluster;
pub use sentinels::TestRedisSentinels;

/// A Redis without persistence; stopped when dropped.
pub struct TestRedis {
    server: Option<Child>,
    port: u16,
    folder: PathBuf,
    arguments: Vec<String>,
}

impl TestRedis {
    /// Starts one on a free port.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with these options, each `--name value`, on a free port.
    pub fn start_with(options: &[&str]) -> Self {
        Self::start_as(|_, _| options.iter().copied().map(str::to_owned).collect())
    }

    /// Starts one on a free port, with arguments for this port and folder.
    fn start_as(arguments: impl Fn(u16, &Path) -> Vec<String>) -> Self {
        for _ in 0..20 {
            let port = free_port();
            let folder = PathBuf::from(format!("/tmp/cura-test-redis-{}-{port}", std::process::id()));
            std::fs::create_dir_all(&folder).expect("a folder for Redis");
            let mut redis = Self {
                server: None,
                port,
                arguments: arguments(port, &folder),
                folder,
            };
            // Another process may have bound the port in the meantime; try the next one.
            if redis.launch() {
                return redis;
            }
        }
        panic!("Redis does not start; is redis-server installed? `make test` installs it");
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("it runs").id()
    }

    /// What it answers to a command.
    pub fn command(&self, command: &str) -> String {
        let said = said_at(self.address(), command);
        said.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// Gives it a command that it must accept.
    pub fn must(&self, command: &str) {
        let said = self.command(command);
        assert!(!said.starts_with('-'), "{command}: {said}");
    }

    /// Freezes it (`STOP`), or lets it go on (`CONT`).
    pub fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid]).status();
        assert!(sent.expect("kill is there").success());
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("it can be killed");
            server.wait().expect("it is gone");
        }
    }

    /// Starts it again on the same port, empty.
    pub fn restart(&mut self) {
        self.kill();
        let until = Instant::now() + LIMIT;
        loop {
            // Another process may hold the port for a moment.
            let last = Instant::now() >= until;
            if self.launch() {
                return;
            }
            assert!(!last, "Redis does not start again");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn launch(&mut self) -> bool {
        let mut server = Command::new("redis-server")
            .args(&self.arguments)
            .args([
                "--port",
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .arg("--dir")
            .arg(&self.folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed; `make test` installs it");
        let address = self.address();
        let until = Instant::now() + LIMIT;
        while Instant::now() < until {
            if matches!(server.try_wait(), Ok(Some(_))) {
                return false;
            }
            // A Redis of another test may answer here before ours fails to bind.
            if process_at(address).is_ok_and(|process| process == Some(server.id())) {
                self.server = Some(server);
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = server.kill();
        let _ = server.wait();
        false
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A port that is free at this moment.
pub fn free_port() -> u16 {
    let size = u64::from(PORTS.end - PORTS.start);
    for _ in 0..1000 {
        let drawn = RandomState::new().hash_one(std::process::id()) % size;
        let port = PORTS.start + u16::try_from(drawn).expect("below the size");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// The process id of the Redis that answers at `address`.
fn process_at(address: SocketAddr) -> std::io::Result<Option<u32>> {
    let said = said_at(address, "INFO server")?;
    Ok(said
        .lines()
        .find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok()))
}

/// What the Redis at `address` answers to a command.
fn said_at(address: SocketAddr, command: &str) -> std::io::Result<String> {
    let mut redis = TcpStream::connect(address)?;
    redis.set_read_timeout(Some(Duration::from_secs(5)))?;
    redis.write_all(format!("{command}\r\n").as_bytes())?;
    // It answers, and then closes. Sentinels do not know QUIT.
    redis.shutdown(Shutdown::Write)?;
    let mut said = String::new();
    redis.read_to_string(&mut said)?;
    Ok(said)
}

/// Waits until `is_so`.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
