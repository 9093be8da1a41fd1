//! Archives that are not whole, not ours, or of the future: refused before anything is touched. And encrypted ones.

use std::fs;

use age::secrecy::ExposeSecret as _;
use cura_tests::{Cura, TestDatabase};

use super::super::admin::text;
use super::{Place, assert_fails, back_up, beside, json_of, run_with, sql};

fn position(archive: &[u8], of: &[u8]) -> usize {
    archive
        .windows(of.len())
        .position(|part| part == of)
        .expect("it is there")
}

#[tokio::test]
async fn what_is_not_whole_is_refused_before_anything_is_touched() {
    let cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(back_up(&cura, &folder, "whole.tar")).unwrap();
    let place = Place::empty().await;
    let variables = place.variables();
    let refused = |bytes: &[u8], code: &str| {
        let file = folder.path().join("broken.tar");
        fs::write(&file, bytes).unwrap();
        let file = file.display().to_string();
        assert_fails(&variables, &["restore", "--input", &file, "--yes"], 3, code);
        let verified = run_with(&variables, &["backup", "verify", &file, "--json"]);
        assert_eq!(verified.status.code(), Some(3), "{}", text(&verified.stderr));
    };
    for end in [600, 5_000, whole.len() / 2, whole.len() - 1024 - 1, whole.len() - 1] {
        refused(&whole[..end], "archive_truncated");
    }
    let dump = position(&whole, b"PGDMP");
    let manifest = position(&whole, b"\"taken_at\"");
    for at in [dump + 40, dump + 5_000, manifest + 14] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        refused(&flipped, "archive_damaged");
    }
    let mut newer = whole.clone();
    let version = position(&whole, b"\"version\":1");
    newer[version + 10] = b'2';
    refused(&newer, "archive_newer");
    refused(b"", "not_a_backup");
    refused(&[b"not a backup".repeat(1000), vec![0; 1024]].concat(), "not_a_backup");
    let mut more = whole.clone();
    more.push(0);
    refused(&more, "archive_damaged");
    assert_eq!(place.tables().await, 0);
    assert!(fs::read_dir(place.data.path()).unwrap().next().is_none());
}

#[tokio::test]
async fn migrations_of_the_future_or_of_others_are_refused() {
    let cura = Cura::builder().servers(0).workers(0).start().await;
    let folder = tempfile::tempdir().unwrap();
    let place = Place::empty().await;
    let future = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                  VALUES (9999, 'the future', true, '\\x00', 0)";
    sql(&cura.database, future).await;
    let file = back_up(&cura, &folder, "future.tar");
    let restore = |file: &str, code: &str| {
        assert_fails(&place.variables(), &["restore", "--input", file, "--yes"], 3, code);
    };
    restore(&file, "archive_newer");
    sql(&cura.database, "DELETE FROM _sqlx_migrations WHERE version = 9999").await;
    sql(
        &cura.database,
        "UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 3",
    )
    .await;
    let file = back_up(&cura, &folder, "other.tar");
    restore(&file, "archive_of_other_history");
    assert_eq!(place.tables().await, 0);
}

#[tokio::test]
async fn encrypted_it_is_read_with_its_own_key_alone() {
    let cura = Cura::without_workers().await;
    cura.client().register("ann@example.com").await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let identity = |name: &str| {
        let identity = age::x25519::Identity::generate();
        fs::write(path(name), identity.to_string().expose_secret()).unwrap();
        identity.to_public().to_string()
    };
    let (recipient, _) = (identity("right.key"), identity("wrong.key"));
    let (file, variables) = (path("a.tar.age"), beside(&cura));
    let made = run_with(&variables, &["backup", "--output", &file, "--recipient", &recipient]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert!(!text(&made.stderr).contains("not encrypted"));
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.starts_with(b"age-encryption.org/v1"));
    assert!(!bytes.windows(5).any(|part| part == b"PGDMP"));

    let (right, wrong) = (path("right.key"), path("wrong.key"));
    assert_fails(&variables, &["backup", "verify", &file], 1, "archive_encrypted");
    assert_fails(
        &variables,
        &["backup", "verify", &file, "--identity", &wrong],
        1,
        "wrong_identity",
    );
    assert_fails(
        &variables,
        &["backup", "verify", &file, "--identity", &file],
        1,
        "identity",
    );
    let verified = json_of(&variables, &["backup", "verify", &file, "--identity", &right]);
    assert!(verified["rows"].as_i64().unwrap() > 0, "{verified}");
    let place = Place::empty().await;
    for (at, code) in [(bytes.len() / 2, "archive_damaged"), (bytes.len(), "archive_truncated")] {
        let mut broken = bytes.clone();
        match broken.get_mut(at) {
            Some(byte) => *byte ^= 1,
            None => broken.truncate(at - 20),
        }
        fs::write(path("broken.age"), broken).unwrap();
        let restore = ["restore", "--input", &path("broken.age"), "--identity", &right, "--yes"];
        let output = run_with(&place.variables(), &[&restore[..], &["--json"]].concat());
        assert_eq!(output.status.code(), Some(3), "{code}: {}", text(&output.stderr));
    }
    assert_eq!(place.tables().await, 0);
    json_of(
        &place.variables(),
        &["restore", "--input", &file, "--identity", &right, "--yes"],
    );
    assert_eq!(place.database.count("SELECT count(*) FROM users").await, 1);
    let bad = run_with(
        &variables,
        &["backup", "--output", &path("b"), "--recipient", "age1hunter"],
    );
    assert_eq!(bad.status.code(), Some(2));
}

#[tokio::test]
async fn who_may_make_no_database_verifies_on_a_private_postgres() {
    let database = TestDatabase::create().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.tar").display().to_string();
    json_of(&[("DATABASE_URL", database.url())], &["backup", "--output", &file]);
    let variables = [("DATABASE_URL", database.readers_url().await)];
    let verified = json_of(&variables, &["backup", "verify", &file]);
    assert!(verified["tables"].as_i64().unwrap() > 30, "{verified}");
}
