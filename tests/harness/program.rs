//! Real programs as processes: started, listened to, stopped and killed.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::eventually;

/// A running program; killed when dropped.
pub struct Program {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    listeners: [JoinHandle<()>; 2],
}

/// Where the program `name` was built.
///
/// # Panics
/// When it was not: `cargo build -p cura-bin` comes before the tests.
pub fn path(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("the test's own path");
    // target/debug/deps/integration-… → target/debug/cura-server
    let built = tests
        .ancestors()
        .skip(1)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    built.unwrap_or_else(|| panic!("{name} is not built; run `cargo build -p cura-bin` or `make test`"))
}

impl Program {
    /// Starts `name` with only these variables in its environment.
    pub fn start(name: &str, arguments: &[&str], variables: &[(&str, String)]) -> Self {
        let mut command = Command::new(path(name));
        command.args(arguments).env_clear().current_dir("/tmp");
        // Coverage is written where the caller wants it.
        for (name, value) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LLVM_PROFILE"))
        {
            command.env(name, value);
        }
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.envs(variables.iter().map(|(name, value)| (*name, value)));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let said = Arc::new(Mutex::new(Vec::new()));
        let outputs: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("piped")),
            Box::new(child.stderr.take().expect("piped")),
        ];
        let listeners = outputs.map(|output| {
            let said = Arc::clone(&said);
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    said.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                }
            })
        });
        Self { child, said, listeners }
    }

    /// Everything it has said so far; after [`Program::ended`], everything.
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// The rest of the first line that holds `mark`, after it; waits for it.
    pub async fn says(&self, mark: &str) -> String {
        eventually(&format!("the program says {mark:?}"), async || {
            let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            said.iter()
                .find_map(|line| line.split_once(mark).map(|(_, rest)| rest.to_owned()))
        })
        .await
    }

    /// Sends a signal: `TERM`, `KILL`, `STOP`, `CONT`, `INT`.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .status()
            .expect("kill is there");
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is gone");
    }

    /// Its exit code, when it has ended and its last word is heard; `None` when a signal ended it.
    ///
    /// Programs it started and that still write to its output are waited for.
    pub async fn ended(&mut self) -> Option<i32> {
        loop {
            let heard = self.listeners.iter().all(JoinHandle::is_finished);
            if let (true, Some(status)) = (heard, self.child.try_wait().expect("it is ours")) {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What a program has covered is written when it ends by itself: asked, and then told to.
    fn let_write_its_profile(&mut self) {
        for _ in 0..2 {
            self.signal("TERM");
            for _ in 0..50 {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::env::var_os("LLVM_PROFILE_FILE").is_some() {
            self.let_write_its_profile();
        }
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
