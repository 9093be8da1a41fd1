//! Making archives: two at once, interrupted, without Postgres, with an old `pg_dump`.

use std::os::unix::fs::PermissionsExt as _;

use cura_tests::{Cura, Form, Program, TestDatabase, eventually};

use super::super::admin::text;
use super::{PICTURE, assert_fails, back_up, beside, names_in, run_with, sql};

#[tokio::test]
async fn an_archive_is_its_owners_alone_and_never_replaces_another() {
    let database = TestDatabase::create().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.tar").display().to_string();
    let variables = [("DATABASE_URL", database.url())];
    let made = run_with(&variables, &["backup", "--output", &file]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert!(
        text(&made.stderr).contains("is not encrypted"),
        "{}",
        text(&made.stderr)
    );
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(names_in(folder.path()), ["a.tar"]);
    assert_fails(&variables, &["backup", "--output", &file], 1, "file_exists");
    let done = "SELECT count(*) FROM operator_actions WHERE action = 'backup.make' AND failure IS NULL";
    let failed = "SELECT count(*) FROM operator_actions WHERE action = 'backup.make' AND failure = 'file_exists'";
    assert_eq!((database.count(done).await, database.count(failed).await), (1, 2));
    assert_eq!(database.count("SELECT count(*) FROM backups").await, 1);
    let nowhere = folder.path().join("nowhere/b.tar").display().to_string();
    assert_fails(&variables, &["backup", "--output", &nowhere], 1, "not_writable");
}

#[tokio::test]
async fn it_can_be_piped_and_read_by_tar() {
    let database = TestDatabase::create().await;
    let variables = [("DATABASE_URL", database.url())];
    let made = run_with(&variables, &["backup", "--output", "-"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("piped.tar");
    std::fs::write(&file, &made.stdout).unwrap();
    let listed = std::process::Command::new("tar")
        .arg("-tf")
        .arg(&file)
        .output()
        .unwrap();
    let names = text(&listed.stdout);
    assert!(names.starts_with("format.json\ndatabase.dump/000000\n"), "{names}");
    assert!(names.ends_with("manifest.json\nmanifest.sha256\n"), "{names}");
    let file = file.display().to_string();
    assert_eq!(
        run_with(&variables, &["backup", "verify", &file]).status.code(),
        Some(0)
    );
}

#[tokio::test]
async fn two_at_once_are_both_whole_and_of_one_name_there_is_one() {
    let database = TestDatabase::create().await;
    let folder = tempfile::tempdir().unwrap();
    let variables = [("DATABASE_URL", database.url())];
    let path = |name: &str| folder.path().join(name).display().to_string();
    let start = |file: &str| Program::start("cura-admin", &["backup", "--output", file], &variables);
    let files = [path("a.tar"), path("b.tar"), path("same.tar"), path("same.tar")];
    let mut running: Vec<Program> = files.iter().map(|file| start(file)).collect();
    let mut codes = Vec::new();
    for program in &mut running {
        codes.push(program.ended().await);
    }
    assert_eq!(codes[..2], [Some(0), Some(0)]);
    codes[2..].sort();
    assert_eq!(codes[2..], [Some(0), Some(1)], "{}", running[3].logs());
    assert_eq!(names_in(folder.path()), ["a.tar", "b.tar", "same.tar"]);
    for file in &files[..3] {
        let verified = run_with(&variables, &["backup", "verify", file]);
        assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stderr));
    }
}

#[tokio::test]
async fn interrupted_it_leaves_nothing() {
    let database = TestDatabase::create().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.tar").display().to_string();
    let variables = [("DATABASE_URL", database.url())];
    // A table that cannot be read keeps it waiting.
    let mut holder = database.pool().begin().await.unwrap();
    sqlx::query("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *holder)
        .await
        .unwrap();
    let mut program = Program::start("cura-admin", &["backup", "--output", &file], &variables);
    database.wait_for_lock_waiter().await;
    assert_eq!(names_in(folder.path()).len(), 1, "it is on its way");
    program.signal("INT");
    assert_eq!(program.ended().await, Some(1));
    assert!(program.logs().contains("interrupted"), "{}", program.logs());
    assert!(names_in(folder.path()).is_empty());
    holder.rollback().await.unwrap();
    eventually("Postgres is rid of it", async || {
        let left = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name IN ('pg_dump', 'cura-admin')";
        (database.count(left).await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_postgres_it_says_so_and_an_old_pg_dump_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.tar").display().to_string();
    let away = [("DATABASE_URL", "postgres://ada:hunter2@127.0.0.1:1/none".to_owned())];
    assert_fails(&away, &["backup", "--output", &file], 5, "database_away");
    assert_fails(&away, &["restore", "--input", &file, "--yes"], 5, "database_away");
    let database = TestDatabase::create().await;
    let bin = tempfile::tempdir().unwrap();
    let old = bin.path().join("pg_dump");
    std::fs::write(&old, "#!/bin/sh\necho 'pg_dump (PostgreSQL) 13.4 (Debian 13.4-1)'\n").unwrap();
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
    let variables = [
        ("DATABASE_URL", database.url()),
        ("CURA_PG_BIN", bin.path().display().to_string()),
    ];
    let said = assert_fails(&variables, &["backup", "--output", &file], 1, "other_client_programs");
    assert!(said["cure"].as_str().unwrap().contains("CURA_PG_BIN"), "{said}");
    std::fs::remove_file(&old).unwrap();
    assert_fails(&variables, &["backup", "--output", &file], 1, "no_client_programs");
    assert!(names_in(folder.path()).is_empty());
}

#[tokio::test]
async fn who_may_only_read_makes_one_that_nobody_records() {
    let cura = Cura::builder().servers(0).workers(0).start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = back_up(&cura, &folder, "a.tar");
    assert!(!std::fs::read(&file).unwrap().is_empty());
    sql(
        &cura.database,
        "CREATE SCHEMA others; CREATE TABLE others.theirs (id int)",
    )
    .await;
    let mut variables = beside(&cura);
    variables[0].1 = cura.database.readers_url().await;
    // They may read everything of ours, and record nothing.
    let other = folder.path().join("b.tar").display().to_string();
    let made = run_with(&variables, &["backup", "--output", &other]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert!(
        text(&made.stderr).contains("could not be recorded"),
        "{}",
        text(&made.stderr)
    );
}

#[tokio::test]
async fn a_file_store_without_any_of_the_files_is_the_wrong_one() {
    let cura = Cura::start().await;
    let ann = cura.client().register("ann@example.com").await;
    let kept = ann.upload(Form::of("a.png", PICTURE)).await;
    ann.until_scanned(&kept.body["id"]).await;
    // With two pictures of it each; a few that are lost do not end backups.
    let many = "INSERT INTO files (user_id, object_key, filename, file_type, size, sha256, status, created_at, updated_at)
                SELECT user_id, user_id || '/00000000-0000-4000-8000-' || lpad(n::text, 12, '0') || '.png', filename, file_type, size, sha256,
                       status, created_at, updated_at FROM files, generate_series(1, 10) n";
    sql(&cura.database, many).await;
    let files = cura.data.path().join("files");
    std::fs::remove_dir_all(&files).unwrap();
    std::fs::create_dir(&files).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.tar").display().to_string();
    let said = assert_fails(&beside(&cura), &["backup", "--output", &file], 3, "files_missing");
    assert!(said["cure"].as_str().unwrap().contains("DATA_DIR"), "{said}");
    assert!(names_in(folder.path()).is_empty());
}
