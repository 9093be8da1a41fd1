//! `cura-admin doctor`: what works, what does not, and what to do about it.

use std::process::Output;
use std::time::{Duration, Instant};

use cura_tests::{ClamdScript, ClamdServer, Cura, TestDatabase};
use serde_json::Value;

use super::admin::{admin, text};

fn doctor(variables: &[(&str, String)]) -> (Output, Value) {
    let begun = Instant::now();
    let output = admin(&["doctor", "--json"], variables);
    assert!(begun.elapsed() < Duration::from_secs(15), "all checks run at once");
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(!said.contains("hunter2"), "{said}");
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    (output, report)
}

fn status(report: &Value, name: &str) -> String {
    let items = report["items"].as_array().unwrap();
    let check = items.iter().find(|check| check["name"] == name);
    check.unwrap_or_else(|| panic!("{name} is not in {report}"))["status"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn detail(report: &Value, name: &str) -> String {
    let items = report["items"].as_array().unwrap();
    let check = items.iter().find(|check| check["name"] == name).unwrap();
    format!(
        "{}; {}",
        check["detail"].as_str().unwrap(),
        check["cure"].as_str().unwrap_or_default()
    )
}

#[tokio::test]
async fn a_whole_installation_is_tried_and_works() {
    let cura = Cura::start().await;
    let (output, report) = doctor(&cura.variables_with(&[]));
    assert_eq!(output.status.code(), Some(0), "{report}");
    for name in [
        "postgres",
        "clock",
        "connections",
        "migrations",
        "workers",
        "redis",
        "files",
        "disk",
    ] {
        assert_eq!(status(&report, name), "ok", "{report}");
    }
    for name in ["clamd", "fcm", "web_push", "ai"] {
        assert_eq!(status(&report, name), "skipped", "{report}");
    }
    assert!(detail(&report, "files").contains("put, read and deleted"), "{report}");
    assert_eq!(report["next_cursor"], Value::Null);
    // The object is listed, should this have been its last moment, and nothing is left of it.
    assert_eq!(cura.database.count("SELECT count(*) FROM object_deletions").await, 1);
    let read = text(&admin(&["doctor"], &cura.variables_with(&[])).stdout);
    assert!(read.starts_with("STATUS") && read.contains("postgres"), "{read}");
}

// The clamd of this test runs in it.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_work_is_named_with_its_cure_and_the_rest_is_tried_all_the_same() {
    let database = TestDatabase::create().await;
    let clamd = ClamdServer::start(ClamdScript::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let (output, report) = doctor(&[
        ("DATABASE_URL", database.url()),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1:1".to_owned()),
        ("CLAMD_ADDRESS", clamd.addresses()[0].clone()),
        ("AI_MODEL_URL", "http://127.0.0.1:1".to_owned()),
        ("DATA_DIR", folder.path().to_str().unwrap().to_owned()),
    ]);
    assert_eq!(output.status.code(), Some(3), "{report}");
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], "checks_failed");
    assert_eq!(
        (status(&report, "postgres"), status(&report, "clamd")),
        ("ok".to_owned(), "ok".to_owned()),
        "{report}"
    );
    for name in ["redis", "workers", "ai"] {
        assert_eq!(status(&report, name), "fail", "{report}");
    }
    assert!(
        detail(&report, "redis").contains("start it, or correct the URL"),
        "{report}"
    );
    assert!(detail(&report, "workers").contains("start cura-worker"), "{report}");
    assert_eq!(
        status(&report, "files"),
        "skipped",
        "a command makes no folder: {report}"
    );
}

#[tokio::test]
async fn without_postgres_everything_else_is_tried() {
    let cura = Cura::start().await;
    let away = [("DATABASE_URL", "postgres://me:hunter2@127.0.0.1:1/cura".to_owned())];
    let (output, report) = doctor(&cura.variables_with(&away));
    assert_eq!(output.status.code(), Some(3), "{report}");
    assert_eq!(status(&report, "postgres"), "fail");
    assert!(
        detail(&report, "postgres").contains("nothing listens there"),
        "{report}"
    );
    for name in ["clock", "connections", "migrations", "workers"] {
        assert_eq!(status(&report, name), "skipped", "{report}");
    }
    assert_eq!(
        (status(&report, "redis"), status(&report, "files")),
        ("ok".to_owned(), "warn".to_owned()),
        "{report}"
    );
    let empty = TestDatabase::empty().await;
    let (_, report) = doctor(&cura.variables_with(&[("DATABASE_URL", empty.url())]));
    assert_eq!(status(&report, "migrations"), "fail", "{report}");
    assert!(
        detail(&report, "migrations").contains("cura-admin migrate up"),
        "{report}"
    );
}
