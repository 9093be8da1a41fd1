//! A real Redis of its own for a test.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A Redis that keeps nothing and is gone when this is.
pub struct TestRedis {
    server: Option<Child>,
    port: u16,
    folder: PathBuf,
}

impl TestRedis {
    /// Starts one on a free port.
    pub fn start() -> Self {
        for _ in 0..20 {
            let port = free_port();
            let folder = PathBuf::from(format!("/tmp/cura-test-redis-{}-{port}", std::process::id()));
            std::fs::create_dir_all(&folder).expect("a folder for Redis");
            let mut redis = Self {
                server: None,
                port,
                folder,
            };
            // Somebody else may have taken the port meanwhile: then another one.
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

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("it can be killed");
            server.wait().expect("it is gone");
        }
    }

    /// Starts it again, on the same port, with nothing in it.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.launch(), "Redis does not start again");
    }

    fn launch(&mut self) -> bool {
        let mut server = Command::new("redis-server")
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
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            if matches!(server.try_wait(), Ok(Some(_))) {
                return false;
            }
            if TcpStream::connect(address).is_ok() {
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

/// A port nobody uses at this moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}
