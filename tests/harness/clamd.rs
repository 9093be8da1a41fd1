//! A private clamd of ClamAV for each test. It knows two signatures of the tests', and asks nobody for more.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tokio::net::UnixStream;

use crate::{Program, eventually};

/// What it calls the test file that every scanner knows.
pub const EICAR_SIGNATURE: &str = "Cura.Test.Eicar.UNOFFICIAL";

/// A running clamd; killed when dropped.
pub struct Clamd {
    // Dropped before its folder.
    program: Program,
    folder: TempDir,
}

impl Clamd {
    /// Starts one with these lines in its settings, and waits until it answers.
    pub async fn start(settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("cura-test-clamd-")
            .tempdir()
            .expect("a folder");
        let path = folder.path().display();
        let signatures = folder.path().join("signatures");
        std::fs::create_dir(&signatures).expect("a folder");
        // Name, kind of file (any), place in it (any), bytes.
        let lines = [
            ("Cura.Test.Eicar", eicar()),
            ("Cura.Test.Other", b"another test file".to_vec()),
        ]
        .map(|(name, bytes)| format!("{name}:0:*:{}\n", hex(&bytes)));
        std::fs::write(signatures.join("tests.ndb"), lines.concat()).expect("written");
        let own = format!(
            "Foreground yes\nLocalSocket {path}/clamd\nDatabaseDirectory {path}/signatures\nTemporaryDirectory {path}\n"
        );
        let file = folder.path().join("clamd.conf");
        std::fs::write(&file, format!("{own}{}\n", settings.join("\n"))).expect("written");
        let mut command = Command::new(program());
        let program = Program::start_command(command.arg("--config-file").arg(&file), &[]);
        let clamd = Self { program, folder };
        eventually("clamd listens", async || {
            UnixStream::connect(clamd.address()).await.ok().map(drop)
        })
        .await;
        clamd
    }

    /// The path of its socket.
    pub fn address(&self) -> String {
        self.folder.path().join("clamd").display().to_string()
    }

    /// Sends it a signal: `STOP`, `CONT`.
    pub fn signal(&self, signal: &str) {
        self.program.signal(signal);
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.program.kill();
    }
}

/// The test file that every scanner knows (<https://www.eicar.org>). Joined here, so that no scanner finds it in the source.
pub fn eicar() -> Vec<u8> {
    let halves = [
        r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR",
        "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*",
    ];
    halves.concat().into_bytes()
}

/// Debian installs it where only root's `PATH` leads.
fn program() -> &'static str {
    let sbin = "/usr/sbin/clamd";
    if Path::new(sbin).exists() { sbin } else { "clamd" }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
