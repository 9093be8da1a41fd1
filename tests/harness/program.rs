//! The programs as real processes: started, read from, signalled and killed.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

use crate::eventually;

/// A running program; killed when dropped.
pub struct Program {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    listeners: [JoinHandle<()>; 2],
    /// Its `DATA_DIR`, unless the test has set one.
    data: Option<TempDir>,
}

/// The path of the built program `name`.
///
/// # Panics
/// If it was not built: `cargo build -p cura-bin` comes before the tests.
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
    /// Starts `name` with only these variables in its environment, and a `DATA_DIR` of its own if they name none.
    pub fn start(name: &str, arguments: &[&str], variables: &[(&str, String)]) -> Self {
        let has_data = variables.iter().any(|(name, _)| *name == "DATA_DIR");
        let data = (!has_data).then(|| tempfile::tempdir().expect("a folder"));
        let own = data.iter().map(|data| ("DATA_DIR", data.path().display().to_string()));
        let variables: Vec<_> = own.chain(variables.iter().cloned()).collect();
        let mut program = Self::start_command(Command::new(path(name)).args(arguments), &variables);
        program.data = data;
        program
    }

    /// Starts a command with only these variables in its environment.
    pub fn start_command(command: &mut Command, variables: &[(&str, String)]) -> Self {
        command.env_clear().current_dir("/tmp");
        // The caller decides where coverage is written.
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
        Self {
            child,
            said,
            listeners,
            data: None,
        }
    }

    /// Its output so far; complete after [`Program::ended`].
    pub fn logs(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Waits for a line that contains `mark`, and returns what follows `mark` in it.
    pub async fn wait_for_log(&self, mark: &str) -> String {
        eventually(&format!("the program logs {mark:?}"), async || {
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

    /// Kills it and waits for its end.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is gone");
    }

    /// Waits until it has ended and its output is complete, and returns its exit code; `None` when a signal ended it.
    ///
    /// Waits for child processes that still write to its output, too.
    pub async fn ended(&mut self) -> Option<i32> {
        loop {
            let heard = self.listeners.iter().all(JoinHandle::is_finished);
            if let (true, Some(status)) = (heard, self.child.try_wait().expect("it is ours")) {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Lets it end by itself, because only then it writes its coverage profile: one TERM asks, a second one forces.
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

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::env::var_os("LLVM_PROFILE_FILE").is_some() {
            self.let_write_its_profile();
        }
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
