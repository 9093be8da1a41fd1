//! Says from which commit the programs were built: `CURA_COMMIT`, else what git says, else "unknown".
//!
//! git is asked for release builds only: a debug build would be compiled anew, with all tests, at every commit.
#![expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script everything in the environment"
)]

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CURA_COMMIT");
    let given = env::var("CURA_COMMIT").ok().filter(|commit| !commit.is_empty());
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = given.or_else(|| is_release.then(from_git).flatten());
    println!(
        "cargo::rustc-env=CURA_COMMIT={}",
        commit.as_deref().unwrap_or("unknown")
    );
}

/// The commit that is checked out; `None` without git or a repository.
fn from_git() -> Option<String> {
    // Every commit and checkout adds a line to it.
    let log = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).is_file() {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}
