//! The sandboxed child that looks into files, with the real programs: what it makes, what it survives, and what it cannot do.

mod bombs;
mod children;
mod confinement;
mod lifetime;
pub(crate) mod pictures;

use std::fs::Permissions;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cura_domain::file_type::FileType;
use cura_inspection::Wanted;
use cura_providers::scan::{InspectError, Inspection, Inspector};
use cura_tests::program;
use tempfile::TempDir;

/// Children of the real worker.
fn inspector() -> Inspector {
    Inspector::with_program(&program::path("cura-worker"), 2)
}

/// Children that do what `behaviour` says, as the probe in `tests/programs/sandbox-probe` knows it.
fn misbehaving(behaviour: &str) -> (Inspector, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join(behaviour);
    std::os::unix::fs::symlink(program::path("sandbox-probe"), &link).unwrap();
    (Inspector::with_program(&link, 2), folder)
}

/// Children that a shell starts, after or instead of something else. `$worker` is the real program, `$0` has a folder of its own.
fn started_by_shell(script: &str) -> (Inspector, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("start");
    let worker = program::path("cura-worker");
    std::fs::write(&path, format!("#!/bin/sh\nworker='{}'\n{script}\n", worker.display())).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    (Inspector::with_program(&path, 2), folder)
}

/// A file on a disk, with its size.
fn file_of(bytes: &[u8]) -> (tokio::fs::File, u64) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    (tokio::fs::File::from_std(file), bytes.len() as u64)
}

async fn scan(inspector: &Inspector, file_type: FileType, bytes: &[u8]) -> Result<Inspection, InspectError> {
    let (file, size) = file_of(bytes);
    inspector.inspect(file_type, Wanted::Scan, file, size).await
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/files").join(name)).unwrap()
}

/// Shows that one file has done no harm to the next.
async fn assert_the_next_one_is_inspected(inspector: &Inspector) {
    let next = scan(inspector, FileType::Png, &fixture("alpha.png")).await.unwrap();
    assert!(matches!(next, Inspection::Inspected(_)), "{next:?}");
}
