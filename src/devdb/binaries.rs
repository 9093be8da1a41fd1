//! Finds PostgreSQL: searches the places where it may be installed, and runs each binary once to check that it works.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::DevDbError;

/// The oldest version Cura runs on.
const OLDEST: u32 = 14;

/// One installed version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binaries {
    bin: PathBuf,
    major: u32,
}

impl Binaries {
    /// The version that created the cluster in `data`, or the newest one if there is no cluster yet.
    pub(crate) fn find(data: &Path) -> Result<Self, DevDbError> {
        let mut found: Vec<Self> = candidates("postgres").into_iter().filter_map(Self::probe).collect();
        found.retain(|binaries| binaries.major >= OLDEST);
        let Some(made_by) = major_of(data) else {
            // Of equal versions, the first candidate is chosen; `max_by_key` returns the last.
            found.reverse();
            return found
                .into_iter()
                .max_by_key(|binaries| binaries.major)
                .ok_or(DevDbError::NotInstalled);
        };
        found
            .into_iter()
            .find(|binaries| binaries.major == made_by)
            .ok_or_else(|| DevDbError::OtherMajor {
                data: data.to_owned(),
                major: made_by,
            })
    }

    pub(crate) fn postgres(&self) -> PathBuf {
        self.bin.join("postgres")
    }

    pub(crate) fn initdb(&self) -> PathBuf {
        self.bin.join("initdb")
    }

    fn probe(bin: PathBuf) -> Option<Self> {
        let major = major_version(&bin.join("postgres"))?;
        bin.join("initdb").exists().then_some(Self { bin, major })
    }
}

/// A program of Postgres that works with a server wherever it is: `pg_dump`, `pg_restore`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientProgram {
    /// Where it is.
    pub path: PathBuf,
    /// Its major version.
    pub major: u32,
}

impl ClientProgram {
    /// That of the server's version, or else the newest one; one of `CURA_PG_BIN`, if that is set. Blocks for a moment.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(name: &'static str, server: u32) -> Result<Self, DevDbError> {
        let probe = |bin: PathBuf| {
            let path = bin.join(name);
            let major = major_version(&path)?;
            Some(Self { path, major })
        };
        let mut found: Vec<Self> = candidates(name).into_iter().filter_map(probe).collect();
        // As above.
        found.reverse();
        let best = found
            .into_iter()
            .max_by_key(|program| (program.major == server, program.major));
        best.ok_or(DevDbError::NoClient { program: name })
    }
}

/// The major version that a program of Postgres says it has.
fn major_version(program: &Path) -> Option<u32> {
    let version = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    if !version.status.success() {
        return None;
    }
    // "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", "pg_dump (PostgreSQL) 18devel"
    let text = String::from_utf8(version.stdout).ok()?;
    let version = text.split_whitespace().nth(2)?;
    let digits = version
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(version.len());
    version[..digits].parse().ok()
}

/// The version that created a cluster.
fn major_of(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("PG_VERSION")).ok()?.trim().parse().ok()
}

/// The folders in which this program may be.
fn candidates(program: &str) -> Vec<PathBuf> {
    if let Some(chosen) = std::env::var_os("CURA_PG_BIN").filter(|chosen| !chosen.is_empty()) {
        return vec![chosen.into()];
    }
    let mut all: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output()
        && let Ok(bin) = String::from_utf8(output.stdout)
    {
        all.push(bin.trim().into());
    }
    all.extend(below("/usr/lib/postgresql", "bin"));
    all.extend(
        below("/usr", "bin")
            .into_iter()
            .filter(|bin| bin.to_string_lossy().starts_with("/usr/pgsql-")),
    );
    for homebrew in ["/opt/homebrew/opt", "/usr/local/opt"] {
        all.extend(
            below(homebrew, "bin")
                .into_iter()
                .filter(|bin| bin.to_string_lossy().contains("/postgresql")),
        );
    }
    all.extend(below("/Applications/Postgres.app/Contents/Versions", "bin"));
    all.retain(|bin| bin.join(program).exists());
    all
}

fn below(folder: &str, name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().join(name)).collect()
}
